//! How a system names itself: os-release(5) of systemd 257.
//!
//! A line is `NAME=value`, the value quoted as in a shell: bare, in single or in double quotes, with `\`
//! before signs that would mean something. Lines that start with `#` and empty lines say nothing; of a name
//! that comes twice the last counts. A file that was edited by hand still tells what it can: carriage returns
//! are dropped, a bare value may hold spaces.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::limits::Limits;
use crate::model::OsInfo;

/// What an os-release file says.
#[derive(Debug, Default)]
pub struct OsRelease {
    fields: BTreeMap<String, String>,
    /// Lines that are not what they should be, each with its place.
    pub problems: Vec<Error>,
}

impl OsRelease {
    /// The value of a variable, if it is there and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All variables with their values, sorted by name.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What is kept of it in an inventory.
    #[must_use]
    pub fn info(&self) -> OsInfo {
        let text = |name| self.get(name).map(str::to_owned);
        OsInfo {
            id: text("ID").unwrap_or_else(|| "linux".to_owned()),
            version_id: text("VERSION_ID"),
            point_release: None,
            codename: text("VERSION_CODENAME"),
            pretty_name: text("PRETTY_NAME"),
            id_like: self
                .get("ID_LIKE")
                .unwrap_or_default()
                .split_ascii_whitespace()
                .map(str::to_owned)
                .collect(),
            variant_id: text("VARIANT_ID"),
        }
    }
}

/// Reads an os-release file. Bad lines are listed and the others kept; bytes that are not UTF-8 become U+FFFD.
///
/// # Errors
/// `Limit` if it is longer than such a file may be.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<OsRelease> {
    limits.os_release_bytes.check(size_of_len(bytes.len()))?;
    let mut release = OsRelease::default();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (number, line) in (1_u64..).zip(bytes.split(|b| *b == b'\n')) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_matches(|c: char| c.is_ascii_whitespace());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match assignment(line) {
            Ok((name, value)) => {
                release.fields.insert(name.to_owned(), value);
            }
            Err(allowed) => {
                let error = Error::malformed("os-release", "line", None, quoted(line), allowed);
                release.problems.push(error.at(format!("line {number}")));
            }
        }
    }
    Ok(release)
}

/// The name and value of a line, or what it should have been.
fn assignment(line: &str) -> std::result::Result<(&str, String), &'static str> {
    let (name, value) = line.split_once('=').ok_or("NAME=value")?;
    let is_name_sign = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.starts_with(|c: char| is_name_sign(c) && !c.is_ascii_digit()) || !name.chars().all(is_name_sign)
    {
        return Err("a name of letters, digits and _");
    }
    if value.contains('\0') {
        return Err("text");
    }
    unquote(value).map(|value| (name, value)).ok_or("a closing quote")
}

/// The value that a shell would assign; `None` if a quote is not closed.
fn unquote(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut signs = value.chars().peekable();
    // Everything up to here was quoted or escaped, and so survives the trimming at the end.
    let mut kept = 0;
    while let Some(sign) = signs.next() {
        match sign {
            '\'' => {
                loop {
                    match signs.next()? {
                        '\'' => break,
                        inner => out.push(inner),
                    }
                }
                kept = out.len();
            }
            '"' => {
                double_quoted(&mut signs, &mut out)?;
                kept = out.len();
            }
            '\\' => {
                out.extend(signs.next());
                kept = out.len();
            }
            ' ' | '\t' if signs.peek() == Some(&'#') => break,
            other => out.push(other),
        }
    }
    let end = out.trim_end_matches(|c: char| c.is_ascii_whitespace()).len().max(kept);
    out.truncate(end);
    Some(out)
}

fn double_quoted(signs: &mut Peekable<Chars<'_>>, out: &mut String) -> Option<()> {
    loop {
        match signs.next()? {
            '"' => return Some(()),
            '\\' => match signs.next()? {
                escaped @ ('"' | '\\' | '$' | '`') => out.push(escaped),
                other => out.extend(['\\', other]),
            },
            inner => out.push(inner),
        }
    }
}

/// Distributions whose releases are compared by their major number alone.
const BY_MAJOR: [&str; 21] = [
    "debian",
    "raspbian",
    "rhel",
    "centos",
    "rocky",
    "almalinux",
    "ol",
    "scientific",
    "fedora",
    "amzn",
    "cloudlinux",
    "eurolinux",
    "virtuozzo",
    "circle",
    "openEuler",
    "anolis",
    "miraclelinux",
    "navylinux",
    "redhat",
    "ubi",
    "nobara",
];

/// Distributions that have no releases.
const ROLLING: [&str; 8] =
    ["arch", "archarm", "gentoo", "void", "wolfi", "chainguard", "opensuse-tumbleweed", "kali"];

