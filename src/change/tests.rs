use super::*;
use crate::baseline::testing::{boots, changelog, system};

const P: &str = "debian/12/amd64";

/// Each change as `step source a b: packages [ids]`.
fn told(change: &SystemChange) -> Vec<String> {
    let line = |s: &SourceChange| {
        let packages: Vec<&str> = s.packages.iter().map(|p| p.name.as_str()).collect();
        let or_dash = |v: &Option<String>| v.clone().unwrap_or_else(|| "-".into());
        let ids = s.cves.as_ref().map_or_else(|| "?".into(), |ids| ids.join(" "));
        let more = if s.cves_lower_bound { "+" } else { "" };
        let (a, b) = (or_dash(&s.a_version), or_dash(&s.b_version));
        format!("{:?} {} {a} {b}: {} [{ids}{more}]", s.change, s.source, packages.join(" "))
    };
    change.sources.iter().map(line).collect()
}

#[test]
fn packages_are_told_once_per_source() {
    let a = system(
        P,
        &[
            "libssl3 3.0.20 openssl",
            "openssl 3.0.20",
            "gone 1",
            "bash 5.2-1",
            "curl 8 curl 8",
            "zlib1g 1 zlib",
        ],
        &[],
    );
    let b = system(
        P,
        &[
            "libssl3 3.0.15 openssl",
            "openssl 3.0.15",
            "new 1",
            "bash 5.2-1",
            "curl 8+b1 curl 8",
            "zlib1g 2 zlib",
        ],
        &[],
    );
    let change = between(&a, &b);
    assert_eq!(
        told(&change),
        [
            "Downgraded openssl 3.0.20 3.0.15: libssl3 openssl [?]",
            "Upgraded zlib 1 2: zlib1g [?]",
            "Rebuilt curl 8 8: curl [?]",
            "Added new - 1: new [?]",
            "Removed gone 1 -: gone [?]",
        ]
    );
    let c = change.counts;
    assert_eq!((c.unchanged, c.downgraded, c.upgraded, c.rebuilt), (1, 1, 1, 1));
    assert_eq!((c.packages_added, c.packages_removed), (1, 1));
    assert!(change.undoes() && !between(&a, &a).undoes());
    assert_eq!(between(&a, &a).sources, []);
}

#[test]
fn the_other_way_round_is_the_mirror() {
    let a = system(P, &["foo 1", "bar 2", "only-a 1", "linux-image-6.1.0-50-amd64 6.1.190-1 linux"], &[]);
    let b = system(P, &["foo 2", "bar 1", "only-b 1", "linux-image-6.12.9+bpo-amd64 6.12.9-1 linux"], &[]);
    let (there, back) = (between(&a, &b).counts, between(&b, &a).counts);
    assert_eq!((there.downgraded, there.upgraded), (1, 2));
    assert_eq!((there.downgraded, there.upgraded), (back.upgraded, back.downgraded));
    assert_eq!((there.packages_added, there.packages_removed), (back.packages_removed, back.packages_added));
}

#[test]
fn kernels_are_paired_by_slot() {
    let old = "linux-image-6.1.0-50-amd64 6.1.190-1 linux";
    let new = "linux-image-6.1.0-56-amd64 6.1.195-1 linux";
    let next = "linux-image-6.12.9+bpo-amd64 6.12.9-1 linux";
    for (a, b, want) in [
        (&[old][..], &[new][..], &["Upgraded linux 6.1.190-1 6.1.195-1: linux-image-6.1.0-56-amd64 [?]"][..]),
        // An older one beside it stays, or goes.
        (&[old], &[old, new], &["Upgraded linux 6.1.190-1 6.1.195-1: linux-image-6.1.0-56-amd64 [?]"]),
        (&[old, new], &[old], &["Downgraded linux 6.1.195-1 6.1.190-1: linux-image-6.1.0-50-amd64 [?]"]),
        (&[old, new], &[new], &["Removed linux 6.1.190-1 -: linux-image-6.1.0-50-amd64 [?]"]),
        // Another upstream series takes its place.
        (&[next], &[old], &["Downgraded linux 6.12.9-1 6.1.190-1: linux-image-6.1.0-50-amd64 [?]"]),
        (&[old], &[old, next], &["Added linux - 6.12.9-1: linux-image-6.12.9+bpo-amd64 [?]"]),
    ] {
        assert_eq!(told(&between(&system(P, a, &[]), &system(P, b, &[]))), want, "{a:?} {b:?}");
    }
    let both = system(P, &[old, new, next, "bash 1"], &[]);
    assert_eq!(
        kernels(&both),
        ["linux-image-6.1.0-56-amd64 6.1.195-1", "linux-image-6.12.9+bpo-amd64 6.12.9-1"]
    );
}

