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

#[cfg(test)]
mod tests {
    use super::*;

    /// What python-lzo 1.14 over liblzo2 2.10 makes of the bytes named, without its own header.
    const WORDS: &str = "2f736f6d6520627974657320746861742061726520636f6d70726573736564110000";
    const MIX: &str = "\
         00074420823cfde6f1c26b30f90ec7dd01e4887534a20f0b0d0400200000000000000000000000000000000\
         000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
         000000000000000000000000000000000000004c0000100fe338616263200045080032fc051000000000000\
         00000000000bacc3e322c2f12106e0178793cfd126c6e017af90ec7200000000000000000000000a26c2f20\
         000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
         000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
         00c3dc2e0003000000000000000000000000000000000000000000200000000000000000000000000000000\
         000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
         0000000000000000000000000000000099000000064420823cfde6f1c26b30f90ec7dd01e4887534a20f0b0\
         d04110000";
    const MIX_999: &str = "\
         2a4420823cfde6f1c26b30f90ec7dd01e4887534a20f0b0d04002000000000000000e600002000000000000\
         000e600002000000000000000e600002000000000000000e600002000000000000000e60000200000000000\
         0000e600002000000000000000e600002000000000000000e600002000000000000000e6000020000000000\
         000040000100fe338616263200045080032fc052000000000000000e64c26200000009a0000362e357879b9\
         027a58022000000000000000e68c202000000000000000e600002000000000000000e600002000000000000\
         000e600002000000000000000e600002000000000000000e600002000000000000000e60000200000000000\
         0000e600002000000000000000e600002000000000000000e600002000000000000000e6000020000000000\
         00000e600002000000000000000e600002000000000000000e600002000000000000000e600002000000000\
         000000e600002000000000000000e600002000000000000000e600002000000000000000e60000200000000\
         0000000e600002000000000000000e600002000000000000000ae0000180fb0bf110000";
    const NAMES: &str = "\
         000a75737264757372616c706861203664736f2e736f2e36646c69622f6475010aa4030b757372366265676\
         16d6d610a62657503366b02640a0a790575e00807736f2e6475737275737288059c04720062657804c00864\
         077302736f2eb00b2721000ae00796073664bb03643636710a366c066c0002736f2e0a36a8036c10ac05880\
         4b302736f2e7a043664600dd3017573726c02a10436880927d50164a4089700626536c41e0162656265b805\
         27a3000a640ac8186c09ec019e060a36b80078217003bc28e4087c1a7402702d010a62650a29b002cc1ce01\
         fa40e8c0964267e1b6436742a28c003c009a5050a8805d1080a6d160aab02757372a001bc04d807643a8406\
         dc0160127e096265642c760362656407680ea00774036402b4018c0790438401d0037822641578016607366\
         4e01fd8259005930036640a9404940064016f0062650a680fa004b44bbb0d7573729c1184039000b8059c02\
         740c9a080a36994b0af00ec038a8089c07e50364741c9c0884068401b43f98046e180a36ea386265801db80\
         82a140000020a6c69622f736f2e7573726c69622f7573726265110000";
    const NAMES_999: &str = "\
         15757372644c0008616c706861203664736f2e48000436646c69622f6475010aa40348040836626567616d6\
         d610a62657503366b02640a0a780527000150017409480088059c04720062657804c00878057002480227d4\
         00a1010ae007bd0464b702643636700a8009de060a36285802ae0536642a1002810f64600dd001c80ed91c3\
         62bf90164a4089700626536c61e626504002e7a02640ac8187c07ec01b022b8079821d00b4800e5080ad80f\
         702d59060a29b002cc1ce01fb4018801c02b5818742a28c003c009c40b8805d1080a6d160aa80245040a294\
         401d807643ab41d27390164bc33651264881665073627cc03d50d0a2960028406271804cc1ae134369847e0\
         1f2a8804cd3a0a95040af039b50f0a286002b44b277802840b28fc00b8059c02740c9a080a36994b0a27b40\
         5b800e4109005d91f64f0098406b419dc01b956360013e8384c222824022a15000ac03c282e066265110000";

    fn unhex(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect()
    }

    fn inflate(hex: &str, room: usize) -> Vec<u8> {
        let mut dst = vec![0xee; room];
        let made = decompress(&unhex(hex), &mut dst).unwrap();
        dst.truncate(made);
        dst
    }

    /// Runs that are longer than any short form, matches at every distance, and rows of few literals.
    fn mix() -> Vec<u8> {
        let a = &unhex(&MIX[4..52])[..];
        let abc = b"abc".repeat(120);
        let parts = [a, &[0; 20000], a, &abc, &a[..20], &[0; 3000], a, b"xy", &a[3..9], b"z", &a[10..13]];
        [&parts.concat()[..], &[0; 45000], a].concat()
    }

    #[test]
    fn blocks_of_liblzo2_inflate() {
        assert_eq!(inflate("110000", 0), b"");
        assert_eq!(inflate(WORDS, 30), b"some bytes that are compressed");
        for packed in [MIX, MIX_999] {
            assert!(inflate(packed, 68_488) == mix());
            assert!(inflate(packed, 100_000) == mix());
        }
        let names = inflate(NAMES, 839);
        assert!(names.starts_with(b"usrdusralpha 6dso.so.6dlib/ddso.\n"), "{}", names.escape_ascii());
        assert_eq!(names.len(), 839);
        assert!(inflate(NAMES_999, 839) == names);
    }

    #[test]
    fn cuts_rests_and_too_little_room_are_errors() {
        for (packed, room) in [(WORDS, 30), (MIX, 68_488), (NAMES_999, 839)] {
            let packed = unhex(packed);
            let mut dst = vec![0; room];
            for len in 0..packed.len() {
                decompress(&packed[..len], &mut dst).unwrap_err();
            }
            decompress(&[&packed[..], &[0]].concat(), &mut dst).unwrap_err();
            decompress(&packed, &mut dst[1..]).unwrap_err();
        }
    }

    #[test]
    fn no_damage_reaches_out_of_the_block() {
        for packed in [MIX, MIX_999, NAMES, NAMES_999] {
            let packed = unhex(packed);
            let mut dst = vec![0; 70_000];
            for at in 0..packed.len() * 8 {
                let mut broken = packed.clone();
                broken[at / 8] ^= 1 << (at % 8);
                if let Ok(made) = decompress(&broken, &mut dst) {
                    assert!(made <= dst.len());
                }
            }
        }
    }
}
