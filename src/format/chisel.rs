//! Chisel's manifest: the packages of Debian format that a chiselled Ubuntu image was cut from
//! (`/var/lib/chisel/manifest.wall`).
//!
//! It is Zstandard around a "jsonwall": one JSON object a line, the first a header with the number of all lines,
//! itself among them; what follows is sorted. Read is what tells of packages and paths:
//!
//! ```text
//! {"jsonwall":"1.0","schema":"1.0","count":4}
//! {"kind":"content","slice":"libc6_libs","path":"/lib/ld.so"}
//! {"kind":"package","name":"libc6","version":"2.39-0ubuntu8.4","sha256":"…","arch":"amd64"}
//! {"kind":"slice","name":"libc6_libs"}
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::io::BufReader;

use serde::Deserialize;

use crate::bytes::{ReadAt, Reader, read_stream};
use crate::codec::{self, Compression};
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::ImagePath;
use crate::model::version::deb;

const FORMAT: &str = "chisel manifest";

/// What one line of it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A package that something was cut from.
    Package {
        /// Its name.
        name: String,
        /// Its version, as dpkg writes it.
        version: String,
        /// Its architecture in dpkg's words.
        arch: String,
    },
    /// A file or directory of a package.
    Content {
        /// The package that it was cut from.
        package: String,
        /// Where it is.
        path: ImagePath,
    },
}

#[derive(Deserialize)]
struct Header {
    jsonwall: String,
    #[serde(default)]
    schema: String,
    count: u64,
}

#[derive(Deserialize)]
struct Object<'a> {
    kind: &'a str,
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    arch: String,
    #[serde(default)]
    slice: String,
    #[serde(default)]
    path: String,
}

/// Reads a manifest; a damaged line is an error in its place, and the lines after it follow. One that is shorter
/// or longer than its header says ends in an error.
///
/// # Errors
/// `Malformed` if it is no manifest, `Unsupported` for a version that is not known, `Limit` above a ceiling, and
/// what `content` gives.
pub fn lines(content: &dyn ReadAt, limits: &Limits) -> Result<Vec<Result<Line>>> {
    let mut reader = BufReader::new(Reader::new(content));
    let mut stream = codec::decoder(Compression::Zstd, &mut reader, limits)?;
    let bytes = read_stream(&mut stream, limits.package_db_bytes)?;
    let mut all = bytes.split_inclusive(|b| *b == b'\n');
    let flaw = |field, found: String, allowed: &str| Error::malformed(FORMAT, field, 0, found, allowed);
    let first = all.next().unwrap_or_default();
    let header: Header = serde_json::from_slice(first)
        .map_err(|_| flaw("header", quoted(first), "an object with jsonwall and count"))?;
    if !header.jsonwall.starts_with("1.") {
        return Err(Error::unsupported(format!("jsonwall {}; read is 1", quoted(&header.jsonwall))));
    }
    if !header.schema.starts_with("1.") {
        return Err(Error::unsupported(format!(
            "schema {} of a {FORMAT}; read is 1",
            quoted(&header.schema)
        )));
    }
    let mut lines = Vec::new();
    let mut count: u64 = 1;
    let mut is_terminated = first.ends_with(b"\n");
    for text in all {
        count = count.saturating_add(1);
        is_terminated = text.ends_with(b"\n");
        limits.entries.check(count)?;
        lines.extend(line(text).map_err(|error| error.at(format!("line {count}"))).transpose());
    }
    if count != header.count || !is_terminated {
        let found = format!("{count} lines{}", if is_terminated { "" } else { ", the last without newline" });
        lines.push(Err(flaw("count", found, &format!("{} whole lines, as its header says", header.count))));
    }
    Ok(lines)
}

