//! pacman's records (libalpm, local database version 9): one folder a package, `var/lib/pacman/local/NAME-VERSION`,
//! with the files `desc` and `files`; in a sync database, which is a tar archive, the same `desc` with the
//! fields of the published file.
//!
//! ```text
//! %NAME%                  a field's name between percent signs
//! bash                    its values, one a line
//!                         an empty line ends the field
//! %VERSION%
//! 5.2.037-1
//! ```
//!
//! | field | is | | field | is |
//! |---|---|---|---|---|
//! | `NAME` `VERSION` `ARCH` | of the package | | `VALIDATION` | what was checked: none, md5, sha256, pgp |
//! | `BASE` | the source package | | `XDATA` | `pkgtype=pkg`, `split`, `debug` or `src` |
//! | `BUILDDATE` `INSTALLDATE` | seconds since 1970 | | `FILENAME` `SHA256SUM` | sync: the published file |
//! | `PACKAGER` | who built it | | `FILES` | in `files`: paths, those of directories with a slash |
//! | `REASON` | 1 for what others depend on | | `BACKUP` | in `files`: path, tabulator, MD5 as packaged |
//!
//! Read as libalpm does (`be_local.c`, `be_sync.c`); fields that nobody knows are passed over, as there.
//! Stricter than it: a record has one name and one version, each on a line of its own with a newline behind it.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use crate::bytes::size_of_len;
use crate::error::{Error, Result, ResultExt, quoted};
use crate::limits::Limits;
use crate::model::{ImagePath, Time};

const FORMAT: &str = "pacman record";

/// The version of the local database that is read; pacman has had no other since 2012.
pub const DATABASE_VERSION: u32 = 9;

/// One package, as its `desc` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// `NAME`.
    pub name: String,
    /// `VERSION` as written: `[epoch:]pkgver-pkgrel`.
    pub version: String,
    /// `BASE`: the source package, where the record says so; a package of the same name otherwise.
    pub base: Option<String>,
    /// `ARCH` in pacman's words (`x86_64`, `any`); empty if it says none.
    pub arch: String,
    /// `BUILDDATE`; `None` if it is missing, zero, or text as before 2008.
    pub built_at: Option<Time>,
    /// `INSTALLDATE`, of local records; `None` as for `built_at`.
    pub installed_at: Option<Time>,
    /// `PACKAGER`.
    pub packager: Option<String>,
    /// `URL`: its project.
    pub url: Option<String>,
    /// `REASON` 1: it was installed because another needs it.
    pub is_dependency: bool,
    /// `VALIDATION`: what was checked of the file that it was installed from.
    pub validation: Vec<String>,
    /// `PROVIDES`, each with its version if it has one (`libxml2.so=2-64`).
    pub provides: Vec<String>,
    /// `REPLACES`: packages that it takes the place of.
    pub replaces: Vec<String>,
    /// `XDATA`: more that its packager says, `key=value`.
    pub extra: Vec<String>,
    /// `FILENAME` of sync records: the published file.
    pub file_name: Option<String>,
    /// `SHA256SUM` of sync records: of the published file, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Whether a newline ends it, as in all that pacman writes; another was cut off.
    pub is_terminated: bool,
}

/// The record in a `desc`, local or of a sync database.
///
/// # Errors
/// `Malformed` if it has no name or version, or several, `Limit` if it is too large.
pub fn desc(bytes: &[u8], limits: &Limits) -> Result<Record> {
    limits.record_bytes.check(size_of_len(bytes.len()))?;
    let mut record = Record { is_terminated: bytes.ends_with(b"\n"), ..Record::default() };
    let (mut name, mut version) = (None, None);
    for field in fields(bytes) {
        let first = || field.lines.first().map(|line| text(line.text)).filter(|text| !text.is_empty());
        let all = || field.lines.iter().map(|line| text(line.text));
        match field.name {
            b"NAME" => field.set(&mut name)?,
            b"VERSION" => field.set(&mut version)?,
            b"BASE" => record.base = first(),
            b"ARCH" => record.arch = first().unwrap_or_default(),
            b"BUILDDATE" => record.built_at = first().as_deref().and_then(time),
            b"INSTALLDATE" => record.installed_at = first().as_deref().and_then(time),
            b"PACKAGER" => record.packager = first(),
            b"URL" => record.url = first(),
            b"REASON" => record.is_dependency = first().as_deref() == Some("1"),
            b"VALIDATION" => record.validation.extend(all()),
            b"PROVIDES" => record.provides.extend(all()),
            b"REPLACES" => record.replaces.extend(all()),
            b"XDATA" => record.extra.extend(all()),
            b"FILENAME" => record.file_name = first(),
            b"SHA256SUM" => record.sha256 = first(),
            _ => {}
        }
    }
    let missing = |field| Error::malformed(FORMAT, field, size_of_len(bytes.len()), "no value", "one");
    record.name = name.ok_or_else(|| missing("NAME"))?;
    record.version =
        version.ok_or_else(|| missing("VERSION")).at(|| format!("package {}", quoted(&record.name)))?;
    Ok(record)
}

