//! Debian changelogs, as `dpkg-parsechangelog --all` reads them (deb-changelog(5)).
//!
//! ```text
//! curl (7.88.1-10+deb12u9) bookworm-security; urgency=high        heading
//!
//!   * Fix CVE-2025-0167                                           changes: two spaces or more
//!
//!  -- Someone <someone@example.org>  Wed, 05 Feb 2025 21:25:58 +0100     trailer
//! ```
//!
//! The rules, and the order in which a line is held against them, are those of dpkg 1.21
//! (`Dpkg::Changelog::Debian`, `Dpkg::Changelog::Entry::Debian`): comments and keywords of version control are
//! passed over; the modelines of editors and the headings of the formats before 1996 end the reading. What
//! dpkg warns of is listed as a problem and loses no entry. Differences: changes without a heading, for which
//! dpkg makes up an entry named `unknown`, are a problem only; an entry whose version breaks the rules keeps it
//! as written. Bugs closed, maintainers and the text of the changes are not kept, only the CVE ids they name.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::unwrap_used
    )
)]

use std::io::BufRead;

use memchr::memmem::{self, Finder};

use crate::bytes::size_of_len;
use crate::error::{Error, Result, quoted};
use crate::format::cve;
use crate::limits::Limits;
use crate::model::version::deb;
use crate::model::{Ecosystem, ReleaseEntry, Time};

/// What a changelog says.
#[derive(Debug, Default)]
pub struct Changelog {
    /// Its entries, in its order: the newest first, as a rule.
    pub entries: Vec<ReleaseEntry>,
    /// What is not as it should be, each with its line; the first [`PROBLEMS`] of them.
    pub problems: Vec<Error>,
    /// How many there are.
    pub problem_count: u64,
}

/// So many problems of one changelog are told one by one.
pub const PROBLEMS: usize = 100;

/// Reads a changelog to its end, line by line. `None`, having read no further, if its first line that says
/// anything is no heading: an upstream changelog has another form.
///
/// # Errors
/// `Limit` if it has more bytes, longer lines or more entries than the limits allow; `Io` and what is inside it
/// if the stream fails.
pub fn read(stream: &mut dyn BufRead, limits: &Limits) -> Result<Option<Changelog>> {
    let mut lines = Lines { stream, limits, pending: Vec::new(), number: 0, read_bytes: 0 };
    let mut reader = Reader::new();
    while lines.for_next(&mut |number, line| reader.line(number, line))? {
        match reader.next {
            Next::Upstream => return Ok(None),
            Next::Stop => break,
            Next::Line => {}
        }
        limits.records.check(size_of_len(reader.changelog.entries.len()))?;
    }
    if reader.expect == Expect::FirstHeading {
        return Ok(None);
    }
    let changelog = reader.finish(lines.number);
    limits.records.check(size_of_len(changelog.entries.len()))?;
    Ok(Some(changelog))
}

/// Lines of a stream, without copying those that lie whole in its buffer.
struct Lines<'a> {
    stream: &'a mut dyn BufRead,
    limits: &'a Limits,
    /// The start of a line that passes the end of the buffer.
    pending: Vec<u8>,
    number: u64,
    read_bytes: u64,
}

impl Lines<'_> {
    /// Hands over the next lines, at least one; false at the end.
    fn for_next(&mut self, take: &mut dyn FnMut(u64, &[u8])) -> Result<bool> {
        loop {
            let buffer = match self.stream.fill_buf() {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                buffer => buffer?,
            };
            let newline = memchr::memchr(b'\n', buffer);
            let part = buffer.get(..newline.unwrap_or(buffer.len())).unwrap_or_default();
            let used = part.len().saturating_add(usize::from(newline.is_some()));
            let is_end = buffer.is_empty();
            let len = self.pending.len().saturating_add(part.len());
            self.limits.changelog_line_bytes.check(size_of_len(len))?;
            self.read_bytes = self.read_bytes.saturating_add(size_of_len(used));
            self.limits.changelog_bytes.check(self.read_bytes)?;
            let is_line = newline.is_some() || (is_end && !self.pending.is_empty());
            if is_line {
                self.number = self.number.saturating_add(1);
            }
            if is_line && self.pending.is_empty() {
                take(self.number, part);
            } else {
                self.pending.extend_from_slice(part);
                if is_line {
                    take(self.number, &self.pending);
                    self.pending.clear();
                }
            }
            self.stream.consume(used);
            if is_line || is_end {
                return Ok(is_line);
            }
        }
    }
}

