//! The manifest of an appliance (DMTF DSP0243, chapter 5): a line a file, `SHA256(name)= hexadecimal digits`, in which
//! writers put spaces where they like.

use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;

/// Of which algorithm a digest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// 20 bytes.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

/// What a manifest says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, relative to the descriptor.
    pub name: String,
    /// Of which kind the digest is.
    pub algorithm: Algorithm,
    /// The digest in lower case.
    pub hex: String,
}

/// The entries of a manifest, in its order.
///
/// # Errors
/// `Malformed` for a line that is none, a digest of another length, an algorithm that is not known, or a file that
/// is named twice; `Limit` for more than `disk_extents` files.
pub fn decode(text: &[u8], limits: &Limits) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = 0_u64;
    for line in text.split(|byte| *byte == b'\n') {
        let start = at;
        at = at.saturating_add(size_of_len(line.len())).saturating_add(1);
        let wrong = |found: String, allowed: &str| {
            Err(Error::malformed("OVF manifest", "line", start, found, allowed))
        };
        let Ok(line) = std::str::from_utf8(line) else {
            return wrong("bytes that are no UTF-8".to_owned(), "UTF-8");
        };
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            continue;
        }
        let parts = line.split_once('(').and_then(|(algorithm, rest)| {
            // A name may have brackets of its own.
            let (name, hex) = rest.rsplit_once(')')?;
            Some((algorithm.trim(), name, hex.trim_start().strip_prefix('=')?.trim()))
        });
        let Some((algorithm, name, hex)) = parts else {
            return wrong(quoted(line), "ALGORITHM(file)= digest");
        };
        let (algorithm, digits) = match algorithm.to_ascii_uppercase().replace('-', "").as_str() {
            "SHA1" => (Algorithm::Sha1, 40),
            // The second is how OpenSSL 3 calls it.
            "SHA256" | "SHA2256" => (Algorithm::Sha256, 64),
            "SHA384" | "SHA2384" => (Algorithm::Sha384, 96),
            "SHA512" | "SHA2512" => (Algorithm::Sha512, 128),
            _ => return wrong(quoted(algorithm), "SHA1, SHA256, SHA384 or SHA512"),
        };
        if hex.len() != digits || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return wrong(quoted(hex), &format!("{digits} hexadecimal digits"));
        }
        if entries.iter().any(|entry| entry.name == name) {
            return wrong(format!("{} twice", quoted(name)), "each file once");
        }
        entries.push(Entry { name: name.to_owned(), algorithm, hex: hex.to_ascii_lowercase() });
        limits.disk_extents.check(size_of_len(entries.len()))?;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_writer_are_read() {
        let (one, two) = ("0a".repeat(20), "F1".repeat(32));
        let text =
            format!("SHA1(a (1).ovf)= {one}\r\nSHA256 (b.vmdk) = {two}\n\nSHA2-512(c)={}\n", "00".repeat(64));
        let entry = |name: &str, algorithm, hex: String| Entry { name: name.to_owned(), algorithm, hex };
        assert_eq!(
            decode(text.as_bytes(), &Limits::default()).unwrap(),
            [
                entry("a (1).ovf", Algorithm::Sha1, one),
                entry("b.vmdk", Algorithm::Sha256, two.to_lowercase()),
                entry("c", Algorithm::Sha512, "00".repeat(64)),
            ]
        );
        for len in 0..text.len() {
            let _ = decode(&text.as_bytes()[..len], &Limits::default());
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        let digest = "0a".repeat(20);
        for text in [
            "SHA1(a)= 0a".to_owned(),
            "SHA1 a = 0a".to_owned(),
            format!("MD5(a)= {digest}"),
            format!("SHA1(a)= {digest}\nSHA1(a)= {digest}"),
            format!("SHA256(a)= {digest}"),
            format!("SHA1(a) {digest}"),
        ] {
            assert!(decode(text.as_bytes(), &Limits::default()).is_err(), "{text}");
        }
        assert!(decode(b"SHA1(\xff)= 00", &Limits::default()).is_err());
    }
}
