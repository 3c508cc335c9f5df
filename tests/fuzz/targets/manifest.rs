//! Indexes, manifests and configurations: what an image says of itself, in every wrapping that is a tar.
//!
//! Input: a letter for the wrapping and a line feed (`o` OCI layout, `d` docker archive, `s` skopeo's directory,
//! `1` docker before 1.10; in upper case all platforms are wanted; anything else: the whole input is the
//! file), then documents with the byte 0x1e between them. The first is the index, the others are `B`, `C`, …; `@C` becomes
//! the digest of a later document or of one of the layers `@0` … `@3`, `%C` its size. So digests always fit,
//! and what is mutated is what they hold together.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use karat::model::{ImageKind, Inventory, Sha256, StratumId};
use karat::scan::{document, scan};
use karat::source::{self, Content, Image};
use karat_fuzz::{InFile, LIMITS, holding, scan_options, source_options, tar_of};
use libfuzzer_sys::{Corpus, fuzz_target};

static FILE: LazyLock<InFile> = LazyLock::new(InFile::new);

const STATUS: &[u8] = b"Package: tiny\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n";

/// Two layers, one that is none, and one whose bytes are nowhere.
static LAYERS: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
    let file = |path: &str, content: &'static [u8]| (path.to_owned(), content);
    [
        tar_of(&[file("etc/os-release", b"ID=debian\nVERSION_ID=12\n"), file("var/lib/dpkg/status", STATUS)]),
        tar_of(&[
            file("var/lib/.wh.dpkg", b""),
            file("lib/apk/db/installed", b"P:tiny\nV:1.0-r0\nA:x86_64\n\n"),
        ]),
        b"no tar".repeat(100),
        b"absent".to_vec(),
    ]
});

/// A document or layer that others may name.
struct Known {
    letter: u8,
    bytes: Vec<u8>,
    digest: Sha256,
}

impl Known {
    fn new(letter: u8, bytes: Vec<u8>) -> Self {
        Known { letter, digest: Sha256::of(&bytes), bytes }
    }
}

/// A document with digests and sizes for what stands for them.
fn filled(document: &[u8], known: &[Known]) -> Vec<u8> {
    let mut out = Vec::with_capacity(document.len());
    let mut at = document.iter();
    while let Some(byte) = at.next() {
        let next = at.as_slice().first();
        let named = known.iter().find(|known| Some(&known.letter) == next);
        match (byte, named) {
            (b'@', Some(known)) => out.extend(known.digest.to_string().bytes()),
            (b'%', Some(known)) => out.extend(known.bytes.len().to_string().bytes()),
            _ => {
                out.push(*byte);
                continue;
            }
        }
        at.next();
    }
    out
}

