//! Images in registries: `registry:HOST[:PORT]/NAME[:TAG|@sha256:…]`, read layer by layer as they come, and
//! nothing of them stored.
//!
//! The protocol is that of the OCI distribution specification 1.1 (`spec.md`, pull). What an index or manifest
//! means, and which platform is taken, is the business of the OCI layout's reader, which sees a registry as
//! another place of blobs: every document is held against the digest that named it, and the first against the
//! digest that the registry itself says (`Docker-Content-Digest`). Layers stream through the same reader as
//! those of archives.
//!
//! Names, media types, tokens and error documents are read by `oci-client`. Its requests are not used: it
//! gathers manifests, tokens and errors in memory whatever their size, hides `Retry-After` and the status
//! behind its errors, follows redirects from https to http, and knows no refresh tokens. A registry is as
//! untrusted as the image in it, so the requests are made here, with the HTTP client that it builds on.
//!
//! Not done: `urls` of layers that are distributed elsewhere (an image must not choose whom karat asks),
//! client certificates, signatures, docker's schema 1.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::blobs::{Files, check_digest};
use super::oci::{self, Descriptor};
use super::{Image, Options, broken};
use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::model::{ImageKind, ImagePath, Sha256};

mod blob;
mod credentials;
mod name;
mod session;
mod transport;

use blob::{HEAD_BYTES, RemoteBlob};
use name::{Name, Version};
use session::{Fetched, Session};

/// How registries are spoken with: what the user said and what the environment holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryOptions {
    /// The one file of credentials that counts, if the user named one; it must be there.
    pub auth_file: Option<PathBuf>,
    /// Where else credentials may be stored, the most important first; files that are absent are passed over.
    pub searched_auth_files: Vec<PathBuf>,
    /// Folders with credential helpers: those of `PATH`.
    pub helper_folders: Vec<PathBuf>,
    /// PEM files of CAs that are believed beside the system's.
    pub ca_files: Vec<PathBuf>,
    /// Where systems keep their CAs; the first that is there is read.
    pub ca_bundles: Vec<PathBuf>,
    /// Hosts (`HOST` or `HOST:PORT`) without TLS.
    pub plain_http: Vec<String>,
    /// The proxy for https.
    pub https_proxy: Option<String>,
    /// The proxy for plain http.
    pub http_proxy: Option<String>,
    /// Hosts that are asked without proxy, separated by commas.
    pub no_proxy: Option<String>,
}

impl RegistryOptions {
    /// The files of credentials, in the order in which they are asked.
    fn auth_files(&self) -> impl Iterator<Item = &PathBuf> {
        let searched = if self.auth_file.is_some() { &[][..] } else { &self.searched_auth_files };
        self.auth_file.iter().chain(searched)
    }
}

/// The image that a name leads to (all of its platforms, where they are wanted).
///
/// # Errors
/// If the name leads to no image: it is none, or its registry cannot be reached, refuses or has no such image.
/// What is wrong behind the first manifest is told by the image.
pub(super) fn images(reference: &str, name: &str, options: &Options) -> Result<Vec<Image>> {
    let name = Name::parse(name)?;
    let registry = Arc::clone(&options.registry);
    let session = Arc::new(Session::new(name, registry, Arc::clone(&options.limits))?);
    let fetched = session.root()?;
    let read = Root::check(fetched, &session.name).and_then(|root| {
        let descriptor =
            Descriptor::of_root(root.media_type.clone(), root.digest, size_of_len(root.bytes.len()));
        let files = RegistryFiles { session, root, small: Mutex::default() };
        oci::images_of(reference, ImageKind::Registry, &files, options, &[descriptor])
    });
    Ok(read.unwrap_or_else(|error| vec![broken(reference, ImageKind::Registry, error)]))
}

/// The manifest or index that a name led to, held against the digests that are known of it.
struct Root {
    media_type: Option<String>,
    digest: Sha256,
    bytes: Vec<u8>,
}

impl Root {
    fn check(fetched: Fetched, name: &Name) -> Result<Self> {
        let place = || "manifest".to_owned();
        let bytes = fetched.bytes.at(place)?;
        let digest = Sha256::of(&bytes);
        if let Version::Digest(want) = &name.version {
            check_digest(&bytes, *want).at(place)?;
        }
        // Of digests by other algorithms nothing is claimed, and nothing can be checked.
        if let Some(said) = fetched.digest.filter(|said| said.starts_with("sha256:")) {
            let want: Sha256 = said.parse().map_err(|_: Error| {
                Error::malformed("registry", "Docker-Content-Digest", None, quoted(&said), "a sha256 digest")
                    .at(place())
            })?;
            check_digest(&bytes, want).at(|| "manifest against Docker-Content-Digest".to_owned())?;
        }
        Ok(Root { media_type: fetched.media_type, digest, bytes })
    }
}

/// A registry as a place of blobs.
struct RegistryFiles {
    session: Arc<Session>,
    root: Root,
    /// Small blobs that were asked for: the configuration is read for its platform and for its layers.
    small: Mutex<BTreeMap<Sha256, Arc<RemoteBlob>>>,
}

impl Files for RegistryFiles {
    fn open(&self, path: &ImagePath) -> Result<Arc<dyn ReadAt>> {
        Err(Error::not_found(format!("`{path}`: a registry has no files")))
    }

    fn blob(&self, digest: Sha256, size_bytes: u64) -> Result<Arc<dyn ReadAt>> {
        self.session.limits.layer_bytes.check(size_bytes)?;
        let open = || Arc::new(RemoteBlob::new(Arc::clone(&self.session), digest, size_bytes));
        if size_bytes > size_of_len(HEAD_BYTES) {
            return Ok(open());
        }
        let mut small = self.small.lock().unwrap_or_else(PoisonError::into_inner);
        let known = small.get(&digest).filter(|blob| blob.size_bytes() == size_bytes).cloned();
        let blob = known.unwrap_or_else(open);
        small.insert(digest, Arc::clone(&blob));
        Ok(blob)
    }

    fn manifest(&self, digest: Sha256, _size_bytes: u64) -> Result<Arc<dyn ReadAt>> {
        if digest == self.root.digest {
            return Ok(Arc::new(self.root.bytes.clone()));
        }
        Ok(Arc::new(self.session.manifest(digest)?))
    }

    fn is_remote(&self) -> bool {
        true
    }
}
