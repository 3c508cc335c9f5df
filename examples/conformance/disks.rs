//! Disk containers against the guest bytes that qemu-img reads of them, and broken ones, which must be refused.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use karat::bytes::{HostFile, ReadAt, Reader};
use karat::limits::Limits;
use karat::source::disk::{Folder, NoSiblings, open_disk};
use karat::volume::{FsKind, Role, volumes};
use sha2::{Digest as _, Sha256};

use super::{Case, Failable, Outcome, rows};

fn digest(data: &dyn ReadAt) -> Failable<String> {
    let mut hash = Sha256::new();
    let mut reader = Reader::new(data);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => break,
            len => hash.update(&buffer[..len]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn open(path: &Path) -> karat::error::Result<Arc<dyn ReadAt>> {
    let limits = Limits::default();
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.ends_with(".zst") {
        let bytes = zstd::decode_all(File::open(path)?)?;
        return Ok(open_disk("disk", Arc::new(bytes), &NoSiblings, &limits)?.data);
    }
    let file = Arc::new(HostFile::new(File::open(path)?)?);
    let folder = Folder::new(path.parent().unwrap_or(Path::new(".")), &[].into());
    Ok(open_disk(&name, file, &folder, &limits)?.data)
}

/// The guest bytes of every image of the list; then parents, tables, and what must be refused.
pub(crate) fn disks(root: &Path) -> Failable<Outcome> {
    let root = root.join("disks");
    let mut cases = Vec::new();
    for row in rows(root.join("truth/raw-sha256.tsv"))? {
        let [name, _, size, want] = row.as_slice() else { continue };
        let failure = match open(&root.join(name)) {
            Err(error) => Some(error.to_string()),
            Ok(data) if data.size_bytes().to_string() != *size => {
                Some(format!("{} bytes against {size}", data.size_bytes()))
            }
            Ok(data) => match digest(&*data)? {
                found if found == *want => None,
                found => Some(format!("{found} against {want}")),
            },
        };
        cases.push(Case::new(name, failure));
    }
    let differencing = open(&root.join("dfvfs/image-differential.vhd"));
    cases.push(Case::new("dfvfs/image-differential.vhd", differencing.err().map(|error| error.to_string())));
    cases.push(Case::new("libguestfs/mbr-ext2-empty.img.gz", empty_ext2(&root)?));
    for name in ["qcow2/testdata/invalid.qcow2", "vdi/testdata/invalid.vdi", "vmdk/testdata/invalid.vmdk"] {
        cases.push(Case::new(format!("scalibr/{name}"), refused(&root.join("scalibr").join(name))));
    }
    for name in ["libqcow/file_header.1", "libvhdi/file_footer.1", "libvhdi/file_identifier.1"] {
        cases.push(Case::new(name, refused(&root.join(name))));
    }
    Ok(Outcome::Cases(cases))
}

/// Why a file is taken for something readable; `None` if it is refused, whole or by its only volume.
fn refused(path: &Path) -> Option<String> {
    let data = open(path).ok()?;
    let layout = volumes(&data, &Limits::default()).ok()?;
    let is_readable = layout.volumes.iter().any(|volume| volume.role == Role::Candidate);
    is_readable.then(|| "a volume of it is read".to_owned())
}

/// A boot record with one empty ext2.
fn empty_ext2(root: &Path) -> Failable<Option<String>> {
    let bytes = fs::read(root.join("libguestfs/mbr-ext2-empty.img.gz"))?;
    let mut disk = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut disk)?;
    let disk: Arc<dyn ReadAt> = Arc::new(disk);
    let layout = volumes(&disk, &Limits::default())?;
    let found: Vec<_> = layout.volumes.iter().map(|volume| (volume.number, volume.probed.kind)).collect();
    Ok((found != [(Some(1), FsKind::Ext2)]).then(|| format!("{found:?}")))
}
