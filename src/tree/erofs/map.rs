//! The map of compressed content: behind the inode a header of eight bytes, and behind that an index of logical
//! clusters or a list of extents.
//!
//! | byte of the header | field |
//! | --- | --- |
//! | 0 | where the end is in the packed inode (32 bits), or from byte 2 on the size of what is inline |
//! | 4 | advice (16 bits) |
//! | 6 | compressor of head 1, of head 2 (4 bits each) |
//! | 7 | log2 of a logical cluster in blocks; bit 7: all is in the packed inode, where the other 63 bits say |
//!
//! An extent starts in a logical cluster that is a *head* (compressed with the first or the second compressor, or
//! plain), at some byte of it, and goes on to the next. The others are *not heads*; the first of them may say how many
//! blocks the extent takes on the volume. The full index has eight bytes for each: type, the byte where it starts, and
//! the block, or distances. The compact index packs two into eight bytes (16 bits each) or 16 into 32 (14 bits each):
//! the type above the byte or distance, and last a block from which those of the heads are counted.
//!
//! With an extent list there are no clusters: each extent has the bytes that it takes and, by the size of a record (4,
//! 8, 16 or 32), where it is on the volume and in the file.

use super::content::{Form, Piece};
use super::inode::{Inode, Layout, aligned};
use super::volume::Base;
use crate::bytes::{ReadAt, le_u16, le_u32, le_u64, size_of_len};
use crate::error::{Error, Result};
use crate::tree::fields::len;

const FORMAT: &str = "erofs map";
const HEADER_BYTES: u64 = 8;

const COMPACTED_2B: u16 = 1;
const EXTENTS: u16 = 1;
const BIG_1: u16 = 1 << 1;
const BIG_2: u16 = 1 << 2;
const INLINE: u16 = 1 << 3;
const INTERLACED: u16 = 1 << 4;
const FRAGMENT: u16 = 1 << 5;

/// In the distance of what is no head: that it is the number of blocks instead.
const IS_BLOCKS: u16 = 1 << 11;
const EXTENT_BYTES: u32 = (1 << 21) - 1;
/// So many logical clusters are passed for each extent that a file may have: most extents have several.
const CLUSTERS_AN_EXTENT: u64 = 16;
/// So much of an index is read at once.
const WINDOW: u64 = 16 << 10;

/// What a logical cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Head1,
    NotHead,
    Head2,
}

impl Kind {
    fn of(bits: u16) -> Self {
        match bits & 3 {
            0 => Kind::Plain,
            1 => Kind::Head1,
            2 => Kind::NotHead,
            _ => Kind::Head2,
        }
    }
}

/// One logical cluster.
#[derive(Debug, Clone, Copy)]
struct Cluster {
    kind: Kind,
    /// Of a head: the byte where it starts. Of another: the distance or, flagged, number of blocks.
    low: u16,
    /// Of a head: its block.
    block: u64,
}

impl Cluster {
    /// How many blocks its extent takes, if this is what says it.
    fn blocks(self) -> Option<u64> {
        (self.kind == Kind::NotHead && self.low & IS_BLOCKS != 0).then_some(u64::from(self.low & !IS_BLOCKS))
    }
}

struct Map<'a> {
    base: &'a Base,
    inode: &'a Inode,
    advice: u16,
    algorithms: u8,
    cluster_bits: u32,
    /// The first four bytes of the header.
    first: u32,
    /// Where the header is.
    at: u64,
}

/// The pieces of a compressed inode that is not empty.
///
/// # Errors
/// `Malformed` if the map is damaged; `Unsupported` for forms that are not known; `Limit` if it has too many extents.
pub(super) fn pieces(base: &Base, inode: &Inode) -> Result<Vec<Piece>> {
    let at = aligned(inode.end, 8);
    let header: [u8; 8] = inode.array(at)?;
    let whole = u64::from_le_bytes(header);
    if whole >> 63 != 0 {
        return Ok(vec![Piece { start: 0, form: Form::Packed(whole & !(1 << 63)) }]);
    }
    let [.., algorithms, bits] = header;
    let map = Map {
        base,
        inode,
        advice: le_u16(&header, 4),
        algorithms,
        cluster_bits: base.superblock.block_bits.saturating_add(u32::from(bits & 15)),
        first: le_u32(&header, 0),
        at,
    };
    match (inode.layout, map.advice & EXTENTS != 0) {
        (Layout::CompressedFull, true) => {
            let count = u64::from(map.first) | (u64::from(le_u16(&header, 6)) << 32);
            map.extents(count)
        }
        _ => map.clusters(),
    }
}

