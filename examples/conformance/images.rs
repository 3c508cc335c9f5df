//! Container images: every archive of `images/truth/archives.tsv` against what skopeo and umoci make of it, and
//! where they make something, every file of the merged root against `images/truth/rootfs`.
//!
//! An archive that they refuse holds if karat refuses it, or reads it incompletely, or if the note says what
//! karat reads that they do not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use karat::bytes::ReadAt;
use karat::codec::SpoolPool;
use karat::collect::squash::Located;
use karat::collect::{Squashed, gather, squash};
use karat::layer;
use karat::limits::Limits;
use karat::model::{Gap, ImageKind, ImagePath, Sha256};
use karat::source::{self, Content, Image};
use karat::stratum::{DigestSet, Entry, FileDigests, Node, Request, Scope, Sink, Stratum, Want};

use super::{Case, Failable, Outcome};

/// One row of the truth.
struct Row<'a> {
    archive: &'a str,
    layers: &'a str,
    digest: &'a str,
    result: &'a str,
}

/// What the tools read and karat refuses, with the reason.
const EXPLAINED: &[(&str, &str)] = &[(
    "gcr-mutate/source_image_with_empty_layer_history.tar",
    "its configuration was changed by hand and is not what its name, a digest, says; the tools do not look",
)];

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

/// The images that `container-inspector` lists: how many, and of how many layers each.
pub(super) fn images_inspector(directory: &Path) -> Failable<Outcome> {
    let root = directory.join("images/container-inspector");
    let mut cases = Vec::new();
    for (archive, expected) in [
        ("cli/hello-world.tar", "cli/hello-world.tar-inventory-from-tarball-expected.json"),
        (
            "cli/she-image_from_scratch-1.0.tar",
            "cli/she-image_from_scratch-1.0.tar-inventory-from-tarball-expected.json",
        ),
        ("image/windows-mini-image.tar.gz", "image/windows-mini-image.tar.gz.expected.json"),
        ("repos/images.tar.gz", "repos/images.tar.gz.expected.json"),
        ("repos/imagesv11.tar", "repos/imagesv11.tar.expected.json"),
    ] {
        let want: serde_json::Value = serde_json::from_slice(&fs::read(root.join(expected))?)?;
        let want = want.as_array().cloned().unwrap_or_else(|| vec![want]);
        let mut want: Vec<String> = want
            .iter()
            .map(|image| {
                let count = image["layers"].as_array().map_or(0, Vec::len);
                format!("{} of {count} layers", image["os"].as_str().unwrap_or("unknown"))
            })
            .collect();
        let limits = Arc::new(Limits::default());
        let options = options(&limits)?;
        let mut case = Case::new(format!("container-inspector/{archive}"), None);
        match source::open(&root.join(archive).to_string_lossy(), &options) {
            Err(error) => case.failure = Some(error.to_string()),
            Ok(images) => {
                let mut found: Vec<String> = images.iter().map(described).collect();
                found.sort();
                want.sort();
                let is_windows = want.iter().all(|image| image.starts_with("windows"))
                    && found.iter().all(|image| image.contains("a Windows image"));
                case.note = is_windows.then(|| found.join(", "));
                case.failure = (found != want && !is_windows)
                    .then(|| format!("{}; expected {}", found.join(", "), want.join(", ")));
            }
        }
        cases.push(case);
    }
    Ok(Outcome::Cases(cases))
}

