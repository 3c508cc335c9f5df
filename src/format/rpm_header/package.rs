//! What a header says of a package as a whole.

use super::{FORMAT, Header, tags, utf8};
use crate::error::{Error, Result, quoted};
use crate::model::{Ecosystem, ImagePath, Package, SourcePackage, StratumId, Time};

/// A package as its header has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpmPackage {
    /// Its name.
    pub name: String,
    /// Its epoch, where it has one.
    pub epoch: Option<u32>,
    /// The upstream version.
    pub version: String,
    /// The packaging's own number, with what tells the distribution (`27.el9_4`).
    pub release: String,
    /// Its architecture (`x86_64`, `noarch`); empty where it has none, as keys have.
    pub arch: String,
    /// Who published it.
    pub vendor: Option<String>,
    /// Who packaged it.
    pub packager: Option<String>,
    /// The file name of the source package (`bash-5.1.8-6.el9.src.rpm`); `None` for a source package itself.
    pub source_rpm: Option<String>,
    /// The module that it is of, as `name:stream:version:context`.
    pub module: Option<String>,
    /// When it was built.
    pub built_at: Option<Time>,
    /// When it was installed.
    pub installed_at: Option<Time>,
    /// Whether it is a source package.
    pub is_source: bool,
}

impl RpmPackage {
    /// Whether it is the key of a publisher, which rpm keeps as if it were a package.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.name == "gpg-pubkey"
    }

    /// `[epoch:]version-release`; an epoch of 0 is none.
    #[must_use]
    pub fn evr(&self) -> String {
        match self.epoch {
            Some(epoch) if epoch > 0 => format!("{epoch}:{}-{}", self.version, self.release),
            _ => format!("{}-{}", self.version, self.release),
        }
    }

    /// The module and its stream (`nodejs:18`), where it is of a module.
    #[must_use]
    pub fn stream(&self) -> Option<String> {
        let mut parts = self.module.as_deref()?.split(':');
        match (parts.next()?, parts.next()?) {
            ("", _) | (_, "") => None,
            (name, stream) => Some(format!("{name}:{stream}")),
        }
    }

    /// The package as an inventory has it, without purl, path and stratum. Its source's version is that of the
    /// source package's file name, which has no epoch.
    #[must_use]
    pub fn into_package(self) -> Package {
        let version = self.evr();
        let source = match self.source_rpm.as_deref().and_then(source_of_file_name) {
            Some((name, version)) => SourcePackage { name: name.to_owned(), version: version.to_owned() },
            None => SourcePackage {
                name: self.name.clone(),
                version: format!("{}-{}", self.version, self.release),
            },
        };
        Package {
            ecosystem: Ecosystem::Rpm,
            stream: self.stream(),
            name: self.name,
            arch: self.arch,
            version,
            source,
            purl: String::new(),
            path: ImagePath::root(),
            stratum: StratumId(0),
            origin: self.vendor,
            maintainer: self.packager,
            built_using: Vec::new(),
            state: None,
            installed_at: self.installed_at,
            built_at: self.built_at,
        }
    }
}

impl Header<'_> {
    /// The package.
    ///
    /// # Errors
    /// `Malformed` if name, version or release are missing, are not UTF-8 or hold what no package manager
    /// takes, or if anything else of it is of another type than its tag has.
    pub fn package(&self) -> Result<RpmPackage> {
        let epoch = match self.number(tags::EPOCH)? {
            Some(epoch) => Some(
                u32::try_from(epoch)
                    .map_err(|_| Error::malformed(FORMAT, "EPOCH", None, epoch.to_string(), "32 bits"))?,
            ),
            None => None,
        };
        Ok(RpmPackage {
            name: self.word(tags::NAME, "NAME")?,
            epoch,
            version: self.word(tags::VERSION, "VERSION")?,
            release: self.word(tags::RELEASE, "RELEASE")?,
            arch: self.optional(tags::ARCH)?.filter(|arch| arch != "(none)").unwrap_or_default(),
            vendor: self.said(tags::VENDOR)?,
            packager: self.said(tags::PACKAGER)?,
            source_rpm: self.optional(tags::SOURCE_RPM)?.filter(|name| !name.is_empty() && name != "(none)"),
            module: self.optional(tags::MODULARITY_LABEL)?.filter(|label| !label.is_empty()),
            built_at: self.time(tags::BUILD_TIME)?,
            installed_at: self.time(tags::INSTALL_TIME)?,
            is_source: self.number(tags::SOURCE_PACKAGE)?.is_some(),
        })
    }

    /// The name as far as it can be told, for messages about the rest.
    #[must_use]
    pub fn name_for_messages(&self) -> Option<String> {
        self.text(tags::NAME).ok().flatten().map(quoted)
    }

    /// A text that has to be there and is one word.
    fn word(&self, tag: u32, field: &'static str) -> Result<String> {
        let flaw = |found: &str| {
            Error::malformed(
                FORMAT,
                field,
                None,
                found,
                "one word of letters, digits and other printable signs",
            )
        };
        let text = self.text(tag)?.ok_or_else(|| flaw("none"))?;
        if text.is_empty() || !text.iter().all(|b| b.is_ascii_graphic()) {
            return Err(flaw(&quoted(text)));
        }
        utf8(tag, text)
    }

    fn optional(&self, tag: u32) -> Result<Option<String>> {
        self.text(tag)?.map(|text| utf8(tag, text)).transpose()
    }

    /// What people wrote, which old packages have in other encodings; bytes that are not UTF-8 as U+FFFD.
    fn said(&self, tag: u32) -> Result<Option<String>> {
        let text = self.text(tag)?.map(|text| String::from_utf8_lossy(text).trim().to_owned());
        Ok(text.filter(|text| !text.is_empty() && text != "(none)"))
    }

    fn time(&self, tag: u32) -> Result<Option<Time>> {
        let seconds = self.number(tag)?.and_then(|seconds| i64::try_from(seconds).ok());
        Ok(seconds.filter(|seconds| *seconds > 0).and_then(Time::from_unix))
    }
}

/// Name and version of a source package by its file name: `bash` and `5.1.8-6.el9` of
/// `bash-5.1.8-6.el9.src.rpm`. The file name has no epoch.
#[must_use]
pub fn source_of_file_name(file_name: &str) -> Option<(&str, &str)> {
    let stem = file_name.strip_suffix(".src.rpm").or_else(|| file_name.strip_suffix(".nosrc.rpm"))?;
    let (rest, release) = stem.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let all = [name, version, release];
    let version = stem.get(name.len().saturating_add(1)..)?;
    all.iter().all(|part| !part.is_empty()).then_some((name, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_by_file_names() {
        for (file, want) in [
            ("bash-5.1.8-6.el9.src.rpm", Some(("bash", "5.1.8-6.el9"))),
            ("python-six-1.16.0-1.src.rpm", Some(("python-six", "1.16.0-1"))),
            ("kernel-5.14-1.nosrc.rpm", Some(("kernel", "5.14-1"))),
            ("bash-5.1.8-6.el9.x86_64.rpm", None),
            ("bash-5.src.rpm", None),
            ("--.src.rpm", None),
        ] {
            assert_eq!(source_of_file_name(file), want, "{file}");
        }
    }
}
