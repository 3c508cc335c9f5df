//! A blob of a registry as bytes at offsets: one answer that is read in order.
//!
//! A visit reads a layer from its start to its end, so one request serves it. An answer that is cut off is
//! resumed where it ended (`Range`, RFC 9110, 14.2); a server that does not know ranges sends everything
//! again, and what was seen is skipped. A read anywhere else is a request of its own. Nothing is kept but the
//! part of the answer that came last, and the first bytes, which are read twice: they tell the compression.
//!
//! The blob has the size that its manifest says. A registry that says another is not believed; whether the
//! bytes are the right ones their digest tells, which the layer's reader checks.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;

use super::session::Session;
use super::transport::{Answer, Failure, Retries, Tried, authority, wait_for};
use crate::bytes::{ReadAt, passes_end, size_of_len};
use crate::error::{Error, Result, ResultExt as _, quoted};
use crate::model::Sha256;

/// So many first bytes can be read again without another request: a small blob whole.
pub(super) const HEAD_BYTES: usize = 64 << 10;

/// A blob.
pub(super) struct RemoteBlob {
    session: Arc<Session>,
    digest: Sha256,
    size_bytes: u64,
    progress: Mutex<Progress>,
}

/// How far a blob was read.
#[derive(Default)]
struct Progress {
    /// The answer that goes on at `at`; `None` if there is none yet, or it was cut off.
    stream: Option<Stream>,
    /// Where in the blob the next byte lies.
    at: u64,
    /// The first bytes of the blob, as long as nothing behind them was read.
    head: Vec<u8>,
    /// How often this visit was cut off.
    cuts: u64,
}

/// An answer that is being read.
struct Stream {
    answer: Answer,
    /// What of it came last, and how much of that was handed out.
    part: Box<dyn AsRef<[u8]> + Send>,
    taken: usize,
}

impl Stream {
    /// Passes on at most `want` bytes of what comes next, and says how many; none at the end.
    async fn next(&mut self, session: &Session, want: usize, take: impl FnOnce(&[u8])) -> Tried<usize> {
        while self.taken >= (*self.part).as_ref().len() {
            match session.transport.next(&mut self.answer.response).await? {
                Some(part) => self.part = Box::new(part),
                None => return Ok(0),
            }
            self.taken = 0;
        }
        let rest = (*self.part).as_ref().get(self.taken..).unwrap_or_default();
        let part = rest.get(..want).unwrap_or(rest);
        take(part);
        let len = part.len();
        self.taken = self.taken.saturating_add(len);
        Ok(len)
    }
}

impl Progress {
    /// Goes to another place of the blob.
    fn seek(&mut self, at: u64) {
        if self.at != at {
            *self = Progress { at, cuts: if at == 0 { 0 } else { self.cuts }, ..Progress::default() };
        }
    }

    /// Remembers that these bytes were handed out.
    fn advance(&mut self, bytes: &[u8]) {
        if self.at == size_of_len(self.head.len()) {
            if self.head.len().saturating_add(bytes.len()) <= HEAD_BYTES {
                self.head.extend_from_slice(bytes);
            } else {
                self.head = Vec::new();
            }
        }
        self.at = self.at.saturating_add(size_of_len(bytes.len()));
    }

    /// Copies what is wanted of the first bytes, and says how many those are.
    fn copy_head(&self, offset: u64, dst: &mut [u8]) -> usize {
        let known = usize::try_from(offset).ok().and_then(|start| self.head.get(start..)).unwrap_or_default();
        let len = known.len().min(dst.len());
        match (known.get(..len), dst.get_mut(..len)) {
            (Some(known), Some(dst)) => dst.copy_from_slice(known),
            _ => return 0,
        }
        len
    }
}

impl RemoteBlob {
    pub(super) fn new(session: Arc<Session>, digest: Sha256, size_bytes: u64) -> Self {
        RemoteBlob { session, digest, size_bytes, progress: Mutex::default() }
    }

    /// The registry says of the blob what its manifest does not say.
    fn lie(field: &'static str, found: String, allowed: String) -> Error {
        let hint = "the registry does not have what the image names; nothing of it is believed";
        Error::malformed("blob", field, None, found, allowed).hint(hint)
    }

    fn declared(&self) -> String {
        format!("{} bytes, as its descriptor says", self.size_bytes)
    }

