//! pacman's records as pacman itself reads them, and broken ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use karat::format::pacman::{Files, Record, check_database_version, check_folder, desc, files, folder_parts};
use karat::limits::Limits;
use karat::model::{ImagePath, Time};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pacman")
}

/// The packages of a folder: the folder's name, and what it says.
fn packages(below: &str) -> Vec<(String, Record)> {
    let folders = fs::read_dir(fixtures().join(below)).unwrap().map(|entry| entry.unwrap().path());
    let mut packages: Vec<_> = folders
        .filter(|path| path.is_dir())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, desc(&fs::read(path.join("desc")).unwrap(), &Limits::default()).unwrap())
        })
        .collect();
    packages.sort_by(|a, b| a.0.cmp(&b.0));
    packages
}

#[test]
fn installed_packages_are_read_as_pacman_reads_them() {
    let said = fs::read_to_string(fixtures().join("qi.txt")).unwrap();
    let want: Vec<BTreeMap<&str, &str>> = said
        .split("\n\n")
        .filter(|block| block.contains(':'))
        .map(|block| {
            block.lines().filter_map(|line| line.split_once(" : ")).map(|(k, v)| (k.trim(), v)).collect()
        })
        .collect();
    let packages = packages("var/lib/pacman/local");
    assert_eq!(packages.len(), want.len());
    for ((folder, record), want) in packages.iter().zip(want) {
        check_folder(record, folder.as_bytes()).unwrap();
        let listed = |all: &[String]| if all.is_empty() { "None".to_owned() } else { all.join("  ") };
        let reason = if record.is_dependency {
            "Installed as a dependency for another package"
        } else {
            "Explicitly installed"
        };
        for (key, value) in [
            ("Name", record.name.as_str()),
            ("Version", &record.version),
            ("Architecture", &record.arch),
            ("URL", record.url.as_deref().unwrap()),
            ("Provides", &listed(&record.provides)),
            ("Replaces", &listed(&record.replaces)),
            ("Packager", record.packager.as_deref().unwrap()),
            ("Install Reason", reason),
        ] {
            assert_eq!(want[key], value, "{folder}: {key}");
        }
        assert_eq!(want["Build Date"], "Tue Nov 14 22:13:20 2023");
        assert_eq!(record.built_at, Time::from_unix(1_700_000_000));
        assert_eq!(record.installed_at, Time::from_unix(1_795_478_400));
        assert_eq!(record.validation, ["none"]);
        assert!(record.is_terminated);
    }
    let bases: Vec<_> = packages.iter().map(|(_, record)| record.base.as_deref().unwrap()).collect();
    assert_eq!(bases, ["bar", "data-files", "bar"]);
    check_database_version(&fs::read(fixtures().join("var/lib/pacman/local/ALPM_DB_VERSION")).unwrap())
        .unwrap();
}

#[test]
fn files_are_read_as_pacman_lists_them() {
    let mut ours = String::new();
    for (folder, record) in packages("var/lib/pacman/local") {
        let path = fixtures().join("var/lib/pacman/local").join(&folder).join("files");
        let Files { paths, backups, is_terminated } =
            files(&fs::read(path).unwrap(), &Limits::default()).unwrap();
        for path in paths {
            let path = String::from_utf8(path.as_bytes().to_vec()).unwrap();
            ours.push_str(&format!("{} {path}\n", record.name));
        }
        // A file that its package names and does not have is left out.
        let name = &record.name;
        let kept: Vec<_> = backups.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(kept, [ImagePath::new(format!("etc/{name}/{name}.conf"))]);
        assert!(is_terminated);
    }
    let want = fs::read_to_string(fixtures().join("ql.txt")).unwrap();
    assert_eq!(ours, want.replace("/\n", "\n"));
}

#[test]
fn records_of_a_repository_name_the_published_file() {
    for (folder, record) in packages("sync") {
        check_folder(&record, folder.as_bytes()).unwrap();
        let file = format!("{}-{}-{}.pkg.tar.gz", record.name, record.version, record.arch);
        assert_eq!(record.file_name, Some(file));
        assert_eq!(record.sha256.map(|digits| digits.len()), Some(64));
        assert_eq!(record.built_at, Time::from_unix(1_700_000_000));
        assert_eq!(record.installed_at, None);
    }
}

