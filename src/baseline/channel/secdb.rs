//! Alpine's security database and those made like it (Wolfi, Chainguard): `main.json`, `community.json`,
//! `security.json`. One file a branch and repository, for every architecture:
//!
//! ```text
//! {"distroversion": "v3.20", "reponame": "main", "packages": [
//!   {"pkg": {"name": "openssl", "secfixes": {"3.3.2-r0": ["CVE-2024-6119"], "0": ["CVE-2023-5678"]}}}]}
//! ```
//!
//! `name` is a source; `secfixes` has by its version what that fixed. Version `0` says that no version was ever
//! affected. A fix has no date of its own, and versions that fix nothing are not listed: the database publishes
//! versions and CVE ids, and proves no absence.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::changelogs::{count, some_of};
use super::files;
use super::names::{self, Named};
use super::{ChannelInput, ChannelKind, Published, ReadOptions};
use crate::bytes::read_stream;
use crate::error::{Error, Result};
use crate::format::cve;
use crate::model::version::apk as order;
use crate::model::{Advisory, Ecosystem};

#[derive(Deserialize)]
struct Database {
    #[serde(default)]
    distroversion: Option<String>,
    reponame: String,
    packages: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    pkg: Fixes,
}

#[derive(Deserialize)]
struct Fixes {
    name: String,
    #[serde(default)]
    secfixes: Option<BTreeMap<String, Option<Vec<String>>>>,
}

/// Whether a text starts as such a database does.
pub(super) fn starts_as_database(head: &[u8]) -> bool {
    let has = |key: &str| memchr::memmem::find(head, key.as_bytes()).is_some();
    head.trim_ascii_start().starts_with(b"{")
        && has("\"reponame\"")
        && (has("\"secfixes\"") || has("\"apkurl\""))
}

/// Reads a database, for the platform that the user said.
///
/// # Errors
/// `Config` if the user said no platform, or the database is for another; otherwise as [`super::read`] says.
pub(super) fn read(path: &Path, id: &str, options: &ReadOptions<'_>) -> Result<ChannelInput> {
    let limits = options.limits;
    let (text, whole) =
        files::inflate(path, limits, |stream| read_stream(stream, limits.channel_index_bytes))?;
    let database: Database = serde_json::from_slice(&text).map_err(|error| {
        Error::malformed(
            "security database",
            "text",
            None,
            error.to_string(),
            "reponame and packages with secfixes",
        )
    })?;
    let branch = database.distroversion.as_deref();
    let shelf = branch.map_or(database.reponame.clone(), |branch| format!("{branch}/{}", database.reponame));
    let Some(platform) = options.platform else {
        let hint = "name it with its platform: --channel alpine/3.20/x86_64=PATH";
        return Err(
            Error::config("a security database is for every architecture, and none was said").hint(hint)
        );
    };
    let release = branch.map(|branch| branch.strip_prefix('v').unwrap_or(branch));
    let named = Named {
        release: release.map(|release| ("alpine".to_owned(), release.to_owned())),
        is_distributions_own: true,
        suite: Some(shelf.clone()),
    };
    if let Some(error) = names::contradiction(&named, platform) {
        return Err(error);
    }
    let mut advisories = Vec::new();
    let (mut odd, mut unaffected) = (Vec::new(), 0_usize);
    for Fixes { name, secfixes } in database.packages.into_iter().map(|entry| entry.pkg) {
        for (version, ids) in secfixes.unwrap_or_default() {
            if version == "0" {
                unaffected = unaffected.saturating_add(1);
                continue;
            }
            if order::check(&version).is_err() {
                odd.push(format!("{name} {version}"));
                continue;
            }
            let mut cves = Vec::new();
            ids.iter().flatten().for_each(|text| cve::ids(text.as_bytes(), &mut cves));
            cves.sort();
            cves.dedup();
            let advisory = Advisory {
                id: format!("secdb:{shelf}"),
                kind: "security".to_owned(),
                issued: None,
                severity: None,
                reboot_suggested: false,
                cves,
            };
            advisories.push(Published { ecosystem: Ecosystem::Apk, source: name.clone(), version, advisory });
        }
    }
    advisories.sort_unstable();
    advisories.dedup();
    let mut notes = Vec::new();
    if !odd.is_empty() {
        let what = count(odd.len(), "version that apk cannot order", "versions that apk cannot order");
        let names: Vec<&str> = odd.iter().map(String::as_str).collect();
        notes.push(format!("{what}, passed over: {}", some_of(&names)));
    }
    if unaffected > 0 {
        let what = count(unaffected, "source was never affected by", "sources were never affected by");
        notes.push(format!("{what} what is listed for version 0"));
    }
    Ok(ChannelInput {
        id: id.to_owned(),
        kind: ChannelKind::SecurityDatabase,
        platform: Some(platform.clone()),
        suite: named.suite,
        taken_at: options.taken_at,
        valid_until: None,
        lists_all: false,
        whole_components: Vec::new(),
        digest: whole.sha256,
        packages: Vec::new(),
        releases: Vec::new(),
        advisories,
        notes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    const TEXT: &str = r#"{"apkurl":"{{urlprefix}}/x","archs":["x86_64"],"reponame":"main","distroversion":"v3.20",
        "packages":[{"pkg":{"name":"openssl","secfixes":{"3.3.2-r0":["CVE-2024-6119","CVE-2024-1234 GHSA-aaaa"],
        "0":["CVE-2023-5678"],"1.0+x":["CVE-2020-1"],"3.3.1-r0":null}}},{"pkg":{"name":"zlib"}}]}"#;

    #[test]
    fn fixes_are_read() {
        assert!(starts_as_database(TEXT.as_bytes()) && !starts_as_database(b"{\"packages\":[]}"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("main.json");
        std::fs::write(&path, TEXT).unwrap();
        let limits = Limits::default();
        let read_for = |platform: Option<&str>| {
            let platform = platform.map(|platform| platform.parse().unwrap());
            let options =
                ReadOptions { limits: &limits, platform: platform.as_ref(), taken_at: None, threads: 1 };
            super::super::read(&path, &options)
        };
        let input = read_for(Some("alpine/3.20/x86_64")).unwrap().remove(0);
        assert_eq!((input.kind, input.suite.as_deref()), (ChannelKind::SecurityDatabase, Some("v3.20/main")));
        let told: Vec<_> = input
            .advisories
            .iter()
            .map(|p| (p.source.as_str(), p.version.as_str(), p.advisory.cves.join(" ")))
            .collect();
        let want = [
            ("openssl", "3.3.1-r0", String::new()),
            ("openssl", "3.3.2-r0", "CVE-2024-1234 CVE-2024-6119".into()),
        ];
        assert_eq!(told, want);
        assert_eq!(input.notes.len(), 2, "{:?}", input.notes);
        assert!(read_for(Some("alpine/3.19/x86_64")).unwrap_err().to_string().contains("alpine/3.20"));
        assert!(read_for(None).unwrap_err().to_string().contains("none was said"));
        std::fs::write(&path, &TEXT[..TEXT.len() - 1]).unwrap();
        assert!(read_for(Some("alpine/3.20/x86_64")).is_err());
    }
}
