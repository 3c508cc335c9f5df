//! What a dirty log changes: the newest state of metadata that was logged and not yet written back.
//!
//! Layout: *XFS Algorithms & Data Structures*, 3rd edition, chapter 14. A record is a sequence of operations of
//! 12 bytes (tid, len, clientid, flags) and content. Those of one tid are a transaction: its header, then log
//! items of several regions each, then a commit. Only committed transactions count, in the order of their
//! commits. Numbers in items are in the byte order of the host, content is as on disk.
//!
//! | item | what is done with it |
//! | --- | --- |
//! | buffer | its chunks of 128 bytes are laid over the block, unless that is newer or was cancelled |
//! | inode | core and data fork replace those on disk, unless these are newer |
//! | inode creation | the chunk's inodes become free ones |
//! | intents of mapping (BUI, XMI) without their done | `Unsupported`: a file is between two states |
//! | other intents, quotas, unlinked lists | nothing: they are about free space, names of attributes, or limits |

use std::collections::{BTreeMap, BTreeSet};

use super::inode;
use super::log::{FORMAT, Log, Record};
use super::metadata::{Overlay, SECTOR, keep, lay_over};
use super::superblock::{self, Superblock};
use crate::bytes::ReadAt;
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::tree::CachedReader;
use crate::tree::fields::{Fields, len};

const ITEM: &str = "XFS log item";
const TRANSACTION_CLIENT: u8 = 0x69;
const TRANSACTION_MAGIC: u32 = 0x5452_414e;

const START: u8 = 0x01;
const COMMIT: u8 = 0x02;
const WAS_CONTINUED: u8 = 0x08;
const END: u8 = 0x10;
const UNMOUNT: u8 = 0x20;

const INODE_ITEM: u16 = 0x123b;
const BUFFER_ITEM: u16 = 0x123c;
const INODE_CREATION_ITEM: u16 = 0x123f;
/// Items that have no influence on what files hold: free space, unlinked inodes, quotas, reverse mappings,
/// reference counts, attributes.
const IDLE_ITEMS: [u16; 22] = [
    0x1236, 0x1237, 0x1238, 0x123d, 0x123e, 0x1240, 0x1241, 0x1242, 0x1243, 0x1246, 0x1247, 0x124a, 0x124b,
    0x124c, 0x124d, 0x124e, 0x124f, 0x1250, 0x1251, 0x1252, 0x1253, 0x1254,
];
/// Intents to change a file's mapping, and what says that they were carried out: BUI and BUD, XMI and XMD.
const MAPPING_INTENTS: [(u16, u16); 2] = [(0x1244, 0x1245), (0x1248, 0x1249)];

const BUFFER_OF_INODES: u16 = 1;
const BUFFER_CANCELLED: u16 = 2;
const BUFFER_OF_QUOTAS: u16 = 4 | 8 | 16;
/// What one bit of a buffer item's map stands for, in bytes.
const CHUNK: usize = 128;
/// The largest buffer: a directory block of 64 KiB, an inode chunk of as much, or a logged attribute.
const BUFFER_BYTES: u64 = 256 << 10;

const CORE: u32 = 0x001;
const DATA_LOCAL: u32 = 0x002;
const DATA_EXTENTS: u32 = 0x004;
const DATA_ROOT: u32 = 0x008;
const DATA_DEVICE: u32 = 0x010;

/// Fields of an inode's core whose bytes the log has in the order of the host: offset and size.
const CORE_FIELDS: [(usize, usize); 27] = [
    (0, 2),
    (2, 2),
    (8, 4),
    (12, 4),
    (16, 4),
    (20, 2),
    (22, 2),
    (24, 8),
    (32, 8),
    (40, 8),
    (48, 8),
    (56, 8),
    (64, 8),
    (72, 4),
    (76, 4),
    (80, 2),
    (84, 4),
    (88, 2),
    (90, 2),
    (92, 4),
    (96, 4),
    (104, 8),
    (112, 8),
    (120, 8),
    (128, 4),
    (144, 8),
    (152, 8),
];

/// One thing that a transaction changed.
struct Item {
    kind: u16,
    regions: Vec<Vec<u8>>,
    /// How many regions there will be.
    wanted: usize,
}

