//! Rock Ridge: what Unix knows of a file, in the system use of its record.
//!
//! Specifications: *System Use Sharing Protocol* 1.12 and *Rock Ridge Interchange Protocol* 1.12 (IEEE P1281
//! and P1282). Entries have two letters, a length, a version, and their data from byte 4 on:
//!
//! | entry | what | | entry | what |
//! | --- | --- | --- | --- | --- |
//! | SP | at the root: the protocol is used | | CL | a directory that was moved: its block (733) |
//! | CE | goes on elsewhere: block, byte, bytes (733) | | RE | a directory that is elsewhere by CL |
//! | ST | the end | | SL | parts of a link's target |
//! | ER | which protocol | | SF | sparse file |
//! | PX | mode (733), links, owner | | ZF | compressed file (zisofs) |
//! | NM | part of the name | | | |
//!
//! Not read: TF times, PN device numbers, PL, AA and AL attributes.

use super::descriptors::both32;
use super::record::Record;
use crate::bytes::{ReadAt as _, array_at, size_of_len};
use crate::error::Result;
use crate::limits::Limits;
use crate::tree::CachedReader;
use crate::tree::fields::{Fields, len};

const FORMAT: &str = "ISO 9660 system use";
/// The longest name and target that Linux has.
const NAME_BYTES: usize = 255;
const TARGET_BYTES: usize = 4096;

const CONTINUES: u8 = 1;

/// What the system use of a record says.
#[derive(Default)]
pub(super) struct Attributes {
    pub(super) name: Vec<u8>,
    pub(super) mode: Option<u32>,
    /// The target, if it is a symbolic link.
    pub(super) link: Option<Vec<u8>>,
    /// The block of the directory that is here.
    pub(super) child: Option<u32>,
    pub(super) is_relocated: bool,
    pub(super) is_sparse: bool,
    /// The size of what is compressed.
    pub(super) inflated_bytes: Option<u64>,
    /// Bytes before the entries of all other records, if this is the root and the protocol is used.
    pub(super) skip: Option<u8>,
    /// An entry that only Rock Ridge has.
    is_certain: bool,
    name_continues: bool,
    component_continues: bool,
}

impl Attributes {
    /// Whether this, of the root directory, says that there is Rock Ridge.
    pub(super) fn rock_ridge(&self) -> Option<u8> {
        self.skip.filter(|_| self.is_certain)
    }

    /// Reads the system use of a record, and where it goes on.
    ///
    /// # Errors
    /// `Malformed` with the entry; `Limit`; those of reading.
    pub(super) fn read(
        reader: &CachedReader,
        block_bytes: u32,
        record: &Record,
        skip: u8,
        limits: &Limits,
    ) -> Result<Self> {
        let mut this = Attributes::default();
        let mut area = record.system_use.get(usize::from(skip)..).unwrap_or_default().to_vec();
        let mut offset = record.system_use_offset.saturating_add(skip.into());
        let mut read = 0_u64;
        while let Some((block, within, size)) = this.entries(&Fields::new(&area, FORMAT, offset))? {
            // What is empty has no entry that leads on.
            read = limits.system_use_bytes.check(read.saturating_add(size.into()))?;
            offset = u64::from(block).saturating_mul(block_bytes.into()).saturating_add(within.into());
            area = vec![0; len(size)];
            reader.read_exact_at(offset, &mut area).map_err(|error| error.at("continuation"))?;
        }
        Ok(this)
    }

    /// Takes the entries of an area; where it goes on: block, byte in it, and bytes.
    fn entries(&mut self, area: &Fields<'_>) -> Result<Option<(u32, u32, u32)>> {
        let mut next = None;
        let mut at = 0_usize;
        while area.bytes.len().saturating_sub(at) >= 4 {
            let name: [u8; 2] = area.array(at)?;
            if name[0] == 0 {
                break;
            }
            let size = area.u8(at.saturating_add(2))?;
            if size < 4 {
                return Err(area.wrong(
                    "length of an entry",
                    at.saturating_add(2),
                    size.to_string(),
                    "4 or more",
                ));
            }
            let entry = Fields::new(area.slice(at, size.into())?, FORMAT, area.place(at));
            match &name {
                b"CE" => {
                    let number = |at| both32(&entry, "CE", at);
                    next = Some((number(4)?, number(12)?, number(20)?));
                }
                b"ST" => break,
                _ => self.entry(name, &entry)?,
            }
            at = at.saturating_add(size.into());
        }
        Ok(next)
    }

