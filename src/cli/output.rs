//! Where reports go: formats and files as asked for, each file written whole or not at all.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, ResultExt};

use super::options::Talk;

/// A report's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// The contract.
    Json,
    /// For a job summary.
    Markdown,
}

impl Format {
    /// The format of a name; never guessed from a file's ending, which would make a spelling an instruction.
    fn named(name: &str) -> Option<Self> {
        match name {
            "text" | "table" => Some(Format::Text),
            "json" => Some(Format::Json),
            "markdown" | "md" => Some(Format::Markdown),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Markdown => "markdown",
        }
    }
}

/// Formats of commands whose results are for a job summary too.
pub(super) const ALL: &[Format] = &[Format::Text, Format::Json, Format::Markdown];
/// Formats of the others.
pub(super) const TEXT_AND_JSON: &[Format] = &[Format::Text, Format::Json];

/// One report that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) format: Format,
    /// `None` is standard output.
    pub(super) file: Option<PathBuf>,
}

/// Reads `FORMAT[=FILE]`; without any, text to standard output.
pub(super) fn outputs(asked: &[String], formats: &[Format]) -> Result<Vec<Output>> {
    if asked.is_empty() {
        return Ok(vec![Output { format: Format::Text, file: None }]);
    }
    let outputs: Vec<Output> = asked.iter().map(|text| output(text, formats)).collect::<Result<_>>()?;
    let mut places = BTreeSet::new();
    for output in &outputs {
        if !places.insert(output.file.as_deref().map(place)) {
            let place = output.file.as_ref().map_or("standard output".into(), |f| f.display().to_string());
            return Err(Error::config(format!("-o: two reports would go to {place}"))
                .hint("give each a file of its own: -o text -o json=report.json"));
        }
    }
    Ok(outputs)
}

/// Where a file is, however its path is written.
fn place(file: &Path) -> PathBuf {
    if let Ok(there) = fs::canonicalize(file) {
        return there;
    }
    let folder = folder_of(file);
    match (fs::canonicalize(folder), file.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => file.to_owned(),
    }
}

/// Refuses a report that would replace what the run reads.
///
/// # Errors
/// `Config` that names the file.
pub(super) fn spare<'a>(outputs: &[Output], inputs: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let real = |path: &str| fs::canonicalize(path).ok();
    let read: BTreeSet<PathBuf> = inputs
        .into_iter()
        .flat_map(|name| {
            [
                Some(name),
                name.split_once(':').map(|(_, path)| path),
                name.rsplit_once('#').map(|(path, _)| path),
            ]
        })
        .flatten()
        .filter_map(real)
        .collect();
    for file in outputs.iter().filter_map(|output| output.file.as_deref()) {
        if fs::canonicalize(file).is_ok_and(|file| read.contains(&file)) {
            let what = format!("-o: {} is read by this run, and the report would replace it", file.display());
            return Err(Error::config(what).hint("give the report a file of its own"));
        }
    }
    Ok(())
}

fn output(text: &str, formats: &[Format]) -> Result<Output> {
    let (name, file) = match text.split_once('=') {
        Some((name, file)) => (name, Some(file)),
        None => (text, None),
    };
    let names = || formats.iter().map(|format| format.name()).collect::<Vec<_>>().join(", ");
    let Some(format) = Format::named(name) else {
        let by_ending =
            Path::new(text).extension().and_then(|ending| ending.to_str()).map(|ending| match ending {
                "txt" => "text",
                other => other,
            });
        let meant = by_ending.and_then(Format::named).filter(|_| file.is_none());
        return Err(Error::config(format!("no report format is called `{name}`")).hint(match meant {
            Some(format) => format!("a file stands behind its format: -o {}={text}", format.name()),
            None => format!("-o takes {}, each with =FILE if it is to go to a file", names()),
        }));
    };
    if !formats.contains(&format) {
        return Err(Error::config(format!("-o {text}: this command has no report as {}", format.name()))
            .hint(format!("it has {}", names())));
    }
    if file == Some("") {
        return Err(Error::config(format!("-o {text}: the file has no name")));
    }
    Ok(Output { format, file: file.filter(|f| *f != "-").map(PathBuf::from) })
}

/// Writes every report to its place. One that cannot be written stops no other; what went wrong comes back.
pub(super) fn write_all(
    outputs: &[Output],
    talk: Talk,
    mut report: impl FnMut(Format) -> Result<String>,
) -> Vec<Error> {
    let written = outputs.iter().map(|output| write(output, talk, &report(output.format)?));
    written.filter_map(Result::err).collect()
}

/// Writes a report to its place.
fn write(output: &Output, talk: Talk, report: &str) -> Result<()> {
    match &output.file {
        None => print(report, talk),
        Some(file) => write_file(file, anstream::adapter::strip_str(report).to_string().as_bytes()),
    }
}

/// Writes to standard output; a reader that has seen enough is no error.
pub(super) fn print(report: &str, talk: Talk) -> Result<()> {
    let mut stdout = anstream::AutoStream::new(std::io::stdout(), talk.color);
    match stdout.write_all(report.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.at(|| "standard output".into()),
    }
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a file beside its place and moves it there, so that no half of it is ever read.
pub(super) fn write_file(file: &Path, content: &[u8]) -> Result<()> {
    let place = || file.display().to_string();
    // A link stays one: what it leads to is replaced.
    let target = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let (file, folder) = (target.as_path(), folder_of(&target));
    if !folder.is_dir() {
        return Err(
            Error::not_found(format!("the directory `{}` to write it to", folder.display())).at(place())
        );
    }
    if file.exists() && !fs::metadata(file).at(place)?.is_file() {
        return fs::write(file, content).at(place); // a pipe or a device is written as it is
    }
    let beside = tempfile::Builder::new().prefix(".karat-").tempfile_in(folder);
    // Its own name is chance, and nobody's concern.
    let mut beside = beside.map_err(|error| std::io::Error::from(error.kind())).at(place)?;
    beside.write_all(content).at(place)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(file).map_or(0o644, |m| m.permissions().mode() & 0o777);
        beside.as_file().set_permissions(fs::Permissions::from_mode(mode)).at(place)?;
    }
    beside.persist(file).map_err(|error| error.error).at(place)?;
    Ok(())
}