#[test]
fn what_is_wrong_is_told() {
    let limits = Limits::default();
    let reason =
        |bytes: &[u8]| desc(bytes, &limits).map(|record| record.version).map_err(|error| error.to_string());
    for (bytes, want) in [
        ("", "pacman record: NAME at byte 0x0: no value; allowed: one"),
        (
            "%NAME%\na\n\n%VERSION%\n",
            "package `a`: pacman record: VERSION at byte 0x14: no value; allowed: one",
        ),
        (
            "%NAME%\na\n\n%VERSION%\n1",
            "pacman record: VERSION at byte 0x14: `1`; allowed: a whole line without space and slash",
        ),
        (
            "%NAME%\na b\n\n",
            "pacman record: NAME at byte 0x7: `a b`; allowed: a whole line without space and slash",
        ),
        (
            "%NAME%\na\n%VERSION%\n1-1\n",
            "pacman record: NAME at byte 0x9: `%VERSION%`; allowed: one value, and an empty line after it",
        ),
        (
            "%NAME%\na\n\n%VERSION%\n1-1\n\n%NAME%\nb\n\n",
            "pacman record: NAME at byte 0x20: `b`; allowed: it once in the record",
        ),
    ] {
        assert_eq!(reason(bytes.as_bytes()), Err(want.to_owned()), "{bytes:?}");
    }
    // Carriage returns, and fields that nobody knows.
    assert_eq!(reason(b"%NAME%\r\na\r\n\r\n%NEW%\r\nx\r\n\r\n%VERSION%\r\n1-1\r\n"), Ok("1-1".into()));

    let record = desc(b"%NAME%\na-b\n\n%VERSION%\n1:2-3\n\n", &limits).unwrap();
    assert_eq!(folder_parts(b"a-b-1:2-3"), Some((&b"a-b"[..], &b"1:2-3"[..])));
    assert_eq!(folder_parts(b"-1-3"), None);
    assert!(check_folder(&record, b"a-b-1:2-3").is_ok());
    assert_eq!(
        check_folder(&record, b"a-b-1:2-4").unwrap_err().to_string(),
        "pacman record: name and version: `a-b-1:2-3`; allowed: those of its folder, `a-b-1:2-4`"
    );
    assert_eq!(
        check_database_version(b"8\n").unwrap_err().to_string(),
        "not read by this version: version 8 of pacman's database; read is 9"
    );
    assert!(check_database_version(b"").is_err());

    for bytes in ["%FILES%\n..\n", "%BACKUP%\netc/a\n", "%BACKUP%\netc/a\t+01b30e3b8b5d629635a5c613cdb7919\n"]
    {
        assert!(files(bytes.as_bytes(), &limits).is_err(), "{bytes:?}");
    }
}

/// Cut off or changed anywhere, a record is the whole one, another that says that it was cut off, or an error.
#[test]
fn broken_records_say_so() {
    let limits = Limits::default();
    let folder = "data-files-2:20240101.r12.gabcdef1-3";
    let path = fixtures().join("var/lib/pacman/local").join(folder);
    let bytes = fs::read(path.join("desc")).unwrap();
    let whole = desc(&bytes, &limits).unwrap();
    for cut in 0..bytes.len() {
        if let Ok(record) = desc(&bytes[..cut], &limits) {
            assert_eq!((&record.name, &record.version), (&whole.name, &whole.version), "{cut}");
        }
    }
    for at in 0..bytes.len() {
        for bits in [1, 0x80, 0xff] {
            let mut broken = bytes.clone();
            broken[at] ^= bits;
            let sound =
                desc(&broken, &limits).is_ok_and(|record| check_folder(&record, folder.as_bytes()).is_ok());
            let name_and_version =
                &bytes[..b"%NAME%\ndata-files\n\n%VERSION%\n2:20240101.r12.gabcdef1-3\n\n".len()];
            assert!(at >= name_and_version.len() || !sound, "{at}");
        }
    }
    let bytes = fs::read(path.join("files")).unwrap();
    for cut in 0..bytes.len() {
        let _ = files(&bytes[..cut], &limits);
    }
}
