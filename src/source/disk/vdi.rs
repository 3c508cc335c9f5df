//! VDI, VirtualBox's disk image, version 1.1 (`VDICore.h` of VirtualBox has the structures). Little-endian.
//!
//! | at | bytes | header | | at | bytes | header |
//! |---|---|---|---|---|---|---|
//! | 64 | 4 | signature `0xbeda107f` | | 368 | 8 | guest size |
//! | 68 | 4 | version, 0x10001 | | 376 | 4 | block size |
//! | 76 | 4 | type | | 380 | 4 | bytes before each block |
//! | 340 | 4 | offset of the block map | | 384 | 4 | blocks |
//! | 344 | 4 | offset of the blocks | | 392, 408 | 16, 16 | own UUID, that of the last change |
//! | | | | | 424, 440 | 16, 16 | the same two of the parent |
//!
//! The block map has the number of the stored block for each guest block, or that it is free (the parent's, or
//! zeros) or zero. A differencing image names its parent by UUID alone: it is looked for among the `.vdi` files
//! beside it. That the parent was changed since is told.

use std::sync::Arc;

use super::cache::Tables;
use super::map::{Map, Mapped, Place};
use super::{Disk, DiskFormat, Opening};
use crate::bytes::{ReadAt, array_at, le_u32, le_u64, uuid_text};
use crate::error::{Error, Result, ResultExt as _, quoted};

const FORMAT: &str = "VDI";
const HEADER_BYTES: usize = 456;
pub(super) const SIGNATURE: [u8; 4] = [0x7f, 0x10, 0xda, 0xbe];
const FREE: u32 = 0xffff_ffff;
const ZERO: u32 = 0xffff_fffe;
const DIFFERENCING: u32 = 4;

struct Header {
    kind: u32,
    map_offset: u64,
    data_offset: u64,
    size_bytes: u64,
    block_bytes: u64,
    extra_bytes: u64,
    uuid: [u8; 16],
    changed: [u8; 16],
    parent: [u8; 16],
    parent_changed: [u8; 16],
}

fn wrong<T>(field: &'static str, offset: u64, found: impl Into<String>, allowed: &str) -> Result<T> {
    Err(Error::malformed(FORMAT, field, offset, found, allowed))
}

impl Header {
    fn read(file: &dyn ReadAt) -> Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(0, &mut bytes)?;
        let version = le_u32(&bytes, 68);
        if version != 0x0001_0001 {
            return Err(Error::unsupported(format!("VDI version {version:#x}")));
        }
        let kind = le_u32(&bytes, 76);
        match kind {
            1 | 2 | DIFFERENCING => {}
            3 => return Err(Error::unsupported("an undo image of VirtualBox")),
            _ => return wrong("type", 76, kind.to_string(), "1 (dynamic), 2 (static) or 4 (differencing)"),
        }
        let header = Header {
            kind,
            map_offset: u64::from(le_u32(&bytes, 340)),
            data_offset: u64::from(le_u32(&bytes, 344)),
            size_bytes: le_u64(&bytes, 368),
            block_bytes: u64::from(le_u32(&bytes, 376)),
            extra_bytes: u64::from(le_u32(&bytes, 380)),
            uuid: array_at(&bytes, 392),
            changed: array_at(&bytes, 408),
            parent: array_at(&bytes, 424),
            parent_changed: array_at(&bytes, 440),
        };
        let blocks = u64::from(le_u32(&bytes, 384));
        if !header.block_bytes.is_power_of_two() || header.block_bytes < 512 {
            return wrong("block size", 376, header.block_bytes.to_string(), "a power of two from 512 on");
        }
        if header.size_bytes > blocks.saturating_mul(header.block_bytes) {
            let found = format!("{} bytes", header.size_bytes);
            return wrong(
                "guest size",
                368,
                found,
                &format!("at most {blocks} blocks of {}", header.block_bytes),
            );
        }
        if header.map_offset.saturating_add(blocks.saturating_mul(4)) > file.size_bytes() {
            let found = format!("{blocks} entries at {:#x}", header.map_offset);
            return wrong(
                "block map",
                340,
                found,
                &format!("inside of the {} bytes of the file", file.size_bytes()),
            );
        }
        Ok(header)
    }
}

