//! The whole pipeline, wired: scan, compare, judge, report. No logic of its own.

use std::path::Path;

use crate::baseline::{Baseline, BuildOptions, HostInput, Loaded, build};
use crate::collect::Needs;
use crate::drift::{Explanation, explain};
use crate::error::{Error, Result, ResultExt};
use crate::intel::SupportEnds;
use crate::model::{Inventory, Sha256, Time};
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
    let explanations: Vec<Explanation> = inventories
        .iter()
        .flat_map(|inventory| &inventory.systems)
        .map(|system| explain(system, &yardstick.baseline.baseline, &drift_options, package))
        .collect();
    if explanations.iter().all(|explanation| explanation.packages.is_empty()) {
        let gaps = inventories.iter().flat_map(|i| &i.gaps).filter(|gap| gap.required).count();
        let unread = match gaps {
            0 => String::new(),
            n => format!(", of which {n} required parts could not be read"),
        };
        return Err(Error::not_found(format!("package or source `{package}` in the image{unread}"))
            .at(image)
            .hint("`karat inventory IMAGE` lists what was found"));
    }
    Ok((inventories, explanations))
}
