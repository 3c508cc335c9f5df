//! What `skopeo copy … dir:DIR` writes (containers/image, `directory` transport 1.1): `version`, `manifest.json`
//! and beside them every blob by the digits of its digest. With `--all`, `manifest.json` is an index, and its
//! manifests are `<digits>.manifest.json`. Signatures are `signature-N`. Version 1.0 wrote layers as
//! `<digits>.tar`.
//!
//! It is read as the OCI layout that it stands for: an index of one, and blobs by digest.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::blobs::Files;
use super::config::parse_json;
use super::{Image, Options, oci};
use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Kind, Result, ResultExt as _};
use crate::limits::{Ceiling, Limits};
use crate::model::{ImageKind, ImagePath, Sha256};

const VERSION: &[u8] = b"Directory Transport Version: ";

/// Whether these files are such a directory: by what `version` says.
pub(super) fn is_one(files: &dyn Files) -> bool {
    files.open(&ImagePath::from("manifest.json")).is_ok()
        && version(files, Limits::default().manifest_bytes).is_ok_and(|version| version.starts_with(VERSION))
}

fn version(files: &dyn Files, ceiling: Ceiling) -> Result<Vec<u8>> {
    files.read(&ImagePath::from("version"), ceiling)
}

/// The images of such a directory.
///
/// # Errors
/// If its version or manifest cannot be read.
pub(super) fn images(reference: &str, files: &dyn Files, options: &Options) -> Result<Vec<Image>> {
    let ceiling = options.limits.manifest_bytes;
    let version = version(files, ceiling)?;
    let number = version.strip_prefix(VERSION).unwrap_or(&version).trim_ascii();
    if !number.starts_with(b"1.") {
        let found = crate::error::quoted(number);
        return Err(Error::unsupported(format!("directory transport version {found}")).at("version"));
    }
    let manifest = files.read(&ImagePath::from("manifest.json"), ceiling)?;
    let said: Said = parse_json("image manifest", &manifest).at(|| "manifest.json".to_owned())?;
    let digest = Sha256::of(&manifest);
    let mut entry = json!({ "digest": digest.to_string(), "size": size_of_len(manifest.len()) });
    if let (Some(media_type), Some(entry)) = (said.media_type, entry.as_object_mut()) {
        entry.insert("mediaType".into(), media_type.into());
    }
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string().into_bytes();
    let layout = AsLayout { files, manifest, digest, index };
    oci::images(reference, ImageKind::SkopeoDir, &layout, options)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    media_type: Option<String>,
}

/// The files of an OCI layout, out of such a directory.
struct AsLayout<'a> {
    files: &'a dyn Files,
    manifest: Vec<u8>,
    digest: Sha256,
    index: Vec<u8>,
}

impl Files for AsLayout<'_> {
    fn open(&self, path: &ImagePath) -> Result<Arc<dyn ReadAt>> {
        if path.as_bytes() == b"index.json" {
            return Ok(Arc::new(self.index.clone()));
        }
        let Some(digits) = path.as_bytes().strip_prefix(b"blobs/sha256/") else {
            return Err(Error::not_found(format!("`{path}`")));
        };
        if digits == self.digest.hex().as_bytes() {
            return Ok(Arc::new(self.manifest.clone()));
        }
        let first = self.files.open(&ImagePath::new(digits));
        for ending in [&b".manifest.json"[..], b".tar"] {
            if !first.as_ref().is_err_and(|error| matches!(error.kind(), Kind::NotFound(_))) {
                break;
            }
            if let Ok(file) = self.files.open(&ImagePath::new([digits, ending].concat())) {
                return Ok(file);
            }
        }
        first
    }
}
