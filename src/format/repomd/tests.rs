use std::io::Write as _;

use super::*;

fn of(text: &str) -> std::result::Result<Repomd, String> {
    read(&mut text.as_bytes(), &Limits::default()).map_err(|error| error.to_string())
}

const SHA: &str = "b048c7149921446d912be7635413ef00f6702b70942abd22b1a205b22bce177b";

fn text() -> String {
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1615686706</revision>
  <tags><content>binary</content></tags>
  <data type="primary">
    <timestamp>1176468240.25</timestamp>
    <location href="repodata/primary.xml.gz"/>
    <checksum type="SHA256">{SHA}</checksum>
    <open-checksum type="sha">73588a1c655a58b2251146675ab64cce8cb45a26</open-checksum>
    <size>1017</size><open-size>6393</open-size><database_version>10</database_version>
  </data>
  <data type="updateinfo"><location xml:base="http://x/" href="u.xml"/></data>
  <data type="primary_zck"><location href="repodata/primary.xml.zck"/></data>
</repomd>"#
    )
}

#[test]
fn files_are_listed() {
    let repomd = of(&text()).unwrap();
    assert_eq!((repomd.revision.as_deref(), repomd.files.len()), (Some("1615686706"), 3));
    let primary = repomd.file("primary").unwrap().unwrap();
    assert_eq!(primary.path().unwrap(), "repodata/primary.xml.gz");
    assert_eq!(primary.checksum.as_ref().unwrap(), &Checksum { kind: ChecksumKind::Sha256, hex: SHA.into() });
    assert_eq!(primary.open_checksum.as_ref().unwrap().kind, ChecksumKind::Sha1);
    assert_eq!((primary.size_bytes, primary.open_size_bytes), (Some(1017), Some(6393)));
    assert_eq!(repomd.made_at().unwrap().to_string(), "2007-04-13T12:44:00Z");
    assert!(!primary.is_zchunk() && repomd.file("primary_zck").unwrap().unwrap().is_zchunk());
    assert!(repomd.file("modules").unwrap().is_none());
    let error = repomd.file("updateinfo").unwrap().unwrap().path().unwrap_err().to_string();
    assert!(error.contains("metadata at another place, `http://x/`"), "{error}");
}

