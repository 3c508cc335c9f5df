//! tar as a stream of members: v7, ustar and pax (POSIX.1-2024, `pax`), GNU (tar 1.35, "Standard").
//!
//! An archive is a sequence of 512-byte blocks: a header, the member's data padded to whole blocks, the next
//! header; two zero blocks end it. Where readers disagree this one sees what container engines see (Go's
//! `archive/tar`): data belongs to regular files only, one zero block before more data is an error, and what
//! follows two zero blocks is no part of the archive.
//!
//! Read: names and sizes from pax `x` records and GNU `L` and `K` members, base-256 numbers, sparse
//! files (GNU `S`; pax 0.0, 0.1, 1.0), checksums with signed and unsigned bytes. Not read: owners, times
//! in pax records, extended attributes, star's own sparse layout; pax
//! `g` records, which engines pass over. A header that breaks the rules is an error: whatever follows
//! it cannot be found again.

use std::io::{self, BufRead};

use crate::bytes::size_of_len;
use crate::error::{Error, Result};
use crate::limits::{Ceiling, Limits};

mod header;
mod index;
mod pax;
mod sparse;

pub use header::looks_like_header;
pub use index::{Index, Place};
pub use sparse::{SparseContent, SparseMap};

use header::{Block, Header};
use pax::Records;

/// The size of a block.
pub const BLOCK_BYTES: usize = 512;

/// A stream that can pass over bytes that nobody wants.
pub trait Skip: BufRead {
    /// Passes over so many bytes; gives how many there were before the end.
    ///
    /// # Errors
    /// Those of the stream.
    fn skip_bytes(&mut self, bytes: u64) -> io::Result<u64> {
        let mut left = bytes;
        while left > 0 {
            let here = self.fill_buf()?.len();
            if here == 0 {
                break;
            }
            let part = usize::try_from(left).map_or(here, |left| left.min(here));
            self.consume(part);
            left = left.saturating_sub(size_of_len(part));
        }
        Ok(bytes.saturating_sub(left))
    }
}

impl Skip for &[u8] {}

impl<R: io::Read> Skip for io::BufReader<R> {}

impl<S: Skip + ?Sized> Skip for &mut S {
    fn skip_bytes(&mut self, bytes: u64) -> io::Result<u64> {
        (**self).skip_bytes(bytes)
    }
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file (`0`, NUL, `7`, `S`).
    File,
    /// Another name of an earlier member (`1`).
    HardLink,
    /// A symbolic link (`2`).
    Symlink,
    /// A character or block device (`3`, `4`).
    Device,
    /// A directory (`5`, `D`, and old ones: a file whose name ends with a slash).
    Directory,
    /// A named pipe (`6`).
    Fifo,
    /// A volume label (`V`): no file.
    Label,
    /// Anything else, with its type flag.
    Other(u8),
}

/// What the data of a member means.
#[derive(Debug, Clone)]
pub enum Layout {
    /// The content as it is.
    Plain,
    /// The content without its holes.
    Sparse(SparseMap),
    /// The content cannot be made out; the stream is still in step.
    Unreadable(Error),
}

/// A member: what its headers say together.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name as stored.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// What it links to, as stored.
    pub link: Vec<u8>,
    /// Unix permission bits with set-id and sticky bits.
    pub mode: u32,
    /// When it was changed last, in seconds since 1970; `None` if the header says none, zero or no number.
    pub mtime_unix: Option<u64>,
    /// The size of its content.
    pub size_bytes: u64,
    /// So many bytes of data are in the archive.
    pub stored_bytes: u64,
    /// Where the data starts.
    pub data_offset: u64,
    /// What the data means.
    pub layout: Layout,
}

/// How an archive ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With two zero blocks, as it should.
    Zeros,
    /// With one zero block.
    OneZero,
    /// With the end of the file behind a member's data, without any zero block.
    Eof,
}

/// Reads members out of a stream. Skips what is not asked for; never goes back.
pub struct TarReader<S> {
    stream: S,
    /// Bytes taken from the stream.
    at: u64,
    /// Data bytes of the current member that were not taken yet.
    left: u64,
    /// Bytes that fill up its last block.
    padding: u64,
    /// A block that was read to see what it is, and is a header.
    ahead: Option<Block>,
    end: Option<End>,
    extension_bytes: Ceiling,
    path_bytes: Ceiling,
}

