//! What lies on a volume, told by magic, with its UUID and label where they are simple to read.
//!
//! | what | magic at | | what | magic at |
//! |---|---|---|---|---|
//! | XFS, squashfs, LUKS | 0 | | LVM2 label | one of the first four sectors |
//! | NTFS, exFAT, ReFS, BitLocker | 3 | | ISO 9660 | 32769 |
//! | FAT | 54 or 82 | | JFS | 32768 |
//! | APFS | 32 | | btrfs | 65600 |
//! | ext2/3/4 | 1080 | | ReiserFS | 65588 |
//! | erofs, F2FS, HFS+ | 1024 | | UFS | 9564, 66908 or 263516 |
//! | bcachefs, bcache | 4120 | | ZFS | 131072 on |
//! | swap | before the end of the first page | | mdraid | 0, 4096, or near the end |
//! | LVM1, VDO, BlueStore, UBI, UBIFS, cramfs, romfs, JFFS2 | 0 | | UDF | one of the sectors from 32768 on |
//! | Stratis | 4 | | VMFS | 1 MiB, file systems from 2 MiB on |
//! | MINIX | 1040 or 1048 | | OCFS2 | 1024, 2048, 4096 or 8192 |
//! | HFS | 1024 | | firmware RAID, DRBD | near the end |

mod disc;
mod holds;

use std::fmt;

use super::{lvm, md};
use crate::bytes::{ReadAt, array_at, le_u16, le_u32, le_u64, size_of_len, uuid_text};
use crate::error::Result;
use disc::disc;

pub(super) use disc::disc_end;
pub(crate) use disc::{disc_label, disc_uuid};
pub(super) use holds::holds;

/// A kind of file system, or of what else a volume may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FsKind {
    Ext2,
    Ext3,
    Ext4,
    /// The journal of an ext3 or ext4 on another volume.
    ExtJournal,
    Xfs,
    Btrfs,
    Squashfs,
    Erofs,
    Iso9660,
    HighSierra,
    Udf,
    Fat,
    Exfat,
    Ntfs,
    Refs,
    Zfs,
    Bcachefs,
    Bcache,
    F2fs,
    Apfs,
    Ufs,
    Hfs,
    HfsPlus,
    Jfs,
    Reiserfs,
    Nilfs2,
    Gfs2,
    Ocfs2,
    Minix,
    Cramfs,
    Romfs,
    Jffs2,
    Ubi,
    Ubifs,
    Vmfs,
    Swap,
    Luks1,
    Luks2,
    BitLocker,
    Lvm1,
    Lvm2,
    MdRaid,
    /// A member of an array that the firmware or a driver of it makes (Intel, DDF).
    FirmwareRaid,
    Drbd,
    Stratis,
    Vdo,
    /// A device of a Ceph object store.
    Bluestore,
    Verity,
    /// None of these.
    Unknown,
}

