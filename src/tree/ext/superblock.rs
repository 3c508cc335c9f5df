//! The superblock: where everything else is, and which features it is made with.

use crate::bytes::{ReadAt, sum_holds};
use crate::error::{Error, Result};
use crate::tree::crc32c::crc32c;
use crate::tree::fields::{self, Fields};
use crate::tree::{FsIdentity, FsKind};

/// Where the first superblock stands, whatever the size of blocks.
const START: u64 = 1024;
const LEN: usize = 1024;
const MAGIC: u16 = 0xef53;

/// Features without which a file system cannot be read.
pub(super) mod incompat {
    pub(in crate::tree::ext) const FILETYPE: u32 = 0x2;
    pub(in crate::tree::ext) const RECOVER: u32 = 0x4;
    pub(super) const JOURNAL_DEV: u32 = 0x8;
    pub(in crate::tree::ext) const META_BG: u32 = 0x10;
    pub(super) const EXTENTS: u32 = 0x40;
    pub(in crate::tree::ext) const BIT64: u32 = 0x80;
    pub(super) const MMP: u32 = 0x100;
    pub(super) const FLEX_BG: u32 = 0x200;
    pub(super) const EA_INODE: u32 = 0x400;
    pub(super) const DIRDATA: u32 = 0x1000;
    pub(super) const CSUM_SEED: u32 = 0x2000;
    pub(in crate::tree::ext) const LARGEDIR: u32 = 0x4000;
    pub(super) const INLINE_DATA: u32 = 0x8000;
    pub(super) const ENCRYPT: u32 = 0x1_0000;
    pub(super) const CASEFOLD: u32 = 0x2_0000;
    pub(super) const READ: u32 = FILETYPE
        | RECOVER
        | META_BG
        | EXTENTS
        | BIT64
        | MMP
        | FLEX_BG
        | EA_INODE
        | DIRDATA
        | CSUM_SEED
        | LARGEDIR
        | INLINE_DATA
        | ENCRYPT
        | CASEFOLD;
    /// Those of ext3 and ext2.
    pub(super) const OLD: u32 = FILETYPE | RECOVER | META_BG;
}

/// Features that change what is written, of which some carry checksums or places.
mod ro_compat {
    pub(super) const SPARSE_SUPER: u32 = 0x1;
    pub(super) const GDT_CSUM: u32 = 0x10;
    pub(super) const METADATA_CSUM: u32 = 0x400;
    /// Those of ext3 and ext2: sparse_super, large_file, btree_dir.
    pub(super) const OLD: u32 = 0x7;
}

const HAS_JOURNAL: u32 = 0x4;
const SPARSE_SUPER2: u32 = 0x200;

/// How group descriptors, and with the last also inodes, directories and extents, are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksums {
    None,
    /// CRC-16 of group descriptors.
    Groups,
    /// CRC-32C of all metadata.
    All,
}

/// What of the superblock is needed.
#[derive(Debug, Clone)]
pub(super) struct Superblock {
    pub(super) inodes: u32,
    pub(super) blocks: u64,
    pub(super) first_data_block: u32,
    pub(super) block_bytes: u32,
    pub(super) blocks_per_group: u32,
    pub(super) inodes_per_group: u32,
    pub(super) inode_bytes: u16,
    pub(super) descriptor_bytes: u16,
    compat: u32,
    pub(super) incompat: u32,
    ro_compat: u32,
    pub(super) uuid: [u8; 16],
    label: Vec<u8>,
    pub(super) journal_inode: u32,
    first_meta_bg: u32,
    backup_groups: [u32; 2],
    /// Where checksums start from.
    pub(super) seed: u32,
}

