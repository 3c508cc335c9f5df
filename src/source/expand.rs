//! Names of images with patterns in them: `images/*.tar`, `fleet/**/*.tar.gz`, `rootfs-tar:exports/*`.

use glob::{MatchOptions, Pattern, glob_with};

use super::{exists, split_prefix};
use crate::error::{Error, Result};
use crate::model::ImageKind;

/// Names start with a dot only where the pattern does, and `*` stays within a directory, as in a shell.
const LIKE_A_SHELL: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Whether a path has characters of a pattern.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Replaces patterns by the files and directories that they match, sorted; a prefix that forces a kind goes
/// before each. What leads to something as it is, and what matches nothing, stays as it is: opening it says so.
///
/// # Errors
/// `Config` for a pattern that is none, or a match whose name is not UTF-8; `Io` if a directory on the way
/// cannot be read.
pub fn expand(references: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::with_capacity(references.len());
    for reference in references {
        let matches = matches(reference).map_err(|error| error.at(reference.clone()))?;
        if matches.is_empty() {
            all.push(reference.clone());
        }
        all.extend(matches);
    }
    Ok(all)
}

fn matches(reference: &str) -> Result<Vec<String>> {
    // What cannot be split is for opening to refuse.
    let Ok((kind, path)) = split_prefix(reference) else { return Ok(Vec::new()) };
    if kind == Some(ImageKind::Registry) {
        return Ok(Vec::new());
    }
    let is_there = exists(path) || path.rsplit_once('#').is_some_and(|(file, _)| exists(file));
    if is_there || !is_pattern(path) {
        return Ok(Vec::new());
    }
    Pattern::new(path).map_err(|error| Error::config(format!("no pattern: {}", error.msg)))?;
    let prefix = reference.strip_suffix(path).unwrap_or("");
    let mut found = Vec::new();
    for path in glob_with(path, LIKE_A_SHELL).map_err(|error| Error::config(error.msg))? {
        let path = path.map_err(|error| {
            Error::from(std::io::Error::from(error.error().kind())).at(error.path().display().to_string())
        })?;
        let Some(path) = path.to_str() else {
            let shown = path.display();
            return Err(Error::config(format!("the name of `{shown}`, which it matches, is not UTF-8"))
                .hint("rename it: reports name images in UTF-8"));
        };
        found.push(format!("{prefix}{path}"));
    }
    found.sort();
    Ok(found)
}
