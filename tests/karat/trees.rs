//! File systems on volumes: what the tools that made them put in comes out, and nothing is lost in silence.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use karat::bytes::{HostFile, ReadAt};
use karat::collect::fact::Needs;
use karat::collect::{assemble, follow_up, gather, squash};
use karat::error::{Error, Result};
use karat::limits::Limits;
use karat::model::{Gap, ImagePath, StratumId};
use karat::root;
use karat::source::DirectoryStratum;
use karat::stratum::{Entry, Node, Request, Scope, Sink, Stratum, Want};
use karat::tree::{BlockCache, Ext, FileTree, FsKind, Mount, TreeStratum};
use tempfile::TempDir;

use crate::making::{Recorder, Shown, has_tool, noise, visit};

/// Runs a tool and takes what it prints.
fn run(name: &str, arguments: &[&str]) -> String {
    let tool = crate::tools::tool(name).unwrap();
    let output = Command::new(tool).args(arguments).env("MKE2FS_CONFIG", "/dev/null").output().unwrap();
    // e2fsck says with 1 that it corrected something.
    let is_well = output.status.success() || (name == "e2fsck" && output.status.code() == Some(1));
    assert!(is_well, "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ext_on(volume: Arc<dyn ReadAt>) -> Result<Ext> {
    let limits = Arc::new(Limits::default());
    Ext::open(volume, &BlockCache::new(&limits), &limits)
}

fn ext(image: &Path) -> Ext {
    ext_on(Arc::new(HostFile::new(File::open(image).unwrap()).unwrap())).unwrap()
}

fn stratum(mounts: Vec<Mount>) -> TreeStratum {
    TreeStratum::new(StratumId(0), mounts, Arc::new(Limits::default())).unwrap()
}

fn whole(tree: Arc<dyn FileTree>) -> TreeStratum {
    stratum(vec![Mount::new(ImagePath::root(), tree, "")])
}

/// What a directory of the host shows.
fn shown_by(directory: &Path) -> Shown {
    let stratum = DirectoryStratum::new(directory, Arc::new(Limits::default()));
    visit(&stratum, Scope::All, Want::Random, true).unwrap()
}

/// All entries, but for what links hold.
fn names(shown: &Shown) -> Vec<Entry> {
    let mut entries = shown.entries.clone();
    for entry in &mut entries {
        if let Node::Symlink(target) = &mut entry.node {
            *target = Box::default();
        }
    }
    entries
}

/// What a file system shows, without the directory that mke2fs adds.
fn shown_in(tree: Arc<dyn FileTree>) -> Shown {
    let mut shown = visit(&whole(tree), Scope::All, Want::Random, true).unwrap();
    shown.entries.retain(|entry| entry.path != ImagePath::from("lost+found"));
    shown
}

/// A tree with what file systems store in different ways.
fn sample(root: &Path) {
    let path = |name: &str| root.join(name);
    for directory in ["etc", "usr/lib/deep/er/still", "many", "empty", "usr/bin"] {
        fs::create_dir_all(path(directory)).unwrap();
    }
    for len in [0, 1, 59, 60, 61, 150, 160, 1023, 1024, 1025, 4096, 65_536, 300_000] {
        fs::write(path(&format!("etc/{len}")), noise(len)).unwrap();
    }
    for len in [1, 59, 60, 61, 100, 255, 1023] {
        symlink("t".repeat(len), path(&format!("usr/lib/link-{len}"))).unwrap();
    }
    for number in 0..700 {
        let name = format!("a-rather-long-name-that-fills-the-blocks-of-a-directory-{number}");
        fs::write(path("many").join(name), number.to_string()).unwrap();
    }
    fs::write(path("usr/lib").join(std::ffi::OsStr::from_bytes(b"not\xff\xfeutf8")), "x").unwrap();
    fs::write(path("usr/lib").join("n".repeat(255)), "y").unwrap();
    fs::write(path("usr/bin/tool"), noise(10_000)).unwrap();
    fs::set_permissions(path("usr/bin/tool"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(path("usr/bin/tool"), path("usr/bin/again")).unwrap();
    fs::set_permissions(path("empty"), fs::Permissions::from_mode(0o1777)).unwrap();
    // Holes at the start and within; far enough for double and triple indirect blocks of 1 KiB.
    let sparse = File::create(path("usr/lib/sparse")).unwrap();
    for at in [100_000, 300_000, 12 << 20, 70 << 20] {
        sparse.write_all_at(&noise(5120), at).unwrap();
    }
    run("mkfifo", &[path("usr/lib/pipe").to_str().unwrap()]);
}

/// Makes a file system out of a directory.
fn mke2fs(image: &Path, directory: &Path, size: &str, arguments: &[&str]) {
    let (directory, image) = (directory.to_str().unwrap(), image.to_str().unwrap());
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    let fixed = ["-q", "-F", "-I", "256", "-d", directory, "-U", uuid, "-L", "sample"];
    run("mke2fs", &[&fixed[..], arguments, &[image, size]].concat());
}

/// Compares whole walks, with a message of what differs first.
fn assert_same(found: &Shown, wanted: &Shown, what: &str) {
    assert_eq!(found.gaps, [], "{what}");
    for (found, wanted) in found.entries.iter().zip(&wanted.entries) {
        assert_eq!(found, wanted, "{what}");
    }
    assert_eq!(found.entries.len(), wanted.entries.len(), "{what}");
    for (path, wanted) in &wanted.contents {
        assert!(found.contents.get(path) == Some(wanted), "{what}: content of {path}");
    }
    assert_eq!(found.contents.len(), wanted.contents.len(), "{what}");
    assert!(found.digests == wanted.digests, "{what}: digests");
}

#[test]
fn every_layout_of_ext_shows_what_its_directory_shows() {
    if !has_tool("mke2fs") || !has_tool("e2fsck") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    sample(&root);
    let wanted = shown_by(&root);
    let image = folder.path().join("image");
    let layouts: &[(&[&str], FsKind)] = &[
        (&["-t", "ext2", "-b", "1024"], FsKind::Ext2),
        (&["-t", "ext2", "-b", "1024", "-I", "128", "-O", "^filetype"], FsKind::Ext2),
        (&["-t", "ext2", "-b", "4096"], FsKind::Ext2),
        (&["-t", "ext3", "-b", "2048", "-j"], FsKind::Ext3),
        (&["-t", "ext4", "-b", "4096", "-O", "extents,64bit,flex_bg,metadata_csum,dir_index"], FsKind::Ext4),
        (&["-t", "ext4", "-b", "1024", "-O", "extents,64bit,metadata_csum,inline_data"], FsKind::Ext4),
        (&["-t", "ext4", "-b", "4096", "-I", "1024", "-O", "extents,inline_data,^64bit"], FsKind::Ext4),
        (&["-t", "ext4", "-b", "1024", "-O", "^extents,flex_bg,uninit_bg,huge_file,dir_nlink"], FsKind::Ext4),
        (&["-t", "ext4", "-b", "1024", "-g", "1024", "-O", "extents,meta_bg,^resize_inode"], FsKind::Ext4),
        (
            &[
                "-t",
                "ext4",
                "-b",
                "4096",
                "-O",
                "extents,64bit,meta_bg,^resize_inode,metadata_csum",
                "-g",
                "2048",
            ],
            FsKind::Ext4,
        ),
        (
            &["-t", "ext4", "-b", "4096", "-O", "extents,sparse_super2,metadata_csum,metadata_csum_seed"],
            FsKind::Ext4,
        ),
        (&["-t", "ext4", "-b", "65536", "-O", "extents,64bit,metadata_csum"], FsKind::Ext4),
        (&["-t", "ext4", "-b", "4096", "-C", "16384", "-O", "extents,bigalloc,64bit"], FsKind::Ext4),
        (&["-t", "ext4", "-b", "4096", "-O", "extents,casefold,large_dir,ea_inode,mmp,quota"], FsKind::Ext4),
    ];
    for (arguments, kind) in layouts {
        for is_hashed in [false, true] {
            let _ = fs::remove_file(&image);
            mke2fs(&image, &root, "128M", arguments);
            if is_hashed {
                // Rebuilds every directory with its index.
                run("e2fsck", &["-fyD", image.to_str().unwrap()]);
            }
            let what = format!("{arguments:?}, hashed: {is_hashed}");
            let tree = ext(&image);
            assert_eq!(tree.identity().kind, *kind, "{what}");
            assert_eq!(tree.identity().uuid.as_deref(), Some("01234567-89ab-cdef-0123-456789abcdef"));
            assert_eq!(tree.identity().label, b"sample");
            assert!(tree.doubts().is_empty(), "{what}: {:?}", tree.doubts());
            assert_same(&shown_in(Arc::new(tree)), &wanted, &what);
        }
    }
}

/// A stored image, unpacked.
fn fixture(name: &str) -> Vec<u8> {
    zstd::decode_all(&*crate::mutate::fixture(name)).unwrap()
}

/// The lines of an expected.tsv: path, type, size or target, sha256.
fn listing(shown: &Shown) -> Vec<String> {
    let line = |entry: &Entry| {
        let path = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
        match &entry.node {
            Node::File(meta) => {
                format!("{path}\tf\t{}\t{}", meta.size_bytes, shown.digests[&entry.path].hex())
            }
            Node::Symlink(target) => format!("{path}\tl\t{}\t", String::from_utf8_lossy(target)),
            Node::Directory(_) => format!("{path}\td\t\t"),
            _ => format!("{path}\tp\t\t"),
        }
    };
    let mut lines: Vec<String> = shown.entries.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn a_journal_is_replayed_in_memory() {
    for name in ["ext4-dirty", "ext3-dirty"] {
        let expected =
            String::from_utf8(crate::mutate::fixture(&format!("disks/{name}.expected.tsv"))).unwrap();
        let mut expected: Vec<&str> = expected.lines().collect();
        expected.sort_unstable();
        let bytes = fixture(&format!("disks/{name}.img.zst"));
        let tree = ext_on(Arc::new(bytes.clone())).unwrap();
        assert!(tree.doubts().is_empty(), "{name}: {:?}", tree.doubts());
        let shown = shown_in(Arc::new(tree));
        assert_eq!(shown.gaps, [], "{name}");
        assert_eq!(listing(&shown), expected, "{name}");

        // The journal matters: a reader that passes it over shows something else.
        let mut passed_over = bytes;
        passed_over[1024 + 0x60] &= !4;
        let shown = shown_in(Arc::new(ext_on(Arc::new(passed_over)).unwrap()));
        assert!(!shown.gaps.is_empty() || listing(&shown) != expected, "{name}");
    }
}

#[test]
fn journals_of_every_form_are_replayed_as_e2fsck_does() {
    if !["mke2fs", "debugfs", "e2fsck"].into_iter().all(has_tool) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("a"), noise(40_000)).unwrap();
    fs::write(root.join("b"), noise(9_000)).unwrap();
    let (image, data) = (folder.path().join("image"), folder.path().join("data"));
    let mut logged = noise(8 * 1024);
    logged[1024..1028].copy_from_slice(&[0xc0, 0x3b, 0x39, 0x98]);
    fs::write(&data, &logged).unwrap();
    let image_name = image.to_str().unwrap();
    for (features, open) in [
        ("has_journal,extents,64bit,metadata_csum", "jo -c"),
        ("has_journal,extents,64bit,metadata_csum", "jo -c -v 3"),
        ("has_journal,extents,metadata_csum,^64bit", "jo -c -v 2"),
        ("has_journal,extents,64bit,metadata_csum", "jo -c -v 2"),
        ("has_journal,^extents,^64bit", "jo"),
        ("has_journal,extents,64bit", "jo"),
    ] {
        let _ = fs::remove_file(&image);
        mke2fs(&image, &root, "16M", &["-b", "1024", "-J", "size=1", "-O", features]);
        let blocks = run("debugfs", &["-R", "blocks /a", image_name]);
        let blocks: Vec<&str> = blocks.split_whitespace().take(8).collect();
        let commands = folder.path().join("commands");
        let (first, second) = (blocks.join(","), blocks[..3].join(","));
        let data = data.to_str().unwrap();
        let text = format!(
            "{open}\njw -b {first} {data}\njw -r {second}\njc\n{open}\njw -b {},{} {data}\njc\n",
            blocks[1], blocks[7]
        );
        fs::write(&commands, text).unwrap();
        run("debugfs", &["-w", "-f", commands.to_str().unwrap(), image_name]);
        let tree = ext(&image);
        assert!(tree.doubts().is_empty(), "{features} {open}: {:?}", tree.doubts());
        let found = shown_in(Arc::new(tree));
        run("e2fsck", &["-fy", "-E", "journal_only", image_name]);
        let wanted = shown_in(Arc::new(ext(&image)));
        assert_same(&found, &wanted, &format!("{features} {open}"));
        assert_ne!(found.contents, shown_by(&root).contents, "{features} {open}: nothing was logged");
    }
}

#[test]
fn extents_in_pieces_and_never_written_are_read_as_debugfs_reads_them() {
    if !has_tool("mke2fs") || !has_tool("debugfs") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("big"), noise(6 << 20)).unwrap();
    let image = folder.path().join("image");
    for features in ["extents,64bit,metadata_csum", "^extents,^64bit"] {
        let _ = fs::remove_file(&image);
        mke2fs(&image, &root, "32M", &["-b", "1024", "-O", features]);
        let commands = folder.path().join("commands");
        // Every third block goes, so that the tree of extents gets two levels; some come back unwritten.
        let mut text: String = (0..2000).map(|n| format!("punch /big {0} {0}\n", n * 3)).collect();
        if features.starts_with("extents") {
            text += "fallocate /big 300 900\nfallocate /big 6100 6300\n";
        }
        fs::write(&commands, text).unwrap();
        run("debugfs", &["-w", "-f", commands.to_str().unwrap(), image.to_str().unwrap()]);
        let dumped = folder.path().join("dumped");
        run("debugfs", &["-R", &format!("dump /big {}", dumped.display()), image.to_str().unwrap()]);
        let shown = shown_in(Arc::new(ext(&image)));
        assert_eq!(shown.gaps, []);
        assert!(shown.content("big") == fs::read(&dumped).unwrap(), "{features}");
    }
}

#[test]
fn other_volumes_appear_where_they_are_mounted() {
    if !has_tool("mke2fs") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    for (path, content) in [
        ("etc/os-release", "ID=debian\n"),
        ("usr/lib/a/b", "on /usr"),
        ("usr/lib/os-release", "ID=debian\n"),
        ("var/lib/dpkg/status", "on /var"),
        ("var/log/x", "on /var/log"),
        ("boot/vmlinuz", "on /boot"),
    ] {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), content).unwrap();
    }
    let wanted = shown_by(&root);
    let directory = |wanted: Scope<'_>| {
        visit(&DirectoryStratum::new(&root, Arc::new(Limits::default())), wanted, Want::Random, true).unwrap()
    };
    let only: Vec<ImagePath> = [
        "etc/os-release",
        "usr/lib",
        "usr/lib/a/b",
        "usr/none",
        "var/lib/dpkg/status",
        "var/log",
        "boot/vmlinuz/x",
    ]
    .map(ImagePath::from)
    .to_vec();
    let wanted_only = directory(Scope::Only(&only));
    let mut mounts = Vec::new();
    for point in ["var/log", "var", "usr", "boot", ""] {
        let image = folder.path().join(format!("image-{}", point.replace('/', "-")));
        mke2fs(&image, &root.join(point), "4M", &["-b", "1024"]);
        run("debugfs", &["-w", "-R", "rmdir lost+found", image.to_str().unwrap()]);
        mounts.push(Mount::new(ImagePath::from(point), Arc::new(ext(&image)), format!("volume {point}")));
        if !point.is_empty() {
            fs::remove_dir_all(root.join(point)).unwrap();
            fs::create_dir(root.join(point)).unwrap();
        }
    }
    let stratum = stratum(mounts);
    assert_same(&visit(&stratum, Scope::All, Want::Random, true).unwrap(), &wanted, "all");
    assert_same(&visit(&stratum, Scope::Only(&only), Want::Random, true).unwrap(), &wanted_only, "only");
    let everything = [ImagePath::root()];
    assert_same(&visit(&stratum, Scope::Only(&everything), Want::Random, true).unwrap(), &wanted, "the root");
}

