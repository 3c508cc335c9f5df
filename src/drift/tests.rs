//! Facts of real systems, cut down, and the laws of comparing.

use super::*;
use crate::baseline::Baseline;
use crate::baseline::testing::{baseline, built, changelog, host, package, system, time};
use crate::model::ReleaseEntry;

const AS_OF: &str = "2026-11-24";

fn audit_options() -> Options {
    Options { as_of: time(AS_OF), adoption_share: 0.5, min_hosts: 3 }
}

fn compare(image: &System, baseline: &Baseline) -> Drift {
    between(image, baseline, &audit_options())
}

/// One line a package: change, name, versions, since when, missed with ids.
fn lines(drift: &Drift) -> Vec<String> {
    let line = |p: &PackageDrift| {
        let missed: Vec<String> = p
            .missed
            .iter()
            .map(|patch| {
                let at = patch.published.map_or("?".to_owned(), |at| at.date().to_string());
                format!("{} {at} [{}]", patch.version, patch.cves.join(" "))
            })
            .collect();
        let bound = if p.lower_bound { "≥ " } else { "" };
        let days = p.days_behind.map_or("-".to_owned(), |days| days.to_string());
        format!(
            "{} {} {} -> {} {bound}{days} | {}",
            serde_json::to_value(p.change).unwrap().as_str().unwrap(),
            p.name,
            p.image_version,
            p.baseline_version.as_deref().unwrap_or("-"),
            missed.join(", ")
        )
    };
    drift.drift.iter().map(line).collect()
}

/// Compares one package with three hosts that run another version of it.
fn one(platform: &str, image: &str, production: &str, entries: &[ReleaseEntry]) -> Drift {
    let production = system(platform, &[production], &[entries.to_vec()]);
    compare(&system(platform, &[image], &[]), &baseline(AS_OF, &production))
}

#[test]
fn foreign_entries_give_their_ids_to_the_next_release() {
    let rsync = changelog(
        "rsync",
        "3.5.0+ds1-0+deb12u1 | bookworm-security | 2026-11-04 | CVE-2026-5
         3.4.1+ds1-5+deb13u3 | trixie-security   | 2026-05-18 | CVE-2026-4 CVE-2026-3
         3.4.1+ds1-1         | unstable          | 2025-03-05 | CVE-2024-1
         3.2.7-1+deb12u6     | bookworm          | 2026-05-24 | CVE-2026-3
         3.2.7-1+deb12u2     | bookworm-security | 2025-01-15 | CVE-2024-1
         3.2.7-1             | unstable          | 2022-10-01",
    );
    let drift = one("debian/12/amd64", "rsync 3.2.7-1+deb12u6", "rsync 3.5.0+ds1-0+deb12u1", &rsync);
    assert_eq!(
        lines(&drift),
        ["behind rsync 3.2.7-1+deb12u6 -> 3.5.0+ds1-0+deb12u1 20 | \
          3.5.0+ds1-0+deb12u1 2026-11-04 [CVE-2026-4 CVE-2026-5]"]
    );
    assert_eq!(
        (drift.patched_through, drift.age_days, drift.lower_bound),
        (Some(time("2026-11-04")), Some(20), false)
    );
}

#[test]
fn a_kernel_of_another_name_is_the_same_package() {
    let kernels = [
        changelog("linux-signed-amd64", "6.1.192+2 | bookworm-security | 2026-11-16"),
        changelog(
            "linux",
            "6.1.192-1 | bookworm-security | 2026-11-14 | CVE-2026-9
             6.1.180-1 | bookworm-security | 2026-08-03 | CVE-2026-8
             6.1.176-1 | bookworm-security | 2026-07-02 | CVE-2026-7",
        ),
    ]
    .concat();
    let production = "linux-image-6.1.0-56-amd64 6.1.192-2 linux-signed-amd64 6.1.192+2";
    let image = "linux-image-6.1.0-50-amd64 6.1.176-1 linux-signed-amd64 6.1.176+1";
    let drift = one("debian/12/amd64", image, production, &kernels);
    assert_eq!(
        lines(&drift),
        ["behind linux-image-6.1.0-50-amd64 6.1.176-1 -> 6.1.192-2 113 | 6.1.192-2 2026-11-16 [], \
          6.1.192-1 2026-11-14 [CVE-2026-9], 6.1.180-1 2026-08-03 [CVE-2026-8]"]
    );
    assert_eq!(drift.drift[0].slot.as_deref(), Some("linux-image/6.1/amd64"));
    assert_eq!(drift.drift[0].baseline_name.as_deref(), Some("linux-image-6.1.0-56-amd64"));
}