/// The archive that an input stands for, and the digests of everything in it; `None` if it is the file itself.
fn archive(data: &[u8]) -> Option<(Vec<u8>, BTreeSet<Sha256>)> {
    let [mode, b'\n', rest @ ..] = data else { return None };
    let mode = mode.to_ascii_lowercase();
    let mut documents: Vec<&[u8]> = rest.split(|byte| *byte == 0x1e).take(16).collect();
    let index = documents.remove(0);
    let mut known: Vec<Known> =
        (b'0'..).zip(LAYERS.iter()).map(|(letter, bytes)| Known::new(letter, bytes.clone())).collect();
    for (letter, document) in (b'B'..).zip(documents).collect::<Vec<_>>().into_iter().rev() {
        known.push(Known::new(letter, filled(document, &known)));
    }
    let index = filled(index, &known);
    known.retain(|known| known.letter != b'3');
    let mut files: Vec<(String, &[u8])> = Vec::new();
    match mode {
        b'o' => {
            files.push(("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#));
            files.push(("index.json".into(), &index));
            files.extend(known.iter().map(|k| (format!("blobs/sha256/{}", k.digest.hex()), &k.bytes[..])));
        }
        b'd' => {
            for k in &known {
                files.push((format!("{}.json", k.digest.hex()), &k.bytes));
                files.push((k.digest.to_string(), &k.bytes));
                files.push((format!("{}.tar", char::from(k.letter)), &k.bytes));
            }
            files.push(("manifest.json".into(), &index));
        }
        b's' => {
            files.push(("version".into(), b"Directory Transport Version: 1.1\n"));
            files.push(("manifest.json".into(), &index));
            files.extend(known.iter().map(|k| (k.digest.hex().to_string(), &k.bytes[..])));
        }
        b'1' => {
            for k in &known {
                let layer = &LAYERS[usize::from(k.letter) % 2];
                files.push((format!("{}/VERSION", char::from(k.letter)), b"1.0"));
                files.push((format!("{}/json", char::from(k.letter)), &k.bytes));
                files.push((format!("{}/layer.tar", char::from(k.letter)), layer));
            }
            files.push(("repositories".into(), &index));
        }
        _ => return None,
    }
    Some((tar_of(&files), known.iter().map(|known| known.digest).collect()))
}

fuzz_target!(|data: &[u8]| -> Corpus {
    if data.len() > 64 << 10 {
        return Corpus::Reject;
    }
    let all_platforms = data.first().is_some_and(u8::is_ascii_uppercase);
    let made = archive(data);
    let is_made = made.is_some();
    let (bytes, stored) = made.unwrap_or_else(|| (data.to_vec(), BTreeSet::new()));
    let path = FILE.of(&bytes);
    let options = source_options(all_platforms);
    // What is compressed as a whole is spooled, in memory up to a ceiling, in a buffer that grows.
    let spooled = if is_made { 0 } else { 3 * LIMITS.spool_resident_file_bytes.max as usize };
    let most = (4 << 20) + spooled + 64 * bytes.len();
    let Ok(images) = holding(most, || source::open(path, &options)) else { return Corpus::Keep };
    opened(&images, path, bytes.len(), is_made.then_some(&stored));
    let names: Vec<&str> = images.iter().map(|image| image.info.reference.as_str()).collect();
    for name in &names {
        let picked = source::open(name, &options).unwrap_or_else(|error| panic!("{name}: {error}"));
        let picked: Vec<_> = picked.iter().map(|image| image.info.reference.as_str()).collect();
        assert_eq!(picked, [*name], "of {names:?}");
    }
    let one = scan(path, &scan_options(all_platforms, 1)).expect("it was opened before");
    let four = scan(path, &scan_options(all_platforms, 4)).expect("it was opened before");
    assert!(one == four, "one thread: {one:#?}\nfour threads: {four:#?}");
    for inventory in &one {
        scanned(inventory, is_made.then_some(&stored));
    }
    Corpus::Keep
});

/// What holds of every opened image.
fn opened(images: &[Image], path: &str, len: usize, stored: Option<&BTreeSet<Sha256>>) {
    assert!(!images.is_empty());
    for image in images {
        match images {
            [_] => assert_eq!(image.info.reference, path),
            _ => assert!(image.info.reference.starts_with(&format!("{path}#")), "{}", image.info.reference),
        }
        assert!(image.gaps.iter().all(|gap| !gap.reason.is_empty()));
        let set = match &image.content {
            Ok(Content::Layers(set)) => set,
            Ok(Content::Document(bytes)) => {
                assert!(bytes.len() <= len);
                continue;
            }
            Ok(Content::Directory(_)) => panic!("a file that is a directory"),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let is_docker_v1 = image.info.kind == ImageKind::DockerArchive && image.info.digest.is_none();
        if let (Some(stored), ImageKind::OciArchive | ImageKind::SkopeoDir | ImageKind::DockerArchive) =
            (stored, image.info.kind)
            && !is_docker_v1
            && image.info.kind != ImageKind::SkopeoDir
        {
            let digest = image.info.digest.expect("a digest of an image that was read");
            assert!(stored.contains(&digest), "{digest} is in no document");
        }
        for (number, layer) in (0..).zip(&set.layers) {
            assert_eq!(layer.id, StratumId(number));
            // What is compressed as a whole is larger than it is stored.
            let most = if stored.is_some() { len as u64 } else { LIMITS.spool_file_bytes.max };
            assert!(layer.blob.as_ref().map_or(0, |blob| blob.size_bytes()) <= most);
        }
    }
}

/// What holds of every inventory: nothing is believed that is not there, and it is the same when read again.
fn scanned(inventory: &Inventory, stored: Option<&BTreeSet<Sha256>>) {
    let has_required = inventory.gaps.iter().any(|gap| gap.required);
    let unread = inventory.coverage.iter().filter(|place| !place.read).count();
    assert!(unread == 0 || has_required, "{unread} places were not read, and there is no gap");
    assert!(!inventory.systems.is_empty() || has_required, "nothing was found, and there is no gap");
    if let Some(stored) = stored {
        let absent = inventory.strata.iter().filter_map(|s| s.digest).find(|digest| !stored.contains(digest));
        assert!(absent.is_none() || has_required, "{absent:?} is nowhere, and there is no gap");
        let mut packages = inventory.systems.iter().flat_map(|system| &system.packages);
        assert!(packages.all(|package| package.name == "tiny"), "{inventory:#?}");
    }
    let json = serde_json::to_vec(inventory).expect("plain data");
    if inventory.image.kind != ImageKind::Inventory {
        assert!(document(&json).expect("what was written is read") == *inventory);
    }
}
