//! `karat compare`: what the two names lead to, and what the comparison comes to.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::audit::{self, Yardstick};
use crate::bytes::read_stream;
use crate::compare::Comparison;
use crate::error::{Error, Result, ResultExt as _};
use crate::limits::Limits;
use crate::report::{Report, schema_of};
use crate::standard::Outcome;

use super::args::{CompareArgs, FailOnChange};
use super::options;
use super::options::Talk;
use super::progress::Progress;

/// Compares what was named.
pub(super) fn compare(args: &CompareArgs, talk: Talk) -> Result<(Comparison, Limits)> {
    let as_of = options::as_of(args.read.as_of)?;
    let (scan, read) = options::scan_options(&args.read, args.with_releases, as_of)?;
    let limits = Limits::clone(&scan.source.limits);
    let comparison = match (report(&args.a, &limits)?, report(&args.b, &limits)?) {
        (Some(_), Some(_)) if args.baseline.is_some() => {
            return Err(Error::config("--baseline: reports are judged already")
                .hint("compare the images or their inventories, to hold both against one baseline"));
        }
        (Some(a), Some(b)) => Comparison::of_reports(&a, &b)?,
        (None, None) => {
            let _progress = Progress::start("reading 2 images".into(), read, talk);
            let yardstick = match &args.baseline {
                Some(reference) => {
                    let standard = options::standard(args.standard.as_deref())?;
                    let baseline = audit::baseline(reference, &standard.standard, &scan, as_of)?;
                    Some(Yardstick { baseline, standard })
                }
                None => None,
            };
            audit::compare(&args.a, &args.b, yardstick.as_ref(), &scan, as_of)?
        }
        (a, _) => {
            let (is, is_not) = if a.is_some() { (&args.a, &args.b) } else { (&args.b, &args.a) };
            return Err(Error::config(format!("`{is}` is a report, and `{is_not}` is none")).hint(format!(
                "two reports are compared, or two images or inventories; `karat audit {is_not} -b BASELINE -o json=FILE` makes a report"
            )));
        }
    };
    Ok((comparison, limits))
}

/// What the exit code tells: a downgrade that was seen is proven, whatever was not read.
pub(super) fn gate(comparison: &Comparison, args: &CompareArgs) -> Outcome {
    match (comparison.undoes, comparison.complete) {
        (true, _) if args.fail_on.contains(&FailOnChange::Downgrade) => Outcome::Fail,
        (_, false) => Outcome::Incomplete,
        _ => Outcome::Pass,
    }
}

/// The report that a name leads to; `None` if it is something else, or nothing.
fn report(reference: &str, limits: &Limits) -> Result<Option<Report>> {
    let path = Path::new(reference);
    if !path.is_file() {
        return Ok(None);
    }
    let place = || reference.to_owned();
    let mut file = File::open(path).at(place)?;
    let mut first = [0; 64];
    let read = file.read(&mut first).at(place)?;
    let head = first.get(..read).unwrap_or_default();
    if head.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Ok(None);
    }
    let json = read_stream(&mut File::open(path).at(place)?, limits.document_bytes).at(place)?;
    match schema_of(&json).as_deref() {
        Some(schema) if schema.starts_with("karat-report/") => Report::from_json(&json).map(Some).at(place),
        Some(schema) if schema.starts_with("karat-baseline/") => {
            Err(Error::config("a baseline is nothing that could be booted").at(reference).hint(
                "compare two images, inventories or reports; --baseline takes what both are held against",
            ))
        }
        Some(schema) if schema.starts_with("karat-compare/") => {
            Err(Error::config("a comparison cannot be compared").at(reference))
        }
        _ => Ok(None),
    }
}
