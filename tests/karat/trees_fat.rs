//! FAT and exFAT: images that mkfs.vfat, mtools and exfatprogs made show what was put in, and broken ones are
//! refused or told.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use karat::Result;
use karat::bytes::ReadAt;
use karat::limits::Limits;
use karat::model::{ImagePath, Sha256, StratumId};
use karat::stratum::{Entry, Request, Scope, Sink, Stratum as _, Want};
use karat::tree::{BlockCache, CachedReader, Exfat, Fat, FileTree, Mount, NodeKind, TreeStratum};

use crate::making::{Recorder, Shown, has_tool, noise};
use crate::mutate::fixture;

/// Opens a file system on these bytes.
pub(crate) type Open = fn(CachedReader, Arc<Limits>) -> Result<Arc<dyn FileTree>>;

fn fat(reader: CachedReader, limits: Arc<Limits>) -> Result<Arc<dyn FileTree>> {
    Ok(Arc::new(Fat::open(reader, limits)?))
}

fn exfat(reader: CachedReader, limits: Arc<Limits>) -> Result<Arc<dyn FileTree>> {
    Ok(Arc::new(Exfat::open(reader, limits)?))
}

pub(crate) fn on(open: Open, bytes: Vec<u8>) -> Result<Arc<dyn FileTree>> {
    let limits = Arc::new(Limits::default());
    open(BlockCache::new(&limits).reader(Arc::new(bytes)), limits)
}

/// An image of `fixtures/disks`, unpacked.
pub(crate) fn image(name: &str) -> Vec<u8> {
    zstd::decode_all(&fixture(&format!("disks/{name}.img.zst"))[..]).unwrap()
}

/// What is in it: rows by path.
pub(crate) fn truth(name: &str) -> BTreeMap<String, String> {
    let text = String::from_utf8(fixture(&format!("disks/{name}.tsv"))).unwrap();
    let rows = text.lines().map(|row| row.rsplit_once('\t').unwrap());
    rows.map(|(row, path)| (path.to_owned(), row.to_owned())).collect()
}

