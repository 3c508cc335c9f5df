//! Completions and manual pages, from the definitions of the command line itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, line_break, roman};

use crate::error::{Result, ResultExt as _};

use super::args::Cli;
use super::output;

/// Completions for a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "karat", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The pages by their file names: `karat.1`, and one a command.
pub(super) fn pages() -> Result<BTreeMap<String, String>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = BTreeMap::new();
    add_pages(&root, "karat", &root, &mut pages)?;
    Ok(pages)
}

/// The page of the command as a whole.
pub(super) fn root_page() -> Result<String> {
    Ok(pages()?.remove("karat.1").unwrap_or_default())
}

/// Writes one page a command into a directory, which is made if it is not there.
pub(super) fn write_pages(folder: &Path) -> Result<usize> {
    let pages = pages()?;
    fs::create_dir_all(folder).at(|| folder.display().to_string())?;
    for (name, page) in &pages {
        output::write_file(&folder.join(name), page.as_bytes())?;
    }
    Ok(pages.len())
}

fn add_pages(
    command: &clap::Command,
    name: &str,
    root: &clap::Command,
    pages: &mut BTreeMap<String, String>,
) -> Result<()> {
    let is_root = name == "karat";
    // The version is the program's; a page without date is the same whenever it is made.
    let man = Man::new(command.clone().version(env!("CARGO_PKG_VERSION")))
        .title(name)
        .section("1")
        .source(concat!("karat ", env!("CARGO_PKG_VERSION")))
        .manual("karat manual");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().next().is_some() {
        subcommands(command, name).to_writer(&mut page)?;
    }
    if is_root {
        environment(root).to_writer(&mut page)?;
        files().to_writer(&mut page)?;
    }
    exit_status(name).to_writer(&mut page)?;
    see_also(command, name, is_root).to_writer(&mut page)?;
    pages.insert(format!("{name}.1"), String::from_utf8_lossy(&page).into_owned());
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add_pages(below, &format!("{name}-{}", below.get_name()), root, pages)?;
    }
    Ok(())
}

fn section(title: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    roff
}

/// A term and what it means.
fn entry(roff: &mut Roff, term: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(text)]);
}

fn subcommands(command: &clap::Command, name: &str) -> Roff {
    let mut roff = section("COMMANDS");
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        let about = below.get_about().map(ToString::to_string).unwrap_or_default();
        entry(&mut roff, &format!("{name}-{}(1)", below.get_name()), &about);
    }
    roff
}

/// The exit codes of a command: those of audit are everyone's, where it can come to them.
fn exit_status(name: &str) -> Roff {
    let mut roff = section("EXIT STATUS");
    let judges = matches!(name, "karat" | "karat-audit");
    entry(&mut roff, "0", if judges { "Every image passes, or nothing was judged." } else { "All is well." });
    match name {
        "karat" | "karat-audit" => entry(
            &mut roff,
            "1",
            "An image failed: it has drifted past the target, or its platform is no longer supported; with \
             --fail-on, what was named there.",
        ),
        "karat-compare" => entry(&mut roff, "1", "B undoes something, with --fail-on downgrade."),
        _ => {}
    }
    entry(
        &mut roff,
        "2",
        "No result was possible: usage, standard, baseline, a report that cannot be written, a name that leads to \
         no image.",
    );
    if matches!(name, "karat" | "karat-audit" | "karat-inventory" | "karat-compare") {
        entry(
            &mut roff,
            "3",
            "Incomplete: something inside an image could not be read, so nothing is called clean.",
        );
        roff.control("PP", []);
        roff.text([roman(
            "Of several the worst wins: 2, then 1, then 3, then 0. audit --no-gate turns 1 and 3 into 0.",
        )]);
    }
    roff
}

/// Every variable that an option takes its value from, and those that are the system's.
fn environment(root: &clap::Command) -> Roff {
    fn collect(command: &clap::Command, found: &mut BTreeMap<String, (String, String)>) {
        for arg in command.get_arguments() {
            if let (Some(variable), Some(long)) = (arg.get_env(), arg.get_long()) {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                found.entry(variable.to_string_lossy().into_owned()).or_insert((long.to_owned(), help));
            }
        }
        command.get_subcommands().for_each(|below| collect(below, found));
    }
    let mut found = BTreeMap::new();
    collect(root, &mut found);
    let mut roff = section("ENVIRONMENT");
    for (variable, (long, help)) in &found {
        entry(&mut roff, variable, &format!("Stands for --{long}, which goes before it: {help}"));
    }
    entry(
        &mut roff,
        "SOURCE_DATE_EPOCH",
        "The time that images are judged at, in seconds since 1970, where --as-of does not say it.",
    );
    entry(&mut roff, "NO_COLOR", "Set to anything: nothing is coloured, unless --color says so.");
    entry(&mut roff, "TMPDIR", "Where unlinked temporary files are made, if an image needs any.");
    roff
}

fn files() -> Roff {
    let mut roff = section("FILES");
    entry(
        &mut roff,
        "karat.toml",
        "The organisation's patch standard, read from the working directory if --standard names no other. \
         Without one the defaults hold; karat standard check shows them.",
    );
    roff
}

fn see_also(command: &clap::Command, name: &str, is_root: bool) -> Roff {
    let mut names: Vec<String> =
        command.get_subcommands().map(|below| format!("{name}-{}", below.get_name())).collect();
    if !is_root {
        names.push("karat".into());
    }
    names.sort();
    let mut roff = section("SEE ALSO");
    let mut line = Vec::new();
    for (i, other) in names.iter().enumerate() {
        if i > 0 {
            line.push(roman(", "));
        }
        line.push(italic(format!("{other}(1)")));
    }
    line.push(line_break());
    roff.text(line);
    roff
}
