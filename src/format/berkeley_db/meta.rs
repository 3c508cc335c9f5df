//! Page 0: what kind of database this is, and where its records begin.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use super::pages::{checksum, kind};
use super::{ByteOrder, FORMAT};
use crate::bytes::{ReadAt, size_of_len, sum_holds};
use crate::error::{Error, Result};

/// Bytes of the metadata page that mean something, and that its checksum covers.
const META_BYTES: usize = 512;

/// What the metadata page says.
pub(super) struct Meta {
    pub order: ByteOrder,
    pub page_bytes: u32,
    /// Whether pages have checksums, and a larger header for them.
    pub is_summed: bool,
    /// First page of the free list; 0 for none.
    pub free: u32,
    /// The last page of the file, where this version says it.
    pub last_page: Option<u32>,
    pub access: Access,
}

/// The access method, with what it needs.
pub(super) enum Access {
    Hash(Hash),
    Btree(Btree),
}

/// The table of a hash database.
pub(super) struct Hash {
    pub max_bucket: u32,
    pub high_mask: u32,
    pub low_mask: u32,
    /// Number of keys, where duplicates do not hide it.
    pub records: Option<u32>,
    /// By the power of two that a bucket is below: what to add to its number to get its page.
    spares: [u32; 32],
}

/// The tree of a B-tree database.
pub(super) struct Btree {
    pub root: u32,
    /// Whether its records are names of databases in the same file.
    pub has_databases: bool,
}

impl Hash {
    /// The first page of a bucket; `None` where the table has none.
    pub(super) fn page_of(&self, bucket: u32) -> Option<u32> {
        let power = match bucket {
            0 => 0,
            bucket => u32::BITS.checked_sub(bucket.leading_zeros())?,
        };
        let spare = self.spares.get(usize::try_from(power).ok()?)?;
        bucket.checked_add(*spare).filter(|page| *page != 0)
    }

    /// Whether masks and buckets fit together.
    pub(super) fn is_sound(&self) -> bool {
        let high = self
            .max_bucket
            .checked_add(1)
            .and_then(u32::checked_next_power_of_two)
            .unwrap_or(0)
            .wrapping_sub(1);
        self.high_mask == high && self.low_mask == high >> 1
    }
}

/// The access method of a magic number.
pub(super) fn method(magic: u32) -> Option<&'static str> {
    match magic {
        0x0006_1561 => Some("hash"),
        0x0005_3162 => Some("B-tree"),
        0x0004_2253 => Some("queue"),
        0x0007_4582 => Some("heap"),
        _ => None,
    }
}

fn damage(field: &'static str, at: u64, found: impl Into<String>, allowed: impl Into<String>) -> Error {
    Error::malformed(FORMAT, field, at, found, allowed).at("page 0")
}

impl Meta {
    /// Reads and checks page 0.
    ///
    /// # Errors
    /// `Unsupported` for what this version does not read, `Malformed`, `Io`.
    pub(super) fn read(database: &dyn ReadAt) -> Result<Meta> {
        let mut head = [0; META_BYTES];
        let len = usize::try_from(database.size_bytes()).unwrap_or(META_BYTES).min(META_BYTES);
        database.read_exact_at(0, head.get_mut(..len).unwrap_or_default())?;
        let Some(order) = super::byte_order(&head) else {
            let found = format!("{:#010x}", ByteOrder::Little.u32(&head, 12));
            return Err(damage("magic number", 12, found, "that of a hash or B-tree database"));
        };
        let u32_at = |at| order.u32(&head, at);
        let byte_at = |at: usize| head.get(at).copied().unwrap_or(0);
        let method = method(u32_at(12)).unwrap_or_default();
        let version = u32_at(16);
        if byte_at(24) != 0 {
            return Err(Error::unsupported(format!("an encrypted Berkeley DB {method} database")));
        }
        let (least, most, page_kind) = match method {
            "hash" => (7, 10, kind::HASH_META),
            "B-tree" => (9, 10, kind::BTREE_META),
            _ => return Err(Error::unsupported(format!("a Berkeley DB {method} database"))),
        };
        if !(least..=most).contains(&version) {
            let error = Error::unsupported(format!(
                "version {version} of Berkeley DB's {method} format; read are {least} to {most}"
            ));
            return Err(if version < least {
                error.hint("`db_upgrade` makes a newer one of it")
            } else {
                error
            });
        }
        if len < META_BYTES {
            return Err(damage("metadata", 0, format!("{len} bytes"), "512")
                .hint("the file is cut off; fetch it again"));
        }
        let page_bytes = u32_at(20);
        if !page_bytes.is_power_of_two() || !(512..=65536).contains(&page_bytes) {
            return Err(damage("page size", 20, page_bytes.to_string(), "a power of two from 512 to 65536"));
        }
        let flags = byte_at(26);
        if flags & 0x06 != 0 {
            return Err(Error::unsupported("a partitioned Berkeley DB database"));
        }
        let is_summed = flags & 1 != 0;
        if is_summed {
            let found = checksum(&head, META_SUM_AT);
            if !sum_holds(u32_at(META_SUM_AT), found) {
                let at = size_of_len(META_SUM_AT);
                return Err(damage(
                    "checksum",
                    at,
                    format!("{:#010x}", u32_at(META_SUM_AT)),
                    format!("{found:#010x}"),
                ));
            }
        }
        if u32_at(8) != 0 {
            return Err(damage("page number", 8, u32_at(8).to_string(), "0"));
        }
        if byte_at(25) != page_kind {
            return Err(damage("page type", 25, byte_at(25).to_string(), page_kind.to_string()));
        }
        let is_hash = page_kind == kind::HASH_META;
        Ok(Meta {
            order,
            page_bytes,
            is_summed,
            free: u32_at(28),
            last_page: (!is_hash || version > 7).then(|| u32_at(32)),
            access: if is_hash {
                Access::Hash(hash(&head, order)?)
            } else {
                Access::Btree(btree(&head, order)?)
            },
        })
    }
}

/// Where a metadata page has its checksum.
const META_SUM_AT: usize = 492;

fn hash(head: &[u8], order: ByteOrder) -> Result<Hash> {
    let flags = order.u32(head, 48);
    if flags & 0x02 != 0 {
        return Err(Error::unsupported("a Berkeley DB hash database inside a file with several"));
    }
    let mut spares = [0; 32];
    for (spare, at) in spares.iter_mut().zip((96..).step_by(4)) {
        *spare = order.u32(head, at);
    }
    Ok(Hash {
        max_bucket: order.u32(head, 72),
        high_mask: order.u32(head, 76),
        low_mask: order.u32(head, 80),
        records: (flags & 0x05 == 0).then(|| order.u32(head, 88)),
        spares,
    })
}

fn btree(head: &[u8], order: ByteOrder) -> Result<Btree> {
    let flags = order.u32(head, 48);
    if flags & 0x02 != 0 {
        return Err(Error::unsupported("a Berkeley DB record-number database"));
    }
    if flags & 0x80 != 0 {
        return Err(Error::unsupported("a Berkeley DB B-tree database with compressed pages"));
    }
    Ok(Btree { root: order.u32(head, 88), has_databases: flags & 0x20 != 0 })
}
