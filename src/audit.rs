//! The whole pipeline, wired: scan, compare, judge, report. No logic of its own.

use std::path::Path;

use crate::baseline::{Baseline, BuildOptions, HostInput, Loaded, build};
use crate::collect::Needs;
use crate::drift::{Explanation, explain};
use crate::error::{Error, Result, ResultExt};
use crate::intel::SupportEnds;
use crate::model::{Inventory, Package, Sha256, Time};
use crate::report::{BaselineRef, ImageReport, Report, StandardRef};
use crate::scan::{self, scan, scan_all};
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
    let reports = images
        .iter()
        .zip(scan_all(images, options))
        .flat_map(|(reference, scanned)| match scanned {
            Ok(inventories) => inventories
                .iter()
                .map(|i| ImageReport::of(i, baseline, &yardstick.standard.standard, &support, as_of))
                .collect(),
            Err(error) => vec![ImageReport::failed(reference, told(reference, &error))],
        })
        .collect();
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

/// Makes a baseline from hosts: root directories, images of hosts, inventories with releases.
///
/// # Errors
/// If a host cannot be read, or cannot be believed: `Config` if required parts of it were not read.
pub fn build_baseline(
    name: &str,
    hosts: &[String],
    standard: &Standard,
    options: &scan::Options,
    as_of: Time,
) -> Result<Baseline> {
    let options = scan::Options { needs: options.needs | Needs::HISTORY, ..options.clone() };
    let mut inputs = Vec::new();
    for (reference, scanned) in hosts.iter().zip(scan_all(hosts, &options)) {
        for inventory in scanned.at(|| "host".into())? {
            inputs.push(HostInput { id: inventory.image.reference.clone(), inventory });
        }
        if inputs.is_empty() {
            return Err(Error::config("no image in it").at(reference.clone()).at("host"));
        }
    }
    let max_host_age_days = standard.baseline.max_host_age_days;
    build(&inputs, &BuildOptions { name: name.to_owned(), as_of, max_host_age_days })
}

/// The baseline that a name leads to: a baseline file, or a host that becomes one.
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
    let hosts = [reference.to_owned()];
    let baseline = build_baseline(reference, &hosts, standard, options, as_of).at(|| "baseline".into())?;
    let digest = Sha256::of(&baseline.to_json()?);
    Ok(Loaded { baseline, digest })
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
