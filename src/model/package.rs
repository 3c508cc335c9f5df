//! An installed package.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StratumId;
use super::{ImagePath, Time};

/// Whose naming and version order a package follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ecosystem {
    /// Debian packages: dpkg.
    Deb,
    /// Alpine packages: apk.
    Apk,
    /// Packages of Red Hat, SUSE and their kin: rpm.
    Rpm,
    /// Packages of Arch Linux and its kin: pacman.
    Alpm,
    /// Packages of OpenWrt until 24.10 and of Yocto: opkg.
    Opkg,
    /// Packages of Void Linux: xbps.
    Xbps,
    /// Packages of Gentoo and its kin: portage.
    Ebuild,
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ecosystem::Deb => "deb",
            Ecosystem::Apk => "apk",
            Ecosystem::Rpm => "rpm",
            Ecosystem::Alpm => "alpm",
            Ecosystem::Opkg => "opkg",
            Ecosystem::Xbps => "xbps",
            Ecosystem::Ebuild => "ebuild",
        })
    }
}

/// The source package that a binary package was built from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SourcePackage {
    /// Its name.
    pub name: String,
    /// Its version; it differs from the binary's for rebuilds (`+b1`) and where a source says so.
    pub version: String,
}

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// Whose naming and order it follows.
    pub ecosystem: Ecosystem,
    /// Its name.
    pub name: String,
    /// Its architecture in the words of its package manager (`amd64`, `all`).
    pub arch: String,
    /// Its version as written.
    pub version: String,
    /// The source that it was built from.
    pub source: SourcePackage,
    /// The module and its stream that it is of (`nodejs:18`), where it is of a module of rpm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Package URL.
    pub purl: String,
    /// The database or file that says so.
    pub path: ImagePath,
    /// The lowest stratum since which its name and version are unbroken.
    pub stratum: StratumId,
    /// Who published it, where the package says so (`Origin`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Who maintains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintainer: Option<String>,
    /// Sources that were built into it (`Built-Using`, `Static-Built-Using`), sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub built_using: Vec<SourcePackage>,
    /// The package manager's state, where it is not plainly installed (`half-configured`, `hold`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// When it was installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed_at: Option<Time>,
    /// When it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_at: Option<Time>,
}

impl Package {
    /// The name of its source with the module stream, where it is of one: `nodejs/nodejs:18`. The streams of a
    /// module are published side by side, each with versions of its own.
    #[must_use]
    pub fn source_key(&self) -> String {
        match &self.stream {
            Some(stream) => format!("{}/{stream}", self.source.name),
            None => self.source.name.clone(),
        }
    }
}