impl fmt::Display for FsKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FsKind::Ext2 => "ext2",
            FsKind::Ext3 => "ext3",
            FsKind::Ext4 => "ext4",
            FsKind::ExtJournal => "ext journal",
            FsKind::Xfs => "XFS",
            FsKind::Btrfs => "btrfs",
            FsKind::Squashfs => "squashfs",
            FsKind::Erofs => "erofs",
            FsKind::Iso9660 => "ISO 9660",
            FsKind::HighSierra => "High Sierra",
            FsKind::Udf => "UDF",
            FsKind::Fat => "FAT",
            FsKind::Exfat => "exFAT",
            FsKind::Ntfs => "NTFS",
            FsKind::Refs => "ReFS",
            FsKind::Zfs => "ZFS",
            FsKind::Bcachefs => "bcachefs",
            FsKind::Bcache => "bcache",
            FsKind::F2fs => "F2FS",
            FsKind::Apfs => "APFS",
            FsKind::Ufs => "UFS",
            FsKind::Hfs => "HFS",
            FsKind::HfsPlus => "HFS+",
            FsKind::Jfs => "JFS",
            FsKind::Reiserfs => "ReiserFS",
            FsKind::Nilfs2 => "NILFS2",
            FsKind::Gfs2 => "GFS2",
            FsKind::Ocfs2 => "OCFS2",
            FsKind::Minix => "MINIX",
            FsKind::Cramfs => "cramfs",
            FsKind::Romfs => "romfs",
            FsKind::Jffs2 => "JFFS2",
            FsKind::Ubi => "UBI",
            FsKind::Ubifs => "UBIFS",
            FsKind::Vmfs => "VMFS",
            FsKind::Swap => "swap",
            FsKind::Luks1 => "LUKS1",
            FsKind::Luks2 => "LUKS2",
            FsKind::BitLocker => "BitLocker",
            FsKind::Lvm1 => "LVM1 physical volume",
            FsKind::Lvm2 => "LVM2 physical volume",
            FsKind::MdRaid => "mdraid member",
            FsKind::FirmwareRaid => "firmware RAID member",
            FsKind::Drbd => "DRBD",
            FsKind::Stratis => "Stratis pool member",
            FsKind::Vdo => "VDO volume",
            FsKind::Bluestore => "Ceph BlueStore device",
            FsKind::Verity => "dm-verity hashes",
            FsKind::Unknown => "unknown",
        })
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The kind.
    pub kind: FsKind,
    /// The UUID as `blkid` writes it: of FAT, exFAT and NTFS the serial number.
    pub uuid: Option<String>,
    /// The label, if it is not empty.
    pub label: Option<String>,
}

impl Probed {
    fn new(kind: FsKind) -> Self {
        Probed { kind, uuid: None, label: None }
    }

    fn named(kind: FsKind, uuid: impl Into<Option<String>>, label: &[u8]) -> Self {
        Probed { kind, uuid: uuid.into(), label: text(label) }
    }
}

/// Text up to the first zero, without spaces at its end; `None` if that is empty.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default());
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// `N` bytes at `at`, or `None` where the volume has ended before.
pub(super) fn peek<const N: usize>(volume: &dyn ReadAt, at: u64) -> Result<Option<[u8; N]>> {
    if at.checked_add(size_of_len(N)).is_none_or(|end| end > volume.size_bytes()) {
        return Ok(None);
    }
    let mut bytes = [0; N];
    volume.read_exact_at(at, &mut bytes)?;
    Ok(Some(bytes))
}

/// Tells what lies on a volume. What a container leads to comes before what may be left of former times, and of
/// several file systems those that [`probe_all`] believes, the first.
///
/// # Errors
/// Those of reading.
pub fn probe(volume: &dyn ReadAt) -> Result<Probed> {
    Ok(probe_all(volume)?.into_iter().next().unwrap_or(Probed::new(FsKind::Unknown)))
}

/// Everything that lies on a volume by its superblocks: nothing, one thing, or several of which none is plainly left
/// over from former times, so that nobody can say what it is. A member of an array, a physical volume and what is
/// encrypted hide what else there is, as they do for `blkid`.
///
/// # Errors
/// Those of reading.
pub fn probe_all(volume: &dyn ReadAt) -> Result<Vec<Probed>> {
    let mut found: Vec<Probed> = container(volume)?.into_iter().collect();
    if found.is_empty() {
        found.extend(peek::<512>(volume, 0)?.as_ref().and_then(first_sector));
    }
    let hides = |probed: &Probed| {
        matches!(
            probed.kind,
            FsKind::Lvm1
                | FsKind::Lvm2
                | FsKind::MdRaid
                | FsKind::Luks1
                | FsKind::Luks2
                | FsKind::BitLocker
                | FsKind::Stratis
                | FsKind::Vdo
                | FsKind::Bluestore
        )
    };
    if found.iter().any(hides) {
        return Ok(found);
    }
    found.extend(peek::<512>(volume, 1024)?.as_ref().and_then(second_kib));
    for steps in [swap, behind, disc] {
        found.extend(steps(volume)?);
    }
    for steps in [cluster, zfs, at_end] {
        if found.is_empty() {
            found.extend(steps(volume)?);
        }
    }
    if found.len() > 1 {
        // A disc for several systems has the same files by the tables of each.
        let is_of_disc = |kind| matches!(kind, FsKind::Iso9660 | FsKind::Hfs | FsKind::HfsPlus | FsKind::Udf);
        if found.iter().any(|one| one.kind == FsKind::Iso9660) && found.iter().all(|one| is_of_disc(one.kind))
        {
            found.retain(|one| one.kind == FsKind::Iso9660);
        }
        let mut held = Vec::new();
        for one in &found {
            if holds(volume, one.kind)? {
                held.push(one.clone());
            }
        }
        if !held.is_empty() {
            found = held;
        }
    }
    Ok(found)
}