/// Items that became true together.
struct Transaction {
    /// Where it started in the log.
    lsn: u64,
    header: Vec<u8>,
    items: Vec<Item>,
}

/// What the log has for the volume, if it was not written back; empty if it was.
///
/// # Errors
/// `Unsupported` if it is elsewhere or holds something that is not known, `Malformed` if it is damaged,
/// `Limit` if it is larger than `xfs_log_bytes`.
pub(super) fn replay(reader: &CachedReader, superblock: &Superblock, limits: &Limits) -> Result<Overlay> {
    let volume: &dyn ReadAt = &**reader.content();
    let log = Log::new(volume, superblock)?;
    let records = log.dirty(|size_bytes| limits.xfs_log_bytes.check(size_bytes))?;
    if records.is_empty() {
        return Ok(Overlay::new());
    }
    let replayed =
        transactions(&records).and_then(|transactions| Replay::new(volume, superblock).run(&transactions));
    replayed.map_err(|error| {
        error.hint(
            "the file system was not unmounted; mount and unmount a copy of the disk to write the log back",
        )
    })
}

/// The committed transactions of some records, in the order of their commits.
fn transactions(records: &[Record]) -> Result<Vec<Transaction>> {
    let mut open: BTreeMap<u32, Transaction> = BTreeMap::new();
    let mut committed = Vec::new();
    for record in records {
        let fields = Fields::new(&record.bytes, FORMAT, record.offset);
        let mut at: usize = 0;
        for _ in 0..record.operations {
            let (tid, size) = (fields.be32(at)?, len(fields.be32(at.saturating_add(4))?));
            let client = fields.u8(at.saturating_add(8))?;
            let flags = fields.u8(at.saturating_add(9))?;
            let content = fields.slice(at.saturating_add(12), size)?;
            at = at.saturating_add(12).saturating_add(size);
            if client != TRANSACTION_CLIENT && flags & UNMOUNT == 0 {
                // Only the start and the unmount are written by others than transactions.
                if client != 0xaa {
                    return Err(fields.wrong("clientid", at, client.to_string(), "a transaction"));
                }
                continue;
            }
            if flags & START != 0 {
                let started = Transaction { lsn: record.lsn, header: Vec::new(), items: Vec::new() };
                open.insert(tid, started);
                continue;
            }
            if flags & COMMIT != 0 {
                committed.extend(open.remove(&tid));
                continue;
            }
            if flags & UNMOUNT != 0 {
                open.remove(&tid);
                continue;
            }
            // What started before the tail was written back.
            let Some(transaction) = open.get_mut(&tid) else { continue };
            let is_rest = flags & !END & WAS_CONTINUED != 0;
            transaction
                .add(content, is_rest)
                .map_err(|what| fields.wrong("operation", at, what, "a transaction's header and items"))?;
        }
    }
    Ok(committed)
}

impl Transaction {
    /// Takes the content of an operation: the header, a region, or the rest of one.
    fn add(&mut self, content: &[u8], is_rest: bool) -> std::result::Result<(), String> {
        if content.is_empty() {
            return Ok(());
        }
        if self.header.len() < 16 {
            self.header.extend_from_slice(content);
            if self.header.len() > 16 {
                return Err("a header of more than 16 bytes".to_owned());
            }
            let magic = self.header.first_chunk().map(|magic| u32::from_le_bytes(*magic));
            return match magic {
                Some(TRANSACTION_MAGIC) | None => Ok(()),
                Some(other) => Err(format!("magic {other:#x}")),
            };
        }
        if is_rest {
            let region = self.items.last_mut().and_then(|item| item.regions.last_mut());
            region.ok_or("the rest of nothing")?.extend_from_slice(content);
            return Ok(());
        }
        match self.items.last_mut().filter(|item| item.regions.len() < item.wanted) {
            Some(item) => item.regions.push(content.to_vec()),
            None => {
                let head = Fields::new(content, ITEM, 0);
                let (Ok(kind), Ok(wanted)) = (head.le16(0), head.le16(2)) else {
                    return Err(format!("an item of {} bytes", content.len()));
                };
                let wanted = usize::from(wanted).max(1);
                self.items.push(Item { kind, regions: vec![content.to_vec()], wanted });
            }
        }
        Ok(())
    }
}