fn line(text: &[u8]) -> Result<Option<Line>> {
    let flaw = |allowed: &str| Error::malformed(FORMAT, "line", None, quoted(text), allowed);
    let object: Object<'_> = serde_json::from_slice(text).map_err(|_| flaw("an object with a kind"))?;
    match object.kind {
        "package" => {
            let Object { name, version, arch, .. } = object;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(flaw("a package with a name"));
            }
            deb::check_readable(&version)?;
            Ok(Some(Line::Package { name, version, arch }))
        }
        "content" => {
            // A slice is named PACKAGE_SLICE, and names of packages have no underline.
            let package = object.slice.split('_').next().unwrap_or_default().to_owned();
            let path = ImagePath::new(object.path.as_bytes());
            if package.is_empty() || path.is_root() {
                return Err(flaw("a slice and a path"));
            }
            Ok(Some(Line::Content { package, path }))
        }
        _ => Ok(None),
    }
}

/// A manifest of these objects.
#[cfg(test)]
fn manifest(objects: &[&str]) -> Vec<u8> {
    let header = format!("{{\"jsonwall\":\"1.0\",\"schema\":\"1.0\",\"count\":{}}}\n", objects.len() + 1);
    let text = objects.iter().fold(header, |text, object| format!("{text}{object}\n"));
    zstd::encode_all(text.as_bytes(), 0).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: [&str; 4] = [
        r#"{"kind":"content","slice":"libc6_libs","path":"/lib/ld.so"}"#,
        r#"{"kind":"package","name":"libc6","version":"2.39-0ubuntu8.4","sha256":"00","arch":"amd64"}"#,
        r#"{"kind":"path","path":"/lib/ld.so","mode":"0644","slices":["libc6_libs"],"sha256":"00","size":7}"#,
        r#"{"kind":"slice","name":"libc6_libs"}"#,
    ];

    #[test]
    fn packages_and_paths_are_read() {
        let lines = lines(&manifest(&OBJECTS).as_slice(), &Limits::default()).unwrap();
        let lines: Vec<Line> = lines.into_iter().collect::<Result<_>>().unwrap();
        let package =
            Line::Package { name: "libc6".into(), version: "2.39-0ubuntu8.4".into(), arch: "amd64".into() };
        let content = Line::Content { package: "libc6".into(), path: ImagePath::from("lib/ld.so") };
        assert_eq!(lines, [content, package]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let limits = Limits::default();
        let broken = [OBJECTS[0], "{", r#"{"kind":"package","name":"a","version":"1 2"}"#, OBJECTS[1]];
        let read = lines(&manifest(&broken).as_slice(), &limits).unwrap();
        assert_eq!(read.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false, true]);
        for (text, want) in [
            ("", "header"),
            ("{\"kind\":\"package\"}\n", "header"),
            ("{\"jsonwall\":\"2.0\",\"schema\":\"1.0\",\"count\":1}\n", "jsonwall `2.0`"),
            ("{\"jsonwall\":\"1.0\",\"schema\":\"2.0\",\"count\":1}\n", "schema `2.0`"),
        ] {
            let packed = zstd::encode_all(text.as_bytes(), 0).unwrap();
            let told = lines(&packed.as_slice(), &limits).unwrap_err().to_string();
            assert!(told.contains(want), "{told}");
        }
        let short = "{\"jsonwall\":\"1.0\",\"schema\":\"1.0\",\"count\":3}\n{\"kind\":\"slice\"}\n";
        let read = lines(&zstd::encode_all(short.as_bytes(), 0).unwrap().as_slice(), &limits).unwrap();
        assert!(read.last().unwrap().as_ref().unwrap_err().to_string().contains("2 lines"));
        assert!(lines(&b"{}\n".as_slice(), &limits).is_err());
    }

    /// Cut off or changed anywhere, a manifest never lists less without an error.
    #[test]
    fn broken_manifests_say_so() {
        let limits = Limits::default();
        let whole = manifest(&OBJECTS);
        let is_sound = |bytes: &[u8]| {
            lines(&bytes, &limits).is_ok_and(|lines| lines.len() == 2 && lines.iter().all(Result::is_ok))
        };
        assert!(is_sound(&whole));
        for cut in 0..whole.len() {
            let read = lines(&&whole[..cut], &limits);
            assert!(read.is_err() || read.is_ok_and(|all| all.iter().any(Result::is_err)), "{cut}");
        }
        for at in 0..whole.len() {
            for bits in [1, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[at] ^= bits;
                drop(lines(&broken.as_slice(), &limits));
            }
        }
    }
}
