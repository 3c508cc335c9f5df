//! Tars, plain or compressed as a whole: which kind of image one is, told by the names of all its members.
//!
//! An archive that is compressed as a whole has its layers before its index, and is inflated to a spool (a
//! file of the temporary directory beyond 8 MiB) with the ceilings `spool_file_bytes` and `inflate_ratio`;
//! from there it is read as a plain one. A root file system that is forced (`rootfs-tar:`) or does not fit needs
//! no spool.
//!
//! A cut-off archive is an image archive all the same: it is told by the names that are there, and bears a gap.

use std::collections::BTreeSet;
use std::io::{BufReader, Read};
use std::sync::Arc;

use super::blobs::ArchiveFiles;
use super::{Content, Image, LayerBlob, LayerSet, Options, broken, docker_archive, docker_v1, info, magic};
use super::{disk, oci, skopeo_dir, stratum_id, vm};
use crate::archive::tar::{BLOCK_BYTES, Index, looks_like_header};
use crate::bytes::{self, ReadAt, size_of_len};
use crate::codec::{self, Compression};
use crate::error::{Error, Kind, Result};
use crate::limits::Ceiling;
use crate::model::{Gap, ImageKind, ImagePath, Sha256};

/// Inflation is not judged before so many bytes: small archives of zeros are no bombs.
const RATIO_FREE_BYTES: u64 = 64 << 20;

/// Top directories of which a root file system has one at least.
const ROOT_DIRECTORIES: [&[u8]; 7] = [b"etc", b"usr", b"bin", b"sbin", b"lib", b"lib64", b"var"];

/// The images of a file that starts like this, if it is a tar or compressed.
///
/// # Errors
/// `Unsupported` and `Config` if it is, and no image archive and no root file system.
pub(super) fn images(
    reference: &str,
    forced: Option<ImageKind>,
    file: &Arc<dyn ReadAt>,
    head: &[u8],
    options: &Options,
) -> Result<Option<Vec<Image>>> {
    let compression = Compression::of(head);
    if compression == Compression::Plain {
        if !head.first_chunk().is_some_and(looks_like_header) {
            return Ok(None);
        }
        if forced == Some(ImageKind::RootfsTar) {
            return Ok(Some(vec![rootfs(reference, Ok(Arc::clone(file)))]));
        }
        let archive = Archive { reference, forced, file, failure: None, options };
        return archive.images(Index::read(Arc::clone(file), &options.limits), file).map(Some);
    }
    let start = start(&**file, compression, options)?;
    let is_disk = match forced {
        Some(kind) => kind == ImageKind::Disk,
        None => magic::is_raw_disk(&start) || disk::kind(&start)?.is_some(),
    };
    if is_disk && !start.first_chunk().is_some_and(looks_like_header) {
        let (plain, failure) = inflate(&**file, compression, options.limits.spool_disk_bytes, options)?;
        return Ok(Some(vec![vm::of_inflated(reference, &plain, failure, options)]));
    }
    if !start.first_chunk().is_some_and(looks_like_header) {
        return Err(magic::refuse_compressed(compression, &start));
    }
    if forced == Some(ImageKind::RootfsTar) {
        return Ok(Some(vec![rootfs(reference, Ok(Arc::clone(file)))]));
    }
    let (plain, failure) = inflate(&**file, compression, options.limits.spool_file_bytes, options)?;
    let index = Index::read(Arc::clone(&plain), &options.limits);
    Archive { reference, forced, file, failure, options }.images(index, &plain).map(Some)
}

/// The first inflated bytes: as many as tell what is inside, or as there are.
fn start(file: &dyn ReadAt, compression: Compression, options: &Options) -> Result<Vec<u8>> {
    let stream = BufReader::new(bytes::Reader::new(file));
    let mut decoder = codec::decoder(compression, stream, &options.limits)?;
    let mut start = vec![0; usize::try_from(magic::HEAD_BYTES).unwrap_or(BLOCK_BYTES)];
    let mut filled = 0_usize;
    while let Some(rest) = start.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match decoder.read(rest) {
            Ok(0) => break,
            // What is cut off can still be told by what is there.
            Err(_) if filled >= BLOCK_BYTES => break,
            Err(error) => return Err(error.into()),
            Ok(len) => filled = filled.saturating_add(len),
        }
    }
    start.truncate(filled);
    Ok(start)
}

