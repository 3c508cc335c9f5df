//! `.deb` files (deb(5)): what a package says of itself, the changelogs inside, and when it was built.
//!
//! | member of the `ar` | holds | read |
//! |---|---|---|
//! | `debian-binary` | `2.0` and a newline | its time |
//! | `_…` | anything | passed over before the others, as dpkg does |
//! | `control.tar[.gz .xz .zst]` | `control` | the package |
//! | `data.tar[.gz .xz .zst .bz2]` | the files | `usr/share/doc/*/changelog*` |
//! | whatever follows | signatures | nothing |
//!
//! The members are opened by the `debpkg` crate, where it can: it refuses members before control, reads only
//! the first member of a gzip file, and believes every size that it is told. So the archive is looked over
//! first, what comes out of it is read within limits by karat's own tar reader, and what `debpkg` refuses or
//! does not read to its end is read without it.
//!
//! A package is built at the newest time of its `ar` members. dpkg-deb writes the time of the build there or,
//! since 2016 for all that is built reproducibly, `SOURCE_DATE_EPOCH`, which is the date of the newest
//! changelog entry: in both cases the package was not published before. Times in `data.tar` are clamped to the
//! same and say no more; zero is what repacking tools write, and is none.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::Arc;

use super::apt::offered;
use super::changelogs;
use super::files;
use crate::archive::ar::{self, Member};
use crate::archive::tar::{End, MemberKind, TarReader};
use crate::bytes::{HostFile, ReadAt, Reader, size_of_len};
use crate::codec::{self, Compression};
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::format::{deb822, debian_changelog, dpkg};
use crate::limits::{Ceiling, Limits};
use crate::model::{ImagePath, Package, ReleaseEntry, Sha256, Time};

/// What a `.deb` says.
pub(super) struct Deb {
    pub(super) package: Package,
    /// The entries of its changelogs.
    pub(super) releases: Vec<ReleaseEntry>,
    /// Changelogs in it that are not read.
    pub(super) unread: Vec<String>,
    /// The digest of the file.
    pub(super) digest: Sha256,
}

/// Reads a `.deb`.
///
/// # Errors
/// `Malformed` for what is damaged in any part of it, `Limit` above a ceiling, `Unsupported` for a format
/// other than 2.
pub(super) fn read(file: File, limits: &Limits) -> Result<Deb> {
    decode(&(Arc::new(HostFile::new(file)?) as Arc<dyn ReadAt>), limits)
}

fn decode(file: &Arc<dyn ReadAt>, limits: &Limits) -> Result<Deb> {
    let layout = Layout::of(file, limits)?;
    let contents = match by_debpkg(file, &layout, limits) {
        Some(contents) => contents,
        None => Contents { control: layout.control(file, limits)?, docs: layout.docs(file, limits)? },
    };
    let mut package = package(&contents.control, limits).at(|| "control".to_owned())?;
    package.built_at = layout.built_at;
    let (releases, unread) = releases(contents.docs, limits)?;
    Ok(Deb { package, releases, unread, digest: Sha256::of_content(&**file)? })
}

/// The members that count.
struct Layout {
    control: Member,
    data: Member,
    built_at: Option<Time>,
    /// They are the second and third, as the `debpkg` crate wants them.
    is_plain: bool,
}

struct Contents {
    control: Vec<u8>,
    docs: Vec<Doc>,
}

/// A changelog in a package.
struct Doc {
    path: ImagePath,
    stored: Vec<u8>,
}

/// What was taken from a tar, and whether that ended as it should.
struct Taken<T> {
    what: T,
    is_whole: bool,
}

impl Layout {
    fn of(file: &Arc<dyn ReadAt>, limits: &Limits) -> Result<Self> {
        let all = ar::members(&**file, limits)
            .map_err(|error| error.hint("it is no Debian package, or damaged; fetch it again"))?
            .collect::<Result<Vec<_>>>()?;
        let unexpected = |member: Option<&Member>, allowed: &str| {
            let found = member.map_or("nothing".to_owned(), |member| quoted(&member.name));
            Error::malformed("deb", "member", member.map(|member| member.offset), found, allowed)
        };
        let mut rest = all.iter();
        match rest.next() {
            Some(first) if first.name == b"debian-binary" => version(file, first)?,
            other => return Err(unexpected(other, "`debian-binary` first")),
        }
        let mut extra = 0_usize;
        let mut next = |prefix: &str| loop {
            match rest.next() {
                Some(member) if member.name.starts_with(b"_") => extra = extra.saturating_add(1),
                Some(member) if is_tar(&member.name, prefix) => return Ok(member.clone()),
                other => return Err(unexpected(other, &format!("`{prefix}.tar`, compressed or not"))),
            }
        };
        let (control, data) = (next("control")?, next("data")?);
        let built_at = all.iter().filter_map(|member| member.mtime).max();
        Ok(Layout { control, data, built_at, is_plain: extra == 0 })
    }

