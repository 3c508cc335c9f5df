//! OCI image layout 1.1 (image-spec `image-layout.md`, `image-index.md`, `manifest.md`), and docker's manifests
//! of schema 2, which are the same with other media types.
//!
//! `index.json` lists descriptors; those of one name (`io.containerd.image.name`, else
//! `org.opencontainers.image.ref.name`) are one image for several platforms. A descriptor leads to a manifest
//! or to another index. Every document is checked against the digest and size that named it.
//!
//! No images, and passed over: attestations, artifacts, descriptors of the platform `unknown/unknown`.
//! Not read: docker's schema 1, encrypted layers, digests other than sha256.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::blobs::{Files, check_digest};
use super::config::{Annotations, ImageConfig, parse_digest, parse_json};
use super::{Content, Image, LayerBlob, LayerSet, OciPlatform, Options};
use super::{info, layer_place, name_images, stratum_id};
use crate::bytes::{self, ReadAt, size_of_len};
use crate::error::{Error, Kind, Result, ResultExt as _};
use crate::limits::Limits;
use crate::model::{ImageInfo, ImageKind, ImagePath, Sha256};

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    media_type: Option<String>,
    digest: String,
    size: u64,
    annotations: Option<Annotations>,
    platform: Option<RawPlatform>,
}

#[derive(Debug, Clone, Deserialize)]
struct RawPlatform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// An index or a manifest: which of them, its members tell.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    fs_layers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

/// The manifest of an image.
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// One manifest that an index offers.
struct Candidate {
    digest: Sha256,
    platform: Option<OciPlatform>,
    manifest: Result<Manifest>,
    /// Which entry of `index.json` led to it.
    entry: usize,
    /// What names the manifest, where it is to be read only if this is the image.
    later: Option<Descriptor>,
}

impl Candidate {
    fn is_absent(&self) -> bool {
        self.later.is_none()
            && self.manifest.as_ref().is_err_and(|error| matches!(error.kind(), Kind::NotFound(_)))
    }

    fn shown_platform(&self) -> String {
        self.platform.as_ref().map_or_else(|| "unknown".to_owned(), OciPlatform::to_string)
    }
}

impl Descriptor {
    /// Of a manifest or index that no other one names.
    pub(super) fn of_root(media_type: Option<String>, digest: Sha256, size: u64) -> Self {
        // Servers that know nothing of images have types of their own for them, which say nothing.
        let media_type = media_type.filter(|media_type| media_type.starts_with("application/vnd."));
        Descriptor { media_type, digest: digest.to_string(), size, annotations: None, platform: None }
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn name(&self) -> Option<&str> {
        self.annotation("io.containerd.image.name")
            .or_else(|| self.annotation("org.opencontainers.image.ref.name"))
    }

    fn platform(&self) -> Option<OciPlatform> {
        let raw = self.platform.as_ref()?;
        let variant = raw.variant.clone().filter(|variant| !variant.is_empty());
        let is_written = !raw.os.is_empty() && !raw.architecture.is_empty();
        is_written.then(|| OciPlatform { os: raw.os.clone(), arch: raw.architecture.clone(), variant })
    }

    /// Attestations and the like, which are stored beside images in their index.
    fn is_no_image(&self) -> bool {
        self.annotation("vnd.docker.reference.type").is_some()
            || self.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
    }
}

/// All images of a layout; for each name the one of the wanted platform.
///
/// # Errors
/// If the layout itself cannot be read.
pub(super) fn images(
    reference: &str,
    kind: ImageKind,
    files: &dyn Files,
    options: &Options,
) -> Result<Vec<Image>> {
    let limits = &*options.limits;
    check_layout_version(files, limits)?;
    let json = files.read(&ImagePath::from("index.json"), limits.manifest_bytes)?;
    let index: Document = parse_json("image index", &json).at(|| "index.json".to_owned())?;
    let entries = index.manifests.unwrap_or_default();
    if entries.is_empty() {
        return Err(Error::not_found("an image; the index lists none")).at(|| "index.json".to_owned());
    }
    images_of(reference, kind, files, options, &entries)
}

/// The images that the entries of an index lead to; for each name the one of the wanted platform.
///
/// # Errors
/// If there are too many.
pub(super) fn images_of(
    reference: &str,
    kind: ImageKind,
    files: &dyn Files,
    options: &Options,
    entries: &[Descriptor],
) -> Result<Vec<Image>> {
    let limits = &*options.limits;
    let mut named = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, members) in groups(entries) {
        let group = Group { files, options, name };
        match group.choose(&members) {
            Ok(chosen) => {
                let has_several = options.all_platforms && chosen.len() > 1;
                for candidate in chosen.into_iter().filter(|candidate| seen.insert(candidate.digest)) {
                    let platform = has_several.then(|| candidate.shown_platform());
                    let image = image(reference, kind, files, limits, candidate);
                    let own = match (name, platform) {
                        (Some(name), Some(platform)) => Some(format!("{name}@{platform}")),
                        (None, platform) => platform,
                        (name, None) => name.map(str::to_owned),
                    };
                    named.push((own, image));
                }
            }
            Err(error) => named.push((name.map(str::to_owned), super::broken(reference, kind, error))),
        }
        limits.images.check(size_of_len(named.len()))?;
    }
    Ok(name_images(reference, named))
}

