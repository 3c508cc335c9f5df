//! The partitions of a disk, as its tables name them, or the disk as one volume.

use std::ops::Range;
use std::sync::Arc;

use super::content::{boot_loader, is_blank};
use super::{FsKind, Layout, Role, Table, Volume, gpt, mbr, part, probe};
use crate::bytes::ReadAt;
use crate::error::{Error, Result};
use crate::limits::Limits;

/// The partitions of a disk, and where their tables are.
pub(super) fn partitions(disk: &Arc<dyn ReadAt>, limits: &Limits) -> Result<(Layout, Vec<Range<u64>>)> {
    let mut layout = Layout::new();
    let whole = probe(&**disk)?;
    let record = mbr::read(&**disk, limits)?;
    let is_protected = record.as_ref().is_some_and(|record| record.partitions.iter().any(is_protective));
    // Boot sectors of file systems look like boot records, and live media bear tables for firmware.
    // Members of arrays and groups are not looked into where a table lies over them, as Linux does.
    let is_one_volume = match whole.kind {
        FsKind::Lvm2 => record.is_none(),
        FsKind::Fat | FsKind::Ntfs | FsKind::Exfat | FsKind::Refs | FsKind::BitLocker => !is_protected,
        FsKind::Iso9660 | FsKind::Udf | FsKind::HighSierra => true,
        FsKind::Luks1 | FsKind::Luks2 | FsKind::Xfs => true,
        _ => false,
    };
    let has_own =
        record.as_ref().is_some_and(|record| !record.partitions.is_empty() || record.broken.is_some());
    let table = match (is_one_volume, whole.kind) {
        (true, _) => None,
        // Linux looks for a GPT only where the boot record says that there is one.
        (false, _) if has_own && !is_protected => {
            match gpt::read(&**disk, false, limits) {
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => layout.notes.push(
                    "a GPT that the boot record does not name (no entry of type 0xee) was not used, as Linux does"
                        .to_owned(),
                ),
            }
            None
        }
        (false, FsKind::Unknown) => gpt::read(&**disk, is_protected, limits)?,
        (false, _) if is_protected => gpt::read(&**disk, is_protected, limits)?,
        (false, _) => None,
    };
    if matches!(
        whole.kind,
        FsKind::Ext2
            | FsKind::Ext3
            | FsKind::Ext4
            | FsKind::Btrfs
            | FsKind::Erofs
            | FsKind::Squashfs
            | FsKind::F2fs
            | FsKind::Fat
            | FsKind::Ntfs
            | FsKind::Exfat
    ) && (table.is_some() || mbr::is_table(&**disk)?)
        && probe::holds(&**disk, whole.kind)?
    {
        let found = format!("a partition table and {} over all of the disk", whole.kind);
        layout.problems.push(Error::malformed("disk", "content", 0, found, "one of them"));
    }
    let mut tables = Vec::new();
    let hybrid = record.clone();
    match (table, record) {
        (Some(table), record) => layout.take_gpt(disk, table, record.is_some(), &mut tables, limits)?,
        (None, Some(record)) if !is_one_volume => layout.take_mbr(disk, record, &mut tables, limits)?,
        _ => {
            let end = match whole.kind {
                FsKind::Iso9660 => probe::disc_end(&**disk)?.unwrap_or(disk.size_bytes()),
                _ => disk.size_bytes(),
            };
            let range = 0..end.min(disk.size_bytes());
            let volume =
                Volume::new("disk", vec![range.clone()], "whole disk", Some(Arc::clone(disk)), limits)?;
            layout.volumes.push(volume);
            if whole.kind == FsKind::Iso9660 {
                layout.take_hybrid(disk, hybrid, range.end, &mut tables, limits)?;
            }
        }
    }
    Ok((layout, tables))
}

fn is_protective(partition: &mbr::Partition) -> bool {
    partition.kind == mbr::PROTECTIVE
}

impl Layout {
    fn take_gpt(
        &mut self,
        disk: &Arc<dyn ReadAt>,
        table: gpt::Table,
        has_record: bool,
        tables: &mut Vec<Range<u64>>,
        limits: &Limits,
    ) -> Result<()> {
        self.table = Table::Gpt;
        self.sector_bytes = table.sector_bytes;
        self.disk_id = Some(table.disk_id);
        self.notes.extend(table.note);
        self.problems.extend(table.problem);
        tables.extend(table.tables);
        if has_record {
            tables.push(0..512);
        }
        for partition in table.partitions {
            let kind = gpt::kind_name(&partition.kind).to_owned();
            let place = format!("partition {}", partition.number);
            let mut volume = if partition.range.is_empty() {
                let mut volume = Volume::new(place, Vec::new(), kind, None, limits)?;
                volume.role = Role::Unreadable("ends before it begins".to_owned());
                volume
            } else {
                let data = part(disk, &partition.range);
                Layout::volume(place, partition.range, kind, data, limits)?
            };
            volume.number = Some(partition.number);
            volume.part_uuid = Some(partition.uuid);
            volume.name = Some(partition.name).filter(|name| !name.is_empty());
            self.volumes.push(volume);
        }
        Ok(())
    }