#[test]
fn of_several_kernels_those_that_boot_are_compared() {
    let old = "linux-image-6.1.0-50-amd64 6.1.190-1 linux";
    let new = "linux-image-6.1.0-56-amd64 6.1.195-1 linux";
    let next = "linux-image-6.12.9+bpo-amd64 6.12.9-1 linux";
    let headers = "linux-headers-6.1.0-56-amd64 6.1.195-1 linux";
    let (o, n, x) = ("6.1.0-50-amd64", "6.1.0-56-amd64", "6.12.9+bpo-amd64");
    let down = "Downgraded linux 6.1.195-1 6.1.190-1: linux-image-6.1.0-50-amd64 [?]";
    let up = "Upgraded linux 6.1.190-1 6.1.195-1: linux-image-6.1.0-56-amd64 [?]";
    for (a, a_boots, b, b_boots, want) in [
        (&[old, new][..], Some(n), &[old, new][..], Some(o), &[down][..]),
        (&[old, new], Some(o), &[old, new], Some(n), &[up]),
        (&[old, new], Some(o), &[old, new], Some(o), &[]),
        (&[new], Some(n), &[old, new], Some(o), &[down]),
        // A newer one beside it, that would not boot.
        (&[old], Some(o), &[old, new], Some(o), &["Added linux - 6.1.195-1: linux-image-6.1.0-56-amd64 [?]"]),
        // Headers do not run.
        (
            &[headers],
            Some(o),
            &["linux-headers-6.1.0-50-amd64 6.1.190-1 linux", headers],
            Some(o),
            &["Added linux - 6.1.190-1: linux-headers-6.1.0-50-amd64 [?]"],
        ),
        // What is not known is as it was: the newest counts.
        (&[old, new], None, &[old, new], Some(o), &[down]),
        (&[old, new], Some("6.6.6"), &[old, new], None, &[]),
        // Of two upstream series that which boots is replaced.
        (
            &[old, next],
            Some(o),
            &["linux-image-6.6.1-1-amd64 6.6.1-1 linux"],
            None,
            &[
                "Upgraded linux 6.1.190-1 6.6.1-1: linux-image-6.6.1-1-amd64 [?]",
                "Removed linux 6.12.9-1 -: linux-image-6.12.9+bpo-amd64 [?]",
            ],
        ),
        (
            &[old, next],
            Some(x),
            &["linux-image-6.6.1-1-amd64 6.6.1-1 linux"],
            None,
            &[
                "Downgraded linux 6.12.9-1 6.6.1-1: linux-image-6.6.1-1-amd64 [?]",
                "Removed linux 6.1.190-1 -: linux-image-6.1.0-50-amd64 [?]",
            ],
        ),
    ] {
        let booting = |packages: &[&str], release: Option<&str>| System {
            boot: release.and_then(boots),
            ..system(P, packages, &[])
        };
        let (a, b) = (booting(a, a_boots), booting(b, b_boots));
        assert_eq!(told(&between(&a, &b)), want, "{a_boots:?} {b_boots:?} {:?}", kernels(&a));
    }
    let both = System { boot: boots(o), ..system(P, &[old, new, next], &[]) };
    assert_eq!(
        kernels(&both),
        ["linux-image-6.1.0-50-amd64 6.1.190-1", "linux-image-6.12.9+bpo-amd64 6.12.9-1"]
    );
}

#[test]
fn a_package_that_moves_between_all_and_its_architecture_stays_one() {
    let a = system(P, &["foo 1"], &[]);
    let mut b = system(P, &["foo 2"], &[]);
    b.packages[0].arch = "all".into();
    assert_eq!(told(&between(&a, &b)), ["Upgraded foo 1 2: foo [?]"]);
    // On another architecture it is the same package, and its builds are not compared.
    let mut c = system("debian/12/arm64", &["foo 1+b1 foo 1"], &[]);
    c.packages[0].arch = "arm64".into();
    assert_eq!(between(&a, &c).counts.unchanged, 1);
    // A foreign one beside it is a package of its own.
    let mut d = system(P, &["foo 1", "foo 1"], &[]);
    d.packages[1].arch = "i386".into();
    assert_eq!(told(&between(&a, &d)), ["Added foo - 1: foo [?]"]);
}

#[test]
fn a_rebuild_with_older_sources_inside_undoes_something() {
    let with = |version: &str, inside: &str| {
        let mut s = system(P, &[&format!("foo {version} foo 1")], &[]);
        s.packages[0].built_using = vec![SourcePackage { name: "golang".into(), version: inside.into() }];
        s
    };
    for (inside, want) in
        [("1.19-1", Step::Downgraded), ("1.19-3", Step::Upgraded), ("1.19-2", Step::Rebuilt)]
    {
        let change = between(&with("1+b2", "1.19-2"), &with("1+b3", inside));
        assert_eq!(change.sources.iter().map(|s| s.change).collect::<Vec<_>>(), [want], "{inside}");
    }
}

#[test]
fn ids_are_those_that_only_the_newer_changelog_names() {
    let whole = "3 | bookworm-security | 2026-08-01 | CVE-2026-3 CVE-2026-9\n2 | bookworm-security | 2026-02-01 | CVE-2026-2\n1 | bookworm | 2023-01-01 | CVE-2023-1";
    let a = system(P, &["foo 3", "bar 2"], &[changelog("foo", whole), changelog("bar", "2 | bookworm | |")]);
    let old = changelog("foo", "1 | bookworm | 2023-01-01 | CVE-2023-1 CVE-2026-9");
    let b = system(P, &["foo 1", "bar 1"], &[old]);
    let down = between(&a, &b);
    assert_eq!(
        told(&down),
        ["Downgraded bar 2 1: bar [?]", "Downgraded foo 3 1: foo [CVE-2026-2 CVE-2026-3]"]
    );
    assert_eq!((down.counts.downgraded_with_cves, down.counts.cves_only_in_a), (1, 2));
    let up = between(&b, &a);
    assert_eq!((up.counts.upgraded_with_cves, up.counts.cves_only_in_b, up.counts.cves_only_in_a), (1, 2, 0));
    // A changelog that was cut says that there may be more.
    let cut = system(P, &["foo 3"], &[changelog("foo", "3 | bookworm-security | 2026-08-01 | CVE-2026-3")]);
    assert_eq!(told(&between(&cut, &b))[0], "Downgraded foo 3 1: foo [CVE-2026-3+]");
}
