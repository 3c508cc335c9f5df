//! Where reports go: formats and files as asked for, each file written whole or not at all.

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
}

/// One report that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) format: Format,
    /// `None` is standard output.
    pub(super) file: Option<PathBuf>,
}

/// Reads `FORMAT[=FILE]`; without any, text to standard output.
pub(super) fn outputs(asked: &[String]) -> Result<Vec<Output>> {
    if asked.is_empty() {
        return Ok(vec![Output { format: Format::Text, file: None }]);
    }
    let outputs: Vec<Output> = asked.iter().map(|text| output(text)).collect::<Result<_>>()?;
    for (i, output) in outputs.iter().enumerate() {
        if outputs[..i].iter().any(|before| before.file == output.file) {
            let place = output.file.as_ref().map_or("standard output".into(), |f| f.display().to_string());
            return Err(Error::config(format!("-o: two reports would go to {place}"))
                .hint("give each a file of its own: -o text -o json=report.json"));
        }
    }
    Ok(outputs)
}

fn output(text: &str) -> Result<Output> {
    let (format, file) = match text.split_once('=') {
        Some((format, file)) => (format, Some(file)),
        None => (text, None),
    };
    let format = match format {
        "text" | "table" => Format::Text,
        "json" => Format::Json,
        _ => {
            return Err(Error::config(format!("no report format is called `{format}`"))
                .hint("-o takes text or json, each with =FILE if it is to go to a file"));
        }
    };
    if file == Some("") {
        return Err(Error::config(format!("-o {text}: the file has no name")));
    }
    Ok(Output { format, file: file.filter(|f| *f != "-").map(PathBuf::from) })
}

/// Writes a report to its place.
pub(super) fn write(output: &Output, talk: Talk, report: &str) -> Result<()> {
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

/// Writes a file beside its place and moves it there, so that no half of it is ever read.
pub(super) fn write_file(file: &Path, content: &[u8]) -> Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let place = || file.display().to_string();
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
