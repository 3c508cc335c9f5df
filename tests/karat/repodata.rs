//! Metadata of rpm repositories that createrepo_c made, against what independent parsers say of it
//! (`scripts/fixtures/repodata.sh`).

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use karat::format::repomd::{self, MetadataFile, Verdict};
use karat::limits::Limits;

#[path = "../../examples/conformance/repodata_rows.rs"]
mod repodata_rows;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/repodata")
}

const KINDS: [&str; 3] = ["primary", "updateinfo", "modules"];

fn listed(name: &str) -> Vec<MetadataFile> {
    let limits = Limits::default();
    let path = fixtures().join(name).join("repodata/repomd.xml");
    let repomd = repomd::read(&mut BufReader::new(fs::File::open(path).unwrap()), &limits).unwrap();
    assert_eq!(repomd.revision.as_deref(), Some("1767225600"));
    KINDS.iter().map(|kind| repomd.file(kind).unwrap().unwrap().clone()).collect()
}

#[test]
fn repositories_are_read_as_independent_parsers_read_them() {
    let limits = Limits::default();
    for name in ["gz", "xz", "bz2", "zck"] {
        let root = fixtures().join(name);
        let (mut rows, _) = repodata_rows::of_file(&root.join("repodata/repomd.xml"), &limits).unwrap();
        for file in listed(name) {
            let path = root.join(file.path().unwrap());
            let verdict = file.check_stored(&mut fs::File::open(&path).unwrap()).unwrap();
            assert_eq!(verdict, Verdict::Matches, "{name}");
            let stored = BufReader::new(fs::File::open(&path).unwrap());
            let mut stream = repomd::open(&file, stored, &limits).unwrap();
            let (own, told) = repodata_rows::of_stream(&file.kind, &mut stream, &limits).unwrap();
            assert_eq!(told, [""; 0]);
            rows.extend(own);
        }
        let want = fs::read_to_string(fixtures().join(format!("{name}.expected.tsv"))).unwrap();
        assert_eq!(rows, want.lines().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn zchunk_is_refused_by_its_name() {
    let limits = Limits::default();
    let root = fixtures().join("zck/repodata");
    let repomd =
        repomd::read(&mut BufReader::new(fs::File::open(root.join("repomd.xml")).unwrap()), &limits).unwrap();
    let file = repomd.file("primary_zck").unwrap().unwrap();
    let stored = || BufReader::new(fs::File::open(root.join("primary.xml.zck")).unwrap());
    let error = repomd::open(file, stored(), &limits).err().unwrap();
    assert!(error.to_string().contains("zchunk files, `repodata/primary.xml.zck`"), "{error}");
    assert!(error.hint_text().unwrap().contains("without --zck"), "{error}");
    // Under another name its magic number tells.
    let renamed = MetadataFile { kind: "primary".into(), ..MetadataFile::default() };
    assert!(repomd::open(&renamed, stored(), &limits).is_err());
}

/// Whatever byte is flipped or missing: nothing that differs from the whole is believed.
#[test]
fn no_damaged_file_is_taken_for_the_whole() {
    let limits = Limits::default();
    let root = fixtures().join("gz");
    for file in listed("gz") {
        let whole = fs::read(root.join(file.path().unwrap())).unwrap();
        let read = |stored: &[u8]| {
            let mut stream = repomd::open(&file, stored, &limits)?;
            repodata_rows::of_stream(&file.kind, &mut stream, &limits)
        };
        let want = read(&whole).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            // The header of a gzip file may say another name or time.
            assert!(read(&bytes).is_err() || read(&bytes).unwrap() == want, "{} {at}", file.kind);
            assert!(read(&whole[..at]).is_err(), "{} {at}", file.kind);
        }
    }
}
