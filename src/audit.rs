//! The whole pipeline, wired: scan, compare, judge, report. No logic of its own.

use std::path::{Path, PathBuf};

use crate::baseline::{Baseline, BuildOptions, HostInput, Inputs, Loaded, build, channel, merge};
use crate::collect::Needs;
use crate::compare::Comparison;
use crate::drift::{Explanation, explain};
use crate::error::{Error, Result, ResultExt};
use crate::intel::SupportEnds;
use crate::limits::Limits;
use crate::model::{Inventory, Package, Platform, Sha256, Time};
use crate::report::{BaselineRef, ImageReport, Report, StandardRef};
use crate::scan::{self, in_parallel, scan, scan_all};
use crate::standard::Standard;

/// What images are held against, and judged by.
pub struct Yardstick {
    /// What patched production runs.
    pub baseline: Loaded,
    /// The patch standard.
    pub standard: StandardRef,
}

/// Audits images: one report over all of them, in the order in which they were named.
///
/// # Errors
/// If the shipped table of support ends cannot be read, which would be a defect of karat.
pub fn audit(
    images: &[String],
    yardstick: &Yardstick,
    options: &scan::Options,
    as_of: Time,
) -> Result<Report> {
    let support = SupportEnds::shipped()?;
    let baseline = &yardstick.baseline.baseline;
    let scanned = scan_all(images, options);
    let judge = |reference: &String, scanned: &Result<Vec<Inventory>>| match scanned {
        Ok(inventories) => inventories
            .iter()
            .map(|i| ImageReport::of(i, baseline, &yardstick.standard.standard, &support, as_of))
            .collect(),
        Err(error) => vec![ImageReport::failed(reference, told(reference, error))],
    };
    let reports = in_parallel(images.len(), options.threads, |i| judge(&images[i], &scanned[i]));
    let reports = reports.into_iter().flatten().collect();
    Ok(Report::new(
        "audit",
        as_of,
        Some(BaselineRef::of(&yardstick.baseline)),
        Some(yardstick.standard.clone()),
        Vec::new(),
        reports,
    ))
}

/// An error for a report that names the image already.
fn told(reference: &str, error: &Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix(reference).and_then(|t| t.strip_prefix(": ")).unwrap_or(&text);
    match error.hint_text() {
        Some(hint) => format!("{text}\nhint: {hint}"),
        None => text.to_owned(),
    }
}

/// What a baseline is made from, as the user named it.
#[derive(Debug, Clone, Default)]
pub struct BaselineSources {
    /// Root directories, images of hosts, inventories with releases.
    pub hosts: Vec<String>,
    /// Channel sources and earlier baselines.
    pub channels: Vec<ChannelRef>,
    /// When the channel sources were as they are now, where the user says so.
    pub channels_taken_at: Option<Time>,
}

/// A channel source as the user named it: `PATH`, or `PLATFORM=PATH` where it does not say what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRef {
    /// The platform, if the user says it.
    pub platform: Option<Platform>,
    /// Where it is.
    pub path: PathBuf,
}

impl ChannelRef {
    /// Takes a name apart. What stands before the first `=` is a platform if it reads as one.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let split = text.split_once('=').and_then(|(platform, path)| Some((platform.parse().ok()?, path)));
        match split {
            Some((platform, path)) => ChannelRef { platform: Some(platform), path: path.into() },
            None => ChannelRef { platform: None, path: text.into() },
        }
    }
}

/// Makes a baseline from hosts, channel sources and earlier baselines, and tells what of the channel sources
/// was passed over.
///
/// # Errors
/// If a source cannot be read, or cannot be believed: `Config` if required parts of a host were not read.
pub fn build_baseline(
    name: &str,
    sources: &BaselineSources,
    standard: &Standard,
    options: &scan::Options,
    as_of: Time,
) -> Result<(Baseline, Vec<String>)> {
    let scan_options = scan::Options { needs: options.needs | Needs::HISTORY, ..options.clone() };
    let mut hosts = Vec::new();
    for (reference, scanned) in sources.hosts.iter().zip(scan_all(&sources.hosts, &scan_options)) {
        for inventory in scanned.at(|| "host".into())? {
            hosts.push(HostInput { id: inventory.image.reference.clone(), inventory });
        }
        if hosts.is_empty() {
            return Err(Error::config("no image in it").at(reference.clone()).at("host"));
        }
    }
    let mut channels = Vec::new();
    let mut earlier = Vec::new();
    for source in &sources.channels {
        if Baseline::is_stored(&source.path) {
            let loaded = Baseline::load(&source.path, &options.source.limits).at(|| "channel".into())?;
            earlier.push(loaded.baseline);
            continue;
        }
        let read = channel::ReadOptions {
            limits: &options.source.limits,
            platform: source.platform.as_ref(),
            taken_at: sources.channels_taken_at,
            threads: options.threads,
        };
        channels.extend(channel::read(&source.path, &read).at(|| "channel".into())?);
    }
    let notes = channels.iter().flat_map(|c| c.notes.iter().map(|note| format!("{}: {note}", c.id)));
    let notes = notes.collect();
    let max_host_age_days = standard.baseline.max_host_age_days;
    let inputs = Inputs { hosts: &hosts, channels: &channels, earlier: &earlier };
    let build_options = BuildOptions { name: name.to_owned(), as_of, max_host_age_days };
    Ok((build(&inputs, &build_options)?, notes))
}

