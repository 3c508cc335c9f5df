//! The command line as typed. Parsing does nothing else.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::model::Time;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Assays gold images: how far each has drifted from patched production, since when, and whether it passes.
#[derive(Debug, Parser)]
#[command(name = "karat", version, about, styles = STYLES, max_term_width = 100)]
#[command(after_help = "\
Exit codes: 0 all pass; 1 an image failed (drifted or unsupported); 2 no verdict was possible (usage, \
baseline, standard, no such image); 3 incomplete: something inside an image could not be read. Over several \
images the worst wins: 2, 1, 3, 0.")]
pub(super) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,

    /// What every command takes.
    #[command(flatten)]
    pub(super) common: Common,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "How much is said")]
pub(super) struct Common {
    /// Say less: no progress, no hints.
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,

    /// Say more: every package that is behind, every patch, every gap.
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,

    /// When to colour what is printed.
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true, value_name = "WHEN")]
    pub(super) color: Color,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Hold images against the patched baseline and judge them: the main job
    Audit(AuditArgs),
    /// List what images hold, and what could not be read
    Inventory(InventoryArgs),
    /// Make and show baselines: what patched production runs
    #[command(subcommand)]
    Baseline(BaselineCommand),
    /// Tell every version, date, bound and rule behind one package's result
    Explain(ExplainArgs),
    /// Check the organisation's patch standard
    #[command(subcommand)]
    Standard(StandardCommand),
    /// Tell what booting B instead of A would change
    Compare(CompareArgs),
    /// Show or clear the layer cache
    #[command(subcommand)]
    Cache(CacheCommand),
    /// List every limit with its unit and reason
    Limits,
    /// Write completions for a shell
    Completions(CompletionsArgs),
    /// Write the manual pages
    Man(ManArgs),
}

/// `karat cache …`.
#[derive(Debug, Subcommand)]
pub(super) enum CacheCommand {
    /// Show where the layer cache is and how much it holds
    Show(CacheArgs),
    /// Remove everything from the layer cache
    Clear(CacheArgs),
}

/// Which layer cache.
#[derive(Debug, Args)]
pub(super) struct CacheArgs {
    /// Where it is [default: $XDG_CACHE_HOME/karat, else ~/.cache/karat]
    #[arg(long, env = "KARAT_CACHE_DIR", value_name = "DIR")]
    pub(super) cache_dir: Option<PathBuf>,
}

/// How images are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "How images are read")]
pub(super) struct ReadArgs {
    /// What is looked for, separated by commas
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "os",
        env = "KARAT_COLLECT",
        value_name = "WHAT"
    )]
    pub(super) collect: Vec<Collect>,

    /// The platform to take from images that hold several, as OCI names it [env: KARAT_PLATFORM=]
    // Read where options are made: clap would let the variable conflict with --all-platforms.
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(super) platform: Option<String>,

    /// Take every platform of images that hold several, each as an image of its own
    #[arg(long, conflicts_with = "platform")]
    pub(super) all_platforms: bool,

    /// Open parents and extents of disk images from this folder too, and from those below it; may be repeated.
    /// Without it only files beside a disk image are opened for it
    #[arg(long = "disk-folder", value_name = "DIR")]
    pub(super) disk_folders: Vec<PathBuf>,

    /// Check the disks of an appliance against the digests of its manifest: they are read whole for it. Without
    /// it only the descriptor is checked, and the report says so
    #[arg(long = "digest")]
    pub(super) check_digests: bool,

    /// Read at most so many layers at once [default: the number of processors]
    #[arg(long, env = "KARAT_THREADS", value_name = "N")]
    pub(super) threads: Option<std::num::NonZeroUsize>,

    /// Neither use nor fill the layer cache
    #[arg(long, conflicts_with = "trust_cache")]
    pub(super) no_cache: bool,

    /// Believe the layer cache without hashing the layers that it knows
    #[arg(long)]
    pub(super) trust_cache: bool,

    /// Where the layer cache is [default: $XDG_CACHE_HOME/karat, else ~/.cache/karat]
    #[arg(long, env = "KARAT_CACHE_DIR", value_name = "DIR")]
    pub(super) cache_dir: Option<PathBuf>,

    /// Raise or lower a limit; `karat limits` lists them
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub(super) limits: Vec<String>,

    /// The time of the run, for reproducible ones: 2026-11-24, 2026-11-24T08:40:38Z or @1795509638
    /// [default: SOURCE_DATE_EPOCH, else now]
    #[arg(long, env = "KARAT_AS_OF", value_name = "TIME")]
    pub(super) as_of: Option<Time>,

    #[command(flatten)]
    pub(super) registry: RegistryArgs,
}

