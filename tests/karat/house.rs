//! The house: a module uses only modules of a lower rank, nothing but the command line prints, and the host's
//! file system, clock and environment are touched only where they may be.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Ranks of the modules; those of one rank never use each other.
const RANKS: &[&[&str]] = &[
    &["error"],
    &["limits"],
    &["bytes"],
    &["model", "codec"],
    &["format", "archive", "stratum"],
    &["source"],
    &["volume"],
    &["tree", "layer"],
    &["root"],
    &["collect"],
    &["scan", "intel"],
    &["baseline"],
    &["drift", "change"],
    &["standard"],
    &["report"],
    &["history", "compare"],
    &["render"],
    &["audit"],
    &["cli"],
    &["main"],
];

fn rank(module: &str) -> usize {
    RANKS
        .iter()
        .position(|modules| modules.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` has no rank: give it one in tests/karat/house.rs"))
}

fn sources() -> BTreeMap<PathBuf, String> {
    fn add(folder: &Path, all: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(&path, all);
            } else if path.extension().is_some_and(|e| e == "rs") {
                all.insert(path.clone(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut all = BTreeMap::new();
    add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    all
}

/// The module that a file belongs to: the first folder or file below `src`.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_string()
}

/// The code of a file: without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The top modules that a code names after `crate::` (or, in the binary, after `karat::`).
fn used(code: &str, root: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(root) {
        let rest = &code[at + root.len()..];
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').map(str::to_string).collect(),
            None => vec![rest.to_string()],
        };
        for name in names {
            let name: String =
                name.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            if name.chars().next().is_some_and(|c| c.is_ascii_lowercase()) {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn a_module_uses_only_modules_of_a_lower_rank() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        if module == "lib" {
            continue;
        }
        for used in used(&code(&text), if module == "main" { "karat::" } else { "crate::" }) {
            if used != module && rank(&used) >= rank(&module) {
                broken.push(format!("{}: `{module}` uses `{used}`", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "against the rank order:\n{}", broken.join("\n"));
}

#[test]
fn only_some_modules_touch_the_host() {
    let files = ["std::fs", "File::open", "OpenOptions", "tempfile::", "walkdir"];
    let clock =
        ["SystemTime", "Instant::now", "Timestamp::now", "Zoned::now", "std::env", "env::var", "temp_dir"];
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        let code = code(&text);
        let may_open = ["bytes", "source", "codec", "scan", "baseline", "intel", "history", "cli", "main"];
        for (words, allowed) in
            [(&files[..], may_open.contains(&module.as_str())), (&clock[..], rank_is_top(&module))]
        {
            if allowed {
                continue;
            }
            broken.extend(
                words
                    .iter()
                    .filter(|word| code.contains(*word))
                    .map(|word| format!("{}: {word}", path.display())),
            );
        }
        if !rank_is_top(&module)
            && ["println!", "eprintln!", "print!(", "process::exit"].iter().any(|p| code.contains(p))
        {
            broken.push(format!("{}: prints or exits", path.display()));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn rank_is_top(module: &str) -> bool {
    matches!(module, "cli" | "main")
}

#[test]
fn files_stand_beside_their_folders() {
    let misplaced: Vec<PathBuf> = sources().into_keys().filter(|path| path.ends_with("mod.rs")).collect();
    assert_eq!(misplaced, Vec::<PathBuf>::new(), "write x.rs beside x/, never mod.rs");
}