impl Item {
    fn region(&self, index: usize) -> Result<Fields<'_>> {
        match self.regions.get(index) {
            Some(region) => Ok(Fields::new(region, ITEM, 0)),
            None => Err(Error::malformed(ITEM, "regions", None, self.regions.len().to_string(), "more")),
        }
    }
}

/// A buffer: first sector, and how many.
type Place = (u64, u64);

/// A buffer item's description.
struct Buffer<'a> {
    flags: u16,
    place: Place,
    map: &'a [u8],
}

impl<'a> Buffer<'a> {
    fn of(item: &'a Item) -> Result<Self> {
        let fields = item.region(0)?;
        let words = len(fields.le32(16)?);
        Ok(Buffer {
            flags: fields.le16(4)?,
            place: (fields.le64(8)?, fields.le16(6)?.into()),
            map: fields.slice(20, words.saturating_mul(4))?,
        })
    }

    /// Whether a chunk was logged. Words of 32 bits, each little-endian: so are their bytes.
    fn has(&self, chunk: usize) -> bool {
        let byte = self.map.get(chunk >> 3).copied().unwrap_or(0);
        byte & 1_u8.checked_shl(u32::try_from(chunk & 7).unwrap_or(0)).unwrap_or(0) != 0
    }

    fn chunks(&self) -> usize {
        self.map.len().saturating_mul(8)
    }
}

struct Replay<'a> {
    volume: &'a dyn ReadAt,
    superblock: &'a Superblock,
    overlay: Overlay,
    /// Buffers that were freed, and how often: what was logged of them before must not come back.
    cancelled: BTreeMap<Place, u64>,
}

impl<'a> Replay<'a> {
    fn new(volume: &'a dyn ReadAt, superblock: &'a Superblock) -> Self {
        Replay { volume, superblock, overlay: Overlay::new(), cancelled: BTreeMap::new() }
    }

