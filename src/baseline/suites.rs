//! Which suites are a platform's own.
//!
//! A Debian changelog interleaves entries for other suites; only those made for the platform's codename, or
//! for `stable`, `oldstable` or `oldoldstable` while that was the platform's name, were ever published to it.
//! Ubuntu's changelogs name the codename for everything.

use jiff::civil::Date;

use crate::model::{Platform, Time};

/// Debian's releases, oldest first: codename, release, first day.
const DEBIAN: [(&str, &str, &str); 12] = [
    ("etch", "4", "2007-04-08"),
    ("lenny", "5", "2009-02-14"),
    ("squeeze", "6", "2011-02-06"),
    ("wheezy", "7", "2013-05-04"),
    ("jessie", "8", "2015-04-25"),
    ("stretch", "9", "2017-06-17"),
    ("buster", "10", "2019-07-06"),
    ("bullseye", "11", "2021-08-14"),
    ("bookworm", "12", "2023-06-10"),
    ("trixie", "13", "2025-08-09"),
    ("forky", "14", ""),
    ("duke", "15", ""),
];

/// Debian's codenames before these, for telling names from others.
const DEBIAN_EARLIER: [&str; 8] = ["buzz", "rex", "bo", "hamm", "slink", "potato", "woody", "sarge"];

/// Ubuntu's releases, oldest first: codename, release, first day where images of it are still seen.
const UBUNTU: [(&str, &str, &str); 44] = [
    ("warty", "4.10", ""),
    ("hoary", "5.04", ""),
    ("breezy", "5.10", ""),
    ("dapper", "6.06", ""),
    ("edgy", "6.10", ""),
    ("feisty", "7.04", ""),
    ("gutsy", "7.10", ""),
    ("hardy", "8.04", ""),
    ("intrepid", "8.10", ""),
    ("jaunty", "9.04", ""),
    ("karmic", "9.10", ""),
    ("lucid", "10.04", ""),
    ("maverick", "10.10", ""),
    ("natty", "11.04", ""),
    ("oneiric", "11.10", ""),
    ("precise", "12.04", "2012-04-26"),
    ("quantal", "12.10", ""),
    ("raring", "13.04", ""),
    ("saucy", "13.10", ""),
    ("trusty", "14.04", "2014-04-17"),
    ("utopic", "14.10", ""),
    ("vivid", "15.04", ""),
    ("wily", "15.10", ""),
    ("xenial", "16.04", "2016-04-21"),
    ("yakkety", "16.10", ""),
    ("zesty", "17.04", ""),
    ("artful", "17.10", ""),
    ("bionic", "18.04", "2018-04-26"),
    ("cosmic", "18.10", "2018-10-18"),
    ("disco", "19.04", "2019-04-18"),
    ("eoan", "19.10", "2019-10-17"),
    ("focal", "20.04", "2020-04-23"),
    ("groovy", "20.10", "2020-10-22"),
    ("hirsute", "21.04", "2021-04-22"),
    ("impish", "21.10", "2021-10-14"),
    ("jammy", "22.04", "2022-04-21"),
    ("kinetic", "22.10", "2022-10-20"),
    ("lunar", "23.04", "2023-04-20"),
    ("mantic", "23.10", "2023-10-12"),
    ("noble", "24.04", "2024-04-25"),
    ("oracular", "24.10", "2024-10-10"),
    ("plucky", "25.04", "2025-04-17"),
    ("questing", "25.10", "2025-10-09"),
    ("resolute", "26.04", "2026-04-23"),
];

/// Names of suites that are no codenames.
const CLASSES: [&str; 10] = [
    "unstable",
    "experimental",
    "sid",
    "rc-buggy",
    "testing",
    "stable",
    "oldstable",
    "oldoldstable",
    "frozen",
    "unreleased",
];

/// What may stand behind a codename.
const POCKETS: [&str; 9] = [
    "",
    "security",
    "updates",
    "proposed",
    "proposed-updates",
    "lts",
    "backports",
    "backports-sloppy",
    "volatile",
];

/// What Debian's coming release takes its packages from, at once.
const UNRELEASED: [&str; 3] = ["unstable", "sid", "testing"];

/// How an own suite publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pocket {
    /// `-security`, `-lts`: at once, and for security.
    Security,
    /// `-updates`: at once.
    Updates,
    /// The codename alone, or `-proposed…`: Debian publishes it with the next point release.
    Release,
    /// `-backports`: a channel of its own.
    Backports,
}