impl Superblock {
    /// Reads the first superblock; the doubt is one about its checksum.
    pub(super) fn read(volume: &dyn ReadAt) -> Result<(Self, Option<Error>)> {
        let mut bytes = [0; LEN];
        volume.read_exact_at(START, &mut bytes)?;
        let fields = Fields::new(&bytes, "ext superblock", START);
        let magic = fields.le16(0x38)?;
        if magic != MAGIC {
            return Err(fields.wrong("magic", 0x38, format!("{magic:#06x}"), format!("{MAGIC:#06x}")));
        }
        let superblock = Self::decode(fields)?;
        let doubt = if superblock.checksums() == Checksums::All {
            let found = fields.le32(0x3fc)?;
            let wanted = crc32c(!0, fields.slice(0, 0x3fc)?);
            (!sum_holds(found, wanted)).then(|| {
                fields.wrong("checksum", 0x3fc, format!("{found:#x}"), format!("the sum {wanted:#x}"))
            })
        } else {
            None
        };
        Ok((superblock, doubt))
    }

    fn decode(fields: Fields<'_>) -> Result<Self> {
        let is_old = fields.le32(0x4c)? == 0;
        let (compat, incompat, ro_compat) =
            if is_old { (0, 0, 0) } else { (fields.le32(0x5c)?, fields.le32(0x60)?, fields.le32(0x64)?) };
        refuse_unknown(incompat)?;
        let log = fields.le32(0x18)?;
        let block_bytes = match log {
            0..=6 => 1024_u32.checked_shl(log).unwrap_or(1024),
            _ => return Err(fields.wrong("log_block_size", 0x18, log.to_string(), "0 to 6")),
        };
        let is_64bit = incompat & incompat::BIT64 != 0;
        let uuid: [u8; 16] = fields.array(0x68)?;
        let seed = match incompat & incompat::CSUM_SEED {
            0 => crc32c(!0, &uuid),
            _ => fields.le32(0x270)?,
        };
        let high = if is_64bit { u64::from(fields.le32(0x150)?) } else { 0 };
        let superblock = Superblock {
            inodes: fields.le32(0)?,
            blocks: u64::from(fields.le32(4)?) | (high << 32),
            first_data_block: fields.le32(0x14)?,
            block_bytes,
            blocks_per_group: fields.le32(0x20)?,
            inodes_per_group: fields.le32(0x28)?,
            inode_bytes: if is_old { 128 } else { fields.le16(0x58)? },
            descriptor_bytes: if is_64bit { fields.le16(0xfe)? } else { 32 },
            compat,
            incompat,
            ro_compat,
            uuid,
            label: fields::label(fields.slice(0x78, 16)?),
            journal_inode: if compat & HAS_JOURNAL != 0 { fields.le32(0xe0)? } else { 0 },
            first_meta_bg: fields.le32(0x104)?,
            backup_groups: [fields.le32(0x24c)?, fields.le32(0x250)?],
            seed,
        };
        superblock.check(fields)?;
        Ok(superblock)
    }

    fn check(&self, fields: Fields<'_>) -> Result<()> {
        let wrong =
            |field, at, found: u64, allowed: String| Err(fields.wrong(field, at, found.to_string(), allowed));
        let (inode, block) = (u32::from(self.inode_bytes), self.block_bytes);
        if inode < 128 || inode > block || !inode.is_power_of_two() {
            return wrong("inode_size", 0x58, inode.into(), format!("a power of two from 128 to {block}"));
        }
        let descriptor = u32::from(self.descriptor_bytes);
        if descriptor != 32 && (!(64..=1024).contains(&descriptor) || !descriptor.is_power_of_two()) {
            return wrong("desc_size", 0xfe, descriptor.into(), "a power of two from 64 to 1024".to_owned());
        }
        let most_inodes = block.saturating_mul(8);
        if self.inodes_per_group == 0 || self.inodes_per_group > most_inodes {
            return wrong(
                "inodes_per_group",
                0x28,
                self.inodes_per_group.into(),
                format!("1 to {most_inodes}"),
            );
        }
        if self.blocks_per_group == 0 {
            return wrong("blocks_per_group", 0x20, 0, "1 or more".to_owned());
        }
        if self.first_data_block > 1 {
            return wrong("first_data_block", 0x14, self.first_data_block.into(), "0 or 1".to_owned());
        }
        if self.blocks <= u64::from(self.first_data_block) || self.blocks >> 48 != 0 {
            return wrong("blocks_count", 4, self.blocks, "2 to 2^48".to_owned());
        }
        let most = self.groups().saturating_mul(self.inodes_per_group.into());
        if self.inodes == 0 || u64::from(self.inodes) > most {
            return wrong("inodes_count", 0, self.inodes.into(), format!("1 to {most}"));
        }
        Ok(())
    }

