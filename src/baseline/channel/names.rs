//! What a source says it is for: platform and suite, from the names in its Release.
//!
//! | Release | platform | suite |
//! |---|---|---|
//! | Debian, `Codename: bookworm`, `Version: 12.15` | `debian/12` | `bookworm` |
//! | Debian, `Codename: bookworm-security`, `Suite: oldstable-security` | `debian/12` | `bookworm-security` |
//! | Debian-Security, `Codename: buster` (before 11) | `debian/10` | `buster-security` |
//! | Debian, `Codename: forky`, no version | `debian/forky` | `forky` |
//! | Ubuntu, `Codename: noble`, `Suite: noble-updates`, `Version: 24.04` | `ubuntu/24.04` | `noble-updates` |
//! | Docker, `Codename: bookworm` | `debian/12`, if the user says no other | `Docker:bookworm` |
//! | anybody else | as the user says | publisher and codename |

use super::super::suites;
use crate::error::{Error, Result};
use crate::format::apt_release::Release;
use crate::model::{Platform, Time};

/// What a source says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Named {
    /// Distribution and release.
    pub(super) release: Option<(String, String)>,
    /// Its publisher is the distribution, so that it cannot be for another.
    pub(super) is_distributions_own: bool,
    /// The suite by codename.
    pub(super) suite: Option<String>,
}

/// What a Release says, found as this path below `dists`.
///
/// # Errors
/// `Config` if the Release is that of another suite of a distribution.
pub(super) fn of_release(release: &Release, found_as: Option<&str>) -> Result<Named> {
    let suite = suite_of(release);
    if let (Some(found_as), Some(suite)) = (found_as, &suite) {
        belongs(release, found_as, suite)?;
    }
    let own = match release.origin.as_deref() {
        Some("Debian" | "Debian Backports") => Some("debian"),
        Some("Ubuntu") => Some("ubuntu"),
        Some("Raspbian") => Some("raspbian"),
        _ => None,
    };
    let known = suite.as_deref().and_then(|suite| suites::release_of(base(suite)));
    let stated = release.version.as_deref().and_then(|version| match own {
        Some("ubuntu") => is_dotted(version).then(|| version.to_owned()),
        Some(_) => major(version),
        None => None,
    });
    let number = stated.or_else(|| known.map(|(_, release)| release.to_owned()));
    let os = own.or(known.map(|(os, _)| os));
    Ok(Named {
        release: os.zip(number).map(|(os, number)| (os.to_owned(), number)),
        is_distributions_own: own.is_some(),
        suite: match own {
            Some(_) => suite,
            // A third party may call its suite as the distribution does: what it lacks proves nothing of that.
            None => suite.map(|suite| format!("{}:{suite}", publisher(release))),
        },
    })
}

/// Who published a Release, as far as it says.
fn publisher(release: &Release) -> &str {
    let named = [&release.origin, &release.label].into_iter().flatten().map(|name| name.trim());
    named.into_iter().find(|name| !name.is_empty()).unwrap_or("unnamed")
}

/// The part of a suite that is a codename.
fn base(suite: &str) -> &str {
    suite.split(['-', '/']).next().unwrap_or(suite)
}

/// The suite as changelogs name it.
fn suite_of(release: &Release) -> Option<String> {
    let codename = release.codename.as_deref().or(release.suite.as_deref())?;
    // Ubuntu has the codename alone, and the pocket in the suite.
    let full = release
        .suite
        .as_deref()
        .filter(|suite| suite.strip_prefix(codename).is_some_and(|rest| rest.starts_with('-')));
    let suite = full.unwrap_or(codename).to_ascii_lowercase();
    if let Some(codename) = suite.strip_suffix("/updates") {
        return Some(format!("{codename}-security"));
    }
    let is_security = release.label.as_deref() == Some("Debian-Security");
    Some(if is_security && !suite.contains('-') { format!("{suite}-security") } else { suite })
}

