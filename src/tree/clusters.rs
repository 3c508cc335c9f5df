//! Clusters and the table that chains them, as FAT and exFAT have it.
//!
//! The table has one entry a cluster; its value is the number of the next cluster of the chain, or says that
//! there is none. The first two entries belong to no cluster: the first cluster is number 2.
//!
//! | kind | bits an entry | bad cluster | last of a chain |
//! | --- | --- | --- | --- |
//! | FAT12 | 12, two in three bytes | `ff7` | `ff8` to `fff` |
//! | FAT16 | 16 | `fff7` | `fff8` to `ffff` |
//! | FAT32 | 32, the highest four unused | `ffffff7` | `ffffff8` to `fffffff` |
//! | exFAT | 32 | `fffffff7` | `ffffffff` |

use std::fmt;

use super::extents::Extent;
use super::{CachedReader, fields::Fields};
use crate::bytes::{ReadAt as _, size_of_len};
use crate::error::{Error, Result};
use crate::limits::{Ceiling, Limits};

/// The first number that a cluster has.
const FIRST: u32 = 2;

/// The kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
    Fat32,
    Exfat,
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.format())
    }
}

impl Width {
    fn format(self) -> &'static str {
        match self {
            Width::Fat12 => "FAT12",
            Width::Fat16 => "FAT16",
            Width::Fat32 => "FAT32",
            Width::Exfat => "exFAT",
        }
    }

    /// What says that a cluster is bad; every larger value ends a chain.
    fn bad(self) -> u32 {
        match self {
            Width::Fat12 => 0xff7,
            Width::Fat16 => 0xfff7,
            Width::Fat32 => 0x0fff_fff7,
            Width::Exfat => 0xffff_fff7,
        }
    }

    /// Bits of an entry on the volume.
    pub(super) fn bits(self) -> u64 {
        match self {
            Width::Fat12 => 12,
            Width::Fat16 => 16,
            Width::Fat32 | Width::Exfat => 32,
        }
    }
}

/// The clusters of a volume.
pub(super) struct Clusters {
    pub(super) reader: CachedReader,
    pub(super) width: Width,
    /// Where the table in use starts, in bytes.
    pub(super) table: u64,
    /// Where the first cluster starts, in bytes.
    pub(super) heap: u64,
    /// A power of two, 512 or more.
    pub(super) cluster_bytes: u32,
    /// How many clusters there are.
    pub(super) count: u32,
}

/// How long a chain is to be.
#[derive(Clone, Copy)]
pub(super) enum Length {
    /// As long as so many bytes need.
    Bytes(u64),
    /// To its end, which comes before this ceiling.
    ToItsEnd(Ceiling),
}

/// Where the clusters of a chain lie, and why there are no more if it is damaged.
pub(super) struct Chain {
    pub(super) extents: Vec<Extent>,
    pub(super) damage: Option<Error>,
}

impl Chain {
    /// The extents of a chain that has no damage.
    pub(super) fn whole(self) -> Result<Vec<Extent>> {
        match self.damage {
            Some(damage) => Err(damage),
            None => Ok(self.extents),
        }
    }
}

impl Clusters {
    fn wrong(&self, field: &'static str, found: impl Into<String>, allowed: impl Into<String>) -> Error {
        Error::malformed(self.width.format(), field, None, found, allowed)
    }

    /// How many clusters hold so many bytes.
    pub(super) fn clusters(&self, bytes: u64) -> u64 {
        bytes.div_ceil(u64::from(self.cluster_bytes).max(1))
    }

    /// Where a cluster starts on the volume, in bytes.
    ///
    /// # Errors
    /// `Malformed` if there is none of this number.
    pub(super) fn offset(&self, cluster: u32) -> Result<u64> {
        let index = cluster.checked_sub(FIRST).filter(|index| *index < self.count);
        let index = index.ok_or_else(|| {
            let last = self.count.saturating_add(1);
            self.wrong("cluster", cluster.to_string(), format!("{FIRST} to {last}"))
        })?;
        Ok(u64::from(index).saturating_mul(self.cluster_bytes.into()).saturating_add(self.heap))
    }

    /// The cluster that holds a byte of the volume, and where that cluster starts.
    pub(super) fn holder(&self, offset: u64) -> Option<(u32, u64)> {
        let index = offset.checked_sub(self.heap)?.checked_div(self.cluster_bytes.into())?;
        let cluster = u32::try_from(index).ok()?.checked_add(FIRST)?;
        Some((cluster, self.offset(cluster).ok()?))
    }