pub(super) fn open(file: Arc<dyn ReadAt>, opening: &mut Opening<'_>) -> Result<Disk> {
    let header = Header::read(&*file)?;
    let has_parent = header.kind == DIFFERENCING;
    if !has_parent && header.parent != [0; 16] {
        return wrong("parent", 424, "a UUID", "none where the image is not differencing");
    }
    let mut doubts = Vec::new();
    let parent = if has_parent { Some(parent(&header, opening, &mut doubts)?) } else { None };
    let parent_data = parent.as_ref().map(|(_, disk)| Arc::clone(&disk.data));
    let map = Vdi { tables: Tables::new(file, &opening.cache), header };
    let data = Mapped::new(map, parent_data, &opening.cache);
    let checked = data.check(opening.limits);
    doubts.extend(checked.doubts);
    let (data, notes) = (Arc::new(data), checked.notes);
    Ok(Disk { data, format: DiskFormat::Vdi, parents: Vec::new(), notes, doubts }.over(parent))
}

/// The image that this one lies over, among the files beside.
fn parent(child: &Header, opening: &mut Opening<'_>, doubts: &mut Vec<String>) -> Result<(String, Disk)> {
    for name in opening.siblings.names(opening.limits)? {
        if !name.to_ascii_lowercase().ends_with(".vdi") || opening.chain.contains(&name) {
            continue;
        }
        let Ok(file) = opening.siblings.open(&name) else { continue };
        if !super::kind(&*file).is_ok_and(|kind| kind == Some(DiskFormat::Vdi)) {
            continue;
        }
        let Some(found) = Header::read(&*file).ok().filter(|found| found.uuid == child.parent) else {
            continue;
        };
        if found.changed != child.parent_changed {
            let (has, wants) = (uuid_text(&found.changed), uuid_text(&child.parent_changed));
            let name = quoted(&name);
            doubts.push(format!(
                "its parent {name} was changed after it was made: its last change is {has}, and not {wants}"
            ));
        }
        let disk = opening.open(&name, file, Some(DiskFormat::Vdi)).at(|| format!("parent `{name}`"))?;
        return Ok((name, disk));
    }
    let uuid = uuid_text(&child.parent);
    Err(Error::not_found(format!("the parent image with UUID {uuid}, among the .vdi files beside the image"))
        .hint("put it into the folder of the image that needs it"))
}

struct Vdi {
    tables: Tables,
    header: Header,
}

impl Map for Vdi {
    fn size_bytes(&self) -> u64 {
        self.header.size_bytes
    }

    fn place(&self, offset: u64) -> Result<(Place, u64)> {
        let block_bytes = self.header.block_bytes;
        let (block, within) = (offset.div_euclid(block_bytes), offset.rem_euclid(block_bytes));
        let at = self.header.map_offset.saturating_add(block.saturating_mul(4));
        let len = block_bytes.saturating_sub(within);
        let stored = match u32::from_le_bytes(self.tables.array(at)?) {
            FREE => return Ok((Place::Parent, len)),
            ZERO => return Ok((Place::Zero, len)),
            stored => u64::from(stored),
        };
        let start = stored
            .saturating_mul(block_bytes.saturating_add(self.header.extra_bytes))
            .saturating_add(self.header.data_offset)
            .saturating_add(self.header.extra_bytes);
        let from = start.saturating_add(within);
        // The last block of a file may be cut where the disk ends within it.
        let len = len.min(self.header.size_bytes.saturating_sub(offset));
        if from.saturating_add(len) > self.tables.file.size_bytes() {
            let found = format!("block {stored}, from byte {start:#x} on");
            let file_bytes = self.tables.file.size_bytes();
            return wrong("block map", at, found, &format!("inside of the {file_bytes} bytes of the file"))
                .map_err(|error| super::cut_off(error, from.saturating_add(len), file_bytes));
        }
        Ok((Place::Stored(Arc::clone(&self.tables.file), from), len))
    }
}