#[test]
fn of_several_kernels_that_which_boots_is_compared() {
    let kernels = changelog(
        "linux",
        "6.1.192-1 | bookworm-security | 2026-11-14 | CVE-2026-9
         6.1.180-1 | bookworm-security | 2026-08-03 | CVE-2026-8
         6.1.176-1 | bookworm-security | 2026-07-02 | CVE-2026-7",
    );
    let production = "linux-image-6.1.0-56-amd64 6.1.192-1 linux";
    let production = system("debian/12/amd64", &[production], &[kernels]);
    let baseline = baseline(AS_OF, &production);
    let mut image = system(
        "debian/12/amd64",
        &[
            "linux-image-6.1.0-50-amd64 6.1.176-1 linux",
            "linux-image-6.1.0-53-amd64 6.1.180-1 linux",
            "linux-headers-6.1.0-50-amd64 6.1.176-1 linux",
            "linux-headers-6.1.0-56-amd64 6.1.192-1 linux",
        ],
        &[],
    );
    let boot = |version: Option<&str>, unknown: Option<&str>| crate::model::Boot {
        loader: crate::model::BootLoader::Grub,
        config: "boot/grub/grub.cfg".into(),
        title: None,
        kernel: None,
        version: version.map(str::to_owned),
        unknown: unknown.map(str::to_owned),
    };
    let newest =
        "behind linux-image-6.1.0-53-amd64 6.1.180-1 -> 6.1.192-1 10 | 6.1.192-1 2026-11-14 [CVE-2026-9]";
    let older = "behind linux-image-6.1.0-50-amd64 6.1.176-1 -> 6.1.192-1 113 | \
                 6.1.192-1 2026-11-14 [CVE-2026-9], 6.1.180-1 2026-08-03 [CVE-2026-8]";
    // Headers do not run: the newest are at the baseline, whatever boots.
    for (boots, want, latent, doubts) in [
        (None, newest, &[][..], 0),
        (Some(boot(Some("6.1.0-53-amd64"), None)), newest, &[], 0),
        (Some(boot(Some("6.1.0-50-amd64"), None)), older, &["6.1.180-1"], 0),
        // A kernel of another slot, or of no package.
        (Some(boot(Some("6.6.6"), None)), newest, &[], 0),
        (Some(boot(None, Some("it has no menu"))), newest, &[], 1),
        (Some(boot(None, None)), newest, &[], 1),
    ] {
        image.boot = boots;
        let drift = compare(&image, &baseline);
        assert_eq!(lines(&drift), [want], "{:?}", image.boot);
        let marked = drift.drift.iter().flat_map(|p| &p.missed).filter(|patch| patch.latent);
        assert_eq!(marked.map(|patch| patch.version.as_str()).collect::<Vec<_>>(), latent);
        assert_eq!(drift.boot_unknown.len(), doubts);
    }
}