/// What a tree shows, as rows of the truth say it, each name found again by looking it up.
pub(crate) fn rows(tree: &dyn FileTree) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    let mut open = vec![(String::new(), tree.root())];
    while let Some((above, directory)) = open.pop() {
        let mut names = Vec::new();
        tree.read_dir(directory, &mut |entry| {
            names.push((entry.name.to_vec(), entry.node));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{above}: {error}"));
        for (name, node) in names {
            assert_eq!(tree.lookup(directory, &name).unwrap(), Some(node), "{}", name.escape_ascii());
            let name = String::from_utf8(name).unwrap();
            let path = if above.is_empty() { name } else { format!("{above}/{name}") };
            let meta = tree.meta(node).unwrap_or_else(|error| panic!("{path}: {error}"));
            let (kind, content) = match meta.kind {
                NodeKind::File => {
                    let content = tree.open(node).unwrap_or_else(|error| panic!("{path}: {error}"));
                    assert_eq!(content.size_bytes(), meta.size_bytes, "{path}");
                    ("file", Sha256::of_content(&*content).unwrap().hex().to_string())
                }
                NodeKind::Directory => {
                    open.push((path.clone(), node));
                    ("directory", String::new())
                }
                NodeKind::Symlink => ("symlink", tree.read_link(node).unwrap().escape_ascii().to_string()),
                NodeKind::Special => ("special", String::new()),
            };
            let row = format!("{kind}\t{:o}\t{}\t{content}", meta.mode, meta.size_bytes);
            assert!(rows.insert(path.clone(), row).is_none(), "{path} twice");
        }
        assert_eq!(tree.lookup(directory, b"absent").unwrap(), None);
    }
    rows
}

/// Reads every file's head and tail; what cannot be read of it is a gap, as it is with collectors.
struct Tolerant(Recorder);

impl Sink for Tolerant {
    fn request(&self, entry: &Entry) -> Request {
        self.0.request(entry)
    }

    fn file(&self, entry: &Entry, content: &dyn ReadAt) {
        let len = content.size_bytes().min(512) as usize;
        for offset in [0, content.size_bytes() - len as u64] {
            if let Err(error) = content.read_exact_at(offset, &mut vec![0; len]) {
                let reason = error.to_string();
                self.gap(karat::model::Gap { place: entry.path.to_string(), reason, required: true });
            }
        }
    }

    fn gap(&self, gap: karat::model::Gap) {
        self.0.gap(gap);
    }
}

/// Whatever the bytes: no panic, an end, and what is missing is told.
pub(crate) fn survives(open: Open, bytes: Vec<u8>) -> Option<(Shown, usize)> {
    let mut limits = Limits::default();
    limits.entries.max = 20_000;
    let limits = Arc::new(limits);
    let tree = open(BlockCache::new(&limits).reader(Arc::new(bytes)), Arc::clone(&limits)).ok()?;
    let doubts = tree.doubts().len();
    let mount = Mount::new(ImagePath::root(), tree, "");
    let stratum = TreeStratum::new(StratumId(0), vec![mount], limits).unwrap();
    let sink = Tolerant(Recorder::new(Want::Random, false));
    let is_whole = stratum.visit(Scope::All, &sink).is_ok();
    Some((sink.0.shown.into_inner().unwrap(), doubts + usize::from(!is_whole)))
}

/// Flips bytes where something is, and cuts off.
pub(crate) fn is_never_broken(open: Open, bytes: &[u8], step: usize) {
    let (whole, doubts) = survives(open, bytes.to_vec()).unwrap();
    assert!(whole.gaps.is_empty() && doubts == 0, "{:?}", whole.gaps);
    // Not the content of files, most of which is at the end.
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut broken = bytes.to_vec();
    for (turn, at) in used.iter().enumerate().step_by(step) {
        let flip = [0xff, 0x01, 0x80, 0x10][turn / step % 4];
        broken[*at] ^= flip;
        survives(open, broken.clone());
        broken[*at] ^= flip;
    }
    for len in (0..bytes.len()).step_by(bytes.len() / 23 + 1) {
        if let Some((shown, doubts)) = survives(open, bytes[..len].to_vec()) {
            assert!(doubts > 0 || !shown.gaps.is_empty(), "cut off at {len}");
        }
    }
}

#[test]
fn volumes_show_what_was_put_in() {
    for (name, open) in [("fat12", fat as Open), ("fat16", fat), ("fat32", fat), ("exfat", exfat)] {
        let name = format!("fat/{name}");
        let tree = on(open, image(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(rows(&*tree), truth(&name), "{name}");
        let identity = tree.identity();
        assert_eq!(identity.uuid.as_deref(), Some("1A2B-3C4D"));
        let label = if name == "fat/exfat" { "Fixture Ä" } else { "GOLD EFI" };
        assert_eq!(String::from_utf8_lossy(&identity.label), label);
    }
}

#[test]
fn look_ups_ignore_case_and_know_short_names() {
    for name in ["fat12", "fat16", "fat32"] {
        let tree = on(fat, image(&format!("fat/{name}"))).unwrap();
        let find = |path: &str| {
            let reached = tree.lookup_many(tree.root(), &[ImagePath::new(path)]).pop().unwrap();
            assert!(reached.failed.is_none());
            reached.steps.get(path.matches('/').count()).map(|step| step.node)
        };
        let boot = find("EFI/BOOT/BOOTX64.EFI");
        assert!(boot.is_some());
        for same in ["efi/boot/bootx64.efi", "Efi/Boot./BootX64.efi."] {
            assert_eq!(find(same), boot, "{same}");
        }
        assert_eq!(find("PROGRA~1/A.b.c.longext"), find("program files/a.B.C.LONGEXT"));
        assert!(find("PROGRA~1").is_some());
        assert_eq!(find("ÄRGER UND GRÖßER €.TXT"), find("Ärger und größer €.txt"));
        // A label is no file.
        assert_eq!(find("GOLD EFI"), None);
    }
    let tree = on(exfat, image("fat/exfat")).unwrap();
    let find = |name: &str| tree.lookup(tree.root(), name.as_bytes()).unwrap();
    assert!(find("ETC").is_some() && find("ETC") == find("etc") && find("etc.d") == find("ETC.D"));
    assert!(find("äRGER 🦀.TXT").is_some());
    assert_eq!(find("ghost.txt"), None);
}

#[test]
fn stored_names_that_end_in_dots_are_found() {
    let mut bytes = image("fat/fat12");
    let short = b"ETC        ";
    let at = bytes.windows(short.len()).position(|name| name == short).unwrap();
    bytes[at..at + 3].copy_from_slice(b"E..");
    // Every name that is shown is looked up.
    let found = rows(&*on(fat, bytes).unwrap());
    assert!(
        found.contains_key("e..") || found.contains_key("E.."),
        "{:?}",
        found.keys().take(9).collect::<Vec<_>>()
    );
}

#[test]
fn every_geometry_of_fat_is_read() {
    if !has_tool("mkfs.vfat") || !has_tool("mcopy") || !has_tool("blkid") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("efi/boot/deep/er")).unwrap();
    for number in 0..150 {
        let name = format!("efi/boot/deep/a file with a long name {number}");
        fs::write(root.join(name), noise(number * 37)).unwrap();
    }
    fs::write(root.join("efi/boot/large.bin"), noise(200_000)).unwrap();
    let volume = folder.path().join("volume");
    let path = volume.to_str().unwrap().to_owned();
    let run = |name: &str, arguments: &[&str]| {
        let output = Command::new(name).args(arguments).env("MTOOLS_SKIP_CHECK", "1").output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (size, options) in [
        (1440 << 10, &["-F", "12"][..]),
        (8 << 20, &["-F", "12", "-S", "2048"]),
        (8 << 20, &["-F", "16", "-s", "1", "-f", "1", "-R", "7"]),
        (32 << 20, &["-F", "16", "-S", "4096", "-s", "1"]),
        (40 << 20, &["-F", "32", "-s", "1"]),
        (300 << 20, &["-F", "32", "-S", "4096", "-s", "1", "-n", "a label"]),
        // Fewer clusters than FAT32 is said to have: mkfs.vfat and Linux know such, mtools does not.
        (4 << 20, &["-F", "32", "-s", "2", "-n", "NO NAME"]),
    ] {
        let _ = fs::remove_file(&volume);
        fs::File::create(&volume).unwrap().set_len(size).unwrap();
        run("mkfs.vfat", &[options, &["-a", &path]].concat());
        let is_small = options.contains(&"NO NAME");
        if !is_small {
            run("mcopy", &["-s", "-Q", "-i", &path, root.join("efi").to_str().unwrap(), "::"]);
        }
        let tree = on(fat, fs::read(&volume).unwrap()).unwrap_or_else(|e| panic!("{options:?}: {e}"));
        let found = rows(&*tree);
        assert_eq!(found.len(), if is_small { 0 } else { 155 }, "{options:?}");
        for (file, row) in found.iter().filter(|(_, row)| row.starts_with("file")) {
            let expected = fs::read(root.join(file)).unwrap();
            let digest = Sha256::of(&expected).hex();
            assert_eq!(*row, format!("file\t755\t{}\t{digest}", expected.len()), "{options:?}: {file}");
        }
        let said = |tag: &str| {
            let output = Command::new("blkid").args(["-p", "-o", "value", "-s", tag, &path]).output();
            String::from_utf8_lossy(&output.unwrap().stdout).trim_end().to_owned()
        };
        let identity = tree.identity();
        assert_eq!(identity.uuid.as_deref(), Some(&*said("UUID")));
        assert_eq!(String::from_utf8_lossy(&identity.label), said("LABEL"), "{options:?}");
    }
}

#[test]
fn damage_is_told_and_never_fatal() {
    for (name, open, step) in
        [("fat12", fat as Open, 97), ("fat16", fat, 397), ("fat32", fat, 1999), ("exfat", exfat, 197)]
    {
        // The tail of the volume is empty, but has to be there.
        is_never_broken(open, &image(&format!("fat/{name}")), step);
    }
}

#[test]
fn checksums_of_exfat_are_checked() {
    let whole = image("fat/exfat");
    let refused = |at: usize| {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        on(exfat, broken).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refused(0).contains("checksum of the boot region"), "{}", refused(0));
    assert!(refused(3).contains("magic"), "{}", refused(3));
    // The up-case table is in the second cluster of the heap.
    assert!(refused(256 * 512 + 4096 + 200).contains("up-case table"), "{}", refused(256 * 512 + 4096 + 200));
    // What changes while a volume is mounted does not count.
    assert_eq!(refused(112), "");
    // A bit of the name of a file.
    let name: Vec<u8> = "pieces.bin".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = whole.windows(name.len()).position(|bytes| bytes == name).unwrap();
    let mut broken = whole.clone();
    broken[at] ^= 1;
    let (shown, _) = survives(exfat, broken).unwrap();
    assert_eq!(shown.gaps.len(), 1, "{:?}", shown.gaps);
    assert!(shown.gaps[0].reason.contains("checksum of entries"), "{:?}", shown.gaps);
    assert_eq!(shown.entries.len() + 1, truth("fat/exfat").len());
}

#[test]
fn geometry_that_cannot_be_is_refused_by_name() {
    let whole = image("fat/fat16");
    for (at, value, expected) in [
        (11, 7, "FAT: bytes a sector at byte 0xb"),
        (13, 3, "FAT: sectors a cluster at byte 0xd"),
        (14, 0, "FAT: reserved sectors at byte 0xe"),
        (16, 0, "FAT: number of tables at byte 0x10"),
        (21, 1, "FAT: media at byte 0x15"),
        (20, 0xff, "FAT: sectors at byte 0x20"),
    ] {
        let mut broken = whole.clone();
        broken[at] = value;
        let error = on(fat, broken).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.starts_with(expected), "{expected}: {error}");
    }
}

/// Foreign volumes, where they are: `KARAT_DISK_CORPUS` names a folder with `scalibr`.
#[test]
fn foreign_volumes_are_listed() {
    let Some(corpus) = std::env::var_os("KARAT_DISK_CORPUS") else { return };
    let image = Path::new(&corpus).join("scalibr/qcow2/testdata/valid-ext-exfat-fat32-ntfs.qcow2");
    if !image.exists() || !has_tool("qemu-img") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    let status =
        Command::new("qemu-img").args(["convert", "-O", "raw"]).arg(&image).arg(&raw).status().unwrap();
    assert!(status.success());
    let disk = fs::read(raw).unwrap();
    for (sector, open, expected) in
        [(131_072, exfat as Open, "private-key2.pem"), (262_144, fat, "private-key3.pem")]
    {
        let volume = disk[sector * 512..(sector + 131_072) * 512].to_vec();
        let found = rows(&*on(open, volume).unwrap());
        let row = &found[expected];
        assert!(row.starts_with("file\t755\t3272\t"), "{row}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
