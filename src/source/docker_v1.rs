//! What `docker save` wrote before 1.10 (docker image spec v1.0): a directory for each layer, by its random id,
//! with `VERSION` (`1.0`), `json` and `layer.tar`; `json` names the parent, and the chain of parents is the
//! image. `repositories` maps names and tags to the topmost layer.
//!
//! These ids are no digests, so nothing of such an archive can be checked but its own structure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::blobs::Files;
use super::config::{check_os, parse_json};
use super::{Content, Image, LayerBlob, LayerSet, OciPlatform, Options};
use super::{info, layer_place, name_images, stratum_id};
use crate::bytes::{ReadAt as _, size_of_len};
use crate::error::{Error, Kind, Result, ResultExt as _};
use crate::limits::Limits;
use crate::model::{ImageInfo, ImageKind, ImagePath, Time};

#[derive(Deserialize)]
struct RawLayer {
    parent: Option<String>,
    created: Option<String>,
    os: Option<String>,
    architecture: Option<String>,
    container_config: Option<RawCommand>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawCommand {
    cmd: Option<Vec<String>>,
}

/// `repositories`: name to tag to id.
type Repositories = BTreeMap<String, BTreeMap<String, String>>;

/// All images of an archive whose layers have these ids: those that have a name, and every chain that none of
/// them has.
///
/// # Errors
/// If `repositories` is there and cannot be read, or there is no image.
pub(super) fn images(
    reference: &str,
    files: &dyn Files,
    ids: &BTreeSet<String>,
    options: &Options,
) -> Result<Vec<Image>> {
    let limits = &*options.limits;
    let mut tops: Vec<(String, String)> = Vec::new();
    for (repository, tags) in repositories(files, limits)? {
        for (tag, id) in tags {
            if !tops.iter().any(|(_, known)| *known == id) {
                tops.push((format!("{repository}:{tag}"), id));
            }
        }
    }
    let mut chains: Vec<_> = tops.iter().map(|(_, id)| chain(files, limits, id)).collect();
    let reached: BTreeSet<&String> = chains.iter().flatten().flatten().map(|(id, _)| id).collect();
    let parents: BTreeSet<String> =
        ids.iter().filter_map(|id| layer(files, limits, id).ok()?.parent).collect();
    let unnamed: Vec<String> =
        ids.iter().filter(|id| !parents.contains(*id) && !reached.contains(id)).cloned().collect();
    for id in unnamed {
        chains.push(chain(files, limits, &id));
        tops.push((id.chars().take(12).collect(), id));
    }
    if tops.is_empty() {
        return Err(Error::not_found(match ids.is_empty() {
            true => "an image; `repositories` lists none, and there is no layer",
            false => "an image; every layer of the archive is another's parent",
        }));
    }
    limits.images.check(size_of_len(tops.len()))?;
    let named = tops.into_iter().zip(chains).map(|((name, _), chain)| {
        let mut info = info(reference, ImageKind::DockerArchive);
        let content = chain.and_then(|chain| layers(files, chain, &mut info));
        let content = content.map(|layers| Content::Layers(LayerSet { layers }));
        (Some(name), Image { info, content, gaps: Vec::new() })
    });
    Ok(name_images(reference, named.collect()))
}

fn repositories(files: &dyn Files, limits: &Limits) -> Result<Repositories> {
    match files.read(&ImagePath::from("repositories"), limits.manifest_bytes) {
        Ok(json) => parse_json("docker archive", &json).at(|| "repositories".to_owned()),
        Err(error) if matches!(error.kind(), Kind::NotFound(_)) => Ok(Repositories::new()),
        Err(error) => Err(error),
    }
}

fn layer(files: &dyn Files, limits: &Limits, id: &str) -> Result<RawLayer> {
    let path = ImagePath::new(format!("{id}/json"));
    let json = files.read(&path, limits.manifest_bytes)?;
    let mut layer: RawLayer = parse_json("docker layer", &json).at(|| format!("{id}/json"))?;
    layer.parent = layer.parent.filter(|parent| !parent.is_empty());
    Ok(layer)
}

/// A layer and all those below it, topmost first.
fn chain(files: &dyn Files, limits: &Limits, top: &str) -> Result<Vec<(String, RawLayer)>> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(top.to_owned());
    while let Some(id) = next {
        if !seen.insert(id.clone()) {
            return Err(Error::malformed(
                "docker archive",
                "parent",
                None,
                "a layer below itself",
                "a chain",
            )
            .at(format!("{id}/json")));
        }
        limits.layers.check(size_of_len(seen.len()))?;
        check_version(files, limits, &id)?;
        let layer = layer(files, limits, &id)?;
        next = layer.parent.clone();
        chain.push((id, layer));
    }
    Ok(chain)
}

fn check_version(files: &dyn Files, limits: &Limits, id: &str) -> Result<()> {
    match files.read(&ImagePath::new(format!("{id}/VERSION")), limits.manifest_bytes) {
        Ok(version) if version.trim_ascii() == b"1.0" => Ok(()),
        Ok(version) => {
            let found = crate::error::quoted(version.trim_ascii());
            Err(Error::unsupported(format!("a layer of version {found}")).at(format!("{id}/VERSION")))
        }
        Err(error) if matches!(error.kind(), Kind::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn layers(files: &dyn Files, chain: Vec<(String, RawLayer)>, info: &mut ImageInfo) -> Result<Vec<LayerBlob>> {
    if let Some((_, top)) = chain.first() {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let platform = match (filled(&top.os), filled(&top.architecture)) {
            (Some(os), Some(arch)) => Some(OciPlatform { os, arch, variant: None }),
            _ => None,
        };
        info.os_arch = platform.as_ref().map(OciPlatform::to_string);
        info.created_at =
            top.created.as_ref().and_then(|text| text.parse().ok()).filter(|time: &Time| time.unix() > 0);
        check_os(platform.as_ref())?;
    }
    let count = chain.len();
    let layers = chain.into_iter().rev().enumerate().map(|(number, (id, layer))| {
        let blob = files.open(&ImagePath::new(format!("{id}/layer.tar")));
        LayerBlob {
            id: stratum_id(number),
            place: format!("{} {}", layer_place(number, count, None), id.get(..12).unwrap_or(&id)),
            digest: None,
            diff_id: None,
            size_bytes: blob.as_ref().map_or(0, |blob| blob.size_bytes()),
            created_by: layer.container_config.and_then(|config| config.cmd).map(|cmd| cmd.join(" ")),
            blob: blob.map_err(|error| error.hint("the image was saved without this layer; save it again")),
        }
    });
    Ok(layers.collect())
}
