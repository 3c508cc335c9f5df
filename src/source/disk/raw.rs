//! Raw disks: byte for byte, in one file or in parts of which the first is called `NAME.001` or `NAME.000`, the
//! next `NAME.002`, and so on.

use std::sync::Arc;

use super::map::{Joined, Mapped, Part};
use super::{Cache, Disk, DiskFormat, Siblings};
use crate::bytes::{ReadAt, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;

pub(super) fn open(
    name: &str,
    file: Arc<dyn ReadAt>,
    siblings: &dyn Siblings,
    limits: &Limits,
) -> Result<Disk> {
    let doubts = super::vhd::tail(&*file)?.into_iter().collect();
    let mut disk =
        Disk { data: file, format: DiskFormat::Raw, parents: Vec::new(), notes: Vec::new(), doubts };
    let Some((stem, first, width)) = numbered(name) else { return Ok(disk) };
    let mut others: Vec<(u64, String)> = siblings
        .names(limits)?
        .into_iter()
        .filter_map(|other| {
            let (other_stem, number, other_width) = numbered(&other)?;
            (other_stem == stem && other_width == width && number != first).then_some((number, other))
        })
        .collect();
    others.sort();
    if others.first().is_some_and(|(number, _)| *number < first && *number <= 1) {
        return Err(Error::config(format!("`{name}` is not the first part of this disk"))
            .hint("name its first part; the others are found beside it"));
    }
    if first > 1 || others.is_empty() {
        return Ok(disk);
    }
    let mut joined = Joined::new();
    let first_bytes = disk.data.size_bytes();
    joined.push(Part::File(Arc::clone(&disk.data), 0), first_bytes)?;
    let mut before = first;
    for (number, other) in &others {
        before = before.saturating_add(1);
        if *number != before {
            let missing = format!("{stem}.{before:0width$}");
            return Err(Error::not_found(format!("part `{missing}` of the disk, where there is `{other}`")));
        }
        limits.disk_extents.check(number.saturating_add(1))?;
        let part = siblings.open(other)?;
        let size_bytes = part.size_bytes();
        joined.push(Part::File(part, 0), size_bytes)?;
    }
    disk.notes.push(format!("joined from {} parts", size_of_len(others.len()).saturating_add(1)));
    disk.data = Arc::new(Mapped::new(joined, None, &Arc::new(Cache::new(limits))));
    Ok(disk)
}

/// The name before its last point, the number behind it and how many digits that has: three.
fn numbered(name: &str) -> Option<(&str, u64, usize)> {
    let (stem, digits) = name.rsplit_once('.')?;
    let is_number = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
    (is_number && !stem.is_empty()).then(|| Some((stem, digits.parse().ok()?, digits.len())))?
}