fn check_layout_version(files: &dyn Files, limits: &Limits) -> Result<()> {
    let place = || "oci-layout".to_owned();
    let json = match files.read(&ImagePath::from("oci-layout"), limits.manifest_bytes) {
        Ok(json) => json,
        // Some writers leave it out; the index is there or the image is not.
        Err(error) if matches!(error.kind(), Kind::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let layout: Layout = parse_json("image layout", &json).at(place)?;
    if layout.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    Err(Error::unsupported(format!("image layout version `{}`", layout.image_layout_version))).at(place)
}

/// A name, and the entries that have it with their places in the index.
type Named<'a> = (Option<&'a str>, Vec<(usize, &'a Descriptor)>);

/// Entries by name. Names keep their order; all entries without name are one.
fn groups(entries: &[Descriptor]) -> Vec<Named<'_>> {
    let mut groups: Vec<Named<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        let place = *places.entry(entry.name()).or_insert_with(|| {
            groups.push((entry.name(), Vec::new()));
            groups.len().saturating_sub(1)
        });
        if let Some((_, members)) = groups.get_mut(place) {
            members.push((number, entry));
        }
    }
    groups
}

/// The entries of one name.
struct Group<'a> {
    files: &'a dyn Files,
    options: &'a Options,
    name: Option<&'a str>,
}

/// What was met on the way through a group.
#[derive(Default)]
struct Met {
    candidates: Vec<Candidate>,
    indexes: BTreeSet<Sha256>,
    manifests: BTreeSet<Sha256>,
    /// What is there and no image, for the message when nothing else is.
    others: Vec<String>,
    /// Indexes that are named and cannot be read.
    broken: Option<Error>,
}