impl Map<'_> {
    fn wrong(&self, field: &'static str, found: impl Into<String>, allowed: impl Into<String>) -> Error {
        Error::malformed(FORMAT, field, self.at, found, allowed)
    }

    fn has(&self, advice: u16) -> bool {
        self.advice & advice != 0
    }

    /// The pieces as the index of logical clusters has them.
    fn clusters(&self) -> Result<Vec<Piece>> {
        let is_compact = self.inode.layout == Layout::CompressedCompact;
        let most = if is_compact { 14 } else { 16 };
        if self.cluster_bits > most {
            let found = format!("erofs clusters of 2^{} bytes", self.cluster_bits);
            return Err(Error::unsupported(found));
        }
        if is_compact && self.has(BIG_1) != self.has(BIG_2) {
            return Err(self.wrong(
                "advice",
                format!("{:#x}", self.advice),
                "big clusters of both heads or none",
            ));
        }
        let size_bytes = self.inode.meta.size_bytes;
        let count =
            size_bytes.saturating_sub(1).checked_shr(self.cluster_bits).unwrap_or(0).saturating_add(1);
        let limit = &self.base.limits.file_extents;
        limit.check(count.checked_div(CLUSTERS_AN_EXTENT).unwrap_or(0))?;
        let mut index = match is_compact {
            true => Index::compact(self),
            false => Index::full(self),
        };
        let mut pieces: Vec<Piece> = Vec::new();
        let mut head: Option<(Cluster, u64)> = None;
        let mut blocks: Option<u64> = None;
        for number in 0..count {
            let cluster = index.next()?;
            if cluster.kind == Kind::NotHead {
                let is_first = head.is_some_and(|(_, at)| at.checked_add(1) == Some(number));
                if cluster.blocks().is_some() && !(self.has(BIG_1) || self.has(BIG_2)) {
                    return Err(self.wrong("distance", format!("{:#x}", cluster.low), "no number of blocks"));
                }
                if is_first {
                    blocks = cluster.blocks();
                }
                continue;
            }
            let start = (number << self.cluster_bits).saturating_add(cluster.low.into());
            if u64::from(cluster.low) >> self.cluster_bits != 0 {
                return Err(self.wrong("start", cluster.low.to_string(), "a byte of its cluster"));
            }
            if let Some((head, at)) = head {
                let is_followed = at.checked_add(1) == Some(number);
                if start >= size_bytes {
                    self.tail(&mut pieces, head, blocks, is_followed, &index)?;
                    return self.checked(pieces);
                }
                self.finish(&mut pieces, head, blocks, is_followed, start)?;
            }
            limit.check(size_of_len(pieces.len()))?;
            pieces.push(Piece { start, form: Form::Hole });
            (head, blocks) = (Some((cluster, number)), None);
        }
        let Some((head, at)) = head else {
            return Err(self.wrong("cluster", "no head", "one at least"));
        };
        self.tail(&mut pieces, head, blocks, at.checked_add(1) == Some(count), &index)?;
        self.checked(pieces)
    }

    /// Checks that the first piece starts where the file does.
    fn checked(&self, pieces: Vec<Piece>) -> Result<Vec<Piece>> {
        match pieces.first() {
            Some(first) if first.start == 0 => Ok(pieces),
            _ => Err(self.wrong("start", "not 0", "0, of the first extent")),
        }
    }

    /// Gives the last piece its form: it starts with this head, and takes so many blocks if something says so. It is
    /// followed at once by another head or the end, if `is_followed`.
    fn finish(
        &self,
        pieces: &mut [Piece],
        head: Cluster,
        blocks: Option<u64>,
        is_followed: bool,
        end: u64,
    ) -> Result<()> {
        let is_big = match head.kind {
            Kind::Head1 => self.has(BIG_1),
            _ => self.has(BIG_2),
        };
        let blocks = match blocks {
            _ if !is_big || is_followed => 1,
            Some(blocks) if blocks > 0 => blocks,
            _ => {
                return Err(self.wrong("blocks", "no number of blocks", "one, in the cluster behind a head"));
            }
        };
        let bits = self.base.superblock.block_bits;
        self.put(pieces, head, (head.block << bits, blocks << bits), false, end)
    }

    /// Gives the last piece, which ends at `end`, its form: it is stored at this place in so many bytes.
    fn put(
        &self,
        pieces: &mut [Piece],
        head: Cluster,
        (at, stored): (u64, u64),
        is_inline: bool,
        end: u64,
    ) -> Result<()> {
        let stored = u32::try_from(stored)
            .map_err(|_| self.wrong("blocks", format!("{stored} bytes"), "fewer than 2^32"))?;
        let form = match head.kind {
            Kind::Plain if self.has(INTERLACED) && !is_inline => Form::Turned(at),
            Kind::Plain if is_inline => Form::Inline(at),
            Kind::Plain => Form::Plain(at),
            Kind::Head2 => Form::Compressed { at, stored, algorithm: self.algorithms >> 4, is_inline },
            _ => Form::Compressed { at, stored, algorithm: self.algorithms & 15, is_inline },
        };
        if let Form::Compressed { algorithm, .. } = form {
            self.base.superblock.codec(algorithm)?;
        }
        if let Some(last) = pieces.last_mut() {
            last.form = form;
            self.check_plain(last, stored, end)?;
        }
        Ok(())
    }

    /// Checks that a piece that is not compressed is as long as what is stored of it.
    fn check_plain(&self, piece: &Piece, stored: u32, end: u64) -> Result<()> {
        let bytes = end.saturating_sub(piece.start);
        let is_plain = matches!(piece.form, Form::Plain(_) | Form::Inline(_) | Form::Turned(_));
        if is_plain && bytes > stored.into() {
            return Err(self.wrong(
                "blocks",
                format!("{stored} bytes"),
                format!("{bytes} of a plain extent"),
            ));
        }
        match piece.form {
            Form::Turned(_) if u64::from(stored) > self.base.superblock.block_bytes() => {
                Err(Error::unsupported("erofs interlaced extents of several blocks"))
            }
            _ => Ok(()),
        }
    }

    /// Gives the last piece of the file its form, which may be in the packed inode or inline.
    fn tail(
        &self,
        pieces: &mut [Piece],
        head: Cluster,
        blocks: Option<u64>,
        is_followed: bool,
        index: &Index<'_>,
    ) -> Result<()> {
        if self.has(FRAGMENT) {
            let high = if self.inode.layout == Layout::CompressedFull { head.block } else { 0 };
            let form = Form::Packed(u64::from(self.first) | (high << 32));
            if let Some(last) = pieces.last_mut() {
                last.form = form;
            }
            return Ok(());
        }
        let inline = u64::from(self.first >> 16);
        if !self.has(INLINE) || inline == 0 {
            return self.finish(pieces, head, blocks, is_followed, self.inode.meta.size_bytes);
        }
        let at = index.end();
        let block = self.base.superblock.block_bytes();
        if at.checked_rem(block).unwrap_or(0).saturating_add(inline) > block {
            return Err(self.wrong(
                "inline",
                format!("{inline} bytes at {at:#x}"),
                "as many as its block has",
            ));
        }
        self.put(pieces, head, (at, inline), true, self.inode.meta.size_bytes)
    }

    /// The pieces as a list of extents has them.
    fn extents(&self, count: u64) -> Result<Vec<Piece>> {
        let record: u64 = 4 << ((self.advice >> 1) & 3);
        let size_bytes = self.inode.meta.size_bytes;
        let clusters =
            size_bytes.saturating_sub(1).checked_shr(self.cluster_bits).unwrap_or(0).saturating_add(1);
        let count = if record > 8 { count } else { clusters };
        self.base.limits.file_extents.check(count)?;
        let mut at = aligned(self.at.saturating_add(HEADER_BYTES), len(record));
        let mut in_a_row = 0;
        if record == 4 {
            in_a_row = u64::from_le_bytes(self.inode.array(at)?);
            at = at.saturating_add(8);
        }
        let mut pieces: Vec<Piece> = Vec::new();
        let mut stored_before = 0;
        for number in 0..count {
            let mut bytes = [0; 32];
            self.inode.place.read_exact_at(at, bytes.get_mut(..len(record)).unwrap_or_default())?;
            at = at.saturating_add(record);
            let word = le_u32(&bytes, 0);
            let stored = word & EXTENT_BYTES;
            let (offset, start) = match record {
                4 => (in_a_row, number << self.cluster_bits),
                8 => (le_u32(&bytes, 4).into(), number << self.cluster_bits),
                16 => (le_u64(&bytes, 4), le_u32(&bytes, 12).into()),
                _ => (le_u64(&bytes, 4), le_u64(&bytes, 12)),
            };
            in_a_row = in_a_row.saturating_add(stored.into());
            let before = pieces.last().map(|piece| piece.start);
            if before.is_some_and(|before| start <= before) || start >= size_bytes {
                let allowed = "ascending and inside the file";
                return Err(self.wrong("lstart", start.to_string(), allowed));
            }
            if let Some(last) = pieces.last() {
                self.check_plain(last, stored_before, start)?;
            }
            stored_before = stored;
            let is_last = number.checked_add(1) == Some(count);
            let form = match is_last && self.has(FRAGMENT) {
                true if record == 4 => Form::Packed(word.into()),
                true => Form::Packed(u64::from(word) | (offset << 32)),
                false => self.extent(word, offset)?,
            };
            pieces.push(Piece { start, form });
        }
        if let Some(last) = pieces.last() {
            self.check_plain(last, stored_before, size_bytes)?;
        }
        self.checked(pieces)
    }

    fn extent(&self, word: u32, at: u64) -> Result<Form> {
        let stored = word & EXTENT_BYTES;
        if stored == 0 {
            return Ok(Form::Hole);
        }
        let block = self.base.superblock.block_bytes();
        let is_aligned = at.checked_rem(block) == Some(0) && u64::from(stored).checked_rem(block) == Some(0);
        match u8::try_from(word >> 28).unwrap_or(0) {
            0 if self.has(INTERLACED) && is_aligned => Ok(Form::Turned(at)),
            0 => Ok(Form::Plain(at)),
            format => {
                let algorithm = format.saturating_sub(1);
                self.base.superblock.codec(algorithm)?;
                Ok(Form::Compressed { at, stored, algorithm, is_inline: false })
            }
        }
    }
}

