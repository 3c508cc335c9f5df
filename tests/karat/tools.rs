//! The tools that say what is true. A test that asks one is skipped, and says so, where it is not installed;
//! with `KARAT_REQUIRE_TOOLS=1` it fails instead.
#![allow(clippy::print_stderr, reason = "a skipped test has to be seen")]

use std::path::PathBuf;

/// Where a tool is; `None` if the test has to be skipped.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        let is_required = std::env::var_os("KARAT_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!is_required, "`{name}` is not installed, and KARAT_REQUIRE_TOOLS is set");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        eprintln!("skipped: {test}: `{name}` is not installed");
    }
    found
}