/// How registries are spoken with.
#[derive(Debug, Args)]
#[command(next_help_heading = "How registries are spoken with")]
pub(super) struct RegistryArgs {
    /// Credentials for registries [default: podman's auth.json and docker's config.json]
    #[arg(long, env = "REGISTRY_AUTH_FILE", hide_env_values = true, value_name = "FILE")]
    pub(super) registry_auth: Option<PathBuf>,

    /// Believe the CAs in this PEM file too; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(super) registry_ca: Vec<PathBuf>,

    /// A registry without TLS; may be repeated. This machine itself (localhost) needs no leave
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) plain_http: Vec<String>,
}

/// What can be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Collect {
    /// Packages of the operating system
    Os,
    /// Nothing: only digests are checked, and the result is incomplete
    None,
}

/// Where reports go.
#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// A report's format (text, json, markdown) and, unless it goes to standard output, its file; may be
    /// repeated
    #[arg(short, long = "output", value_name = "FORMAT[=FILE]")]
    pub(super) outputs: Vec<String>,
}

/// `karat audit`.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Images: disks (qcow2, VMDK, VHD, VHDX, VDI, raw, OVA), docker archives, OCI archives, OCI layouts, root file systems, inventories, images in
    /// registries (`registry:HOST/NAME:TAG`); patterns (`images/**/*.tar`) are read here too
    #[arg(required = true, value_name = "IMAGE")]
    pub(super) images: Vec<String>,

    /// What patched production runs: a baseline file, or a host (a root directory or image) or channel source
    /// (a repository, a package folder) to make one from
    #[arg(short, long, env = "KARAT_BASELINE", value_name = "FILE_OR_SOURCE")]
    pub(super) baseline: String,

    /// The organisation's patch standard [default: karat.toml, if it is there]
    #[arg(short, long, env = "KARAT_STANDARD", value_name = "FILE")]
    pub(super) standard: Option<PathBuf>,

    /// Also fail on this state
    #[arg(long, value_enum, value_name = "STATE")]
    pub(super) fail_on: Vec<FailOn>,

    /// Report, and exit with 0 whatever the verdict (2 stays 2)
    #[arg(long)]
    pub(super) no_gate: bool,

    #[command(flatten)]
    pub(super) read: ReadArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// States that fail only when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// The image leaves its target within the warning window
    Due,
}

/// `karat inventory`.
#[derive(Debug, Args)]
pub(super) struct InventoryArgs {
    /// Images: disks (qcow2, VMDK, VHD, VHDX, VDI, raw, OVA), docker archives, OCI archives, OCI layouts, root file systems, inventories, images in
    /// registries (`registry:HOST/NAME:TAG`); patterns (`images/**/*.tar`) are read here too
    #[arg(required = true, value_name = "IMAGE")]
    pub(super) images: Vec<String>,

    /// Show every volume of a disk and every range that is in none: what it is, where, its size, what it is there
    /// for, and whether it was read or why not; in place of the packages
    #[arg(long)]
    pub(super) layout: bool,

    /// Read changelogs too, as a host's inventory needs that becomes part of a baseline
    #[arg(long)]
    pub(super) with_releases: bool,

    #[command(flatten)]
    pub(super) read: ReadArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// `karat compare`.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// What is there now: an image, an inventory, or a report of `karat audit -o json`
    #[arg(value_name = "A")]
    pub(super) a: String,

    /// What would be booted instead: of the same kind
    #[arg(value_name = "B")]
    pub(super) b: String,

    /// Judge both images by what patched production runs too: a baseline file, or a host
    #[arg(short, long, value_name = "FILE_OR_HOST")]
    pub(super) baseline: Option<String>,

    /// The organisation's patch standard, with --baseline [default: karat.toml, if it is there]
    #[arg(short, long, env = "KARAT_STANDARD", value_name = "FILE")]
    pub(super) standard: Option<PathBuf>,