impl Group<'_> {
    /// The images of this group: usually one. Several, if several entries lead to the wanted platform, or if
    /// all platforms are wanted: then also those that are named and not there.
    fn choose(&self, members: &[(usize, &Descriptor)]) -> Result<Vec<Candidate>> {
        let mut met = Met::default();
        for (entry, descriptor) in members {
            self.walk(descriptor, *entry, 0, &mut met)?;
        }
        let Met { candidates, others, broken, .. } = met;
        if self.options.all_platforms && !candidates.is_empty() {
            return Ok(candidates);
        }
        let (absent, mut present): (Vec<_>, Vec<_>) = candidates.into_iter().partition(Candidate::is_absent);
        let wanted = &self.options.platform;
        let rank = |c: &Candidate| c.platform.as_ref().and_then(|platform| wanted.rank(platform));
        let platforms: BTreeSet<String> = present.iter().map(Candidate::shown_platform).collect();
        if present.is_empty() {
            return Err(self.nothing(absent, &others, broken));
        }
        match present.iter().map(rank).max().flatten() {
            Some(best) => present.retain(|c| rank(c) == Some(best)),
            None if platforms.len() == 1 && broken.is_none() => {}
            None => {
                let there: Vec<_> = platforms.into_iter().collect();
                let error = Error::config(format!("no image for {wanted}; there are: {}", there.join(", ")))
                    .hint(format!("choose one of them, for instance --platform {}", there.join(" or ")));
                return Err(broken.unwrap_or(error)).at(|| self.place());
            }
        }
        // Within one entry the first that fits is the image, as the specification has it.
        let mut entries = BTreeSet::new();
        present.retain(|c| entries.insert(c.entry));
        present.iter_mut().for_each(|candidate| self.read_later(candidate));
        Ok(present)
    }

    /// Whether a manifest need not be asked for yet: it says that it is for another platform.
    fn is_unwanted(&self, descriptor: &Descriptor) -> bool {
        let is_manifest = descriptor.media_type.as_deref().and_then(says_index) == Some(false);
        let is_other =
            || descriptor.platform().is_some_and(|platform| self.options.platform.rank(&platform).is_none());
        self.files.is_remote() && !self.options.all_platforms && is_manifest && is_other()
    }

    /// Reads the manifest of an image that was chosen before it was read.
    fn read_later(&self, candidate: &mut Candidate) {
        let Some(descriptor) = candidate.later.take() else { return };
        candidate.manifest = self.document(&descriptor, candidate.digest).and_then(|document| {
            match (document.config, document.layers.unwrap_or_default()) {
                (Some(config), layers)
                    if is_image_config(config.media_type.as_deref()) && no_layers(&layers).is_none() =>
                {
                    Ok(Manifest { config, layers })
                }
                _ => Err(Error::unsupported("an artifact that is no container image")),
            }
        });
    }

    fn nothing(&self, absent: Vec<Candidate>, others: &[String], broken: Option<Error>) -> Error {
        let error = match (broken, absent.into_iter().next()) {
            (Some(error), _) => error,
            (None, Some(first)) => {
                let digest = first.digest;
                first.manifest.err().unwrap_or_else(|| Error::not_found(format!("the manifest {digest}")))
            }
            (None, None) => Error::unsupported(format!(
                "an index without container image; it holds: {}",
                others.join(", ")
            )),
        };
        error.at(self.place())
    }

    fn place(&self) -> String {
        match self.name {
            Some(name) => format!("image `{name}`"),
            None if self.files.is_remote() => "index".to_owned(),
            None => "index.json".to_owned(),
        }
    }

    /// Follows a descriptor down to manifests.
    fn walk(&self, descriptor: &Descriptor, entry: usize, depth: u64, met: &mut Met) -> Result<()> {
        let limits = &*self.options.limits;
        let shown =
            || descriptor.media_type.clone().unwrap_or_else(|| "a document without media type".into());
        if descriptor.is_no_image() {
            met.others.push("an attestation".into());
            return Ok(());
        }
        let digest = parse_digest(&descriptor.digest).at(|| self.place())?;
        if met.manifests.contains(&digest) || met.indexes.contains(&digest) {
            return Ok(());
        }
        if self.is_unwanted(descriptor) {
            met.manifests.insert(digest);
            let (platform, later) = (descriptor.platform(), Some(descriptor.clone()));
            let manifest = Err(Error::not_found("the manifest, which was not asked for"));
            met.candidates.push(Candidate { digest, platform, manifest, entry, later });
            return Ok(());
        }
        let document = match self.document(descriptor, digest) {
            Ok(document) => document,
            Err(error) => {
                let is_index = descriptor.media_type.as_deref().and_then(says_index) == Some(true);
                if is_index && !self.options.all_platforms {
                    met.broken.get_or_insert(error);
                } else {
                    met.manifests.insert(digest);
                    let platform = descriptor.platform();
                    met.candidates.push(Candidate {
                        digest,
                        platform,
                        manifest: Err(error),
                        entry,
                        later: None,
                    });
                }
                return Ok(());
            }
        };
        if let Some(manifests) = document.manifests {
            met.indexes.insert(digest);
            let depth = limits.index_depth.check(depth.saturating_add(1))?;
            return manifests.iter().try_for_each(|below| self.walk(below, entry, depth, met));
        }
        met.manifests.insert(digest);
        let (Some(config), layers) = (document.config, document.layers.unwrap_or_default()) else {
            met.others.push(shown());
            return Ok(());
        };
        if !is_image_config(config.media_type.as_deref()) {
            met.others.push(format!("an artifact ({})", config.media_type.unwrap_or_default()));
            return Ok(());
        }
        if let Some(media_type) = no_layers(&layers) {
            met.others.push(format!("an artifact ({media_type})"));
            return Ok(());
        }
        // An absent or broken configuration is told when the image is opened, if it is this one.
        let platform = descriptor.platform().or_else(|| {
            let json = blob(self.files, &config, limits).ok()?;
            ImageConfig::parse(&json).ok()?.platform
        });
        let manifest = Ok(Manifest { config, layers });
        met.candidates.push(Candidate { digest, platform, manifest, entry, later: None });
        Ok(())
    }

    /// The index or manifest that a descriptor names.
    fn document(&self, descriptor: &Descriptor, digest: Sha256) -> Result<Document> {
        let place = || digest.to_string();
        let json = manifest(self.files, descriptor, digest, &self.options.limits)?;
        let mut document: Document = parse_json("image manifest", &json).at(place)?;
        let is_schema1 = document.schema_version == Some(1)
            || document.fs_layers.is_some()
            || [&descriptor.media_type, &document.media_type]
                .into_iter()
                .flatten()
                .any(|t| t.starts_with("application/vnd.docker.distribution.manifest.v1+"));
        if is_schema1 {
            return Err(Error::unsupported("a docker manifest of schema 1")
                .hint("copy the image with a current tool, for instance `skopeo copy --format oci`"))
            .at(place);
        }
        if document.manifests.is_some() && (document.config.is_some() || document.layers.is_some()) {
            return Err(Error::malformed(
                "image manifest",
                "members",
                None,
                "manifests beside config or layers",
                "an index or a manifest",
            ))
            .at(place);
        }
        let media_types = [&descriptor.media_type, &document.media_type].into_iter().flatten();
        let said: BTreeSet<bool> = media_types.filter_map(|media_type| says_index(media_type)).collect();
        let is_index = document.manifests.is_some() || said.first() == Some(&true);
        if said.contains(&!is_index) {
            let found = document.media_type.or(descriptor.media_type.clone()).unwrap_or_default();
            return Err(Error::malformed(
                "image manifest",
                "mediaType",
                None,
                format!("`{found}`"),
                "the one of its descriptor and members",
            ))
            .at(place);
        }
        if is_index && document.manifests.is_none() {
            document.manifests = Some(Vec::new());
        }
        Ok(document)
    }
}