/// Logical clusters one after the other.
struct Index<'a> {
    map: &'a Map<'a>,
    form: IndexForm,
    /// Where the next pack starts.
    at: u64,
    /// Clusters of a pack that were decoded, last first.
    ready: Vec<Cluster>,
    window: Vec<u8>,
    window_at: u64,
}

enum IndexForm {
    Full,
    /// So many clusters in packs of 8 bytes, then so many in packs of 32, then again of 8.
    Compact {
        small: u64,
        large: u64,
    },
}

impl<'a> Index<'a> {
    fn full(map: &'a Map<'a>) -> Self {
        let at = map.at.saturating_add(HEADER_BYTES).saturating_add(8);
        Index { map, form: IndexForm::Full, at, ready: Vec::new(), window: Vec::new(), window_at: 0 }
    }

    fn compact(map: &'a Map<'a>) -> Self {
        let at = map.at.saturating_add(HEADER_BYTES);
        let block_bits = map.base.superblock.block_bits;
        let size_bytes = map.inode.meta.size_bytes;
        let total = size_bytes.saturating_sub(1).checked_shr(block_bits).unwrap_or(0).saturating_add(1);
        // Packs of 8 bytes up to where those of 32 are aligned.
        let small = at.next_multiple_of(32).saturating_sub(at) / 4;
        let large = match map.has(COMPACTED_2B) {
            true => total.saturating_sub(small) & !15,
            false => 0,
        };
        let form = IndexForm::Compact { small, large };
        Index { map, form, at, ready: Vec::new(), window: Vec::new(), window_at: 0 }
    }

