//! The command line: arguments to options, options to the library, results to their places, and the one table
//! of exit codes.

mod args;
mod compare;
mod completions;
mod options;
mod output;
mod progress;
mod registry;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::audit::{self, BaselineSources, ChannelRef, Yardstick};
use crate::baseline::{Baseline, summarize};
use crate::error::{Error, Result, ResultExt};
use crate::limits::Limits;
use crate::model::{Inventory, Sha256};
use crate::render::{self, Detail, plain};
use crate::report::{Report, exit_code};
use crate::scan::{self, scan_all};
use crate::source;
use crate::standard::{Outcome, State};

use args::{
    AuditArgs, BaselineCommand, BuildArgs, CacheCommand, Cli, Command, CompareArgs, ExplainArgs, FailOn,
    InventoryArgs, MergeArgs, ShowArgs, StandardCommand,
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
        Command::Compare(args) => compare(&args, talk),
        Command::Cache(command) => cache(command, talk),
        Command::Limits => limits(talk),
        Command::Completions(args) => {
            output::print(&completions::completions(args.shell), talk)?;
            Ok(Outcome::Pass)
        }
        Command::Man(args) => man(args.out.as_deref(), talk),
    }
}

/// An error on standard error, with what to do next.
fn complain(error: &Error, talk: Talk) {
    let mut stderr = anstream::AutoStream::new(std::io::stderr(), talk.color);
    let red = anstyle::AnsiColor::Red.on_default().bold();
    // There is nobody left to tell that telling failed.
    let told = error.to_string();
    let mut told = told.lines();
    let _ = writeln!(stderr, "{red}error{red:#}: {}", plain(told.next().unwrap_or_default()));
    for line in told {
        let _ = writeln!(stderr, "{}", plain(line));
    }
    if let (Some(hint), false) = (error.hint_text(), talk.quiet) {
        let _ = writeln!(stderr, "hint: {}", plain(hint));
    }
}

/// Something that a person should know, on standard error.
fn note_to(note: &str, talk: Talk) {
    let mut stderr = anstream::AutoStream::new(std::io::stderr(), talk.color);
    let _ = writeln!(stderr, "note: {note}");
}

/// Writes the reports; one that cannot be written is told, stops no other and makes the run an error.
fn deliver(
    outputs: &[Output],
    talk: Talk,
    outcome: Outcome,
    report: impl FnMut(Format) -> Result<String>,
) -> Outcome {
    let errors = output::write_all(outputs, talk, report);
    errors.iter().for_each(|error| complain(error, talk));
    if errors.is_empty() { outcome } else { Outcome::Error }
}

fn audit(args: AuditArgs, talk: Talk) -> Result<Outcome> {
    let outputs = output::outputs(&args.output.outputs, output::ALL)?;
    let standard_file = args.standard.as_deref().and_then(std::path::Path::to_str);
    let named = args.images.iter().map(String::as_str).chain([args.baseline.as_str()]).chain(standard_file);
    output::spare(&outputs, named)?;
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
    note(&scan, talk);
    let max_bytes = scan.source.limits.markdown_bytes.as_len();
    Ok(deliver(&outputs, talk, gate(&report, &args), |format| match format {
        Format::Text => Ok(render::audit_text(&report, detail(talk))),
        Format::Json => json(&report),
        Format::Markdown => Ok(render::audit_markdown(&report, max_bytes)),
    }))
}

fn compare(args: &CompareArgs, talk: Talk) -> Result<Outcome> {
    let outputs = output::outputs(&args.output.outputs, output::ALL)?;
    let named = [args.a.as_str(), args.b.as_str()].into_iter().chain(args.baseline.as_deref());
    output::spare(&outputs, named)?;
    let (comparison, limits) = compare::compare(args, talk)?;
    let outcome = compare::gate(&comparison, args);
    Ok(deliver(&outputs, talk, outcome, |format| match format {
        Format::Text => Ok(render::compare_text(&comparison, detail(talk))),
        Format::Json => json(&comparison),
        Format::Markdown => Ok(render::compare_markdown(&comparison, limits.markdown_bytes.as_len())),
    }))
}

fn man(folder: Option<&std::path::Path>, talk: Talk) -> Result<Outcome> {
    match folder {
        None => output::print(&completions::root_page()?, talk)?,
        Some(folder) => {
            let pages = completions::write_pages(folder)?;
            if !talk.quiet {
                output::print(&format!("{pages} pages written to {}\n", folder.display()), talk)?;
            }
        }
    }
    Ok(Outcome::Pass)
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
    let outputs = output::outputs(&args.output.outputs, output::ALL)?;
    output::spare(&outputs, args.images.iter().map(String::as_str))?;
    let as_of = options::as_of(args.read.as_of)?;
    let (scan, read) = options::scan_options(&args.read, args.with_releases, as_of)?;
    let named = source::expand(&args.images)?;
    let scanned = {
        let _progress = Progress::start(format!("reading {}", images(named.len())), read, talk);
        scan_all(&named, &scan)
    };
    note(&scan, talk);
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
    let max_bytes = scan.source.limits.markdown_bytes.as_len();
    Ok(deliver(&outputs, talk, outcome, |format| match format {
        Format::Markdown => Ok(render::inventory_markdown(&inventories, args.layout, max_bytes)),
        Format::Json => inventories_json(&inventories),
        Format::Text => {
            let text = |inventory| match args.layout {
                true => render::layout_text(inventory),
                false => render::inventory_text(inventory, detail(talk)),
            };
            Ok(inventories.iter().map(text).collect::<Vec<_>>().join("\n"))
        }
    }))
}

