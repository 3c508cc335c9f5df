//! One package of the image against what production has of it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::patches::{Lane, known_patches, named_already, patch};
use super::{Basis, BootUnknown, Change, NotBooted, Options, PackageDrift, Patch};
use crate::baseline::{
    Adopted, BaselinePackage, Evidence, History, HostVersion, PlatformBaseline, Release, SideBySide, Slot,
    adopt, is_backport, is_third_party, joined_source, slot_of, slot_of_package, source_of,
};
use crate::model::{Ecosystem, Package, Platform, ReleaseEntry, System, Time, version};

/// A package of the image as it is compared.
#[derive(Debug, Clone)]
pub(super) struct Subject<'a> {
    pub(super) package: &'a Package,
    pub(super) slot: Option<Slot>,
    /// Names of others in the same slot, side by side installed, the oldest first.
    pub(super) beside: Vec<&'a str>,
    /// The newest of them, where the boot loader starts this one instead.
    pub(super) newest: Option<&'a Package>,
    /// Whether the boot loader starts this one.
    pub(super) boots: bool,
}

impl Subject<'_> {
    /// The name under which the baseline has it.
    pub(super) fn key(&self) -> String {
        self.slot.as_ref().map_or_else(|| self.package.name.clone(), Slot::to_string)
    }
}

/// Slots with several kernels of which nothing says which boots, though there is a boot loader.
pub(super) fn boot_unknown(system: &System, subjects: &[Subject<'_>]) -> Vec<BootUnknown> {
    let Some(boot) = &system.boot else { return Vec::new() };
    let is_image = Slot::is_image;
    let several =
        subjects.iter().filter(|s| !s.beside.is_empty() && !s.boots && s.slot.as_ref().is_some_and(is_image));
    let reason = match (&boot.unknown, &boot.version, &boot.kernel) {
        (Some(why), _, _) => format!("{} ({}): {why}", boot.loader, boot.config),
        // It is none of this slot.
        (None, Some(_), _) => return Vec::new(),
        (None, None, kernel) => format!(
            "{} ({}): its default starts `{}`, which tells no version",
            boot.loader,
            boot.config,
            kernel.as_deref().unwrap_or_default()
        ),
    };
    let unknown = several.map(|subject| {
        let names = subject.beside.iter().copied().chain([subject.package.name.as_str()]);
        BootUnknown { kernels: names.map(str::to_owned).collect(), reason: reason.clone() }
    });
    unknown.collect()
}

/// The packages of a system, sorted by name and architecture; of several in one slot that which boots stands for
/// all, or where this is not known, the newest.
pub(super) fn subjects(system: &System) -> Vec<Subject<'_>> {
    let mut slots: BTreeMap<(Slot, &str), Vec<&Package>> = BTreeMap::new();
    let mut subjects = Vec::new();
    for package in &system.packages {
        match slot_of_package(package) {
            Some(slot) => slots.entry((slot, &package.arch)).or_default().push(package),
            None => {
                subjects.push(Subject { package, slot: None, beside: Vec::new(), newest: None, boots: false })
            }
        }
    }
    for ((slot, _), members) in slots {
        let Some(found) = SideBySide::of(members, Some(&slot), system.boot.as_ref()) else { continue };
        let newest = found.newer();
        let beside = found.others.iter().map(|package| package.name.as_str()).collect();
        let (package, boots) = (found.chosen, found.boots);
        subjects.push(Subject { package, slot: Some(slot), beside, newest, boots });
    }
    subjects.sort_by(|a, b| a.package.cmp(b.package));
    subjects
}

/// What production has of a package.
pub(super) struct Target<'a> {
    pub(super) basis: Basis,
    pub(super) version: &'a str,
    pub(super) source_version: &'a str,
    pub(super) adopted: Option<Adopted<'a>>,
    /// The build that hosts run or a channel source has, where it is known.
    pub(super) build: Option<&'a HostVersion>,
}

/// Where a package is compared: the row, the history and the versions.
pub(super) struct Place<'a> {
    pub(super) source: String,
    pub(super) image: String,
    /// What hosts run; `None` if none carries it.
    pub(super) row: Option<&'a BaselinePackage>,
    pub(super) history: Option<&'a History>,
    pub(super) target: Option<Target<'a>>,
}

