//! The command line: arguments to options, options to the library, results to their places, and the one table
//! of exit codes.

mod args;
mod options;
mod output;
mod progress;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::audit::{self, BaselineSources, ChannelRef, Yardstick};
use crate::baseline::{Baseline, summarize};
use crate::error::{Error, Result, ResultExt};
use crate::limits::Limits;
use crate::model::{Inventory, Sha256};
use crate::render::{self, Detail};
use crate::report::{Report, exit_code};
use crate::scan::scan_all;
use crate::source;
use crate::standard::{Outcome, State};

use args::{
    AuditArgs, BaselineCommand, BuildArgs, Cli, Command, ExplainArgs, FailOn, InventoryArgs, MergeArgs,
    ShowArgs, StandardCommand,
};
use options::Talk;
use output::{Format, Output};
use progress::Progress;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let talk = Talk::new(&cli.common);
    let outcome = run(cli.command, talk).unwrap_or_else(|error| {
        complain(&error, talk);
        Outcome::Error
    });
    ExitCode::from(exit_code(outcome))
}

fn run(command: Command, talk: Talk) -> Result<Outcome> {
    match command {
        Command::Audit(args) => audit(args, talk),
        Command::Inventory(args) => inventory(args, talk),
        Command::Baseline(BaselineCommand::Build(args)) => build(args, talk),
        Command::Baseline(BaselineCommand::Merge(args)) => merge(args, talk),
        Command::Baseline(BaselineCommand::Show(args)) => show(args, talk),
        Command::Explain(args) => explain(args, talk),
        Command::Standard(StandardCommand::Check { file }) => check(&file, talk),
        Command::Limits => limits(talk),
    }
}

