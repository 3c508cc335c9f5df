//! Layers as strata: whiteouts, compressions, digests, ceilings, and content however it lies in the stream.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::atomic::Ordering;

use karat::limits::Limits;
use karat::model::{ImagePath, Sha256};
use karat::stratum::{Node, Scope, Want};

use crate::making::{Shown, gzip, has_tool, layer_of, layer_options, noise, tar_of, visit, zstd};

fn show(stored: Vec<u8>, want: Want) -> Shown {
    visit(&*layer_of(stored, None, Limits::default()), Scope::All, want, false).unwrap()
}

fn limits(pairs: &[(&str, u64)]) -> Limits {
    let mut limits = Limits::default();
    pairs.iter().for_each(|(name, max)| limits.set(name, *max).unwrap());
    limits
}

#[test]
fn whiteouts_are_told_from_files() {
    let tar = tar_of(&[
        ("./", b""),
        ("etc/", b""),
        ("etc/.wh.gone", b""),
        ("etc/.wh..wh..opq", b""),
        (".wh..wh..opq", b""),
        (".wh..wh.plnk/", b""),
        (".wh..wh.plnk/123.45", b"aufs"),
        (".wh..wh.aufs", b""),
        ("etc/.wh.", b""),
        ("etc/.wh...", b""),
        ("etc/.wh.dir/below", b""),
        ("etc/x.wh.kept", b""),
    ]);
    let shown = show(tar, Want::No);
    let want = ["/ dir", "/etc dir", "/etc/gone whiteout", "/etc opaque", "/ opaque", "/etc/x.wh.kept file"];
    assert_eq!(shown.names(), want);
    let gaps: Vec<_> = shown.gaps.iter().map(|gap| format!("{}: {}", gap.place, gap.reason)).collect();
    assert_eq!(
        gaps,
        [
            "layer 1 of 1: /etc/.wh.: a whiteout that names nothing",
            "layer 1 of 1: /etc/.wh...: a whiteout that names nothing",
            "layer 1 of 1: /etc/.wh.dir/below: a member below a whiteout",
        ]
    );
    assert!(shown.gaps.iter().all(|gap| gap.required));
}

#[test]
fn paths_stay_inside_and_odd_members_are_gaps() {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &[u8], kind: u8, link: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link);
        header.set_mode(0o644);
        header.set_size(0);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_cksum();
        builder.append(&header, &[][..]).unwrap();
    };
    add(b"/etc//./passwd", b'0', b"");
    add(b"../../outside", b'0', b"");
    add(b"a/../b", b'2', b"../../../etc/shadow");
    add(b"hard", b'1', b"./../etc/passwd");
    add(b"odd", b'Q', b"");
    add(b"./", b'0', b"");
    add(b"aufs", b'1', b".wh..wh.plnk/1.2");
    add(b"\xff", b'3', b"");
    let shown = show(builder.into_inner().unwrap(), Want::Random);
    assert_eq!(
        shown.names(),
        [
            "/etc/passwd file",
            "/outside file",
            "/b symlink",
            "/hard hardlink",
            "/odd special",
            "/\\xff special"
        ]
    );
    assert_eq!(shown.entries[2].node, Node::Symlink(b"../../../etc/shadow"[..].into()));
    assert_eq!(shown.entries[3].node, Node::HardLink("etc/passwd".into()));
    assert_eq!(shown.gaps.len(), 3, "{:?}", shown.gaps);
}

#[test]
fn every_compression_shows_the_same() {
    let large = noise(700_000);
    let tar = tar_of(&[
        ("etc/", b""),
        ("etc/a", b"a"),
        ("large", &large),
        ("zeros", &vec![0; 600_000]),
        ("z", b"z"),
    ]);
    let plain = show(tar.clone(), Want::Random);
    assert_eq!(plain.content("large"), large);
    assert_eq!(plain.content("z"), b"z");
    let (one, two) = tar.split_at(tar.len() / 2);
    for stored in [
        gzip(&tar),
        zstd(&tar),
        [gzip(one), gzip(two)].concat(),
        [zstd(one), b"\x50\x2a\x4d\x18\x04\0\0\0skip".to_vec(), zstd(two)].concat(),
    ] {
        let layer = layer_of(stored, Some(Sha256::of(&tar)), Limits::default());
        assert_eq!(visit(&*layer, Scope::All, Want::Random, false).unwrap(), plain);
        // And again: a stratum can be visited twice.
        assert_eq!(visit(&*layer, Scope::All, Want::Random, false).unwrap(), plain);
    }
}