    /// The control file, without the `debpkg` crate.
    fn control(&self, file: &Arc<dyn ReadAt>, limits: &Limits) -> Result<Vec<u8>> {
        let place = || String::from_utf8_lossy(&self.control.name).into_owned();
        inflated(file, &self.control, limits, |stream| control(stream, limits).map(|taken| taken.what))
            .at(place)
    }

    /// The changelogs, without the `debpkg` crate.
    fn docs(&self, file: &Arc<dyn ReadAt>, limits: &Limits) -> Result<Vec<Doc>> {
        let place = || String::from_utf8_lossy(&self.data.name).into_owned();
        inflated(file, &self.data, limits, |stream| docs(stream, limits).map(|taken| taken.what)).at(place)
    }
}

/// Whether this is the name of a tar of a package.
fn is_tar(name: &[u8], prefix: &str) -> bool {
    let rest = name.strip_prefix(prefix.as_bytes()).and_then(|rest| rest.strip_prefix(b".tar"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
}

/// That `debian-binary` says 2.
fn version(file: &Arc<dyn ReadAt>, member: &Member) -> Result<()> {
    let mut head = [0; 16];
    let len = usize::try_from(member.size_bytes).map_or(head.len(), |size| size.min(head.len()));
    let head = head.get_mut(..len).unwrap_or_default();
    file.read_exact_at(member.offset, head)?;
    match head.starts_with(b"2.") {
        true => Ok(()),
        false => Err(Error::unsupported(format!("format {} of Debian packages", quoted(head.trim_ascii())))),
    }
}

/// Hands over the inflated content of a member.
fn inflated<T>(
    file: &Arc<dyn ReadAt>,
    member: &Member,
    limits: &Limits,
    take: impl FnOnce(&mut dyn Read) -> Result<T>,
) -> Result<T> {
    let section = ar::content(file, member)?;
    let mut stored = BufReader::with_capacity(files::BUFFER_BYTES, Reader::new(&section));
    let compression = Compression::of(stored.fill_buf()?);
    let mut plain = codec::decoder(compression, stored, limits)?;
    take(&mut plain)
}

/// The `debpkg` crate may inflate so much of a package: it gives liblzma no limit on its window, which is memory,
/// but no window holds more than came out.
const BY_DEBPKG_BYTES: u64 = 256 << 20;

/// What the `debpkg` crate reads; `None` where it refuses, or stops before the end.
fn by_debpkg(file: &Arc<dyn ReadAt>, layout: &Layout, limits: &Limits) -> Option<Contents> {
    if !layout.is_plain || layout.data.size_bytes > BY_DEBPKG_BYTES {
        return None;
    }
    let mut small = limits.clone();
    small.deb_data_bytes.max = small.deb_data_bytes.max.min(BY_DEBPKG_BYTES);
    let stored = BufReader::with_capacity(files::BUFFER_BYTES, Reader::new(&**file));
    let mut deb = debpkg::DebPkg::parse(stored).ok()?;
    let control =
        control(&mut deb.control().ok()?.into_inner(), &small).ok().filter(|taken| taken.is_whole)?;
    let docs = docs(&mut deb.data().ok()?.into_inner(), &small).ok().filter(|taken| taken.is_whole)?;
    Some(Contents { control: control.what, docs: docs.what })
}

/// A stream that ends with an error above a ceiling.
struct Bounded<'a> {
    stream: &'a mut dyn Read,
    read_bytes: u64,
    ceiling: Ceiling,
}

impl Read for Bounded<'_> {
    fn read(&mut self, dst: &mut [u8]) -> io::Result<usize> {
        let len = self.stream.read(dst)?;
        self.read_bytes = self.read_bytes.saturating_add(size_of_len(len));
        self.ceiling.check(self.read_bytes).map_err(Error::into_io)?;
        Ok(len)
    }
}

type Tar<'a> = TarReader<BufReader<Bounded<'a>>>;

