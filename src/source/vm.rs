//! VM images: disks by themselves, compressed as a whole, in a tar (as clouds export them), or described by the
//! OVF descriptor of an appliance, in a folder or a tar (OVA).

use std::path::Path;
use std::sync::Arc;

use super::blobs::{ArchiveFiles, Files as _};
use super::disk::{self, DiskFormat, Folder, NoSiblings, Siblings, open_disk};
use super::{Content, Image, NamedDisk, Options, info};
use crate::bytes::{ReadAt, read_all, size_of_len};
use crate::error::{Error, Result};
use crate::format::ovf;
use crate::limits::Limits;
use crate::model::{Gap, ImageKind, ImagePath};

mod manifest;

use manifest::Manifest;

/// Ends of names that disks in a tar have.
const DISK_NAMES: [&[u8]; 9] =
    [b".vmdk", b".vhd", b".vhdx", b".vdi", b".qcow2", b".raw", b".img", b".ovf", b".iso"];

/// Whether a member of a tar may be a disk or describe some, by its name.
pub(super) fn is_named_so(path: &ImagePath) -> bool {
    let name = path.name().to_ascii_lowercase();
    DISK_NAMES.iter().any(|end| name.ends_with(end)) && !name.starts_with(b".")
}

/// Whether a file starts like the descriptor of an appliance.
pub(super) fn is_descriptor(head: &[u8]) -> bool {
    let start = head.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    start.first() == Some(&b'<') && memchr::memmem::find(head, b"schemas.dmtf.org/ovf/envelope").is_some()
}

/// The image of a disk, or of an appliance's descriptor, in a folder.
pub(super) fn of_file(
    reference: &str,
    path: &Path,
    file: &Arc<dyn ReadAt>,
    head: &[u8],
    options: &Options,
) -> Image {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let siblings = Folder::new(folder, &options.disk_folders);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let limits = &options.limits;
    let mut gaps = Vec::new();
    let content = match is_descriptor(head) {
        true => {
            let files = ApplianceFiles {
                raw: &|href| Ok(siblings.refer(href)?.file),
                disk: &|href| open_disk(href, siblings.refer(href)?.file, &siblings, limits),
            };
            appliance(&name, &**file, &files, options, &mut gaps)
        }
        false => open_disk(&name, Arc::clone(file), &siblings, limits)
            .map(|disk| Content::Disks(vec![NamedDisk::alone(disk)])),
    };
    Image { info: info(reference, ImageKind::Disk), content, gaps }
}

/// The image of a disk that was compressed as a whole; `failure` is why not all of it was inflated.
pub(super) fn of_inflated(
    reference: &str,
    file: &Arc<dyn ReadAt>,
    failure: Option<Error>,
    options: &Options,
) -> Image {
    let disk = open_disk("disk", Arc::clone(file), &NoSiblings, &options.limits);
    let gap = failure.map(|error| {
        let hint = error.hint_text().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        Gap { place: "disk".into(), reason: format!("cut off: {}{hint}", error.reason()), required: true }
    });
    let content = disk.map(|disk| Content::Disks(vec![NamedDisk::alone(disk)]));
    Image { info: info(reference, ImageKind::Disk), content, gaps: gap.into_iter().collect() }
}

/// The image of the disks in a tar; `members` are those that [`is_named_so`].
pub(super) fn of_archive(
    reference: &str,
    files: &ArchiveFiles,
    members: &[ImagePath],
    options: &Options,
) -> Image {
    let mut gaps = Vec::new();
    let content = in_archive(files, members, options, &mut gaps);
    Image { info: info(reference, ImageKind::Disk), content, gaps }
}

impl NamedDisk {
    /// The only disk of an image.
    fn alone(disk: disk::Disk) -> Self {
        NamedDisk { name: String::new(), disk: Ok(disk), notes: Vec::new() }
    }
}

