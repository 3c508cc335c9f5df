//! What rpm calls a package: name, epoch, version, release and architecture (rpm-version(7), and the names of
//! artifacts in modulemd).
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::fmt;

/// Epoch, version and release; prints as `[epoch:]version[-release]`, with no epoch if it is 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evr {
    /// The epoch; none is 0.
    pub epoch: u32,
    /// The upstream version.
    pub version: String,
    /// The release; empty if there is none.
    pub release: String,
}

impl Evr {
    /// From its parts as attributes give them, where no epoch may also be written as nothing. `None` if the
    /// epoch is no number of 32 bits.
    #[must_use]
    pub fn of_parts(epoch: &str, version: String, release: String) -> Option<Self> {
        let epoch = epoch.trim_ascii();
        let epoch = if epoch.is_empty() { 0 } else { number(epoch)? };
        Some(Evr { epoch, version, release })
    }
}

impl fmt::Display for Evr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch != 0 {
            write!(f, "{}:", self.epoch)?;
        }
        f.write_str(&self.version)?;
        if !self.release.is_empty() {
            write!(f, "-{}", self.release)?;
        }
        Ok(())
    }
}

/// A package by its full name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nevra {
    /// Its name.
    pub name: String,
    /// Its version.
    pub evr: Evr,
    /// Its architecture.
    pub arch: String,
}

impl Nevra {
    /// Reads `name-[epoch:]version-release.arch`, as modulemd lists artifacts; `None` if a part is missing.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let (rest, arch) = text.rsplit_once('.')?;
        let (rest, release) = rest.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        let (epoch, version) = version.split_once(':').unwrap_or(("", version));
        let are_there = [name, version, release, arch].iter().all(|part| !part.is_empty());
        let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
        if !are_there || !is_plain {
            return None;
        }
        let evr = Evr::of_parts(epoch, version.to_owned(), release.to_owned())?;
        Some(Nevra { name: name.to_owned(), evr, arch: arch.to_owned() })
    }
}

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}", self.name, self.evr, self.arch)
    }
}

/// Decimal digits, and nothing else.
pub(super) fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_are_taken_apart() {
        for (text, want) in [
            ("dwm-0:6.1-8.module_f30+2696.x86_64", Some(("dwm", 0, "6.1", "8.module_f30+2696", "x86_64"))),
            ("a-b-3:10.5.16-2.noarch", Some(("a-b", 3, "10.5.16", "2", "noarch"))),
            ("a-1-2.src", Some(("a", 0, "1", "2", "src"))),
            ("a-1:-2.src", None),
            ("a-x:1-2.src", None),
            ("a-4294967296:1-2.src", None),
            ("a-+1:1-2.src", None),
            ("a-1.src", None),
            ("-1-2.src", None),
            ("a-1-2", None),
            ("a-1-2.", None),
            ("a/b-1-2.src", None),
            ("", None),
        ] {
            let found = Nevra::of(text);
            let told =
                found.as_ref().map(|n| (&*n.name, n.evr.epoch, &*n.evr.version, &*n.evr.release, &*n.arch));
            assert_eq!(told, want, "{text}");
        }
        assert_eq!(Nevra::of("a-0:1-2.src").unwrap().to_string(), "a-1-2.src");
        assert_eq!(Nevra::of("a-7:1-2.src").unwrap().to_string(), "a-7:1-2.src");
    }
}