/// A suite that is found under the name of another is not that suite.
fn belongs(release: &Release, found_as: &str, suite: &str) -> Result<()> {
    let plain = |name: &str| name.strip_suffix("/updates").unwrap_or(name).to_ascii_lowercase();
    // Debian had its security suites at `buster/updates`, with the codename alone.
    let codename = release.codename.as_deref().filter(|_| found_as.ends_with("/updates"));
    let names = [Some(suite), release.suite.as_deref(), codename];
    let is_same = names.into_iter().flatten().any(|name| plain(name) == plain(found_as));
    if is_same || !suites::is_codename(base(found_as)) || !suites::is_codename(base(suite)) {
        return Ok(());
    }
    Err(Error::config(format!("the Release is for `{suite}`, and was found as `{found_as}`"))
        .hint("the suite was copied over another one; fetch it again"))
}

/// `12` of `12.15` and of `12-updates`.
fn major(version: &str) -> Option<String> {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    (!digits.is_empty()).then_some(digits)
}

fn is_dotted(version: &str) -> bool {
    version.starts_with(|c: char| c.is_ascii_digit())
        && version.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && version.contains('.')
}

/// Why a source cannot be for this platform.
pub(super) fn contradiction(named: &Named, platform: &Platform) -> Option<Error> {
    let (os, release) = named.release.as_ref()?;
    let is_same = *os == platform.os && *release == platform.release;
    if is_same || (!named.is_distributions_own && *os != platform.os) {
        return None;
    }
    let error = Error::config(format!("it is for {os}/{release}, and you said {}", platform.release_id()));
    Some(error.hint("leave the platform out, or name the repository of the platform"))
}

/// The platform of an input: what the user said, else what the source says.
pub(super) fn platform(named: &Named, arch: &str, said: Option<&Platform>) -> Option<Platform> {
    let of = |os: &str, release: &str| Platform { os: os.into(), release: release.into(), arch: arch.into() };
    match (said, &named.release) {
        (Some(said), _) => Some(of(&said.os, &said.release)),
        (None, Some((os, release))) => Some(of(os, release)),
        (None, None) => None,
    }
}

