//! Container layers as strata: each visit streams the stored bytes once, and on the way hashes them, inflates
//! them, hashes the tar, and shows its members.
//!
//! A visit has two stages on two threads: read and inflate, and hash and parse; between them runs a ring of
//! eight buffers that are used again and again. Plain layers have them as well: an image is often one layer,
//! and reading it costs a quarter of hashing it. Nothing is unpacked; what a sink wants at random is handed out
//! from the buffer where the file lies in it whole, and goes through a spool where it does not.
//!
//! Whiteouts (OCI image-spec 1.1, `layer.md`): `.wh.NAME` hides NAME of lower layers, `.wh..wh..opq` everything
//! in its directory; other names with `.wh..wh.` are aufs' own and no files.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use crate::bytes::ReadAt;
use crate::codec::{Compression, MAGIC_BYTES, SpoolPool};
use crate::error::{Error, Result, ResultExt as _};
use crate::limits::Limits;
use crate::model::{Sha256, StratumId};
use crate::source::{LayerBlob, LayerSet};
use crate::stratum::{Proven, Scope, Sink, Stratum};

mod members;
mod stream;

use members::show_members;

/// What visiting a layer depends on.
#[derive(Clone)]
pub struct Options {
    /// The ceilings.
    pub limits: Arc<Limits>,
    /// Where content goes that is wanted at random.
    pub spool: Arc<SpoolPool>,
    /// Stored bytes that were read, over all visits.
    pub progress: Arc<AtomicU64>,
}

/// The layers of an image as strata, lowest first. A layer without bytes is a stratum whose visit says why.
#[must_use]
pub fn strata(set: LayerSet, options: &Options) -> Vec<Box<dyn Stratum>> {
    let stratum = |layer| -> Box<dyn Stratum> {
        Box::new(LayerStratum { layer, options: options.clone(), proven: Mutex::default() })
    };
    set.layers.into_iter().map(stratum).collect()
}

struct LayerStratum {
    layer: LayerBlob,
    options: Options,
    proven: Mutex<Option<Proven>>,
}

/// The digest of a layer's bytes as they are stored. Nothing is inflated.
///
/// # Errors
/// Those of reading; `Limit` for more bytes than a layer may have.
pub fn stored_digest(blob: &dyn ReadAt, options: &Options) -> Result<Sha256> {
    let digests = stream::stream(blob, Compression::Plain, options, |stream| {
        loop {
            let len = stream.fill_buf()?.len();
            if len == 0 {
                return Ok(());
            }
            stream.consume(len);
        }
    })?;
    Ok(digests.stored)
}

impl Stratum for LayerStratum {
    fn id(&self) -> StratumId {
        self.layer.id
    }

    fn digest(&self) -> Option<Sha256> {
        self.layer.digest.or(self.layer.diff_id)
    }

    fn size_bytes(&self) -> u64 {
        self.layer.size_bytes
    }

    fn proven(&self) -> Option<Proven> {
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn visit(&self, scope: Scope<'_>, sink: &dyn Sink) -> Result<()> {
        self.stream(scope, sink).at(|| self.layer.place.clone())
    }
}

impl LayerStratum {
    fn stream(&self, scope: Scope<'_>, sink: &dyn Sink) -> Result<()> {
        let blob = match &self.layer.blob {
            Ok(blob) => &**blob,
            Err(error) => return Err(error.clone()),
        };
        let mut magic = [0; MAGIC_BYTES];
        let known = usize::try_from(blob.size_bytes()).map_or(MAGIC_BYTES, |size| size.min(MAGIC_BYTES));
        let magic = magic.get_mut(..known).unwrap_or_default();
        blob.read_exact_at(0, magic)?;
        let digests = stream::stream(blob, Compression::of(magic), &self.options, |stream| {
            show_members(stream, &self.layer.place, scope, sink, &self.options)
        })?;
        check("digest of the stored layer", digests.stored, self.layer.digest)?;
        check("digest of the layer's tar (diff-id)", digests.tar, self.layer.diff_id)?;
        let proven = Proven { stored: digests.stored, tar: digests.tar };
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = Some(proven);
        Ok(())
    }
}

fn check(what: &'static str, found: Sha256, want: Option<Sha256>) -> Result<()> {
    match want {
        Some(want) if want != found => {
            Err(Error::malformed("layer", what, None, found.to_string(), want.to_string()).hint(
                "its bytes are not those that the image names, and nothing of it is believed; fetch or build the image again",
            ))
        }
        _ => Ok(()),
    }
}
