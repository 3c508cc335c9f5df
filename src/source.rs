//! Opens what the user named: which kind of image it is, told by magic or by a prefix, and what it is made of.
//!
//! Two things are kept apart. That a name leads to no image of any known kind is the error of [`open`]. What is
//! wrong inside an image that was recognised is in [`Image::content`], or in a single layer's
//! [`LayerBlob::blob`], so that the rest is still read. No image makes karat open a file that the user did not
//! name: layouts are opened component by component, links in them are refused.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::archive::tar::{Index, looks_like_header};
use crate::bytes::{self, HostFile, ReadAt};
use crate::error::{Error, Result, ResultExt as _};
use crate::limits::Limits;
use crate::model::{Gap, ImageInfo, ImageKind, ImagePath, Sha256, StratumId};
use crate::stratum::Stratum;

mod blobs;
mod config;
mod directory;
mod docker_archive;
mod magic;
mod oci;
mod platform;

pub use directory::DirectoryStratum;
pub use platform::OciPlatform;

use blobs::{ArchiveFiles, LayoutFiles};

/// What opening depends on.
#[derive(Debug, Clone)]
pub struct Options {
    /// The ceilings.
    pub limits: Arc<Limits>,
    /// Which image of an index is wanted, where it offers several.
    pub platform: OciPlatform,
}

/// One image that a name led to.
pub struct Image {
    /// What is known of it without reading its layers.
    pub info: ImageInfo,
    /// What it is made of, or why that cannot be told.
    pub content: Result<Content>,
    /// What of its wrapping could not be read.
    pub gaps: Vec<Gap>,
}

/// What an image is made of.
pub enum Content {
    /// Layers over each other.
    Layers(LayerSet),
    /// A root file system.
    Directory(Box<dyn Stratum>),
    /// A document that says what an image holds.
    Document(Vec<u8>),
}

/// The layers of a container image.
pub struct LayerSet {
    /// Lowest first.
    pub layers: Vec<LayerBlob>,
}

/// One layer as it is stored.
pub struct LayerBlob {
    /// Its place in the image.
    pub id: StratumId,
    /// Its place for people: `layer 2 of 5 (sha256:1234…)`.
    pub place: String,
    /// The digest that its stored bytes must have, where one is known.
    pub digest: Option<Sha256>,
    /// The digest that its tar must have, where one is known.
    pub diff_id: Option<Sha256>,
    /// Its size as stored; as declared, where it is not there.
    pub size_bytes: u64,
    /// What made it, as the image's history says.
    pub created_by: Option<String>,
    /// Its bytes, or why they are not to be had.
    pub blob: Result<Arc<dyn ReadAt>>,
}

/// Prefixes of kinds that are planned and not read.
const LATER: [&str; 6] = ["disk", "sbom", "registry", "docker-daemon", "containers-storage", "docker"];

/// Opens an image, or all images of an archive or layout that holds several.
///
/// `reference` is a path, or a path behind a prefix that forces its kind (`docker-archive:`, `oci-archive:`,
/// `oci-dir:`, `dir:`, `inventory:`); a file whose own name looks like that is found first. `PATH#NAME` picks
/// one image of several by the name that [`ImageInfo::reference`] gives it.
///
/// # Errors
/// If the name leads to no image of any known kind: `NotFound`, `Io`, or `Unsupported` and `Config` for a
/// file of another kind.
pub fn open(reference: &str, options: &Options) -> Result<Vec<Image>> {
    let (forced, path) = split_prefix(reference)?;
    if exists(path) {
        return open_path(reference, forced, path, options).at(|| reference.to_owned());
    }
    if let Some((file, name)) = path.rsplit_once('#').filter(|(file, _)| exists(file)) {
        let whole = reference.strip_suffix(name).and_then(|whole| whole.strip_suffix('#')).unwrap_or(file);
        let images = open_path(whole, forced, file, options).at(|| whole.to_owned())?;
        return pick(images, reference, name);
    }
    let missing = Error::not_found("no such file or directory").at(reference);
    Err(missing
        .hint("give the path of a docker archive, OCI archive or layout, or a root file system directory"))
}

/// The image of this reference.
fn pick(images: Vec<Image>, reference: &str, name: &str) -> Result<Vec<Image>> {
    let names: Vec<String> = images.iter().map(|image| image.info.reference.clone()).collect();
    let picked: Vec<Image> = images.into_iter().filter(|image| image.info.reference == reference).collect();
    if picked.is_empty() {
        return Err(Error::not_found(format!("an image called `{name}`"))
            .hint(format!("there are: {}", names.join(", ")))
            .at(reference));
    }
    Ok(picked)
}

/// Whether there is something of this name; what cannot be looked at counts, so that opening it says why.
fn exists(path: &str) -> bool {
    !path.is_empty()
        && !fs::symlink_metadata(path).is_err_and(|error| {
            matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        })
}

