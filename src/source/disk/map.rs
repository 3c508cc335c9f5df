//! A disk as a map: for each guest offset a place that the bytes come from.

use std::ops::Range;
use std::sync::Arc;

use super::cache::Cache;
use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::{Error, Result};
use crate::limits::Limits;

/// Where guest bytes come from.
pub(super) enum Place {
    /// They are zero.
    Zero,
    /// They lie in a file, from this offset on.
    Stored(Arc<dyn ReadAt>, u64),
    /// They lie in the parent at the same guest offset, or are zero where there is none or it has ended.
    Parent,
    /// They are part of a cluster that is stored in some other way.
    Cluster {
        /// Its number, the same for all guest offsets in it.
        number: u64,
        /// How far the offset is into it.
        within: u64,
    },
}

/// A format's map.
pub(super) trait Map: Send + Sync {
    /// The guest's size in bytes.
    fn size_bytes(&self) -> u64;

    /// Where the byte at `offset`, which is inside of the disk, comes from, and how many bytes from there on are
    /// found by going on in the same place: at least one.
    fn place(&self, offset: u64) -> Result<(Place, u64)>;

    /// Where in its file what a cluster is made of ends, as far as it must be there, and how large the file is.
    fn cluster_end(&self, _number: u64) -> Result<(u64, u64)> {
        Ok((0, 0))
    }

    /// Makes a cluster that [`Map::place`] named.
    fn cluster(&self, number: u64) -> Result<Vec<u8>> {
        Err(Error::malformed("disk image", "cluster", None, format!("cluster {number}"), "no such clusters"))
    }
}

/// What a look at a whole map brought.
#[derive(Default)]
pub(super) struct Checked {
    /// As those of a disk.
    pub(super) notes: Vec<String>,
    /// As those of a disk.
    pub(super) doubts: Vec<String>,
}

/// A map, its parent and the cache, together a disk.
pub(super) struct Mapped<M> {
    pub(super) map: M,
    pub(super) parent: Option<Arc<dyn ReadAt>>,
    cache: Arc<Cache>,
    number: u32,
}

impl<M: Map> Mapped<M> {
    pub(super) fn new(map: M, parent: Option<Arc<dyn ReadAt>>, cache: &Arc<Cache>) -> Self {
        Mapped { map, parent, cache: Arc::clone(cache), number: cache.number() }
    }

    /// Follows the map of the whole disk, without reading what it leads to: what is wrong with it, as far as the
    /// ceiling. A file that was cut off tells it here, even where nobody reads what is missing.
    pub(super) fn check(&self, limits: &Limits) -> Checked {
        let mut checked = Checked::default();
        let (mut at, mut steps) = (0, 0u64);
        while at < self.map.size_bytes() {
            steps = steps.saturating_add(1);
            if steps > limits.disk_map_steps.max {
                checked.notes.push(format!(
                    "its map was followed up to byte {at} of the disk (limit `{}`): whether what lies behind is there is seen when it is read",
                    limits.disk_map_steps.name
                ));
                return checked;
            }
            let end = self.map.place(at).and_then(|(place, len)| {
                if let Place::Cluster { number, .. } = place {
                    let (needs, file_bytes) = self.map.cluster_end(number)?;
                    if needs > file_bytes {
                        let found = format!("a compressed cluster up to byte {needs:#x}");
                        let allowed = format!("inside of the {file_bytes} bytes of the file");
                        let error = Error::malformed("disk image", "map", None, found, allowed);
                        return Err(super::cut_off(error, needs, file_bytes));
                    }
                }
                Ok(at.saturating_add(len.max(1)))
            });
            match end {
                Ok(end) => at = end,
                Err(error) => {
                    let hint = error.hint_text().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
                    checked.doubts.push(format!("{}{hint}", error.reason()));
                    return checked;
                }
            }
        }
        checked
    }

    fn fill(&self, place: &Place, offset: u64, dst: &mut [u8]) -> Result<()> {
        match place {
            Place::Zero => dst.fill(0),
            Place::Stored(file, at) => file.read_exact_at(*at, dst)?,
            Place::Parent => match &self.parent {
                Some(parent) => read_padded(&**parent, offset, dst)?,
                None => dst.fill(0),
            },
            Place::Cluster { number, within } => {
                let cluster = self.cache.get((self.number, *number), || self.map.cluster(*number))?;
                let within = usize::try_from(*within).unwrap_or(usize::MAX);
                let part = within.checked_add(dst.len()).and_then(|end| cluster.get(within..end));
                dst.copy_from_slice(
                    part.ok_or_else(|| passes_end(*number, dst.len(), size_of_len(cluster.len())))?,
                );
            }
        }
        Ok(())
    }
}