/// Whether this media type is an index's (or a manifest's); `None` if it is neither.
fn says_index(media_type: &str) -> Option<bool> {
    match media_type {
        "application/vnd.oci.image.index.v1+json"
        | "application/vnd.docker.distribution.manifest.list.v2+json" => Some(true),
        "application/vnd.oci.image.manifest.v1+json"
        | "application/vnd.docker.distribution.manifest.v2+json" => Some(false),
        _ => None,
    }
}

/// Whether a configuration of this media type is an image's. Manifests without any are older than artifacts, and
/// docker 1.10 pushed configurations as octets.
fn is_image_config(media_type: Option<&str>) -> bool {
    matches!(
        media_type,
        None | Some(
            "" | "application/vnd.oci.image.config.v1+json"
                | "application/vnd.docker.container.image.v1+json"
                | "application/octet-stream"
        )
    )
}

/// The media type of what a manifest lists, if none of it is a layer of files: signatures and attestations
/// bear the configuration of an image.
fn no_layers(layers: &[Descriptor]) -> Option<&str> {
    let is_layer = |media_type: &str| {
        media_type.is_empty()
            || media_type.starts_with("application/vnd.oci.image.layer.")
            || media_type.starts_with("application/vnd.docker.image.rootfs.")
            || media_type.starts_with("application/vnd.docker.container.image.rootfs.")
            || (media_type.contains("tar") && !media_type.contains("helm"))
    };
    let media_type = |layer: &Descriptor| layer.media_type.as_deref().is_none_or(is_layer);
    let first = layers.first()?;
    if layers.iter().any(media_type) { None } else { first.media_type.as_deref() }
}

/// Where a blob is in a layout.
pub(super) fn blob_path(digest: Sha256) -> ImagePath {
    ImagePath::new(format!("blobs/sha256/{}", digest.hex()))
}

/// Opens what a descriptor names and holds it against the descriptor's size.
fn open_blob(files: &dyn Files, descriptor: &Descriptor, digest: Sha256) -> Result<Arc<dyn ReadAt>> {
    of_size(files.blob(digest, descriptor.size)?, descriptor)
}