impl<S: Skip> TarReader<S> {
    /// Starts at the first byte of an archive.
    pub fn new(stream: S, limits: &Limits) -> Self {
        TarReader {
            stream,
            at: 0,
            left: 0,
            padding: 0,
            ahead: None,
            end: None,
            extension_bytes: limits.tar_extension_bytes,
            path_bytes: limits.path_bytes,
        }
    }

    /// The next member; `None` at the end. What is left of the current one's data is skipped.
    ///
    /// # Errors
    /// `Malformed` with its offset if the archive breaks the rules or is cut off, `Limit` for an extension
    /// header or name beyond its ceiling, and those of the stream.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        let mut own = Extensions::default();
        loop {
            self.finish_data()?;
            let offset = self.at;
            let Some(header) = self.header()? else {
                if own.is_empty() {
                    return Ok(None);
                }
                return Err(Error::malformed(
                    "tar",
                    "member",
                    offset,
                    "the end of the archive",
                    "the member that the extension header before is for",
                ));
            };
            match header.flag() {
                b'x' | b'X' => own.pax = Some(Records::parse(&self.extension(&header)?, offset)?),
                // Engines pass over global records, so what these say of a file is not true in a container.
                b'g' => drop(Records::parse(&self.extension(&header)?, offset)?),
                b'L' => own.name = Some(until_nul(self.extension(&header)?)),
                b'K' => own.link = Some(until_nul(self.extension(&header)?)),
                _ => return self.member(&header, own, offset).map(Some),
            }
        }
    }

    /// Passes over what is left of the current member.
    fn finish_data(&mut self) -> Result<()> {
        let rest = self.left.saturating_add(self.padding);
        if rest == 0 {
            return Ok(());
        }
        let skipped = self.stream.skip_bytes(rest)?;
        self.at = self.at.saturating_add(skipped);
        let missing = self.left.saturating_sub(skipped);
        self.left = 0;
        self.padding = 0;
        if missing > 0 {
            return Err(self.cut_off(missing));
        }
        if skipped < rest {
            // umoci ends some layers with the last byte of the last file; engines take them.
            self.end = Some(End::Eof);
        }
        Ok(())
    }

    fn cut_off(&self, missing: u64) -> Error {
        Error::malformed("tar", "data", self.at, "the end of the archive", format!("{missing} bytes more"))
            .hint("the archive is cut off; fetch or build it again")
    }

    /// One block; `None` at the end of the stream.
    fn block(&mut self) -> Result<Option<Block>> {
        if let Some(block) = self.ahead.take() {
            self.at = self.at.saturating_add(size_of_len(BLOCK_BYTES));
            return Ok(Some(block));
        }
        let mut block: Block = [0; BLOCK_BYTES];
        let mut filled = 0_usize;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let here = self.stream.fill_buf()?;
            let len = here.len().min(rest.len());
            let (Some(from), Some(to)) = (here.get(..len), rest.get_mut(..len)) else { break };
            if len == 0 {
                break;
            }
            to.copy_from_slice(from);
            self.stream.consume(len);
            self.at = self.at.saturating_add(size_of_len(len));
            filled = filled.saturating_add(len);
        }
        match filled {
            BLOCK_BYTES => Ok(Some(block)),
            0 => Ok(None),
            _ => Err(self.cut_off(size_of_len(BLOCK_BYTES.saturating_sub(filled)))),
        }
    }

    /// The next header; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>> {
        if self.end.is_some() {
            return Ok(None);
        }
        let offset = self.at;
        let Some(block) = self.block()? else {
            self.end = Some(End::Eof);
            return Ok(None);
        };
        if block != [0; BLOCK_BYTES] {
            return Header::parse(block, offset).map(Some);
        }
        match self.block()? {
            None => self.end = Some(End::OneZero),
            Some(second) if second == [0; BLOCK_BYTES] => self.end = Some(End::Zeros),
            Some(_) => {
                return Err(Error::malformed(
                    "tar",
                    "end",
                    offset,
                    "one zero block and more data",
                    "two zero blocks at the end, none before",
                ));
            }
        }
        Ok(None)
    }

    /// The data of an extension header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size_bytes = self.extension_bytes.check(header.size_bytes()?)?;
        self.begin_data(size_bytes);
        let mut data = Vec::new();
        loop {
            let here = self.fill_data()?;
            let len = here.len();
            if len == 0 {
                return Ok(data);
            }
            data.extend_from_slice(here);
            self.consume_data(len);
        }
    }

    fn begin_data(&mut self, stored_bytes: u64) {
        let block = size_of_len(BLOCK_BYTES);
        self.left = stored_bytes;
        self.padding =
            stored_bytes.checked_next_multiple_of(block).unwrap_or(stored_bytes).saturating_sub(stored_bytes);
    }

    /// Joins a header and its extensions.
    fn member(&mut self, header: &Header, own: Extensions, offset: u64) -> Result<Member> {
        let mut pax = own.pax.unwrap_or_default();
        let path = own.name.or_else(|| pax.take_path()).unwrap_or_else(|| header.path());
        let link = own.link.or_else(|| pax.take_link()).unwrap_or_else(|| header.link());
        for name in [&path, &link] {
            self.path_bytes.check(size_of_len(name.len()))?;
        }
        let kind = header.kind(&path);
        let has_data = !matches!(
            kind,
            MemberKind::HardLink
                | MemberKind::Symlink
                | MemberKind::Device
                | MemberKind::Fifo
                | MemberKind::Label
        ) && (kind != MemberKind::Directory || header.flag() == b'D');
        let declared = match pax.size_bytes() {
            Some(size_bytes) => size_bytes,
            None => header.size_bytes()?,
        };
        let stored_bytes = if has_data { declared } else { 0 };
        let mut member = Member {
            path,
            kind,
            link,
            mode: header.mode()?,
            mtime_unix: header.mtime_unix(),
            size_bytes: if kind == MemberKind::File { stored_bytes } else { 0 },
            stored_bytes,
            data_offset: 0,
            layout: Layout::Plain,
        };
        if header.flag() == b'S' {
            self.old_sparse(header, &mut member, offset)?;
            self.begin_data(stored_bytes);
        } else {
            self.begin_data(stored_bytes);
            if kind == MemberKind::HardLink && declared > 0 {
                self.link_data(header, declared)?;
            }
            if kind == MemberKind::File {
                self.pax_sparse(&pax, &mut member)?;
            }
        }
        member.data_offset = self.at;
        member.stored_bytes = self.left;
        Ok(member)
    }

    /// A pax hard link may carry its file's data again, but most writers give the size and no data. Engines
    /// expect none; so there is some only if what follows can be no header.
    fn link_data(&mut self, header: &Header, declared: u64) -> Result<()> {
        if !header.is_posix() {
            return Ok(());
        }
        let Some(block) = self.block()? else { return Ok(()) };
        if block == [0; BLOCK_BYTES] || looks_like_header(&block) {
            self.at = self.at.saturating_sub(size_of_len(BLOCK_BYTES));
            self.ahead = Some(block);
            return Ok(());
        }
        self.begin_data(declared);
        let rest = self.left.saturating_add(self.padding).saturating_sub(size_of_len(BLOCK_BYTES));
        self.left = self.left.min(rest);
        self.padding = rest.saturating_sub(self.left);
        Ok(())
    }

    /// The current member's data that is at hand, unless it is at its end; empty there.
    ///
    /// # Errors
    /// `Malformed` if the archive ends before, and those of the stream.
    pub fn fill_data(&mut self) -> Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        if self.stream.fill_buf()?.is_empty() {
            return Err(self.cut_off(self.left));
        }
        let here = self.stream.fill_buf()?;
        let len = usize::try_from(self.left).map_or(here.len(), |left| left.min(here.len()));
        Ok(here.get(..len).unwrap_or(here))
    }

    /// Takes so many bytes of what [`fill_data`](Self::fill_data) gave.
    pub fn consume_data(&mut self, len: usize) {
        let len = usize::try_from(self.left).map_or(len, |left| left.min(len));
        self.stream.consume(len);
        self.left = self.left.saturating_sub(size_of_len(len));
        self.at = self.at.saturating_add(size_of_len(len));
    }

    /// How the archive ended; `None` while it has not.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Bytes taken so far.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The stream, behind the last byte that was taken.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

/// What the extension headers before a header say.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link.is_none()
    }
}

/// A C string in a buffer of its own.
fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = memchr::memchr(0, &bytes) {
        bytes.truncate(end);
    }
    bytes
}