/// Counts what is read of a volume.
struct Counted {
    bytes: Vec<u8>,
    reads: AtomicU64,
}

impl ReadAt for Counted {
    fn size_bytes(&self) -> u64 {
        self.bytes.size_bytes()
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.bytes.read_exact_at(offset, dst)
    }
}

#[test]
fn a_look_up_reads_little() {
    if !has_tool("mke2fs") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    sample(&root);
    fs::create_dir_all(root.join("var/lib/dpkg")).unwrap();
    fs::write(root.join("var/lib/dpkg/status"), noise(100_000)).unwrap();
    let image = folder.path().join("image");
    mke2fs(&image, &root, "256M", &["-b", "4096", "-O", "extents,64bit,flex_bg"]);
    let volume = Arc::new(Counted { bytes: fs::read(&image).unwrap(), reads: AtomicU64::new(0) });
    let stratum = whole(Arc::new(ext_on(volume.clone()).unwrap()));
    let paths =
        ["etc/os-release", "lib/apk/db/installed", "var/lib/dpkg/status", "var/lib/rpm"].map(ImagePath::from);
    let shown = visit(&stratum, Scope::Only(&paths), Want::Random, false).unwrap();
    assert_eq!(shown.content("var/lib/dpkg/status"), noise(100_000));
    assert_eq!(
        shown.names(),
        ["/etc dir", "/var dir", "/var/lib dir", "/var/lib/dpkg dir", "/var/lib/dpkg/status file"]
    );
    let reads = volume.reads.load(Ordering::Relaxed);
    assert!(reads <= 12, "{reads} reads");
}

