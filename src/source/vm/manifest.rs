//! The manifest beside the descriptor of an appliance, and whether its digests hold.
//!
//! A digest that does not hold makes its file one that is not believed. The descriptor is always checked. Disks are
//! checked only if that is asked for, since a look-up reads a hundredth of them; that they were not is told.

use std::sync::Arc;

use crate::bytes::{ReadAt, read_all, size_of_len};
use crate::error::{Error, Kind, Result, ResultExt as _};
use crate::format::ovf_manifest::{self, Algorithm, Entry};
use crate::limits::Limits;
use crate::model::Gap;

/// What the manifest of an appliance says; `None` where it has none, or none that can be read.
pub(super) struct Manifest {
    entries: Option<Vec<Entry>>,
}

impl Manifest {
    /// The manifest beside the descriptor of this name; one that cannot be read is a gap.
    pub(super) fn read(
        descriptor: &str,
        raw: &dyn Fn(&str) -> Result<Arc<dyn ReadAt>>,
        limits: &Limits,
        gaps: &mut Vec<Gap>,
    ) -> Self {
        let name = match descriptor.rsplit_once('.') {
            Some((stem, _)) => format!("{stem}.mf"),
            None => format!("{descriptor}.mf"),
        };
        let read = raw(&name).and_then(|file| {
            let text = read_all(&*file, limits.disk_descriptor_bytes)?;
            ovf_manifest::decode(&text, limits)
        });
        let entries = match read {
            Ok(entries) => Some(entries),
            Err(error) if matches!(error.kind(), Kind::NotFound(_)) => None,
            Err(error) => {
                let reason = format!("the digests of the appliance were not checked: {error}");
                gaps.push(Gap { place: name, reason, required: true });
                None
            }
        };
        Manifest { entries }
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        let plain = |name: &str| name.strip_prefix("./").unwrap_or(name).to_owned();
        self.entries.iter().flatten().find(|entry| plain(&entry.name) == plain(name))
    }

    /// Checks bytes that were read.
    ///
    /// # Errors
    /// `Malformed` if the manifest has another digest for them.
    pub(super) fn check_bytes(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match self.entry(name) {
            Some(entry) => check(entry, &bytes.to_vec()).at(|| name.to_owned()),
            None => Ok(()),
        }
    }

    /// Checks a file, if that is wanted; what has to be said of it.
    ///
    /// # Errors
    /// `Malformed` if the manifest has another digest for it, those of opening it, and `Io`.
    pub(super) fn check_file(
        &self,
        name: &str,
        raw: &dyn Fn(&str) -> Result<Arc<dyn ReadAt>>,
        is_wanted: bool,
    ) -> Result<Option<String>> {
        let Some(entry) = self.entry(name) else {
            let is_there = self.entries.is_some();
            return Ok(is_there.then(|| "the manifest of the appliance has no digest of it".to_owned()));
        };
        if !is_wanted {
            return Ok(Some("not checked against the digest in the manifest: --digest does".to_owned()));
        }
        check(entry, &*raw(name)?)?;
        Ok(Some("its digest is the one in the manifest".to_owned()))
    }

    /// The files of the manifest but the descriptor and these.
    pub(super) fn others<'a>(
        &'a self,
        descriptor: &'a str,
        disks: &'a [String],
    ) -> impl Iterator<Item = &'a str> {
        let names = self.entries.iter().flatten().map(|entry| entry.name.as_str());
        names.filter(move |name| *name != descriptor && !disks.iter().any(|disk| disk == name))
    }
}

fn check(entry: &Entry, file: &dyn ReadAt) -> Result<()> {
    let found = match entry.algorithm {
        Algorithm::Sha1 => digest::<sha1::Sha1>(file),
        Algorithm::Sha256 => digest::<sha2::Sha256>(file),
        Algorithm::Sha384 => digest::<sha2::Sha384>(file),
        Algorithm::Sha512 => digest::<sha2::Sha512>(file),
    }?;
    if found == entry.hex {
        return Ok(());
    }
    Err(Error::malformed("OVF manifest", "digest", None, found, entry.hex.clone())
        .hint("the file is not the one that the appliance was made with; fetch or export it again"))
}

/// The digest of a whole file in hexadecimal digits.
fn digest<D: sha2::Digest>(file: &dyn ReadAt) -> Result<String> {
    let mut sum = D::new();
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0_u64;
    while at < file.size_bytes() {
        let left = usize::try_from(file.size_bytes().saturating_sub(at)).unwrap_or(usize::MAX);
        let len = left.min(buffer.len());
        let part = buffer.get_mut(..len).unwrap_or_default();
        file.read_exact_at(at, part)?;
        sum.update(&*part);
        at = at.saturating_add(size_of_len(len));
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
