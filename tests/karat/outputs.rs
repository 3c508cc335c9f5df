//! Where results go and in which form; completions and manual pages.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use insta::assert_snapshot;

use crate::cli::{BASELINE, CURRENT, DAY, DRIFTED, WHOLE, audit, karat, shown};

const BROKEN: &str = "fixtures/broken/digest-mismatch.oci.tar";

#[test]
fn a_job_summary_shows_verdicts_and_folds_details() {
    let ran = audit(&[CURRENT, DRIFTED, BROKEN, "fixtures/broken/absent"], &["-o", "markdown"]);
    assert_eq!(ran.code, 2);
    assert_snapshot!("audit_markdown", ran.stdout);
    let listed = karat(&["inventory", DRIFTED, BROKEN, "-o", "md", "--as-of", DAY]);
    assert_snapshot!("inventory_markdown", listed.stdout);
}

#[test]
fn a_page_that_is_cut_says_what_it_lacks() {
    let ran = audit(&[CURRENT, DRIFTED], &["-o", "md", "--limit", "markdown_bytes=10500"]);
    assert!(
        ran.stdout.len() <= 10_500 && ran.stdout.contains("**Left out to keep this page within 10500 bytes"),
        "{}",
        shown(&ran)
    );
    assert_eq!(ran.stdout.matches("<details").count(), ran.stdout.matches("</details>").count());
}

#[test]
fn one_report_that_cannot_be_written_stops_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let asked = |format: &str, name: &str| format!("{format}={}", path(name).display());
    let ran = audit(
        &[CURRENT],
        &[
            "-o",
            &asked("json", "no/such/folder.json"),
            "-o",
            &asked("md", "page.md"),
            "-o",
            "text",
            "-o",
            &asked("json", "report.json"),
        ],
    );
    assert!(ran.code == 2 && ran.stdout.starts_with("PASS  "), "{}", shown(&ran));
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains("folder.json"), "{}", shown(&ran));
    assert!(fs::read_to_string(path("page.md")).unwrap().starts_with("## ✅ PASS"));
    assert!(fs::read_to_string(path("report.json")).unwrap().ends_with("}\n"));
    // Nothing half-written lies about.
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["page.md", "report.json"]);
    // No gate hides that a report is missing.
    let ran = audit(&[CURRENT], &["--no-gate", "-o", &asked("json", "no/such/folder.json")]);
    assert_eq!(ran.code, 2, "{}", shown(&ran));
}

#[test]
fn a_file_is_replaced_whole_and_a_link_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("real.json"), folder.path().join("link.json"));
    fs::write(&file, "before").unwrap();
    std::os::unix::fs::symlink("real.json", &link).unwrap();
    // A run that fails before there is a result leaves what was there.
    audit(&[CURRENT], &["-b", "no-such.json", "-o", &format!("json={}", link.display())]);
    karat(&["audit", CURRENT, "-b", "no-such.json", "-o", &format!("json={}", link.display())]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "before");
    audit(&[CURRENT], &["-o", &format!("json={}", link.display())]);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().starts_with('{'));
    // The same file by two names is one file.
    let twice = audit(
        &[CURRENT],
        &["-o", &format!("json={}", link.display()), "-o", &format!("md={}", file.display())],
    );
    assert!(twice.code == 2 && twice.stderr.contains("two reports would go to"), "{}", shown(&twice));
}

#[test]
fn formats_are_named_and_never_guessed() {
    for (args, want) in [
        (
            &["audit", CURRENT, "-b", BASELINE, "-o", "report.json"][..],
            "a file stands behind its format: -o json=report.json",
        ),
        (
            &["audit", CURRENT, "-b", BASELINE, "-o", "summary.md"],
            "a file stands behind its format: -o markdown=summary.md",
        ),
        (&["audit", CURRENT, "-b", BASELINE, "-o", "pdf"], "-o takes text, json, markdown"),
        (&["baseline", "show", BASELINE, "-o", "md"], "it has text, json"),
        (&["explain", CURRENT, "bash", "-b", BASELINE, "-o", "markdown"], "it has text, json"),
    ] {
        let ran = karat(args);
        assert!(ran.code == 2 && ran.stderr.contains(want), "{}", shown(&ran));
    }
}