    fn entry(&mut self, name: [u8; 2], entry: &Fields<'_>) -> Result<()> {
        match &name {
            b"SP" if entry.slice(4, 2)? == [0xbe, 0xef] => self.skip = Some(entry.u8(6)?),
            b"ER" => {
                let id = entry.slice(8, entry.u8(4)?.into())?;
                let is_known = [&b"RRIP_1991A"[..], b"IEEE_P1282", b"IEEE_1282"].contains(&id);
                self.is_certain |= is_known;
            }
            b"RR" => self.is_certain = true,
            b"PX" => {
                self.is_certain = true;
                self.mode = Some(both32(entry, "PX", 4)?);
            }
            b"NM" => self.name_part(entry)?,
            b"SL" => self.link_part(entry)?,
            b"CL" => self.child = Some(both32(entry, "CL", 4)?),
            b"RE" => self.is_relocated = true,
            b"SF" => self.is_sparse = true,
            b"ZF" if entry.slice(4, 2)? == *b"pz" || entry.slice(4, 2)? == *b"PZ" => {
                let bytes = match entry.slice(4, 2)? {
                    b"PZ" => u64::from_le_bytes(array_at(entry.slice(8, 8)?, 0)),
                    _ => both32(entry, "ZF", 8)?.into(),
                };
                self.inflated_bytes = Some(bytes);
            }
            _ => {}
        }
        Ok(())
    }

    fn name_part(&mut self, entry: &Fields<'_>) -> Result<()> {
        let flags = entry.u8(4)?;
        // Bits 1 and 2 name `.` and `..`; others are of systems that do not store names so.
        if flags & !CONTINUES != 0 {
            return Ok(());
        }
        let part = entry.bytes.get(5..).unwrap_or_default();
        if !self.name_continues && !self.name.is_empty() {
            return Err(entry.wrong("NM", 4, "a second name", "one name"));
        }
        self.name.extend_from_slice(part);
        self.name_continues = flags & CONTINUES != 0;
        match self.name.len() > NAME_BYTES {
            true => {
                Err(entry.wrong("NM", 4, format!("{} bytes", self.name.len()), format!("up to {NAME_BYTES}")))
            }
            false => Ok(()),
        }
    }

    fn link_part(&mut self, entry: &Fields<'_>) -> Result<()> {
        let target = self.link.get_or_insert_default();
        let mut at = 5_usize;
        while at < entry.bytes.len() {
            let (flags, size) = (entry.u8(at)?, entry.u8(at.saturating_add(1))?);
            let text = entry.slice(at.saturating_add(2), size.into())?;
            if !self.component_continues && !target.is_empty() && target != b"/" {
                target.push(b'/');
            }
            match flags & !CONTINUES {
                0 => target.extend_from_slice(text),
                2 => target.push(b'.'),
                4 => target.extend_from_slice(b".."),
                8 => {
                    target.clear();
                    target.push(b'/');
                }
                _ => {
                    return Err(entry.wrong(
                        "SL",
                        at,
                        format!("component of type {flags:#x}"),
                        "a known type",
                    ));
                }
            }
            if target.len() > TARGET_BYTES {
                let found = format!("{} bytes", size_of_len(target.len()));
                return Err(entry.wrong("SL", at, found, format!("up to {TARGET_BYTES}")));
            }
            self.component_continues = flags & CONTINUES != 0;
            at = at.saturating_add(2).saturating_add(size.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(area: &[u8]) -> Result<Attributes> {
        let mut this = Attributes::default();
        this.entries(&Fields::new(area, FORMAT, 0)).map(|_| this)
    }

    #[test]
    fn targets_are_put_together() {
        for (entries, expected) in [
            (&[&b"\x08\0\0\x03usr\0\x03lib"[..]][..], &b"/usr/lib"[..]),
            (&[b"\x04\0\x04\0\x02\0\0\x01a"], b"../.././a"),
            (&[b"\0\x02ab\x01\x02cd", b"\0\x02ef\0\x01g"], b"ab/cdef/g"),
            (&[b"\x08\0"], b"/"),
        ] {
            let mut area = Vec::new();
            for components in entries {
                area.extend([b'S', b'L', u8::try_from(components.len()).unwrap() + 5, 1, 0]);
                area.extend_from_slice(components);
            }
            assert_eq!(attributes(&area).unwrap().link.unwrap(), expected);
        }
        assert!(attributes(b"SL\x08\x01\0\x00\x07a").is_err());
        assert!(attributes(b"SL\x08\x01\0\x10\x01a").is_err());
    }

    #[test]
    fn names_are_put_together_and_the_rest_is_left() {
        let this = attributes(b"NM\x07\x01\x01abNM\x06\x01\0cXX\x04\x01\0\0\0\0").unwrap();
        assert_eq!((this.name, this.mode), (b"abc".to_vec(), None));
        assert_eq!(attributes(b"ST\x04\x01NM\x06\x01\0c").unwrap().name, b"");
        for broken in [&b"NM\x06\x01\0aNM\x06\x01\0b"[..], b"NM\x03\x01", b"NM\x20\x01\0a", b"PX\x04\x01"] {
            assert!(attributes(broken).is_err(), "{broken:?}");
        }
    }
}