fn container(volume: &dyn ReadAt) -> Result<Option<Probed>> {
    if let Some(label) = lvm::label(volume)? {
        return Ok(Some(Probed::named(FsKind::Lvm2, label, b"")));
    }
    if let Some(member) = md::member(volume)? {
        return Ok(Some(Probed::named(FsKind::MdRaid, uuid_text(&member.set_uuid), member.name.as_bytes())));
    }
    Ok(None)
}

fn first_sector(head: &[u8; 512]) -> Option<Probed> {
    let serial = |at: usize| {
        let serial = le_u32(head, at);
        format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff)
    };
    let name: [u8; 8] = array_at(head, 3);
    if head.starts_with(b"XFSB") {
        return Some(Probed::named(FsKind::Xfs, uuid_text(&array_at(head, 32)), &array_at::<12>(head, 108)));
    }
    for (magic, kind) in [
        // Up to version 3 also big-endian.
        (&b"hsqs"[..], FsKind::Squashfs),
        (b"shsq", FsKind::Squashfs),
        (b"qshs", FsKind::Squashfs),
        (b"sqsh", FsKind::Squashfs),
        (b"\x45\x3d\xcd\x28", FsKind::Cramfs),
        (b"\x28\xcd\x3d\x45", FsKind::Cramfs),
        (b"-rom1fs-", FsKind::Romfs),
        (b"UBI#", FsKind::Ubi),
        (b"\x31\x18\x10\x06", FsKind::Ubifs),
        // A node of a clean block, a directory entry or an inode.
        (b"\x85\x19\x03\x20", FsKind::Jffs2),
        (b"\x85\x19\x01\xe0", FsKind::Jffs2),
        (b"\x85\x19\x02\xe0", FsKind::Jffs2),
        (b"\x19\x85\x20\x03", FsKind::Jffs2),
        (b"\x19\x85\xe0\x01", FsKind::Jffs2),
        (b"\x19\x85\xe0\x02", FsKind::Jffs2),
        (b"HM\x01\0", FsKind::Lvm1),
        (b"HM\x02\0", FsKind::Lvm1),
        (b"dmvdo001", FsKind::Vdo),
        (b"bluestore block device\n", FsKind::Bluestore),
    ] {
        if head.starts_with(magic) {
            return Some(Probed::new(kind));
        }
    }
    if array_at(head, 4) == *b"!Stra0tis\x86\xff\x02^\x41rh" {
        return Some(Probed::new(FsKind::Stratis));
    }
    if head.starts_with(b"LUKS\xba\xbe") {
        let is_second = head.get(7) == Some(&2);
        let (kind, label) = match is_second {
            true => (FsKind::Luks2, array_at::<48>(head, 24)),
            false => (FsKind::Luks1, [0; 48]),
        };
        return Some(Probed::named(kind, text(&array_at::<40>(head, 168)), &label));
    }
    if head.starts_with(b"verity\0\0") {
        return Some(Probed::named(FsKind::Verity, uuid_text(&array_at(head, 16)), b""));
    }
    if array_at(head, 32) == *b"NXSB" {
        return Some(Probed::named(FsKind::Apfs, uuid_text(&array_at(head, 72)), b""));
    }
    match &name {
        b"NTFS    " => return Some(Probed::named(FsKind::Ntfs, format!("{:016X}", le_u64(head, 72)), b"")),
        b"EXFAT   " => return Some(Probed::named(FsKind::Exfat, serial(100), b"")),
        b"ReFS\0\0\0\0" => return Some(Probed::new(FsKind::Refs)),
        b"-FVE-FS-" => return Some(Probed::new(FsKind::BitLocker)),
        _ => {}
    }
    let is_boot = array_at(head, 510) == [0x55, 0xaa] && matches!(head.first(), Some(0xeb | 0xe9));
    let sector = le_u16(head, 11);
    let is_fat = is_boot
        && sector.is_power_of_two()
        && (512..=4096).contains(&sector)
        && head.get(13).is_some_and(|clusters| clusters.is_power_of_two())
        && matches!(head.get(16), Some(1 | 2))
        && le_u16(head, 14) > 0
        && head.get(21).is_some_and(|media| *media >= 0xf8 || *media == 0xf0);
    if is_fat {
        let is_32 = le_u16(head, 22) == 0;
        let (id, label) = if is_32 { (67, 71) } else { (39, 43) };
        let label: [u8; 11] = array_at(head, label);
        let label = if &label == b"NO NAME    " { [0; 11] } else { label };
        return Some(Probed::named(FsKind::Fat, serial(id), &label));
    }
    None
}