    /// Opens the blob at an offset.
    async fn open(&self, at: u64) -> Tried<Stream> {
        let answer = self.session.try_blob(self.digest, at).await?;
        let place = authority(answer.response.url());
        let mut skip = at;
        if answer.status() == StatusCode::PARTIAL_CONTENT {
            let range = answer.header(CONTENT_RANGE).unwrap_or_default();
            match content_range(range) {
                Some((start, total)) if start == at && total.is_none_or(|t| t == self.size_bytes) => skip = 0,
                _ => {
                    let want = format!("bytes from {at} of {}", self.size_bytes);
                    return Err(Self::lie("range", quoted(range), want).at(place).into());
                }
            }
        } else if let Some(length) = answer.response.content_length().filter(|l| *l != self.size_bytes) {
            return Err(Self::lie("size", format!("{length} bytes"), self.declared()).at(place).into());
        }
        let mut stream = Stream { answer, part: Box::new([]), taken: 0 };
        while skip > 0 {
            let want = usize::try_from(skip).unwrap_or(usize::MAX);
            match stream.next(&self.session, want, |_| {}).await? {
                0 => return Err(self.cut(&stream, at.saturating_sub(skip))),
                len => skip = skip.saturating_sub(size_of_len(len)),
            }
        }
        Ok(stream)
    }

    /// Fills `dst` from where the blob was read to, over as many answers as it takes.
    async fn fill(&self, progress: &mut Progress, dst: &mut [u8]) -> Result<()> {
        let limits = &*self.session.limits;
        let mut retries = Retries::new(limits);
        let mut filled = 0_usize;
        while let Some(rest) = dst.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let Some(stream) = &mut progress.stream else {
                match self.open(progress.at).await {
                    Ok(stream) => progress.stream = Some(stream),
                    Err(failure) => retries.after(failure).await?,
                }
                continue;
            };
            let want = rest.len();
            let copy =
                |part: &[u8]| rest.get_mut(..part.len()).into_iter().for_each(|to| to.copy_from_slice(part));
            let failure = match stream.next(&self.session, want, copy).await {
                Ok(0) => self.cut(stream, progress.at),
                Ok(len) => {
                    let end = filled.saturating_add(len);
                    progress.advance(dst.get(filled..end).unwrap_or_default());
                    filled = end;
                    retries.renew();
                    continue;
                }
                Err(failure) => failure.at(&authority(stream.answer.response.url())),
            };
            let place = || authority(stream.answer.response.url());
            progress.cuts = limits.registry_resumes.check(progress.cuts.saturating_add(1)).at(place)?;
            progress.stream = None;
            retries.after(failure).await?;
        }
        if progress.at == self.size_bytes {
            self.finish(progress).await?;
        }
        Ok(())
    }

    /// After the last byte: there may be none behind it. Where the answer does not end, the bytes are there all
    /// the same.
    async fn finish(&self, progress: &mut Progress) -> Result<()> {
        let Some(mut stream) = progress.stream.take() else { return Ok(()) };
        match stream.next(&self.session, 1, |_| {}).await {
            Ok(1..) => {
                let place = authority(stream.answer.response.url());
                Err(Self::lie("size", "more bytes".into(), self.declared()).at(place))
            }
            _ => Ok(()),
        }
    }

    fn cut(&self, stream: &Stream, at: u64) -> Failure {
        let found = format!("an end after {at} bytes");
        let error = Error::malformed("blob", "size", None, found, self.declared());
        Failure::Passing(error.at(authority(stream.answer.response.url())), None)
    }
}

impl ReadAt for RemoteBlob {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_exact_at(&self, offset: u64, dst: &mut [u8]) -> Result<()> {
        let end = offset.checked_add(size_of_len(dst.len()));
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(passes_end(offset, dst.len(), self.size_bytes));
        }
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let known = progress.copy_head(offset, dst);
        let offset = offset.saturating_add(size_of_len(known));
        match dst.get_mut(known..) {
            Some(rest) if !rest.is_empty() => {
                progress.seek(offset);
                wait_for(self.fill(&mut progress, rest))
            }
            _ => Ok(()),
        }
    }
}

/// Start and, where it is told, total size of `bytes START-END/TOTAL`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (start <= end && total.is_none_or(|total| end < total)).then_some((start, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        for (text, want) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("bytes */10", None),
            ("items 5-9/10", None),
            ("", None),
        ] {
            assert_eq!(content_range(text), want, "{text}");
        }
    }
}
