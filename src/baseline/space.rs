//! Source-version space: where packages are compared, and their releases named.
//!
//! A signed kernel image is built from a source of its own (`linux-signed-amd64`) whose version replaces the
//! revision's hyphen (`6.1.192+2`); it is the kernel `linux` 6.1.192-2, and joins it. Versions of rebuilds
//! (`+b1`) exist in the binary only.
//!
//! A source of rpm is told by the name of its file, which has no epoch; the streams of a module are sources of
//! their own (`nodejs/nodejs:18`).

use std::borrow::Cow;

use crate::model::Package;

/// Name and version of the source that a package is compared as.
#[must_use]
pub fn source_of(package: &Package) -> (Cow<'_, str>, &str) {
    match signed_kernel(&package.source.name) {
        Some(joined) => (joined, without_rebuild(&package.version)),
        None if package.stream.is_some() => (package.source_key().into(), &package.source.version),
        None => (package.source.name.as_str().into(), &package.source.version),
    }
}

/// The source and version that a changelog entry of this source belongs to.
#[must_use]
pub fn joined_source<'a>(source: &'a str, version: &'a str) -> (Cow<'a, str>, Cow<'a, str>) {
    match signed_kernel(source) {
        Some(joined) if version.contains('-') => (joined, version.into()),
        Some(joined) => (joined, version.replacen('+', "-", 1).into()),
        None => (source.into(), version.into()),
    }
}

/// Whether a version was made for the backports.
#[must_use]
pub fn is_backport(version: &str) -> bool {
    version.contains("~bpo")
}

/// The kernel source that a source of signed images stands for: Debian has one an architecture
/// (`linux-signed-amd64`), Ubuntu one a kernel (`linux-signed-hwe-6.5`).
fn signed_kernel(source: &str) -> Option<Cow<'static, str>> {
    match source.strip_prefix("linux-signed")? {
        "" | "-amd64" | "-arm64" | "-armhf" | "-i386" | "-loong64" | "-riscv64" => Some("linux".into()),
        rest if rest.starts_with('-') => Some(format!("linux{rest}").into()),
        _ => None,
    }
}

/// A binary version without the suffix of a rebuild (`1.2-3+b1`).
fn without_rebuild(version: &str) -> &str {
    match version.rsplit_once("+b") {
        Some((before, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => before,
        _ => version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_kernels_join_the_kernel() {
        for (source, version, want) in [
            ("linux-signed-amd64", "6.1.192+2", ("linux", "6.1.192-2")),
            ("linux-signed-amd64", "6.12.9+1~bpo12+1", ("linux", "6.12.9-1~bpo12+1")),
            ("linux-signed-hwe-6.5", "6.5.0-41.41~22.04.2", ("linux-hwe-6.5", "6.5.0-41.41~22.04.2")),
            ("linux", "6.1.192-1", ("linux", "6.1.192-1")),
            ("linux-signedness", "1+2", ("linux-signedness", "1+2")),
            ("openssl", "3.0.22-1~deb12u2", ("openssl", "3.0.22-1~deb12u2")),
        ] {
            let got = joined_source(source, version);
            assert_eq!((&*got.0, &*got.1), want, "{source} {version}");
        }
        assert_eq!(without_rebuild("6.1.192-2+b1"), "6.1.192-2");
        assert_eq!(without_rebuild("1.0+beta"), "1.0+beta");
    }
}