fn in_archive(
    files: &ArchiveFiles,
    members: &[ImagePath],
    options: &Options,
    gaps: &mut Vec<Gap>,
) -> Result<Content> {
    let limits = &options.limits;
    let open = |path: &ImagePath| {
        let siblings = Members { files, folder: path.parent(), members };
        let name = String::from_utf8_lossy(path.name()).into_owned();
        open_disk(&name, files.open(path)?, &siblings, limits)
    };
    if let Some(descriptor) = members.iter().find(|path| path.name().to_ascii_lowercase().ends_with(b".ovf"))
    {
        let path = |href: &str| Ok::<_, Error>(descriptor.parent().join(disk::plain_name(href)?));
        let of_appliance =
            ApplianceFiles { raw: &|href| files.open(&path(href)?), disk: &|href| open(&path(href)?) };
        let name = String::from_utf8_lossy(descriptor.name()).into_owned();
        return appliance(&name, &*files.open(descriptor)?, &of_appliance, options, gaps);
    }
    let mut told = Vec::new();
    for path in members {
        let file = files.open(path)?;
        let is_text = file.size_bytes() < limits.disk_descriptor_bytes.max;
        told.push((path, disk::kind(&*file)?, is_text));
    }
    // What a descriptor or another format is there for is not a disk of its own.
    let is_descriptor = |(_, kind, is_text): &&(&ImagePath, Option<DiskFormat>, bool)| {
        *kind == Some(DiskFormat::Vmdk) && *is_text
    };
    let mut chosen: Vec<&ImagePath> = told.iter().filter(is_descriptor).map(|(path, ..)| *path).collect();
    if chosen.is_empty() {
        chosen = told.iter().filter(|(_, kind, _)| kind.is_some()).map(|(path, ..)| *path).collect();
    }
    if chosen.is_empty() {
        chosen = members.iter().collect();
    }
    let is_one = chosen.len() == 1;
    let named = |path: &ImagePath| NamedDisk {
        name: if is_one { String::new() } else { path.to_string().trim_start_matches('/').to_owned() },
        disk: open(path),
        notes: Vec::new(),
    };
    Ok(Content::Disks(chosen.into_iter().map(named).collect()))
}

/// How the files of an appliance are opened, by the names that its descriptor gives them.
struct ApplianceFiles<'a> {
    /// As they are.
    raw: &'a dyn Fn(&str) -> Result<Arc<dyn ReadAt>>,
    /// As disks.
    disk: &'a dyn Fn(&str) -> Result<disk::Disk>,
}

/// The disks of an appliance whose descriptor has this name.
fn appliance(
    name: &str,
    descriptor: &dyn ReadAt,
    files: &ApplianceFiles<'_>,
    options: &Options,
    gaps: &mut Vec<Gap>,
) -> Result<Content> {
    let limits = &options.limits;
    let text = read_all(descriptor, limits.disk_descriptor_bytes)?;
    let manifest = Manifest::read(name, files.raw, limits, gaps);
    manifest.check_bytes(name, &text)?;
    let disks: Vec<_> = ovf::decode(&text, limits)?.into_iter().filter_map(|disk| disk.file).collect();
    if disks.is_empty() {
        let found = "no disk that a file holds";
        return Err(Error::malformed("OVF", "DiskSection", None, found, "at least one"));
    }
    let is_one = disks.len() == 1;
    let hrefs: Vec<String> = disks.iter().map(|file| file.href.clone()).collect();
    let opened = |file: ovf::OvfFile| {
        let mut notes = Vec::new();
        let disk = match (&file.compression, file.is_chunked) {
            (None, false) => match manifest.check_file(&file.href, files.raw, options.check_digests) {
                Ok(note) => {
                    notes.extend(note);
                    (files.disk)(&file.href)
                }
                Err(error) => Err(error),
            },
            (_, true) => Err(Error::unsupported("a disk of an appliance that is cut into chunks")
                .hint("export the appliance again without chunks")),
            (Some(how), _) => {
                Err(Error::unsupported(format!("a disk of an appliance compressed with {how}"))
                    .hint("export the appliance again without compression: its disks are compressed inside"))
            }
        };
        let disk = disk.map_err(|error| error.at(file.href.clone()));
        NamedDisk { name: if is_one { String::new() } else { file.href }, disk, notes }
    };
    let disks: Vec<NamedDisk> = disks.into_iter().map(opened).collect();
    if options.check_digests {
        // Extents, and what else the manifest has.
        let others = manifest.others(name, &hrefs);
        for (name, error) in
            others.filter_map(|name| Some((name, manifest.check_file(name, files.raw, true).err()?)))
        {
            gaps.push(Gap { place: name.to_owned(), reason: error.to_string(), required: true });
        }
    }
    Ok(Content::Disks(disks))
}

/// The members of a tar beside a disk image in it.
struct Members<'a> {
    files: &'a ArchiveFiles,
    folder: ImagePath,
    members: &'a [ImagePath],
}

impl Siblings for Members<'_> {
    fn open(&self, name: &str) -> Result<Arc<dyn ReadAt>> {
        self.files.open(&self.folder.join(disk::plain_name(name)?))
    }

    fn names(&self, limits: &Limits) -> Result<Vec<String>> {
        let beside = self.members.iter().filter(|path| path.parent() == self.folder);
        let names: Vec<String> =
            beside.filter_map(|path| String::from_utf8(path.name().to_vec()).ok()).collect();
        limits.disk_siblings.check(size_of_len(names.len()))?;
        Ok(names)
    }
}