    /// Fail on this
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) fail_on: Vec<FailOnChange>,

    /// Read changelogs too: they name the CVE ids of what B undoes and brings
    #[arg(long)]
    pub(super) with_releases: bool,

    #[command(flatten)]
    pub(super) read: ReadArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Changes that fail only when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOnChange {
    /// B has an older version of anything, or lacks a patch that A has
    Downgrade,
}

/// `karat completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(super) shell: clap_complete::Shell,
}

/// `karat man`.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write one page a command into this directory [default: karat(1) to standard output]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

/// `karat baseline …`.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one of it a run")]
pub(super) enum BaselineCommand {
    /// Make a baseline from patched production hosts, repositories and package folders
    Build(BuildArgs),
    /// Join baselines: what any of them knows is known, and every host votes once
    Merge(MergeArgs),
    /// Show what a baseline holds
    Show(ShowArgs),
}

/// `karat baseline build`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("sources").required(true).multiple(true).args(["hosts", "channels"])))]
pub(super) struct BuildArgs {
    /// The baseline's name, as reports show it
    #[arg(long, value_name = "NAME")]
    pub(super) name: String,

    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: String,

    /// A patched production host: a root directory, an image of one, or its inventory made with
    /// --with-releases; may be repeated
    #[arg(long = "host", value_name = "DIR_OR_IMAGE")]
    pub(super) hosts: Vec<String>,

    /// What says what was published: an apt repository, suite, Packages file or lists directory, an Alpine
    /// APKINDEX, a repository of rpm packages, a folder of .deb or .rpm files or of changelogs, or an earlier
    /// baseline; with the platform in front
    /// where it does not say what it is for (debian/12/amd64=PATH); may be repeated
    #[arg(long = "channel", value_name = "[PLATFORM=]PATH")]
    pub(super) channels: Vec<String>,

    /// When the channel sources were as they are now [default: the date that their metadata bears; of folders
    /// the time of the run]
    #[arg(long, value_name = "TIME", requires = "channels")]
    pub(super) channel_taken_at: Option<Time>,

    /// When the hosts were as they are now [default: the time of the run; inventories say it themselves]
    #[arg(long, value_name = "TIME")]
    pub(super) taken_at: Option<Time>,

    /// The organisation's patch standard, for its [baseline] section [default: karat.toml, if it is there]
    #[arg(short, long, env = "KARAT_STANDARD", value_name = "FILE")]
    pub(super) standard: Option<PathBuf>,

    #[command(flatten)]
    pub(super) read: ReadArgs,
}

/// `karat baseline merge`.
#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// The baseline files
    #[arg(required = true, value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,

    /// The merged baseline's name, as reports show it
    #[arg(long, value_name = "NAME")]
    pub(super) name: String,

    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: String,

    /// The organisation's patch standard, for its [baseline] section [default: karat.toml, if it is there]
    #[arg(short, long, env = "KARAT_STANDARD", value_name = "FILE")]
    pub(super) standard: Option<PathBuf>,

    /// Raise or lower a limit; `karat limits` lists them
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub(super) limits: Vec<String>,

    /// The time of the merge: hosts that were read too long before it do not vote
    /// [default: SOURCE_DATE_EPOCH, else now]
    #[arg(long, env = "KARAT_AS_OF", value_name = "TIME")]
    pub(super) as_of: Option<Time>,
}

/// `karat baseline show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The baseline file
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    /// Only this source package
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// `karat explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(super) image: String,

    /// The package, by its own or its source's name
    #[arg(value_name = "PACKAGE")]
    pub(super) package: String,

    /// What patched production runs: a baseline file, a host or a channel source
    #[arg(short, long, env = "KARAT_BASELINE", value_name = "FILE_OR_SOURCE")]
    pub(super) baseline: String,

    /// The organisation's patch standard [default: karat.toml, if it is there]
    #[arg(short, long, env = "KARAT_STANDARD", value_name = "FILE")]
    pub(super) standard: Option<PathBuf>,

    #[command(flatten)]
    pub(super) read: ReadArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// `karat standard …`.
#[derive(Debug, Subcommand)]
pub(super) enum StandardCommand {
    /// Check a standard and show what holds
    Check {
        /// The file
        #[arg(default_value = "karat.toml", value_name = "FILE")]
        file: PathBuf,
    },
}
