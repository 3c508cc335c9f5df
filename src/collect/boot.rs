//! Boot loaders: configurations of GRUB 2, systemd-boot and extlinux, and the entries of the Boot Loader
//! Specification; of unified kernel images their headers and what these say of themselves.
//!
//! What cannot be read of them hides no package, so it is a fact (why it is not known what boots), and no gap.

use crate::bytes::read_all;
use crate::error::{Kind, Result};
use crate::format::{bls, extlinux, grub_cfg, grubenv, loader_conf, uki};
use crate::model::ImagePath;
use crate::stratum::{Entry, Want};

use super::fact::BootFact;
use super::{Collector, Fact, FileView, Needs, Out};

/// Reads what boot loaders are told.
pub(super) struct Boot;

/// Where GRUB lies, without the directories of the EFI partition.
pub(super) const GRUB: [&str; 2] = ["boot/grub", "boot/grub2"];
/// Where the EFI partition is mounted, and where `loader` and `EFI` may lie beside.
pub(super) const ESP: [&str; 3] = ["boot/efi", "efi", "boot"];
/// Where SYSLINUX, EXTLINUX and U-Boot look.
pub(super) const EXTLINUX: [&str; 9] = [
    "boot/extlinux.conf",
    "boot/extlinux/extlinux.conf",
    "boot/syslinux/extlinux.conf",
    "boot/syslinux/syslinux.cfg",
    "boot/syslinux.cfg",
    "extlinux/extlinux.conf",
    "extlinux.conf",
    "syslinux/syslinux.cfg",
    "syslinux.cfg",
];
/// Files of GRUB that its `grub.cfg` may go on in.
const GRUB_FILES: [&str; 6] =
    ["grub.cfg", "grubenv", "custom.cfg", "user.cfg", "console.cfg", "bootuuid.cfg"];

/// The submenu of snapshots that snapper writes beside them, and SUSE's `grub.cfg` goes on in.
const SNAPSHOTS: &str = ".snapshots/grub-snapshot.cfg";

const PLACES: &[&str] = &[
    "boot/grub/grub.cfg",
    "boot/grub/grubenv",
    "boot/grub/custom.cfg",
    "boot/grub/user.cfg",
    "boot/grub/console.cfg",
    "boot/grub/bootuuid.cfg",
    "boot/grub2/grub.cfg",
    "boot/grub2/grubenv",
    "boot/grub2/custom.cfg",
    "boot/grub2/user.cfg",
    "boot/grub2/console.cfg",
    "boot/grub2/bootuuid.cfg",
    "boot/efi/EFI",
    "boot/EFI",
    "efi/EFI",
    "boot/efi/loader/entries",
    "boot/efi/loader/loader.conf",
    "boot/loader/entries",
    "boot/loader/loader.conf",
    "efi/loader/entries",
    "efi/loader/loader.conf",
    "boot/extlinux.conf",
    "boot/extlinux/extlinux.conf",
    "boot/syslinux/extlinux.conf",
    "boot/syslinux/syslinux.cfg",
    "boot/syslinux.cfg",
    "extlinux/extlinux.conf",
    "extlinux.conf",
    "syslinux/syslinux.cfg",
    "syslinux.cfg",
    SNAPSHOTS,
    // Links to the newest kernel, which a configuration may name.
    "vmlinuz",
    "boot/vmlinuz",
];

/// Whether a look-up of the collector's places shows a file of GRUB, if it is there.
pub(super) fn is_looked_up(path: &str) -> bool {
    let is_below_esp =
        ESP.iter().any(|esp| path.strip_prefix(esp).is_some_and(|rest| rest.starts_with("/EFI/")));
    is_below_esp || PLACES.contains(&path)
}

/// The files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    GrubConfig,
    GrubEnvironment,
    BlsEntry,
    LoaderConf,
    Extlinux,
    UnifiedKernel,
}

fn role(path: &ImagePath) -> Option<Role> {
    // Nearly no path passes this.
    if !matches!(path.as_bytes().first(), Some(b'b' | b'e' | b's' | b'.')) {
        return None;
    }
    let text = std::str::from_utf8(path.as_bytes()).ok()?;
    if EXTLINUX.contains(&text) {
        return Some(Role::Extlinux);
    }
    if text == SNAPSHOTS {
        return Some(Role::GrubConfig);
    }
    let of_grub = |name: &str| match name {
        "grubenv" => Some(Role::GrubEnvironment),
        name => GRUB_FILES.contains(&name).then_some(Role::GrubConfig),
    };
    if let Some(name) = GRUB.iter().find_map(|place| text.strip_prefix(place)?.strip_prefix('/')) {
        return of_grub(name);
    }
    let within = ESP.iter().find_map(|esp| text.strip_prefix(esp)?.strip_prefix('/'))?;
    match within.split('/').collect::<Vec<_>>().as_slice() {
        ["loader", "loader.conf"] => Some(Role::LoaderConf),
        ["loader", "entries", name] => name.ends_with(".conf").then_some(Role::BlsEntry),
        ["EFI", "Linux", name] if is_efi(name) => Some(Role::UnifiedKernel),
        ["EFI", _, name] => of_grub(name),
        _ => None,
    }
}

