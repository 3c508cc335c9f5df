//! What single files say: one variant a kind of result, not a variant a format.

use std::fmt;
use std::ops::BitOr;

use serde::{Deserialize, Serialize};

use crate::format::bls::BlsEntry;
use crate::format::extlinux::Extlinux;
use crate::format::grub_cfg::Script;
use crate::model::{Ecosystem, ImagePath, OsInfo, Package, ReleaseEntry};

/// What a scan is for. An audit needs less than a baseline, and what is not needed is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Needs(u8);

impl Needs {
    /// Nothing: the layers are read and their digests checked.
    pub const NONE: Needs = Needs(0);
    /// Packages of the operating system's package managers, and what names the system.
    pub const OS_PACKAGES: Needs = Needs(1);
    /// What changelogs say of releases.
    pub const HISTORY: Needs = Needs(2);
    /// Which package owns which file.
    pub const OWNERSHIP: Needs = Needs(4);

    /// Whether some of `other` is in it.
    #[must_use]
    pub fn any(self, other: Needs) -> bool {
        self.0 & other.0 != 0
    }

    /// The needs as one number, for keys.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Needs {
    type Output = Needs;

    fn bitor(self, other: Needs) -> Needs {
        Needs(self.0 | other.0)
    }
}

/// One thing that one file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// What the system calls itself.
    Os(OsInfo),
    /// The packages of a database, with the stratum not yet known (0).
    Packages(Vec<Package>),
    /// Changes to a database that are not folded into it yet: by name and architecture the package as it is
    /// now, or `None` if it is no longer installed.
    Amendments(Vec<Amendment>),
    /// The files of a package.
    Files {
        /// The package.
        package: PackageName,
        /// Files and directories, as its list has them.
        paths: Vec<ImagePath>,
    },
    /// MD5 digests of a package's files, as it was shipped.
    Checksums {
        /// The package.
        package: PackageName,
        /// A digest a file.
        md5: Vec<(ImagePath, [u8; 16])>,
    },
    /// Files that a package brings and that are kept elsewhere.
    Diversions(Vec<Diversion>),
    /// The entries of one changelog, newest first.
    History(Vec<ReleaseEntry>),
    /// What a boot loader is told.
    Boot(BootFact),
    /// The text of a file that holds one property of a package.
    Note(String),
}

/// What one file tells a boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BootFact {
    /// A `grub.cfg`, or a part of one.
    GrubConfig(Script),
    /// GRUB's environment block.
    GrubEnvironment(Vec<(String, String)>),
    /// An entry of the Boot Loader Specification: a file that says it, or a unified kernel image.
    BlsEntry(BlsEntry),
    /// systemd-boot's own settings.
    LoaderConf {
        /// The pattern of the default entry.
        default: Option<String>,
    },
    /// A configuration of SYSLINUX, EXTLINUX or U-Boot.
    Extlinux(Extlinux),
    /// It could not be understood, and why.
    Unread(String),
}

/// One change to a package database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amendment {
    /// Whose package it is.
    pub ecosystem: Ecosystem,
    /// The package's name.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// Whether it can be installed beside itself for other architectures.
    pub is_multi_arch_same: bool,
    /// What is installed now.
    pub package: Option<Package>,
}

/// A package as a file name tells it: the architecture only where several can be installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageName {
    /// The name.
    pub name: String,
    /// The architecture, if the file name has one.
    pub arch: Option<String>,
}

/// One diverted file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Diversion {
    /// The path in the package.
    pub from: ImagePath,
    /// Where it is kept.
    pub to: ImagePath,
    /// The package that diverts, whose own file stays at `from`; `None` for a local diversion.
    pub by: Option<String>,
}

/// Where inside a file a fact was found: names of nested members, outermost first; empty for the file itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Member(Vec<ImagePath>);

impl Member {
    /// Whether it is the file itself.
    #[must_use]
    pub fn is_whole_file(&self) -> bool {
        self.0.is_empty()
    }

    /// A member of this member.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Member {
        let mut names = self.0.clone();
        names.push(ImagePath::new(name));
        Member(names)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            write!(f, "{}{name}", if i == 0 { "" } else { "!" })?;
        }
        Ok(())
    }
}