#[test]
fn no_gate_reports_and_hides_only_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let due = folder.path().join("karat.toml");
    fs::write(&due, "[target]\ndays = 65\n").unwrap();
    let due = ["--standard", due.to_str().unwrap(), "--fail-on", "due"];
    for (image, more, gated, word) in [
        (CURRENT, &[][..], 0, "PASS"),
        (DRIFTED, &[], 1, "FAIL"),
        (BROKEN, &[], 3, "INCOMPLETE"),
        (WHOLE, &due, 1, "PASS"),
        ("fixtures/broken/absent", &[], 2, "ERROR"),
    ] {
        let ran = audit(&[image], more);
        assert_eq!(ran.code, gated, "{}", shown(&ran));
        assert!(ran.stdout.starts_with(word), "{}", shown(&ran));
        let mut open = vec!["--no-gate"];
        open.extend(more);
        let open = audit(&[image], &open);
        // What gave no verdict at all is no matter of gates.
        assert_eq!(open.code, if gated == 2 { 2 } else { 0 }, "{}", shown(&open));
        assert_eq!(open.stdout, ran.stdout, "the report is the same");
    }
}

/// A tool that may be missing anywhere: what it would say is a second opinion only.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

#[test]
fn shells_accept_their_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = karat(&["completions", shell]);
        assert!(
            ran.code == 0 && ran.stdout.contains("compare") && ran.stdout.contains("with-releases"),
            "{shell}"
        );
        let file = folder.path().join(shell);
        fs::write(&file, &ran.stdout).unwrap();
        let tool = if shell == "bash" { crate::tools::tool(shell) } else { installed(shell) };
        let Some(tool) = tool.filter(|_| shell != "powershell") else { continue };
        let flag = if shell == "elvish" { "-compileonly" } else { "-n" };
        let said = Command::new(tool).arg(flag).arg(&file).output().unwrap();
        assert!(
            said.status.success() && said.stderr.is_empty(),
            "{shell}: {}",
            String::from_utf8_lossy(&said.stderr)
        );
    }
    assert_eq!(karat(&["completions", "cmd"]).code, 2);
    // What is offered is what there is.
    let Some(bash) = crate::tools::tool("bash") else { return };
    let ask = r#"source "$1"; COMP_WORDS=(karat comp); COMP_CWORD=1; _karat karat comp karat; echo "${COMPREPLY[@]}""#;
    let said = Command::new(bash).args(["-c", ask, "bash"]).arg(folder.path().join("bash")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "compare completions\n");
}

#[test]
fn there_is_a_page_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("man/man1");
    let ran = karat(&["man", "--out", out.to_str().unwrap()]);
    assert_eq!(ran.code, 0, "{}", shown(&ran));
    let mut names: Vec<String> =
        fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in ["karat.1", "karat-audit.1", "karat-baseline.1", "karat-baseline-build.1", "karat-compare.1"]
    {
        assert!(names.iter().any(|n| n == name), "{name}: {names:?}");
    }
    let root = fs::read_to_string(out.join("karat.1")).unwrap();
    assert_eq!(root, karat(&["man"]).stdout);
    for said in
        ["EXIT STATUS", "ENVIRONMENT", "KARAT_BASELINE", "KARAT_AS_OF", "SOURCE_DATE_EPOCH", "karat.toml"]
    {
        assert!(root.contains(said), "{said}");
    }
    let lints: [(&str, &[&str]); 2] =
        [("mandoc", &["-T", "lint", "-W", "warning"]), ("groff", &["-man", "-ww", "-z"])];
    for (lint, flags) in lints {
        let Some(tool) = installed(lint) else { continue };
        for name in &names {
            let said = Command::new(&tool).args(flags).arg(out.join(name)).output().unwrap();
            let text =
                String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
            assert!(text.is_empty(), "{lint} {name}: {text}");
        }
    }
}