    /// Where the pack ends that the last cluster is in.
    fn end(&self) -> u64 {
        self.at
    }

    fn next(&mut self) -> Result<Cluster> {
        if self.ready.is_empty() {
            self.unpack()?;
        }
        self.ready
            .pop()
            .ok_or_else(|| self.map.wrong("index", "cut off", "a cluster for each part of the file"))
    }

    /// `N` bytes of the index.
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let end = self.at.saturating_add(size_of_len(N));
        let window_end = self.window_at.saturating_add(size_of_len(self.window.len()));
        if self.at < self.window_at || end > window_end {
            let place = &self.map.inode.place;
            let left = place.size_bytes().saturating_sub(self.at);
            // A first look is short: most files are small.
            let wanted = if self.window.is_empty() { 256 } else { WINDOW };
            let size = wanted.min(left).max(size_of_len(N));
            self.window.resize(len(size), 0);
            self.window_at = self.at;
            place.read_exact_at(self.at, &mut self.window)?;
        }
        let from = len(self.at.saturating_sub(self.window_at));
        let bytes = self.window.get(from..).and_then(|bytes| bytes.first_chunk::<N>()).copied();
        self.at = end;
        bytes.ok_or_else(|| self.map.wrong("index", "cut off", "a cluster for each part of the file"))
    }

    fn unpack(&mut self) -> Result<()> {
        match &mut self.form {
            IndexForm::Full => {
                let bytes: [u8; 8] = self.array()?;
                let kind = Kind::of(le_u16(&bytes, 0));
                let low = le_u16(&bytes, if kind == Kind::NotHead { 4 } else { 2 });
                self.ready.push(Cluster { kind, low, block: le_u32(&bytes, 4).into() });
                Ok(())
            }
            IndexForm::Compact { small, large } => {
                if *small == 0 && *large > 0 {
                    if self.map.cluster_bits > 12 {
                        return Err(Error::unsupported("an erofs index of 2 bytes for large clusters"));
                    }
                    *large = large.saturating_sub(16);
                    let bytes: [u8; 32] = self.array()?;
                    return self.pack::<16>(&bytes, 14);
                }
                *small = small.saturating_sub(2);
                let bytes: [u8; 8] = self.array()?;
                self.pack::<2>(&bytes, 16)
            }
        }
    }

    /// Decodes the clusters of a pack, so many bits each; its last four bytes are the block from which heads count.
    fn pack<const COUNT: usize>(&mut self, bytes: &[u8], bits: usize) -> Result<()> {
        let low_bits = self.map.cluster_bits.max(12);
        let is_big = self.map.has(BIG_1);
        let mut block = u64::from(le_u32(bytes, bytes.len().saturating_sub(4)));
        let mut clusters = [Cluster { kind: Kind::Plain, low: 0, block: 0 }; COUNT];
        for (number, cluster) in clusters.iter_mut().enumerate() {
            let bit = number.saturating_mul(bits);
            let word = le_u32(bytes, bit / 8) >> (bit % 8);
            let low = word & (1_u32 << low_bits).saturating_sub(1);
            *cluster = Cluster {
                kind: Kind::of(u16::try_from((word >> low_bits) & 3).unwrap_or(0)),
                low: u16::try_from(low).unwrap_or(u16::MAX),
                block: 0,
            };
        }
        let mut ahead = clusters.iter().skip(1).copied().collect::<Vec<_>>().into_iter();
        for cluster in &mut clusters {
            let next = ahead.next();
            if let Some(blocks) = cluster.blocks().filter(|_| is_big) {
                block = block.saturating_add(blocks);
            }
            if cluster.kind == Kind::NotHead {
                continue;
            }
            // Without big clusters, heads count from one after that block.
            if !is_big {
                block = block.saturating_add(1);
            }
            cluster.block = block;
            let is_told = next.is_some_and(|next| next.blocks().is_some());
            if is_big && !is_told {
                block = block.saturating_add(1);
            }
        }
        self.ready.extend(clusters.iter().rev());
        Ok(())
    }
}