#[test]
fn a_trimmed_history_gives_a_lower_bound() {
    let trimmed = changelog(
        "curl",
        "7.68.0-1ubuntu2.25 | focal-security | 2026-11-01
         7.68.0-1ubuntu2.24 | focal-security | 2026-10-01",
    );
    let image = system("ubuntu/20.04/amd64", &["curl 7.68.0-1ubuntu2.10"], &[]);
    let baseline = baseline(AS_OF, &system("ubuntu/20.04/amd64", &["curl 7.68.0-1ubuntu2.25"], &[trimmed]));
    let drift = compare(&image, &baseline);
    assert_eq!(
        lines(&drift),
        ["behind curl 7.68.0-1ubuntu2.10 -> 7.68.0-1ubuntu2.25 ≥ 54 | \
          7.68.0-1ubuntu2.25 2026-11-01 [], 7.68.0-1ubuntu2.24 2026-10-01 []"]
    );
    assert_eq!((drift.age_days, drift.lower_bound, drift.age_days_at_most), (Some(54), true, None));

    // The image's own changelog dates its version: nothing newer was out before.
    let own = changelog("curl", "7.68.0-1ubuntu2.10 | focal-security | 2026-05-01");
    let image = system("ubuntu/20.04/amd64", &["curl 7.68.0-1ubuntu2.10"], &[own]);
    assert_eq!(compare(&image, &baseline).age_days_at_most, Some(207));
}

#[test]
fn a_stripped_host_gives_no_date_but_a_bound() {
    let drift = one("debian/12/amd64", "foo 1", "foo 2", &[]);
    assert_eq!(lines(&drift), ["behind foo 1 -> 2 ≥ 0 | 2 ? []"]);
    let patch = &drift.drift[0].missed[0];
    assert_eq!(
        (patch.evidence, patch.not_before, patch.not_after),
        (Evidence::FirstSight, None, Some(time(AS_OF)))
    );
    assert_eq!((drift.age_days, drift.lower_bound, drift.age_days_at_most), (Some(0), true, None));
    assert_eq!((drift.counts.missed_patches, drift.counts.undated), (1, 1));
}

#[test]
fn rebuilds_are_patches_only_with_newer_sources_inside() {
    let entries = || {
        let mut rebuild = changelog("busybox", "1.35-4+b5 | bookworm | 2026-05-07");
        rebuild[0].rebuild = true;
        [changelog("busybox", "1.35-4 | unstable | 2022-10-01"), rebuild].concat()
    };
    let with = |version: &str, glibc: &str| {
        let mut system =
            system("debian/12/amd64", &[&format!("busybox {version} busybox 1.35-4")], &[entries()]);
        system.packages[0].built_using = vec![package(&format!("glibc {glibc}")).source];
        system
    };
    for (image, production, want) in [
        (
            with("1.35-4+b4", "2.36-8"),
            with("1.35-4+b5", "2.36-9"),
            "behind busybox 1.35-4+b4 -> 1.35-4+b5 200 | 1.35-4+b5 2026-05-08 []",
        ),
        (
            with("1.35-4+b4", "2.36-9"),
            with("1.35-4+b5", "2.36-9"),
            "rebuilt busybox 1.35-4+b4 -> 1.35-4+b5 - | ",
        ),
        (
            with("1.35-4+b5", "2.36-9"),
            with("1.35-4+b4", "2.36-8"),
            "rebuilt busybox 1.35-4+b5 -> 1.35-4+b4 - | ",
        ),
    ] {
        let mut production = production;
        production.packages.push(package("base-files 12.4+deb12u14"));
        production.releases.extend(changelog("base-files", "12.4+deb12u14 | bookworm | 2026-05-08"));
        assert_eq!(lines(&compare(&image, &baseline(AS_OF, &production))), [want]);
    }
}

#[test]
fn what_production_has_not_adopted_is_arriving() {
    let entries = changelog(
        "foo",
        "3 | bookworm-security | 2026-11-20 | CVE-2026-3
         2 | bookworm-security | 2026-10-20
         1 | bookworm-security | 2026-09-20",
    );
    let on = |version: &str| {
        system("debian/12/amd64", &[&format!("foo {version}")], std::slice::from_ref(&entries))
    };
    let hosts = [("a", "3"), ("b", "2"), ("c", "2")].map(|(id, version)| host(id, AS_OF, on(version)));
    let baseline = built(&hosts, AS_OF);
    for (image, want) in [
        ("1", "behind foo 1 -> 2 35 | 2 2026-10-20 []"),
        ("2", "arriving foo 2 -> 2 - | "),
        ("3", "ahead foo 3 -> 2 - | "),
    ] {
        assert_eq!(lines(&compare(&on(image), &baseline)), [want]);
    }
    assert_eq!(compare(&on("1"), &baseline).drift[0].arriving[0].version, "3");
    assert_eq!(compare(&on("2"), &baseline).patched_through, Some(time(AS_OF)));
}