fn second_kib(block: &[u8; 512]) -> Option<Probed> {
    if le_u16(block, 56) == 0xef53 {
        let (compatible, incompatible, read_only) =
            (le_u32(block, 92), le_u32(block, 96), le_u32(block, 100));
        let kind = if incompatible & 8 != 0 {
            FsKind::ExtJournal
        } else if incompatible & !0x16 != 0 || read_only & !7 != 0 {
            FsKind::Ext4
        } else if compatible & 4 != 0 {
            FsKind::Ext3
        } else {
            FsKind::Ext2
        };
        return Some(Probed::named(kind, uuid_text(&array_at(block, 104)), &array_at::<16>(block, 120)));
    }
    match le_u32(block, 0) {
        0xe0f5_e1e2 => {
            return Some(Probed::named(
                FsKind::Erofs,
                uuid_text(&array_at(block, 48)),
                &array_at::<16>(block, 64),
            ));
        }
        0xf2f5_2010 => {
            return Some(Probed::named(FsKind::F2fs, uuid_text(&array_at(block, 108)), b""));
        }
        _ => {}
    }
    if matches!(array_at(block, 0), [b'H', b'+', 0, 4] | [b'H', b'X', 0, 5]) {
        return Some(Probed::new(FsKind::HfsPlus));
    }
    // `BD`, blocks of at least one sector.
    if block.starts_with(b"BD")
        && le_u32(block, 20).swap_bytes().is_multiple_of(512)
        && array_at(block, 20) != [0; 4]
    {
        return Some(Probed::new(FsKind::Hfs));
    }
    // Versions 1 and 2 with log 2 of the zone size 0; version 3 with a block size.
    let is_minix = matches!(le_u16(block, 16), 0x137f | 0x138f | 0x2468 | 0x2478) && le_u16(block, 10) == 0;
    let is_minix_3 = le_u16(block, 24) == 0x4d5a && matches!(le_u16(block, 28), 1024 | 2048 | 4096);
    if is_minix || is_minix_3 {
        return Some(Probed::new(FsKind::Minix));
    }
    if le_u16(block, 6) == 0x3434 && le_u32(block, 0) == 2 {
        return Some(Probed::named(
            FsKind::Nilfs2,
            uuid_text(&array_at(block, 152)),
            &array_at::<80>(block, 168),
        ));
    }
    None
}

fn swap(volume: &dyn ReadAt) -> Result<Option<Probed>> {
    for page in [4096, 8192, 16384, 65536_u64] {
        let magic = peek::<10>(volume, page.saturating_sub(10))?;
        // Of a machine that was suspended to disk, what it had in memory lies there.
        let is_one = matches!(
            magic.as_ref(),
            Some(
                b"SWAPSPACE2"
                    | b"SWAP-SPACE"
                    | b"S1SUSPEND\0"
                    | b"S2SUSPEND\0"
                    | b"ULSUSPEND\0"
                    | b"LINHIB0001"
            )
        );
        if is_one {
            let head = peek::<44>(volume, 1024)?.unwrap_or([0; 44]);
            let id = array_at::<16>(&head, 12);
            return Ok(Some(Probed::named(
                FsKind::Swap,
                (id != [0; 16]).then(|| uuid_text(&id)),
                &array_at::<16>(&head, 28),
            )));
        }
    }
    Ok(None)
}