/// Whether a file is named as a program of EFI is.
fn is_efi(name: &str) -> bool {
    name.len()
        .checked_sub(4)
        .and_then(|at| name.get(at..))
        .is_some_and(|end| end.eq_ignore_ascii_case(".efi"))
}

impl Collector for Boot {
    fn id(&self) -> &'static str {
        "boot"
    }

    fn version(&self) -> u32 {
        3
    }

    fn serves(&self) -> Needs {
        Needs::OS_PACKAGES
    }

    fn places(&self) -> &'static [&'static str] {
        PLACES
    }

    fn want(&self, entry: &Entry) -> Want {
        if role(&entry.path).is_some() { Want::Random } else { Want::No }
    }

    fn is_required(&self, _path: &ImagePath) -> bool {
        false
    }

    fn reads_files_only(&self) -> bool {
        false // a directory in such a place says nothing, and is no defect
    }

    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        let Some(role) = role(file.path) else { return Ok(()) };
        match read(role, file) {
            Ok(Some(fact)) => out.fact(Fact::Boot(fact)),
            Ok(None) => {}
            Err(error) if matches!(error.kind(), Kind::Io(_)) => return Err(error),
            Err(error) => out.fact(Fact::Boot(BootFact::Unread(error.reason()))),
        }
        Ok(())
    }
}

fn read(role: Role, file: &FileView<'_>) -> Result<Option<BootFact>> {
    let limits = file.limits;
    if role == Role::UnifiedKernel {
        let name = String::from_utf8_lossy(file.path.name());
        return Ok(uki::decode(&name, file.content, limits)?.map(BootFact::BlsEntry));
    }
    let bytes = read_all(file.content, limits.boot_config_bytes)?;
    Ok(Some(match role {
        Role::GrubConfig => BootFact::GrubConfig(grub_cfg::decode(&bytes, limits)?),
        Role::GrubEnvironment => BootFact::GrubEnvironment(grubenv::decode(&bytes, limits)?),
        Role::LoaderConf => BootFact::LoaderConf { default: loader_conf::default(&bytes, limits)? },
        Role::Extlinux => BootFact::Extlinux(extlinux::decode(&bytes, limits)?),
        Role::BlsEntry => {
            let name = String::from_utf8_lossy(file.path.name());
            return Ok(bls::decode(&name, &bytes, limits)?.map(BootFact::BlsEntry));
        }
        Role::UnifiedKernel => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_known_by_path() {
        for (path, want) in [
            ("boot/grub/grub.cfg", Some(Role::GrubConfig)),
            ("boot/grub2/grubenv", Some(Role::GrubEnvironment)),
            ("boot/grub/custom.cfg", Some(Role::GrubConfig)),
            ("boot/efi/EFI/debian/grub.cfg", Some(Role::GrubConfig)),
            ("boot/efi/EFI/redhat/grubenv", Some(Role::GrubEnvironment)),
            ("boot/loader/entries/a.conf", Some(Role::BlsEntry)),
            ("efi/loader/entries/a.conf", Some(Role::BlsEntry)),
            ("boot/efi/loader/loader.conf", Some(Role::LoaderConf)),
            ("boot/extlinux/extlinux.conf", Some(Role::Extlinux)),
            ("efi/EFI/Linux/debian-6.12.48.efi", Some(Role::UnifiedKernel)),
            ("boot/EFI/Linux/arch-linux.EFI", Some(Role::UnifiedKernel)),
            ("boot/EFI/Linux/arch-linux.efi.extra.d", None),
            (".snapshots/grub-snapshot.cfg", Some(Role::GrubConfig)),
            (".snapshots/1/grub-snapshot.cfg", None),
            ("boot/grub/fonts/unicode.pf2", None),
            ("boot/grub/x86_64-efi/load.cfg", None),
            ("boot/efi/EFI/debian/shimx64.efi", None),
            ("srv/boot/grub/grub.cfg", None),
            ("etc/grub.d/10_linux", None),
        ] {
            assert_eq!(role(&ImagePath::from(path)), want, "{path}");
        }
        for place in GRUB.iter().flat_map(|place| GRUB_FILES.map(|name| format!("{place}/{name}"))) {
            assert!(PLACES.contains(&place.as_str()), "{place}");
        }
        assert!(EXTLINUX.iter().all(|place| PLACES.contains(place)));
    }
}
