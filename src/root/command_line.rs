//! What the command line of the kernel that boots says of the system that it mounts: bootparam(7),
//! kernel-command-line(7), systemd-fstab-generator(8).
//!
//! It is known only after a system was read, so what it says is held against what was found, and never followed.

use super::plan::is_software;
use super::{NO_VOLUME, SystemRoot, Volume};
use crate::format::fstab::{self, Spec};
use crate::model::ImagePath;
use crate::tree::Subvolume;

/// Why what a boot loader starts with this command line is not this system, or is mounted otherwise than its files say.
///
/// `systems` are all that were found: a system that another one's loader starts is judged by itself.
#[must_use]
pub fn contradicted(
    system: &SystemRoot,
    options: &str,
    systems: &[SystemRoot],
    volumes: &[Volume],
) -> Vec<String> {
    let words = words(options);
    let value = |name: &str| {
        words.iter().rev().find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    };
    let mut found = Vec::new();
    if let Some(root) = value("root") {
        // A deployment of ostree is a directory below.
        let flags = value("rootflags").filter(|_| value("ostree").is_none()).unwrap_or_default();
        let spec = fstab::spec(root.as_bytes());
        let is_root = |system: &SystemRoot| system.is_named(&spec, &flags, volumes);
        if is_judged(&spec, &root, system, volumes) && !is_root(system) && !systems.iter().any(is_root) {
            let flags = if flags.is_empty() { flags } else { format!(" rootflags={flags}") };
            found.push(format!(
                "what boots has root={root}{flags}, which is none of the systems that were found"
            ));
        }
    }
    for word in &words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let is_told = match name {
            "systemd.mount-extra" => is_extra(value),
            "mount.usr" => {
                let spec = fstab::spec(value.as_bytes());
                let used = || system.uses.iter().filter_map(|index| volumes.get(*index));
                !matches!(spec, Spec::Other(_)) && !used().any(|volume| volume.is_named(&spec))
            }
            "fstab" => matches!(value, "no" | "0" | "false" | "off" | "n"),
            _ => false,
        };
        if is_told {
            found.push(format!("what boots has {word}, which changes what is mounted, and is not followed"));
        }
    }
    found
}

/// Whether the image can say what a root is: not for devices that the system itself makes, and not for a partition
/// where the image has no table of them.
fn is_judged(spec: &Spec, root: &str, system: &SystemRoot, volumes: &[Volume]) -> bool {
    let has_table = volumes.get(system.volume).is_some_and(|volume| !volume.is_disk);
    match spec {
        Spec::Other(_) => false,
        Spec::Partition { disk, .. } | Spec::Disk(disk) => has_table && !disk.starts_with("loop"),
        Spec::PartUuid(_) | Spec::PartLabel(_) => {
            has_table && !root.to_ascii_uppercase().contains("/PARTNROFF=")
        }
        _ => true,
    }
}

/// Whether `WHAT:WHERE:TYPE:OPTIONS` mounts a volume where software is.
fn is_extra(value: &str) -> bool {
    let mut parts = value.split(':').skip(1);
    let point = ImagePath::from(parts.next().unwrap_or_default());
    is_software(&point) && !parts.next().is_some_and(|kind| NO_VOLUME.contains(&kind))
}

/// The words of a command line; quotes hold words together, as the kernel has it.
fn words(options: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in options.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            c if c.is_ascii_whitespace() && !is_quoted => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

impl SystemRoot {
    /// Whether its root is on what is named so, and in the subvolume that these flags name; a kernel name of a disk
    /// is that of its own where nothing else is known.
    fn is_named(&self, spec: &Spec, flags: &str, volumes: &[Volume]) -> bool {
        let Some(volume) = volumes.get(self.volume) else { return false };
        let is_disk = match (spec, &self.disk_name) {
            (Spec::Partition { disk, .. } | Spec::Disk(disk), Some(own)) => own == disk,
            (Spec::Partition { disk, .. } | Spec::Disk(disk), None) => {
                volumes.iter().any(|other| other.disk != volume.disk)
                    || fstab::disk_ordinal(disk).unwrap_or_default() == 0
            }
            _ => true,
        };
        let chosen = flags.split(',').rev().find_map(|flag| match flag.split_once('=')? {
            ("subvol", path) => Some(Subvolume::Path(path.as_bytes())),
            ("subvolid", id) => id.parse().ok().map(Subvolume::Id),
            _ => None,
        });
        let is_there = || {
            let (Some(chosen), Some(root)) = (chosen, self.mounts.first()) else { return true };
            root.tree.subvolume(chosen).is_ok_and(|node| node == root.node)
        };
        is_disk && volume.is_named(spec) && is_there()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words("ro  root=\"LABEL=my root\" quiet"), ["ro", "root=LABEL=my root", "quiet"]);
        assert!(words(" ").is_empty());
    }

    #[test]
    fn mounts_where_no_software_is_change_nothing() {
        for (value, want) in [
            ("LABEL=x:/var:ext4", true),
            ("LABEL=x:/srv", false),
            ("tmpfs:/var/tmp:tmpfs:size=1G", false),
            ("LABEL=x", true),
        ] {
            assert_eq!(is_extra(value), want, "{value}");
        }
    }
}