/// What may come next, in dpkg's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    FirstHeading,
    NextHeadingOrEnd,
    StartOfChanges,
    ChangesOrTrailer,
}

impl Expect {
    fn text(self) -> &'static str {
        match self {
            Expect::FirstHeading => "first heading",
            Expect::NextHeadingOrEnd => "next heading or end of file",
            Expect::StartOfChanges => "start of change data",
            Expect::ChangesOrTrailer => "more change data or trailer",
        }
    }
}

/// Whether reading goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Line,
    Stop,
    Upstream,
}

struct Reader {
    changelog: Changelog,
    /// The entry that is being read, once its heading was.
    entry: Option<ReleaseEntry>,
    expect: Expect,
    next: Next,
    cve: Finder<'static>,
}

impl Reader {
    fn new() -> Self {
        Reader {
            changelog: Changelog::default(),
            entry: None,
            expect: Expect::FirstHeading,
            next: Next::Line,
            cve: Finder::new(b"CVE-"),
        }
    }

    /// Takes one line, without its newline.
    fn line(&mut self, number: u64, line: &[u8]) {
        match line {
            // Most lines are changes, and most of those start with two spaces.
            [first, second, rest @ ..] if is_space(*first) && is_space(*second) => {
                if rest.iter().all(|b| is_space(*b)) {
                    self.blank(number)
                } else {
                    self.changes(number, line)
                }
            }
            [b' ', b'-', b'-', ..] => self.trailer(number, line),
            line if line.iter().all(|b| is_space(*b)) => self.blank(number),
            [first, ..] if is_space(*first) => self.unrecognised(number, line),
            _ => self.flush_left(number, line),
        }
        if self.expect == Expect::FirstHeading && self.changelog.problem_count > 0 {
            self.next = Next::Upstream;
        }
    }

    /// A line that starts with something that is not white space.
    fn flush_left(&mut self, number: u64, line: &[u8]) {
        if let Some(heading) = Heading::of(line) {
            self.heading(number, line, &heading);
        } else if is_modeline(line) {
            self.next = Next::Stop;
        } else if is_keyword(line) || line.starts_with(b"# ") || is_comment(line) {
            // Passed over.
        } else if is_old_heading(line) && self.expect != Expect::FirstHeading {
            self.next = Next::Stop;
        } else {
            self.problem(number, line, "line", "a heading");
        }
    }

    fn heading(&mut self, number: u64, line: &[u8], heading: &Heading<'_>) {
        if !matches!(self.expect, Expect::FirstHeading | Expect::NextHeadingOrEnd) {
            self.problem(number, line, "heading", self.expect.text());
        }
        self.end_entry();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let version = text(heading.version);
        let digit_first = version.trim_start_matches(|c| c != ':').trim_start_matches(':');
        let digit_first = if digit_first.is_empty() { version.as_str() } else { digit_first };
        if deb::check(&version).is_err() || !digit_first.starts_with(|c: char| c.is_ascii_digit()) {
            self.problem(number, heading.version, "version", "a valid version");
        }
        let mut entry = ReleaseEntry {
            ecosystem: Ecosystem::Deb,
            source: text(heading.source),
            version,
            suites: words(heading.suites).map(text).collect(),
            urgency: None,
            dated: None,
            rebuild: false,
            superseded_by: None,
            cves: Vec::new(),
        };
        self.options(number, heading.options, &mut entry);
        self.entry = Some(entry);
        self.collect_cves(line);
        self.expect = Expect::StartOfChanges;
    }