/// Walks the regular files of a tar to its end, and reads what is behind it, so that damage there is seen too.
fn walk<'a>(
    stream: &'a mut dyn Read,
    ceiling: Ceiling,
    limits: &Limits,
    take: &mut dyn FnMut(ImagePath, u64, &mut Tar<'a>) -> Result<()>,
) -> Result<bool> {
    let bounded = Bounded { stream, read_bytes: 0, ceiling };
    let mut tar = TarReader::new(BufReader::with_capacity(files::BUFFER_BYTES, bounded), limits);
    while let Some(member) = tar.next_member()? {
        let path = ImagePath::new(&member.path);
        if member.kind == MemberKind::File {
            take(path, member.size_bytes, &mut tar)?;
        }
    }
    let is_whole = tar.end() == Some(End::Zeros);
    io::copy(&mut tar.into_inner(), &mut io::sink())?;
    Ok(is_whole)
}

/// The file `control` of a control tar.
fn control(stream: &mut dyn Read, limits: &Limits) -> Result<Taken<Vec<u8>>> {
    let mut found = None;
    let is_whole = walk(stream, limits.deb_control_bytes, limits, &mut |path, size_bytes, tar| {
        if path.as_bytes() == b"control" {
            found = Some(files::tar_data(tar, size_bytes, limits.record_bytes)?);
        }
        Ok(())
    })?;
    match found {
        Some(what) => Ok(Taken { what, is_whole }),
        None => {
            Err(Error::malformed("deb", "control", None, "no such file", "`control` in the control archive"))
        }
    }
}

/// The changelogs of a data tar.
fn docs(stream: &mut dyn Read, limits: &Limits) -> Result<Taken<Vec<Doc>>> {
    let mut all: Vec<Doc> = Vec::new();
    let mut sum: u64 = 0;
    let is_whole = walk(stream, limits.deb_data_bytes, limits, &mut |path, size_bytes, tar| {
        if is_changelog(&path) {
            sum = limits.changelog_bytes.check(sum.saturating_add(size_bytes))?;
            let stored = files::tar_data(tar, size_bytes, limits.changelog_bytes)?;
            all.retain(|doc| doc.path != path);
            all.push(Doc { path, stored });
        }
        Ok(())
    })?;
    Ok(Taken { what: all, is_whole })
}

/// Whether a file is a changelog of the packaging, or may be.
fn is_changelog(path: &ImagePath) -> bool {
    let Some(below) = path.as_bytes().strip_prefix(b"usr/share/doc/") else { return false };
    let mut parts = below.split(|b| *b == b'/');
    let (Some(_), Some(name), None) = (parts.next(), parts.next(), parts.next()) else { return false };
    let name = name.strip_suffix(b".gz").unwrap_or(name);
    name == b"changelog" || name == b"changelog.Debian" || name.starts_with(b"changelog.Debian.")
}

/// The package that a control file tells of.
fn package(control: &[u8], limits: &Limits) -> Result<Package> {
    let mut stanzas = deb822::stanzas(control, limits);
    let Some(stanza) = stanzas.next().transpose()? else {
        return Err(Error::malformed("deb", "control", None, "no stanza", "one"));
    };
    if stanzas.next().is_some() {
        return Err(Error::malformed("deb", "control", None, "a second stanza", "one"));
    }
    let record = dpkg::control(&stanza)?;
    if record.architecture.is_empty() {
        return Err(Error::malformed("deb", "Architecture", stanza.offset, "none", "an architecture"));
    }
    Ok(offered(record))
}