/// What has its magic behind the first pages.
fn behind(volume: &dyn ReadAt) -> Result<Option<Probed>> {
    const BCACHE: [u8; 16] = *b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81";
    const BCACHEFS: [u8; 16] = *b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";
    if let Some(block) = peek::<128>(volume, 4096)? {
        match array_at(&block, 24) {
            BCACHEFS => {
                let label = array_at::<32>(&block, 72);
                return Ok(Some(Probed::named(FsKind::Bcachefs, uuid_text(&array_at(&block, 56)), &label)));
            }
            BCACHE => return Ok(Some(Probed::named(FsKind::Bcache, uuid_text(&array_at(&block, 40)), b""))),
            _ => {}
        }
    }
    if let Some(block) = peek::<256>(volume, 32768)?
        && block.starts_with(b"JFS1")
    {
        let label = array_at::<16>(&block, 152);
        return Ok(Some(Probed::named(FsKind::Jfs, uuid_text(&array_at(&block, 136)), &label)));
    }
    if let Some(block) = peek::<1024>(volume, 65536)? {
        if array_at(&block, 64) == *b"_BHRfS_M" {
            let label = array_at::<256>(&block, 299);
            return Ok(Some(Probed::named(FsKind::Btrfs, uuid_text(&array_at(&block, 32)), &label)));
        }
        if matches!(&array_at::<9>(&block, 52), b"ReIsErFs\0" | b"ReIsEr2Fs" | b"ReIsEr3Fs") {
            let label = array_at::<16>(&block, 100);
            return Ok(Some(Probed::named(FsKind::Reiserfs, uuid_text(&array_at(&block, 84)), &label)));
        }
        if array_at(&block, 0) == [0x01, 0x16, 0x19, 0x70] {
            return Ok(Some(Probed::new(FsKind::Gfs2)));
        }
    }
    for at in [8192, 65536, 262_144_u64] {
        let magic = peek::<4>(volume, at.saturating_add(1372))?.map(u32::from_le_bytes);
        if matches!(magic, Some(0x0001_1954 | 0x5419_0100 | 0x1954_0119 | 0x1901_5419)) {
            return Ok(Some(Probed::new(FsKind::Ufs)));
        }
    }
    // A physical extent of VMFS, or of versions 5 and 6 the file system itself.
    for (at, magic) in [(1 << 20, 0xc001_d00d), (2 << 20, 0x2fab_f15e), (0x0130_0000, 0x2fab_f15e)] {
        if peek::<4>(volume, at)?.map(u32::from_le_bytes) == Some(magic) {
            return Ok(Some(Probed::new(FsKind::Vmfs)));
        }
    }
    Ok(None)
}

/// File systems of clusters: OCFS2 with blocks of 512 to 4096 bytes.
fn cluster(volume: &dyn ReadAt) -> Result<Option<Probed>> {
    for at in [1024, 2048, 4096, 8192_u64] {
        if let Some(block) = peek::<416>(volume, at)?
            && block.starts_with(b"OCFSV2")
        {
            let (label, id) = (array_at::<64>(&block, 272), array_at(&block, 336));
            return Ok(Some(Probed::named(FsKind::Ocfs2, uuid_text(&id), &label)));
        }
    }
    Ok(None)
}