    /// What the table says of a cluster: the next one, or that it is the last.
    ///
    /// # Errors
    /// `Malformed` if it says that the cluster is free or bad, and those of reading.
    pub(super) fn next(&self, cluster: u32) -> Result<Option<u32>> {
        self.offset(cluster)?;
        let bit = u64::from(cluster).saturating_mul(self.width.bits());
        let at = self.table.saturating_add(bit / 8);
        let mut bytes = [0; 4];
        let len = if self.width.bits() == 32 { 4 } else { 2 };
        self.reader.read_exact_at(at, bytes.get_mut(..len).unwrap_or_default())?;
        let value = u32::from_le_bytes(bytes);
        let value = match self.width {
            Width::Fat12 if cluster & 1 == 1 => value >> 4,
            Width::Fat12 => value & 0xfff,
            Width::Fat32 => value & 0x0fff_ffff,
            Width::Fat16 | Width::Exfat => value,
        };
        if value > self.width.bad() {
            return Ok(None);
        }
        let last = self.count.saturating_add(1);
        if (FIRST..=last).contains(&value) {
            return Ok(Some(value));
        }
        let fields = Fields::new(&[], self.width.format(), at);
        let found = match value {
            0 => "a free cluster".to_owned(),
            value if value == self.width.bad() => "a bad cluster".to_owned(),
            value => value.to_string(),
        };
        Err(fields.wrong(
            "table entry",
            0,
            format!("{found} in a chain"),
            format!("{FIRST} to {last}, or the end"),
        ))
    }

    /// Clusters that follow each other on the volume, as many as so many bytes need.
    ///
    /// # Errors
    /// `Malformed` if they pass the last.
    pub(super) fn run(&self, first: u32, bytes: u64) -> Result<Vec<Extent>> {
        let count = self.clusters(bytes);
        if count == 0 {
            return Ok(Vec::new());
        }
        let physical = self.offset(first)?;
        let last = u64::from(first).saturating_add(count).saturating_sub(1);
        if last > u64::from(self.count).saturating_add(1) {
            let found = format!("{count} clusters from {first} on");
            return Err(self.wrong(
                "length",
                found,
                format!("up to cluster {}", self.count.saturating_add(1)),
            ));
        }
        Ok(vec![Extent { logical: 0, physical, len: count.saturating_mul(self.cluster_bytes.into()) }])
    }

    /// Follows a chain from its first cluster on.
    pub(super) fn chain(&self, first: u32, length: Length, limits: &Limits) -> Chain {
        let mut chain = Chain { extents: Vec::new(), damage: None };
        chain.damage = self.follow(first, length, limits, &mut chain.extents).err();
        if chain.damage.is_none() {
            chain.damage = self.check_apart(&chain.extents).err();
        }
        chain
    }

    fn follow(&self, first: u32, length: Length, limits: &Limits, extents: &mut Vec<Extent>) -> Result<()> {
        let wanted = match length {
            Length::Bytes(bytes) => self.clusters(bytes),
            Length::ToItsEnd(_) => u64::MAX,
        };
        if wanted != u64::MAX && wanted > self.count.into() {
            return Err(self.wrong(
                "length",
                format!("{wanted} clusters"),
                format!("{} clusters", self.count),
            ));
        }
        let cluster_bytes = u64::from(self.cluster_bytes);
        // A loop comes back to the marked cluster; the mark moves on after ever longer ways.
        let (mut mark, mut way, mut rest) = (first, 1_u64, 1_u64);
        let (mut cluster, mut done) = (first, 0_u64);
        while done < wanted {
            let physical = self.offset(cluster)?;
            match extents.last_mut() {
                Some(last) if last.physical.saturating_add(last.len) == physical => {
                    last.len = last.len.saturating_add(cluster_bytes);
                }
                _ => {
                    limits.file_extents.check(size_of_len(extents.len()).saturating_add(1))?;
                    let logical = done.saturating_mul(cluster_bytes);
                    extents.push(Extent { logical, physical, len: cluster_bytes });
                }
            }
            done = done.saturating_add(1);
            if let Length::ToItsEnd(ceiling) = length {
                ceiling.check(done.saturating_mul(cluster_bytes))?;
            }
            if done == wanted {
                break;
            }
            cluster = match self.next(cluster)? {
                Some(next) => next,
                None if wanted == u64::MAX => break,
                None => {
                    return Err(self.wrong(
                        "chain",
                        format!("{done} clusters"),
                        format!("{wanted} clusters"),
                    ));
                }
            };
            if cluster == mark {
                return Err(self.wrong("chain", format!("cluster {cluster} twice"), "each cluster once"));
            }
            rest = rest.saturating_sub(1);
            if rest == 0 {
                way = way.saturating_mul(2);
                (mark, rest) = (cluster, way);
            }
        }
        Ok(())
    }

