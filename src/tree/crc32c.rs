//! CRC-32C (Castagnoli) as Linux file systems use it: reflected, without the final inversion, so that a sum is
//! continued from another.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    let mut value = 0_u32;
    while index < table.len() {
        let mut crc = value;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit = step(bit);
        }
        #[allow(
            clippy::indexing_slicing,
            reason = "the index is below the length, and this runs in the compiler"
        )]
        {
            table[index] = crc;
        }
        index = index.saturating_add(1);
        value = step(value);
    }
    table
}

const fn step(value: u32) -> u32 {
    value.saturating_add(1)
}

/// The sum `crc` continued over `bytes`; the first starts at all ones.
pub(super) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        let entry = TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default();
        entry ^ (crc >> 8)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(!crc32c(crc32c(!0, b"1234"), b"56789"), 0xe306_9283);
    }
}
