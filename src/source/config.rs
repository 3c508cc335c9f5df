//! The image configuration (OCI image-spec 1.1, `config.md`; docker's is the same): platform, diff-ids, history.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::OciPlatform;
use crate::error::{Error, Result};
use crate::model::{Sha256, Time};

#[derive(Deserialize)]
struct RawConfig {
    created: Option<String>,
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: Option<RawRootfs>,
    history: Option<Vec<RawHistory>>,
}

#[derive(Deserialize)]
struct RawRootfs {
    diff_ids: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawHistory {
    created_by: Option<String>,
    #[serde(default)]
    empty_layer: bool,
}

/// What an image's configuration says.
pub(super) struct ImageConfig {
    pub(super) created_at: Option<Time>,
    pub(super) platform: Option<OciPlatform>,
    /// Digests of the layers' tars, lowest first.
    pub(super) diff_ids: Vec<Sha256>,
    /// What made each layer; empty if the history does not fit the layers.
    pub(super) created_by: Vec<Option<String>>,
}

impl ImageConfig {
    /// # Errors
    /// `Malformed` if it is not what it should be, `Unsupported` for digests of another algorithm.
    pub(super) fn parse(json: &[u8]) -> Result<Self> {
        let raw: RawConfig = parse_json("image configuration", json)?;
        let diff_ids: Vec<Sha256> = raw
            .rootfs
            .and_then(|rootfs| rootfs.diff_ids)
            .unwrap_or_default()
            .iter()
            .map(|text| parse_digest(text))
            .collect::<Result<_>>()?;
        let mut created_by: Vec<_> = raw
            .history
            .unwrap_or_default()
            .into_iter()
            .filter(|h| !h.empty_layer)
            .map(|h| h.created_by)
            .collect();
        if created_by.len() != diff_ids.len() {
            created_by.clear();
        }
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        let platform = match (filled(raw.os), filled(raw.architecture)) {
            (Some(os), Some(arch)) => Some(OciPlatform { os, arch, variant: filled(raw.variant) }),
            _ => None,
        };
        // Reproducible builds write the epoch or year one; that is no time of building.
        let created_at = raw.created.and_then(|text| text.parse().ok()).filter(|time: &Time| time.unix() > 0);
        Ok(ImageConfig { created_at, platform, diff_ids, created_by })
    }

    /// # Errors
    /// As [`check_os`].
    pub(super) fn check_os(&self) -> Result<()> {
        check_os(self.platform.as_ref())
    }

    /// # Errors
    /// `Malformed` if there are not as many diff-ids as layers.
    pub(super) fn check_layer_count(&self, layers: usize) -> Result<()> {
        if self.diff_ids.len() == layers {
            return Ok(());
        }
        Err(Error::malformed(
            "image configuration",
            "rootfs.diff_ids",
            None,
            format!("{} digests", self.diff_ids.len()),
            format!("one for each of the {layers} layers"),
        ))
    }
}

/// # Errors
/// `Unsupported` for Windows, whose layers hold `Files` and `Hives` and no packages that are known here.
pub(super) fn check_os(platform: Option<&OciPlatform>) -> Result<()> {
    match platform {
        Some(platform) if platform.os == "windows" => {
            Err(Error::unsupported(format!("a Windows image ({platform})"))
                .hint("what Windows has installed is not read, so it cannot be judged"))
        }
        _ => Ok(()),
    }
}

/// Reads JSON into a type.
///
/// # Errors
/// `Malformed` with the parser's words.
pub(super) fn parse_json<T: DeserializeOwned>(format: &'static str, json: &[u8]) -> Result<T> {
    serde_json::from_slice(json)
        .map_err(|error| Error::malformed(format, "JSON", None, error.to_string(), "what the format has"))
}

/// Reads `sha256:…`.
///
/// # Errors
/// `Unsupported` for another algorithm that the specification knows, else `Malformed`.
pub(super) fn parse_digest(text: &str) -> Result<Sha256> {
    if let Some((algorithm @ ("sha512" | "sha384" | "blake3"), _)) = text.split_once(':') {
        return Err(Error::unsupported(format!("{algorithm} digests")));
    }
    text.parse()
}

/// String annotations of a descriptor.
pub(super) type Annotations = BTreeMap<String, String>;