fn described(image: &Image) -> String {
    let os = image.info.os_arch.as_deref().and_then(|os_arch| os_arch.split('/').next()).unwrap_or("unknown");
    match &image.content {
        Ok(Content::Layers(set)) => format!("{os} of {} layers", set.layers.len()),
        Ok(_) => "no layers".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Layers and other tars: every path that GNU tar lists, and no other.
pub(super) fn tars(directory: &Path) -> Failable<Outcome> {
    let root = directory.join("images");
    let mut cases = Vec::new();
    for folder in [
        "container-diff",
        "container-inspector/utils",
        "container-inspector/image_templates",
        "container-inspector/rootfs",
        "container-inspector/distro",
        "dfvfs/tar",
        "gcr-crane",
        "gcr-mutate",
        "gcr-tarball",
        "malcontent",
        "scalibr-unpack",
        "snyk/extracted-layers",
        "trivy",
        "dive",
    ] {
        for entry in fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.contains(".tar") || name.ends_with(".json") {
                continue;
            }
            let failure = tar_differs(&path)?;
            cases.push(Case::new(format!("{folder}/{name}"), failure));
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Outcome::Cases(cases))
}

fn tar_differs(path: &Path) -> Failable<Option<String>> {
    let listed = Command::new("tar")
        .args(["--list", "--absolute-names", "--quoting-style=literal", "--file"])
        .arg(path)
        .output()?;
    if !listed.status.success() {
        return Err(String::from_utf8_lossy(&listed.stderr).into());
    }
    let want: BTreeSet<ImagePath> =
        listed.stdout.split(|b| *b == b'\n').filter_map(|name| shown_as(&ImagePath::new(name))).collect();
    let limits = Arc::new(Limits::default());
    let options = options(&limits)?;
    let forced = format!("rootfs-tar:{}", path.display());
    let found: Result<BTreeSet<ImagePath>, String> = (|| {
        let mut images = source::open(&forced, &options).map_err(|error| error.to_string())?;
        let image = images.pop().ok_or("no image")?;
        Ok(merge(image, &limits)?.entries.into_iter().filter(|path| !path.is_root()).collect())
    })();
    Ok(match found {
        Ok(found) if found == want => None,
        Ok(found) => {
            let other = found.symmetric_difference(&want).next();
            let other = other.map(ImagePath::to_string).unwrap_or_default();
            Some(format!("{} paths, tar {}; first difference: {other}", found.len(), want.len()))
        }
        Err(error) => Some(error),
    })
}

/// Where a member of a layer is shown: whiteouts at what they hide.
fn shown_as(path: &ImagePath) -> Option<ImagePath> {
    let shown = match path.name().strip_prefix(b".wh.") {
        Some(b".wh..opq") => path.parent(),
        Some(rest) if rest.starts_with(b".wh.") => return None,
        Some(name) => path.parent().join(name),
        None => path.clone(),
    };
    (!shown.is_root()).then_some(shown)
}

/// Manifests of every schema, each as the `manifest.json` of a directory without blobs: what it is, is told, and
/// an image is not read for want of its configuration.
pub(super) fn manifests(directory: &Path) -> Failable<Outcome> {
    let mut cases = Vec::new();
    for folder in
        ["cimage-internal-image-fixtures", "cimage-internal-manifest-testdata", "cimage-manifest-fixtures"]
    {
        for entry in fs::read_dir(directory.join("images").join(folder))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.contains("config.json") || name.contains("config-extra") {
                continue;
            }
            let temporary = std::env::temp_dir().join(format!("conformance-{}", std::process::id()));
            fs::create_dir_all(&temporary)?;
            fs::write(temporary.join("version"), "Directory Transport Version: 1.1\n")?;
            fs::copy(&path, temporary.join("manifest.json"))?;
            let limits = Arc::new(Limits::default());
            let opened = source::open(&format!("skopeo-dir:{}", temporary.display()), &options(&limits)?);
            fs::remove_dir_all(&temporary)?;
            let told = match opened {
                Ok(images) => images.iter().map(described).collect::<Vec<_>>().join("; "),
                Err(error) => error.to_string(),
            };
            let json: serde_json::Value = serde_json::from_slice(&fs::read(&path)?).unwrap_or_default();
            let config = json["config"]["mediaType"].as_str().unwrap_or_default();
            let want: &[&str] = match () {
                () if json.is_null() => &["JSON"],
                () if json["schemaVersion"] == 1 => &["schema 1"],
                () if json["manifests"].is_array() => &["not found", "no image for"],
                () if json["config"]["size"] == -1 => &["expected u64"],
                () if json["config"].is_null() => &["without container image"],
                () if config.contains("artifact") => &["an artifact"],
                () => &["image configuration"],
            };
            let mut case = Case::new(format!("{folder}/{name}"), None);
            if want.iter().any(|want| told.contains(want)) {
                case.note = Some(told);
            } else {
                case.failure = Some(format!("{told}; expected {}", want.join(" or ")));
            }
            cases.push(case);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Outcome::Cases(cases))
}

/// OCI layouts: each is read, or what is missing is said with its place.
pub(super) fn layouts(directory: &Path) -> Failable<Outcome> {
    let mut cases = Vec::new();
    for folder in ["cimage-oci-layout", "gcr-layout"] {
        for entry in fs::read_dir(directory.join("images").join(folder))? {
            let path = entry?.path();
            let Ok(index) = fs::read(path.join("index.json")) else { continue };
            let index: serde_json::Value = serde_json::from_slice(&index)?;
            let entries = index["manifests"].as_array().map_or(0, Vec::len);
            let limits = Arc::new(Limits::default());
            let name = format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            let mut case = Case::new(name, None);
            let opened = source::open(&format!("oci-dir:{}", path.display()), &options(&limits)?);
            match opened {
                Err(error) => case.failure = Some(error.to_string()),
                Ok(images) if images.is_empty() || images.len() > entries.max(1) => {
                    case.failure = Some(format!("{} images of {entries} entries", images.len()));
                }
                Ok(images) => {
                    let told: Vec<String> = images.iter().map(described).collect();
                    case.note = Some(format!("{entries} entries: {}", told.join("; ")));
                }
            }
            cases.push(case);
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
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
        ("ok", Err(error)) => match EXPLAINED.iter().find(|(archive, _)| *archive == row.archive) {
            Some((_, why)) => case.note = Some(format!("refused, and rightly ({why}): {error}")),
            None => case.failure = Some(error),
        },
        (_, Err(error)) => case.note = Some(format!("refused: {error}")),
        (_, Ok(images)) => case.note = Some(format!("{} images are read whole", images.len())),
    }
    Ok(case)
}

/// An image whose layers are merged, as karat merges them.
struct Merged {
    kind: ImageKind,
    digest: Option<Sha256>,
    squashed: Squashed,
    /// The paths of all layers.
    entries: BTreeSet<ImagePath>,
    /// The files of each layer.
    layers: Vec<BTreeMap<ImagePath, File>>,
}

/// What is in a file.
struct File {
    size_bytes: u64,
    sha256: Sha256,
}

/// Opens an archive and reads all of its images whole.
fn read(path: &Path) -> Result<Vec<Merged>, String> {
    let limits = Arc::new(Limits::default());
    let images = source::open(&path.to_string_lossy(), &options(&limits)?).map_err(|error| error.reason())?;
    images.into_iter().map(|image| merge(image, &limits)).collect()
}

fn options(limits: &Arc<Limits>) -> Result<source::Options, String> {
    Ok(source::Options {
        limits: Arc::clone(limits),
        platform: "linux/amd64".parse().map_err(|error: karat::error::Error| error.to_string())?,
        all_platforms: false,
        disk_folders: Default::default(),
        check_digests: false,
        spool: SpoolPool::new(std::env::temp_dir(), limits),
        registry: Arc::default(),
    })
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
        _ => return Err("no layers".into()),
    };
    let (mut facts, mut layers, mut entries) = (Vec::new(), Vec::new(), BTreeSet::new());
    for stratum in layer::strata(set, &options) {
        let of_layer = gather(&*stratum, Scope::All, &[], limits).map_err(|error| error.to_string())?;
        if let Some(gap) = of_layer.gaps.first() {
            return Err(format!("{}: {}", gap.place, gap.reason));
        }
        entries.extend(of_layer.entries.keys().cloned());
        facts.push(of_layer);
        layers.push(files(&*stratum)?);
    }
    Ok(Merged { kind: image.info.kind, digest: image.info.digest, squashed: squash(facts), entries, layers })
}

/// The files of a stratum.
fn files(stratum: &dyn Stratum) -> Result<BTreeMap<ImagePath, File>, String> {
    let shown = Shown::default();
    stratum.visit(Scope::All, &shown).map_err(|error| error.to_string())?;
    shown.0.into_inner().map_err(|error| error.to_string())
}

/// Writes down the digest of every file.
#[derive(Default)]
struct Shown(Mutex<BTreeMap<ImagePath, File>>);

impl Sink for Shown {
    fn request(&self, _: &Entry) -> Request {
        Request { want: Want::No, digests: DigestSet { sha256: true } }
    }

    fn file(&self, _: &Entry, _: &dyn ReadAt) {}

    fn digests(&self, entry: &Entry, digests: &FileDigests) {
        if let (Node::File(meta), Some(sha256), Ok(mut files)) = (&entry.node, digests.sha256, self.0.lock())
        {
            files.insert(entry.path.clone(), File { size_bytes: meta.size_bytes, sha256 });
        }
    }

    fn gap(&self, _: Gap) {}
}

/// Whether the truth names another manifest. The archive's own was checked when it was read: it is another
/// where the tool had none (docker archives) or wrote a new one (docker's media types, plain layers).
fn digest_differs(image: &Merged, row: &Row<'_>) -> bool {
    image.kind == ImageKind::OciArchive && image.digest.is_some_and(|digest| digest.to_string() != row.digest)
}

/// Why an image is not what the truth says, if it is not.
fn differs(image: &Merged, row: &Row<'_>, rootfs: &str) -> Option<String> {
    if image.layers.len().to_string() != row.layers {
        return Some(format!("{} layers, truth {}", image.layers.len(), row.layers));
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
    for (path, node) in image.squashed.below(&ImagePath::root()) {
        let shown = String::from_utf8_lossy(path.as_bytes());
        let _ = match node {
            Node::Symlink(target) => writeln!(out, "{shown}\tl\t\t{}\t", String::from_utf8_lossy(target)),
            Node::Directory(_) | Node::Opaque => writeln!(out, "{shown}\td\t\t\t"),
            Node::File(_) | Node::HardLink(_) => {
                let located = image.squashed.locate(path);
                let layer = |located: &Located| usize::try_from(located.stratum.0).unwrap_or(usize::MAX);
                let file = located.and_then(|l| image.layers.get(layer(&l))?.get(&l.path));
                match file {
                    Some(file) => writeln!(out, "{shown}\tf\t{}\t\t{}", file.size_bytes, file.sha256.hex()),
                    None => writeln!(out, "{shown}\tlost\t\t\t"),
                }
            }
            _ => writeln!(out, "{shown}\tother\t\t\t"),
        };
    }
    out
}