/// When a source was true: its date, or the later time that the user said.
///
/// # Errors
/// `Config` if the user said an earlier time than the source bears.
pub(super) fn taken_at(dated: Option<Time>, said: Option<Time>) -> Result<Option<Time>> {
    match (dated, said) {
        (Some(dated), Some(said)) if said < dated => {
            Err(Error::config(format!("it is dated {dated}, and you said that it was taken at {said}"))
                .hint("say when it was fetched, or leave the time out"))
        }
        (dated, said) => Ok(said.or(dated)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(fields: &str) -> Release {
        let mut release = Release::default();
        for field in fields.split(", ").filter(|field| !field.is_empty()) {
            let (name, value) = field.split_once('=').unwrap();
            let value = Some(value.to_owned());
            match name {
                "o" => release.origin = value,
                "l" => release.label = value,
                "s" => release.suite = value,
                "c" => release.codename = value,
                _ => release.version = value,
            }
        }
        release
    }

    #[test]
    fn platform_and_suite_are_told_by_the_release() {
        for (fields, platform, suite, own) in [
            ("o=Debian, l=Debian, s=oldstable, c=bookworm, v=12.15", "debian/12", "bookworm", true),
            (
                "o=Debian, l=Debian-Security, s=oldstable-security, c=bookworm-security, v=12",
                "debian/12",
                "bookworm-security",
                true,
            ),
            (
                "o=Debian, l=Debian, s=oldstable-updates, c=bookworm-updates, v=12-updates",
                "debian/12",
                "bookworm-updates",
                true,
            ),
            (
                "o=Debian, l=Debian-Security, s=oldoldstable, c=buster, v=10",
                "debian/10",
                "buster-security",
                true,
            ),
            (
                "o=Debian, l=Debian-Security, s=oldoldstable/updates, c=stretch/updates",
                "debian/9",
                "stretch-security",
                true,
            ),
            ("o=Debian, l=Debian, s=testing, c=forky", "debian/forky", "forky", true),
            ("o=Debian, l=Debian, s=unstable, c=sid", "debian/sid", "sid", true),
            ("o=Ubuntu, l=Ubuntu, s=noble-updates, c=noble, v=24.04", "ubuntu/24.04", "noble-updates", true),
            ("o=Ubuntu, l=Ubuntu, s=noble, c=noble, v=24.04", "ubuntu/24.04", "noble", true),
            (
                "o=UbuntuESM, l=UbuntuESM, s=jammy-infra-security, c=jammy, v=22.04",
                "ubuntu/22.04",
                "UbuntuESM:jammy-infra-security",
                false,
            ),
            ("o=Docker, l=Docker CE, s=bookworm, c=bookworm, v=1", "debian/12", "Docker:bookworm", false),
            (
                "o=apt.postgresql.org, s=bookworm-pgdg, c=bookworm-pgdg",
                "debian/12",
                "apt.postgresql.org:bookworm-pgdg",
                false,
            ),
            ("o=. nodistro, s=nodistro, c=nodistro", "", ". nodistro:nodistro", false),
            ("", "", "", false),
        ] {
            let named = of_release(&release(fields), None).unwrap();
            let told = named.release.map(|(os, release)| format!("{os}/{release}")).unwrap_or_default();
            assert_eq!(
                (told.as_str(), named.suite.as_deref().unwrap_or_default(), named.is_distributions_own),
                (platform, suite, own),
                "{fields}"
            );
        }
    }

    #[test]
    fn a_suite_is_found_under_its_own_name() {
        let security = "o=Debian, l=Debian-Security, s=oldstable-security, c=bookworm-security, v=12";
        for (fields, found_as, belongs) in [
            (security, "bookworm-security", true),
            (security, "oldstable-security", true),
            (security, "bookworm", false),
            (security, "trixie-security", false),
            (security, "mirror", true),
            ("o=Debian, l=Debian-Security, s=oldoldstable, c=buster", "buster/updates", true),
            ("o=Ubuntu, s=noble-updates, c=noble, v=24.04", "noble-updates", true),
            ("o=Ubuntu, s=noble-updates, c=noble, v=24.04", "noble", false),
            ("o=Ubuntu, s=noble-updates, c=noble, v=24.04", "noble-security", false),
            ("o=x, s=stable, c=stable", "bookworm", true),
        ] {
            assert_eq!(of_release(&release(fields), Some(found_as)).is_ok(), belongs, "{fields} {found_as}");
        }
    }

    #[test]
    fn the_user_is_held_against_a_distributions_own_repository_only() {
        for (fields, said, want) in [
            ("o=Debian, c=bookworm, v=12.15", "debian/12/amd64", None),
            (
                "o=Debian, c=bookworm, v=12.15",
                "debian/13/amd64",
                Some("it is for debian/12, and you said debian/13"),
            ),
            (
                "o=Debian, c=bookworm, v=12.15",
                "raspbian/12/armhf",
                Some("it is for debian/12, and you said raspbian/12"),
            ),
            ("o=Raspberry Pi Foundation, c=bookworm", "raspbian/12/armhf", None),
            ("o=Docker, c=bookworm", "debian/13/amd64", Some("it is for debian/12, and you said debian/13")),
            ("o=Kali, c=kali-rolling", "kali/rolling/amd64", None),
        ] {
            let named = of_release(&release(fields), None).unwrap();
            let error = contradiction(&named, &said.parse().unwrap()).map(|error| error.to_string());
            assert_eq!(error.as_deref(), want, "{fields} {said}");
        }
    }

    #[test]
    fn the_user_may_say_a_later_time_only() {
        let time = |text: &str| Some(text.parse::<Time>().unwrap());
        assert_eq!(taken_at(time("2026-07-11"), time("2026-11-24")).unwrap(), time("2026-11-24"));
        assert_eq!(taken_at(time("2026-07-11"), None).unwrap(), time("2026-07-11"));
        assert_eq!(taken_at(None, time("2026-07-11")).unwrap(), time("2026-07-11"));
        assert!(taken_at(time("2026-07-11"), time("2026-07-10")).is_err());
    }
}
