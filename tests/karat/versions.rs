//! Version orders against what the native tools say.

use std::cmp::Ordering;
use std::process::{Command, Stdio};

use karat::model::version::{alpm, apk, deb};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::mutate::fixture;
use crate::tools::tool;

#[test]
fn deb_versions_are_ordered_as_dpkg_orders_them() {
    let count = ordered("versions/dpkg.tsv", deb::compare);
    assert!(count > 300, "{count}");
}

#[test]
fn apk_versions_are_ordered_as_apk_orders_them() {
    let count = ordered("versions/apk.tsv", |a, b| {
        assert!(apk::check(a).is_ok() && apk::check(b).is_ok(), "{a} {b}");
        apk::compare(a, b)
    });
    assert!(count > 300, "{count}");
}

#[test]
fn arch_versions_are_ordered_as_pacman_orders_them() {
    let count = ordered("versions/pacman.tsv", alpm::compare);
    assert!(count > 300, "{count}");
}

/// Holds an order against a table of pairs.
fn ordered(name: &str, compare: impl Fn(&str, &str) -> Ordering) -> usize {
    let table = String::from_utf8(fixture(name)).unwrap();
    let mut count = 0;
    for line in table.lines().skip(1) {
        let [a, relation, b] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let want = match relation {
            "<" => Ordering::Less,
            "=" => Ordering::Equal,
            ">" => Ordering::Greater,
            _ => panic!("{line}"),
        };
        assert_eq!(compare(a, b), want, "{line}");
        assert_eq!(compare(b, a), want.reverse(), "{line}");
        count += 1;
    }
    count
}

/// Text that dpkg takes as a version, and text that is near it.
fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "([0-9]{1,2}:)?[0-9][0-9a-cA-B.+~]{0,6}(-[0-9a-b.+~]{1,4})?",
        1 => "[0-9x:]{0,3}[0-9a._é~+-]{0,5}",
    ]
    .prop_filter("an option for dpkg", |text| !text.starts_with('-'))
}

#[test]
fn dpkg_agrees_on_versions_that_nobody_chose() {
    let Some(dpkg) = tool("dpkg") else { return };
    let code = |args: &[&str]| {
        let mut command = Command::new(&dpkg);
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code().unwrap()
    };
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let agrees = TestRunner::new(config).run(&(version(), version()), |(a, b)| {
        for version in [&a, &b] {
            let readable = code(&["--validate-version", version]) != 2;
            prop_assert_eq!(deb::check_readable(version).is_ok(), readable, "{}", version);
        }
        let is = |relation| code(&["--compare-versions", &a, relation, &b]);
        let want = match (is("lt"), is("gt")) {
            (0, 1) => Ordering::Less,
            (1, 0) => Ordering::Greater,
            (1, 1) => Ordering::Equal,
            _ => return Ok(()),
        };
        prop_assert_eq!(deb::compare(&a, &b), want, "{} against {}", a, b);
        Ok(())
    });
    agrees.unwrap();
}

#[test]
fn the_order_of_arch_is_total_on_versions_of_packages() {
    let version = || "([0-9]:)?[0-9ab]([.+_~]{0,2}[0-9a-c]{1,2}){0,3}-[0-9](\\.[0-9])?";
    let config = Config { cases: 5000, failure_persistence: None, ..Config::default() };
    let is_total = TestRunner::new(config).run(&(version(), version(), version()), |(a, b, c)| {
        for version in [&a, &b, &c] {
            prop_assert!(alpm::check(version).is_ok(), "{}", version);
        }
        prop_assert_eq!(alpm::compare(&a, &b), alpm::compare(&b, &a).reverse());
        if alpm::compare(&a, &b).is_le() && alpm::compare(&b, &c).is_le() {
            prop_assert!(alpm::compare(&a, &c).is_le(), "{} {} {}", a, b, c);
        }
        Ok(())
    });
    is_total.unwrap();
}
