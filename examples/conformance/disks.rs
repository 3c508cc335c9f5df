//! Disk images: guest bytes against what qemu-img reads of them, file lists against those of the Sleuth Kit, and
//! damaged ones, which must be refused or say what is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use karat::bytes::{HostFile, ReadAt, Reader};
use karat::codec::{self, Compression};
use karat::error::{Error, Kind};
use karat::limits::Limits;
use karat::model::{Gap, ImagePath, StratumId};
use karat::source::disk::{Folder, NoSiblings, open_disk};
use karat::stratum::{Entry, Request, Scope, Sink, Stratum as _, Want};
use karat::tree::{self, BlockCache, FileTree, FsKind, Mount, NodeId, NodeKind, TreeStratum};
use karat::volume::{Role, Volume, volumes};
use sha2::{Digest as _, Sha256};

use super::{Case, Failable, Outcome, difference, files, rows, text};

fn digest(data: &dyn ReadAt) -> Failable<String> {
    let mut hash = Sha256::new();
    let mut reader = Reader::new(data);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            len => hash.update(&buffer[..len]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A disk, or the only file of a compressed one.
fn open(path: &Path) -> karat::error::Result<Arc<dyn ReadAt>> {
    let limits = Limits::default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if [".gz", ".xz", ".zst"].iter().any(|end| name.ends_with(end)) {
        let stored = fs::read(path)?;
        let mut bytes = Vec::new();
        codec::decoder(Compression::of(&stored), &stored[..], &limits)?.read_to_end(&mut bytes)?;
        return Ok(open_disk("disk", Arc::new(bytes), &NoSiblings, &limits)?.data);
    }
    let file = Arc::new(HostFile::new(File::open(path)?)?);
    let folder = Folder::new(path.parent().unwrap_or(Path::new(".")), &[].into());
    Ok(open_disk(&name, file, &folder, &limits)?.data)
}

/// The guest bytes of every image of the list; then parents, tables, and what must be refused.
pub(crate) fn disks(root: &Path) -> Failable<Outcome> {
    let root = root.join("disks");
    let mut cases = Vec::new();
    for row in rows(root.join("truth/raw-sha256.tsv"))? {
        let [name, _, size, want] = row.as_slice() else { continue };
        let failure = match open(&root.join(name)) {
            Err(error) => Some(error.to_string()),
            Ok(data) if data.size_bytes().to_string() != *size => {
                Some(format!("{} bytes against {size}", data.size_bytes()))
            }
            Ok(data) => match digest(&*data)? {
                found if found == *want => None,
                found => Some(format!("{found} against {want}")),
            },
        };
        cases.push(Case::new(name, failure));
    }
    let differencing = "dfvfs/image-differential.vhd";
    let why = "neither copy of its footer has the sum of its bytes; qemu-img refuses it too";
    let failure = refused(&root.join(differencing));
    cases.push(Case { note: Some(why.into()), ..Case::new(differencing, failure) });
    cases.push(Case::new("libguestfs/mbr-ext2-empty.img.gz", empty_ext2(&root)?));
    for name in ["qcow2/testdata/invalid.qcow2", "vdi/testdata/invalid.vdi", "vmdk/testdata/invalid.vmdk"] {
        cases.push(Case::new(format!("scalibr/{name}"), refused(&root.join("scalibr").join(name))));
    }
    for name in ["libqcow/file_header.1", "libvhdi/file_footer.1", "libvhdi/file_identifier.1"] {
        cases.push(Case::new(name, refused(&root.join(name))));
    }
    Ok(Outcome::Cases(cases))
}

/// Why a file is taken for something readable; `None` if it is refused, whole or by its only volume.
fn refused(path: &Path) -> Option<String> {
    let data = open(path).ok()?;
    let layout = volumes(&data, &Limits::default()).ok()?;
    let is_readable = layout.volumes.iter().any(|volume| volume.role == Role::Candidate);
    is_readable.then(|| "a volume of it is read".to_owned())
}

/// A boot record with one empty ext2.
fn empty_ext2(root: &Path) -> Failable<Option<String>> {
    let disk = open(&root.join("libguestfs/mbr-ext2-empty.img.gz"))?;
    let layout = volumes(&disk, &Limits::default())?;
    let found: Vec<_> = layout.volumes.iter().map(|volume| (volume.number, volume.probed.kind)).collect();
    Ok((found != [(Some(1), FsKind::Ext2)]).then(|| format!("{found:?}")))
}

// --- file lists -----------------------------------------------------------------------------------------------

/// Where the images lie that have a list of files: of the list `NAME.fls.tsv`.
const LISTED: &[(&str, &str)] = &[
    ("dfimagetools_image.qcow2", "dfimagetools/image.qcow2"),
    ("dfvfs_ext2.qcow2", "dfvfs/ext2.qcow2"),
    ("dfvfs_ext2.vhd", "dfvfs/ext2.vhd"),
    ("dfvfs_ext2.vmdk", "dfvfs/ext2.vmdk"),
    ("dfvfs_iso9660", "dfvfs/iso9660.raw"),
    ("ext4-view_test_disk1", "ext4-view/test_disk1.bin.zst"),
    ("ext4-view_test_disk_ext2", "ext4-view/test_disk_ext2.bin.zst"),
    ("ext4-view_test_disk_ext3", "ext4-view/test_disk_ext3.bin.zst"),
    ("ntfs_testfs1", "ntfs/testfs1"),
    (
        "scalibr_qcow2_testdata_valid-ext-exfat-fat32-ntfs.qcow2",
        "scalibr/qcow2/testdata/valid-ext-exfat-fat32-ntfs.qcow2",
    ),
];

/// What the Sleuth Kit lists for a kind of file system.
struct Lister {
    /// Its name there.
    name: &'static str,
    /// Whether its numbers of files are inode numbers of the file system.
    has_inodes: bool,
    /// What it lists beside what the file system shows, for people; told by [`is_own`].
    note: Option<&'static str>,
    /// The name that Linux shows for a path as it is stored.
    shown_as: fn(&str) -> String,
    /// Why it is not read.
    unread: Option<&'static str>,
}

/// A kind whose names Linux shows as they are stored.
const STORED: Lister =
    Lister { name: "", has_inodes: false, note: None, shown_as: str::to_owned, unread: None };

/// All kinds with lists: a tree that is read is compared as soon as `tree::open` knows its kind.
const LISTERS: &[Lister] = &[
    Lister { name: "ext2", has_inodes: true, ..STORED },
    Lister { name: "ext3", has_inodes: true, ..STORED },
    Lister { name: "ext4", has_inodes: true, ..STORED },
    Lister { name: "xfs", has_inodes: true, ..STORED },
    Lister {
        name: "iso9660",
        note: Some("names without extensions, which Linux shows in small letters"),
        shown_as: str::to_lowercase,
        ..STORED
    },
    Lister { name: "fat32", ..STORED },
    Lister { name: "exfat", ..STORED },
    Lister {
        name: "ntfs",
        note: Some("metadata files and streams are not compared"),
        unread: Some("by design, for no Linux has its root on it"),
        ..STORED
    },
];

/// Names that the Sleuth Kit makes up, and files that hold the file system itself.
fn is_own(path: &str) -> bool {
    path.starts_with('$') || path.contains(" (Volume Label Entry)")
}

/// The files that one volume has by a list: `kind inode path size`.
struct Listed {
    offset: u64,
    lister: Option<&'static Lister>,
    name: String,
    files: BTreeSet<String>,
}

fn listed(list: &str) -> Failable<Vec<Listed>> {
    let mut all: Vec<Listed> = Vec::new();
    for line in list.lines() {
        if let Some(about) = line.strip_prefix("# partition offset_sectors=") {
            let (sectors, name) = about.split_once(" fstype=").ok_or("no fstype")?;
            let lister = LISTERS.iter().find(|lister| lister.name == name);
            let offset = sectors.parse::<u64>()? * 512;
            all.push(Listed { offset, lister, name: name.to_owned(), files: BTreeSet::new() });
            continue;
        }
        let (Some((about, rest)), Some(last)) = (line.split_once(":\t"), all.last_mut()) else { continue };
        let (kind, inode) = about.split_once(' ').ok_or("no inode")?;
        let (path, size) = rest.rsplit_once('\t').ok_or("no size")?;
        let is_deleted = inode.starts_with('*') || !kind.starts_with(['r', 'd', 'l']);
        if !is_deleted && !is_own(path) {
            let kind = kind.chars().next().unwrap_or('-');
            let inode = if last.lister.is_some_and(|lister| lister.has_inodes) { inode } else { "-" };
            let size = if kind == 'd' { "-" } else { size };
            let path = last.lister.map_or_else(|| path.to_owned(), |lister| (lister.shown_as)(path));
            last.files.insert(format!("{kind} {inode} {path} {size}"));
        }
    }
    Ok(all)
}

/// What is listed, and what is not read, by path.
type Shown = (BTreeSet<String>, Vec<(String, Error)>);

/// What a tree has, said as a list says it, every file read whole; and what it says that it does not read, by path.
fn shown(tree: &dyn FileTree, has_inodes: bool) -> karat::error::Result<Shown> {
    let mut all = BTreeSet::new();
    let mut not_read = Vec::new();
    let mut todo = vec![(String::new(), tree.root())];
    while let Some((above, directory)) = todo.pop() {
        let mut names: Vec<(String, NodeId)> = Vec::new();
        let listed = tree.read_dir(directory, &mut |entry| {
            names.push((format!("{above}{}", String::from_utf8_lossy(entry.name)), entry.node));
            Ok(())
        });
        match listed {
            Err(error) if matches!(error.kind(), Kind::Unsupported { .. }) => {
                not_read.push((above.clone(), error))
            }
            other => other?,
        }
        for (path, node) in names {
            let meta = tree.meta(node)?;
            let inode = if has_inodes { node.number.to_string() } else { "-".into() };
            let (kind, size) = match meta.kind {
                NodeKind::Directory => ('d', "-".to_owned()),
                NodeKind::Symlink => ('l', tree.read_link(node)?.len().to_string()),
                NodeKind::File => ('r', whole(&*tree.open(node)?)?.to_string()),
                NodeKind::Special => ('s', meta.size_bytes.to_string()),
            };
            all.insert(format!("{kind} {inode} {path} {size}"));
            if meta.kind == NodeKind::Directory {
                todo.push((format!("{path}/"), node));
            }
        }
    }
    Ok((all, not_read))
}

/// How many bytes a file has, read to its end.
fn whole(content: &dyn ReadAt) -> karat::error::Result<u64> {
    Ok(std::io::copy(&mut Reader::new(content), &mut std::io::sink())?)
}

/// Opens what lies on a volume.
fn open_tree(volume: &Volume) -> karat::error::Result<Arc<dyn FileTree>> {
    let limits = Arc::new(Limits::default());
    let Some(data) = &volume.data else {
        return Err(Error::unsupported(format!("{}: {:?}", volume.place, volume.role)));
    };
    tree::open(volume.probed.kind, Arc::clone(data), &BlockCache::new(&limits), &limits)
}

/// The files of every volume that the Sleuth Kit lists.
pub(crate) fn trees(root: &Path) -> Failable<Outcome> {
    let root = root.join("disks");
    let mut cases = Vec::new();
    for path in files(&root.join("truth"))? {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".fls.tsv") else { continue };
        let lists = listed(&text(&path)?)?;
        let Some((_, image)) = LISTED.iter().find(|(list, _)| *list == name) else {
            if lists.iter().any(|list| !list.files.is_empty()) {
                cases.push(Case::new(name, Some("no image is known for this list".into())));
            }
            continue;
        };
        let disk = open(&root.join(image))?;
        let layout = volumes(&disk, &Limits::default())?;
        for list in lists {
            let volume = layout
                .volumes
                .iter()
                .find(|volume| volume.ranges.first().is_some_and(|range| range.start == list.offset));
            let (failure, told) = match volume {
                None => (Some(format!("no volume begins at byte {}", list.offset)), None),
                Some(volume) => match open_tree(volume) {
                    Err(error) => {
                        let why = list.lister.and_then(|lister| lister.unread);
                        (Some(why.map_or_else(|| error.to_string(), |why| format!("{error}; {why}"))), None)
                    }
                    Ok(tree) => compared(&*tree, &list),
                },
            };
            let note = told.or_else(|| list.lister.and_then(|lister| lister.note).map(str::to_owned));
            cases.push(Case { note, ..Case::new(format!("{image} {}", list.name), failure) });
        }
    }
    Ok(Outcome::Cases(cases))
}

/// What differs, and what a reader should know. What the tree says that it does not read is no difference.
fn compared(tree: &dyn FileTree, list: &Listed) -> (Option<String>, Option<String>) {
    if let Some(doubt) = tree.doubts().first() {
        return (Some(doubt.to_string()), None);
    }
    let (shown, not_read) = match shown(tree, list.lister.is_some_and(|lister| lister.has_inodes)) {
        Err(error) => return (Some(error.to_string()), None),
        Ok(shown) => shown,
    };
    let is_told = |line: &&String| {
        let path = line.splitn(3, ' ').nth(2).unwrap_or_default();
        not_read.iter().any(|(directory, _)| path.starts_with(directory.as_str()))
    };
    let (told, want): (BTreeSet<&String>, BTreeSet<&String>) = list.files.iter().partition(is_told);
    let want = want.into_iter().cloned().collect();
    let note = not_read.first().map(|(directory, error)| {
        format!("{} files below /{directory} are told as a gap: {error}", told.len())
    });
    (difference(&shown, &want), note)
}

// --- damage ---------------------------------------------------------------------------------------------------

/// What must come of a damaged image.
#[derive(Clone, Copy)]
enum Damage {
    /// What is damaged is a gap with a place that has this in it, or the whole is refused.
    Told(&'static str),
    /// All entries, so many, can be had in spite of it, for this reason.
    Harmless(u64, &'static str),
}

/// The images of e2fsprogs' and btrfs-progs' own tests, and what e2fsck(8) and btrfs-check(8) find wrong with them.
const DAMAGED: &[(&str, Damage)] = &[
    (
        "e2fsprogs/f_16384_block.image.gz",
        Damage::Harmless(1, "nothing is wrong: blocks are larger than pages"),
    ),
    ("e2fsprogs/f_bad_encryption.image.gz", Damage::Told("an encrypted directory")),
    ("e2fsprogs/f_baddir.image.gz", Damage::Told("foo/bar")),
    ("e2fsprogs/f_badjourblks.image.gz", Damage::Harmless(1, "a broken journal that need not be replayed")),
    (
        "e2fsprogs/f_cloneblock_alloc_error.image.gz",
        Damage::Harmless(4, "sizes are as inodes say and two files have one block: the kernel reads them so"),
    ),
    ("e2fsprogs/f_convert_bmap.image.gz", Damage::Harmless(2, "nothing is wrong: a block map")),
    ("e2fsprogs/f_dup3.image.gz", Damage::Told("/lost+found")),
    ("e2fsprogs/f_dup_de.image.gz", Damage::Told("modules.conf.old")),
    ("e2fsprogs/f_expand.image.gz", Damage::Harmless(2, "nothing is wrong")),
    ("e2fsprogs/f_ext_journal.image.gz", Damage::Told("a journal on another device")),
    ("e2fsprogs/f_extent_leaf_bad_csum.image.gz", Damage::Told("ext extent header: checksum")),
    ("e2fsprogs/f_extents.image.gz", Damage::Told("/fbad-flag")),
    (
        "e2fsprogs/f_h_badnode.image.gz",
        Damage::Harmless(47720, "only an index is broken, and as many entries are there as after e2fsck"),
    ),
    (
        "e2fsprogs/f_h_badroot.image.gz",
        Damage::Harmless(1911, "only indexes are broken, and as many entries are there as after e2fsck"),
    ),
    ("e2fsprogs/f_holedir3.image.gz", Damage::Told("/dir")),
    ("e2fsprogs/f_htree_bad_csum.image.gz", Damage::Told("ext directory: checksum")),
    ("e2fsprogs/f_lpf.image.gz", Damage::Harmless(2, "inodes without a name are nowhere in the tree")),
    ("e2fsprogs/f_misstable.image.gz", Damage::Told("ext group descriptor: inode_table")),
    ("e2fsprogs/f_zero_group.image.gz", Damage::Told("ext group descriptor: inode_table")),
    (
        "btrfs-progs/convert-tests/020-refuse-needs-recovery/ext4.raw.xz",
        Damage::Harmless(1, "an ext4 whose journal is replayed in memory"),
    ),
    (
        "btrfs-progs/fsck-tests/014-no-extent-info/no_extent.raw.xz",
        Damage::Harmless(100, "only the extent tree lacks an item, which says what is free"),
    ),
    (
        "btrfs-progs/fsck-tests/020-extent-ref-cases/block_group_item_false_alert.raw.xz",
        Damage::Harmless(51, "nothing is wrong, says btrfs-check"),
    ),
    (
        "btrfs-progs/fsck-tests/022-qgroup-rescan-halfway/qgroup_rescan_halfway.raw.xz",
        Damage::Harmless(128, "nothing is wrong: quotas are half counted"),
    ),
    (
        "btrfs-progs/fsck-tests/027-bad-extent-inline-ref-type/bad-extent-inline-ref-type.raw.xz",
        Damage::Harmless(0, "only the extent tree is damaged, which says what is free"),
    ),
    (
        "btrfs-progs/fsck-tests/028-unaligned-super-dev-sizes/dev_and_super_mismatch_unaligned.raw.xz",
        Damage::Harmless(0, "only the sums of device sizes differ, by less than a block"),
    ),
    (
        "btrfs-progs/fsck-tests/042-half-dropped-inode/default.raw.xz",
        Damage::Harmless(1, "an inode that lost its name is half dropped, and nowhere in the tree"),
    ),
    (
        "btrfs-progs/fsck-tests/055-super-num-devs-mismatch/default.raw.xz",
        Damage::Harmless(
            0,
            "the superblock counts eight devices, and there is one item of a device: the kernel mends the count",
        ),
    ),
    ("btrfs-progs/fuzz-tests/images/bad-superblock-2.raw.xz", Damage::Told("btrfs superblock: checksum")),
    ("btrfs-progs/fuzz-tests/images/bad-superblock-3.raw.xz", Damage::Told("btrfs superblock: checksum")),
    (
        "btrfs-progs/fuzz-tests/images/bko-104141-fsck-exception.raw.xz",
        Damage::Told("cut off in its superblock"),
    ),
    (
        "btrfs-progs/fuzz-tests/images/bko-153641-unaligned-tree-block-bytenr.raw.xz",
        Damage::Told("btrfs block: key"),
    ),
    (
        "btrfs-progs/fuzz-tests/images/bko-154961-heap-overflow-chunk-items.raw.xz",
        Damage::Harmless(
            0,
            "a chunk item in the root tree is passed over, as btrfs-check does; the file tree is empty",
        ),
    ),
    (
        "btrfs-progs/fuzz-tests/images/bko-155151-bad-block-group-offset.raw.xz",
        Damage::Harmless(0, "only the extent tree is damaged, which says what is free"),
    ),
    (
        "btrfs-progs/fuzz-tests/images/bko-155181-unaligned-extent-item.raw.xz",
        Damage::Harmless(0, "only the extent tree is damaged, which says what is free"),
    ),
    (
        "btrfs-progs/fuzz-tests/images/bko-155201-wrong-chunk-item-in-root-tree.raw.xz",
        Damage::Harmless(
            0,
            "a chunk item in the root tree is passed over, as btrfs-check does; the file tree is empty",
        ),
    ),
    (
        "btrfs-progs/fuzz-tests/images/bko-155621-bad-block-group-offset.raw.xz",
        Damage::Harmless(0, "only the extent tree is damaged, which says what is free"),
    ),
    (
        "btrfs-progs/fuzz-tests/images/bko-156471-ubsan-trigger-crc32c-unaligned.raw.xz",
        Damage::Told("btrfs block: fsid"),
    ),
    ("btrfs-progs/fuzz-tests/images/bko-156741.raw.xz", Damage::Told("btrfs root item: root_dirid")),
    (
        "btrfs-progs/fuzz-tests/images/bko-156811-bad-parent-ref-qgroup-verify.raw.xz",
        Damage::Told("btrfs block: level"),
    ),
    ("btrfs-progs/fuzz-tests/images/bko-161821.raw.xz", Damage::Told("btrfs block: level")),
    (
        "btrfs-progs/fuzz-tests/images/bko-166361-blocksize-zero.raw.xz",
        Damage::Told("btrfs root item: root_dirid"),
    ),
    ("btrfs-progs/fuzz-tests/images/bko-167781.raw.xz", Damage::Told("btrfs block: level")),
    ("btrfs-progs/fuzz-tests/images/bko-167921.raw.xz", Damage::Told("btrfs directory item: name_len")),
    (
        "btrfs-progs/fuzz-tests/images/bko-169301-1-blocksize-zero.raw.xz",
        Damage::Told("btrfs root item: root_dirid"),
    ),
    ("btrfs-progs/fuzz-tests/images/bko-169301-2-blocksize-zero.raw.xz", Damage::Told("btrfs block: level")),
    ("btrfs-progs/fuzz-tests/images/bko-172811.raw.xz", Damage::Told("btrfs root item: root_dirid")),
];

/// Takes all files whole, and keeps gaps.
#[derive(Default)]
struct All {
    entries: Mutex<u64>,
    gaps: Mutex<Vec<Gap>>,
}

impl Sink for All {
    fn request(&self, _: &Entry) -> Request {
        *self.entries.lock().expect("no panic while it is held") += 1;
        Request::content(Want::Random)
    }

    fn file(&self, entry: &Entry, content: &dyn ReadAt) {
        if let Err(error) = whole(content) {
            self.gap(Gap { place: entry.path.to_string(), reason: error.to_string(), required: true });
        }
    }

    fn gap(&self, gap: Gap) {
        self.gaps.lock().expect("no panic while it is held").push(gap);
    }
}

/// What an image shows and what is lost of it.
fn walked(path: &Path) -> karat::error::Result<(u64, Vec<Gap>)> {
    let disk = open(path)?;
    let limits = Arc::new(Limits::default());
    let layout = volumes(&disk, &limits)?;
    let volume = layout
        .volumes
        .iter()
        .find(|volume| volume.role == Role::Candidate)
        .ok_or_else(|| Error::unsupported("no volume that can be read"))?;
    let tree = open_tree(volume)?;
    let mount = Mount::new(ImagePath::root(), tree, volume.place.clone());
    let all = All::default();
    TreeStratum::new(StratumId(0), vec![mount], limits)?.visit(Scope::All, &all)?;
    let entries = *all.entries.lock().expect("no panic while it was held");
    let gaps = all.gaps.into_inner().expect("no panic while it was held");
    Ok((entries, gaps))
}

/// Damaged images: what is lost is told.
pub(crate) fn damaged(root: &Path) -> Failable<Outcome> {
    let root = root.join("disks");
    let images: Vec<PathBuf> = ["e2fsprogs", "btrfs-progs"]
        .iter()
        .map(|directory| files(&root.join(directory)))
        .collect::<Failable<Vec<_>>>()?
        .concat();
    let known: BTreeMap<&str, Damage> = DAMAGED.iter().copied().collect();
    let mut cases = Vec::new();
    for image in images {
        let name = image.strip_prefix(&root)?.to_string_lossy().into_owned();
        if !(name.ends_with(".gz") || name.ends_with(".xz")) {
            continue;
        }
        let about = known.get(name.as_str()).copied();
        let (failure, note) = match (walked(&image), about) {
            (Err(error), Some(Damage::Told(_))) if !matches!(error.kind(), Kind::Unsupported { .. }) => {
                (None, Some(format!("refused: {error}")))
            }
            (Err(error), _) => (Some(format!("refused: {error}")), None),
            (Ok((entries, gaps)), None) => {
                (Some(format!("not known: {entries} entries, {} gaps: {gaps:?}", gaps.len())), None)
            }
            (Ok((_, gaps)), Some(Damage::Told(place))) => {
                match gaps.iter().find(|gap| gap.place.contains(place) || gap.reason.contains(place)) {
                    Some(gap) => (None, Some(format!("{}: {}", gap.place, gap.reason))),
                    None => (Some(format!("nothing is told of {place}: {gaps:?}")), None),
                }
            }
            (Ok((entries, gaps)), Some(Damage::Harmless(want, why))) => match gaps.first() {
                None if entries == want => (None, Some(why.to_owned())),
                None => (Some(format!("{entries} entries against {want}")), None),
                Some(gap) => (Some(format!("{}: {}", gap.place, gap.reason)), None),
            },
        };
        cases.push(Case { note, ..Case::new(name, failure) });
    }
    Ok(Outcome::Cases(cases))
}