/// The entries of the changelogs, and the names of those that are none of Debian's though their names say so.
fn releases(docs: Vec<Doc>, limits: &Limits) -> Result<(Vec<ReleaseEntry>, Vec<String>)> {
    let has_own = |doc: &Doc| {
        let name = doc.path.name();
        let is_upstreams = name == b"changelog" || name == b"changelog.gz";
        let is_own = |other: &Doc| {
            other.path.parent() == doc.path.parent() && other.path.name().starts_with(b"changelog.Debian")
        };
        is_upstreams && docs.iter().any(is_own)
    };
    let (mut all, mut unread) = (Vec::new(), Vec::new());
    for doc in docs.iter().filter(|doc| !has_own(doc)) {
        let place = || doc.path.to_string();
        let plain = codec::decoder(Compression::of(&doc.stored), doc.stored.as_slice(), limits).at(place)?;
        let mut stream = BufReader::new(plain);
        match debian_changelog::read(&mut stream, limits).at(place)? {
            Some(changelog) => {
                changelogs::whole(&changelog).at(place)?;
                all.extend(changelogs::entries(changelog));
            }
            None if doc.path.name().starts_with(b"changelog.Debian") => unread.push(doc.path.to_string()),
            None => {}
        }
    }
    Ok((all, unread))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deb(name: &str) -> Vec<u8> {
        let pool = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/channels/debian/pool/main");
        std::fs::read(format!("{pool}/{name}")).unwrap()
    }

    fn open(bytes: &[u8]) -> Arc<dyn ReadAt> {
        Arc::new(bytes.to_vec())
    }

    #[test]
    fn debpkg_serves_where_it_reads_all_and_both_readers_agree() {
        let limits = Limits::default();
        for (name, serves) in [
            ("w/widget-gzip_2.0-1_amd64.deb", true),
            ("w/widget-xz_2.0-1_amd64.deb", true),
            ("w/widget-zstd_2.0-1_amd64.deb", true),
            ("w/widget-plain_2.0-1_amd64.deb", true),
            ("g/gcc-12-base_12.2.0-14+deb12u1_amd64.deb", true),
            ("w/widget-extra_2.0-1_amd64.deb", false),
        ] {
            let file = open(&deb(name));
            let layout = Layout::of(&file, &limits).unwrap();
            let (control, docs) =
                (layout.control(&file, &limits).unwrap(), layout.docs(&file, &limits).unwrap());
            assert_eq!(docs.len(), 1, "{name}");
            let by_crate = by_debpkg(&file, &layout, &limits);
            assert_eq!(by_crate.is_some(), serves, "{name}");
            if let Some(contents) = by_crate {
                assert_eq!(contents.control, control, "{name}");
                let told = |docs: &[Doc]| {
                    docs.iter().map(|d| (d.path.clone(), d.stored.clone())).collect::<Vec<_>>()
                };
                assert_eq!(told(&contents.docs), told(&docs), "{name}");
            }
            assert!(decode(&file, &limits).unwrap().releases.len() > 1, "{name}");
        }
    }

    #[test]
    fn what_debpkg_would_cut_is_read_whole() {
        // Two gzip members, of which it reads the first.
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write as _;
        let whole = deb("w/widget-plain_2.0-1_amd64.deb");
        let file = open(&whole);
        let layout = Layout::of(&file, &Limits::default()).unwrap();
        let member = |name: &str, content: &[u8]| {
            let pad: &[u8] = if content.len() % 2 == 1 { b"\n" } else { b"" };
            let header = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 7, 0, 0, 100_644, content.len());
            [header.as_bytes(), content, pad].concat()
        };
        let gzip = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let part = |m: &Member| {
            let start = usize::try_from(m.offset).unwrap();
            whole[start..start + usize::try_from(m.size_bytes).unwrap()].to_vec()
        };
        let data = part(&layout.data);
        let (first, second) = data.split_at(2560); // behind the directories, before the changelog
        let split = [
            ar::MAGIC.to_vec(),
            member("debian-binary", b"2.0\n"),
            member("control.tar", &part(&layout.control)),
            member("data.tar.gz", &[gzip(first), gzip(second)].concat()),
        ]
        .concat();
        let file = open(&split);
        let layout = Layout::of(&file, &Limits::default()).unwrap();
        assert!(by_debpkg(&file, &layout, &Limits::default()).is_none());
        assert_eq!(decode(&file, &Limits::default()).unwrap().releases.len(), 2);
    }

    #[test]
    fn hostile_bytes_give_an_error_or_a_package() {
        let mut limits = Limits::default();
        limits.deb_data_bytes.max = 1 << 20;
        for name in ["gzip", "xz", "zstd"] {
            let whole = deb(&format!("w/widget-{name}_2.0-1_amd64.deb"));
            // The last byte may be padding.
            for len in 0..whole.len() - 1 {
                assert!(decode(&open(&whole[..len]), &limits).is_err(), "{name} {len}");
            }
            let mut broken = whole.clone();
            for at in 0..whole.len() {
                for byte in [whole[at] ^ 1, whole[at] ^ 0x80, 0, b'9', 0xff] {
                    broken[at] = byte;
                    drop(decode(&open(&broken), &limits));
                }
                broken[at] = whole[at];
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit_that_it_names() {
        let mut limits = Limits::default();
        limits.deb_data_bytes.max = 4096;
        let error = decode(&open(&deb("w/widget-xz_2.0-1_amd64.deb")), &limits).err().unwrap();
        assert!(error.to_string().contains("data.tar.xz: limit `deb_data_bytes` passed"), "{error}");
    }
}
