//! Which systems and images of two sides belong together.

use std::collections::BTreeMap;

use super::{Side, UnpairedSystem};
use crate::model::{ImagePath, Platform};
use crate::report::{ImageReport, Report};

/// What systems are paired by.
pub(super) struct Identity<'a> {
    pub(super) platform: Option<&'a Platform>,
    pub(super) channel: Option<&'a str>,
    pub(super) root: &'a ImagePath,
    pub(super) volume: Option<&'a str>,
}

/// Pairs, and what is left of either side, in the order of `a`.
pub(super) struct Pairs<'a, T> {
    pub(super) both: Vec<(&'a T, &'a T)>,
    pub(super) only_in_a: Vec<&'a T>,
    pub(super) only_in_b: Vec<&'a T>,
}

/// Pairs systems: of one platform, channel and place; of one platform and channel; of one platform; of one
/// distribution and release; the only two that are left.
pub(super) fn pair_systems<'a, T>(
    a: &'a [T],
    b: &'a [T],
    identity: impl Fn(&T) -> Identity<'_>,
) -> Pairs<'a, T> {
    let rules: [fn(&Identity<'_>, &Identity<'_>) -> bool; 4] = [
        |a, b| a.platform == b.platform && a.channel == b.channel && a.root == b.root && a.volume == b.volume,
        |a, b| a.platform == b.platform && a.channel == b.channel,
        |a, b| a.platform == b.platform,
        |a, b| a.platform.zip(b.platform).is_some_and(|(a, b)| a.os == b.os && a.release == b.release),
    ];
    let mut partner: Vec<Option<usize>> = vec![None; a.len()];
    for rule in rules {
        for (at, of_a) in a.iter().enumerate() {
            if partner.get(at) != Some(&None) {
                continue;
            }
            let mut free = b.iter().enumerate().filter(|(i, _)| !partner.contains(&Some(*i)));
            let found = free.find(|(_, of_b)| rule(&identity(of_a), &identity(of_b))).map(|(i, _)| i);
            if let Some(place) = partner.get_mut(at) {
                *place = found;
            }
        }
    }
    let left_a: Vec<usize> = (0..a.len()).filter(|i| partner.get(*i) == Some(&None)).collect();
    let left_b: Vec<usize> = (0..b.len()).filter(|i| !partner.contains(&Some(*i))).collect();
    if let ([of_a], [of_b]) = (&left_a[..], &left_b[..])
        && let Some(place) = partner.get_mut(*of_a)
    {
        *place = Some(*of_b);
    }
    collect_pairs(a, b, &partner)
}

fn collect_pairs<'a, T>(a: &'a [T], b: &'a [T], partner: &[Option<usize>]) -> Pairs<'a, T> {
    let mut pairs = Pairs { both: Vec::new(), only_in_a: Vec::new(), only_in_b: Vec::new() };
    for (of_a, partner) in a.iter().zip(partner) {
        match partner.and_then(|i| b.get(i)) {
            Some(of_b) => pairs.both.push((of_a, of_b)),
            None => pairs.only_in_a.push(of_a),
        }
    }
    let left = b.iter().enumerate().filter(|(i, _)| !partner.contains(&Some(*i)));
    pairs.only_in_b = left.map(|(_, of_b)| of_b).collect();
    pairs
}

pub(super) fn unpaired<T>(
    pairs: &Pairs<'_, T>,
    identity: impl Fn(&T) -> (Option<Platform>, ImagePath, Option<String>),
) -> Vec<UnpairedSystem> {
    let told = |side: Side, systems: &[&T]| -> Vec<UnpairedSystem> {
        systems
            .iter()
            .map(|system| {
                let (platform, root, volume) = identity(system);
                UnpairedSystem { side, platform, root, volume }
            })
            .collect()
    };
    let mut all = told(Side::A, &pairs.only_in_a);
    all.extend(told(Side::B, &pairs.only_in_b));
    all.sort();
    all
}

pub(super) struct ImagePairs<'a> {
    pub(super) both: Vec<(&'a ImageReport, &'a ImageReport)>,
    pub(super) only_in_a: Vec<String>,
    pub(super) only_in_b: Vec<String>,
}

pub(super) fn pair_images<'a>(a: &'a Report, b: &'a Report) -> ImagePairs<'a> {
    if let ([a], [b]) = (&a.images[..], &b.images[..]) {
        return ImagePairs { both: vec![(a, b)], only_in_a: Vec::new(), only_in_b: Vec::new() };
    }
    let reference = |image: &ImageReport| image.image.reference.clone();
    let mut partner: Vec<Option<usize>> = vec![None; a.images.len()];
    let by_reference = |image: &ImageReport| reference(image);
    let by_name = |image: &ImageReport| bare_name(&image.image.reference).to_owned();
    let keys: [&dyn Fn(&ImageReport) -> String; 2] = [&by_reference, &by_name];
    for key in keys {
        // A name that several left images of one side have says nothing of which is which.
        let mut free: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, image) in b.images.iter().enumerate().filter(|(i, _)| !partner.contains(&Some(*i))) {
            free.entry(key(image)).or_default().push(i);
        }
        let mut asked: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, image) in a.images.iter().enumerate().filter(|(i, _)| partner.get(*i) == Some(&None)) {
            asked.entry(key(image)).or_default().push(i);
        }
        for (name, of_a) in asked {
            if let ([of_a], Some([of_b])) = (&of_a[..], free.get(&name).map(Vec::as_slice))
                && let Some(place) = partner.get_mut(*of_a)
            {
                *place = Some(*of_b);
            }
        }
    }
    let pairs = collect_pairs(&a.images, &b.images, &partner);
    ImagePairs {
        both: pairs.both,
        only_in_a: pairs.only_in_a.into_iter().map(reference).collect(),
        only_in_b: pairs.only_in_b.into_iter().map(reference).collect(),
    }
}

/// The name of an image without path, tag, digest and what archives are called by.
pub(super) fn bare_name(reference: &str) -> &str {
    let name = reference.rsplit_once('#').map_or(reference, |(_, name)| name);
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let name = name.trim_end_matches('/').rsplit('/').next().unwrap_or(name);
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    let endings = [".zst", ".gz", ".xz", ".json", ".tar", ".docker", ".oci"];
    endings.iter().fold(name, |name, ending| name.strip_suffix(ending).unwrap_or(name))
}