/// Takes a prefix that forces a kind off a reference, unless the whole is the name of a file.
fn split_prefix(reference: &str) -> Result<(Option<ImageKind>, &str)> {
    if exists(reference) {
        return Ok((None, reference));
    }
    let Some((prefix, path)) = reference.split_once(':') else { return Ok((None, reference)) };
    if let Some(kind) = ImageKind::ALL.into_iter().find(|kind| kind.prefix() == prefix) {
        return Ok((Some(kind), path));
    }
    if LATER.contains(&prefix) {
        let known = ImageKind::ALL.map(|kind| format!("{}:", kind.prefix())).join(" ");
        return Err(Error::unsupported(format!("images named by `{prefix}:`"))
            .hint(format!("`skopeo copy` makes an oci-archive of it; kinds that are read: {known}"))
            .at(reference));
    }
    Ok((None, reference))
}

fn open_path(
    reference: &str,
    forced: Option<ImageKind>,
    path: &str,
    options: &Options,
) -> Result<Vec<Image>> {
    let wrong = |found: &str, kind: ImageKind| Err(Error::config(format!("{found}, and no `{kind}`")));
    let path = Path::new(path);
    let metadata = fs::metadata(path)?;
    if metadata.is_dir() {
        return match forced.unwrap_or_else(|| kind_of_directory(path)) {
            ImageKind::OciDir => oci_dir(reference, path, options),
            ImageKind::Dir if forced.is_none() && path.join("manifest.json").is_file() && path.join("version").is_file() => {
                Err(Error::unsupported("the directory layout of `skopeo copy dir:`")
                    .hint("copy it as an OCI layout (skopeo copy dir:… oci:…), or force `dir:` if it is a root file system"))
            }
            ImageKind::Dir => Ok(vec![directory_image(reference, path, options)]),
            kind => wrong("a directory", kind),
        };
    }
    if !metadata.is_file() {
        return Err(Error::config("neither a regular file nor a directory"));
    }
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let file: Arc<dyn ReadAt> = Arc::new(HostFile::new(file)?);
    open_file(reference, forced, &file, options)
}

fn open_file(
    reference: &str,
    forced: Option<ImageKind>,
    file: &Arc<dyn ReadAt>,
    options: &Options,
) -> Result<Vec<Image>> {
    match forced {
        Some(kind @ (ImageKind::Dir | ImageKind::OciDir)) => {
            return Err(Error::config(format!("a file, and no `{kind}`")));
        }
        Some(ImageKind::Inventory) => return Ok(vec![document(reference, file, options)]),
        Some(ImageKind::DockerArchive | ImageKind::OciArchive) | None => {}
    }
    let head = magic::head(&**file)?;
    if head.first_chunk().is_some_and(looks_like_header) {
        return archive(reference, forced, file, options);
    }
    if forced.is_none() && magic::is_inventory(&head) {
        return Ok(vec![document(reference, file, options)]);
    }
    Err(magic::refuse(&**file, &head))
}

fn kind_of_directory(path: &Path) -> ImageKind {
    let is_layout = path.join("oci-layout").is_file()
        || (path.join("index.json").is_file() && path.join("blobs").is_dir());
    if is_layout { ImageKind::OciDir } else { ImageKind::Dir }
}

fn oci_dir(reference: &str, path: &Path, options: &Options) -> Result<Vec<Image>> {
    let files = LayoutFiles::new(path);
    match oci::images(reference, ImageKind::OciDir, &files, options) {
        Ok(images) => Ok(images),
        Err(error) => Ok(vec![broken(reference, ImageKind::OciDir, error)]),
    }
}

fn directory_image(reference: &str, path: &Path, options: &Options) -> Image {
    let stratum = DirectoryStratum::new(path, Arc::clone(&options.limits));
    Image {
        info: info(reference, ImageKind::Dir),
        content: Ok(Content::Directory(Box::new(stratum))),
        gaps: Vec::new(),
    }
}

fn document(reference: &str, file: &Arc<dyn ReadAt>, options: &Options) -> Image {
    let content = bytes::read_all(&**file, options.limits.document_bytes).map(Content::Document);
    Image { info: info(reference, ImageKind::Inventory), content, gaps: Vec::new() }
}