/// The name and version in the name of a package's folder: what is before and after the second dash from the end.
#[must_use]
pub fn folder_parts(folder: &[u8]) -> Option<(&[u8], &[u8])> {
    let release = memchr::memrchr(b'-', folder)?;
    let dash = memchr::memrchr(b'-', folder.get(..release)?)?;
    let version = folder.get(dash.checked_add(1)?..)?;
    folder.get(..dash).filter(|name| !name.is_empty()).map(|name| (name, version))
}

/// Whether a record is the one that its folder's name says. pacman takes the package from the folder's name, and
/// refuses another inside.
///
/// # Errors
/// `Malformed` if it is not.
pub fn check_folder(record: &Record, folder: &[u8]) -> Result<()> {
    let said = format!("{}-{}", record.name, record.version);
    let parts = folder_parts(folder);
    if parts == Some((record.name.as_bytes(), record.version.as_bytes())) {
        return Ok(());
    }
    Err(Error::malformed(
        FORMAT,
        "name and version",
        None,
        quoted(said),
        format!("those of its folder, {}", quoted(folder)),
    ))
}

/// Whether `var/lib/pacman/local/ALPM_DB_VERSION` names the version that is read.
///
/// # Errors
/// `Unsupported` if it names another, `Malformed` if it is no number.
pub fn check_database_version(bytes: &[u8]) -> Result<()> {
    let said = text(bytes);
    match said.trim().parse::<u32>() {
        Ok(DATABASE_VERSION) => Ok(()),
        Ok(other) => Err(Error::unsupported(format!(
            "version {other} of pacman's database; read is {DATABASE_VERSION}"
        ))
        .hint("`pacman-db-upgrade` makes a newer one of it")),
        Err(_) => Err(Error::malformed(
            "ALPM_DB_VERSION",
            "version",
            0,
            quoted(bytes),
            DATABASE_VERSION.to_string(),
        )),
    }
}

/// Where pacman.conf(5) says that databases are: the values of `DBPath`, in their order. The file is read by lines;
/// what follows a `#` counts, as in pacman, except on lines that begin with one.
pub fn database_paths(bytes: &[u8]) -> impl Iterator<Item = ImagePath> {
    lines(bytes).filter_map(|line| {
        let text = line.text.trim_ascii();
        let rest = text.strip_prefix(b"DBPath")?.trim_ascii_start();
        Some(ImagePath::new(rest.strip_prefix(b"=")?.trim_ascii()))
    })
}

/// The files of one package.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// `FILES`: its files and directories, in their order.
    pub paths: Vec<ImagePath>,
    /// `BACKUP`: configuration files that an upgrade keeps, with the MD5 of their contents as packaged.
    pub backups: Vec<(ImagePath, [u8; 16])>,
    /// Whether a newline ends it; another was cut off.
    pub is_terminated: bool,
}

