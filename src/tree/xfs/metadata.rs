//! Metadata blocks of a volume: read through the cache, with what the log has for them laid over, and checked.
//!
//! Since version 5 every metadata block says where it belongs: a checksum over it, its own address in units of
//! 512 bytes, the file system's UUID and, in blocks of a file, the owning inode.

use std::collections::BTreeMap;

use super::superblock::Superblock;
use crate::bytes::{ReadAt as _, size_of_len};
use crate::error::{Error, Result};
use crate::tree::CachedReader;
use crate::tree::fields::{Fields, len};

/// The unit of addresses and of the log.
pub(super) const SECTOR: u64 = 512;

/// What the log has for sectors of the volume.
pub(super) type Overlay = BTreeMap<u64, [u8; 512]>;

/// Where a kind of block keeps what says where it belongs; byte offsets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seal {
    pub(super) crc: usize,
    pub(super) address: usize,
    pub(super) uuid: usize,
    pub(super) owner: usize,
}

/// Directory data (`xfs_dir3_blk_hdr`).
pub(super) const DIRECTORY_SEAL: Seal = Seal { crc: 4, address: 8, uuid: 24, owner: 40 };
/// Directory index (`xfs_da3_blkinfo`).
pub(super) const INDEX_SEAL: Seal = Seal { crc: 12, address: 16, uuid: 32, owner: 48 };
/// B-tree of extents (`xfs_btree_block_lhdr`).
pub(super) const BTREE_SEAL: Seal = Seal { crc: 64, address: 24, uuid: 40, owner: 56 };
/// Symbolic link (`xfs_dsymlink_hdr`).
pub(super) const LINK_SEAL: Seal = Seal { crc: 12, address: 40, uuid: 16, owner: 32 };

/// A part of the volume.
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) offset: u64,
    /// The log changed it: its checksum is that of an older state.
    pub(super) is_replayed: bool,
}

impl Block {
    pub(super) fn fields(&self, format: &'static str) -> Fields<'_> {
        Fields::new(&self.bytes, format, self.offset)
    }
}

/// The metadata of one volume.
pub(super) struct Metadata {
    pub(super) reader: CachedReader,
    pub(super) superblock: Superblock,
    pub(super) overlay: Overlay,
}

impl Metadata {
    /// The bytes `offset..offset + size_bytes` with the log laid over.
    ///
    /// # Errors
    /// `Malformed` if they pass the volume's end, `Io`.
    pub(super) fn read(&self, offset: u64, size_bytes: u64) -> Result<Block> {
        let mut bytes = vec![0; len(size_bytes)];
        self.reader.read_exact_at(offset, &mut bytes)?;
        let is_replayed = lay_over(&self.overlay, offset, &mut bytes);
        Ok(Block { bytes, offset, is_replayed })
    }

    /// Checks what a version 5 block says of itself.
    ///
    /// # Errors
    /// `Malformed` with the field.
    pub(super) fn check(&self, block: &Block, format: &'static str, seal: Seal, owner: u64) -> Result<()> {
        let fields = block.fields(format);
        if !block.is_replayed {
            fields.check_crc(seal.crc)?;
        }
        let address = block.offset.checked_div(SECTOR).unwrap_or(0);
        equal(&fields, "blkno", seal.address, fields.be64(seal.address)?, address)?;
        equal(&fields, "owner", seal.owner, fields.be64(seal.owner)?, owner)?;
        self.check_uuid(&fields, seal.uuid)
    }

    /// Checks the file system's UUID in a structure.
    ///
    /// # Errors
    /// `Malformed` if it is another.
    pub(super) fn check_uuid(&self, fields: &Fields<'_>, at: usize) -> Result<()> {
        let found = fields.slice(at, 16)?;
        match found == self.superblock.uuid {
            true => Ok(()),
            false => Err(fields.wrong("uuid", at, hex(found), hex(&self.superblock.uuid))),
        }
    }

    /// Several pieces of the volume as one block, which starts where the first does.
    ///
    /// # Errors
    /// Those of [`Metadata::read`].
    pub(super) fn read_pieces(&self, pieces: &[(u64, u64)]) -> Result<Block> {
        let offset = pieces.first().map_or(0, |(offset, _)| *offset);
        let mut whole = Block { bytes: Vec::new(), offset, is_replayed: false };
        for (offset, size_bytes) in pieces {
            let piece = self.read(*offset, *size_bytes)?;
            whole.bytes.extend(piece.bytes);
            whole.is_replayed |= piece.is_replayed;
        }
        Ok(whole)
    }
}

fn equal(fields: &Fields<'_>, field: &'static str, at: usize, found: u64, allowed: u64) -> Result<()> {
    match found == allowed {
        true => Ok(()),
        false => Err(fields.wrong(field, at, found.to_string(), allowed.to_string())),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lays what the log has over bytes from `offset` on; whether it had anything.
pub(super) fn lay_over(overlay: &Overlay, offset: u64, bytes: &mut [u8]) -> bool {
    if overlay.is_empty() {
        return false;
    }
    let end = offset.saturating_add(size_of_len(bytes.len()));
    let first = offset.checked_div(SECTOR).unwrap_or(0);
    let last = end.div_ceil(SECTOR);
    let mut any = false;
    for (sector, content) in overlay.range(first..last) {
        let start = sector.saturating_mul(SECTOR);
        let skipped = len(offset.saturating_sub(start));
        let at = len(start.saturating_sub(offset));
        let target = bytes.get_mut(at..).unwrap_or_default();
        let source = content.get(skipped..).unwrap_or_default();
        for (to, from) in target.iter_mut().zip(source) {
            *to = *from;
        }
        any = true;
    }
    any
}

/// Keeps whole sectors from `offset` on, which is a multiple of [`SECTOR`].
pub(super) fn keep(overlay: &mut Overlay, offset: u64, bytes: &[u8]) {
    let first = offset.checked_div(SECTOR).unwrap_or(0);
    for (sector, content) in (first..).zip(bytes.chunks_exact(len(SECTOR))) {
        let mut kept = [0; 512];
        kept.copy_from_slice(content);
        overlay.insert(sector, kept);
    }
}

/// The error for a file that is stored on the realtime device.
pub(super) fn on_realtime_device() -> Error {
    Error::unsupported("a file on the realtime device of XFS")
}