    /// `urgency=high, binary-only=yes`
    fn options(&mut self, number: u64, options: &[u8], entry: &mut ReleaseEntry) {
        // Commas at the end separate nothing.
        let end =
            options.iter().rposition(|b| *b != b',' && !is_space(*b)).map_or(0, |at| at.saturating_add(1));
        let options = options.get(..end).unwrap_or_default();
        if options.is_empty() {
            return;
        }
        let mut has_binary_only = false;
        for option in options.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
            let pair = memchr::memchr(b'=', option).and_then(|at| option.split_at_checked(at));
            let Some((key, value)) =
                pair.map(|(key, value)| (key, value.get(1..).unwrap_or_default().trim_ascii()))
            else {
                self.problem(number, option, "option", "key=value");
                continue;
            };
            if value.is_empty()
                || key.is_empty()
                || !key.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            {
                self.problem(number, option, "option", "key=value");
            } else if key.eq_ignore_ascii_case(b"urgency") {
                if entry.urgency.is_some() {
                    self.problem(number, option, "option", "each key once");
                    continue;
                }
                let word = words(value).next().unwrap_or_default();
                if !word.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-') {
                    self.problem(number, option, "urgency", "one word");
                }
                entry.urgency = Some(String::from_utf8_lossy(word).to_ascii_lowercase());
            } else if key.eq_ignore_ascii_case(b"binary-only") {
                if has_binary_only {
                    self.problem(number, option, "option", "each key once");
                    continue;
                }
                has_binary_only = true;
                entry.rebuild = value == b"yes";
                if !entry.rebuild {
                    self.problem(number, option, "binary-only", "yes");
                }
            } else if !is_own_key(key) {
                self.problem(number, option, "option", "urgency or binary-only");
            }
        }
    }

    fn changes(&mut self, number: u64, line: &[u8]) {
        match self.expect {
            Expect::StartOfChanges | Expect::ChangesOrTrailer => {}
            Expect::FirstHeading => return self.problem(number, line, "changes", self.expect.text()),
            Expect::NextHeadingOrEnd => {
                self.problem(number, line, "changes", self.expect.text());
                self.end_entry();
            }
        }
        self.collect_cves(line);
        self.expect = Expect::ChangesOrTrailer;
    }

    fn trailer(&mut self, number: u64, line: &[u8]) {
        let Some(trailer) = Trailer::of(line) else {
            // As in dpkg, the entry stays open.
            return self.problem(number, line, "trailer", "` -- name <address>  date`");
        };
        match self.expect {
            Expect::ChangesOrTrailer => {}
            Expect::FirstHeading => return self.problem(number, line, "trailer", self.expect.text()),
            _ => self.problem(number, line, "trailer", self.expect.text()),
        }
        if trailer.spaces != 2 {
            self.problem(number, line, "trailer", "two spaces before the date");
        }
        if trailer.weekday.is_some_and(|day| !WEEKDAYS.contains(&day)) {
            self.problem(number, line, "trailer", "a weekday");
        }
        match trailer.date.time() {
            Some(time) => {
                if let Some(entry) = &mut self.entry {
                    entry.dated = Some(time);
                }
            }
            None => self.problem(number, line, "date", "for instance 5 Feb 2025 21:25:58 +0100"),
        }
        self.expect = Expect::NextHeadingOrEnd;
    }

    fn blank(&mut self, _number: u64) {
        // dpkg also warns of an empty first line; that says nothing about the entries.
    }

    fn unrecognised(&mut self, number: u64, line: &[u8]) {
        self.problem(number, line, "line", self.expect.text());
        if self.expect == Expect::FirstHeading {
            return;
        }
        self.collect_cves(line);
        if self.expect == Expect::NextHeadingOrEnd {
            self.expect = Expect::ChangesOrTrailer;
        }
    }

    fn collect_cves(&mut self, line: &[u8]) {
        let Some(entry) = &mut self.entry else { return };
        for at in self.cve.find_iter(line) {
            entry.cves.extend(line.get(at..).and_then(cve::id_at_start));
        }
    }

    fn end_entry(&mut self) {
        if let Some(mut entry) = self.entry.take() {
            entry.cves.sort_unstable();
            entry.cves.dedup();
            entry.cves.shrink_to_fit();
            self.changelog.entries.push(entry);
        }
    }

    fn finish(mut self, last: u64) -> Changelog {
        if self.expect != Expect::NextHeadingOrEnd {
            self.problem(last, b"", "end of file", self.expect.text());
        }
        self.end_entry();
        self.changelog
    }

    fn problem(&mut self, number: u64, found: &[u8], field: &'static str, allowed: &str) {
        self.changelog.problem_count = self.changelog.problem_count.saturating_add(1);
        if self.changelog.problems.len() < PROBLEMS {
            let error = Error::malformed("debian changelog", field, None, quoted(found), allowed);
            self.changelog.problems.push(error.at(format!("line {number}")));
        }
    }
}

const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// White space as Perl's `\s` has it.
fn is_space(b: u8) -> bool {
    matches!(b, b' ' | 0x09..=0x0d)
}

