//! Tars: as a stream in pieces of any size, and by an index that jumps from header to header.
//!
//! Input: the archive. It is read as it is, and again with right checksums wherever a header would be, so that
//! what is mutated is looked at.
#![no_main]

use std::io::{BufReader, Read};
use std::sync::Arc;

use karat::archive::tar::{End, Index, Layout, MemberKind, Skip, SparseContent, TarReader};
use karat::bytes::ReadAt;
use karat::model::ImagePath;
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 512;

fuzz_target!(|data: &[u8]| {
    archive(data);
    let mut fixed = data.to_vec();
    fix_checksums(&mut fixed);
    if fixed != data {
        archive(&fixed);
    }
});

/// Walks from header to header as their sizes say, and makes each checksum right.
fn fix_checksums(archive: &mut [u8]) {
    let mut at = 0_usize;
    while let Some(block) = archive.get_mut(at..at.saturating_add(BLOCK)) {
        at += BLOCK;
        if block.iter().all(|b| *b == 0) {
            continue;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let size = std::str::from_utf8(&block[124..136]).unwrap_or_default();
        let size = u64::from_str_radix(size.trim_matches(['\0', ' ']), 8).unwrap_or(0);
        if !matches!(block[156], b'1'..=b'6') {
            at = at.saturating_add((size as usize).div_ceil(BLOCK).saturating_mul(BLOCK));
        }
    }
}

/// What a walk over an archive says.
#[derive(Debug, PartialEq)]
struct Told {
    members: Vec<String>,
    /// Where the data of each member begins and ends.
    ranges: Vec<(u64, u64)>,
    end: Option<End>,
    error: Option<String>,
    offset: u64,
    contents: Vec<Vec<u8>>,
}

fn told(stream: impl Skip, with_content: bool) -> Told {
    let mut reader = TarReader::new(stream, &LIMITS);
    let mut told =
        Told { members: vec![], ranges: vec![], end: None, error: None, offset: 0, contents: vec![] };
    let error = loop {
        let member = match reader.next_member() {
            Ok(Some(member)) => member,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        assert_eq!(reader.offset(), member.data_offset);
        told.ranges.push((member.data_offset, member.data_offset.saturating_add(member.stored_bytes)));
        told.members.push(format!("{member:?}"));
        if with_content {
            let mut content = Vec::new();
            let failed = loop {
                match reader.fill_data() {
                    Ok([]) => break None,
                    Ok(data) => {
                        let len = data.len();
                        content.extend_from_slice(data);
                        reader.consume_data(len);
                    }
                    Err(error) => break Some(error),
                }
            };
            match failed {
                Some(error) => break Some(error),
                None => assert_eq!(content.len() as u64, member.stored_bytes),
            }
            if let Layout::Sparse(map) = &member.layout {
                sparse(&content, map);
            }
            told.contents.push(content);
        }
    };
    told.error = error.map(|error| error.to_string());
    told.end = reader.end();
    told.offset = reader.offset();
    told
}

/// A file with holes: zeros and what is stored, the same in one piece and in several.
fn sparse(stored: &Vec<u8>, map: &karat::archive::tar::SparseMap) {
    assert_eq!(map.stored_bytes(), stored.len() as u64);
    let content = SparseContent { stored, map };
    let size = content.size_bytes();
    if size > 1 << 20 {
        let mut last = [1; 16];
        content.read_exact_at(size - 16, &mut last).expect("it is within");
        return;
    }
    let mut whole = vec![1; size as usize];
    content.read_exact_at(0, &mut whole).expect("it is within");
    for (start, piece) in whole.chunks(997).enumerate() {
        let mut again = vec![2; piece.len()];
        content.read_exact_at(start as u64 * 997, &mut again).expect("it is within");
        assert_eq!(again, piece);
    }
    let count = |bytes: &[u8]| bytes.iter().filter(|b| **b != 0).count();
    assert_eq!(count(&whole), count(stored), "bytes were lost or came twice");
    assert!(content.read_exact_at(size, &mut [0]).is_err());
}

fn archive(data: &[u8]) {
    let most = (1 << 20) + 64 * data.len();
    let whole = holding(most, || told(data, true));
    assert!(whole.offset <= data.len() as u64);
    assert!(whole.ranges.is_sorted_by(|a, b| a.1 <= b.0), "{:?}", whole.ranges);
    match (whole.end, &whole.error) {
        (_, Some(error)) => assert!(!error.is_empty()),
        (Some(End::Zeros), None) => {
            assert!(data[whole.offset as usize - 1024..whole.offset as usize].iter().all(|b| *b == 0))
        }
        (Some(_), None) => assert_eq!(whole.offset, data.len() as u64, "it ended before the file"),
        (None, None) => panic!("neither an end nor an error"),
    }
    for (range, content) in whole.ranges.iter().zip(&whole.contents) {
        assert_eq!(&data[range.0 as usize..range.1 as usize], content);
    }

    // In pieces of odd sizes, with and without looking at what is in the members.
    let smallest = if data.len() < 4096 { 1 } else { 61 };
    for capacity in [smallest, 511, 4096] {
        let pieces = told(BufReader::with_capacity(capacity, data), true);
        assert!(pieces == whole, "in pieces of {capacity}: {pieces:#?}\nas a whole: {whole:#?}");
    }
    let passed = told(Slow(data), false);
    assert_eq!((&passed.error, passed.end), (&whole.error, whole.end));
    // What is cut off within a member is seen by who reads it, or by who goes on.
    assert_eq!(passed.members, whole.members);

    // By its index.
    let bytes: Arc<dyn ReadAt> = Arc::new(data.to_vec());
    let index = holding(most, || Index::read(Arc::clone(&bytes), &LIMITS));
    assert_eq!(index.damage().map(ToString::to_string), whole.error);
    let mut reader = TarReader::new(data, &LIMITS);
    let mut last = std::collections::BTreeMap::new();
    while let Ok(Some(member)) = reader.next_member() {
        if member.kind != MemberKind::Label {
            last.insert(ImagePath::new(&member.path), member);
        }
    }
    assert!(index.paths().eq(last.keys()));
    for (path, member) in &last {
        let opened = index.open(path);
        let is_plain = member.kind == MemberKind::File && matches!(member.layout, Layout::Plain);
        if let (true, Ok(file)) = (is_plain, &opened) {
            assert_eq!(file.size_bytes(), member.size_bytes);
            let start = member.data_offset as usize;
            let content = karat::bytes::read_all(file, LIMITS.document_bytes).expect("it is there");
            assert_eq!(content, data[start..start + content.len()]);
        } else if is_plain {
            assert!(whole.error.is_some(), "{path} cannot be opened, and the archive is whole");
        }
    }
}

/// A stream that gives a few bytes at a time and skips by reading.
struct Slow<'a>(&'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, dst: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(dst)
    }
}

impl std::io::BufRead for Slow<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        Ok(&self.0[..self.0.len().min(7)])
    }

    fn consume(&mut self, len: usize) {
        self.0 = &self.0[len..];
    }
}

impl Skip for Slow<'_> {}
