//! The changelog of a header: who changed what, when, newest first.

use super::{Header, malformed, tags};
use crate::error::Result;
use crate::format::cve;
use crate::limits::Limits;
use crate::model::version::rpm::without_epoch;
use crate::model::{Ecosystem, Package, ReleaseEntry, Time};

/// One entry, as far as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The day that its author gave, at noon in UTC as rpm has it.
    pub dated: Option<Time>,
    /// The author; with most distributions the version that was made stands behind.
    pub author: &'a [u8],
    /// What was changed.
    pub text: &'a [u8],
}

impl<'a> Header<'a> {
    /// The entries of the changelog, newest first; none if the package has none.
    ///
    /// # Errors
    /// `Malformed` if there are not as many days, authors and texts; `Limit` for too many.
    pub fn changelog(&self, limits: &Limits) -> Result<Vec<Change<'a>>> {
        let times = self.numbers(tags::CHANGELOG_TIME)?;
        let authors = self.texts(tags::CHANGELOG_NAME)?;
        let texts = self.texts(tags::CHANGELOG_TEXT)?;
        if authors.left != times.len() || texts.left != times.len() {
            let found = format!("{} days, {} authors, {} texts", times.len(), authors.left, texts.left);
            return Err(malformed("changelog", 0, found, "as many of each"));
        }
        limits.records.check(crate::bytes::size_of_len(times.len()))?;
        let entries = times.into_iter().zip(authors).zip(texts);
        let change = |((seconds, author), text)| Change {
            dated: Time::from_unix(i64::from(seconds)).filter(|_| seconds > 0),
            author,
            text,
        };
        Ok(entries.map(change).collect())
    }
}

/// The version that the line of an entry's author ends in, where it does: `1:3.0.7-27` of
/// `Jane Doe <jane@example.org> - 1:3.0.7-27`. SUSE's name none. What tells the distribution (`.el9`) is mostly
/// left out.
#[must_use]
pub fn stated_version(author: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(author).ok()?.trim_end();
    let behind = text.rsplit_once('>').map_or(text, |(_, behind)| behind);
    let word = behind.split_ascii_whitespace().next_back()?;
    let word = word.trim_start_matches(['-', '[', '(', '<']).trim_end_matches([']', ')', '>', ':', ',']);
    let word = word.strip_prefix('v').unwrap_or(word);
    let is_sign = |b: u8| b.is_ascii_alphanumeric() || b".:_+~^-".contains(&b);
    (word.starts_with(|c: char| c.is_ascii_digit()) && word.bytes().all(is_sign)).then_some(word)
}