fn of_size(blob: Arc<dyn ReadAt>, descriptor: &Descriptor) -> Result<Arc<dyn ReadAt>> {
    if blob.size_bytes() != descriptor.size {
        return Err(Error::malformed(
            "blob",
            "size",
            None,
            format!("{} bytes", blob.size_bytes()),
            format!("{} bytes, as its descriptor says", descriptor.size),
        )
        .hint("the blob is cut off or another one; fetch or build it again"));
    }
    Ok(blob)
}

/// Reads a small blob, checked against its descriptor.
fn blob(files: &dyn Files, descriptor: &Descriptor, limits: &Limits) -> Result<Vec<u8>> {
    let digest = parse_digest(&descriptor.digest)?;
    let place = || digest.to_string();
    let blob = open_blob(files, descriptor, digest).at(place)?;
    let bytes = bytes::read_all(&*blob, limits.manifest_bytes).at(place)?;
    check_digest(&bytes, digest)?;
    Ok(bytes)
}

/// Reads a manifest or index, checked against its descriptor.
fn manifest(files: &dyn Files, descriptor: &Descriptor, digest: Sha256, limits: &Limits) -> Result<Vec<u8>> {
    let place = || digest.to_string();
    let blob =
        files.manifest(digest, descriptor.size).and_then(|blob| of_size(blob, descriptor)).at(place)?;
    let bytes = bytes::read_all(&*blob, limits.manifest_bytes).at(place)?;
    check_digest(&bytes, digest)?;
    Ok(bytes)
}

fn image(
    reference: &str,
    kind: ImageKind,
    files: &dyn Files,
    limits: &Limits,
    candidate: Candidate,
) -> Image {
    let mut info = info(reference, kind);
    info.digest = Some(candidate.digest);
    info.os_arch = candidate.platform.as_ref().map(OciPlatform::to_string);
    let content = candidate
        .manifest
        .and_then(|manifest| layers(files, limits, &manifest, &mut info))
        .map(|layers| Content::Layers(LayerSet { layers }));
    Image { info, content, gaps: Vec::new() }
}

fn layers(
    files: &dyn Files,
    limits: &Limits,
    manifest: &Manifest,
    info: &mut ImageInfo,
) -> Result<Vec<LayerBlob>> {
    let place = || "image configuration".to_owned();
    let json = blob(files, &manifest.config, limits).at(place)?;
    let config = ImageConfig::parse(&json).at(place)?;
    info.created_at = config.created_at;
    if let Some(platform) = &config.platform {
        info.os_arch = Some(platform.to_string());
    }
    config.check_os()?;
    let count = manifest.layers.len();
    limits.layers.check(size_of_len(count))?;
    config.check_layer_count(count)?;
    let mut created_by = config.created_by.into_iter();
    let layers = manifest.layers.iter().zip(config.diff_ids).enumerate();
    Ok(layers
        .map(|(number, (descriptor, diff_id))| {
            let digest = parse_digest(&descriptor.digest);
            LayerBlob {
                id: stratum_id(number),
                place: layer_place(number, count, digest.as_ref().ok()),
                digest: digest.as_ref().ok().copied(),
                diff_id: Some(diff_id),
                size_bytes: descriptor.size,
                created_by: created_by.next().flatten(),
                blob: digest.and_then(|digest| layer_blob(files, descriptor, digest)),
            }
        })
        .collect())
}

fn layer_blob(files: &dyn Files, descriptor: &Descriptor, digest: Sha256) -> Result<Arc<dyn ReadAt>> {
    let media_type = descriptor.media_type.as_deref().unwrap_or("");
    if media_type.ends_with("+encrypted") {
        return Err(Error::unsupported("an encrypted layer")
            .hint("decrypt the image first, for instance with skopeo"));
    }
    let is_foreign = media_type.contains(".nondistributable.") || media_type.contains(".foreign.");
    open_blob(files, descriptor, digest).map_err(|error| match error.kind() {
        Kind::NotFound(_) if is_foreign => {
            error.hint("the layer is distributed elsewhere; export the image with its foreign layers")
        }
        Kind::NotFound(_) => error.hint("the image was exported without this layer; export it again"),
        _ => error,
    })
}