    fn run(mut self, transactions: &[Transaction]) -> Result<Overlay> {
        check_items(transactions, self.superblock)?;
        for item in transactions.iter().flat_map(|transaction| &transaction.items) {
            if item.kind == BUFFER_ITEM {
                let buffer = Buffer::of(item)?;
                if buffer.flags & BUFFER_CANCELLED != 0 {
                    let count = self.cancelled.entry(buffer.place).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
        for transaction in transactions {
            self.transaction(transaction)?;
        }
        Ok(self.overlay)
    }

    /// In the order of the kernel: buffers and inode creations, then inodes, then what was cancelled.
    fn transaction(&mut self, transaction: &Transaction) -> Result<()> {
        for item in transaction.items.iter().filter(|item| item.kind == INODE_CREATION_ITEM) {
            self.create_inodes(item)?;
        }
        let mut freed = Vec::new();
        for item in transaction.items.iter().filter(|item| item.kind == BUFFER_ITEM) {
            let buffer = Buffer::of(item)?;
            match buffer.flags & BUFFER_CANCELLED != 0 {
                true => freed.push(buffer.place),
                false => self.buffer(&buffer, item, transaction.lsn)?,
            }
        }
        for item in transaction.items.iter().filter(|item| item.kind == INODE_ITEM) {
            self.inode(item, transaction.lsn)?;
        }
        for place in freed {
            if let Some(count) = self.cancelled.get_mut(&place) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.cancelled.remove(&place);
                }
            }
        }
        Ok(())
    }

    /// The newest state of a part of the volume.
    fn read(&self, (first, count): Place) -> Result<Vec<u8>> {
        let size_bytes = count.saturating_mul(SECTOR);
        if size_bytes > BUFFER_BYTES {
            let allowed = format!("up to {BUFFER_BYTES}");
            return Err(Error::malformed(ITEM, "len", None, format!("{size_bytes} bytes"), allowed));
        }
        let offset = first.saturating_mul(SECTOR);
        let mut bytes = vec![0; len(size_bytes)];
        self.volume.read_exact_at(offset, &mut bytes)?;
        lay_over(&self.overlay, offset, &mut bytes);
        Ok(bytes)
    }

    fn buffer(&mut self, buffer: &Buffer<'_>, item: &Item, lsn: u64) -> Result<()> {
        // Of inodes only the list of unlinked ones is logged this way.
        let is_idle = buffer.flags & (BUFFER_OF_INODES | BUFFER_OF_QUOTAS) != 0;
        if is_idle || self.cancelled.contains_key(&buffer.place) {
            return Ok(());
        }
        let mut bytes = self.read(buffer.place)?;
        if self.lsn_of(&bytes).is_some_and(|on_disk| on_disk >= lsn) {
            return Ok(());
        }
        let mut chunk = 0;
        let mut index: usize = 1;
        while chunk < buffer.chunks() {
            if !buffer.has(chunk) {
                chunk = chunk.saturating_add(1);
                continue;
            }
            let region = item.region(index)?.bytes;
            let run = (chunk..buffer.chunks()).take_while(|chunk| buffer.has(*chunk)).count();
            let run = run.min(region.len().checked_div(CHUNK).unwrap_or(0));
            let (start, size) = (chunk.saturating_mul(CHUNK), run.saturating_mul(CHUNK));
            let target = start.checked_add(size).and_then(|end| bytes.get_mut(start..end));
            match (target, region.get(..size)) {
                (Some(target), Some(source)) if size > 0 => target.copy_from_slice(source),
                _ => {
                    let found = format!("{} bytes for chunk {chunk}", region.len());
                    return Err(Error::malformed(ITEM, "region", None, found, "what the map says"));
                }
            }
            chunk = chunk.saturating_add(run);
            index = index.saturating_add(1);
        }
        keep(&mut self.overlay, buffer.place.0.saturating_mul(SECTOR), &bytes);
        Ok(())
    }

    /// When a block was last changed, if it says so and is of this file system: then an older change is in it
    /// already.
    fn lsn_of(&self, bytes: &[u8]) -> Option<u64> {
        if !self.superblock.is_v5 {
            return None;
        }
        let fields = Fields::new(bytes, ITEM, 0);
        let magic = fields.be32(0).ok()?;
        let (lsn, uuid) = match &magic.to_be_bytes() {
            b"XDB3" | b"XDD3" | b"XDF3" => (16, 24),
            b"XSLM" => (48, 16),
            b"BMA3" => (32, 40),
            b"AB3B" | b"AB3C" | b"FIB3" | b"IAB3" | b"RMB3" | b"R3FC" => (24, 32),
            magic if *magic == superblock::MAGIC.to_be_bytes() => (240, 32),
            _ => match fields.be16(8).ok()? {
                0x3df1 | 0x3dff | 0x3ebe | 0x3bee => (24, 32),
                _ => return None,
            },
        };
        let expected =
            if magic == superblock::MAGIC { &self.superblock.log_uuid } else { &self.superblock.uuid };
        let is_ours = fields.slice(uuid, 16).ok()? == expected;
        fields.be64(lsn).ok().filter(|lsn| is_ours && *lsn != 0 && *lsn != u64::MAX)
    }

    /// Makes the inodes of a chunk free ones, as they are on disk when it is new.
    fn create_inodes(&mut self, item: &Item) -> Result<()> {
        // This item is in disk order.
        let fields = item.region(0)?;
        let (group, block) = (fields.be32(4)?, fields.be32(8)?);
        let (size_bytes, blocks) = (fields.be32(16)?, fields.be32(20)?);
        let generation = fields.be32(24)?;
        if size_bytes != u32::from(self.superblock.inode_bytes) || blocks == 0 {
            let found = format!("{blocks} blocks of inodes of {size_bytes} bytes");
            return Err(fields.wrong("isize", 16, found, self.superblock.inode_bytes.to_string()));
        }
        let first = self.superblock.block_number(group, block);
        let offset = self.superblock.block_offset(first, blocks.into())?;
        let end = offset.saturating_add(u64::from(blocks).saturating_mul(self.superblock.block_bytes.into()));
        if end.saturating_sub(offset) > BUFFER_BYTES.saturating_mul(4) {
            return Err(fields.wrong("length", 20, blocks.to_string(), "one chunk of 64 inodes"));
        }
        if self.is_cancelled(offset, end) {
            return Ok(());
        }
        let per_block = self.superblock.block_bytes.checked_div(size_bytes).unwrap_or(1);
        let log = per_block.checked_ilog2().unwrap_or(0);
        let mut number = first.checked_shl(log).unwrap_or(0);
        let mut at = offset;
        let mut chunk = Vec::new();
        while at < end {
            chunk.extend(self.free_inode(number, generation));
            number = number.saturating_add(1);
            at = at.saturating_add(size_bytes.into());
        }
        keep(&mut self.overlay, offset, &chunk);
        Ok(())
    }

    fn free_inode(&self, number: u64, generation: u32) -> Vec<u8> {
        let mut bytes = vec![0; self.superblock.inode_bytes.into()];
        put(&mut bytes, 0, &inode::MAGIC.to_be_bytes());
        put(&mut bytes, 92, &generation.to_be_bytes());
        put(&mut bytes, 96, &u32::MAX.to_be_bytes());
        put(&mut bytes, 4, &[if self.superblock.is_v5 { 3 } else { 2 }]);
        if self.superblock.is_v5 {
            put(&mut bytes, 152, &number.to_be_bytes());
            put(&mut bytes, 160, &self.superblock.uuid);
        }
        bytes
    }

    /// Whether a cancelled buffer starts in this range of bytes.
    fn is_cancelled(&self, start: u64, end: u64) -> bool {
        let sector = |offset: u64| offset.checked_div(SECTOR).unwrap_or(0);
        self.cancelled.range((sector(start), 0)..(sector(end), 0)).next().is_some()
    }

    fn inode(&mut self, item: &Item, lsn: u64) -> Result<()> {
        let format = item.region(0)?;
        // The packed form of 32 bit kernels has no padding before the inode number.
        let shift: usize = if format.bytes.len() < 56 { 4 } else { 0 };
        let at = |offset: usize| offset.saturating_sub(shift);
        let (fields, number) = (format.le32(4)?, format.le64(at(16))?);
        let buffer = (format.le64(at(40))?, u64::from(format.le32(at(48))?));
        let offset = self.superblock.inode_offset(number)?;
        if self.cancelled.contains_key(&buffer) {
            return Ok(());
        }
        let size_bytes = u64::from(self.superblock.inode_bytes);
        // Inodes of 256 bytes share a sector.
        let sectors = (offset.checked_div(SECTOR).unwrap_or(0), size_bytes.div_ceil(SECTOR));
        let mut sector = self.read(sectors)?;
        let inside = len(offset.checked_rem(SECTOR).unwrap_or(0));
        let range = inside..inside.saturating_add(len(size_bytes));
        let Some(target) = sector.get_mut(range) else {
            return Err(Error::malformed(ITEM, "inode", None, number.to_string(), "inside its sectors"));
        };
        if self.is_newer(target, item, lsn)? {
            return Ok(());
        }
        self.core(target, item, fields)?;
        self.data_fork(target, item, fields)?;
        keep(&mut self.overlay, sectors.0.saturating_mul(SECTOR), &sector);
        Ok(())
    }

    /// Whether an inode on disk is newer than the log.
    fn is_newer(&self, on_disk: &[u8], item: &Item, lsn: u64) -> Result<bool> {
        let fields = Fields::new(on_disk, "XFS inode", 0);
        if fields.be16(0)? != inode::MAGIC {
            return Err(fields.wrong("magic", 0, format!("{:#x}", fields.be16(0)?), "an inode"));
        }
        if self.superblock.is_v5 {
            let found = fields.be64(112)?;
            return Ok(found != 0 && found != u64::MAX && found > lsn);
        }
        // Before version 5 inodes count how often they were written.
        let (found, logged) = (fields.be16(30)?, item.region(1)?.le16(30)?);
        Ok(logged < found && !(found == u16::MAX && logged < u16::MAX >> 1))
    }

    /// The core, in disk order.
    fn core(&self, target: &mut [u8], item: &Item, fields: u32) -> Result<()> {
        let logged = item.region(1)?;
        if fields & CORE == 0 && logged.bytes.len() < 96 {
            return Ok(());
        }
        let size = if self.superblock.is_v5 { 176 } else { 96 };
        let mut core = logged.slice(0, size)?.to_vec();
        for (at, width) in CORE_FIELDS {
            let end = at.saturating_add(width);
            // Before version 3 there is a count of writes in the last two bytes of what is one field since.
            let part = if !self.superblock.is_v5 && at == 24 { 30..32 } else { at..end };
            if let Some(bytes) = core.get_mut(part) {
                bytes.reverse();
            }
        }
        let fields = Fields::new(&core, ITEM, 0);
        fields.expect_magic(0, fields.be16(0)?.into(), inode::MAGIC.into())?;
        // The checksum is not logged; what is replayed is not checked against one.
        put(target, 0, core.get(..96).unwrap_or_default());
        put(target, 96, core.get(96..).unwrap_or_default());
        Ok(())
    }

    fn data_fork(&self, target: &mut [u8], item: &Item, fields: u32) -> Result<()> {
        let version = if self.superblock.is_v5 { 3 } else { 2 };
        let (start, room) = inode::data_fork(&Fields::new(target, ITEM, 0), version)?;
        if fields & DATA_DEVICE != 0 || fields & (DATA_LOCAL | DATA_EXTENTS | DATA_ROOT) == 0 {
            return Ok(());
        }
        let logged = item.region(2)?;
        let fork = match fields & DATA_ROOT != 0 {
            true => self.root(&logged, room)?,
            false => logged.bytes.to_vec(),
        };
        // Local content is padded to whole words.
        let fits = fork.len() <= room;
        if !fits {
            return Err(logged.wrong("dsize", 0, fork.len().to_string(), format!("up to {room}")));
        }
        put(target, start, &fork);
        Ok(())
    }

    /// The root of an extent B-tree as it is in an inode, from a whole block with room for just its records.
    fn root(&self, logged: &Fields<'_>, room: usize) -> Result<Vec<u8>> {
        let header: usize = if self.superblock.is_v5 { 72 } else { 24 };
        let (level, count) = (logged.slice(4, 2)?, logged.be16(6)?);
        let places = |bytes: usize| bytes.checked_div(16).unwrap_or(0);
        let count_len = usize::from(count).saturating_mul(8);
        let keys = logged.slice(header, count_len)?;
        let most = places(logged.bytes.len().saturating_sub(header));
        let pointers = logged.slice(header.saturating_add(most.saturating_mul(8)), count_len)?;
        let places_here = places(room.saturating_sub(4));
        if usize::from(count) > places_here.min(most) {
            return Err(logged.wrong("numrecs", 6, count.to_string(), format!("up to {places_here}")));
        }
        let mut root = vec![0; room];
        put(&mut root, 0, level);
        put(&mut root, 2, &count.to_be_bytes());
        put(&mut root, 4, keys);
        put(&mut root, places_here.saturating_mul(8).saturating_add(4), pointers);
        Ok(root)
    }
}

/// Puts bytes over others, as far as there is room; callers checked that there is.
fn put(target: &mut [u8], at: usize, source: &[u8]) {
    for (to, from) in target.get_mut(at..).unwrap_or_default().iter_mut().zip(source) {
        *to = *from;
    }
}

/// Refuses what is not known, and files between two states.
fn check_items(transactions: &[Transaction], superblock: &Superblock) -> Result<()> {
    // Logged attributes are the only feature that the log has had so far.
    if superblock.log_features & !1 != 0 {
        let bits = superblock.log_features;
        return Err(Error::unsupported(format!("an XFS log with unknown features ({bits:#x})")));
    }
    let mut pending = BTreeSet::new();
    for item in transactions.iter().flat_map(|transaction| &transaction.items) {
        if item.regions.len() < item.wanted {
            let found = item.regions.len().to_string();
            return Err(Error::malformed(ITEM, "regions", None, found, item.wanted.to_string()));
        }
        let intent = MAPPING_INTENTS.iter().find(|(todo, done)| item.kind == *todo || item.kind == *done);
        if let Some((todo, _)) = intent {
            let fields = item.region(0)?;
            let id = fields.le64(8)?;
            match item.kind == *todo {
                true => pending.insert((*todo, id)),
                false => pending.remove(&(*todo, id)),
            };
        } else if ![INODE_ITEM, BUFFER_ITEM, INODE_CREATION_ITEM].contains(&item.kind)
            && !IDLE_ITEMS.contains(&item.kind)
        {
            return Err(Error::unsupported(format!("an XFS log with items of type {:#x}", item.kind)));
        }
    }
    match pending.len() {
        0 => Ok(()),
        count => Err(Error::unsupported(format!(
            "an XFS log with {count} unfinished changes of which blocks hold a file"
        ))),
    }
}