/// The image's version, its lane and the source: what known patches depend on.
type PatchKey = (String, String, bool, Option<String>);

/// Compares the packages of one system; remembers what it found out for sources of several packages.
pub(super) struct Comparer<'a> {
    against: &'a PlatformBaseline,
    platform: Option<&'a Platform>,
    options: &'a Options,
    /// What the image's own changelogs say, by source.
    own: BTreeMap<(Ecosystem, String), Vec<ReleaseEntry>>,
    patches: BTreeMap<PatchKey, Vec<Patch>>,
    /// Up to when the repositories are known.
    listed_as_of: Option<Time>,
    by_channel: usize,
    published_known: Option<Time>,
}

impl<'a> Comparer<'a> {
    pub(super) fn new(system: &'a System, against: &'a PlatformBaseline, options: &'a Options) -> Self {
        let mut own: BTreeMap<(Ecosystem, String), Vec<ReleaseEntry>> = BTreeMap::new();
        for entry in &system.releases {
            let (source, version) = joined_source(&entry.source, &entry.version);
            let entry = ReleaseEntry { version: version.into_owned(), ..entry.clone() };
            own.entry((entry.ecosystem, source.into_owned())).or_default().push(entry);
        }
        Comparer {
            against,
            platform: system.platform.as_ref(),
            options,
            own,
            patches: BTreeMap::new(),
            listed_as_of: against.listed_as_of(),
            by_channel: 0,
            published_known: None,
        }
    }

    /// How many packages were compared that no host carries.
    pub(super) fn by_channel(&self) -> usize {
        self.by_channel
    }

    /// Up to when the releases of all of those are known; `None` if there is none.
    pub(super) fn published_known(&self) -> Option<Time> {
        self.published_known
    }

    /// Notes a package that was compared with what was published: what was published since is not known.
    fn note_channel(&mut self, history: Option<&History>) {
        self.by_channel += 1;
        let is_listed = history.is_some_and(|h| h.sightings.iter().any(|sighting| sighting.suite.is_some()));
        let of_listings = self.listed_as_of.filter(|_| is_listed);
        let known = history.and_then(|history| history.as_of).max(of_listings).unwrap_or(self.against.as_of);
        self.published_known = Some(self.published_known.map_or(known, |least| least.min(known)));
    }

    /// How a package differs; `None` and nothing if it is at the baseline.
    pub(super) fn compare(&mut self, subject: &Subject<'_>) -> (Option<Change>, Option<PackageDrift>) {
        let package = subject.package;
        let place = self.place(subject);
        let mut found = blank(subject, &place);
        found.other_series = self.other_series(subject, &place);
        let Some(target) = &place.target else {
            return (Some(Change::OnlyInImage), Some(found));
        };
        if target.basis == Basis::Channel {
            self.note_channel(place.history);
        }
        let order = version::compare(package.ecosystem, &place.image, target.source_version);
        let patches = self.patches(subject, &place, target);
        let adopted = |patch: &Patch| {
            version::compare(package.ecosystem, &patch.version, target.source_version) != Ordering::Greater
        };
        let (missed, arriving): (Vec<Patch>, Vec<Patch>) = patches.into_iter().partition(adopted);
        found.arriving = arriving;
        let another_build = order.is_eq() && self.is_another_build(package, target);
        if order.is_lt() {
            found.missed = missed;
            if !found.missed.iter().any(|p| p.version == target.source_version) {
                found.missed.insert(0, self.undated(target.source_version));
            }
        } else if another_build && has_newer_inside(package, target) {
            found.missed = vec![self.rebuild(&place, target)];
        }
        found.change = if !found.missed.is_empty() {
            Change::Behind
        } else if !found.arriving.is_empty() {
            Change::Arriving
        } else if order.is_gt() {
            Change::Ahead
        } else if another_build {
            Change::Rebuilt
        } else {
            return (None, None);
        };
        if found.change == Change::Behind {
            self.date(&mut found, package, &place, target);
        }
        self.mark_latent(&mut found, subject);
        (Some(found.change), Some(found))
    }