#[test]
fn where_no_host_carries_it_the_channel_decides() {
    let entries = changelog("foo", "2 | bookworm-security | 2026-10-20\n1 | bookworm-security | 2026-09-20");
    let production = system("debian/12/amd64", &["libfoo 2 foo 2"], &[entries]);
    let image = system("debian/12/amd64", &["foo-tools 1 foo 1", "ours 1"], &[]);
    let drift = compare(&image, &baseline(AS_OF, &production));
    assert_eq!(
        lines(&drift),
        ["behind foo-tools 1 -> 2 35 | 2 2026-10-20 []", "only_in_image ours 1 -> - - | "]
    );
    assert_eq!(drift.drift[0].basis, Some(Basis::Channel));
    assert_eq!((drift.counts.compared, drift.counts.only_in_image), (1, 1));
}

#[test]
fn another_architecture_serves_and_another_release_does_not() {
    let entries = changelog("foo", "2 | bookworm-security | 2026-10-20\n1 | bookworm-security | 2026-09-20");
    let production = system("debian/12/amd64", &["foo 2"], &[entries]);
    let baseline = baseline(AS_OF, &production);
    let mut image = system("debian/12/arm64", &["foo 1"], &[]);
    image.packages[0].arch = "arm64".into();
    let drift = compare(&image, &baseline);
    assert_eq!(lines(&drift), ["behind foo 1 -> 2 35 | 2 2026-10-20 []"]);
    assert!(drift.against.unwrap().other_arch);

    image.platform = Some("debian/13/arm64".parse().unwrap());
    let drift = compare(&image, &baseline);
    assert_eq!((drift.against, drift.patched_through, drift.packages), (None, None, 1));
}

#[test]
fn an_explanation_shows_every_version() {
    let entries = changelog(
        "foo",
        "3 | bookworm-security | 2026-10-20 | CVE-2026-2
         2 | unstable | 2026-10-01 | CVE-2026-1
         1 | bookworm-security | 2026-09-20 | CVE-2026-2
         0 | bookworm-security | 2026-08-20",
    );
    let production = system("debian/12/amd64", &["foo 3"], &[entries]);
    let image = system("debian/12/amd64", &["foo 1"], &[]);
    let explanation = explain(&image, &baseline(AS_OF, &production), &audit_options(), "foo");
    let foo = &explanation.packages[0];
    let versions: Vec<_> = foo.versions.iter().map(|v| (v.version.as_str(), v.standing)).collect();
    assert_eq!(
        versions,
        [
            ("3", Standing::Missed),
            ("2", Standing::NotReleased),
            ("1", Standing::Image),
            ("0", Standing::Older)
        ]
    );
    assert_eq!(
        (foo.named_already.as_slice(), foo.reaches.as_deref()),
        (&["CVE-2026-2".to_owned()][..], Some("0"))
    );
    let adoption = foo.adoption.as_ref().unwrap();
    assert_eq!((adoption.carrying, adoption.running, adoption.version.as_str()), (3, 3, "3"));
}