/// Reads every file's head; what cannot be read of it is a gap, as it is with collectors.
struct Tolerant(Recorder);

impl Sink for Tolerant {
    fn request(&self, entry: &Entry) -> Request {
        self.0.request(entry)
    }

    fn file(&self, entry: &Entry, content: &dyn ReadAt) {
        let mut head = [0; 1024];
        let len = usize::try_from(content.size_bytes()).unwrap_or(usize::MAX).min(head.len());
        if let Err(error) = content.read_exact_at(0, &mut head[..len]) {
            self.gap(Gap { place: entry.path.to_string(), reason: error.to_string(), required: true });
        }
    }

    fn gap(&self, gap: Gap) {
        self.0.gap(gap);
    }
}

fn tolerant(tree: Arc<dyn FileTree>) -> Shown {
    let sink = Tolerant(Recorder::new(Want::Random, false));
    whole(tree).visit(Scope::All, &sink).unwrap();
    sink.0.shown.into_inner().unwrap()
}

/// Whatever the bytes: no panic, an end, and what is missing is told.
fn survives(bytes: Vec<u8>) -> (Option<Shown>, Vec<String>) {
    let Ok(tree) = ext_on(Arc::new(bytes)) else { return (None, Vec::new()) };
    let doubts = tree.doubts().iter().map(ToString::to_string).collect();
    (Some(tolerant(Arc::new(tree))), doubts)
}

