use super::*;
use crate::baseline::testing::{baseline, changelog, inventory, system, time};
use crate::baseline::{Baseline, Loaded};
use crate::intel::SupportEnds;
use crate::model::{Package, ReleaseEntry};
use crate::standard::Standard;

const P: &str = "debian/12/amd64";

fn history() -> Vec<ReleaseEntry> {
    changelog(
        "foo",
        "3 | bookworm-security | 2026-10-01 | CVE-2026-3\n2 | bookworm-security | 2026-08-01 | CVE-2026-2\n1 | bookworm | 2023-09-01",
    )
}

fn holding(packages: &[&str]) -> Inventory {
    inventory("2026-11-24", system(P, packages, &[]))
}

/// Production as of a day, running this version of foo.
fn production(day: &str, version: &str) -> Loaded {
    let entries = history().into_iter().skip_while(|entry| entry.version != version).collect();
    let running = system(P, &[&format!("foo {version}"), "bar 1", "baz 1"], &[entries]);
    Baseline::from_json(&baseline(day, &running).to_json().unwrap()).unwrap()
}

fn audited(inventory: &Inventory, loaded: &Loaded, day: &str) -> ImageReport {
    let support = SupportEnds::shipped().unwrap();
    ImageReport::of(inventory, &loaded.baseline, &Standard::default(), &support, time(day))
}

fn report(images: Vec<ImageReport>, loaded: &Loaded, day: &str) -> Report {
    Report::new("audit", time(day), Some(BaselineRef::of(loaded)), None, Vec::new(), images)
}

fn named(reference: &str, packages: &[&str]) -> Inventory {
    let mut image = holding(packages);
    image.image.reference = reference.into();
    image
}

fn told(judged: &Judged) -> Vec<String> {
    judged.patches.iter().map(|p| format!("{:?} {} {}", p.change, p.source, p.version)).collect()
}

#[test]
fn an_image_beside_itself_changes_nothing() {
    let a = holding(&["foo 1", "bar 1"]);
    let same = Comparison::of_inventories(&a, &a, None);
    assert!(same.complete && !same.undoes);
    assert_eq!(same.counts(), ChangeCounts { unchanged: 2, ..ChangeCounts::default() });
    let json = serde_json::to_string(&same).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&json).unwrap(), same);
}

#[test]
fn what_was_not_read_on_either_side_makes_it_incomplete() {
    let gap = |required| Gap { place: "layer 1".into(), reason: "cut off".into(), required };
    let (whole, mut broken) = (holding(&["foo 2"]), holding(&["foo 1"]));
    broken.gaps = vec![gap(true)];
    for (a, b, side) in
        [(&whole, &broken, Side::B), (&broken, &whole, Side::A), (&broken, &broken, Side::Both)]
    {
        let comparison = Comparison::of_inventories(a, b, None);
        assert!(!comparison.complete);
        assert_eq!(comparison.images[0].gaps, [SidedGap { side, gap: gap(true) }]);
    }
    // A downgrade that was seen is proven all the same.
    assert!(Comparison::of_inventories(&whole, &broken, None).undoes);
    broken.gaps = vec![gap(false)];
    assert!(Comparison::of_inventories(&whole, &broken, None).complete);
    let mut empty = whole.clone();
    empty.systems.clear();
    assert!(!Comparison::of_inventories(&whole, &empty, None).complete);
}

#[test]
fn systems_are_paired_by_platform_and_another_release_is_told() {
    let mut a = holding(&["foo 1"]);
    a.systems.push(system("debian/12/arm64", &["foo 2"], &[]));
    let mut b = a.clone();
    b.systems.reverse();
    let comparison = Comparison::of_inventories(&a, &b, None);
    assert!(comparison.complete && comparison.counts().unchanged == 2, "{comparison:?}");
    let other = inventory("2026-11-24", system("debian/13/amd64", &["foo 1"], &[]));
    let comparison = Comparison::of_inventories(&holding(&["foo 1"]), &other, None);
    assert!(!comparison.images[0].systems[0].same_release && comparison.complete);
    let comparison = Comparison::of_inventories(&a, &other, None);
    assert_eq!(comparison.images[0].unpaired.len(), 3);
    assert!(!comparison.complete);
}

#[test]
fn both_verdicts_stand_beside_each_other() {
    let loaded = production("2026-11-24", "3");
    let day = "2026-11-24";
    let (a, b) = (holding(&["foo 3", "bar 1"]), holding(&["foo 1", "bar 1", "baz 1"]));
    let judge = |a: &Inventory, b: &Inventory| {
        let standard = StandardRef { digest: None, standard: Standard::default() };
        let (of_a, of_b) = (audited(a, &loaded, day), audited(b, &loaded, day));
        Comparison::of_inventories(a, b, Some((&of_a, &of_b, BaselineRef::of(&loaded), standard)))
    };
    let comparison = judge(&a, &b);
    let judged = comparison.images[0].systems[0].judged.clone().unwrap();
    assert_eq!(told(&judged), ["Undone foo 2", "Undone foo 3"]);
    assert_eq!((judged.patch_counts.undone_cves, judged.age_days_more), (2, Some(115)));
    assert_eq!(judged.behind.iter().map(|b| (b.side, &*b.source)).collect::<Vec<_>>(), [(Side::B, "foo")]);
    let back = judge(&b, &a).images[0].systems[0].judged.clone().unwrap();
    assert_eq!(told(&back), ["Closed foo 2", "Closed foo 3"]);
    // A package that A does not have undoes nothing, but it lacks patches.
    let added = judge(&holding(&["bar 1"]), &b);
    assert_eq!(told(added.images[0].systems[0].judged.as_ref().unwrap()), ["Opened foo 2", "Opened foo 3"]);
    assert!(!added.undoes);
}

