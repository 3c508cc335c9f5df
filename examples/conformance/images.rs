//! Container images: every archive of `images/truth/archives.tsv` against what skopeo and umoci make of it, and
//! where they make something, every file of the merged root against `images/truth/rootfs`.
//!
//! An archive that they refuse holds if karat refuses it, or reads it incompletely, or if the note says what
//! karat reads that they do not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use karat::bytes::ReadAt;
use karat::codec::SpoolPool;
use karat::layer;
use karat::limits::Limits;
use karat::model::{Gap, ImageKind, ImagePath, Sha256};
use karat::source::{self, Content, Image};
use karat::stratum::{DigestSet, Entry, FileDigests, Node, Request, Scope, Sink, Want};

use super::{Case, Failable, Outcome};

/// One row of the truth.
struct Row<'a> {
    archive: &'a str,
    layers: &'a str,
    digest: &'a str,
    result: &'a str,
}

/// Runs all archives.
pub(super) fn images(directory: &Path) -> Failable<Outcome> {
    let root = directory.join("images");
    let truth = fs::read_to_string(root.join("truth/archives.tsv"))?;
    let mut cases = Vec::new();
    for line in truth.lines().skip(1) {
        let [archive, _, _, layers, digest, _, result] = line.split('\t').collect::<Vec<_>>()[..] else {
            return Err(format!("truth/archives.tsv: {line}").into());
        };
        cases.push(case(&root, &Row { archive, layers, digest, result })?);
    }
    Ok(Outcome::Cases(cases))
}

fn case(root: &Path, row: &Row<'_>) -> Failable<Case> {
    let read = read(&root.join(row.archive));
    let mut case = Case::new(row.archive, None);
    match (row.result, read) {
        ("ok", Ok(mut images)) if images.len() == 1 => {
            let tsv = format!("truth/rootfs/{}.tsv", row.archive.replace('/', "_"));
            let want = fs::read_to_string(root.join(tsv))?;
            let image = images.remove(0);
            case.failure = differs(&image, row, &want);
            case.note = digest_differs(&image, row).then(|| {
                "the truth has the digest of the manifest of the tool's own copy, not of the archive's"
                    .to_owned()
            });
        }
        ("ok", Ok(images)) => case.failure = Some(format!("{} images", images.len())),
        ("ok", Err(error)) => case.failure = Some(error),
        (_, Err(error)) => case.note = Some(format!("refused: {error}")),
        (_, Ok(images)) => case.note = Some(format!("{} images are read whole", images.len())),
    }
    Ok(case)
}

/// An image whose layers are merged.
struct Merged {
    kind: ImageKind,
    digest: Option<Sha256>,
    layers: usize,
    files: BTreeMap<ImagePath, Found>,
}

/// What is at a path.
enum Found {
    File { size_bytes: u64, sha256: Sha256 },
    Other(Node),
}

/// Opens an archive and reads all of its images whole.
fn read(path: &Path) -> Result<Vec<Merged>, String> {
    let limits = Arc::new(Limits::default());
    let platform = "linux/amd64".parse().map_err(|error: karat::error::Error| error.to_string())?;
    let options = source::Options {
        limits: Arc::clone(&limits),
        platform,
        all_platforms: false,
        spool: SpoolPool::new(std::env::temp_dir(), &limits),
    };
    let images = source::open(&path.to_string_lossy(), &options).map_err(|error| error.reason())?;
    images.into_iter().map(|image| merge(image, &limits)).collect()
}

fn merge(image: Image, limits: &Arc<Limits>) -> Result<Merged, String> {
    if let Some(gap) = image.gaps.first() {
        return Err(format!("{}: {}", gap.place, gap.reason));
    }
    let options = layer::Options {
        limits: Arc::clone(limits),
        spool: SpoolPool::new(std::env::temp_dir(), limits),
        progress: Arc::new(AtomicU64::new(0)),
    };
    let set = match image.content.map_err(|error| error.to_string())? {
        Content::Layers(set) => set,
        Content::Directory(_) | Content::Document(_) => return Err("no layers".into()),
    };
    let mut merged = Merged {
        kind: image.info.kind,
        digest: image.info.digest,
        layers: set.layers.len(),
        files: BTreeMap::new(),
    };
    for stratum in layer::strata(set, &options) {
        let upper = Upper::default();
        stratum.visit(Scope::All, &upper).map_err(|error| error.to_string())?;
        put_over(&mut merged.files, upper.0.into_inner().map_err(|error| error.to_string())?)?;
    }
    Ok(merged)
}

