//! Packs a disk for the fuzz targets: its size, and its sectors that are not blank, as `karat_fuzz::Packed` reads
//! them. `pack <IMAGE >SEED`; nothing but the standard library, so that `rustc` alone builds it.

use std::io::{self, Read as _, Write as _};

fn main() -> io::Result<()> {
    let mut disk = Vec::new();
    io::stdin().read_to_end(&mut disk)?;
    let mut packed = u32::try_from(disk.len().div_ceil(512)).expect("a small disk").to_le_bytes().to_vec();
    for (number, sector) in (0_u32..).zip(disk.chunks(512)) {
        if sector.iter().any(|byte| *byte != 0) {
            packed.extend(number.to_le_bytes());
            packed.extend(sector);
            packed.resize(packed.len() + 512 - sector.len(), 0);
        }
    }
    io::stdout().write_all(&packed)
}
