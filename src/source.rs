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

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bytes::{self, HostFile, ReadAt};
use crate::codec::SpoolPool;
use crate::error::{Error, Result, ResultExt as _};
use crate::limits::Limits;
use crate::model::{Gap, ImageInfo, ImageKind, Sha256, StratumId};
use crate::stratum::Stratum;

mod archive;
mod blobs;
mod config;
mod directory;
pub mod disk;
mod docker_archive;
mod docker_v1;
mod expand;
mod magic;
mod oci;
mod platform;
mod registry;
mod skopeo_dir;
mod vm;

pub use directory::DirectoryStratum;
pub use expand::expand;
pub use platform::OciPlatform;
pub use registry::RegistryOptions;

use blobs::LayoutFiles;

/// What opening depends on.
#[derive(Debug, Clone)]
pub struct Options {
    /// The ceilings.
    pub limits: Arc<Limits>,
    /// Which image of an index is wanted, where it offers several.
    pub platform: OciPlatform,
    /// All images of an index are wanted, each under a name of its own.
    pub all_platforms: bool,
    /// Folders from which parents and extents of disk images are opened that are not beside them.
    pub disk_folders: Arc<[PathBuf]>,
    /// Whether the files of an appliance are checked against the digests of its manifest, which reads them whole.
    pub check_digests: bool,
    /// Where archives go that are compressed as a whole, while they are read.
    pub spool: Arc<SpoolPool>,
    /// How registries are spoken with.
    pub registry: Arc<RegistryOptions>,
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
    /// Disks of one machine.
    Disks(Vec<NamedDisk>),
    /// A document that says what an image holds.
    Document(Vec<u8>),
}