/// The baseline that a name leads to: a baseline file, or a host or channel source that becomes one.
///
/// # Errors
/// What loading or building gives.
pub fn baseline(
    reference: &str,
    standard: &Standard,
    options: &scan::Options,
    as_of: Time,
) -> Result<Loaded> {
    if Baseline::is_stored(Path::new(reference)) {
        return Baseline::load(Path::new(reference), &options.source.limits).at(|| "baseline".into());
    }
    if reference.ends_with(".json") && !Path::new(reference).exists() {
        return Err(Error::not_found("no such file")
            .at(reference)
            .at("baseline")
            .hint("make one with `karat baseline build`, or name a patched production host"));
    }
    let channel = ChannelRef::parse(reference);
    let names_nothing = !channel.path.exists() && !reference.contains([':', '#', '*', '?', '[']);
    if names_nothing {
        return Err(Error::not_found("no such file or directory").at(reference).at("baseline").hint(
            "name a baseline file, a patched production host (a root directory or image), or a channel source (a \
             repository, a package folder)",
        ));
    }
    let sources = match channel::is_channel(&channel.path) {
        true => BaselineSources { channels: vec![channel], ..Default::default() },
        false => BaselineSources { hosts: vec![reference.to_owned()], ..Default::default() },
    };
    let built = build_baseline(reference, &sources, standard, options, as_of).at(|| "baseline".into())?;
    let digest = Sha256::of(&built.0.to_json()?);
    Ok(Loaded { baseline: built.0, digest })
}

/// Joins stored baselines into one.
///
/// # Errors
/// If one cannot be loaded, or is of a later time than `as_of`.
pub fn merge_baselines(
    name: &str,
    files: &[PathBuf],
    standard: &Standard,
    limits: &Limits,
    as_of: Time,
) -> Result<Baseline> {
    let load = |file: &PathBuf| Ok(Baseline::load(file, limits)?.baseline);
    let baselines = files.iter().map(load).collect::<Result<Vec<Baseline>>>()?;
    let max_host_age_days = standard.baseline.max_host_age_days;
    merge(&baselines, &BuildOptions { name: name.to_owned(), as_of, max_host_age_days })
}

/// Tells what led to one package's result, for each system of the image.
///
/// # Errors
/// If the name leads to no image, or the image holds no system or no such package.
pub fn explain_package(
    image: &str,
    package: &str,
    yardstick: &Yardstick,
    options: &scan::Options,
    as_of: Time,
) -> Result<(Vec<Inventory>, Vec<Explanation>)> {
    let inventories = scan(image, options)?;
    let drift_options = yardstick.standard.standard.drift_options(as_of);
    // As karat itself prints packages, with the architecture behind a colon.
    let package = package.split_once(':').map_or(package, |(name, _arch)| name);
    let systems = || inventories.iter().flat_map(|inventory| &inventory.systems);
    let explanations: Vec<Explanation> = systems()
        .map(|system| explain(system, &yardstick.baseline.baseline, &drift_options, package))
        .collect();
    if explanations.iter().any(|explanation| !explanation.packages.is_empty()) {
        return Ok((inventories, explanations));
    }
    let is_there = |p: &Package| p.name == package || p.source.name == package;
    if let Some(system) = systems().find(|system| system.packages.iter().any(is_there)) {
        let platform =
            system.platform.as_ref().map_or("its platform, which is unknown".into(), ToString::to_string);
        return Err(Error::config(format!(
            "`{package}` is there, and the baseline has nothing for {platform}"
        ))
        .at(image)
        .hint("`karat baseline show FILE` lists the platforms of a baseline"));
    }
    let unread = match inventories.iter().flat_map(|i| &i.gaps).filter(|gap| gap.required).count() {
        0 => "",
        _ => "; but not all of the image could be read",
    };
    Err(Error::not_found(format!(
        "`{package}` is no installed package of the image, and no source of one{unread}"
    ))
    .at(image)
    .hint("`karat inventory IMAGE` lists what was found"))
}

/// Compares what two references lead to, each one image; with a yardstick both are judged too.
///
/// # Errors
/// If either leads to no image, or to several.
pub fn compare(
    a: &str,
    b: &str,
    yardstick: Option<&Yardstick>,
    options: &scan::Options,
    as_of: Time,
) -> Result<Comparison> {
    let mut sides = Vec::new();
    for (reference, scanned) in [a, b].into_iter().zip(scan_all(&[a.to_owned(), b.to_owned()], options)) {
        let mut found = scanned?;
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => sides.push(one),
            (Some(last), false) => {
                let names: Vec<&str> =
                    found.iter().chain([&last]).map(|i| i.image.reference.as_str()).collect();
                return Err(Error::config(format!("it holds {} images, and one is compared", names.len()))
                    .hint(format!("name one of them: {}", names.join(", ")))
                    .at(reference));
            }
            (None, _) => return Err(Error::config("no image in it").at(reference)),
        }
    }
    let [a, b] = &sides[..] else { return Err(Error::config("two images are compared")) };
    let Some(yardstick) = yardstick else { return Ok(Comparison::of_inventories(a, b, None)) };
    let support = SupportEnds::shipped()?;
    let of = |inventory: &Inventory| {
        let baseline = &yardstick.baseline.baseline;
        ImageReport::of(inventory, baseline, &yardstick.standard.standard, &support, as_of)
    };
    let baseline = BaselineRef::of(&yardstick.baseline);
    Ok(Comparison::of_inventories(a, b, Some((&of(a), &of(b), baseline, yardstick.standard.clone()))))
}