#[test]
fn damage_never_goes_unsaid() {
    if !has_tool("mke2fs") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    for number in 0..40 {
        fs::write(root.join(format!("a/file-{number}")), noise(number * 100)).unwrap();
    }
    symlink("x".repeat(100), root.join("a/b/link")).unwrap();
    let image = folder.path().join("image");
    for (features, has_sums) in [("extents,64bit,metadata_csum", true), ("^extents,^64bit", false)] {
        let _ = fs::remove_file(&image);
        mke2fs(&image, &root, "1M", &["-b", "1024", "-N", "64", "-O", features]);
        let bytes = fs::read(&image).unwrap();
        let (whole, doubts) = survives(bytes.clone());
        let whole = whole.unwrap();
        assert!(whole.gaps.is_empty() && doubts.is_empty());
        for len in (0..bytes.len()).step_by(4999) {
            let (shown, doubts) = survives(bytes[..len].to_vec());
            assert!(shown.is_none() || !doubts.is_empty(), "cut off at {len}");
        }
        let mut flipped = bytes.clone();
        for at in (1024..bytes.len().min(200_000)).step_by(if has_sums { 101 } else { 53 }) {
            for bit in [0x01, 0xff] {
                flipped[at] ^= bit;
                let (shown, doubts) = survives(flipped.clone());
                flipped[at] ^= bit;
                if has_sums && let Some(shown) = shown {
                    let is_told = !doubts.is_empty() || !shown.gaps.is_empty();
                    // What a link holds is data, without a checksum.
                    let is_same = names(&shown) == names(&whole);
                    assert!(is_told || is_same, "byte {at:#x}, bits {bit:#x}");
                }
            }
        }
    }
}

