//! What an image (or host) holds, and what could not be read of it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ImagePath, Package, Platform, ReleaseEntry, Sha256, StratumId, Time};

/// What the user named, as an inventory: the contract `karat-inventory/1`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Inventory {
    /// Always `karat-inventory/1`.
    pub schema: String,
    /// The version of karat that made it.
    pub karat: String,
    /// When the image was read.
    pub taken_at: Time,
    /// SHA-256 over what the image holds (its systems without their strata, and its gaps), whatever it was
    /// wrapped in.
    pub content_id: Sha256,
    /// The image.
    pub image: ImageInfo,
    /// Its systems; none if nothing could be read.
    pub systems: Vec<System>,
    /// Its strata, lowest first.
    pub strata: Vec<StratumInfo>,
    /// Every place that was or should have been read.
    pub coverage: Vec<Coverage>,
    /// What should have been read and was not.
    pub gaps: Vec<Gap>,
}

/// The schema that this version writes.
pub const INVENTORY_SCHEMA: &str = "karat-inventory/1";

/// The image itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImageInfo {
    /// As the user named it; where one archive holds several, with the image's own name behind `#`.
    pub reference: String,
    /// What it turned out to be.
    pub kind: ImageKind,
    /// The manifest's digest (OCI) or the configuration's (docker archive).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256>,
    /// When it was built, as its configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// The platform in the words of OCI (`linux/amd64`), where the wrapping says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_arch: Option<String>,
}

/// What the user's name turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ImageKind {
    /// What `docker save` writes.
    DockerArchive,
    /// An OCI image layout in a tar.
    OciArchive,
    /// An OCI image layout as a directory.
    OciDir,
    /// What `skopeo copy … dir:` writes.
    SkopeoDir,
    /// A root file system as a directory.
    Dir,
    /// A root file system in a tar.
    RootfsTar,
    /// Disks of a virtual machine, whatever their format, also compressed or in an archive.
    Disk,
    /// An inventory that karat wrote.
    Inventory,
    /// An image in a registry.
    Registry,
}

impl ImageKind {
    /// As it is written before an image's name to force it.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            ImageKind::DockerArchive => "docker-archive",
            ImageKind::OciArchive => "oci-archive",
            ImageKind::OciDir => "oci-dir",
            ImageKind::SkopeoDir => "skopeo-dir",
            ImageKind::Dir => "dir",
            ImageKind::RootfsTar => "rootfs-tar",
            ImageKind::Disk => "disk",
            ImageKind::Inventory => "inventory",
            ImageKind::Registry => "registry",
        }
    }

    /// All kinds.
    pub const ALL: [ImageKind; 9] = [
        ImageKind::DockerArchive,
        ImageKind::OciArchive,
        ImageKind::OciDir,
        ImageKind::SkopeoDir,
        ImageKind::Dir,
        ImageKind::RootfsTar,
        ImageKind::Disk,
        ImageKind::Inventory,
        ImageKind::Registry,
    ];
}

impl fmt::Display for ImageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix())
    }
}

/// One operating system root inside an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct System {
    /// What it is; `None` if it names itself nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The channel, where it is not the platform's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Where its root is.
    pub root: ImagePath,
    /// The volume that its root is on, where the image has several systems: `partition 2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// How it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<OsInfo>,
    /// What its boot loader starts by itself; `None` if it has none, as containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<Boot>,
    /// Its packages, sorted.
    pub packages: Vec<Package>,
    /// What its changelogs say, sorted; only where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub releases: Vec<ReleaseEntry>,
}

/// What the boot loader of a system starts when nobody chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Boot {
    /// The boot loader.
    pub loader: BootLoader,
    /// The file that says what it starts.
    pub config: ImagePath,
    /// The title of the default entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The path of its kernel, as the boot loader has it: on a boot partition of its own, from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The kernel's release, as `uname -r` will say it, where its file's name or entry tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it is not known which entry is the default, or which kernel that starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// A boot loader whose configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BootLoader {
    /// GRUB 2.
    Grub,
    /// systemd-boot, or another that follows the Boot Loader Specification.
    SystemdBoot,
    /// EXTLINUX, SYSLINUX, or U-Boot with such a configuration.
    Extlinux,
}

impl fmt::Display for BootLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BootLoader::Grub => "GRUB",
            BootLoader::SystemdBoot => "systemd-boot",
            BootLoader::Extlinux => "extlinux",
        })
    }
}

/// What os-release says, and where it is silent, the older files beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct OsInfo {
    /// `ID`, or `linux` if there is none, as os-release(5) has it.
    pub id: String,
    /// `VERSION_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    /// The exact version, where another file has it (`12.11` of debian_version, `7.9.2009` of centos-release).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_release: Option<String>,
    /// `VERSION_CODENAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codename: Option<String>,
    /// `PRETTY_NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretty_name: Option<String>,
    /// `ID_LIKE`, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub id_like: Vec<String>,
    /// `VARIANT_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant_id: Option<String>,
}

/// One stratum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StratumInfo {
    /// Its place; 0 is the lowest.
    pub id: StratumId,
    /// The digest as stored (OCI: of the blob; docker archive: of the layer's tar).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Sha256>,
    /// What made it, as the image's history says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
}

/// One place of the image, and whether it was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// Where.
    pub place: String,
    /// Where it starts on its disk, in bytes; of a volume or range in one piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_bytes: Option<u64>,
    /// Its size in bytes; of a disk, volume or range of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// What it is.
    pub kind: String,
    /// What it is there for.
    pub role: String,
    /// Whether it was read, or is known to hold no software.
    pub read: bool,
    /// Why it was not read, or what else is to be known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Coverage {
    /// A place that is no range of a disk.
    #[must_use]
    pub fn of_place(place: impl Into<String>, kind: &str, role: &str, read: bool) -> Self {
        Coverage {
            place: place.into(),
            offset_bytes: None,
            size_bytes: None,
            kind: kind.to_owned(),
            role: role.to_owned(),
            read,
            note: None,
        }
    }
}

/// Something that should have been read and was not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// Where, outermost first.
    pub place: String,
    /// Why.
    pub reason: String,
    /// Whether an image with this gap can pass.
    pub required: bool,
}

impl Gap {
    /// The volume among those of an image's systems whose system has this gap; `None` where it is the image's, so
    /// that it counts for every system. Where there are several systems, the places of each begin with its volume.
    #[must_use]
    pub fn owner<'v>(&self, volumes: impl IntoIterator<Item = &'v str>) -> Option<&'v str> {
        let is_in =
            |volume: &&str| self.place.strip_prefix(*volume).is_some_and(|rest| rest.starts_with(": "));
        volumes.into_iter().filter(is_in).max_by_key(|volume| volume.len())
    }
}

impl Inventory {
    /// The gaps that count for one of its systems: its own, and those of the image as a whole.
    #[must_use]
    pub fn gaps_of(&self, system: &System) -> Vec<Gap> {
        let volumes = || self.systems.iter().filter_map(|system| system.volume.as_deref());
        let counts = |gap: &&Gap| {
            let owner = gap.owner(volumes());
            owner.is_none() || owner == system.volume.as_deref()
        };
        self.gaps.iter().filter(counts).cloned().collect()
    }
}
