//! The up-case table: what each character is when case does not count.
//!
//! It is a list of characters by number. `ffff` says that the next number tells how many characters stay as
//! they are; what is behind its end stays too.

use super::FORMAT;
use crate::bytes::{size_of_len, sum_holds};
use crate::error::{Error, Result};

/// The size of a table that says something of every character, without that short form.
pub(super) const MOST_BYTES: u64 = 128 << 10;

/// A decoded table.
pub(super) struct Upcase(Vec<u16>);

impl Upcase {
    /// Checks and decodes a table.
    ///
    /// # Errors
    /// `Malformed` if its checksum is wrong or it has more than there are characters.
    pub(super) fn decode(bytes: &[u8], checksum: u32) -> Result<Self> {
        let wrong = |field, found: String, allowed: String| {
            Err(Error::malformed(FORMAT, field, None, found, allowed).at("up-case table"))
        };
        let sum = bytes.iter().fold(0_u32, |sum, byte| sum.rotate_right(1).wrapping_add((*byte).into()));
        if !sum_holds(checksum, sum) {
            return wrong("checksum", format!("{checksum:#010x}"), format!("{sum:#010x}, as computed"));
        }
        let mut table: Vec<u16> = (0..=u16::MAX).collect();
        let (units, _) = bytes.as_chunks::<2>();
        let mut units = units.iter().map(|unit| u16::from_le_bytes(*unit));
        let mut at = 0_usize;
        while let Some(unit) = units.next() {
            // The short form is told from the character `ffff` by its place.
            if unit == u16::MAX && at < usize::from(u16::MAX) {
                at = at.saturating_add(units.next().unwrap_or(0).into());
                continue;
            }
            match table.get_mut(at) {
                Some(upper) => *upper = unit,
                None => {
                    return wrong(
                        "length",
                        format!("{} bytes", size_of_len(bytes.len())),
                        "65536 characters".into(),
                    );
                }
            }
            at = at.saturating_add(1);
        }
        Ok(Upcase(table))
    }

    /// A name as it is compared.
    pub(super) fn up(&self, units: impl IntoIterator<Item = u16>) -> Vec<u16> {
        let upper = |unit: u16| self.0.get(usize::from(unit)).copied().unwrap_or(unit);
        units.into_iter().map(upper).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_characters_that_stay_are_skipped() {
        let units: [u16; 6] = [0, 0xffff, 0x60, 0x41, 0x42, 0xffff];
        let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let sum = bytes.iter().fold(0_u32, |sum, byte| sum.rotate_right(1).wrapping_add((*byte).into()));
        let table = Upcase::decode(&bytes, sum).unwrap();
        assert_eq!(table.up([0x61, 0x62, 0x63, 0x20, 0xffff]), [0x41, 0x42, 0x63, 0x20, 0xffff]);
        assert!(Upcase::decode(&bytes, sum ^ 1).is_err());
    }
}