    /// How many block groups there are.
    pub(super) fn groups(&self) -> u64 {
        let blocks = self.blocks.saturating_sub(self.first_data_block.into());
        blocks.div_ceil(u64::from(self.blocks_per_group).max(1))
    }

    pub(super) fn has(&self, incompat: u32) -> bool {
        self.incompat & incompat != 0
    }

    pub(super) fn checksums(&self) -> Checksums {
        match self.ro_compat {
            flags if flags & ro_compat::METADATA_CSUM != 0 => Checksums::All,
            flags if flags & ro_compat::GDT_CSUM != 0 => Checksums::Groups,
            _ => Checksums::None,
        }
    }

    /// A block's offset on the volume, if it is one of the file system.
    pub(super) fn offset_of(&self, block: u64) -> Option<u64> {
        let is_inside = block != 0 && block < self.blocks;
        is_inside.then(|| block.saturating_mul(self.block_bytes.into()))
    }

    /// Which block holds the descriptors of the group with this number.
    pub(super) fn descriptor_block(&self, group: u64) -> u64 {
        let a_block =
            u64::from(self.block_bytes.checked_div(self.descriptor_bytes.into()).unwrap_or(1)).max(1);
        let number = group.checked_div(a_block).unwrap_or(0);
        if !self.has(incompat::META_BG) || number < u64::from(self.first_meta_bg) {
            let superblock = u64::from(self.block_bytes == 1024);
            return superblock.saturating_add(1).saturating_add(number);
        }
        let first = number.saturating_mul(a_block);
        let start = first.saturating_mul(self.blocks_per_group.into());
        let is_after_boot = self.block_bytes == 1024 && number == 0 && self.first_data_block == 0;
        let before = u64::from(self.has_superblock(first)).saturating_add(u64::from(is_after_boot));
        start.saturating_add(self.first_data_block.into()).saturating_add(before)
    }

    /// Whether a group starts with a copy of the superblock.
    fn has_superblock(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.compat & SPARSE_SUPER2 != 0 {
            return self.backup_groups.iter().any(|backup| u64::from(*backup) == group);
        }
        if group == 1 || self.ro_compat & ro_compat::SPARSE_SUPER == 0 {
            return true;
        }
        [3, 5, 7].into_iter().any(|base: u64| {
            let mut power = base;
            while power < group {
                power = power.saturating_mul(base);
            }
            power == group
        })
    }

    pub(super) fn identity(&self) -> FsIdentity {
        let is_new = self.incompat & !incompat::OLD != 0 || self.ro_compat & !ro_compat::OLD != 0;
        let kind = match (is_new, self.compat & HAS_JOURNAL != 0) {
            (true, _) => FsKind::Ext4,
            (false, true) => FsKind::Ext3,
            (false, false) => FsKind::Ext2,
        };
        FsIdentity {
            kind,
            uuid: fields::uuid(&self.uuid),
            label: self.label.clone(),
            size_bytes: self.blocks.saturating_mul(self.block_bytes.into()),
            block_bytes: self.block_bytes,
        }
    }
}

fn refuse_unknown(flags: u32) -> Result<()> {
    if flags & incompat::JOURNAL_DEV != 0 {
        return Err(Error::unsupported("a journal device of ext3 or ext4, which holds no files"));
    }
    let unknown = flags & !incompat::READ;
    if unknown == 0 {
        return Ok(());
    }
    let names: Vec<String> = (0..32_u32)
        .filter_map(|bit| 1_u32.checked_shl(bit))
        .filter(|flag| unknown & flag != 0)
        .map(|flag| match flag {
            0x1 => "compression".to_owned(),
            _ => format!("{flag:#x}"),
        })
        .collect();
    Err(Error::unsupported(format!("ext file systems with the incompatible feature {}", names.join(", "))))
}