    /// Marks the patches that a newer package of the slot has, which would not boot.
    fn mark_latent(&self, found: &mut PackageDrift, subject: &Subject<'_>) {
        let Some(not_booted) = &found.not_booted else { return };
        let ecosystem = subject.package.ecosystem;
        for patch in found.missed.iter_mut().chain(&mut found.arriving) {
            let order = version::compare(ecosystem, &patch.version, &not_booted.source_version);
            patch.latent = !patch.rebuild && order != Ordering::Greater;
        }
    }

    /// Where a package is compared, and with what.
    pub(super) fn place(&self, subject: &Subject<'_>) -> Place<'a> {
        let package = subject.package;
        let (source, source_version) = source_of(package);
        let builds = self.row(subject);
        let row = builds.filter(|row| row.versions.iter().any(|version| !version.hosts.is_empty()));
        let renamed = row.is_some_and(|row| row.source != source);
        let source = row.filter(|_| renamed).map_or_else(|| source.into_owned(), |row| row.source.clone());
        let image = if renamed { package.version.clone() } else { source_version.to_owned() };
        let history = self.against.history(package.ecosystem, &source);
        let share = self.options.adoption_share;
        let adopted = row.and_then(|row| adopt(row, share, is_backport(&image)));
        let target = match adopted {
            _ if self.is_of_another_maker(package, history) => None,
            None if row.is_some() => None, // hosts have it from the other channel only
            Some(adopted) => Some(Target {
                basis: if adopted.carrying < self.options.min_hosts { Basis::Weak } else { Basis::Hosts },
                version: &adopted.version.version,
                source_version: if renamed {
                    &adopted.version.version
                } else {
                    &adopted.version.source_version
                },
                build: Some(adopted.version),
                adopted: Some(adopted),
            }),
            None => self.newest_in_channel(subject, history, builds, &image),
        };
        Place { source, image, row, history, target }
    }

    /// The distribution's package and a third party's of the same name are different packages. Where only the
    /// suites of changelogs tell the third party, the package itself does not say whose it is.
    fn is_of_another_maker(&self, package: &Package, history: Option<&History>) -> bool {
        let (Some(history), Some(platform)) = (history, self.platform) else { return false };
        !history.third_party_by_suites && history.third_party != is_third_party(package, platform)
    }

    /// The upstream series of the same kernel that hosts run, where they run none of the package's own.
    fn other_series(&self, subject: &Subject<'_>, place: &Place<'_>) -> Vec<String> {
        let Some(slot) = subject.slot.as_ref().filter(|_| place.row.is_none()) else { return Vec::new() };
        let ecosystem = subject.package.ecosystem;
        let arch = self.arch(subject.package);
        let rows = self.against.packages.iter().filter(|row| row.ecosystem == ecosystem && row.arch == arch);
        let on_hosts = rows.filter_map(|row| row.versions.iter().find(|version| !version.hosts.is_empty()));
        let names = on_hosts.filter_map(|version| version.name.as_deref());
        let same = names.filter_map(slot_of).filter(|s| s.kind == slot.kind && s.flavour == slot.flavour);
        let mut series: Vec<String> =
            same.map(|s| s.series).filter(|series| *series != slot.series).collect();
        series.sort_by(|a, b| version::compare(ecosystem, a, b));
        series.dedup();
        series
    }

    fn newest_in_channel(
        &self,
        subject: &Subject<'_>,
        history: Option<&'a History>,
        builds: Option<&'a BaselinePackage>,
        image: &str,
    ) -> Option<Target<'a>> {
        let series = subject.slot.as_ref().and_then(Slot::upstream_series);
        let lane = Lane { backports: is_backport(image), series };
        let in_lane = |r: &&Release| r.backport == lane.backports && lane.holds(r);
        let mut releases = history?.releases.iter().filter(in_lane);
        // What is still phased in is not adopted; where nothing else is, it is at least what there is.
        let newest = releases.clone().find(|r| r.phased_percent.is_none()).or_else(|| releases.next())?;
        let build = builds.and_then(|row| row.versions.iter().find(|b| b.source_version == newest.version));
        Some(Target {
            basis: Basis::Channel,
            version: build.map_or(&newest.version, |build| &build.version),
            source_version: &newest.version,
            adopted: None,
            build,
        })
    }