/// Reads what is there; what passes the end is zero.
pub(super) fn read_padded(file: &dyn ReadAt, offset: u64, dst: &mut [u8]) -> Result<()> {
    let left = usize::try_from(file.size_bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
    let (inside, behind) = dst.split_at_mut(left.min(dst.len()));
    behind.fill(0);
    if inside.is_empty() { Ok(()) } else { file.read_exact_at(offset, inside) }
}

impl<M: Map> ReadAt for Mapped<M> {
    fn size_bytes(&self) -> u64 {
        self.map.size_bytes()
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let size_bytes = self.size_bytes();
        if offset.checked_add(size_of_len(dst.len())).is_none_or(|end| end > size_bytes) {
            return Err(passes_end(offset, dst.len(), size_bytes));
        }
        let (mut at, mut rest) = (offset, dst);
        while !rest.is_empty() {
            let (place, len) = self.map.place(at)?;
            let len = usize::try_from(len.max(1)).unwrap_or(usize::MAX).min(rest.len());
            let (head, tail) = rest.split_at_mut(len);
            self.fill(&place, at, head)?;
            at = at.saturating_add(size_of_len(len));
            rest = tail;
        }
        Ok(())
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        for range in ranges {
            let mut at = range.start;
            while at < range.end.min(self.size_bytes()) {
                // What cannot be told here is told by the read that follows.
                let Ok((place, len)) = self.map.place(at) else { break };
                let end = at.saturating_add(len.max(1)).min(range.end);
                let len = end.saturating_sub(at);
                match (&place, &self.parent) {
                    (Place::Stored(file, from), _) => {
                        file.prefetch(std::slice::from_ref(&(*from..from.saturating_add(len))));
                    }
                    (Place::Parent, Some(parent)) => parent.prefetch(std::slice::from_ref(&(at..end))),
                    _ => {}
                }
                at = end;
            }
        }
    }
}

/// Files one behind the other.
pub(super) struct Joined {
    /// Where each begins, in ascending order.
    parts: Vec<(u64, Part)>,
    size_bytes: u64,
}

/// A part of a disk that consists of several.
pub(super) enum Part {
    /// Bytes of a file from this offset on.
    File(Arc<dyn ReadAt>, u64),
    /// Zeros.
    Zero,
}

impl Joined {
    pub(super) fn new() -> Self {
        Joined { parts: Vec::new(), size_bytes: 0 }
    }

    /// Adds a part at the end.
    ///
    /// # Errors
    /// `Malformed` if the part is not that large, or all together pass 2^64 bytes.
    pub(super) fn push(&mut self, part: Part, len: u64) -> Result<()> {
        let end = self.size_bytes.checked_add(len);
        let wrong = |found| Err(Error::malformed("disk image", "extent", None, found, "what its file holds"));
        if let Part::File(file, from) = &part
            && from.checked_add(len).is_none_or(|end| end > file.size_bytes())
        {
            return wrong(format!("{len} bytes from byte {from:#x} on of {} bytes", file.size_bytes()));
        }
        let Some(end) = end else { return wrong(format!("{len} bytes behind {}", self.size_bytes)) };
        if len > 0 {
            self.parts.push((self.size_bytes, part));
            self.size_bytes = end;
        }
        Ok(())
    }
}

impl Map for Joined {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn place(&self, offset: u64) -> Result<(Place, u64)> {
        let after = self.parts.partition_point(|(start, _)| *start <= offset);
        let end = self.parts.get(after).map_or(self.size_bytes, |(start, _)| *start);
        let (start, part) = match after.checked_sub(1).and_then(|index| self.parts.get(index)) {
            Some((start, part)) => (*start, part),
            None => return Err(passes_end(offset, 1, self.size_bytes)),
        };
        let within = offset.saturating_sub(start);
        let place = match part {
            Part::Zero => Place::Zero,
            Part::File(file, from) => Place::Stored(Arc::clone(file), from.saturating_add(within)),
        };
        Ok((place, end.saturating_sub(offset)))
    }
}