#[test]
fn content_is_the_same_wherever_it_lies() {
    // Sizes and places around the ends of the stream's buffers, of scratch memory and of the spool.
    let sizes = [0, 1, 511, 512, 65_535, 65_536, 65_537, 200_000, 262_144 - 512, 262_144, 262_145, 1_000_000];
    let contents: Vec<_> = sizes.iter().map(|size| noise(*size)).collect();
    let names: Vec<_> = (0..sizes.len()).map(|i| format!("f{i}")).collect();
    let files: Vec<_> = names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice)).collect();
    let tar = tar_of(&files);
    for pairs in [&[][..], &[("spool_resident_file_bytes", 1000)], &[("spool_resident_bytes", 1 << 18)]] {
        let layer = layer_of(gzip(&tar), None, limits(pairs));
        for (want, sha256) in [
            (Want::Random, false),
            (Want::Random, true),
            (Want::Head(0), true),
            (Want::Head(0), false),
            (Want::Head(1000), false),
            (Want::Head(1000), true),
            (Want::Head(300_000), false),
            (Want::Head(u32::MAX), true),
            (Want::No, true),
        ] {
            let shown = visit(&*layer, Scope::All, want, sha256).unwrap();
            for (name, content) in &files {
                let path = ImagePath::from(*name);
                let len = match want {
                    Want::No => None,
                    Want::Head(len) => Some(content.len().min(len as usize)),
                    Want::Random => Some(content.len()),
                };
                assert_eq!(shown.contents.get(&path).map(Vec::as_slice), len.map(|len| &content[..len]));
                assert_eq!(shown.digests.get(&path), sha256.then(|| Sha256::of(content)).as_ref());
            }
            assert_eq!(shown.gaps, []);
        }
    }
}

#[test]
fn a_file_beyond_the_spool_is_one_gap() {
    let large = noise(500_000);
    let tar = tar_of(&[("large", &large), ("small", b"s")]);
    let layer = layer_of(tar, None, limits(&[("spool_file_bytes", 400_000)]));
    let shown = visit(&*layer, Scope::All, Want::Random, true).unwrap();
    assert_eq!(shown.contents.len(), 1);
    assert_eq!(shown.digests[&ImagePath::from("large")], Sha256::of(&large));
    assert_eq!(shown.gaps.len(), 1);
    assert_eq!(shown.gaps[0].place, "layer 1 of 1: /large");
    assert!(shown.gaps[0].reason.contains("spool_file_bytes"), "{:?}", shown.gaps);
}

#[test]
fn sparse_files_have_their_holes() {
    if !has_tool("tar") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = fs::File::create(directory.path().join("holes")).unwrap();
    file.set_len(3_000_000).unwrap();
    file.write_all_at(&noise(400_000), 1_000_000).unwrap();
    let content = fs::read(directory.path().join("holes")).unwrap();
    for format in ["gnu", "pax"] {
        let mut tar = Command::new("tar");
        let made = tar
            .args(["-S", "-c", "--format", format, "holes"])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(made.stdout.len() < 1_000_000);
        let layer = layer_of(made.stdout, None, Limits::default());
        let shown = visit(&*layer, Scope::All, Want::Random, true).unwrap();
        assert!(shown.content("holes") == content);
        assert_eq!(shown.digests[&ImagePath::from("holes")], Sha256::of(&content));
        let shown = visit(&*layer, Scope::All, Want::Head(1_200_000), false).unwrap();
        assert!(shown.content("holes") == &content[..1_200_000]);
    }
}

#[test]
fn what_does_not_match_its_digest_is_not_believed() {
    let tar = tar_of(&[("a", b"1")]);
    let other = Sha256::of(b"other");
    for stored in [tar.clone(), gzip(&tar)] {
        let error = visit(&*layer_of(stored, Some(other), Limits::default()), Scope::All, Want::No, false);
        let error = error.unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("layer 1 of 1: layer: digest of the layer's tar (diff-id): sha256:"),
            "{text}"
        );
        assert!(text.contains(&Sha256::of(&tar).to_string()) && text.contains(&other.to_string()), "{text}");
        assert!(error.hint_text().is_some());
    }
}

#[test]
fn cut_off_and_foreign_layers_are_errors() {
    let tar = tar_of(&[("a", &noise(5000))]);
    let zipped = gzip(&tar);
    for (stored, want) in [
        (tar[..3000].to_vec(), "tar: data at byte 0xbb8: the end of the archive"),
        (zipped[..3000].to_vec(), "gzip: member: the end of the data within it"),
        ([&zipped[..], b"behind"].concat(), "gzip: member: bytes 62 65 where a member has to start"),
        (zstd(&tar)[..2000].to_vec(), "zstd: stream"),
        ([&zstd(&tar)[..], b"behind"].concat(), "zstd: stream"),
        (b"\xfd7zXZ\0\0\0".to_vec(), "xz: stream"),
        (noise(10_000), "tar header: checksum"),
        (gzip(&noise(10_000)), "tar header: checksum"),
    ] {
        let error = visit(&*layer_of(stored, None, Limits::default()), Scope::All, Want::Random, true);
        let text = error.unwrap_err().to_string();
        assert!(text.contains(want), "{text} has not {want}");
    }
    // What follows the end of the archive belongs to the layer and its digest.
    let padded = [&tar[..], &noise(100_000)].concat();
    let layer = layer_of(gzip(&padded), Some(Sha256::of(&padded)), Limits::default());
    assert_eq!(visit(&*layer, Scope::All, Want::No, false).unwrap().names(), ["/a file"]);
}

