//! A file's content by its extents: where each run of it lies on the volume; what lies nowhere is zeros.

use std::ops::Range;
use std::sync::Arc;

use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::Result;

/// A run of a file that lies in one piece on the volume. All in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where in the file.
    pub(super) logical: u64,
    /// Where on the volume.
    pub(super) physical: u64,
    /// How long.
    pub(super) len: u64,
}

impl Extent {
    pub(super) fn end(&self) -> u64 {
        self.logical.saturating_add(self.len)
    }
}

/// A file by its extents.
pub(super) struct ExtentContent {
    volume: Arc<dyn ReadAt>,
    /// By position in the file, without overlaps.
    extents: Vec<Extent>,
    size_bytes: u64,
}

impl ExtentContent {
    /// `extents` are sorted by position in the file and do not overlap.
    pub(super) fn new(volume: Arc<dyn ReadAt>, extents: Vec<Extent>, size_bytes: u64) -> Self {
        ExtentContent { volume, extents, size_bytes }
    }

    /// Where a range of the file lies on the volume.
    pub(super) fn ranges(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let first = self.extents.partition_point(|extent| extent.end() <= range.start);
        let extents = self.extents.get(first..).unwrap_or_default();
        let inside = extents.iter().take_while(|extent| extent.logical < range.end);
        inside
            .map(|extent| {
                let start = range.start.saturating_sub(extent.logical);
                let end = range.end.saturating_sub(extent.logical).min(extent.len);
                extent.physical.saturating_add(start)..extent.physical.saturating_add(end)
            })
            .collect()
    }
}

impl ReadAt for ExtentContent {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let len = size_of_len(dst.len());
        if offset.checked_add(len).is_none_or(|end| end > self.size_bytes) {
            return Err(passes_end(offset, dst.len(), self.size_bytes));
        }
        let mut next = self.extents.partition_point(|extent| extent.end() <= offset);
        let mut at = offset;
        let mut rest = dst;
        while !rest.is_empty() {
            let extent = self.extents.get(next);
            let hole = extent.map_or(u64::MAX, |extent| extent.logical.saturating_sub(at));
            let run = if hole > 0 { hole } else { extent.map_or(0, |e| e.end().saturating_sub(at)) };
            let taken = usize::try_from(run).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(taken);
            match extent {
                Some(extent) if hole == 0 => {
                    let within = at.saturating_sub(extent.logical);
                    self.volume.read_exact_at(extent.physical.saturating_add(within), now)?;
                    next = next.saturating_add(1);
                }
                _ => now.fill(0),
            }
            at = at.saturating_add(size_of_len(taken));
            rest = later;
        }
        Ok(())
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        let moved: Vec<_> = ranges.iter().flat_map(|range| self.ranges(range.clone())).collect();
        self.volume.prefetch(&moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_zeros_and_runs_are_where_they_lie() {
        let volume: Arc<dyn ReadAt> = Arc::new(b"0123456789abcdef".to_vec());
        let extents = vec![
            Extent { logical: 2, physical: 4, len: 3 },
            Extent { logical: 5, physical: 10, len: 2 },
            Extent { logical: 9, physical: 0, len: 4 },
        ];
        let content = ExtentContent::new(volume, extents, 12);
        let whole = b"\0\x00456ab\0\x00012";
        for start in 0..=12_usize {
            for end in start..=12 {
                let mut dst = vec![1; end - start];
                content.read_exact_at(size_of_len(start), &mut dst).unwrap();
                assert_eq!(dst, whole[start..end], "{start}..{end}");
            }
        }
        assert!(content.read_exact_at(12, &mut [0]).is_err());
        assert_eq!(content.ranges(3..10), [5..7, 10..12, 0..1]);
    }
}
