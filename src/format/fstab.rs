//! Which volume is mounted where: fstab(5) of util-linux 2.40.
//!
//! A line is `what where type options dump pass`, by blanks; `\040` and the like stand for blanks within. Lines
//! that start with `#` and empty lines say nothing. A line with less than two fields is a problem, not the end.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

/// What an fstab says.
#[derive(Debug, Clone, Default)]
pub struct Fstab {
    /// Its lines, in their order, which is the order of mounting.
    pub entries: Vec<FstabEntry>,
    /// Lines that cannot be understood, each with its place.
    pub problems: Vec<Error>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FstabEntry {
    /// What is mounted.
    pub what: Spec,
    /// Where, as written.
    pub mount_point: Vec<u8>,
    /// The type of the file system; may name several, by commas.
    pub fs_type: String,
    /// The options, one by one.
    pub options: Vec<String>,
}

impl FstabEntry {
    /// Whether it has this option, of those without a value.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }

    /// The value of an option; the last counts.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<&str> {
        self.options.iter().rev().find_map(|own| own.strip_prefix(option)?.strip_prefix('='))
    }
}

/// How a volume is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spec {
    /// By the UUID of its file system, lower case.
    Uuid(String),
    /// By the label of its file system.
    Label(Vec<u8>),
    /// By the UUID of its partition, lower case.
    PartUuid(String),
    /// By the name of its partition.
    PartLabel(Vec<u8>),
    /// As a logical volume.
    Logical {
        /// The volume group.
        group: String,
        /// Its name in the group.
        name: String,
    },
    /// As the partition of this number on the disk that the kernel calls so (`sda`, `nvme0n1`). Which disk that is
    /// only its machine knows.
    Partition {
        /// The kernel's name of the disk.
        disk: String,
        /// The partition's number.
        number: u32,
    },
    /// As a whole disk, by the kernel's name.
    Disk(String),
    /// In another way: a path, a network file system, or no device at all.
    Other(Vec<u8>),
}

/// Decodes an fstab.
///
/// # Errors
/// `Limit` if it has too many lines.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Fstab> {
    let mut fstab = Fstab::default();
    let mut offset = 0_usize;
    for line in bytes.split(|b| *b == b'\n') {
        let at = size_of_len(offset);
        offset = offset.saturating_add(line.len()).saturating_add(1);
        let mut fields = line.split(|b| matches!(b, b' ' | b'\t' | b'\r')).filter(|field| !field.is_empty());
        let Some(what) = fields.next().filter(|field| !field.starts_with(b"#")) else { continue };
        let Some(mount_point) = fields.next() else {
            fstab.problems.push(Error::malformed("fstab", "line", at, quoted(line), "two fields or more"));
            continue;
        };
        let text = |field: Option<&[u8]>| {
            String::from_utf8_lossy(&unescaped(field.unwrap_or_default())).into_owned()
        };
        limits.records.check(size_of_len(fstab.entries.len()).saturating_add(1))?;
        fstab.entries.push(FstabEntry {
            what: spec(&unescaped(what)),
            mount_point: unescaped(mount_point),
            fs_type: text(fields.next()),
            options: text(fields.next()).split(',').filter(|o| !o.is_empty()).map(str::to_owned).collect(),
        });
    }
    Ok(fstab)
}

/// A field with its octal escapes undone.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|digits| *first == b'\\' && digits.iter().all(|d| matches!(d, b'0'..=b'7')));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    out
}

/// Reads how a volume is named, as fstab and the kernel's `root=` do.
#[must_use]
pub fn spec(text: &[u8]) -> Spec {
    for (tag, folder) in [
        ("UUID", "by-uuid"),
        ("LABEL", "by-label"),
        ("PARTUUID", "by-partuuid"),
        ("PARTLABEL", "by-partlabel"),
    ] {
        let tagged = text.strip_prefix(tag.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        let linked = text
            .strip_prefix(b"/dev/disk/")
            .and_then(|rest| rest.strip_prefix(folder.as_bytes())?.strip_prefix(b"/"))
            .map(from_udev);
        let Some(value) = tagged.map(|value| unquoted(value).to_vec()).or(linked) else { continue };
        let lower = || String::from_utf8_lossy(&value).to_ascii_lowercase();
        return match tag {
            "UUID" => Spec::Uuid(lower()),
            "PARTUUID" => Spec::PartUuid(lower()),
            "LABEL" => Spec::Label(value),
            _ => Spec::PartLabel(value),
        };
    }
    let other = || Spec::Other(text.to_vec());
    let Some(device) = text.strip_prefix(b"/dev/").and_then(|device| std::str::from_utf8(device).ok()) else {
        return other();
    };
    if let Some(mapped) = device.strip_prefix("mapper/") {
        return mapper(mapped).unwrap_or_else(other);
    }
    match device.split_once('/') {
        Some((group, name)) if !name.contains('/') && !matches!(group, "disk" | "block" | "md" | "dm") => {
            Spec::Logical { group: group.to_owned(), name: name.to_owned() }
        }
        Some(_) => other(),
        None => disk(device).unwrap_or_else(other),
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = |quote: &[u8]| value.strip_prefix(quote)?.strip_suffix(quote);
    inner(b"\"").or_else(|| inner(b"'")).unwrap_or(value)
}

/// A name with the escapes that udev puts into links (`\x20`).
fn from_udev(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, after)) = rest.split_first() {
        let byte = rest
            .strip_prefix(b"\\x")
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex.get(..2)?).ok()?, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { rest.get(4..).unwrap_or_default() } else { after };
    }
    out
}