/// What one layer shows.
#[derive(Default)]
struct Upper(Mutex<Shown>);

#[derive(Default)]
struct Shown {
    entries: Vec<Entry>,
    digests: BTreeMap<ImagePath, Sha256>,
    gaps: Vec<Gap>,
}

impl Upper {
    fn with(&self, put: impl FnOnce(&mut Shown)) {
        if let Ok(mut shown) = self.0.lock() {
            put(&mut shown);
        }
    }
}

impl Sink for Upper {
    fn request(&self, entry: &Entry) -> Request {
        self.with(|shown| shown.entries.push(entry.clone()));
        Request { want: Want::No, digests: DigestSet { sha256: true } }
    }

    fn file(&self, _: &Entry, _: &dyn ReadAt) {}

    fn digests(&self, entry: &Entry, digests: &FileDigests) {
        if let Some(sha256) = digests.sha256 {
            self.with(|shown| _ = shown.digests.insert(entry.path.clone(), sha256));
        }
    }

    fn gap(&self, gap: Gap) {
        self.with(|shown| shown.gaps.push(gap));
    }
}

/// Lays a layer over what is below: first what it hides, then what it has.
fn put_over(files: &mut BTreeMap<ImagePath, Found>, upper: Shown) -> Result<(), String> {
    if let Some(gap) = upper.gaps.first() {
        return Err(format!("{}: {}", gap.place, gap.reason));
    }
    for entry in &upper.entries {
        match entry.node {
            Node::Whiteout => files.retain(|path, _| path.below(&entry.path).is_none()),
            Node::Opaque => files.retain(|path, _| path.below(&entry.path).is_none_or(<[u8]>::is_empty)),
            _ => {}
        }
    }
    for entry in upper.entries {
        let found = match entry.node {
            Node::Whiteout | Node::Opaque => continue,
            Node::File(meta) => {
                let sha256 = *upper.digests.get(&entry.path).ok_or("a file without digest")?;
                Found::File { size_bytes: meta.size_bytes, sha256 }
            }
            Node::HardLink(target) => match files.get(&target) {
                Some(Found::File { size_bytes, sha256 }) => {
                    Found::File { size_bytes: *size_bytes, sha256: *sha256 }
                }
                Some(Found::Other(node)) => Found::Other(node.clone()),
                None => return Err(format!("{}: a hard link to {target}, which is not there", entry.path)),
            },
            node => Found::Other(node),
        };
        if !matches!(found, Found::Other(Node::Directory(_))) {
            files.retain(|path, _| path.below(&entry.path).is_none_or(<[u8]>::is_empty));
        }
        if !entry.path.is_root() {
            files.insert(entry.path, found);
        }
    }
    Ok(())
}

/// Whether the truth names another manifest. The archive's own was checked when it was read: it is another
/// where the tool had none (docker archives) or wrote a new one (docker's media types, plain layers).
fn digest_differs(image: &Merged, row: &Row<'_>) -> bool {
    image.kind == ImageKind::OciArchive && image.digest.is_some_and(|digest| digest.to_string() != row.digest)
}

/// Why an image is not what the truth says, if it is not.
fn differs(image: &Merged, row: &Row<'_>, rootfs: &str) -> Option<String> {
    if image.layers.to_string() != row.layers {
        return Some(format!("{} layers, truth {}", image.layers, row.layers));
    }
    let found = listing(image);
    let mut want: Vec<&str> = rootfs.lines().filter(|line| !line.is_empty()).collect();
    want.sort_unstable();
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    let other = found
        .iter()
        .find(|line| !want.contains(line))
        .or_else(|| want.iter().find(|line| !found.contains(line)));
    other.map(|line| format!("{} files, truth {}; first difference: {line}", found.len(), want.len()))
}

/// The merged root as the truth lists it: path, type, size, link target, digest.
fn listing(image: &Merged) -> String {
    let mut out = String::new();
    for (path, found) in &image.files {
        let path = String::from_utf8_lossy(path.as_bytes());
        let _ = match found {
            Found::File { size_bytes, sha256 } => {
                writeln!(out, "{path}\tf\t{size_bytes}\t\t{}", sha256.hex())
            }
            Found::Other(Node::Symlink(target)) => {
                writeln!(out, "{path}\tl\t\t{}\t", String::from_utf8_lossy(target))
            }
            Found::Other(Node::Directory(_)) => writeln!(out, "{path}\td\t\t\t"),
            Found::Other(_) => writeln!(out, "{path}\tother\t\t\t"),
        };
    }
    out
}
