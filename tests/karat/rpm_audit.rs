//! An rpm image against an rpm host and what its repositories published, from the command line to the verdict.

use std::path::Path;

use insta::assert_snapshot;

use crate::cli::{karat, shown};

const DRIFTED: &str = "fixtures/images/rocky-9-drifted.tar.gz";
const CURRENT: &str = "fixtures/images/rocky-9-current.tar.gz";
const DAY: &str = "2024-11-24";

/// The baseline of the host and, if asked for, of the repositories.
fn baseline(folder: &Path, with_channel: bool) -> String {
    let file = folder.join("rocky.json").display().to_string();
    let mut args = vec![
        "baseline",
        "build",
        "--name",
        "rocky",
        "-o",
        &file,
        "--as-of",
        DAY,
        "--host",
        "fixtures/production/rocky-9-host.tar.gz",
        "--taken-at",
        "2024-11-20",
    ];
    if with_channel {
        args.extend(["--channel", "fixtures/channels/rocky"]);
    }
    let ran = karat(&args);
    assert_eq!(ran.code, 0, "{}", shown(&ran));
    file
}

#[test]
fn an_rpm_image_is_judged_by_what_advisories_published() {
    let folder = tempfile::tempdir().unwrap();
    let file = baseline(folder.path(), true);
    let ran = karat(&["audit", DRIFTED, CURRENT, "--baseline", &file, "--as-of", DAY, "-v"]);
    assert_eq!(ran.code, 1, "{}", shown(&ran));
    assert_snapshot!("audit", ran.stdout);
    // A newer kernel is installed and would not boot; the module is compared within its stream.
    let json = karat(&["audit", DRIFTED, "--baseline", &file, "--as-of", DAY, "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let system = &report["images"][0]["systems"][0];
    let codes: Vec<&str> =
        system["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"latent-patch"), "{codes:?}");
    let of = |name: &str| {
        let drift = system["drift"].as_array().unwrap().iter().find(|p| p["name"] == name);
        drift.unwrap_or_else(|| panic!("{name}")).clone()
    };
    let glibc = &of("glibc")["missed"][0];
    assert_eq!(
        (&glibc["published"], &glibc["evidence"]),
        (&"2024-06-14T13:59:21Z".into(), &"advisory".into())
    );
    assert_eq!(glibc["advisories"][0]["id"], "RLSA-2024:3339");
    assert_eq!(of("npm")["baseline_version"], "18.20.4-1.module+el9.4.0+2");
    assert_eq!(of("kernel-core")["missed"][0]["latent"], true);
}

#[test]
fn without_metadata_an_age_of_rpm_is_a_lower_bound() {
    let folder = tempfile::tempdir().unwrap();
    let file = baseline(folder.path(), false);
    let ran = karat(&["audit", DRIFTED, "--baseline", &file, "--as-of", DAY, "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let drift = report["images"][0]["systems"][0]["drift"].as_array().unwrap();
    let openssl = drift.iter().find(|package| package["name"] == "openssl").unwrap();
    // The host's own build of 29 August is all that dates it.
    assert_eq!(
        (&openssl["missed"][0]["evidence"], &openssl["lower_bound"]),
        (&"build-time".into(), &true.into())
    );
    assert_eq!(openssl["behind_since"], "2024-08-29T00:00:00Z");
}

#[test]
fn another_stream_of_a_module_is_another_package() {
    let folder = tempfile::tempdir().unwrap();
    let file = baseline(folder.path(), true);
    let ran = karat(&["baseline", "show", &file, "--package", "nodejs"]);
    assert!(ran.code != 101, "{}", shown(&ran));
    let text = std::fs::read_to_string(&file).unwrap();
    let known: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sources: Vec<&str> = known["platforms"][0]["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|history| history["source"].as_str().unwrap())
        .collect();
    assert!(sources.contains(&"nodejs/nodejs:18") && sources.contains(&"nodejs/nodejs:20"), "{sources:?}");
}