/// An error on standard error, with what to do next.
fn complain(error: &Error, talk: Talk) {
    let mut stderr = anstream::AutoStream::new(std::io::stderr(), talk.color);
    let red = anstyle::AnsiColor::Red.on_default().bold();
    // There is nobody left to tell that telling failed.
    let _ = writeln!(stderr, "{red}error{red:#}: {error}");
    if let (Some(hint), false) = (error.hint_text(), talk.quiet) {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}

/// Something that a person should know, on standard error.
fn note_to(note: &str, talk: Talk) {
    let mut stderr = anstream::AutoStream::new(std::io::stderr(), talk.color);
    let _ = writeln!(stderr, "note: {note}");
}

fn audit(args: AuditArgs, talk: Talk) -> Result<Outcome> {
    let outputs = output::outputs(&args.output.outputs)?;
    let as_of = options::as_of(args.read.as_of)?;
    let standard = options::standard(args.standard.as_deref())?;
    let (scan, read) = options::scan_options(&args.read, false, as_of)?;
    let named = source::expand(&args.images)?;
    let report = {
        let what = format!("auditing {}", images(named.len()));
        let _progress = Progress::start(what, read, talk);
        let baseline = audit::baseline(&args.baseline, &standard.standard, &scan, as_of)?;
        audit::audit(&named, &Yardstick { baseline, standard }, &scan, as_of)?
    };
    for output in &outputs {
        let text = match output.format {
            Format::Text => render::audit_text(&report, detail(talk)),
            Format::Json => json(&report)?,
        };
        output::write(output, talk, &text)?;
    }
    Ok(gate(&report, &args))
}

/// The outcome that the exit code tells.
fn gate(report: &Report, args: &AuditArgs) -> Outcome {
    let is_due = || {
        let mut systems = report.images.iter().flat_map(|image| &image.systems);
        systems.any(|system| system.verdict.state == State::Due)
    };
    match report.outcome {
        Outcome::Error => Outcome::Error,
        _ if args.no_gate => Outcome::Pass,
        Outcome::Fail => Outcome::Fail,
        _ if args.fail_on.contains(&FailOn::Due) && is_due() => Outcome::Fail,
        other => other,
    }
}

fn inventory(args: InventoryArgs, talk: Talk) -> Result<Outcome> {
    let outputs = output::outputs(&args.output.outputs)?;
    let as_of = options::as_of(args.read.as_of)?;
    let (scan, read) = options::scan_options(&args.read, args.with_releases, as_of)?;
    let named = source::expand(&args.images)?;
    let scanned = {
        let _progress = Progress::start(format!("reading {}", images(named.len())), read, talk);
        scan_all(&named, &scan)
    };
    let mut inventories = Vec::new();
    let mut outcome = Outcome::Pass;
    for result in scanned {
        match result {
            Ok(found) => inventories.extend(found),
            Err(error) => {
                complain(&error, talk);
                outcome = Outcome::Error;
            }
        }
    }
    if inventories.iter().any(|inventory| inventory.gaps.iter().any(|gap| gap.required)) {
        outcome = outcome.min(Outcome::Incomplete);
    }
    for output in &outputs {
        output::write(output, talk, &inventory_document(&inventories, output, talk)?)?;
    }
    Ok(outcome)
}

/// One JSON document an image: indented if there is one, a line each if there are more.
fn inventory_document(inventories: &[Inventory], output: &Output, talk: Talk) -> Result<String> {
    match output.format {
        Format::Text => {
            let texts = inventories.iter().map(|inventory| render::inventory_text(inventory, detail(talk)));
            Ok(texts.collect::<Vec<_>>().join("\n"))
        }
        Format::Json => match inventories {
            [one] => json(one),
            many => many
                .iter()
                .map(|i| Ok(serde_json::to_string(i).map_err(std::io::Error::from)? + "\n"))
                .collect(),
        },
    }
}

fn build(args: BuildArgs, talk: Talk) -> Result<Outcome> {
    if args.name.trim().is_empty() {
        return Err(Error::config("--name: a baseline needs a name, which reports show"));
    }
    let hosts = source::expand(&args.hosts)?;
    options::each_once(&hosts)?;
    let as_of = options::as_of(args.read.as_of)?;
    let standard = options::standard(args.standard.as_deref())?;
    let (scan, read) = options::scan_options(&args.read, true, args.taken_at.unwrap_or(as_of))?;
    let sources = BaselineSources {
        hosts,
        channels: args.channels.iter().map(|text| ChannelRef::parse(text)).collect(),
        channels_taken_at: args.channel_taken_at,
    };
    let (baseline, notes) = {
        let count = |n: usize, what: &str| match n {
            0 => None,
            1 => Some(format!("1 {what}")),
            n => Some(format!("{n} {what}s")),
        };
        let parts = [count(sources.hosts.len(), "host"), count(sources.channels.len(), "channel source")];
        let what = format!("reading {}", parts.into_iter().flatten().collect::<Vec<_>>().join(" and "));
        let _progress = Progress::start(what, read, talk);
        audit::build_baseline(&args.name, &sources, &standard.standard, &scan, as_of)?
    };
    if !talk.quiet {
        for note in notes {
            note_to(&note, talk);
        }
    }
    written(&baseline, &args.output, talk)
}

fn merge(args: MergeArgs, talk: Talk) -> Result<Outcome> {
    if args.name.trim().is_empty() {
        return Err(Error::config("--name: a baseline needs a name, which reports show"));
    }
    let as_of = options::as_of(args.as_of)?;
    let standard = options::standard(args.standard.as_deref())?;
    let limits = options::limits(&args.limits)?;
    let baseline = audit::merge_baselines(&args.name, &args.files, &standard.standard, &limits, as_of)?;
    written(&baseline, &args.output, talk)
}

/// Writes a baseline where it was asked for, and says what it holds.
fn written(baseline: &Baseline, output: &str, talk: Talk) -> Result<Outcome> {
    let json = baseline.to_json()?;
    if output == "-" {
        output::print(&String::from_utf8_lossy(&json), talk)?;
        return Ok(Outcome::Pass);
    }
    output::write_file(std::path::Path::new(output), &json)?;
    if !talk.quiet {
        output::print(&render::baseline_text(&summarize(baseline)), talk)?;
        output::print(&format!("\nwritten to {output}, {}\n", Sha256::of(&json)), talk)?;
    }
    Ok(Outcome::Pass)
}

fn show(args: ShowArgs, talk: Talk) -> Result<Outcome> {
    let outputs = output::outputs(&args.output.outputs)?;
    let loaded = Baseline::load(&args.file, &Limits::default())?;
    let summary = summarize(&loaded.baseline);
    for output in &outputs {
        let text = match (&args.source, output.format) {
            (None, Format::Text) => render::baseline_text(&summary),
            (None, Format::Json) => json(&summary)?,
            (Some(source), format) => {
                let histories: Vec<_> = loaded
                    .baseline
                    .platforms
                    .iter()
                    .flat_map(|platform| &platform.sources)
                    .filter(|history| history.source == *source)
                    .collect();
                if histories.is_empty() {
                    return Err(Error::not_found(format!("source package `{source}` in the baseline"))
                        .at(args.file.display().to_string()));
                }
                match format {
                    Format::Text => histories.into_iter().map(render::history_text).collect(),
                    Format::Json => json(&histories)?,
                }
            }
        };
        output::write(output, talk, &text)?;
    }
    Ok(Outcome::Pass)
}

fn explain(args: ExplainArgs, talk: Talk) -> Result<Outcome> {
    let outputs = output::outputs(&args.output.outputs)?;
    let as_of = options::as_of(args.read.as_of)?;
    let standard = options::standard(args.standard.as_deref())?;
    let (scan, read) = options::scan_options(&args.read, false, as_of)?;
    let (inventories, explanations) = {
        let _progress = Progress::start("reading 1 image".into(), read, talk);
        let baseline = audit::baseline(&args.baseline, &standard.standard, &scan, as_of)?;
        audit::explain_package(&args.image, &args.package, &Yardstick { baseline, standard }, &scan, as_of)?
    };
    let references = inventories.iter().flat_map(|i| i.systems.iter().map(|_| &i.image.reference));
    for output in &outputs {
        let text = match output.format {
            Format::Json => json(&explanations)?,
            Format::Text => {
                let texts = references
                    .clone()
                    .zip(&explanations)
                    .map(|(r, e)| render::explain_text(r, e, detail(talk)));
                texts.collect::<Vec<_>>().join("\n")
            }
        };
        output::write(output, talk, &text)?;
    }
    Ok(Outcome::Pass)
}

fn check(file: &std::path::Path, talk: Talk) -> Result<Outcome> {
    let standard = options::standard(Some(file))?;
    let text = toml::to_string(&standard.standard).map_err(|error| Error::config(error.to_string()))?;
    output::print(&format!("# {}: this holds\n{text}", file.display()), talk)?;
    Ok(Outcome::Pass)
}

fn limits(talk: Talk) -> Result<Outcome> {
    let all = Limits::default().all();
    let widths = (
        all.iter().map(|l| l.name.len()).max().unwrap_or(0),
        all.iter().map(|l| l.max.to_string().len()).max().unwrap_or(0),
        all.iter().map(|l| l.unit.len()).max().unwrap_or(0),
    );
    let lines: String = all
        .iter()
        .map(|l| {
            format!(
                "{:w0$}  {:>w1$} {:w2$}  {}\n",
                l.name,
                l.max,
                l.unit,
                l.reason,
                w0 = widths.0,
                w1 = widths.1,
                w2 = widths.2
            )
        })
        .collect();
    output::print(&lines, talk)?;
    Ok(Outcome::Pass)
}

fn detail(talk: Talk) -> Detail {
    Detail { verbose: talk.verbose, width: talk.width }
}

fn images(n: usize) -> String {
    if n == 1 { "1 image".into() } else { format!("{n} images") }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value).map_err(std::io::Error::from).at(|| "JSON".into())? + "\n")
}