/// Perl's `\w`, of bytes.
fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// What names of packages and suites are made of.
fn is_name_sign(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-+.".contains(&b)
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| is_space(*b)).filter(|word| !word.is_empty())
}

/// The longest start of which every byte is wanted, and the rest.
fn split(text: &[u8], wanted: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let len = text.iter().take_while(|b| wanted(**b)).count();
    text.split_at_checked(len).unwrap_or((text, &[]))
}

/// `XB-`, `XCS-` and so on: keys that anyone may add.
fn is_own_key(key: &[u8]) -> bool {
    let Some((b'x' | b'X', rest)) = key.split_first() else { return false };
    let (letters, rest) = split(rest, |b| matches!(b.to_ascii_uppercase(), b'B' | b'C' | b'S'));
    !letters.is_empty() && rest.starts_with(b"-")
}

/// `name (version) suite suite; options`
struct Heading<'a> {
    source: &'a [u8],
    version: &'a [u8],
    suites: &'a [u8],
    options: &'a [u8],
}

impl<'a> Heading<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let (source, version, rest) = name_and_version(line)?;
        let semicolon = memchr::memchr(b';', rest)?;
        let (suites, options) = rest.split_at_checked(semicolon)?;
        let is_sound = suites.first().is_some_and(|b| is_space(*b))
            && suites.iter().all(|b| is_space(*b) || is_name_sign(*b))
            && suites.iter().any(|b| is_name_sign(*b))
            && suites.last().is_some_and(|b| is_name_sign(*b));
        is_sound.then(|| Heading { source, version, suites, options: options.get(1..).unwrap_or_default() })
    }
}

/// `name (version)` and what follows.
fn name_and_version(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = split(line, |b| is_name_sign(b) || b == b'_');
    // An underscore is a word sign and may only come first.
    if !name.first().is_some_and(|b| is_word(*b)) || name.iter().skip(1).any(|b| *b == b'_') {
        return None;
    }
    let (version, rest) = split(rest.strip_prefix(b" (")?, |b| !b"() \t".contains(&b));
    let rest = rest.strip_prefix(b")")?;
    (!version.is_empty()).then_some((name, version, rest))
}

/// ` -- name <address>  date`
struct Trailer<'a> {
    /// Before the date; one or two.
    spaces: usize,
    weekday: Option<&'a [u8]>,
    date: Date<'a>,
}

/// The parts of a date, in dpkg's form: digits where digits belong.
struct Date<'a> {
    day: &'a [u8],
    month: &'a [u8],
    year: &'a [u8],
    hour: &'a [u8],
    minute: &'a [u8],
    second: &'a [u8],
    is_west: bool,
    zone: &'a [u8],
}

impl<'a> Trailer<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_prefix(b" -- ")?;
        // No date holds a bracket, so the last one closes the address.
        let (before, after) = line.split_at_checked(memchr::memrchr(b'>', line)?)?;
        memmem::find(before, b" <")?;
        let (spaces, rest) = split(after.get(1..)?, |b| b == b' ');
        if !matches!(spaces.len(), 1 | 2) {
            return None;
        }
        let (word, after_word) = split(rest, is_word);
        let (weekday, rest) = match after_word.strip_prefix(b",") {
            Some(after) if !word.is_empty() => (Some(word), split(after, is_space).1),
            _ => (None, rest),
        };
        Some(Trailer { spaces: spaces.len(), weekday, date: Date::of(rest)? })
    }
}

