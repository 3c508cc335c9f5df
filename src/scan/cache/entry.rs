//! How an entry of the layer cache is written: a seal around a payload, and the payloads.
//!
//! | bytes | what |
//! | --- | --- |
//! | 16 | `karat layer fact` |
//! | 4 | [`VERSION`], little-endian |
//! | 32 | the key |
//! | 32 | SHA-256 of all other bytes |
//! | rest | the payload, one zstd frame |
//!
//! A payload of facts is the length of its first part (8 bytes, little-endian); the entries, sorted, each path
//! as the number of bytes that it shares with the one before it and the rest; and everything else as JSON,
//! which follows the types of the facts by itself. Numbers are LEB128.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Key;
use crate::bytes::size_of_len;
use crate::collect::{Facts, Part};
use crate::limits::Limits;
use crate::model::{Gap, ImagePath, Sha256};
use crate::stratum::{Meta, Node};

const MAGIC: &[u8; 16] = b"karat layer fact";
/// Raised whenever the same facts would be written otherwise.
const VERSION: u32 = 2;
/// The cheapest: an entry is written while an image waits, and level 3 saves a tenth.
const LEVEL: i32 = 1;

/// Wraps a payload; `None` if it is larger than entries may be.
pub(super) fn seal(payload: &[u8], key: &Key, limits: &Limits) -> Option<Vec<u8>> {
    limits.cache_entry_bytes.check(size_of_len(payload.len())).ok()?;
    let packed = zstd::bulk::compress(payload, LEVEL).ok()?;
    let head = head(key);
    let sum = checksum(&head, &packed);
    let sealed = [&head[..], &sum.0, &packed].concat();
    limits.cache_entry_bytes.check(size_of_len(sealed.len())).ok()?;
    Some(sealed)
}

/// The payload, if the seal is whole and of this key.
pub(super) fn open(sealed: &[u8], key: &Key, limits: &Limits) -> Option<Vec<u8>> {
    let head = head(key);
    let (sum, packed) = sealed.strip_prefix(&head[..])?.split_first_chunk::<32>()?;
    if *sum != checksum(&head, packed).0 {
        return None;
    }
    let mut payload = Vec::new();
    let most = limits.cache_entry_bytes.max;
    zstd::Decoder::new(packed).ok()?.take(most.saturating_add(1)).read_to_end(&mut payload).ok()?;
    (size_of_len(payload.len()) <= most).then_some(payload)
}

fn head(key: &Key) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), &key.0.0].concat()
}

fn checksum(head: &[u8], packed: &[u8]) -> Sha256 {
    use sha2::Digest as _;
    Sha256(sha2::Sha256::new().chain_update(head).chain_update(packed).finalize().into())
}

/// What is kept of the first visit of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::scan) struct Kept {
    /// The digest that the stored bytes had, in the same pass that proved the diff-id.
    pub(in crate::scan) stored: Sha256,
    /// What the layer says, without the gaps of the walk.
    pub(in crate::scan) facts: Arc<Facts>,
    /// Gaps of the walk, at places within the layer.
    pub(in crate::scan) gaps: Vec<Gap>,
}

#[derive(Serialize)]
struct Written<'a> {
    stored: Sha256,
    found: Vec<(&'a ImagePath, &'a [Part])>,
    gaps: &'a [Gap],
}

#[derive(Deserialize)]
struct Unpacked {
    stored: Sha256,
    found: Vec<(ImagePath, Vec<Part>)>,
    gaps: Vec<Gap>,
}

impl Kept {
    /// As a payload.
    pub(in crate::scan) fn encode(&self) -> Option<Vec<u8>> {
        let mut out = vec![0; 8];
        entries(&self.facts.entries, &mut out);
        let len = size_of_len(out.len()).checked_sub(8)?;
        out.first_chunk_mut::<8>()?.copy_from_slice(&len.to_le_bytes());
        let found = self.facts.found.iter().map(|(path, found)| (path, found.as_slice())).collect();
        serde_json::to_writer(&mut out, &Written { stored: self.stored, found, gaps: &self.gaps }).ok()?;
        Some(out)
    }

    /// From a payload; `None` if it is none.
    pub(in crate::scan) fn decode(payload: &[u8]) -> Option<Kept> {
        let (len, rest) = payload.split_first_chunk::<8>()?;
        let (listed, json) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        let read: Unpacked = serde_json::from_slice(json).ok()?;
        let found = read.found.into_iter().map(|(path, found)| (path, Arc::new(found))).collect();
        let entries = Entries { rest: listed, path: Vec::new() }.read()?;
        let facts = Facts { entries, found, ..Facts::default() };
        Some(Kept { stored: read.stored, facts: Arc::new(facts), gaps: read.gaps })
    }
}

/// Writes paths and nodes.
fn entries(entries: &BTreeMap<ImagePath, Node>, out: &mut Vec<u8>) {
    let mut last: &[u8] = &[];
    for (path, node) in entries {
        let path = path.as_bytes();
        let shared = path.iter().zip(last).take_while(|(a, b)| a == b).count();
        number(size_of_len(shared), out);
        text(path.get(shared..).unwrap_or_default(), out);
        last = path;
        match node {
            Node::File(meta) => {
                out.push(0);
                number(meta.size_bytes, out);
                number(u64::from(meta.mode), out);
            }
            Node::Directory(meta) => {
                out.push(1);
                number(meta.size_bytes, out);
                number(u64::from(meta.mode), out);
            }
            Node::Symlink(target) => {
                out.push(2);
                text(target, out);
            }
            Node::HardLink(target) => {
                out.push(3);
                text(target.as_bytes(), out);
            }
            Node::Whiteout => out.push(4),
            Node::Opaque => out.push(5),
            Node::Special => out.push(6),
        }
    }
}