#[test]
fn files_of_the_wrapping_are_no_files_of_the_image() {
    let stored = gzip(&tar_of(&[
        (".no.prefetch.landmark", b"\x0f"),
        (".prefetch.landmark", b"\x0f"),
        ("opt/stargz.index.json", b"{}"),
        ("stargz.index.json", b"{}"),
    ]));
    assert_eq!(show(stored, Want::No).names(), ["/opt/stargz.index.json file"]);
    // zstd:chunked ends with its table of contents and a footer in skippable frames.
    let frame = |bytes: &[u8]| {
        let len = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        [&[0x50, 0x2a, 0x4d, 0x18][..], &len, bytes].concat()
    };
    let parts = [zstd(&tar_of(&[("a", b"1")])), frame(&zstd(b"{}")), frame(&[7; 64])].concat();
    assert_eq!(show(parts, Want::No).names(), ["/a file"]);
}

#[test]
fn bombs_stop_at_their_ceilings() {
    let zeros = tar_of(&[("zeros", &vec![0; 80 << 20])]);
    for stored in [gzip(&zeros), zstd(&zeros)] {
        let layer = layer_of(stored.clone(), None, limits(&[("inflate_ratio", 100)]));
        let error = visit(&*layer, Scope::All, Want::No, false).unwrap_err();
        assert!(error.to_string().contains("limit `inflate_ratio`"), "{error}");
        let layer = layer_of(stored, None, limits(&[("layer_bytes", 50 << 20)]));
        let error = visit(&*layer, Scope::All, Want::No, false).unwrap_err();
        assert!(error.to_string().contains("limit `layer_bytes`"), "{error}");
        assert!(error.hint_text().unwrap().contains("--limit layer_bytes="));
    }
    let layer = layer_of(zeros, None, limits(&[("layer_bytes", 50 << 20)]));
    assert!(visit(&*layer, Scope::All, Want::No, false).is_err());
    let many = tar_of(&[("a", b""), ("b", b""), ("c", b"")]);
    let error = visit(&*layer_of(many, None, limits(&[("entries", 2)])), Scope::All, Want::No, false);
    assert!(error.unwrap_err().to_string().contains("limit `entries`"));
    let deep = tar_of(&[("a/b/c/d", b"")]);
    let error = visit(&*layer_of(deep, None, limits(&[("path_depth", 3)])), Scope::All, Want::No, false);
    assert!(error.unwrap_err().to_string().contains("limit `path_depth`"));
}

#[test]
fn a_scope_shows_what_is_in_it_and_on_the_way() {
    let tar = tar_of(&[
        ("var/", b""),
        ("var/lib/", b""),
        ("var/lib/dpkg/status", b"1"),
        ("var/log/x", b""),
        ("usr/", b""),
    ]);
    let layer = layer_of(tar, None, Limits::default());
    let shown = visit(&*layer, Scope::Only(&["var/lib/dpkg".into()]), Want::Random, false).unwrap();
    assert_eq!(shown.names(), ["/var dir", "/var/lib dir", "/var/lib/dpkg/status file"]);
}

#[test]
fn progress_counts_stored_bytes() {
    let stored = gzip(&tar_of(&[("a", &noise(1_000_000))]));
    let options = layer_options(Limits::default());
    let layer = karat::source::LayerBlob {
        id: karat::model::StratumId(3),
        place: "here".into(),
        digest: None,
        diff_id: None,
        size_bytes: stored.len() as u64,
        created_by: None,
        blob: Ok(std::sync::Arc::new(stored.clone())),
    };
    let strata = karat::layer::strata(karat::source::LayerSet { layers: vec![layer] }, &options);
    assert_eq!(strata[0].id(), karat::model::StratumId(3));
    visit(&*strata[0], Scope::All, Want::No, false).unwrap();
    assert_eq!(options.progress.load(Ordering::Relaxed), stored.len() as u64);
}

#[test]
fn cuts_and_flips_never_panic() {
    let tar = tar_of(&[("etc/os-release", b"ID=debian\n"), ("large", &noise(3000))]);
    let mut outcomes = BTreeSet::new();
    for whole in [gzip(&tar), zstd(&tar)] {
        for len in 0..whole.len() {
            let layer = layer_of(whole[..len].to_vec(), Some(Sha256::of(&tar)), Limits::default());
            outcomes.insert(visit(&*layer, Scope::All, Want::Random, true).is_ok());
        }
        for at in (0..whole.len()).step_by(7) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x55;
            let layer = layer_of(flipped, Some(Sha256::of(&tar)), Limits::default());
            // A header may hold bytes that change nothing, as gzip's time does.
            let _ = visit(&*layer, Scope::All, Want::Random, true);
        }
    }
    assert_eq!(outcomes, BTreeSet::from([false]));
}