/// The release of a system as it is compared: the major number for Debian, RHEL kin, Fedora and Amazon,
/// `major.SP` for SLE, `x.y` for Ubuntu and Alpine, what `VERSION_ID` says for all others. A Debian without
/// number (testing, unstable) has its code name, a distribution that has no releases `rolling`. `None` if
/// nothing says it, or not in a form that can be part of a platform.
#[must_use]
pub fn canonical_release(os: &OsInfo) -> Option<String> {
    let id = os.id.as_str();
    if ROLLING.contains(&id) {
        return Some("rolling".to_owned());
    }
    let Some(version) = os.version_id.as_deref().filter(|v| !v.is_empty()) else {
        return os.codename.as_deref().or_else(|| unreleased(os)).and_then(sound);
    };
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next().unwrap_or(version), numbers.next());
    let is_like = |what: &str| os.id_like.iter().any(|like| like == what);
    let is_sle = matches!(id, "sles" | "sled" | "sles_sap" | "sle_hpc" | "sle-micro" | "suse-microos");
    let release = if BY_MAJOR.contains(&id) || is_like("rhel") || is_like("centos") {
        major.to_owned()
    } else if id == "ubuntu" {
        format!("{major}.{}", minor?)
    } else if id == "alpine" {
        match minor {
            // 3.23.0_alpha20260127 is what edge calls itself.
            _ if version.contains("_alpha") => "edge".to_owned(),
            Some(minor) => format!("{major}.{minor}"),
            None => return None,
        }
    } else if is_sle {
        format!("{major}.{}", minor.unwrap_or("0"))
    } else {
        version.to_owned()
    };
    sound(&release)
}

/// `forky` of `Debian GNU/Linux forky/sid`, where no code name is given.
fn unreleased(os: &OsInfo) -> Option<&str> {
    let name = os.pretty_name.as_deref().filter(|_| os.id == "debian")?;
    name.rsplit(' ').next()?.strip_suffix("/sid")
}

/// Only what can stand between the slashes of a platform.
fn sound(release: &str) -> Option<String> {
    let is_sound = !release.is_empty()
        && release.len() <= 64
        && release.chars().all(|c| c.is_ascii_alphanumeric() || "._+~-".contains(c));
    is_sound.then(|| release.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted_as_in_a_shell() {
        for (line, want) in [
            ("A=b", "b"),
            ("A=\"b c\"", "b c"),
            ("A='b \"c'", "b \"c"),
            (r#"A="\"b\" \$c \x""#, r#""b" $c \x"#),
            (r"A=b\ c", "b c"),
            ("A=b c  ", "b c"),
            ("A='b '", "b "),
            ("A='b'\"c\"d", "bcd"),
            ("A=\"b\" # why", "b"),
            ("A=b#c", "b#c"),
            ("A=", ""),
            ("  A=b\r", "b"),
        ] {
            let release = read(line.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(release.fields.get("A").map(String::as_str), Some(want), "{line}");
            assert!(release.problems.is_empty(), "{line}");
        }
    }

    #[test]
    fn bad_lines_do_not_lose_the_others() {
        let text = "\u{feff}# comment\n\nID=debian\nnonsense\nVERSION_ID=\"12\nA B=c\n9=x\nID_LIKE=\"a b\"\nVERSION_ID=13\n";
        let release = read(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(
            release.info(),
            OsInfo {
                id: "debian".into(),
                version_id: Some("13".into()),
                id_like: vec!["a".into(), "b".into()],
                ..OsInfo::default()
            }
        );
        let told: Vec<_> = release.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told[0], "line 4: os-release: line: `nonsense`; allowed: NAME=value");
        assert_eq!(told[1], "line 5: os-release: line: `VERSION_ID=\"12`; allowed: a closing quote");
        assert_eq!(told.len(), 4);
        assert_eq!(read(b"", &Limits::default()).unwrap().info().id, "linux");
    }

    #[test]
    fn releases_are_canonical() {
        for (id, like, version, codename, want) in [
            ("debian", "", "12", "bookworm", Some("12")),
            ("debian", "", "", "forky", Some("forky")),
            ("debian", "", "", "", Some("duke")),
            ("ubuntu", "debian", "24.04", "noble", Some("24.04")),
            ("ubuntu", "debian", "14.04.5", "", Some("14.04")),
            ("alpine", "", "3.20.3", "", Some("3.20")),
            ("alpine", "", "3.23.0_alpha20260127", "", Some("edge")),
            ("rhel", "fedora", "9.4", "", Some("9")),
            ("newkin", "rhel centos fedora", "8.10", "", Some("8")),
            ("fedora", "", "41", "", Some("41")),
            ("amzn", "centos rhel fedora", "2023", "", Some("2023")),
            ("sles", "suse", "15.5", "", Some("15.5")),
            ("sles", "suse", "15", "", Some("15.0")),
            ("opensuse-leap", "suse opensuse", "15.6", "", Some("15.6")),
            ("opensuse-tumbleweed", "opensuse suse", "20260101", "", Some("rolling")),
            ("arch", "", "", "", Some("rolling")),
            ("photon", "", "5.0", "", Some("5.0")),
            ("odd", "", "1/2", "", None),
            ("linux", "", "", "", None),
        ] {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let os = OsInfo {
                id: id.into(),
                version_id: some(version),
                point_release: None,
                codename: some(codename),
                pretty_name: Some("Debian GNU/Linux duke/sid".into()),
                id_like: like.split_ascii_whitespace().map(str::to_owned).collect(),
                variant_id: None,
            };
            assert_eq!(canonical_release(&os).as_deref(), want, "{id} {version}");
        }
    }
}
