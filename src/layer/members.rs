//! The members of a layer's tar as entries of a stratum, each with as much of its content as is wanted.

use sha2::Digest as _;

use super::Options;
use crate::archive::tar::{Layout, Member, MemberKind, Skip, SparseContent, SparseMap, TarReader};
use crate::bytes::{Head, ReadAt, size_of_len};
use crate::codec::SpoolWriter;
use crate::error::{Error, Result};
use crate::model::{Gap, ImagePath, Sha256};
use crate::stratum::{Entry, FileDigests, Meta, Node, Request, Scope, Sink, Want};

/// Reads a tar to the end of its stream and shows what is in scope.
///
/// # Errors
/// Those of the stream and of the tar; then nothing that was shown counts.
pub(super) fn show_members(
    stream: &mut dyn Skip,
    place: &str,
    scope: Scope<'_>,
    sink: &dyn Sink,
    options: &Options,
) -> Result<()> {
    let mut reader = TarReader::new(stream, &options.limits);
    let mut show =
        Show { place, sink, options, scratch: Vec::new(), holes_left: options.limits.layer_bytes.max };
    let mut count = 0_u64;
    while let Some(member) = reader.next_member()? {
        count = options.limits.entries.check(count.saturating_add(1))?;
        let path = ImagePath::new(&member.path);
        options.limits.path_depth.check(size_of_len(path.components().count()))?;
        let Some(entry) = show.entry(path, &member) else { continue };
        if !scope.shows(&entry.path) {
            continue;
        }
        let request = sink.request(&entry);
        if matches!(entry.node, Node::File(_)) {
            show.file(&mut reader, &entry, &member, request)?;
        }
    }
    // The digest covers whatever follows the end of the archive.
    let stream = reader.into_inner();
    loop {
        let len = stream.fill_buf()?.len();
        if len == 0 {
            return Ok(());
        }
        stream.consume(len);
    }
}

/// What eStargz puts into a layer for those who fetch it in parts (stargz-snapshotter, `docs/estargz.md`): the
/// table of contents and the landmarks of prefetching. They are no files of the image.
const ESTARGZ: [&[u8]; 3] = [b"stargz.index.json", b".prefetch.landmark", b".no.prefetch.landmark"];

struct Show<'a> {
    place: &'a str,
    sink: &'a dyn Sink,
    options: &'a Options,
    /// Heads that lie across buffers are put together here.
    scratch: Vec<u8>,
    /// Zeros out of holes that may still be hashed: they cost time, and an archive nothing.
    holes_left: u64,
}

type Reader<'a> = TarReader<&'a mut dyn Skip>;