    fn take_mbr(
        &mut self,
        disk: &Arc<dyn ReadAt>,
        table: mbr::Table,
        tables: &mut Vec<Range<u64>>,
        limits: &Limits,
    ) -> Result<()> {
        self.table = Table::Mbr;
        self.sector_bytes = table.sector_bytes;
        self.disk_id = Some(format!("{:08x}", table.disk_id));
        self.problems.extend(table.broken);
        tables.extend(table.tables);
        for partition in table.partitions {
            let kind = format!("{:#04x} {}", partition.kind, mbr::kind_name(partition.kind));
            let place = format!("partition {}", partition.number);
            let data = part(disk, &partition.range);
            let mut volume = Layout::volume(place, partition.range, kind, data, limits)?;
            volume.number = Some(partition.number);
            volume.part_uuid = Some(format!("{:08x}-{:02x}", table.disk_id, partition.number));
            self.volumes.push(volume);
        }
        Ok(())
    }

    /// The partitions that the system area of a disc names beside it, up to `end` or behind it. Those that cover
    /// the disc itself, or lie in it and are none that a system's root may be on (boot images are its files), are the
    /// disc's own bytes.
    fn take_hybrid(
        &mut self,
        disk: &Arc<dyn ReadAt>,
        record: Option<mbr::Table>,
        end: u64,
        tables: &mut Vec<Range<u64>>,
        limits: &Limits,
    ) -> Result<()> {
        let mut found = Layout::new();
        let mut own_tables = Vec::new();
        match gpt::read(&**disk, false, limits) {
            Ok(Some(table)) => found.take_gpt(disk, table, false, &mut own_tables, limits)?,
            Ok(None) => {}
            Err(error) => found.notes.push(format!("partitions beside the disc: {error}")),
        }
        if let (Table::None, Some(record)) = (found.table, record) {
            found.take_mbr(disk, record, &mut own_tables, limits)?;
        }
        self.disk_id = self.disk_id.take().or(found.disk_id);
        self.notes.extend(found.notes);
        self.problems.extend(found.problems);
        tables.extend(own_tables.into_iter().filter(|range| range.start >= end));
        for volume in found.volumes {
            let Some(range) = volume.ranges.first().cloned() else { continue };
            let is_inside = range.start < end;
            let is_read = matches!(
                volume.probed.kind,
                FsKind::Ext2
                    | FsKind::Ext3
                    | FsKind::Ext4
                    | FsKind::Xfs
                    | FsKind::Btrfs
                    | FsKind::Squashfs
                    | FsKind::Erofs
            );
            if range.start == 0 || volume.probed.kind == FsKind::Iso9660 || (is_inside && !is_read) {
                continue;
            }
            self.volumes.push(volume);
        }
        Ok(())
    }

    /// A partition; what its type alone says is settled here.
    fn volume(
        place: String,
        range: Range<u64>,
        kind: String,
        data: Option<Arc<dyn ReadAt>>,
        limits: &Limits,
    ) -> Result<Volume> {
        let mut volume = Volume::new(place, vec![range], kind, data, limits)?;
        let Some(data) = &volume.data else { return Ok(volume) };
        let is_unknown = volume.probed.kind == FsKind::Unknown;
        let by_type = match volume.kind.as_str() {
            gpt::BIOS_BOOT | gpt::PREP | "0x41 PReP boot" if is_unknown => {
                boot_loader(data, limits)?.then_some("boot loader")
            }
            gpt::RESERVED if is_unknown => is_blank(data, limits)?.then_some("reserved by Windows"),
            gpt::ESP | "0xef EFI system" if volume.probed.kind == FsKind::Fat => Some("EFI system partition"),
            "Linux swap" | "0x82 Linux swap" if is_unknown => is_blank(data, limits)?.then_some("swap"),
            _ => None,
        };
        if let Some(reason) = by_type {
            volume.role = Role::NoSoftware(reason);
        }
        Ok(volume)
    }
}