/// A tar: told by what is in it.
fn archive(
    reference: &str,
    forced: Option<ImageKind>,
    file: &Arc<dyn ReadAt>,
    options: &Options,
) -> Result<Vec<Image>> {
    let index = Index::read(Arc::clone(file), &options.limits);
    let has = |name: &str| index.contains(&ImagePath::from(name));
    let (has_layout, has_manifest) = (has("index.json") && has("oci-layout"), has("manifest.json"));
    let kind = match forced {
        Some(kind) => kind,
        None if has_layout => ImageKind::OciArchive,
        None if has_manifest => ImageKind::DockerArchive,
        None if has("oci-layout") || has("index.json") => ImageKind::OciArchive,
        None => archive_by_names(&index)?,
    };
    let damage = index.damage().cloned();
    let files = ArchiveFiles::new(index);
    let mut images = match kind {
        ImageKind::OciArchive => oci::images(reference, kind, &files, options),
        _ => docker_archive::images(reference, &files, options),
    };
    // docker writes its old index beside the layout; where the layout lacks something, that may be whole.
    if forced.is_none()
        && kind == ImageKind::OciArchive
        && has_manifest
        && !images.as_ref().is_ok_and(|i| are_whole(i))
    {
        let others = docker_archive::images(reference, &files, options);
        if others.as_ref().is_ok_and(|others| are_whole(others)) {
            images = others;
        }
    }
    let mut images = images.unwrap_or_else(|error| vec![broken(reference, kind, error)]);
    if let Some(damage) = damage {
        let gap = Gap { place: "archive".into(), reason: damage.to_string(), required: true };
        images.iter_mut().for_each(|image| image.gaps.push(gap.clone()));
    }
    Ok(images)
}

/// Whether nothing that these images need is absent. What is there and damaged is no reason to look elsewhere.
fn are_whole(images: &[Image]) -> bool {
    let is_absent = |error: &Error| matches!(error.kind(), crate::error::Kind::NotFound(_));
    images.iter().all(|image| match &image.content {
        Ok(Content::Layers(set)) => !set.layers.iter().any(|l| l.blob.as_ref().is_err_and(is_absent)),
        Ok(_) => true,
        Err(error) => !is_absent(error),
    })
}

/// The kind of a tar that has no index of images, by what else is in it: a cut-off archive often has its layers
/// and not its index.
fn archive_by_names(index: &Index) -> Result<ImageKind> {
    let is_digest = |name: &[u8]| {
        let hex = name.strip_prefix(b"sha256:").unwrap_or(name).get(..64);
        hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    let is_layer = |path: &ImagePath| path.name() == b"layer.tar" || is_digest(path.as_bytes());
    let has_blobs = index.paths().any(|path| path.as_bytes().starts_with(b"blobs/sha256/"));
    let has_layers = index.paths().any(is_layer);
    match index.damage() {
        Some(_) if has_blobs => return Ok(ImageKind::OciArchive),
        Some(_) if has_layers => return Ok(ImageKind::DockerArchive),
        Some(damage) => return Err(damage.clone().hint("the archive is damaged; fetch or build it again")),
        None => {}
    }
    if index.contains(&ImagePath::from("repositories")) || (has_layers && !has_blobs) {
        return Err(Error::unsupported("a docker archive without manifest.json (docker before 1.10)")
            .hint("load it with docker and save it again"));
    }
    Err(Error::unsupported("a tar that is neither a docker archive nor an OCI archive")
        .hint("unpack a root file system tar and name the directory"))
}

fn info(reference: &str, kind: ImageKind) -> ImageInfo {
    ImageInfo { reference: reference.to_owned(), kind, digest: None, created_at: None, os_arch: None }
}

/// An image that was recognised and cannot be read.
fn broken(reference: &str, kind: ImageKind, error: Error) -> Image {
    Image { info: info(reference, kind), content: Err(error), gaps: Vec::new() }
}

/// Gives every image of several a reference of its own: `PATH#NAME`, or its digest where it has no name.
fn name_images(reference: &str, named: Vec<(Option<String>, Image)>) -> Vec<Image> {
    let is_one = named.len() == 1;
    let mut counts = BTreeMap::new();
    for (name, _) in &named {
        let count: &mut u64 = counts.entry(name.clone()).or_default();
        *count = count.saturating_add(1);
    }
    let rename = |(name, mut image): (Option<String>, Image)| {
        let is_only = counts.get(&name) == Some(&1);
        let digest = image.info.digest.as_ref().map(short_hex);
        let own = match (name, digest) {
            (Some(name), Some(digest)) if !is_only => format!("{name}@sha256:{digest}"),
            (Some(name), _) => name,
            (None, Some(digest)) => format!("sha256:{digest}"),
            (None, None) => "unnamed".to_owned(),
        };
        if !is_one {
            image.info.reference = format!("{reference}#{own}");
        }
        image
    };
    named.into_iter().map(rename).collect()
}

/// The first digits of a digest.
fn short_hex(digest: &Sha256) -> String {
    digest.hex().chars().take(12).collect()
}

/// The first digits of a digest, for people.
fn short(digest: &Sha256) -> String {
    format!("sha256:{}…", short_hex(digest))
}

/// A layer's place among its siblings.
fn layer_place(index: usize, count: usize, digest: Option<&Sha256>) -> String {
    let number = index.saturating_add(1);
    match digest {
        Some(digest) => format!("layer {number} of {count} ({})", short(digest)),
        None => format!("layer {number} of {count}"),
    }
}

/// A stratum's id from its index.
fn stratum_id(index: usize) -> StratumId {
    StratumId(u32::try_from(index).unwrap_or(u32::MAX))
}
