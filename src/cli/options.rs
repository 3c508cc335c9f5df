//! From arguments as typed to options as usable: defaults filled in, the environment read, values checked.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::codec::SpoolPool;
use crate::collect::{COLLECTORS, Needs};
use crate::error::{Error, Result, ResultExt};
use crate::layer;
use crate::limits::Limits;
use crate::model::{Sha256, Time};
use crate::report::StandardRef;
use crate::scan::{self, LayerCache};
use crate::source::{self, OciPlatform};
use crate::standard::Standard;

use super::args::{Collect, Color, Common, ReadArgs};

/// How a run talks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Talk {
    pub(super) quiet: bool,
    pub(super) verbose: bool,
    pub(super) color: anstream::ColorChoice,
    /// Whether progress is shown: standard error is a terminal and `-q` was not given.
    pub(super) progress: bool,
    /// Columns of the terminal; 100 where there is none.
    pub(super) width: usize,
}

impl Talk {
    pub(super) fn new(common: &Common) -> Self {
        Talk {
            quiet: common.quiet,
            verbose: common.verbose,
            color: match common.color {
                Color::Auto => anstream::ColorChoice::Auto,
                Color::Always => anstream::ColorChoice::Always,
                Color::Never => anstream::ColorChoice::Never,
            },
            progress: !common.quiet && std::io::stderr().is_terminal(),
            width: terminal_width(),
        }
    }
}

/// The terminal's columns; where there is none, what log viewers show.
fn terminal_width() -> usize {
    terminal_size::terminal_size()
        .map_or(120, |(terminal_size::Width(columns), _)| usize::from(columns).max(60))
}

/// The time to judge at: the flag, `SOURCE_DATE_EPOCH`, now.
pub(super) fn as_of(flag: Option<Time>) -> Result<Time> {
    if let Some(time) = flag {
        return Ok(time);
    }
    if let Ok(epoch) = std::env::var("SOURCE_DATE_EPOCH") {
        return Time::from_epoch_text(&epoch).at(|| "SOURCE_DATE_EPOCH".into());
    }
    i64::try_from(since_1970().as_secs())
        .ok()
        .and_then(Time::from_unix)
        .ok_or_else(|| Error::config("the clock of this machine is out of range"))
}

/// The ceilings, as `--limit NAME=VALUE` sets them.
///
/// # Errors
/// `Config` for a name that there is not, or a value that is no number.
pub(super) fn limits(flags: &[String]) -> Result<Limits> {
    let mut limits = Limits::default();
    for limit in flags {
        let (name, value) = limit
            .split_once('=')
            .ok_or_else(|| Error::config(format!("--limit takes NAME=VALUE, not `{limit}`")))?;
        let value =
            value.parse().map_err(|_| Error::config(format!("--limit {name}: `{value}` is no number")))?;
        limits.set(name, value)?;
    }
    Ok(limits)
}

/// How to scan, and the counter of bytes that a scan has read.
pub(super) fn scan_options(
    args: &ReadArgs,
    history: bool,
    as_of: Time,
) -> Result<(scan::Options, Arc<AtomicU64>)> {
    let limits = Arc::new(limits(&args.limits)?);
    let in_environment = || std::env::var("KARAT_PLATFORM").ok().filter(|value| !value.is_empty());
    let platform = match args.platform.clone().or_else(in_environment) {
        Some(asked) => asked.parse()?,
        None => own_platform(),
    };
    let progress = Arc::new(AtomicU64::new(0));
    let spool = SpoolPool::new(std::env::temp_dir(), &limits);
    let mut needs = match args.collect.contains(&Collect::None) {
        true => Needs::NONE,
        false => Needs::OS_PACKAGES,
    };
    if history && needs != Needs::NONE {
        needs = needs | Needs::HISTORY;
    }
    let options = scan::Options {
        source: source::Options {
            limits: limits.clone(),
            platform,
            all_platforms: args.all_platforms,
            disk_folders: args.disk_folders.clone().into(),
            check_digests: args.check_digests,
            spool: spool.clone(),
            registry: Arc::new(super::registry::options(&args.registry)),
        },
        layer: layer::Options { limits, spool, progress: progress.clone() },
        needs,
        collectors: COLLECTORS,
        threads: args.threads.map_or_else(processors, std::num::NonZeroUsize::get),
        taken_at: as_of,
        cache: if args.no_cache { None } else { cache(args.cache_dir.as_deref(), args.trust_cache) },
    };
    Ok((options, progress))
}

/// The layer cache: in the directory that was named, else in `karat` of `$XDG_CACHE_HOME`, else of `~/.cache`;
/// `None` where there is no home.
pub(super) fn cache(named: Option<&Path>, is_trusted: bool) -> Option<Arc<LayerCache>> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let named = named.filter(|path| !path.as_os_str().is_empty()).map(Path::to_path_buf);
    let directory = named
        .or_else(|| variable("XDG_CACHE_HOME").map(|path| path.join("karat")))
        .or_else(|| variable("HOME").map(|path| path.join(".cache/karat")))?;
    Some(Arc::new(LayerCache::new(&directory, is_trusted, since_1970())))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Refuses a host that is named twice, however its path is written: it would vote twice.
///
/// # Errors
/// `Config` with both names.
pub(super) fn each_once(hosts: &[String]) -> Result<()> {
    let mut seen: BTreeMap<PathBuf, &String> = BTreeMap::new();
    for host in hosts {
        let path = std::fs::canonicalize(host).unwrap_or_else(|_| PathBuf::from(host));
        if let Some(first) = seen.insert(path, host) {
            return Err(Error::config(format!("--host: `{host}` is the same as `{first}`"))
                .hint("each host votes once on what production runs"));
        }
    }
    Ok(())
}

/// Linux on the architecture of this machine: what is taken from images that hold several platforms.
fn own_platform() -> OciPlatform {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        "loongarch64" => "loong64",
        other => other,
    };
    OciPlatform { os: "linux".into(), arch: arch.into(), variant: None }
}

/// The standard: the file that was named, else `karat.toml` if it is there, else the defaults.
pub(super) fn standard(named: Option<&Path>) -> Result<StandardRef> {
    let file = match named {
        Some(file) => file,
        None if Path::new("karat.toml").exists() => Path::new("karat.toml"),
        None => return Ok(StandardRef { digest: None, standard: Standard::default() }),
    };
    let place = || format!("standard: {}", file.display());
    let text = std::fs::read_to_string(file).at(place)?;
    let standard = Standard::parse(&text).at(place)?;
    Ok(StandardRef { digest: Some(Sha256::of(text.as_bytes())), standard })
}