#[test]
fn damaged_journals_are_told() {
    let bytes = fixture("disks/ext4-dirty.img.zst");
    let (whole, doubts) = survives(bytes.clone());
    let whole = whole.unwrap();
    assert!(whole.gaps.is_empty() && doubts.is_empty());
    let magic = [0xc0, 0x3b, 0x39, 0x98];
    let starts: Vec<usize> =
        (0..bytes.len()).step_by(1024).filter(|at| bytes[*at..].starts_with(&magic)).collect();
    assert!(starts.len() > 5);
    let mut flipped = bytes;
    for start in starts {
        for at in [4, 8, 12, 16, 20, 24, 28, 32, 44, 48, 60, 200, 1020] {
            flipped[start + at] ^= 0x41;
            let (shown, _) = survives(flipped.clone());
            assert!(shown.is_some());
            flipped[start + at] ^= 0x41;
        }
    }
}

/// Foreign disks, where they are: `KARAT_DISK_CORPUS` names a folder with `ext4-view`, `e2fsprogs` and `truth`.
#[test]
fn foreign_images_are_listed_as_sleuthkit_does_or_refused() {
    let Some(corpus) = std::env::var_os("KARAT_DISK_CORPUS").map(PathBuf::from) else { return };
    for name in ["test_disk1", "test_disk_ext2", "test_disk_ext3"] {
        let bytes = File::open(corpus.join(format!("ext4-view/{name}.bin.zst"))).unwrap();
        let bytes = zstd::decode_all(bytes).unwrap();
        let truth = fs::read(corpus.join(format!("truth/ext4-view_{name}.fls.tsv"))).unwrap();
        let truth = String::from_utf8_lossy(&truth);
        let tree = ext_on(Arc::new(bytes)).unwrap();
        assert!(tree.doubts().is_empty(), "{name}: {:?}", tree.doubts());
        let shown = visit(&whole(Arc::new(tree)), Scope::All, Want::No, false).unwrap();
        println_gaps(name, &shown);
        let found: BTreeMap<String, char> = shown
            .entries
            .iter()
            .map(|entry| {
                let kind = match entry.node {
                    Node::File(_) => 'r',
                    Node::Directory(_) => 'd',
                    Node::Symlink(_) => 'l',
                    _ => 'p',
                };
                (String::from_utf8_lossy(entry.path.as_bytes()).into_owned(), kind)
            })
            .collect();
        let wanted: BTreeMap<String, char> = truth
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains(" * "))
            .filter_map(|line| {
                let (kind, rest) = line.split_once(' ')?;
                let path = rest.split('\t').nth(1)?;
                (!path.starts_with('$') && !path.starts_with("encrypted_dir/"))
                    .then(|| (path.to_owned(), kind.chars().next_back().unwrap()))
            })
            .collect();
        assert_eq!(found.len(), wanted.len(), "{name}");
        assert!(found == wanted, "{name}");
    }
    let mut names: Vec<PathBuf> = fs::read_dir(corpus.join("e2fsprogs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "gz"))
        .collect();
    names.sort();
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(
            &mut flate2::read::MultiGzDecoder::new(File::open(&path).unwrap()),
            &mut bytes,
        )
        .unwrap();
        match ext_on(Arc::new(bytes)) {
            Err(error) => println_line(&format!("{name}: refused: {error}")),
            Ok(tree) => {
                let shown = tolerant(Arc::new(tree));
                println_line(&format!("{name}: {} entries", shown.entries.len()));
                println_gaps(&name, &shown);
            }
        }
    }
}