impl<'a> Date<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let digits = |text, len: std::ops::RangeInclusive<usize>| {
            let (digits, rest) = split(text, |b| b.is_ascii_digit());
            len.contains(&digits.len()).then_some((digits, rest))
        };
        let gap = |text: &'a [u8]| {
            let (gap, rest) = split(text, is_space);
            (!gap.is_empty()).then_some(rest)
        };
        let (day, rest) = digits(text, 1..=2)?;
        let (month, rest) = split(gap(rest)?, is_word);
        let (year, rest) = digits(gap(rest)?, 4..=4)?;
        let (hour, rest) = digits(gap(rest)?, 1..=2)?;
        let (minute, rest) = digits(rest.strip_prefix(b":")?, 2..=2)?;
        let (second, rest) = digits(rest.strip_prefix(b":")?, 2..=2)?;
        let (sign, rest) = gap(rest)?.split_first()?;
        let (zone, rest) = digits(rest, 4..=4)?;
        let is_sound = matches!(sign, b'+' | b'-') && !month.is_empty() && rest.iter().all(|b| is_space(*b));
        is_sound.then_some(Date { day, month, year, hour, minute, second, is_west: *sign == b'-', zone })
    }

    /// The moment, if each part is in its range; like Perl's strptime, a day that its month does not have is
    /// one of the next month.
    fn time(&self) -> Option<Time> {
        const MONTHS: [&[u8]; 12] =
            [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
        let number = |digits: &[u8], most: i64| {
            let value = std::str::from_utf8(digits).ok()?.parse::<i64>().ok()?;
            (value <= most).then_some(value)
        };
        let month = MONTHS.iter().position(|name| self.month.eq_ignore_ascii_case(name))?;
        let month = i8::try_from(month).ok()?.checked_add(1)?;
        let year = i16::try_from(number(self.year, 9999)?).ok().filter(|year| *year >= 1900)?;
        let start = Time::start_of(jiff::civil::Date::new(year, month, 1).ok()?).unix();
        let days = number(self.day, 31)?.checked_sub(1)?;
        let clock =
            seconds(days.checked_mul(24)?.checked_add(number(self.hour, 23)?)?, number(self.minute, 59)?)?
                .checked_add(number(self.second, 59)?)?;
        let (hours, minutes) = self.zone.split_at_checked(2)?;
        let zone = seconds(number(hours, 99)?, number(minutes, 99)?)?;
        let zone = if self.is_west { zone.checked_neg()? } else { zone };
        Time::from_unix(start.checked_add(clock)?.checked_sub(zone)?)
    }
}

fn seconds(hours: i64, minutes: i64) -> Option<i64> {
    hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)
}

/// `$Id: … $`
fn is_keyword(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"$") else { return false };
    let (word, rest) = split(rest, is_word);
    !word.is_empty() && rest.strip_prefix(b":").is_some_and(|rest| rest.contains(&b'$'))
}

/// `/* … */`
fn is_comment(line: &[u8]) -> bool {
    line.strip_prefix(b"/*").is_some_and(|rest| memmem::find(rest, b"*/").is_some())
}

/// What editors look for at the end of a file.
fn is_modeline(line: &[u8]) -> bool {
    let local = match line.strip_prefix(b";;") {
        Some(rest) => split(rest, is_space).1,
        None => line,
    };
    starts_with(local, b"local variables:") || starts_with(line, b"vim:")
}

fn starts_with(text: &[u8], start: &[u8]) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

/// The headings of changelogs from before 1996. From the first of them on dpkg takes a file to be of the old
/// format, and so does not read the rest.
fn is_old_heading(line: &[u8]) -> bool {
    is_gnu_heading(line)
        || name_and_version(line).is_some()
        || is_debian_revision_heading(line)
        || (starts_with(line, b"changes from version ") && has_to_version(line))
        || is_changes_for(line)
        || is_alone(line, b"old changelog:")
        || is_bare_version(line)
}

/// The line is this, and white space.
fn is_alone(line: &[u8], text: &[u8]) -> bool {
    starts_with(line, text) && line.iter().skip(text.len()).all(|b| is_space(*b))
}

/// `Changes from version 1 to 2:`
fn has_to_version(line: &[u8]) -> bool {
    let lower = line.to_ascii_lowercase();
    let rest = lower.strip_prefix(b"changes from version ").unwrap_or_default();
    memmem::find(rest, b" to ").is_some_and(|at| rest.iter().skip(at).skip(4).any(|b| *b == b':'))
}

/// `Changes for name-1.2:`
fn is_changes_for(line: &[u8]) -> bool {
    if !starts_with(line, b"changes for ") {
        return false;
    }
    let rest = line.get(12..).unwrap_or_default().trim_ascii_end();
    let name = rest.strip_suffix(b":").unwrap_or(rest);
    let inner = name.get(1..name.len().saturating_sub(1)).unwrap_or_default();
    name.iter().all(|b| is_word(*b) || b".+-".contains(b)) && inner.contains(&b'-')
}