#[test]
fn reports_tell_what_production_changed_and_what_the_image_did() {
    let (then, now) = (production("2026-09-01", "2"), production("2026-11-24", "3"));
    let at = |packages: &[&str], loaded: &Loaded, day: &str| {
        report(vec![audited(&holding(packages), loaded, day)], loaded, day)
    };
    let compare = |a: &Report, b: &Report| {
        let comparison = Comparison::of_reports(a, b).unwrap();
        (told(comparison.images[0].systems[0].judged.as_ref().unwrap()), comparison.undoes)
    };
    let lacking = at(&["foo 1", "bar 1"], &then, "2026-09-01");
    let fresh = at(&["foo 2", "bar 1"], &then, "2026-09-01");
    let later = at(&["foo 2", "bar 1"], &now, "2026-11-24");
    let rebuilt = at(&["foo 3", "bar 1"], &now, "2026-11-24");
    let undone = at(&["foo 1", "bar 1"], &now, "2026-11-24");
    let opened = |v: &[&str]| v.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
    assert_eq!(compare(&lacking, &fresh), (opened(&["Closed foo 2"]), false));
    assert_eq!(compare(&fresh, &lacking), (opened(&["Undone foo 2"]), true));
    // Production went on: nothing is undone.
    assert_eq!(compare(&fresh, &later), (opened(&["Opened foo 3"]), false));
    assert_eq!(compare(&later, &rebuilt), (opened(&["Closed foo 3"]), false));
    assert_eq!(compare(&fresh, &undone), (opened(&["Undone foo 2", "Opened foo 3"]), true));
}

#[test]
fn images_of_reports_are_paired_by_reference_then_by_name() {
    let loaded = production("2026-11-24", "3");
    let day = "2026-11-24";
    let of = |references: &[&str]| {
        let images = references.iter().map(|r| audited(&named(r, &["foo 3"]), &loaded, day)).collect();
        report(images, &loaded, day)
    };
    let pairs = |a: &[&str], b: &[&str]| {
        let comparison = Comparison::of_reports(&of(a), &of(b)).unwrap();
        let both = comparison.images.iter();
        let both: Vec<String> = both.map(|i| format!("{} {}", i.a.reference, i.b.reference)).collect();
        (
            both.join(", "),
            comparison.only_in_a.join(", "),
            comparison.only_in_b.join(", "),
            comparison.complete,
        )
    };
    for (a, b, want) in [
        (&["x.tar"][..], &["y.tar"][..], ("x.tar y.tar", "", "", true)),
        (&["x.tar", "y.tar"], &["y.tar", "x.tar"], ("x.tar x.tar, y.tar y.tar", "", "", true)),
        (
            &["q3/web:1", "q3/db.tar", "q3/old"],
            &["q4/db.tar", "q4/web:2", "q4/new"],
            ("q3/web:1 q4/web:2, q3/db.tar q4/db.tar", "q3/old", "q4/new", false),
        ),
        // Which of two is meant is not guessed.
        (&["a/web", "b/db"], &["c/web", "d/web", "b/db"], ("b/db b/db", "a/web", "c/web, d/web", false)),
    ] {
        let got = pairs(a, b);
        assert_eq!((&*got.0, &*got.1, &*got.2, got.3), want);
    }
    let nothing = Comparison::of_reports(&of(&["a", "b"]), &of(&["c", "d"])).unwrap_err();
    assert!(nothing.to_string().contains("no image in common"), "{nothing}");
    for (reference, want) in [
        ("registry.example:5000/team/web:1.2@sha256:ab", "web"),
        ("dist/web.docker.tar.gz", "web"),
        ("all.tar#team/web:1", "web"),
        ("web/", "web"),
    ] {
        assert_eq!(pairing::bare_name(reference), want, "{reference}");
    }
}

#[test]
fn an_image_that_could_not_be_opened_or_is_unknown_to_the_baseline_is_incomplete() {
    let loaded = production("2026-11-24", "3");
    let day = "2026-11-24";
    let good = report(vec![audited(&holding(&["foo 3"]), &loaded, day)], &loaded, day);
    let failed = report(vec![ImageReport::failed("x", "not found".into())], &loaded, day);
    assert!(!Comparison::of_reports(&good, &failed).unwrap().complete);
    let other = inventory("2026-11-24", system("debian/11/amd64", &["foo 1"], &[]));
    let unknown = report(vec![audited(&other, &loaded, day)], &loaded, day);
    let comparison = Comparison::of_reports(&good, &unknown).unwrap();
    assert!(!comparison.complete && !comparison.undoes);
    // What A had is not known, so nothing of it is undone.
    let lacking = report(vec![audited(&holding(&["foo 1"]), &loaded, day)], &loaded, day);
    assert!(!Comparison::of_reports(&unknown, &lacking).unwrap().undoes);
}

#[test]
fn the_same_package_on_both_sides_is_never_a_change() {
    let base: Vec<Package> = holding(&["foo 1", "linux-image-6.1.0-50-amd64 6.1.190-1 linux", "bar 2"])
        .systems[0]
        .packages
        .clone();
    for i in 0..base.len() {
        let mut a = holding(&[]);
        a.systems[0].packages =
            base.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, p)| p.clone()).collect();
        let b = a.clone();
        assert_eq!(
            Comparison::of_inventories(&a, &b, None).images[0].systems[0].change.as_ref().unwrap().sources,
            []
        );
    }
}
