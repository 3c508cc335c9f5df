//! A path inside an image: raw bytes, relative to the image's root, normal.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A path inside an image. It holds raw bytes (images name files in any encoding), has no leading slash and
/// no empty, `.` or `..` component; the root is empty. It prints with a leading slash; bytes that are not
/// UTF-8, control characters and the backslash print as `\xNN`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ImagePath(Box<[u8]>);

impl ImagePath {
    /// Normalises a path as a file system with this root would: empty and `.` components vanish, `..` goes
    /// up and stops at the root, so nothing ever leaves the image.
    #[must_use]
    pub fn new(raw: impl AsRef<[u8]>) -> Self {
        ImagePath(normal(raw.as_ref()).into_owned().into_boxed_slice())
    }

    /// The root.
    #[must_use]
    pub fn root() -> Self {
        ImagePath::default()
    }

    /// The raw bytes, without leading slash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|part| !part.is_empty())
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        match memchr::memrchr(b'/', &self.0) {
            Some(slash) => &self.0[slash + 1..],
            None => &self.0,
        }
    }

    /// The directory that holds it; the root's is the root.
    #[must_use]
    pub fn parent(&self) -> ImagePath {
        ImagePath(self.parent_bytes().into())
    }

    /// The raw bytes of the directory that holds it.
    #[must_use]
    pub fn parent_bytes(&self) -> &[u8] {
        memchr::memrchr(b'/', &self.0).map_or(&[], |slash| &self.0[..slash])
    }

    /// This path and a normal relative path below it.
    #[must_use]
    pub fn join(&self, below: impl AsRef<[u8]>) -> ImagePath {
        let below = normal(below.as_ref());
        if self.is_root() {
            return ImagePath(below.into_owned().into_boxed_slice());
        }
        let mut joined = self.0.to_vec();
        if !below.is_empty() {
            joined.push(b'/');
            joined.extend_from_slice(&below);
        }
        ImagePath(joined.into_boxed_slice())
    }

    /// What is left of this path below `directory`; empty if it is `directory` itself, `None` if it is not
    /// below it.
    #[must_use]
    pub fn below(&self, directory: &ImagePath) -> Option<&[u8]> {
        if directory.is_root() {
            return Some(&self.0);
        }
        let rest = self.0.strip_prefix(&*directory.0)?;
        match rest.first() {
            None => Some(rest),
            Some(b'/') => Some(&rest[1..]),
            Some(_) => None,
        }
    }
}

/// The normal form, borrowed where the input has it already.
fn normal(raw: &[u8]) -> Cow<'_, [u8]> {
    let is_normal =
        raw.is_empty() || raw.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b".."));
    if is_normal {
        return Cow::Borrowed(raw);
    }
    let mut out: Vec<u8> = Vec::with_capacity(raw.len());
    for part in raw.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => out.truncate(memchr::memrchr(b'/', &out).unwrap_or(0)),
            _ => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(part);
            }
        }
    }
    Cow::Owned(out)
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' || c.is_control() {
                    let mut bytes = [0; 4];
                    for b in c.encode_utf8(&mut bytes).bytes() {
                        write!(f, "\\x{b:02x}")?;
                    }
                } else {
                    write!(f, "{c}")?;
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<&str> for ImagePath {
    fn from(text: &str) -> Self {
        ImagePath::new(text.as_bytes())
    }
}

impl Serialize for ImagePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImagePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(ImagePath::new(unescape(text.as_bytes())))
    }
}

/// Turns `\xNN` back into its byte.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'\\')
            .then(|| tail.strip_prefix(b"x"))
            .flatten()
            .and_then(|hex| Some((std::str::from_utf8(hex.get(..2)?).ok()?, hex)))
            .and_then(|(digits, hex)| Some((u8::from_str_radix(digits, 16).ok()?, hex)));
        match escaped {
            Some((byte, hex)) => {
                out.push(byte);
                rest = &hex[2..];
            }
            None => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

impl JsonSchema for ImagePath {
    fn schema_name() -> Cow<'static, str> {
        "ImagePath".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "path inside the image, with a leading slash; bytes that are not UTF-8, control characters and the backslash as \\xNN"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normal_and_stay_inside() {
        for (raw, want) in [
            ("./etc/os-release", "/etc/os-release"),
            ("/a//b/./c/", "/a/b/c"),
            ("../../etc/passwd", "/etc/passwd"),
            ("a/b/../../../c", "/c"),
            ("..", "/"),
            ("", "/"),
        ] {
            assert_eq!(ImagePath::from(raw).to_string(), want, "{raw}");
        }
    }

    #[test]
    fn names_parents_and_joins() {
        let path = ImagePath::from("usr/share/doc");
        assert_eq!((path.name(), path.parent().to_string().as_str()), (b"doc".as_slice(), "/usr/share"));
        assert_eq!(path.join("a/b").below(&path), Some(b"a/b".as_slice()));
        assert_eq!(ImagePath::from("usr/sharedoc").below(&ImagePath::from("usr/share")), None);
        assert_eq!(ImagePath::root().join("a"), ImagePath::from("a"));
        assert_eq!(path.below(&path), Some(b"".as_slice()));
    }

    #[test]
    fn any_bytes_print_and_come_back() {
        let path = ImagePath::new(b"a\xff\\x41\n\xc3\xa4");
        let json = serde_json::to_string(&path).unwrap();
        assert_eq!(json, r#""/a\\xff\\x5cx41\\x0aä""#);
        assert_eq!(serde_json::from_str::<ImagePath>(&json).unwrap(), path);
    }
}
