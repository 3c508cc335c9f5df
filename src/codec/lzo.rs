//! LZO1X, as `lzo1x_decompress_safe` of liblzo2 reads it: one block whose inflated size the caller bounds.
//!
//! Layout: the kernel's `Documentation/staging/lzo.rst`, bitstream version 0. A block is a row of instructions,
//! each told by its first byte and, below 16, by how many literals the one before it ended with:
//!
//! | first byte | before | copies |
//! | --- | --- | --- |
//! | `0000LLLL` | none | 3 + L literals, 18 and more with a length that goes on |
//! | `0000DDSS H` | 1 to 3 | 2 bytes from H×4 + D + 1 back |
//! | `0000DDSS H` | 4 or more | 3 bytes from H×4 + D + 2049 back |
//! | `0001HLLL D` | any | 2 + L bytes from H×16384 + D + 16384 back; exactly 16384 is the end |
//! | `001LLLLL D` | any | 2 + L bytes from D + 1 back |
//! | `01LDDDSS H` | any | 3 + L bytes from H×8 + D + 1 back |
//! | `1LLDDDSS H` | any | 5 + L bytes from H×8 + D + 1 back |
//!
//! S is the number of literals that follow; the D of the two long forms is 14 bits with S in the lowest two. L
//! of zero in the first and the long forms goes on: 255 for each zero byte, then a byte that is added. A first
//! byte of the block above 17 is that many literals and 17.
//!
//! Not read: the kernel's bitstream version 1 (`lzo-rle`), which no file system uses.

use crate::bytes::size_of_len;
use crate::error::{Error, Result};

/// How far the last instruction's distances start at after a row of literals, and after a short one.
const FAR: usize = 2049;

/// Inflates one block into `dst`; how many bytes it held.
///
/// # Errors
/// `Malformed` if `src` is no whole block, goes on behind its end, reaches back before its start, or holds more
/// than `dst` takes.
pub fn decompress(src: &[u8], dst: &mut [u8]) -> Result<usize> {
    let mut block = Block { src, at: 0, dst, made: 0 };
    // How many literals the last instruction ended with; 4 stands for all larger numbers.
    let mut before = 0;
    if let Some(first @ 18..) = src.first() {
        block.at = 1;
        let count = usize::from(first.saturating_sub(17));
        block.literals(count)?;
        before = count.min(4);
    }
    loop {
        let instruction = usize::from(block.byte()?);
        let (back, count, literals) = match instruction {
            0..16 if before == 0 => {
                let count = block.long(instruction, 15)?.saturating_add(3);
                block.literals(count)?;
                before = 4;
                continue;
            }
            0..16 => {
                let near = block.near(instruction >> 2, 2)?;
                let (from, count) = if before < 4 { (1, 2) } else { (FAR, 3) };
                (near.saturating_add(from), count, instruction & 3)
            }
            16..32 => {
                let count = block.long(instruction & 7, 7)?.saturating_add(2);
                let (far, literals) = block.far()?;
                let far = far | ((instruction & 8) << 11);
                if far == 0 {
                    return block.end(count);
                }
                (far.saturating_add(16384), count, literals)
            }
            32..64 => {
                let count = block.long(instruction & 31, 31)?.saturating_add(2);
                let (far, literals) = block.far()?;
                (far.saturating_add(1), count, literals)
            }
            64..128 => {
                let near = block.near((instruction >> 2) & 7, 3)?;
                (near.saturating_add(1), ((instruction >> 5) & 1).saturating_add(3), instruction & 3)
            }
            _ => {
                let near = block.near((instruction >> 2) & 7, 3)?;
                (near.saturating_add(1), ((instruction >> 5) & 3).saturating_add(5), instruction & 3)
            }
        };
        block.copy(back, count)?;
        block.literals(literals)?;
        before = literals;
    }
}

struct Block<'a> {
    src: &'a [u8],
    at: usize,
    dst: &'a mut [u8],
    made: usize,
}

impl Block<'_> {
    fn wrong(&self, field: &'static str, found: impl Into<String>, allowed: impl Into<String>) -> Error {
        Error::malformed("lzo", field, size_of_len(self.at), found, allowed)
            .hint("the data is cut off or damaged; fetch or build it again")
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = self.src.get(self.at).copied().ok_or_else(|| self.cut_off())?;
        self.at = self.at.saturating_add(1);
        Ok(byte)
    }

    fn cut_off(&self) -> Error {
        self.wrong("block", "its end within an instruction", "a whole block")
    }

    /// A length that goes on behind the instruction if it is zero in it, where `most` fits.
    fn long(&mut self, short: usize, most: usize) -> Result<usize> {
        if short != 0 {
            return Ok(short);
        }
        let mut length = most;
        loop {
            match self.byte()? {
                0 => length = length.saturating_add(255),
                last => return Ok(length.saturating_add(last.into())),
            }
        }
    }

    /// A distance of which `bits` low bits are known.
    fn near(&mut self, low: usize, bits: u32) -> Result<usize> {
        Ok(usize::from(self.byte()?) << bits | low)
    }

    /// A distance of 14 bits, and how many literals follow.
    fn far(&mut self) -> Result<(usize, usize)> {
        let both = usize::from(u16::from_le_bytes([self.byte()?, self.byte()?]));
        Ok((both >> 2, both & 3))
    }

    /// Where in `dst` so many more bytes go.
    fn room(&self, count: usize) -> Result<std::ops::Range<usize>> {
        let end = self.made.saturating_add(count);
        match end <= self.dst.len() {
            true => Ok(self.made..end),
            false => Err(self.wrong("inflated size", "more", format!("{} bytes", self.dst.len()))),
        }
    }

    fn literals(&mut self, count: usize) -> Result<()> {
        let room = self.room(count)?;
        let end = self.at.saturating_add(count);
        let from = self.src.get(self.at..end).ok_or_else(|| self.cut_off())?;
        self.made = room.end;
        if let Some(to) = self.dst.get_mut(room) {
            to.copy_from_slice(from);
        }
        self.at = end;
        Ok(())
    }

    /// Copies what was made before; it may overlap what it makes, and then repeats.
    fn copy(&mut self, back: usize, count: usize) -> Result<()> {
        let room = self.room(count)?;
        let Some(start) = self.made.checked_sub(back) else {
            return Err(self.wrong("distance", back.to_string(), format!("at most {}", self.made)));
        };
        // What lies between `start` and `made` repeats, and doubles with each turn.
        while self.made < room.end {
            let known = self.made.saturating_sub(start);
            let taken = known.min(room.end.saturating_sub(self.made));
            self.dst.copy_within(start..start.saturating_add(taken), self.made);
            self.made = self.made.saturating_add(taken.max(1));
        }
        Ok(())
    }

    fn end(&self, count: usize) -> Result<usize> {
        if count != 3 {
            return Err(self.wrong("end", format!("a length of {count}"), "3"));
        }
        let rest = self.src.len().saturating_sub(self.at);
        match rest {
            0 => Ok(self.made),
            _ => Err(self.wrong("end", format!("{rest} bytes behind it"), "none")),
        }
    }
}