/// The suites of one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformSuites {
    codename: Option<String>,
    /// When the platform was released, as far as the tables know.
    released: Option<Time>,
    /// Names that were the platform's for a while: name, from, until.
    aliases: Vec<(&'static str, Time, Option<Time>)>,
    /// Whether entries for the release suite wait for point releases.
    point_releases: bool,
}

impl PlatformSuites {
    /// The suites of this platform. `codename` is what the system itself says; else the tables tell it.
    #[must_use]
    pub fn of(platform: &Platform, codename: Option<&str>) -> Self {
        let table: &[(&str, &str, &str)] = match platform.os.as_str() {
            "debian" => &DEBIAN,
            "ubuntu" => &UBUNTU,
            _ => &[],
        };
        let at = table
            .iter()
            .position(|(codename, release, _)| *release == platform.release || *codename == platform.release);
        let row = at.and_then(|at| table.get(at));
        let codename = codename.filter(|name| !name.is_empty()).or(row.map(|(codename, ..)| *codename));
        let is_debian = platform.os == "debian";
        let is_unreleased = is_debian && row.is_none_or(|(_, _, day)| day.is_empty());
        PlatformSuites {
            codename: codename.map(str::to_ascii_lowercase),
            released: row.and_then(|(_, _, day)| day.parse().ok()),
            aliases: match at {
                _ if is_unreleased => UNRELEASED.map(|name| (name, Time::start_of(Date::MIN), None)).into(),
                Some(at) if is_debian => aliases(at),
                _ => Vec::new(),
            },
            point_releases: platform.os != "ubuntu" && !is_unreleased,
        }
    }

    /// The platform's codename, as far as it is known.
    #[must_use]
    pub fn codename(&self) -> Option<&str> {
        self.codename.as_deref()
    }

    /// The suites through which packages reach the platform, each with its name: without a listing of one of
    /// them nobody knows what was out. Empty where that is not known.
    #[must_use]
    pub fn needed(&self) -> Vec<(Pocket, String)> {
        let Some(codename) = self.codename.as_deref().filter(|name| is_codename(name)) else {
            return Vec::new();
        };
        if self.released.is_none() && self.point_releases_are_to_come() {
            return vec![(Pocket::Release, codename.to_owned())];
        }
        vec![
            (Pocket::Security, format!("{codename}-security")),
            (Pocket::Updates, format!("{codename}-updates")),
            (Pocket::Release, codename.to_owned()),
        ]
    }

    /// Whether this is Debian before its release: everything comes through one suite.
    fn point_releases_are_to_come(&self) -> bool {
        self.aliases.iter().any(|(name, ..)| UNRELEASED.contains(name))
    }

    /// When the platform was released, as far as it is known.
    #[must_use]
    pub fn released(&self) -> Option<Time> {
        self.released
    }

    /// Whether entries for the release suite wait for point releases.
    #[must_use]
    pub fn has_point_releases(&self) -> bool {
        self.point_releases
    }

    /// The pocket through which an entry for these suites was published to the platform: of several the one
    /// that publishes soonest; `None` if none of them is the platform's own.
    #[must_use]
    pub fn pocket(&self, suites: &[String], dated: Option<Time>) -> Option<Pocket> {
        suites.iter().filter_map(|suite| self.pocket_of(suite, dated)).min()
    }

    fn pocket_of(&self, suite: &str, dated: Option<Time>) -> Option<Pocket> {
        let suite = suite.to_ascii_lowercase();
        let (base, behind) = suite.split_once('-').unwrap_or((&suite, ""));
        if self.codename.as_deref() != Some(base) && !self.was_called(base, dated) {
            return None;
        }
        match behind {
            "security" | "lts" => Some(Pocket::Security),
            "updates" => Some(Pocket::Updates),
            "" | "proposed" | "proposed-updates" => Some(Pocket::Release),
            "backports" | "backports-sloppy" => Some(Pocket::Backports),
            _ => None,
        }
    }

    /// Whether the platform bore this name at that time; an entry without a date is believed.
    fn was_called(&self, name: &str, dated: Option<Time>) -> bool {
        self.aliases.iter().any(|(alias, from, until)| {
            *alias == name && dated.is_none_or(|at| at >= *from && until.is_none_or(|until| at < until))
        })
    }
}

/// The names that a Debian release bore after it came out, each until the next ones came out.
fn aliases(at: usize) -> Vec<(&'static str, Time, Option<Time>)> {
    let day = |later: usize| DEBIAN.get(at + later).and_then(|(_, _, day)| day.parse::<Time>().ok());
    ["stable", "oldstable", "oldoldstable"]
        .into_iter()
        .enumerate()
        .filter_map(|(later, name)| Some((name, day(later)?, day(later + 1))))
        .collect()
}