#[test]
fn what_is_damaged_is_refused() {
    let text = text();
    for (from, to, why) in [
        ("type=\"primary\"", "", "type at byte "),
        ("<location href=\"repodata/primary.xml.gz\"/>", "", "data `primary`: repomd: location at byte "),
        ("<size>1017", "<size>-1", "`-1`; allowed: a number of bytes"),
        ("<open-size>6393", "<open-size>", "open-size at byte "),
        ("1176468240.25", "x", "`x`; allowed: seconds since 1970"),
        ("\"SHA256\"", "\"crc\"", "checksum at byte "),
        (SHA, "abc", "`abc`; allowed: sha256"),
        ("<size>1017</size>", "<size>1017</size><size>1</size>", "two that differ"),
        ("</repomd>", "", "the end of the file inside of 1 elements"),
        ("<repomd ", "<metalink ", "element `metalink`; allowed: `repomd`"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = match of(&text.replacen(from, to, 1)) {
            Ok(repomd) => {
                // The others are listed.
                assert_eq!((repomd.files.len(), repomd.damaged.len()), (2, 1), "{from}");
                let kind = repomd.damaged[0].0.as_str();
                repomd.file(kind).unwrap_err().to_string()
            }
            Err(error) => error,
        };
        assert!(error.contains(why), "{from}: {error}");
    }
    let twice = text.replace("\"updateinfo\"", "\"primary\"");
    let error = of(&twice).unwrap().file("primary").unwrap_err().to_string();
    assert!(error.contains("two: `repodata/primary.xml.gz`, `u.xml`"), "{error}");
    let mut limits = Limits::default();
    limits.repomd_files.max = 2;
    assert!(read(&mut text.as_bytes(), &limits).unwrap_err().to_string().contains("repomd_files"));
}

#[test]
fn no_path_leads_out_of_the_repository() {
    for location in ["/etc/passwd", "../x", "a/../../x", "a//b", "", "a\0b", "http://x/y", "file:///x"] {
        let file =
            MetadataFile { kind: "primary".into(), location: location.into(), ..MetadataFile::default() };
        assert!(file.path().is_err(), "{location}");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn sha256(bytes: &[u8]) -> Checksum {
    Checksum { kind: ChecksumKind::Sha256, hex: crate::model::Sha256::of(bytes).hex() }
}

#[test]
fn streams_are_held_against_what_is_said_of_them() {
    let plain = b"<metadata/>".repeat(1000);
    let stored = gzip(&plain);
    let good = MetadataFile {
        kind: "primary".into(),
        location: "repodata/primary.xml.gz".into(),
        checksum: Some(sha256(&stored)),
        open_checksum: Some(sha256(&plain)),
        size_bytes: Some(stored.len() as u64),
        open_size_bytes: Some(plain.len() as u64),
        ..MetadataFile::default()
    };
    let inflate =
        |file: &MetadataFile, stored: &[u8], limits: &Limits| -> std::result::Result<Vec<u8>, String> {
            let mut all = Vec::new();
            let read = open(file, stored, limits).and_then(|mut stream| {
                std::io::Read::read_to_end(&mut stream, &mut all)?;
                Ok(())
            });
            read.map(|()| all).map_err(|error| format!("{error} {:?}", error.hint_text()))
        };
    let limits = Limits::default();
    assert_eq!(inflate(&good, &stored, &limits).unwrap(), plain);
    assert_eq!(inflate(&good, &plain, &limits).unwrap(), plain);
    assert_eq!(good.check_stored(&mut &stored[..]).unwrap(), Verdict::Matches);
    let bare = MetadataFile { kind: "primary".into(), ..MetadataFile::default() };
    assert_eq!(bare.check_stored(&mut &stored[..]).unwrap(), Verdict::Unchecked);
    assert_eq!(inflate(&bare, &stored, &limits).unwrap(), plain);

    for (file, why) in [
        (
            MetadataFile { open_size_bytes: Some(10_999), ..good.clone() },
            "more than 10999 bytes; allowed: 10999",
        ),
        (
            MetadataFile { open_size_bytes: Some(11_001), ..good.clone() },
            "open-size: 11000 bytes; allowed: 11001",
        ),
        (MetadataFile { open_checksum: Some(sha256(b"")), ..good.clone() }, "open-checksum: "),
        (MetadataFile { kind: "primary_zck".into(), ..good.clone() }, "zchunk files"),
        (MetadataFile { location: "p.zck".into(), ..good.clone() }, "createrepo_c without --zck"),
        (
            MetadataFile { open_size_bytes: Some(u64::MAX), ..good.clone() },
            "limit `channel_index_bytes` passed",
        ),
    ] {
        let error = inflate(&file, &stored, &limits).unwrap_err();
        assert!(error.contains(why) && error.starts_with("data `primary"), "{why}: {error}");
    }
    assert!(inflate(&good, b"\0ZCK1rest", &limits).unwrap_err().contains("zchunk"));
    assert!(inflate(&good, &stored[..stored.len() - 1], &limits).is_err());
    for (file, why) in [
        (MetadataFile { size_bytes: Some(1), ..good.clone() }, "size: more than 1 bytes"),
        (MetadataFile { size_bytes: Some(1 << 20), ..good.clone() }, "size: "),
        (MetadataFile { checksum: Some(sha256(b"")), ..good.clone() }, "checksum: "),
    ] {
        let error = file.check_stored(&mut &stored[..]).unwrap_err().to_string();
        assert!(error.contains(why) && error.starts_with("data `primary`: repomd: "), "{why}: {error}");
    }
    // A bomb of which nothing is said.
    let mut limits = Limits::default();
    limits.channel_index_bytes.max = 1 << 20;
    let bomb = gzip(&vec![b' '; 4 << 20]);
    assert!(inflate(&bare, &bomb, &limits).unwrap_err().contains("channel_index_bytes"));
}

#[test]
fn flipped_and_cut_files_end() {
    let whole = text().into_bytes();
    for at in 0..whole.len() {
        for flip in [0x01, 0x20, 0x80, whole[at] ^ b'<', whole[at] ^ b'>', whole[at] ^ b'"'] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let _ = read(&mut &bytes[..], &Limits::default());
        }
        assert!(read(&mut &whole[..at], &Limits::default()).is_err(), "{at}");
    }
}
