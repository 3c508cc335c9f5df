//! The LZ4 frame format 1.6.4 (`lz4_Frame_format.md`): any number of frames, and skippable frames between them.
//!
//! ```text
//! frame       magic 0x184D2204, descriptor, blocks, end mark (a block size of 0), content checksum?
//! descriptor  FLG, BD, content size (8)?, dictionary id (4)?, second byte of the xxh32 of the descriptor
//! FLG         version (2 bits, 01), independent blocks, block checksums, content size, content checksum, 0, dictionary id
//! BD          0, block maximum (3 bits, 4 to 7: 64 KiB, 256 KiB, 1 MiB, 4 MiB), 0000
//! block       size (4; top bit: stored as it is), bytes, xxh32 of these?
//! skippable   magic 0x184D2A50 to 0x184D2A5F, size (4), bytes
//! ```
//!
//! Not read: the legacy frame (`lz4 -l`), dictionaries. The blocks themselves are `lz4_flex`'s.

use std::io::{self, BufRead, Read};

use lz4_flex::block::decompress_into_with_dict;
use twox_hash::XxHash32;

use crate::bytes::size_of_len;
use crate::error::{Error, Result};

const FRAME: u32 = 0x184d_2204;
const LEGACY: u32 = 0x184c_2102;

/// How far back a linked block may reach.
const WINDOW_BYTES: usize = 64 << 10;

/// The content of all frames of a stream.
pub(super) struct Frames<R> {
    stream: R,
    frame: Option<Frame>,
    /// The last block, inflated, behind up to 64 KiB of those before it.
    window: Vec<u8>,
    /// What of the window is not handed out yet starts here.
    at: usize,
    stored: Vec<u8>,
}

/// What the descriptor of the current frame says, and what was met so far.
struct Frame {
    has_linked_blocks: bool,
    has_block_checksums: bool,
    content_bytes: Option<u64>,
    content_hash: Option<XxHash32>,
    block_bytes: usize,
    seen_bytes: u64,
}

fn malformed(field: &'static str, found: impl Into<String>, allowed: impl Into<String>) -> Error {
    Error::malformed("lz4", field, None, found, allowed)
        .hint("the data is cut off or damaged; fetch or build it again")
}