    /// A chain that was cut to its length may still have gone round.
    fn check_apart(&self, extents: &[Extent]) -> Result<()> {
        let mut places: Vec<_> = extents.iter().map(|e| (e.physical, e.len)).collect();
        places.sort_unstable();
        let overlap = places.windows(2).find(|pair| match pair {
            [(start, len), (next, _)] => start.saturating_add(*len) > *next,
            _ => false,
        });
        match overlap {
            Some(_) => Err(self.wrong("chain", "a cluster twice", "each cluster once")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tree::BlockCache;

    fn clusters(width: Width, entries: &[u32]) -> Clusters {
        let mut table = vec![0; entries.len() * 4 + 4];
        for (at, value) in entries.iter().enumerate() {
            match width {
                Width::Fat12 => {
                    let low = at * 3 / 2;
                    let shifted = if at % 2 == 1 { value << 4 } else { *value };
                    table[low] |= shifted.to_le_bytes()[0];
                    table[low + 1] |= shifted.to_le_bytes()[1];
                }
                Width::Fat16 => table[at * 2..at * 2 + 2].copy_from_slice(&value.to_le_bytes()[..2]),
                _ => table[at * 4..at * 4 + 4].copy_from_slice(&value.to_le_bytes()),
            }
        }
        let heap = u64::try_from(table.len()).unwrap();
        let count = u32::try_from(entries.len()).unwrap() - 2;
        table.resize(table.len() + entries.len() * 512, 0);
        let reader = BlockCache::new(&Limits::default()).reader(Arc::new(table));
        Clusters { reader, width, table: 0, heap, cluster_bytes: 512, count }
    }

    #[test]
    fn chains_are_followed_in_tables_of_every_width() {
        for (width, end) in [
            (Width::Fat12, 0xfff),
            (Width::Fat16, 0xfff8),
            (Width::Fat32, 0xffff_fff8),
            (Width::Exfat, 0xffff_ffff),
        ] {
            let this = clusters(width, &[end, end, 3, 5, end, 4, 0, width.bad(), 9, 8]);
            let limits = Limits::default();
            let extent = |logical: u64, cluster: u64, len: u64| Extent {
                logical: logical * 512,
                physical: this.heap + (cluster - 2) * 512,
                len: len * 512,
            };
            let whole = this.chain(2, Length::ToItsEnd(limits.directory_bytes), &limits).whole().unwrap();
            assert_eq!(whole, [extent(0, 2, 2), extent(2, 5, 1), extent(3, 4, 1)], "{width}");
            let part = this.chain(3, Length::Bytes(600), &limits).whole().unwrap();
            assert_eq!(part, [extent(0, 3, 1), extent(1, 5, 1)], "{width}");
            assert_eq!(this.run(3, 513).unwrap(), [extent(0, 3, 2)]);
            for (first, bytes, expected) in [
                (2, 513 * 4, "chain: 4 clusters; allowed: 5 clusters"),
                (6, 513, "a free cluster in a chain"),
                (7, 513, "a bad cluster in a chain"),
                (8, 1500, "a cluster twice"),
                (8, 2000, "twice"),
                (0, 1, "cluster: 0; allowed: 2 to 9"),
                (10, 1, "cluster: 10; allowed: 2 to 9"),
                (2, 5000, "10 clusters; allowed: 8 clusters"),
            ] {
                let error = this.chain(first, Length::Bytes(bytes), &limits).whole().unwrap_err().to_string();
                assert!(error.contains(expected), "{width}: {expected}: {error}");
            }
            let error = this.chain(8, Length::ToItsEnd(limits.directory_bytes), &limits).whole();
            assert!(error.is_err(), "{width}");
            assert!(this.run(9, 513).is_err());
        }
    }
}