/// All inflated bytes, or those before a failure with that failure.
///
/// # Errors
/// If the spool cannot be begun.
fn inflate(
    file: &dyn ReadAt,
    compression: Compression,
    ceiling: Ceiling,
    options: &Options,
) -> Result<(Arc<dyn ReadAt>, Option<Error>)> {
    const BUFFER_BYTES: usize = 256 << 10;
    let limits = &*options.limits;
    let mut spool = options.spool.writer_below(ceiling, 0)?;
    let stream = BufReader::with_capacity(BUFFER_BYTES, bytes::Reader::new(file));
    let mut decoder = codec::decoder(compression, stream, limits)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut inflated = 0_u64;
    let failure = loop {
        let len = match decoder.read(&mut buffer) {
            Ok(0) => break None,
            Ok(len) => len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => break Some(Error::from(error)),
        };
        inflated = inflated.saturating_add(size_of_len(len));
        // How much was taken is not known here; the whole is a bound that a bomb cannot move.
        let ratio = inflated.checked_div(file.size_bytes()).unwrap_or(u64::MAX);
        let checked = match inflated > RATIO_FREE_BYTES {
            true => limits.inflate_ratio.check(ratio).map(drop),
            false => Ok(()),
        };
        if let Err(error) = checked.and_then(|()| spool.push(buffer.get(..len).unwrap_or(&buffer))) {
            break Some(error);
        }
    };
    let failure = failure.map(|error| {
        let at = format!("{compression} archive");
        match error.kind() {
            Kind::Limit { .. } | Kind::Io(_) => error.at(at).hint("unpack it and name the plain archive"),
            _ => error.at(at),
        }
    });
    drop(decoder);
    Ok((Arc::new(spool.finish()), failure))
}

/// A root file system in a tar.
fn rootfs(reference: &str, blob: Result<Arc<dyn ReadAt>>) -> Image {
    let layer = |blob: Arc<dyn ReadAt>| LayerBlob {
        id: stratum_id(0),
        place: "root file system".to_owned(),
        digest: None,
        diff_id: None,
        size_bytes: blob.size_bytes(),
        created_by: None,
        blob: Ok(blob),
    };
    let content = blob.map(|blob| Content::Layers(LayerSet { layers: vec![layer(blob)] }));
    Image { info: info(reference, ImageKind::RootfsTar), content, gaps: Vec::new() }
}

/// A tar whose members are known.
struct Archive<'a> {
    reference: &'a str,
    forced: Option<ImageKind>,
    /// As it is stored.
    file: &'a Arc<dyn ReadAt>,
    /// Why not all of it was inflated.
    failure: Option<Error>,
    options: &'a Options,
}

impl Archive<'_> {
    fn images(&self, index: Index, plain: &Arc<dyn ReadAt>) -> Result<Vec<Image>> {
        let damage = self.failure.clone().or_else(|| index.damage().cloned());
        let names = Names::of(&index);
        let files = ArchiveFiles::new(index);
        let kind = match self.forced {
            Some(kind) => kind,
            None => names.kind(damage.as_ref(), skopeo_dir::is_one(&files))?,
        };
        let (reference, options) = (self.reference, self.options);
        let images = match kind {
            ImageKind::OciArchive => oci::images(reference, kind, &files, options),
            ImageKind::SkopeoDir => skopeo_dir::images(reference, &files, options),
            ImageKind::Disk => Ok(vec![vm::of_archive(reference, &files, &names.disks, options)]),
            ImageKind::RootfsTar => {
                let blob = match &self.failure {
                    None => Ok(Arc::clone(plain)),
                    // It need not fit the spool: layers are inflated as they are read, with ceilings of their own.
                    Some(error) if matches!(error.kind(), Kind::Limit { .. } | Kind::Io(_)) => {
                        Ok(Arc::clone(self.file))
                    }
                    Some(error) => Err(error.clone()),
                };
                return Ok(vec![rootfs(reference, blob)]);
            }
            _ if !names.has_manifest && names.is_docker_v1() && damage.is_none() => {
                docker_v1::images(reference, &files, &names.v1_ids, options)
            }
            _ => docker_archive::images(reference, &files, options),
        };
        let images = self.or_by_manifest(images, kind, &names, &files);
        let mut images = images.unwrap_or_else(|error| vec![broken(reference, kind, error)]);
        if let Some(damage) = damage {
            let place = match damage.place() {
                place if place.is_empty() => "archive".to_owned(),
                place => place,
            };
            let hint = damage.hint_text().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
            let gap = Gap { place, reason: format!("{}{hint}", damage.reason()), required: true };
            images.iter_mut().for_each(|image| image.gaps.push(gap.clone()));
        }
        Ok(images)
    }

    /// docker writes its old index beside the layout; where the layout lacks something, that may be whole.
    fn or_by_manifest(
        &self,
        images: Result<Vec<Image>>,
        kind: ImageKind,
        names: &Names,
        files: &ArchiveFiles,
    ) -> Result<Vec<Image>> {
        let may_be = self.forced.is_none()
            && !self.options.all_platforms
            && kind == ImageKind::OciArchive
            && names.has_manifest;
        if !may_be || images.as_ref().is_ok_and(|images| are_whole(images)) {
            return images;
        }
        match docker_archive::images(self.reference, files, self.options) {
            Ok(others) if are_whole(&others) => Ok(others),
            _ => images,
        }
    }
}

/// Whether nothing that these images need is absent. What is there and damaged is no reason to look elsewhere.
fn are_whole(images: &[Image]) -> bool {
    let is_absent = |error: &Error| matches!(error.kind(), Kind::NotFound(_));
    images.iter().all(|image| match &image.content {
        Ok(Content::Layers(set)) => !set.layers.iter().any(|l| l.blob.as_ref().is_err_and(is_absent)),
        Ok(_) => true,
        Err(error) => !is_absent(error),
    })
}