/// What a changelog says: one entry a version that it names, newest first, with the CVE ids; the first is that of
/// the package itself.
///
/// The newest entries belong to the package's version, whatever version they state or none; entries that state
/// another belong to that, and those without one to the next entry above that states one. SUSE states none, so
/// that everything is the package's.
#[must_use]
pub fn release_entries(package: &Package, changes: &[Change<'_>]) -> Vec<ReleaseEntry> {
    let source = package.source_key();
    let installed = package.source.version.as_str();
    let blank = |version: &str, dated: Option<Time>| ReleaseEntry {
        ecosystem: Ecosystem::Rpm,
        source: source.clone(),
        version: version.to_owned(),
        suites: Vec::new(),
        urgency: None,
        dated,
        rebuild: false,
        superseded_by: None,
        cves: Vec::new(),
    };
    let mut all = vec![blank(installed, changes.first().and_then(|change| change.dated))];
    let mut is_of_installed = true;
    for change in changes {
        let stated = stated_version(change.author).map(without_epoch);
        let is_new = match (stated, all.last()) {
            (None, _) => false,
            (Some(stated), _) if is_of_installed => !is_release(stated, installed),
            (Some(stated), Some(last)) => last.version != stated,
            (Some(_), None) => true,
        };
        if let Some(stated) = stated.filter(|_| is_new) {
            // The newest entry is of what was built, also where its author forgot to raise the number.
            let is_newest = std::ptr::eq(change, changes.as_ptr());
            if !is_newest {
                is_of_installed = false;
                all.push(blank(stated, change.dated));
            }
        }
        if let Some(entry) = all.last_mut() {
            cve::ids(change.text, &mut entry.cves);
        }
    }
    for entry in &mut all {
        entry.cves.sort_unstable();
        entry.cves.dedup();
    }
    all
}

/// Whether a version that a changelog states is that of a package: what tells the distribution is mostly left
/// out (`3.0.7-27` of `3.0.7-27.el9_4`), and sometimes the release.
#[must_use]
pub fn is_release(stated: &str, version: &str) -> bool {
    let Some(rest) = version.strip_prefix(stated) else { return false };
    rest.is_empty()
        || rest.starts_with('-') && !stated.contains('-')
        || rest.strip_prefix('.').is_some_and(|tag| tag.starts_with(|c: char| c.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ImagePath, SourcePackage, StratumId};

    #[test]
    fn versions_stand_behind_authors() {
        for (author, want) in [
            ("Jane Doe <jane@example.org> - 1:3.0.7-27", Some("1:3.0.7-27")),
            ("Jane Doe <jane@example.org> 5.1.8-6", Some("5.1.8-6")),
            ("Jane Doe <jane@example.org> [5.14.0-427.13.1.el9_4]", Some("5.14.0-427.13.1.el9_4")),
            ("Jane Doe <jane@example.org> -1.2-3", Some("1.2-3")),
            ("Jane Doe <jane@example.org> - 2.28-251.el8_10.2", Some("2.28-251.el8_10.2")),
            ("Jane Doe 1.2-3", Some("1.2-3")),
            ("Jane Doe <jane@example.org> - v1.2", Some("1.2")),
            ("Jane Doe <jane@example.org>", None),
            ("jane@suse.com", None),
            ("Jane Doe <jane@example.org> - rebuilt", None),
            ("Jane Doe <jane@example.org> - 1.2/3", None),
            ("", None),
        ] {
            assert_eq!(stated_version(author.as_bytes()), want, "{author}");
        }
    }

    #[test]
    fn a_stated_version_is_that_of_a_package_without_its_tag() {
        for (stated, version, want) in [
            ("3.0.7-27", "3.0.7-27.el9_4", true),
            ("3.0.7-27.el9_4", "3.0.7-27.el9_4", true),
            ("3.0.7", "3.0.7-27.el9_4", true),
            ("3.0.7-2", "3.0.7-27.el9_4", false),
            ("3.0.7-27", "3.0.7-27.1.el9_4", false),
            ("3.0.7-26", "3.0.7-27.el9_4", false),
            ("3.0", "3.0.7-27.el9_4", false),
        ] {
            assert_eq!(is_release(stated, version), want, "{stated} {version}");
        }
    }

    fn told(source_version: &str, changes: &[(&str, &str)]) -> Vec<(String, Vec<String>)> {
        let package = Package {
            ecosystem: Ecosystem::Rpm,
            stream: None,
            name: "openssl-libs".into(),
            arch: "x86_64".into(),
            version: format!("1:{source_version}"),
            source: SourcePackage { name: "openssl".into(), version: source_version.into() },
            purl: String::new(),
            path: ImagePath::root(),
            stratum: StratumId(0),
            origin: None,
            maintainer: None,
            built_using: Vec::new(),
            state: None,
            installed_at: None,
            built_at: None,
        };
        let changes: Vec<Change<'_>> = changes
            .iter()
            .map(|(author, text)| Change { dated: None, author: author.as_bytes(), text: text.as_bytes() })
            .collect();
        release_entries(&package, &changes).into_iter().map(|entry| (entry.version, entry.cves)).collect()
    }

    #[test]
    fn entries_belong_to_the_version_that_they_state() {
        let red_hat = told(
            "3.0.7-28.el9_4",
            &[
                ("A <a@example.org> - 1:3.0.7-28", "fix CVE-2024-5535"),
                ("A <a@example.org> - 1:3.0.7-27", "fix CVE-2023-5678"),
                ("A <a@example.org>", "fix CVE-2023-6129"),
                ("A <a@example.org> - 1:3.0.7-26", "none"),
            ],
        );
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<String>>();
        assert_eq!(
            red_hat,
            [
                ("3.0.7-28.el9_4".to_owned(), ids(&["CVE-2024-5535"])),
                ("3.0.7-27".to_owned(), ids(&["CVE-2023-5678", "CVE-2023-6129"])),
                ("3.0.7-26".to_owned(), ids(&[])),
            ]
        );
        let suse =
            told("3.0.8-150500.5.42.1", &[("a@suse.com", "CVE-2024-5535"), ("b@suse.com", "CVE-2023-5678")]);
        assert_eq!(suse, [("3.0.8-150500.5.42.1".to_owned(), ids(&["CVE-2023-5678", "CVE-2024-5535"]))]);
        let forgotten = told(
            "1.2-4.el9",
            &[("A <a@example.org> - 1.2-3", "CVE-2024-0001"), ("A <a@example.org> - 1.2-2", "CVE-2023-0001")],
        );
        assert_eq!(forgotten[0], ("1.2-4.el9".to_owned(), ids(&["CVE-2024-0001"])));
        assert_eq!(forgotten[1], ("1.2-2".to_owned(), ids(&["CVE-2023-0001"])));
    }
}