fn println_gaps(name: &str, shown: &Shown) {
    for gap in shown.gaps.iter().take(4) {
        println_line(&format!("{name}: {}: {}", gap.place, gap.reason));
    }
}

#[allow(clippy::print_stderr, reason = "seen with --nocapture, by who compares with e2fsck")]
fn println_line(line: &str) {
    eprintln!("{line}");
}

/// What an inventory says of a stratum, and in what it found gaps.
fn inventory_of(stratum: &dyn Stratum) -> (String, Vec<Gap>) {
    let limits = Limits::default();
    let needs = Needs::OS_PACKAGES | Needs::HISTORY;
    let collectors = crate::memory::serving(needs);
    let mut places: Vec<ImagePath> =
        collectors.iter().flat_map(|c| c.places()).map(|place| ImagePath::from(*place)).collect();
    places.sort();
    places.dedup();
    let facts = gather(stratum, Scope::Only(&places), &collectors, &limits).unwrap();
    let mut squashed = squash(vec![facts]);
    follow_up(&mut squashed, &[stratum], &collectors, &limits, &());
    let assembled = assemble(&squashed, needs, &limits);
    (serde_json::to_string(&assembled.system).unwrap(), assembled.gaps)
}

/// A whole root file system on ext4 gives the inventory of its directory. `KARAT_BIG_ROOT` names a larger one.
#[test]
fn a_root_on_a_volume_gives_the_inventory_of_its_directory() {
    if !has_tool("mke2fs") {
        return;
    }
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/production/debian-12");
    let big = std::env::var_os("KARAT_BIG_ROOT").map(PathBuf::from);
    for (root, size) in [(Some(small), "64M"), (big, "3G")] {
        let Some(root) = root else { continue };
        let folder = TempDir::new().unwrap();
        let image = folder.path().join("image");
        mke2fs(&image, &root, size, &["-b", "4096", "-O", "extents,64bit,flex_bg,metadata_csum,dir_index"]);
        let wanted = inventory_of(&DirectoryStratum::new(&root, Arc::new(Limits::default())));
        let started = std::time::Instant::now();
        let stratum = whole(Arc::new(ext(&image)));
        let found = inventory_of(&stratum);
        let looked_up = started.elapsed();
        assert!(found.0.contains("debian") && found.0.len() > 1000);
        assert!(found.0 == wanted.0, "{}", root.display());
        assert_eq!(found.1, wanted.1);
        let started = std::time::Instant::now();
        let shown = visit(&stratum, Scope::All, Want::No, false).unwrap();
        println_line(&format!(
            "{}: looked up in {looked_up:?}, {} entries walked in {:?}",
            root.display(),
            shown.entries.len(),
            started.elapsed()
        ));
        assert_eq!(shown.gaps, []);
    }
}

