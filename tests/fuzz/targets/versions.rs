//! Version orders: total on any three texts, pacman's on any three versions of packages.
//!
//! Input: three texts with line feeds between them.
#![no_main]

use std::cmp::Ordering;

use karat::model::version::{alpm, apk, deb, rpm};
use libfuzzer_sys::fuzz_target;

type Order = fn(&str, &str) -> Ordering;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let mut texts = text.splitn(3, '\n');
    let [Some(a), Some(b), Some(c)] = [texts.next(), texts.next(), texts.next()] else { return };
    let is_alpm = [a, b, c].into_iter().all(|version| alpm::check(version).is_ok());
    let mut orders = vec![
        ("deb", deb::compare as Order),
        ("apk", apk::compare as Order),
        ("rpm", rpm::compare as Order),
    ];
    orders.extend(is_alpm.then_some(("alpm", alpm::compare as Order)));
    for x in [a, b, c] {
        assert_eq!(alpm::compare(x, x), Ordering::Equal, "{x:?}");
        assert_eq!(alpm::compare(x, a), alpm::compare(a, x).reverse(), "{x:?} {a:?}");
    }
    for (name, compare) in orders {
        for x in [a, b, c] {
            assert_eq!(compare(x, x), Ordering::Equal, "{name}: {x:?}");
            for y in [a, b, c] {
                assert_eq!(compare(x, y), compare(y, x).reverse(), "{name}: {x:?} {y:?}");
            }
        }
        for [x, y, z] in [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
            if compare(x, y).is_le() && compare(y, z).is_le() {
                assert!(compare(x, z).is_le(), "{name}: {x:?} <= {y:?} <= {z:?}");
                let is_one = compare(x, y).is_eq() && compare(y, z).is_eq();
                assert_eq!(compare(x, z).is_eq(), is_one, "{name}: {x:?} <= {y:?} <= {z:?}");
            }
        }
    }
    for x in [a, b, c] {
        // Without its epoch a version has none, and what is behind it sorts above it.
        assert!(x.ends_with(rpm::without_epoch(x)), "{x:?}");
        if !x.contains([':', '-']) {
            assert_eq!(rpm::compare(&format!("{x}~"), x), Ordering::Less, "{x:?}");
            assert_eq!(rpm::compare(&format!("{x}^"), x), Ordering::Greater, "{x:?}");
        }
        assert!(deb::check(x).is_err() || deb::check_readable(x).is_ok(), "{x:?}");
        // What stands behind a version makes another one, unless it is spelled otherwise only.
        if deb::check(x).is_ok() && x.trim_matches([' ', '\t']) == x {
            assert_eq!(deb::compare(&format!("{x}~"), x), Ordering::Less, "{x:?}");
            assert_eq!(deb::compare(&format!("{x}+"), x), Ordering::Greater, "{x:?}");
        }
    }
});