/// What the names of an archive's members tell.
#[derive(Default)]
struct Names {
    has_layout: bool,
    has_index: bool,
    has_manifest: bool,
    has_repositories: bool,
    has_blobs: bool,
    /// Layers as docker, podman, kaniko and skopeo name them.
    has_layers: bool,
    /// Directories with a `layer.tar` and a `json`.
    v1_ids: BTreeSet<String>,
    /// A directory that a root file system has.
    root: Option<String>,
    /// What may be disks, by their names.
    disks: Vec<ImagePath>,
    /// `Files` and `Hives`.
    is_of_windows: bool,
}

impl Names {
    fn of(index: &Index) -> Self {
        let has = |name: &str| index.contains(&ImagePath::from(name));
        let mut names = Names {
            is_of_windows: has("Files") && has("Hives"),
            has_layout: has("oci-layout"),
            has_index: has("index.json"),
            has_manifest: has("manifest.json"),
            has_repositories: has("repositories"),
            ..Names::default()
        };
        for path in index.paths() {
            let mut parts = path.components();
            let (first, second, third) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
            names.has_blobs |= first == b"blobs" && second == Some(b"sha256");
            names.has_layers |= is_digest(first) || (second == Some(b"layer.tar") && third.is_none());
            if second == Some(b"layer.tar") && third.is_none() {
                names.v1_ids.extend(std::str::from_utf8(first).map(str::to_owned));
            }
            if vm::is_named_so(path) {
                names.disks.push(path.clone());
            }
            if names.root.is_none() && ROOT_DIRECTORIES.contains(&first) {
                names.root = Some(String::from_utf8_lossy(first).into_owned());
            }
        }
        names.v1_ids.retain(|id| index.contains(&ImagePath::new(format!("{id}/json"))));
        names
    }

    fn is_docker_v1(&self) -> bool {
        self.has_repositories || !self.v1_ids.is_empty()
    }

    /// The kind of image archive, by the first name that tells it.
    fn archive(&self, is_damaged: bool, is_skopeo_dir: bool) -> Option<(ImageKind, &'static str)> {
        Some(match () {
            () if self.has_index && self.has_layout => (ImageKind::OciArchive, "index.json"),
            () if is_skopeo_dir => (ImageKind::SkopeoDir, "manifest.json"),
            () if self.has_manifest => (ImageKind::DockerArchive, "manifest.json"),
            () if self.has_layout => (ImageKind::OciArchive, "oci-layout"),
            () if self.has_index => (ImageKind::OciArchive, "index.json"),
            () if is_damaged && self.has_blobs => (ImageKind::OciArchive, "blobs"),
            () if self.has_repositories => (ImageKind::DockerArchive, "repositories"),
            () if !self.v1_ids.is_empty() => (ImageKind::DockerArchive, "layer.tar"),
            () if is_damaged && self.has_layers => (ImageKind::DockerArchive, "layers"),
            () => return None,
        })
    }

    /// What the archive is.
    ///
    /// # Errors
    /// If it is nothing that is known, or more than one thing; `damage` if that is why.
    fn kind(&self, damage: Option<&Error>, is_skopeo_dir: bool) -> Result<ImageKind> {
        match (self.archive(damage.is_some(), is_skopeo_dir), &self.root) {
            (Some((kind, _)), None) => Ok(kind),
            (None, Some(_)) => Ok(ImageKind::RootfsTar),
            (None, None) if !self.disks.is_empty() => Ok(ImageKind::Disk),
            (Some((kind, by)), Some(root)) => Err(Error::config(format!(
                "a tar that may be an image archive (it has `{by}`) and a root file system (it has `{root}`)"
            ))
            .hint(format!("force one of them: {kind}:… or {}:…", ImageKind::RootfsTar))),
            (None, None) => Err(match damage {
                Some(damage) => damage.clone().hint("the archive is damaged; fetch or build it again"),
                None if self.is_of_windows => {
                    Error::unsupported("a layer of a Windows image (it has `Files` and `Hives`)")
                        .hint("what Windows has installed is not read, so it cannot be judged")
                }
                None if self.has_blobs || self.has_layers => {
                    Error::unsupported("an image archive without its index (index.json or manifest.json)")
                        .hint("save or copy the image again")
                }
                None => Error::unsupported(
                    "a tar that is no image archive and no root file system: it has none of etc, usr, bin, sbin, lib and var",
                )
                .hint("if it is the root file system of a small image all the same, force it: rootfs-tar:…"),
            }),
        }
    }
}

/// Whether a name starts with a digest or is one: `<digits>.tar`, `<digits>/…`, `sha256:<digits>`.
fn is_digest(name: &[u8]) -> bool {
    let name = name.strip_prefix(b"sha256:").unwrap_or(name);
    let digits = name.get(..64).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(Sha256::from_hex).is_some()
}