/// `GROUP-NAME`, with hyphens of either doubled.
fn mapper(name: &str) -> Option<Spec> {
    let bytes = name.as_bytes();
    let mut at = 0_usize;
    while let Some(byte) = bytes.get(at) {
        let next = at.saturating_add(1);
        if *byte == b'-' {
            if bytes.get(next) != Some(&b'-') {
                let undone =
                    |part: Option<&str>| part.map(|part| part.replace("--", "-")).filter(|p| !p.is_empty());
                return Some(Spec::Logical {
                    group: undone(name.get(..at))?,
                    name: undone(name.get(next..))?,
                });
            }
            at = next;
        }
        at = at.saturating_add(1);
    }
    None
}

/// A disk or its partition by the kernel's name.
fn disk(device: &str) -> Option<Spec> {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    let number = device.strip_prefix(stem)?;
    let is_letters = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
    for prefix in ["sd", "vd", "xvd", "hd"] {
        if stem.strip_prefix(prefix).is_some_and(is_letters) {
            return Some(match number {
                "" => Spec::Disk(stem.to_owned()),
                number => Spec::Partition { disk: stem.to_owned(), number: number.parse().ok()? },
            });
        }
    }
    let is_numbered =
        |name: &str| name.starts_with("nvme") || name.starts_with("mmcblk") || name.starts_with("loop");
    if !is_numbered(device) {
        return None;
    }
    match stem.strip_suffix('p').filter(|disk| disk.ends_with(|c: char| c.is_ascii_digit())) {
        Some(disk) => Some(Spec::Partition { disk: disk.to_owned(), number: number.parse().ok()? }),
        None => Some(Spec::Disk(device.to_owned())),
    }
}

/// The place of a disk among those of its machine, from 0, as its kernel's name has it (`sdb`: 1); `None` where the
/// number of its controller says nothing of that (`mmcblk1`), or for no name of a disk.
#[must_use]
pub fn disk_ordinal(name: &str) -> Option<u64> {
    for prefix in ["sd", "vd", "xvd", "hd"] {
        let Some(letters) =
            name.strip_prefix(prefix).filter(|rest| rest.bytes().all(|b| b.is_ascii_lowercase()))
        else {
            continue;
        };
        // `z` comes before `aa`.
        return letters
            .bytes()
            .try_fold(0_u64, |sum, letter| {
                sum.checked_mul(26)?.checked_add(u64::from(letter.checked_sub(b'a')?))?.checked_add(1)
            })?
            .checked_sub(1);
    }
    name.strip_prefix("nvme")?.split('n').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_mount_reads_them() {
        let text = b"# comment\n\n  UUID=ABCD-12 / ext4 defaults,noatime 0 1\r\n\
            LABEL=\"my\\040data\"\t/srv/a\\040b xfs subvol=/@,nofail\n/dev/sda1\nproc /proc proc\n";
        let fstab = decode(text, &Limits::default()).unwrap();
        assert_eq!(fstab.problems.len(), 1);
        assert!(fstab.problems[0].to_string().contains("`/dev/sda1`"));
        let [root, data, proc] = &fstab.entries[..] else { panic!("{fstab:?}") };
        assert_eq!((&root.what, &root.mount_point[..]), (&Spec::Uuid("abcd-12".into()), &b"/"[..]));
        assert_eq!((root.fs_type.as_str(), root.has("noatime")), ("ext4", true));
        assert_eq!(
            (&data.what, &data.mount_point[..]),
            (&Spec::Label(b"my data".to_vec()), &b"/srv/a b"[..])
        );
        assert_eq!((data.value("subvol"), data.has("nofail")), (Some("/@"), true));
        assert_eq!((&proc.what, proc.options.len()), (&Spec::Other(b"proc".to_vec()), 0));
    }

    #[test]
    fn volumes_are_named_in_many_ways() {
        let logical = |group: &str, name: &str| Spec::Logical { group: group.into(), name: name.into() };
        let partition = |disk: &str, number| Spec::Partition { disk: disk.into(), number };
        for (text, want) in [
            ("PARTUUID=AB-01", Spec::PartUuid("ab-01".into())),
            ("PARTLABEL=Root A", Spec::PartLabel(b"Root A".to_vec())),
            ("/dev/disk/by-uuid/AB", Spec::Uuid("ab".into())),
            ("/dev/disk/by-label/a\\x20b", Spec::Label(b"a b".to_vec())),
            ("/dev/mapper/vg0-root", logical("vg0", "root")),
            ("/dev/mapper/my--vg-lv--a", logical("my-vg", "lv-a")),
            ("/dev/mapper/luks", Spec::Other(b"/dev/mapper/luks".to_vec())),
            ("/dev/vg0/root", logical("vg0", "root")),
            ("/dev/sda3", partition("sda", 3)),
            ("/dev/vdb", Spec::Disk("vdb".into())),
            ("/dev/xvda1", partition("xvda", 1)),
            ("/dev/nvme0n1p2", partition("nvme0n1", 2)),
            ("/dev/nvme0n1", Spec::Disk("nvme0n1".into())),
            ("/dev/mmcblk0p12", partition("mmcblk0", 12)),
            ("/dev/md0", Spec::Other(b"/dev/md0".to_vec())),
            ("/dev/sda99999999999", Spec::Other(b"/dev/sda99999999999".to_vec())),
            ("host:/export", Spec::Other(b"host:/export".to_vec())),
        ] {
            assert_eq!(spec(text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn disks_are_counted_by_their_names() {
        for (name, want) in [
            ("sda", Some(0)),
            ("vdb", Some(1)),
            ("xvdf", Some(5)),
            ("sdaa", Some(26)),
            ("nvme1n1", Some(1)),
            ("mmcblk1", None),
        ] {
            assert_eq!(disk_ordinal(name), want, "{name}");
        }
    }
}