fn cut_off() -> Error {
    malformed("stream", "its end within a frame", "whole frames, and nothing behind the last")
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(stream: R) -> Self {
        Frames { stream, frame: None, window: Vec::new(), at: 0, stored: Vec::new() }
    }

    fn exact<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, dst: &mut [u8]) -> Result<()> {
        self.stream.read_exact(dst).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => cut_off(),
            _ => Error::from(error),
        })
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.exact()?))
    }

    fn is_at_end(&mut self) -> Result<bool> {
        loop {
            match self.stream.fill_buf() {
                Ok(bytes) => return Ok(bytes.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Makes more of the window available; `false` at the end of the stream.
    fn advance(&mut self) -> Result<bool> {
        let Some(mut frame) = self.frame.take() else {
            if self.is_at_end()? {
                return Ok(false);
            }
            self.frame = self.start()?;
            return Ok(true);
        };
        let size = self.u32()?;
        if size == 0 {
            self.end(frame)?;
            return Ok(true);
        }
        self.block(size, &mut frame)?;
        self.frame = Some(frame);
        Ok(true)
    }

    /// Reads the start of a frame; `None` for one that is skipped.
    fn start(&mut self) -> Result<Option<Frame>> {
        match self.u32()? {
            FRAME => {}
            LEGACY => {
                return Err(Error::unsupported("the legacy lz4 format").hint("compress it again without -l"));
            }
            0x184d_2a50..=0x184d_2a5f => {
                let mut left = u64::from(self.u32()?);
                left = left.saturating_sub(io::copy(&mut (&mut self.stream).take(left), &mut io::sink())?);
                return if left == 0 { Ok(None) } else { Err(cut_off()) };
            }
            magic => return Err(malformed("magic", format!("{magic:#010x}"), format!("{FRAME:#010x}"))),
        }
        let [flags, sizes] = self.exact()?;
        let mut descriptor = vec![flags, sizes];
        let has = |bit: u8| flags & bit != 0;
        if flags >> 6 != 1 || has(2) || sizes & 0x8f != 0 {
            let found = format!("flags {flags:#04x}, {sizes:#04x}");
            return Err(malformed("frame descriptor", found, "version 1, reserved bits 0"));
        }
        let block_bytes = match sizes >> 4 {
            4 => 64 << 10,
            5 => 256 << 10,
            6 => 1 << 20,
            7 => 4 << 20,
            other => return Err(malformed("block maximum", other.to_string(), "4 to 7")),
        };
        let mut content_bytes = None;
        if has(8) {
            let bytes = self.exact()?;
            descriptor.extend(bytes);
            content_bytes = Some(u64::from_le_bytes(bytes));
        }
        if has(1) {
            return Err(Error::unsupported("an lz4 frame with a dictionary")
                .hint("compress it again without a dictionary"));
        }
        let [check] = self.exact()?;
        let [_, want, ..] = XxHash32::oneshot(0, &descriptor).to_le_bytes();
        if check != want {
            return Err(malformed("descriptor checksum", format!("{check:#04x}"), format!("{want:#04x}")));
        }
        self.window.clear();
        self.at = 0;
        Ok(Some(Frame {
            has_linked_blocks: !has(0x20),
            has_block_checksums: has(0x10),
            content_bytes,
            content_hash: has(4).then(|| XxHash32::with_seed(0)),
            block_bytes,
            seen_bytes: 0,
        }))
    }

    /// Reads a block to the end of the window.
    fn block(&mut self, size: u32, frame: &mut Frame) -> Result<()> {
        const STORED: u32 = 1 << 31;
        let len = usize::try_from(size & !STORED).unwrap_or(usize::MAX);
        if len > frame.block_bytes {
            return Err(malformed("block size", len.to_string(), format!("at most {}", frame.block_bytes)));
        }
        let mut stored = std::mem::take(&mut self.stored);
        stored.resize(len, 0);
        self.fill(&mut stored)?;
        if frame.has_block_checksums {
            check_hash("block checksum", self.u32()?, XxHash32::oneshot(0, &stored))?;
        }
        let keep = if frame.has_linked_blocks { self.window.len().min(WINDOW_BYTES) } else { 0 };
        self.window.drain(..self.window.len().saturating_sub(keep));
        self.at = keep;
        if size & STORED != 0 {
            self.window.extend_from_slice(&stored);
        } else {
            self.window.resize(keep.saturating_add(frame.block_bytes), 0);
            let (before, block) = self.window.split_at_mut(keep);
            let made = decompress_into_with_dict(&stored, block, before)
                .map_err(|error| malformed("block", error.to_string(), "an lz4 block"))?;
            self.window.truncate(keep.saturating_add(made));
        }
        self.stored = stored;
        let block = self.window.get(keep..).unwrap_or_default();
        frame.seen_bytes = frame.seen_bytes.saturating_add(size_of_len(block.len()));
        if let Some(hash) = &mut frame.content_hash {
            std::hash::Hasher::write(hash, block);
        }
        Ok(())
    }

    fn end(&mut self, frame: Frame) -> Result<()> {
        if let Some(hash) = frame.content_hash {
            check_hash("content checksum", self.u32()?, hash.finish_32())?;
        }
        match frame.content_bytes {
            Some(want) if want != frame.seen_bytes => {
                Err(malformed("content size", frame.seen_bytes.to_string(), want.to_string()))
            }
            _ => Ok(()),
        }
    }
}

fn check_hash(field: &'static str, stored: u32, found: u32) -> Result<()> {
    if stored == found {
        return Ok(());
    }
    Err(malformed(field, format!("{found:#010x}"), format!("{stored:#010x}, as stored")))
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        loop {
            let ready = self.window.get(self.at..).unwrap_or_default();
            if !ready.is_empty() {
                let len = ready.len().min(dst.len());
                for (to, from) in dst.iter_mut().zip(ready) {
                    *to = *from;
                }
                self.at = self.at.saturating_add(len);
                return Ok(len);
            }
            if dst.is_empty() || !self.advance().map_err(Error::into_io)? {
                return Ok(0);
            }
        }
    }
}