/// A volume as a partition table would tell of it.
fn volume(number: u32, tree: Result<Arc<dyn FileTree>>) -> root::Volume {
    root::Volume {
        place: format!("partition {number}"),
        disk: 0,
        number: Some(number),
        is_disk: false,
        part_uuid: Some(format!("0000-{number:02}")),
        part_label: Some(format!("part {number}")),
        part_kind: "Linux".to_owned(),
        holds_none: false,
        logical: (number == 4).then(|| ("vg-0".to_owned(), "log".to_owned())),
        tree,
    }
}

#[test]
fn systems_are_found_with_all_that_they_mount() {
    if !has_tool("mke2fs") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let make = |name: &str, label: &str, files: &[(&str, &str)]| -> Arc<dyn FileTree> {
        let directory = folder.path().join(name);
        for (path, content) in files {
            fs::create_dir_all(directory.join(path).parent().unwrap()).unwrap();
            match content.strip_prefix("-> ") {
                Some(target) => symlink(target, directory.join(path)).unwrap(),
                None => fs::write(directory.join(path), content).unwrap(),
            }
        }
        let image = folder.path().join(format!("{name}.img"));
        mke2fs(&image, &directory, "2M", &["-b", "1024", "-L", label]);
        Arc::new(ext(&image))
    };
    let fstab = "LABEL=root / ext4 defaults 0 1\nPARTUUID=0000-02 /usr ext4 ro 0 2\n\
        /dev/mapper/vg--0-log /logs ext4 defaults 0 2\n/dev/sda3 /var auto defaults 0 2\n\
        UUID=none /opt ext4 defaults 0 2\nLABEL=data /srv/data ext4 nofail 0 2\nhost:/x /home nfs defaults 0 0\n\
        PARTLABEL=part\\0405 /usr/local ext4 defaults\n/var/cache /usr/cache none bind 0 0\n\
        tmpfs /tmp tmpfs\n/dev/sda9 none swap sw\n";
    let mounted: Vec<(&str, &str)> = vec![
        ("etc/fstab", fstab),
        ("etc/os-release", "-> ../usr/lib/os-release"),
        ("logs", "-> var/log"),
        ("usr/x", ""),
    ];
    let broken = || Err(Error::unsupported("a LUKS volume"));
    let volumes = [
        volume(1, Ok(make("root", "root", &mounted))),
        volume(2, Ok(make("usr", "usr", &[("lib/os-release", "ID=debian\n"), ("local/y", "")]))),
        volume(3, Ok(make("var", "var", &[("lib/dpkg/status", ""), ("cache/apt/z", "")]))),
        volume(4, Ok(make("log", "log", &[("syslog", "")]))),
        volume(5, broken()),
        volume(6, Ok(make("second", "b", &[("etc/os-release", "ID=alpine\n")]))),
        volume(7, Ok(make("home", "home", &[("user/file", "")]))),
    ];
    let systems = root::systems(&volumes, &Limits::default()).systems;
    let [first, second] = &systems[..] else { panic!("{} systems", systems.len()) };
    let points: Vec<String> =
        first.mounts.iter().map(|mount| format!("{} {}", mount.path, mount.place)).collect();
    assert_eq!(
        points,
        [
            "/ partition 1",
            "/usr partition 2",
            "/var/log partition 4",
            "/var partition 3",
            "/usr/cache partition 3",
        ]
    );
    assert_eq!(first.uses.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let gaps: Vec<String> =
        first.gaps.iter().map(|gap| format!("{} {} {}", gap.place, gap.required, gap.reason)).collect();
    assert_eq!(
        gaps,
        [
            "/opt true not found: the volume that fstab names UUID=none",
            "/home false mounted from elsewhere (nfs)",
            "/srv/data false not found: the volume that fstab names LABEL=data",
            "/usr/local true partition 5: not read by this version: a LUKS volume",
        ]
    );
    assert_eq!((second.volume, second.mounts.len(), second.gaps.len()), (5, 1, 0));
    let stratum = stratum(first.mounts.clone());
    let names = visit(&stratum, Scope::All, Want::No, false).unwrap().names();
    for name in [
        "/usr/lib/os-release file",
        "/var/lib/dpkg/status file",
        "/var/log/syslog file",
        "/usr/cache/apt/z file",
    ] {
        assert!(names.iter().any(|shown| shown == name), "{name}: {names:?}");
    }
    assert!(!names.iter().any(|shown| shown == "/usr/x file"), "{names:?}");
}