/// Whether Debian or Ubuntu has, or had, a suite of this name.
#[must_use]
pub(super) fn is_distribution_suite(suite: &str) -> bool {
    let suite = suite.to_ascii_lowercase();
    if CLASSES.contains(&suite.as_str()) {
        return true;
    }
    let (base, behind) = suite.split_once('-').unwrap_or((&suite, ""));
    is_codename(base) && POCKETS.contains(&behind) || CLASSES.contains(&base) && POCKETS.contains(&behind)
}

/// Whether Debian or Ubuntu has a release of this codename.
#[must_use]
pub(super) fn is_codename(name: &str) -> bool {
    DEBIAN.iter().chain(&UBUNTU).any(|(codename, ..)| *codename == name) || DEBIAN_EARLIER.contains(&name)
}

/// The distribution and release of a codename; of a release that is not out the codename itself.
#[must_use]
pub(super) fn release_of(codename: &str) -> Option<(&'static str, &'static str)> {
    if codename == "sid" {
        return Some(("debian", "sid"));
    }
    let debian = DEBIAN.iter().find(|(name, ..)| *name == codename);
    let ubuntu = || UBUNTU.iter().find(|(name, ..)| *name == codename);
    match debian {
        Some((name, _, "")) => Some(("debian", name)),
        Some((_, release, _)) => Some(("debian", release)),
        None => ubuntu().map(|(_, release, _)| ("ubuntu", *release)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pocket(platform: &str, suites: &str, dated: &str) -> Option<Pocket> {
        let suites: Vec<String> = suites.split(' ').map(str::to_owned).collect();
        PlatformSuites::of(&platform.parse().unwrap(), None).pocket(&suites, dated.parse().ok())
    }

    #[test]
    fn own_suites_are_the_codename_and_the_name_of_the_day() {
        for (platform, suites, dated, want) in [
            ("debian/12/amd64", "bookworm", "2026-04-28", Some(Pocket::Release)),
            ("debian/12/amd64", "bookworm-security", "2026-04-28", Some(Pocket::Security)),
            ("debian/12/amd64", "bookworm-updates", "2026-04-28", Some(Pocket::Updates)),
            ("debian/12/amd64", "bookworm-proposed-updates", "2026-04-28", Some(Pocket::Release)),
            ("debian/12/amd64", "bookworm-backports", "2026-04-28", Some(Pocket::Backports)),
            ("debian/12/amd64", "trixie-security", "2026-04-28", None),
            ("debian/12/amd64", "unstable", "2026-04-28", None),
            ("debian/12/amd64", "bookworm-pgdg", "2026-04-28", None),
            ("debian/12/amd64", "unstable bookworm-security", "2026-04-28", Some(Pocket::Security)),
            ("debian/12/amd64", "stable", "2024-04-28", Some(Pocket::Release)),
            ("debian/12/amd64", "stable-security", "2022-04-28", None),
            ("debian/12/amd64", "stable", "2025-08-09", None),
            ("debian/12/amd64", "oldstable-security", "2025-08-09", Some(Pocket::Security)),
            ("debian/10/amd64", "oldoldstable-lts", "2024-01-01", Some(Pocket::Security)),
            ("debian/10/amd64", "oldoldstable-lts", "2025-09-01", None),
            ("debian/forky/amd64", "unstable", "2026-04-28", Some(Pocket::Release)),
            ("debian/sid/amd64", "unstable", "2026-04-28", Some(Pocket::Release)),
            ("debian/sid/amd64", "experimental", "2026-04-28", None),
            ("ubuntu/20.04/amd64", "focal", "2020-05-07", Some(Pocket::Release)),
            ("ubuntu/20.04/amd64", "focal-security", "2020-06-08", Some(Pocket::Security)),
            ("ubuntu/20.04/amd64", "stable", "2020-06-08", None),
        ] {
            assert_eq!(pocket(platform, suites, dated), want, "{platform} {suites} {dated}");
        }
    }

    #[test]
    fn names_of_the_distributions_are_told_from_others() {
        for suite in ["bookworm", "focal-proposed", "UNRELEASED", "frozen", "rc-buggy", "oldstable-security"]
        {
            assert!(is_distribution_suite(suite), "{suite}");
        }
        for suite in ["nodistro", "bookworm-pgdg", "main", "any", "stretch-cloud"] {
            assert!(!is_distribution_suite(suite), "{suite}");
        }
    }
}