    /// What hosts run of it: of the same architecture, or of `all` where the package moved there or back.
    fn row(&self, subject: &Subject<'_>) -> Option<&'a BaselinePackage> {
        let package = subject.package;
        let native = &self.against.platform.arch;
        let arch = self.arch(package);
        let key = subject.key();
        let row = |arch: &str| self.against.package(package.ecosystem, &key, arch);
        // A package that any machine can take has no architecture of its own, under one name or another.
        let any = ["all", "noarch", ""];
        row(arch).or_else(|| match arch {
            arch if any.contains(&arch) => row(native).or_else(|| any.into_iter().find_map(row)),
            arch if arch == native => any.into_iter().find_map(row),
            _ => None,
        })
    }

    /// The architecture under which the baseline has a package: the system's own is that of the baseline.
    fn arch<'p>(&'p self, package: &'p Package) -> &'p str {
        let is_native = self.platform.is_some_and(|p| p.arch == package.arch);
        if is_native { &self.against.platform.arch } else { &package.arch }
    }

    /// The lane of a package that is compared with this version.
    pub(super) fn lane<'s>(subject: &'s Subject<'_>, image: &str, target: &str) -> Lane<'s> {
        Lane {
            backports: is_backport(image) || is_backport(target),
            series: subject.slot.as_ref().and_then(Slot::upstream_series),
        }
    }

    pub(super) fn own_entries(&self, ecosystem: Ecosystem, source: &str) -> &[ReleaseEntry] {
        self.own.get(&(ecosystem, source.to_owned())).map_or(&[], Vec::as_slice)
    }

    fn patches(&mut self, subject: &Subject<'_>, place: &Place<'_>, target: &Target<'_>) -> Vec<Patch> {
        let Some(history) = place.history else { return Vec::new() };
        let newest = history.releases.first().map(|release| release.version.as_str());
        if newest.is_none_or(|newest| history.compare(newest, &place.image) != Ordering::Greater) {
            return Vec::new();
        }
        let lane = Self::lane(subject, &place.image, target.source_version);
        let key = (place.source.clone(), place.image.clone(), lane.backports, lane.series.map(str::to_owned));
        if let Some(known) = self.patches.get(&key) {
            return known.clone();
        }
        let own = self.own_entries(history.ecosystem, &place.source);
        let named = named_already(history, &place.image, own);
        let patches = known_patches(history, &place.image, lane, &named);
        self.patches.insert(key, patches.clone());
        patches
    }

    /// Whether the binaries are different builds. Builds of another architecture are not compared.
    fn is_another_build(&self, package: &Package, target: &Target<'_>) -> bool {
        target.build.is_some()
            && self.platform.is_some_and(|p| *p == self.against.platform)
            && !version::compare(package.ecosystem, &package.version, target.version).is_eq()
    }

    /// A version that hosts run and whose release nothing names.
    fn undated(&self, version: &str) -> Patch {
        Patch {
            version: version.to_owned(),
            published: None,
            evidence: Evidence::FirstSight,
            bounded: false,
            not_before: None,
            not_after: Some(self.against.as_of),
            urgency: None,
            security: false,
            rebuild: false,
            latent: false,
            advisories: Vec::new(),
            cves: Vec::new(),
        }
    }

    fn rebuild(&self, place: &Place<'_>, target: &Target<'_>) -> Patch {
        let known = place.history.into_iter().flat_map(|history| &history.rebuilds);
        let known = known.into_iter().find(|release| release.version == target.version).map(patch);
        Patch { rebuild: true, ..known.unwrap_or_else(|| self.undated(target.version)) }
    }

    /// Says since when a package is behind, and how sure that is.
    fn date(&self, found: &mut PackageDrift, package: &Package, place: &Place<'_>, target: &Target<'_>) {
        let behind_since = found.missed.iter().filter_map(Patch::out_by).min();
        let is_rebuild = found.missed.iter().all(|patch| patch.rebuild);
        let reaches = place.history.and_then(|history| history.reaches(target.source_version));
        found.history_short = !is_rebuild
            && reaches.is_none_or(|oldest| version::compare(package.ecosystem, &place.image, oldest).is_lt());
        let open = |patch: &Patch| {
            patch.published.is_none() && patch.not_before.is_none_or(|at| Some(at) < behind_since)
        };
        found.lower_bound = found.history_short || found.missed.iter().any(open);
        found.behind_since = behind_since;
        found.days_behind = behind_since.map(|at| self.options.as_of.days_since(at).max(0));
        if found.lower_bound {
            let of_image = self.image_version_dated(package, place);
            let of_listings =
                self.against.nothing_newer_until(package.ecosystem, &place.source, &place.image);
            let of_patches = (!found.history_short)
                .then(|| {
                    found
                        .missed
                        .iter()
                        .map(|patch| patch.published.or(patch.not_before))
                        .collect::<Option<Vec<Time>>>()
                })
                .flatten()
                .and_then(|dates| dates.into_iter().min());
            let earliest = of_image.max(of_patches).max(of_listings);
            found.behind_since_at_earliest =
                earliest.map(|at| behind_since.map_or(at, |since| since.min(at)));
            // What is known to the day is exact.
            found.lower_bound = behind_since.is_none() || found.behind_since_at_earliest < behind_since;
        }
    }

    /// When the image's own version was made, as far as anything says so: no newer one was out before.
    pub(super) fn image_version_dated(&self, package: &Package, place: &Place<'_>) -> Option<Time> {
        let history = place.history;
        let is_it = |v: &str| version::compare(package.ecosystem, v, &place.image).is_eq();
        let release = history.and_then(|h| h.releases.iter().find(|r| is_it(&r.version)));
        let other = history.and_then(|h| h.others.iter().find(|o| is_it(&o.version)));
        let own = self.own_entries(package.ecosystem, &place.source).iter();
        release
            .and_then(|release| release.published.or(release.dated))
            .or(other.and_then(|other| other.dated))
            .or(own.filter(|entry| !entry.rebuild && is_it(&entry.version)).find_map(|entry| entry.dated))
            .or(package.built_at)
    }
}

fn blank(subject: &Subject<'_>, place: &Place<'_>) -> PackageDrift {
    let package = subject.package;
    let target = place.target.as_ref();
    let adopted = target.and_then(|target| target.adopted.as_ref());
    PackageDrift {
        ecosystem: package.ecosystem,
        name: package.name.clone(),
        arch: package.arch.clone(),
        source: place.source.clone(),
        slot: subject.slot.as_ref().map(Slot::to_string),
        other_series: Vec::new(),
        not_booted: not_booted(subject, place),
        change: Change::OnlyInImage,
        basis: target.map(|target| target.basis),
        image_version: package.version.clone(),
        image_source_version: place.image.clone(),
        baseline_version: target.map(|target| target.version.to_owned()),
        baseline_source_version: target.map(|target| target.source_version.to_owned()),
        baseline_name: adopted.and_then(|adopted| adopted.version.name.clone()),
        behind_since: None,
        days_behind: None,
        lower_bound: false,
        behind_since_at_earliest: None,
        history_short: false,
        missed: Vec::new(),
        arriving: Vec::new(),
    }
}

/// The newest package of the slot, where another boots.
fn not_booted(subject: &Subject<'_>, place: &Place<'_>) -> Option<NotBooted> {
    let newest = subject.newest?;
    let slot = subject.slot.as_ref()?;
    // In the space in which the package that boots is compared.
    let is_renamed = place.image == subject.package.version && place.image != source_of(subject.package).1;
    let source_version = if is_renamed { newest.version.clone() } else { source_of(newest).1.to_owned() };
    let name = &subject.package.name;
    let boots = match subject.package.ecosystem {
        Ecosystem::Rpm => version::rpm::without_epoch(&subject.package.version),
        _ => name.strip_prefix(slot.kind.as_str()).and_then(|rest| rest.strip_prefix('-')).unwrap_or(name),
    };
    Some(NotBooted {
        name: newest.name.clone(),
        version: newest.version.clone(),
        source_version,
        boots: boots.to_owned(),
    })
}

/// Whether production's build has a newer source built in than the image's, or one that the image's has not.
fn has_newer_inside(package: &Package, target: &Target<'_>) -> bool {
    let Some(build) = target.build else { return false };
    build.built_using.iter().any(|theirs| {
        let mut ours = package.built_using.iter().filter(|ours| ours.name == theirs.name).peekable();
        ours.peek().is_none()
            || ours.all(|ours| version::compare(package.ecosystem, &ours.version, &theirs.version).is_lt())
    })
}