/// `name-1.2 Debian 3`
fn is_debian_revision_heading(line: &[u8]) -> bool {
    let lower = line.to_ascii_lowercase();
    memmem::find_iter(&lower, b" debian ").any(|at| {
        let followed = lower.get(at.saturating_add(8)).is_some_and(|b| !is_space(*b));
        let before = lower.get(..at).unwrap_or_default();
        let (name, rest) = split(before, |b| is_word(b) || b".+-".contains(&b));
        let is_version = |text: &[u8]| !text.is_empty() && !text.iter().any(|b| is_space(*b));
        let by_space = rest.strip_prefix(b" ").is_some_and(is_version) && !name.is_empty();
        // By hyphen: the name is any start of these signs that a hyphen follows, the version what is left.
        let first = name.iter().skip(1).position(|b| *b == b'-').map(|at| at.saturating_add(2));
        let by_hyphen = first.and_then(|at| before.get(at..)).is_some_and(is_version);
        followed && (by_space || by_hyphen)
    })
}

/// `1.2.3` or `name:` alone.
fn is_bare_version(line: &[u8]) -> bool {
    let line = split_end(line);
    let is_rest = |text: &[u8]| {
        let text = text.strip_suffix(b":").unwrap_or(text);
        text.first().is_some_and(|b| is_word(*b)) && text.iter().all(|b| is_word(*b) || b".+~-".contains(b))
    };
    let (epoch, after) = split(line, |b| b.is_ascii_digit());
    is_rest(line) || (!epoch.is_empty() && after.strip_prefix(b":").is_some_and(is_rest))
}

/// The line without white space at its end.
fn split_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|b| !is_space(*b)).map_or(0, |at| at.saturating_add(1));
    line.get(..end).unwrap_or_default()
}

/// `Mon Jan  1 00:00:00 MET 1996  Name  <address>` or `Mon Jan 1, 1996 Name (address)`
fn is_gnu_heading(line: &[u8]) -> bool {
    gnu_date(line).is_some_and(|rest| {
        // White space, anything, white space, a bracket, anything, a bracket.
        let (gap, _) = split(rest, is_space);
        let opens = |at: usize| {
            let before = at.checked_sub(1).and_then(|at| rest.get(at));
            matches!(rest.get(at), Some(b'<' | b'(')) && before.is_some_and(|b| is_space(*b)) && at >= 2
        };
        let closes = rest.iter().rposition(|b| matches!(b, b'>' | b')'));
        !gap.is_empty() && closes.is_some_and(|last| (0..last).any(opens))
    })
}

/// What follows the date of such a heading.
fn gnu_date(line: &[u8]) -> Option<&[u8]> {
    let word_gap = |text| {
        let (word, rest) = split(text, is_word);
        let (gap, rest) = split(rest, is_space);
        (!word.is_empty() && !gap.is_empty()).then_some(rest)
    };
    let rest = word_gap(word_gap(line)?)?;
    let (day, after_day) = split(rest, |b| b.is_ascii_digit());
    if day.is_empty() || day.len() > 2 {
        // `Jan 11996` would be a day and a year without a gap; nobody wrote that.
        return None;
    }
    gnu_clock(after_day).or_else(|| {
        let rest = after_day.strip_prefix(b",").unwrap_or(after_day);
        let (year, rest) = split(split(rest, is_space).1, |b| b.is_ascii_digit());
        (year.len() == 4).then_some(rest)
    })
}

/// ` 00:00:00 MET 1996` and what follows.
fn gnu_clock(text: &[u8]) -> Option<&[u8]> {
    let (clock, rest) = split(text.strip_prefix(b" ")?, |b| b.is_ascii_digit() || b == b':');
    let mut parts = clock.split(|b| *b == b':');
    let is_part = |part: Option<&[u8]>| part.is_some_and(|part| matches!(part.len(), 1 | 2));
    let is_clock = is_part(parts.next()) && is_part(parts.next()) && is_part(parts.next());
    let (gap, rest) = split(rest, is_space);
    if !is_clock || parts.next().is_some() || gap.is_empty() {
        return None;
    }
    // The zone is words; the year the last four digits before white space.
    let (zone, _) = split(rest, |b| is_word(b) || is_space(b));
    (4..=zone.len()).rev().find_map(|end| {
        let year = zone.get(end.checked_sub(4)?..end)?;
        let rest = rest.get(end..)?;
        (year.iter().all(u8::is_ascii_digit) && rest.first().is_some_and(|b| is_space(*b))).then_some(rest)
    })
}

#[cfg(test)]
mod tests;