fn number(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

fn text(bytes: &[u8], out: &mut Vec<u8>) {
    number(size_of_len(bytes.len()), out);
    out.extend_from_slice(bytes);
}

/// Reads paths and nodes.
struct Entries<'a> {
    rest: &'a [u8],
    path: Vec<u8>,
}

impl Entries<'_> {
    fn read(mut self) -> Option<BTreeMap<ImagePath, Node>> {
        let mut entries: Vec<(ImagePath, Node)> = Vec::new();
        while !self.rest.is_empty() {
            let shared = self.len()?;
            self.path.get(shared..)?;
            self.path.truncate(shared);
            let more = self.text()?;
            self.path.extend_from_slice(more);
            let path = ImagePath::new(&self.path);
            if path.as_bytes() != self.path || entries.last().is_some_and(|(last, _)| *last >= path) {
                return None;
            }
            let node = self.node()?;
            entries.push((path, node));
        }
        Some(entries.into_iter().collect())
    }

    fn node(&mut self) -> Option<Node> {
        Some(match self.byte()? {
            0 => Node::File(self.meta()?),
            1 => Node::Directory(self.meta()?),
            2 => Node::Symlink(self.text()?.into()),
            3 => Node::HardLink(ImagePath::new(self.text()?)),
            4 => Node::Whiteout,
            5 => Node::Opaque,
            6 => Node::Special,
            _ => return None,
        })
    }

    fn meta(&mut self) -> Option<Meta> {
        Some(Meta { size_bytes: self.number()?, mode: u32::try_from(self.number()?).ok()? })
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn len(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }
}

impl<'a> Entries<'a> {
    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.len()?;
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::{Fact, Member};
    use crate::model::OsInfo;

    fn key() -> Key {
        Key(Sha256::of(b"key"))
    }

    fn kept() -> Kept {
        let meta = Meta { size_bytes: u64::MAX, mode: 0o7777 };
        let entries = [
            (ImagePath::root(), Node::Directory(Meta::default())),
            ("etc".into(), Node::Opaque),
            (ImagePath::new(b"etc/\xff\\x41"), Node::File(meta)),
            ("etc/gone".into(), Node::Whiteout),
            ("etc/link".into(), Node::Symlink(b"../\xff"[..].into())),
            ("etc/name".into(), Node::HardLink("etc/other".into())),
            ("etcetera".into(), Node::Special),
        ];
        let part = Part {
            collector: "os-release",
            facts: vec![(
                Member::default().join(b"a"),
                Fact::Os(OsInfo { id: "x".into(), ..OsInfo::default() }),
            )],
            gaps: vec![Gap { place: "/etc".into(), reason: "so".into(), required: false }],
            is_passing: false,
        };
        let facts = Facts {
            entries: entries.into_iter().collect(),
            found: [(ImagePath::new(b"etc/\xff\\x41"), Arc::new(vec![part]))].into(),
            ..Facts::default()
        };
        let gaps = vec![Gap { place: "/dev/x".into(), reason: "odd".into(), required: true }];
        Kept { stored: Sha256::of(b"stored"), facts: Arc::new(facts), gaps }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let (kept, limits) = (kept(), Limits::default());
        let sealed = seal(&kept.encode().unwrap(), &key(), &limits).unwrap();
        assert_eq!(Kept::decode(&open(&sealed, &key(), &limits).unwrap()).unwrap(), kept);
    }

    #[test]
    fn nothing_but_the_whole_entry_is_believed() {
        let limits = Limits::default();
        let sealed = seal(&kept().encode().unwrap(), &key(), &limits).unwrap();
        for len in 0..sealed.len() {
            assert!(open(&sealed[..len], &key(), &limits).is_none(), "{len}");
            let mut flipped = sealed.clone();
            flipped[len] ^= 1;
            assert!(open(&flipped, &key(), &limits).is_none(), "{len}");
        }
        assert!(open(&[&sealed[..], b"x"].concat(), &key(), &limits).is_none());
        assert!(open(&sealed, &Key(Sha256::of(b"other")), &limits).is_none());
        let mut small = limits;
        small.set("cache_entry_bytes", 100).unwrap();
        assert!(open(&sealed, &key(), &small).is_none());
        assert!(seal(&kept().encode().unwrap(), &key(), &small).is_none());
    }

    #[test]
    fn a_payload_of_any_bytes_is_decoded_or_refused() {
        let payload = kept().encode().unwrap();
        for at in 0..payload.len() {
            assert!(Kept::decode(&payload[..at]).is_none(), "{at}");
            for bit in 0..8 {
                let mut flipped = payload.clone();
                flipped[at] ^= 1 << bit;
                let _ = Kept::decode(&flipped);
            }
        }
    }

    #[test]
    fn numbers_of_any_size_come_back() {
        for value in [0, 1, 127, 128, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut out = Vec::new();
            number(value, &mut out);
            assert_eq!(Entries { rest: &out, path: Vec::new() }.number(), Some(value));
        }
    }
}