#[test]
fn channels_are_not_mixed() {
    let debians = changelog("foo", "2 | bookworm-security | 2026-10-20\n1 | bookworm-security | 2026-09-20");
    let vendors = changelog("foo", "9~bookworm | stable | 2026-10-20\n8~bookworm | stable | 2026-09-20");
    for (image, production, entries, want) in [
        ("foo 1", "foo 2", &debians, "behind foo 1 -> 2 35 | 2 2026-10-20 []"),
        ("foo 1~bookworm", "foo 2", &debians, "only_in_image foo 1~bookworm -> - - | "),
        ("foo 1~bpo12+1", "foo 2", &debians, "only_in_image foo 1~bpo12+1 -> - - | "),
        ("foo 1", "foo 2~bpo12+1", &debians, "only_in_image foo 1 -> - - | "),
        ("foo 1", "foo 9~bookworm", &vendors, "only_in_image foo 1 -> - - | "),
        (
            "foo 8~bookworm",
            "foo 9~bookworm",
            &vendors,
            "behind foo 8~bookworm -> 9~bookworm 35 | 9~bookworm 2026-10-20 []",
        ),
        ("foo-tools 1~bpo12+1 foo", "foo 2", &debians, "only_in_image foo-tools 1~bpo12+1 -> - - | "),
    ] {
        assert_eq!(
            lines(&one("debian/12/amd64", image, production, entries)),
            [want],
            "{image} {production}"
        );
    }
    // Told by its suites alone: nothing in the image's package says so.
    let own = changelog("foo", "2 | ours | 2026-10-20\n1 | ours | 2026-09-20");
    assert_eq!(
        lines(&one("debian/12/amd64", "foo 1", "foo 2", &own)),
        ["behind foo 1 -> 2 35 | 2 2026-10-20 []"]
    );
}

mod laws {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        /// A system of up to five packages at small versions, with histories that may be trimmed.
        fn any_system()(packages in prop::collection::btree_map(0_u8..5, (1_u8..9, 1_u8..9, any::<[bool; 9]>()), 1..5)) -> System {
            let mut names = Vec::new();
            let mut releases = Vec::new();
            for (name, (version, depth, own)) in packages {
                names.push(format!("p{name} {version}"));
                let entries: Vec<String> = (version.saturating_sub(depth)..=version)
                    .map(|v| {
                        let suite = if own[usize::from(v)] { "bookworm-security" } else { "unstable" };
                        format!("{v} | {suite} | 2026-0{}-11 | CVE-2026-{v}", v.max(1))
                    })
                    .collect();
                releases.push(changelog(&format!("p{name}"), &entries.join("\n")));
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            system("debian/12/amd64", &names, &releases)
        }
    }

    proptest! {
        #[test]
        fn nothing_drifts_from_itself(system in any_system()) {
            let drift = compare(&system, &baseline(AS_OF, &system));
            prop_assert!(drift.drift.is_empty());
            prop_assert_eq!(drift.counts.at_baseline, system.packages.len());
            prop_assert_eq!(drift.patched_through, Some(time(AS_OF)));
        }

        #[test]
        fn documents_come_back_whole(image in any_system(), production in any_system()) {
            let baseline = baseline(AS_OF, &production);
            let json = baseline.to_json().unwrap();
            prop_assert_eq!(&Baseline::from_json(&json).unwrap().baseline, &baseline);
            let drift = compare(&image, &baseline);
            let back: Drift = serde_json::from_str(&serde_json::to_string(&drift).unwrap()).unwrap();
            prop_assert_eq!(back, drift);
        }

        #[test]
        fn dates_agree_with_versions_and_bounds(production in any_system()) {
            for history in &baseline(AS_OF, &production).platforms[0].sources {
                for pair in history.releases.windows(2) {
                    prop_assert!(pair[1].published <= pair[0].published || pair[0].published.is_none());
                }
                for release in &history.releases {
                    prop_assert!(release.published.is_none_or(|at| Some(at) <= release.not_after));
                    prop_assert!(release.not_before <= release.published.or(release.not_after));
                }
            }
        }

        #[test]
        fn an_age_is_never_above_its_highest(image in any_system(), production in any_system()) {
            let drift = compare(&image, &baseline(AS_OF, &production));
            prop_assert!(drift.age_days_at_most.is_none_or(|most| Some(most) >= drift.age_days));
            prop_assert_eq!(drift.counts.compared + drift.counts.only_in_image, image.packages.len());
        }
    }
}