impl Show<'_> {
    /// What a member is in the stratum; `None` if it is nothing, which may be a gap.
    fn entry(&self, path: ImagePath, member: &Member) -> Option<Entry> {
        if path.components().any(|name| name.starts_with(b".wh.")) {
            return self.whiteout(&path);
        }
        if ESTARGZ.contains(&path.as_bytes()) && member.kind == MemberKind::File {
            return None;
        }
        let node = match member.kind {
            MemberKind::Directory => Node::Directory(Meta { size_bytes: 0, mode: member.mode }),
            MemberKind::Label => return None,
            _ if path.is_root() => {
                self.gap(&path, "a member without a name");
                return None;
            }
            MemberKind::File => Node::File(Meta { size_bytes: member.size_bytes, mode: member.mode }),
            MemberKind::Symlink => Node::Symlink(member.link.as_slice().into()),
            MemberKind::HardLink => {
                let target = ImagePath::new(&member.link);
                if target.components().any(|name| name.starts_with(b".wh.")) {
                    self.gap(&path, &format!("a hard link to `{target}`, which is no file of an image"));
                    return None;
                }
                Node::HardLink(target)
            }
            MemberKind::Device | MemberKind::Fifo => Node::Special,
            MemberKind::Other(flag) => {
                self.gap(&path, &format!("a tar member of the unknown type `{}`", flag.escape_ascii()));
                Node::Special
            }
        };
        Some(Entry { path, node })
    }

    /// A path with a component that begins with `.wh.`.
    fn whiteout(&self, path: &ImagePath) -> Option<Entry> {
        let directory = path.parent();
        let above_is_plain = !directory.components().any(|name| name.starts_with(b".wh."));
        match path.name().strip_prefix(b".wh.") {
            Some(b".wh..opq") if above_is_plain => Some(Entry { path: directory, node: Node::Opaque }),
            Some(rest) if rest.starts_with(b".wh.") => None,
            Some(b"" | b"." | b"..") if above_is_plain => {
                self.gap(path, "a whiteout that names nothing");
                None
            }
            Some(name) if above_is_plain => Some(Entry { path: directory.join(name), node: Node::Whiteout }),
            // Below aufs' own directories.
            _ if path.components().any(|name| name.starts_with(b".wh..wh.")) => None,
            _ => {
                self.gap(path, "a member below a whiteout");
                None
            }
        }
    }

    /// Hands out a file as wanted; what cannot be had of it is a gap.
    fn file(
        &mut self,
        reader: &mut Reader<'_>,
        entry: &Entry,
        member: &Member,
        request: Request,
    ) -> Result<()> {
        if request.want == Want::No && !request.digests.sha256 {
            return Ok(());
        }
        match &member.layout {
            Layout::Plain => self.plain(reader, entry, member.size_bytes, request),
            Layout::Sparse(map) => self.sparse(reader, entry, map, request),
            Layout::Unreadable(error) => {
                self.lost(entry, error);
                Ok(())
            }
        }
    }

    fn plain(
        &mut self,
        reader: &mut Reader<'_>,
        entry: &Entry,
        size_bytes: u64,
        request: Request,
    ) -> Result<()> {
        let here = reader.fill_data()?;
        let wanted = wanted_bytes(request.want, size_bytes);
        let is_whole = size_of_len(here.len()) == size_bytes;
        match wanted {
            Some(wanted) if is_whole || (size_of_len(here.len()) >= wanted && !request.digests.sha256) => {
                let len = usize::try_from(wanted).unwrap_or(here.len());
                self.sink.file(entry, &here.get(..len).unwrap_or(here));
                if request.digests.sha256 {
                    self.digests(entry, Sha256::of(here));
                }
                Ok(())
            }
            None if is_whole => {
                self.digests(entry, Sha256::of(here));
                Ok(())
            }
            _ => self.pieces(reader, entry, wanted, request.digests.sha256),
        }
    }

    /// A file that lies across buffers.
    fn pieces(
        &mut self,
        reader: &mut Reader<'_>,
        entry: &Entry,
        wanted: Option<u64>,
        sha256: bool,
    ) -> Result<()> {
        let mut hasher = sha256.then(sha2::Sha256::new);
        let mut left = wanted.unwrap_or(0);
        let mut store = wanted.map(|wanted| self.store(wanted)).transpose();
        while left > 0 || hasher.is_some() {
            let here = reader.fill_data()?;
            let len = here.len();
            if len == 0 {
                break;
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(here);
            }
            let part = usize::try_from(left).ok().and_then(|left| here.get(..left)).unwrap_or(here);
            left = left.saturating_sub(size_of_len(part.len()));
            let pushed = match &mut store {
                Ok(Some(store)) => store.push(part),
                Ok(None) => Ok(()),
                // It cannot be kept, and without a digest nobody needs the rest.
                Err(_) if hasher.is_none() => break,
                Err(_) => Ok(()),
            };
            store = pushed.and(store);
            reader.consume_data(len);
        }
        match store {
            Ok(None) => {}
            Ok(Some(Store::Scratch(bytes))) => {
                self.sink.file(entry, &bytes);
                self.scratch = bytes;
            }
            Ok(Some(Store::Spool(writer))) => self.sink.file(entry, &writer.finish()),
            Err(error) => self.lost(entry, &error),
        }
        if let Some(hasher) = hasher {
            self.digests(entry, Sha256(hasher.finalize().into()));
        }
        Ok(())
    }

    /// Where so many bytes can be put together.
    fn store(&mut self, wanted: u64) -> Result<Store> {
        if wanted <= SCRATCH_BYTES {
            self.scratch.clear();
            return Ok(Store::Scratch(std::mem::take(&mut self.scratch)));
        }
        Ok(Store::Spool(self.options.spool.writer(wanted)?))
    }

    /// A file with holes: what is stored is spooled, the holes are made as they are read.
    fn sparse(
        &mut self,
        reader: &mut Reader<'_>,
        entry: &Entry,
        map: &SparseMap,
        request: Request,
    ) -> Result<()> {
        let ceiling = self.options.spool.file_bytes();
        let begun =
            ceiling.check(map.size_bytes()).and_then(|_| self.options.spool.writer(map.stored_bytes()));
        let mut spooled = begun;
        while let Ok(writer) = &mut spooled {
            let here = reader.fill_data()?;
            let len = here.len();
            if len == 0 {
                break;
            }
            let pushed = writer.push(here);
            spooled = pushed.and(spooled);
            reader.consume_data(len);
        }
        let stored = match spooled {
            Ok(writer) => writer.finish(),
            Err(error) => {
                self.lost(entry, &error);
                return Ok(());
            }
        };
        let content = SparseContent { stored: &stored, map };
        if let Some(wanted) = wanted_bytes(request.want, map.size_bytes()) {
            self.sink.file(entry, &Head::new(&content, wanted));
        }
        if request.digests.sha256 {
            match self.sparse_digest(&content) {
                Ok(sha256) => self.digests(entry, sha256),
                Err(error) => self.lost(entry, &error),
            }
        }
        Ok(())
    }

    fn sparse_digest(&mut self, content: &SparseContent<'_>) -> Result<Sha256> {
        let ceiling = self.options.limits.layer_bytes;
        let left = self.holes_left.checked_sub(content.size_bytes());
        self.holes_left = left.ok_or_else(|| ceiling.passed(ceiling.max.saturating_add(1)))?;
        Sha256::of_content(content)
    }

    fn digests(&self, entry: &Entry, sha256: Sha256) {
        self.sink.digests(entry, &FileDigests { sha256: Some(sha256) });
    }

    fn lost(&self, entry: &Entry, error: &Error) {
        let place = format!("{}: {}", self.place, entry.path);
        self.sink.failed(Gap { place, reason: error.to_string(), required: true }, error);
    }

    fn gap(&self, path: &ImagePath, reason: &str) {
        let place = format!("{}: {path}", self.place);
        self.sink.gap(Gap { place, reason: reason.to_owned(), required: true });
    }
}

/// So many bytes of a file are wanted; `None` if its content is not.
fn wanted_bytes(want: Want, size_bytes: u64) -> Option<u64> {
    match want {
        Want::No => None,
        Want::Head(len) => Some(size_bytes.min(u64::from(len))),
        Want::Random => Some(size_bytes),
    }
}

/// Files up to this size are put together in memory of their own; it is used again for the next.
const SCRATCH_BYTES: u64 = 64 << 10;

/// Where the wanted bytes of a file are put together.
enum Store {
    Scratch(Vec<u8>),
    Spool(SpoolWriter),
}

impl Store {
    fn push(&mut self, part: &[u8]) -> Result<()> {
        match self {
            Store::Scratch(bytes) => {
                bytes.extend_from_slice(part);
                Ok(())
            }
            Store::Spool(writer) => writer.push(part),
        }
    }
}
