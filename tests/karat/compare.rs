//! `karat compare`: what booting one image instead of another would change, told from outside.

use std::fs;

use insta::assert_snapshot;
use karat::compare::Comparison;
use karat::model::Inventory;

use crate::cli::{BASELINE, CURRENT, DAY, DRIFTED, Ran, WHOLE, audit, karat, shown};

const BROKEN: &str = "fixtures/broken/digest-mismatch.oci.tar";

fn compare(a: &str, b: &str, more: &[&str]) -> Ran {
    let mut args = vec!["compare", a, b, "--as-of", DAY];
    args.extend(more);
    karat(&args)
}

fn comparison(a: &str, b: &str, more: &[&str]) -> Comparison {
    let mut args = vec!["-o", "json"];
    args.extend(more);
    let ran = compare(a, b, &args);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", shown(&ran)))
}

/// A folder with reports and inventories of the fixtures.
struct Made(tempfile::TempDir);

impl Made {
    fn new() -> Self {
        Made(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn report(&self, name: &str, images: &[&str]) -> String {
        let file = self.path(name);
        audit(images, &["-q", "-o", &format!("json={file}")]);
        file
    }

    fn inventory(&self, name: &str, image: &str, more: &[&str]) -> String {
        let file = self.path(name);
        let asked = format!("json={file}");
        let mut args = vec!["inventory", image, "--as-of", DAY, "-o", &asked];
        args.extend(more);
        karat(&args);
        file
    }
}

#[test]
fn an_older_image_undoes_what_a_newer_one_has() {
    assert_snapshot!("compare", shown(&compare(CURRENT, DRIFTED, &[])));
    assert_snapshot!("compare_back", shown(&compare(DRIFTED, CURRENT, &["-b", BASELINE])));
    assert_snapshot!("compare_verbose", shown(&compare(CURRENT, DRIFTED, &["-b", BASELINE, "-v"])));
    assert_snapshot!("compare_markdown", shown(&compare(CURRENT, DRIFTED, &["-b", BASELINE, "-o", "md"])));
    let same = compare(CURRENT, CURRENT, &[]);
    assert!(
        same.code == 0 && same.stdout.starts_with("COMPARED  B holds the same packages\n"),
        "{}",
        shown(&same)
    );
}

/// The versions of the fixtures as dpkg tells them, and their order as dpkg has it.
#[test]
fn the_changes_are_those_of_dpkg() {
    let Some(dpkg) = crate::tools::tool("dpkg") else { return };
    let list = |tsv: &str| -> std::collections::BTreeMap<(String, String), (String, String)> {
        let path = format!("{}/fixtures/images/{tsv}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        let rows = text.lines().map(|line| line.split('\t').map(str::to_owned).collect::<Vec<_>>());
        let installed = rows.filter(|f| !["rc", "un", "pn"].iter().any(|state| f[5].starts_with(state)));
        installed.map(|f| ((f[0].clone(), f[2].clone()), (f[1].clone(), f[3].clone()))).collect()
    };
    let (a, b) = (list("debian-12-current.dpkg-query.tsv"), list("debian-12-drifted.dpkg-query.tsv"));
    let mut want: Vec<(String, String, String)> = Vec::new();
    for (key, (old, source)) in &a {
        let Some((new, _)) = b.get(key) else { panic!("{key:?} is gone") };
        if old != new {
            let is = |order: &str| {
                let mut ask = std::process::Command::new(&dpkg);
                ask.args(["--compare-versions", new, order, old]).status().unwrap().success()
            };
            let step = if is("lt") { "Downgraded" } else { "Upgraded" };
            want.push((step.into(), source.clone(), key.0.clone()));
        }
    }
    want.sort();
    let found = comparison(CURRENT, DRIFTED, &[]);
    let sources = &found.images[0].systems[0].change.as_ref().unwrap().sources;
    let mut got: Vec<(String, String, String)> = sources
        .iter()
        .flat_map(|s| {
            s.packages.iter().map(move |p| (format!("{:?}", s.change), s.source.clone(), p.name.clone()))
        })
        .collect();
    got.sort();
    assert_eq!(got, want);
    assert_eq!(a.len(), b.len());
}

#[test]
fn images_and_their_inventories_compare_alike() {
    let made = Made::new();
    let (a, b) = (made.inventory("a.json", CURRENT, &[]), made.inventory("b.json", DRIFTED, &[]));
    let systems = |c: Comparison| c.images[0].systems.clone();
    assert_eq!(systems(comparison(&a, &b, &[])), systems(comparison(CURRENT, DRIFTED, &[])));
    assert_eq!(systems(comparison(&a, DRIFTED, &[])), systems(comparison(CURRENT, &b, &[])));
}

#[test]
fn changelogs_name_the_ids_that_only_one_side_has() {
    let made = Made::new();
    let file = made.inventory("now.json", "fixtures/production/debian-12", &["--with-releases"]);
    let mut then: Inventory = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    // The host before its last expat update: without the entries of that changelog that came after.
    let system = &mut then.systems[0];
    for package in system.packages.iter_mut().filter(|p| p.source.name == "expat") {
        package.version = "2.5.0-1+deb12u3".into();
        package.source.version = "2.5.0-1+deb12u3".into();
    }
    let later = ["2.5.0-1+deb12u4", "2.5.0-1+deb12u5"];
    system.releases.retain(|r| r.source != "expat" || !later.contains(&r.version.as_str()));
    let old = made.path("then.json");
    fs::write(&old, serde_json::to_vec(&then).unwrap()).unwrap();
    let found = comparison(&file, &old, &[]);
    let source = &found.images[0].systems[0].change.as_ref().unwrap().sources[0];
    assert_eq!((&*source.source, source.cves_lower_bound), ("expat", false));
    // As its changelog has them: all of u4 and u5 that nothing older names.
    let truth = fs::read_to_string(format!(
        "{}/fixtures/production/debian-12.changelogs.tsv",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let ids = |wanted: bool| -> std::collections::BTreeSet<String> {
        let rows = truth.lines().map(|line| line.split('\t').collect::<Vec<_>>()).filter(|f| f[1] == "expat");
        let rows = rows.filter(|f| later.contains(&f[2]) == wanted);
        rows.flat_map(|f| f[6].split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let want: Vec<String> = ids(true).difference(&ids(false)).cloned().collect();
    assert!(!want.is_empty());
    assert_eq!(source.cves.as_ref(), Some(&want));
    // It was changed by hand, and that is seen.
    assert!(!found.complete);
}

#[test]
fn the_exit_code_tells_what_it_was_asked_for() {
    let gate = ["--fail-on", "downgrade"];
    for (a, b, more, want) in [
        (CURRENT, DRIFTED, &[][..], 0),
        (CURRENT, DRIFTED, &gate, 1),
        (DRIFTED, CURRENT, &gate, 0),
        (WHOLE, BROKEN, &[], 3),
        (BROKEN, WHOLE, &[], 3),
        (WHOLE, BROKEN, &gate, 3),
        (WHOLE, "fixtures/broken/text", &[], 2),
        (WHOLE, "fixtures/broken/absent", &[], 2),
    ] {
        let ran = compare(a, b, more);
        assert_eq!(ran.code, want, "{a} {b} {more:?}: {}", shown(&ran));
    }
    let ran = compare(WHOLE, BROKEN, &[]);
    assert!(ran.stdout.starts_with("INCOMPLETE  1 required part of B could not be read, 1 system has no counterpart: B is not compared"), "{}", shown(&ran));
    assert_snapshot!("compare_incomplete", shown(&ran));
    let marked = compare(WHOLE, BROKEN, &["-o", "md"]).stdout;
    assert!(marked.starts_with("## ⚠️ INCOMPLETE: 1 required part of B could not be read"), "{marked}");
}

#[test]
fn another_release_is_told_first_and_loudly() {
    let made = Made::new();
    let file = made.inventory("a.json", CURRENT, &[]);
    let newer = made.path("b.json");
    fs::write(&newer, fs::read_to_string(&file).unwrap().replace("debian/12/amd64", "debian/13/amd64"))
        .unwrap();
    let ran = compare(CURRENT, &newer, &[]);
    let lines: Vec<&str> = ran.stdout.lines().take(2).collect();
    // The document was changed by hand, so it is incomplete as well.
    assert!(lines[0].starts_with("INCOMPLETE  1 required part of B"), "{}", shown(&ran));
    assert!(
        lines[1].starts_with("ANOTHER PLATFORM  B is debian/13/amd64, A is debian/12/amd64"),
        "{}",
        shown(&ran)
    );
}

#[test]
fn reports_tell_how_verdicts_turn() {
    let made = Made::new();
    let (current, drifted) =
        (made.report("current.json", &[CURRENT]), made.report("drifted.json", &[DRIFTED]));
    assert_snapshot!("compare_reports", told(&made, &compare(&current, &drifted, &[])));
    assert_eq!(compare(&current, &drifted, &["--fail-on", "downgrade"]).code, 1);
    assert_snapshot!("compare_reports_back", told(&made, &compare(&drifted, &current, &["-o", "md"])));
    let (one, two) = (made.report("one.json", &[CURRENT, WHOLE]), made.report("two.json", &[DRIFTED, WHOLE]));
    let ran = compare(&one, &two, &[]);
    assert!(ran.code == 3 && ran.stdout.contains("images have no counterpart"), "{}", shown(&ran));
}

fn told(made: &Made, ran: &Ran) -> String {
    shown(ran).replace(made.0.path().to_str().unwrap(), "FOLDER")
}

#[test]
fn what_cannot_be_compared_is_one_clear_error() {
    let made = Made::new();
    let report = made.report("report.json", &[CURRENT]);
    let other = made.path("report-9.json");
    fs::write(&other, fs::read_to_string(&report).unwrap().replace("karat-report/1", "karat-report/9"))
        .unwrap();
    let cut = made.path("cut.json");
    let text = fs::read_to_string(&report).unwrap();
    fs::write(&cut, text.replace("\"as_of\"", "\"as_off\"")).unwrap();
    for (a, b, more, want) in [
        (report.as_str(), DRIFTED, &[][..], "is a report, and"),
        (DRIFTED, &report, &[], "is a report, and"),
        (&report, &report, &["-b", BASELINE], "reports are judged already"),
        (BASELINE, DRIFTED, &[], "a baseline is nothing that could be booted"),
        (&other, &report, &[], "karat-report/9"),
        (&cut, &report, &[], "missing field `as_of`"),
    ] {
        let ran = compare(a, b, more);
        assert!(ran.code == 2 && ran.stderr.contains(want), "{}", shown(&ran));
        assert_eq!((ran.stdout.as_str(), ran.stderr.lines().count()), ("", 2), "{}", shown(&ran));
    }
}

#[test]
fn of_several_images_one_has_to_be_named() {
    let folder = tempfile::tempdir().unwrap();
    let made = crate::making::Layout(folder.path());
    let image = |name: &str| {
        let layer = crate::making::tar_of(&[("etc/os-release", b"ID=debian\nVERSION_ID=12\n"), (name, b"")]);
        let image = made.image("amd64", &[(layer.clone(), layer)]);
        let named = serde_json::json!({ "org.opencontainers.image.ref.name": name });
        crate::making::with(image, "annotations", named)
    };
    made.finish(&[image("one"), image("two")]);
    let both = folder.path().to_str().unwrap();
    let ran = compare(both, WHOLE, &[]);
    assert!(
        ran.code == 2 && ran.stderr.contains("it holds 2 images, and one is compared"),
        "{}",
        shown(&ran)
    );
    assert!(
        ran.stderr.contains(&format!("hint: name one of them: {both}#one, {both}#two")),
        "{}",
        shown(&ran)
    );
    let ran = compare(&format!("{both}#one"), &format!("{both}#two"), &[]);
    assert_eq!(ran.code, 3, "neither has a package database: {}", shown(&ran));
}

#[test]
fn a_comparison_is_the_contract_at_any_number_of_threads() {
    let run = |threads: &str| {
        compare(CURRENT, DRIFTED, &["-b", BASELINE, "-o", "json", "--threads", threads]).stdout
    };
    let one = run("1");
    assert_eq!(one, run("16"));
    let read: Comparison = serde_json::from_str(&one).unwrap();
    assert_eq!(serde_json::to_string_pretty(&read).unwrap() + "\n", one);
    assert_eq!(read.schema, "karat-compare/1");
}