/// A disk of a VM image.
pub struct NamedDisk {
    /// Its name, where the image has several; else empty.
    pub name: String,
    /// The disk, or why it cannot be read.
    pub disk: Result<disk::Disk>,
    /// What a reader should know of its file, for people.
    pub notes: Vec<String>,
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
const LATER: [&str; 4] = ["sbom", "docker-daemon", "containers-storage", "docker"];

/// Opens an image, or all images of an archive or layout that holds several.
///
/// `reference` is a path, or a path behind a prefix that forces its kind (`docker-archive:`, `oci-archive:`,
/// `oci-dir:`, `skopeo-dir:`, `dir:`, `rootfs-tar:`, `disk:`, `inventory:`), or the name of an image behind `registry:`;
/// a file whose own name looks like that is found first. `PATH#NAME` picks one image of several by the name that [`ImageInfo::reference`] gives it,
/// also where that name is the platform that it has with [`Options::all_platforms`].
///
/// # Errors
/// If the name leads to no image of any known kind: `NotFound`, `Io`, or `Unsupported` and `Config` for a
/// file of another kind.
pub fn open(reference: &str, options: &Options) -> Result<Vec<Image>> {
    let (forced, path) = split_prefix(reference)?;
    if forced == Some(ImageKind::Registry) {
        return open_registry(reference, path, options);
    }
    if exists(path) {
        return open_path(reference, forced, path, options).at(|| reference.to_owned());
    }
    // A name may have such a sign as well as a file.
    let mut splits = path.rmatch_indices('#').filter_map(|(at, sign)| {
        let (file, rest) = path.split_at_checked(at)?;
        Some((file, rest.strip_prefix(sign)?))
    });
    if let Some((file, name)) = splits.find(|(file, _)| exists(file)) {
        let whole = reference.strip_suffix(name).and_then(|whole| whole.strip_suffix('#')).unwrap_or(file);
        let open_all = |options| open_path(whole, forced, file, options).at(|| whole.to_owned());
        let picked = pick(open_all(options)?, reference, name);
        if picked.is_err() && (name.contains('@') || name.parse::<OciPlatform>().is_ok()) {
            let all = Options { all_platforms: true, ..options.clone() };
            return pick(open_all(&all)?, reference, name);
        }
        return picked;
    }
    if expand::is_pattern(path) {
        let missing =
            Error::not_found("no file or directory of this name, and none that matches the pattern")
                .at(reference);
        return Err(missing.hint(
            "give a pattern that matches images, where several are taken, or a file of exactly this name",
        ));
    }
    let missing = Error::not_found("no such file or directory").at(reference);
    Err(missing
        .hint("give the path of a disk image, docker archive, OCI archive or layout, or a root file system directory"))
}

/// Opens an image of a registry; behind `#` one of its platforms may be named.
fn open_registry(reference: &str, path: &str, options: &Options) -> Result<Vec<Image>> {
    let Some((whole, platform)) = reference.split_once('#') else {
        return registry::images(reference, path, options).at(|| reference.to_owned());
    };
    let name = path.split_once('#').map_or(path, |(name, _)| name);
    let all = Options { all_platforms: true, ..options.clone() };
    pick(registry::images(whole, name, &all).at(|| whole.to_owned())?, reference, platform)
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
        let refused = Error::unsupported(format!("images named by `{prefix}:`"));
        if prefix == "docker" {
            let name = path.trim_start_matches('/');
            return Err(refused.hint(format!("an image in a registry is `registry:{name}`")).at(reference));
        }
        return Err(refused
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
            kind @ (ImageKind::OciDir | ImageKind::SkopeoDir) => {
                let files = LayoutFiles::new(path);
                let images = match kind {
                    ImageKind::OciDir => oci::images(reference, kind, &files, options),
                    _ => skopeo_dir::images(reference, &files, options),
                };
                Ok(images.unwrap_or_else(|error| vec![broken(reference, kind, error)]))
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
    open_file(reference, forced, path, &file, options)
}

fn open_file(
    reference: &str,
    forced: Option<ImageKind>,
    path: &Path,
    file: &Arc<dyn ReadAt>,
    options: &Options,
) -> Result<Vec<Image>> {
    match forced {
        Some(kind @ (ImageKind::Dir | ImageKind::OciDir | ImageKind::Registry)) => {
            return Err(Error::config(format!("a file, and no `{kind}`")));
        }
        Some(ImageKind::Inventory) => return Ok(vec![document(reference, file, options)]),
        _ => {}
    }
    let head = magic::head(&**file)?;
    let is_disk = || Ok::<_, Error>(disk::kind(&**file)?.is_some() || vm::is_descriptor(&head));
    if forced.is_none() && is_disk()? {
        return Ok(vec![vm::of_file(reference, path, file, &head, options)]);
    }
    if let Some(images) = archive::images(reference, forced, file, &head, options)? {
        return Ok(images);
    }
    if forced.is_none() && magic::is_inventory(&head) {
        return Ok(vec![document(reference, file, options)]);
    }
    let is_raw = || magic::is_raw_disk(&head) || magic::is_blank_disk(&head, file.size_bytes());
    if forced == Some(ImageKind::Disk) || (forced.is_none() && is_raw()) {
        return Ok(vec![vm::of_file(reference, path, file, &head, options)]);
    }
    Err(magic::refuse(&head))
}

fn kind_of_directory(path: &Path) -> ImageKind {
    let is_layout = path.join("oci-layout").is_file()
        || (path.join("index.json").is_file() && path.join("blobs").is_dir());
    match is_layout {
        true => ImageKind::OciDir,
        false if skopeo_dir::is_one(&LayoutFiles::new(path)) => ImageKind::SkopeoDir,
        false => ImageKind::Dir,
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

fn info(reference: &str, kind: ImageKind) -> ImageInfo {
    ImageInfo { reference: reference.to_owned(), kind, digest: None, created_at: None, os_arch: None }
}

/// An image that was recognised and cannot be read.
fn broken(reference: &str, kind: ImageKind, error: Error) -> Image {
    Image { info: info(reference, kind), content: Err(error), gaps: Vec::new() }
}

/// Gives every image of several a reference of its own: `PATH#NAME`, or its digest where it has no name; what
/// cannot be told apart by these is numbered.
fn name_images(reference: &str, named: Vec<(Option<String>, Image)>) -> Vec<Image> {
    let is_one = named.len() == 1;
    let mut counts = BTreeMap::new();
    for (name, _) in &named {
        let count: &mut u64 = counts.entry(name.clone()).or_default();
        *count = count.saturating_add(1);
    }
    let mut used = BTreeSet::new();
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
            let numbered = (2_u64..).map(|number| format!("{own}@{number}"));
            let mut names = std::iter::once(own.clone()).chain(numbered);
            let own = names.find(|name| used.insert(name.clone())).unwrap_or(own);
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