/// What has its magic near the end, where nothing else was found before.
fn at_end(volume: &dyn ReadAt) -> Result<Option<Probed>> {
    let end = volume.size_bytes();
    let from_end = |bytes: u64| end.checked_sub(bytes).filter(|at| at.is_multiple_of(512));
    for (bytes, kind) in [(512, FsKind::FirmwareRaid), (1024, FsKind::FirmwareRaid), (4096, FsKind::Drbd)] {
        let Some(block) = from_end(bytes).map(|at| peek::<512>(volume, at)).transpose()?.flatten() else {
            continue;
        };
        let is_it = match bytes {
            512 => matches!(array_at(&block, 0), [0xde, 0x11, 0xde, 0x11] | [0x11, 0xde, 0x11, 0xde]),
            1024 => block.starts_with(b"Intel Raid ISM Cfg Sig. "),
            _ => matches!(array_at(&block, 60), [0x83, 0x74, 0x02, 0x6b..=0x6d]),
        };
        if is_it {
            return Ok(Some(Probed::new(kind)));
        }
    }
    Ok(None)
}

/// An uberblock in the first label.
fn zfs(volume: &dyn ReadAt) -> Result<Option<Probed>> {
    let mut at = 128 << 10;
    while at < 256 << 10 {
        let magic = peek::<8>(volume, at)?.map(u64::from_le_bytes);
        if matches!(magic, Some(0x00ba_b10c | 0x0cb1_ba00_0000_0000)) {
            return Ok(Some(Probed::new(FsKind::Zfs)));
        }
        at = at.saturating_add(1024);
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_discs_are_those_of_blkid() {
        // What blkid 2.38 says of discs with these two labels.
        for (primary, joliet, expected) in [
            ("CDROM", "CdRom", "CdRom"),
            ("CD_ROM", "Cd Rom", "Cd Rom"),
            ("ABC", "XYZ", "XYZ"),
            ("GR__E", "Größe", "Größe"),
            ("Größe", "Größe", "Größe"),
            ("ABCDEFGHIJKLMNOPQRST", "abcdefghijklmnop", "abcdefghijklmnopQRST"),
            ("ABCDEFGHIJKLMNOPQRST", "abcdefghijklmnoX", "abcdefghijklmnoX"),
            ("abc", "ABC", "abc"),
            ("A B", "A_B", "A B"),
            ("AB", "ABC", "ABC"),
            ("ABC", "AB", "AB"),
            ("A__B", "A🦀B", "A🦀B"),
        ] {
            let (mut stored, mut units) = ([b' '; 32], [0; 32]);
            stored[..primary.len()].copy_from_slice(primary.as_bytes());
            let padded = joliet.encode_utf16().chain(std::iter::repeat(0x20));
            for (place, unit) in units.chunks_mut(2).zip(padded) {
                place.copy_from_slice(&unit.to_be_bytes());
            }
            assert_eq!(String::from_utf8_lossy(&disc_label(&stored, Some(&units))), expected);
        }
    }

    #[test]
    fn what_is_not_read_is_known_by_its_magic() {
        for (at, magic, expected) in [
            (0, &b"HM\x01\0"[..], FsKind::Lvm1),
            (0, b"dmvdo001", FsKind::Vdo),
            (0, b"bluestore block device\n", FsKind::Bluestore),
            (0, b"UBI#", FsKind::Ubi),
            (0, b"\x31\x18\x10\x06", FsKind::Ubifs),
            (0, b"\x45\x3d\xcd\x28", FsKind::Cramfs),
            (0, b"-rom1fs-", FsKind::Romfs),
            (4, b"!Stra0tis\x86\xff\x02^\x41rh", FsKind::Stratis),
            (4096, b"OCFSV2", FsKind::Ocfs2),
            (2 << 20, b"\x5e\xf1\xab\x2f", FsKind::Vmfs),
            (32768, b"\0BEA01", FsKind::Unknown),
            ((4 << 20) - 512, b"\xde\x11\xde\x11", FsKind::FirmwareRaid),
            ((4 << 20) - 1024, b"Intel Raid ISM Cfg Sig. ", FsKind::FirmwareRaid),
            ((4 << 20) - 4096 + 60, b"\x83\x74\x02\x6b", FsKind::Drbd),
        ] {
            let mut volume = vec![0_u8; 4 << 20];
            volume[at..at + magic.len()].copy_from_slice(magic);
            assert_eq!(probe(&volume).unwrap().kind, expected, "{at}");
        }
    }
}