/// One JSON document an image: indented if there is one, a line each if there are more.
fn inventories_json(inventories: &[Inventory]) -> Result<String> {
    match inventories {
        [one] => json(one),
        many => {
            many.iter().map(|i| Ok(serde_json::to_string(i).map_err(std::io::Error::from)? + "\n")).collect()
        }
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
    note(&scan, talk);
    if !talk.quiet {
        notes.iter().for_each(|note| note_to(note, talk));
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
    let outputs = output::outputs(&args.output.outputs, output::TEXT_AND_JSON)?;
    let loaded = Baseline::load(&args.file, &Limits::default())?;
    let Some(source) = &args.source else {
        let summary = summarize(&loaded.baseline);
        return Ok(deliver(&outputs, talk, Outcome::Pass, |format| match format {
            Format::Json => json(&summary),
            Format::Text | Format::Markdown => Ok(render::baseline_text(&summary)),
        }));
    };
    let platforms = loaded.baseline.platforms.iter();
    let histories: Vec<_> = platforms
        .flat_map(|platform| &platform.sources)
        .filter(|history| history.source == *source)
        .collect();
    if histories.is_empty() {
        return Err(Error::not_found(format!("source package `{source}` in the baseline"))
            .at(args.file.display().to_string()));
    }
    Ok(deliver(&outputs, talk, Outcome::Pass, |format| match format {
        Format::Json => json(&histories),
        Format::Text | Format::Markdown => {
            Ok(histories.iter().map(|history| render::history_text(history)).collect())
        }
    }))
}

fn explain(args: ExplainArgs, talk: Talk) -> Result<Outcome> {
    let outputs = output::outputs(&args.output.outputs, output::TEXT_AND_JSON)?;
    output::spare(&outputs, [args.image.as_str(), args.baseline.as_str()])?;
    let as_of = options::as_of(args.read.as_of)?;
    let standard = options::standard(args.standard.as_deref())?;
    let (scan, read) = options::scan_options(&args.read, false, as_of)?;
    let (inventories, explanations) = {
        let _progress = Progress::start("reading 1 image".into(), read, talk);
        let baseline = audit::baseline(&args.baseline, &standard.standard, &scan, as_of)?;
        audit::explain_package(&args.image, &args.package, &Yardstick { baseline, standard }, &scan, as_of)?
    };
    note(&scan, talk);
    let references = inventories.iter().flat_map(|inventory| {
        let reference = &inventory.image.reference;
        inventory.systems.iter().map(move |system| match &system.volume {
            Some(volume) => format!("{reference} on {volume}:"),
            None => reference.clone(),
        })
    });
    Ok(deliver(&outputs, talk, Outcome::Pass, |format| match format {
        Format::Json => json(&explanations),
        Format::Text | Format::Markdown => {
            let pairs = references.clone().zip(&explanations);
            let texts = pairs.map(|(r, e)| render::explain_text(&r, e, detail(talk)));
            Ok(texts.collect::<Vec<_>>().join("\n"))
        }
    }))
}

fn check(file: &std::path::Path, talk: Talk) -> Result<Outcome> {
    let standard = options::standard(Some(file))?;
    let text = toml::to_string(&standard.standard).map_err(|error| Error::config(error.to_string()))?;
    output::print(&format!("# {}: this holds\n{text}", file.display()), talk)?;
    Ok(Outcome::Pass)
}

/// Says, to who wants to know more, that the layer cache did not work.
fn note(scan: &scan::Options, talk: Talk) {
    if let Some(trouble) = scan.cache.as_ref().and_then(|cache| cache.trouble()).filter(|_| talk.verbose) {
        let _ = writeln!(std::io::stderr(), "note: the layer cache was not used as it should be: {trouble}");
    }
}

fn cache(command: CacheCommand, talk: Talk) -> Result<Outcome> {
    let (args, clear) = match command {
        CacheCommand::Show(args) => (args, false),
        CacheCommand::Clear(args) => (args, true),
    };
    let cache = options::cache(args.cache_dir.as_deref(), false).ok_or_else(|| {
        Error::config("there is no layer cache: neither HOME nor XDG_CACHE_HOME is set")
            .hint("name one: --cache-dir DIR, or KARAT_CACHE_DIR")
    })?;
    let (what, usage) = if clear { ("removed: ", cache.clear()) } else { ("", cache.usage()) };
    let place = cache.folder().display();
    output::print(&format!("{place}\n{what}{} entries, {} bytes\n", usage.entries, usage.bytes), talk)?;
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
