//! Broken input: what every decoder must survive.

use std::path::Path;

/// So much of a fixture is broken, byte by byte.
const HEAD: usize = 4096;

/// The bytes of a fixture, named from `fixtures` on.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Gives a decoder each truncation of the first 4 KiB, and the whole with each bit of them flipped and with
/// each byte of them replaced by one that formats give meaning to. It may say what it likes, if it comes back.
pub(crate) fn survives(whole: &[u8], decode: impl Fn(&[u8])) {
    let head = whole.len().min(HEAD);
    for len in 0..=head {
        decode(&whole[..len]);
    }
    let mut broken = whole.to_vec();
    for at in 0..head {
        let byte = broken[at];
        let flips = (0..8).map(|bit| byte ^ (1 << bit));
        for other in flips.chain([0, b'\n', b' ', b':', 0xff]) {
            broken[at] = other;
            decode(&broken);
        }
        broken[at] = byte;
    }
}