/// The paths in a `files`, local or of a sync database of files.
///
/// # Errors
/// `Malformed` for a path that goes nowhere and a digest that is none, `Limit` if it is too large or has too
/// many or too long paths.
pub fn files(bytes: &[u8], limits: &Limits) -> Result<Files> {
    limits.package_db_bytes.check(size_of_len(bytes.len()))?;
    let mut files = Files { is_terminated: bytes.is_empty() || bytes.ends_with(b"\n"), ..Files::default() };
    for field in fields(bytes) {
        for line in &field.lines {
            match field.name {
                b"FILES" => {
                    limits.entries.check(size_of_len(files.paths.len()).saturating_add(1))?;
                    files.paths.push(line.path(line.text, limits)?);
                }
                b"BACKUP" => {
                    let tab =
                        memchr::memrchr(b'\t', line.text).and_then(|tab| line.text.split_at_checked(tab));
                    let (path, digest) =
                        tab.ok_or_else(|| line.flaw("BACKUP", "a path, a tabulator and an MD5"))?;
                    // Without a digest stands `(null)`: the package had no such file.
                    if digest != b"\t(null)" {
                        let digest = digest.get(1..).and_then(md5);
                        let digest =
                            digest.ok_or_else(|| line.flaw("BACKUP", "an MD5 in 32 hexadecimal digits"))?;
                        files.backups.push((line.path(path, limits)?, digest));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(files)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn time(text: &str) -> Option<Time> {
    Time::from_epoch_text(text).ok().filter(|time| time.unix() != 0)
}

fn md5(digits: &[u8]) -> Option<[u8; 16]> {
    let digits = str::from_utf8(digits).ok().filter(|digits| digits.len() == 32 && digits.is_ascii())?;
    let number = u128::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
    Some(number.to_be_bytes())
}

#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    offset: usize,
    is_terminated: bool,
}

impl<'a> Line<'a> {
    fn flaw(&self, field: &'static str, allowed: &str) -> Error {
        Error::malformed(FORMAT, field, size_of_len(self.offset), quoted(self.text), allowed)
    }

    fn path(&self, path: &[u8], limits: &Limits) -> Result<ImagePath> {
        limits.path_bytes.check(size_of_len(path.len()))?;
        let path = ImagePath::new(path);
        if path.is_root() { Err(self.flaw("path", "one below the root")) } else { Ok(path) }
    }
}

/// A field and its values.
struct Field<'a> {
    name: &'a [u8],
    lines: Vec<Line<'a>>,
}

impl Field<'_> {
    /// Takes the one value of a field that is there once.
    fn set(&self, value: &mut Option<String>) -> Result<()> {
        let Some(line) = self.lines.first() else { return Ok(()) };
        let field = if self.name == b"NAME" { "NAME" } else { "VERSION" };
        // pacman takes names in any script.
        let is_part = |b: &u8| (b.is_ascii_graphic() || !b.is_ascii()) && *b != b'/';
        let is_sound = line.is_terminated && line.text.iter().all(is_part);
        if !is_sound {
            return Err(line.flaw(field, "a whole line without space and slash"));
        }
        if let Some(second) = self.lines.get(1) {
            return Err(second.flaw(field, "one value, and an empty line after it"));
        }
        match value.replace(text(line.text)) {
            Some(first) if first.as_bytes() != line.text => Err(line.flaw(field, "it once in the record")),
            _ => Ok(()),
        }
    }
}

/// The fields of a file. What stands between fields and is no name of one begins one that nobody knows, as
/// libalpm has it.
fn fields<'a>(bytes: &'a [u8]) -> impl Iterator<Item = Field<'a>> {
    let mut lines = lines(bytes);
    std::iter::from_fn(move || {
        let head = lines.find(|line| !line.text.is_empty())?;
        let name = head.text.strip_prefix(b"%").and_then(|rest| rest.strip_suffix(b"%")).unwrap_or_default();
        let values = lines.by_ref().take_while(|line| !line.text.is_empty()).collect();
        Some(Field { name, lines: values })
    })
}

fn lines<'a>(bytes: &'a [u8]) -> impl Iterator<Item = Line<'a>> {
    let mut offset = 0_usize;
    std::iter::from_fn(move || {
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let at = memchr::memchr(b'\n', rest);
        let text = rest.get(..at.unwrap_or(rest.len()))?;
        let line =
            Line { text: text.strip_suffix(b"\r").unwrap_or(text), offset, is_terminated: at.is_some() };
        offset = offset.saturating_add(text.len()).saturating_add(1);
        Some(line)
    })
}
