//! What `docker save` writes (docker image spec 1.2 and its successors): a tar with `manifest.json`, which
//! lists for each image its configuration, tags and layers as paths inside the tar. podman, skopeo, kaniko,
//! buildkit and bazel write the same with other names.
//!
//! Old docker wrote a layer that two images share once and linked to it; links are followed inside the
//! archive. The configuration names the digests of the layers' tars; where its own name is its digest, that is
//! checked.

use std::sync::Arc;

use serde::Deserialize;

use super::blobs::{Files, check_digest};
use super::config::{ImageConfig, parse_json};
use super::{Content, Image, LayerBlob, LayerSet, OciPlatform, Options};
use super::{info, layer_place, name_images, stratum_id};
use crate::bytes::{ReadAt as _, size_of_len};
use crate::error::{Error, Result, ResultExt as _};
use crate::limits::Limits;
use crate::model::{ImageInfo, ImageKind, ImagePath, Sha256};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: Option<String>,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// All images of an archive.
///
/// # Errors
/// If the archive's own index cannot be read, or lists nothing.
pub(super) fn images(reference: &str, files: &dyn Files, options: &Options) -> Result<Vec<Image>> {
    let limits = &*options.limits;
    let json = files.read(&ImagePath::from("manifest.json"), limits.manifest_bytes)?;
    let entries: Option<Vec<Entry>> =
        parse_json("docker archive", &json).at(|| "manifest.json".to_owned())?;
    let entries = entries.unwrap_or_default();
    if entries.is_empty() {
        return Err(Error::not_found("an image; the list is empty")).at(|| "manifest.json".to_owned());
    }
    limits.images.check(size_of_len(entries.len()))?;
    let named = entries.into_iter().map(|entry| {
        let name = entry.repo_tags.iter().flatten().next().cloned();
        let mut info = info(reference, ImageKind::DockerArchive);
        let content =
            layers(files, limits, &entry, &mut info).map(|layers| Content::Layers(LayerSet { layers }));
        (name, Image { info, content, gaps: Vec::new() })
    });
    Ok(name_images(reference, named.collect()))
}

fn layers(files: &dyn Files, limits: &Limits, entry: &Entry, info: &mut ImageInfo) -> Result<Vec<LayerBlob>> {
    let place = || "image configuration".to_owned();
    let path = entry.config.as_deref().unwrap_or_default();
    let json = files.read(&ImagePath::from(path), limits.manifest_bytes).at(place)?;
    if let Some(want) = digest_in_name(path) {
        check_digest(&json, want).at(place)?;
    }
    info.digest = Some(Sha256::of(&json));
    let config = ImageConfig::parse(&json).at(place)?;
    info.created_at = config.created_at;
    info.os_arch = config.platform.as_ref().map(OciPlatform::to_string);
    config.check_os()?;

    let paths = entry.layers.as_deref().unwrap_or_default();
    limits.layers.check(size_of_len(paths.len()))?;
    config.check_layer_count(paths.len())?;
    let mut created_by = config.created_by.into_iter();
    let layers = paths.iter().zip(config.diff_ids).enumerate();
    Ok(layers
        .map(|(number, (path, diff_id))| {
            let blob = files.open(&ImagePath::from(path.as_str()));
            LayerBlob {
                id: stratum_id(number),
                place: layer_place(number, paths.len(), Some(&diff_id)),
                digest: path.strip_prefix("blobs/sha256/").and_then(Sha256::from_hex),
                diff_id: Some(diff_id),
                size_bytes: blob.as_ref().map_or(0, |blob| Arc::clone(blob).size_bytes()),
                created_by: created_by.next().flatten(),
                blob: blob
                    .map_err(|error| error.hint("the image was saved without this layer; save it again")),
            }
        })
        .collect())
}

/// The digest of a configuration, where its name is one: `<hex>.json` (docker), `sha256:<hex>` (kaniko, bazel),
/// `blobs/sha256/<hex>` (docker since 25).
fn digest_in_name(path: &str) -> Option<Sha256> {
    let name = path.strip_prefix("blobs/sha256/").or_else(|| path.strip_prefix("sha256:")).unwrap_or(path);
    Sha256::from_hex(name.strip_suffix(".json").unwrap_or(name))
}
