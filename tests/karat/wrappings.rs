//! What images are wrapped in: archives compressed as a whole, directories of skopeo, old docker archives, root
//! file system tars, several platforms, names with patterns.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use karat::codec::SpoolPool;
use karat::error::{Kind, Result};
use karat::limits::Limits;
use karat::model::{ImageKind, Sha256};
use karat::source::{self, Content, Image};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::making::{Layout, gzip, noise, open, open_one, source_options, tar_of, visit_layers, with, zstd};
use crate::tools::tool;

fn names_of(image: Image) -> Vec<Vec<String>> {
    visit_layers(image).into_iter().map(|shown| shown.unwrap().names()).collect()
}

fn content_error(image: Image) -> String {
    match image.content {
        Err(error) => error.to_string(),
        Ok(Content::Layers(set)) => set
            .layers
            .into_iter()
            .find_map(|layer| layer.blob.err())
            .expect("something that is wrong")
            .to_string(),
        Ok(_) => panic!("no layers"),
    }
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// By the tool, where it is there.
fn compressed(by: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, bytes).unwrap();
    let output = Command::new(tool(by)?).arg("-c").arg(&file).output().unwrap();
    assert!(output.status.success(), "{by}");
    Some(output.stdout)
}

/// Every compression of these bytes, by name.
fn all_compressions(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![("gzip", gzip(bytes)), ("zstd", zstd(bytes)), ("bzip2", bzip2(bytes))];
    all.extend(["xz", "lz4"].into_iter().filter_map(|name| Some((name, compressed(name, bytes)?))));
    all
}

fn write(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn open_limited(path: &Path, limits: &[(&str, u64)]) -> Result<Vec<Image>> {
    let mut all = Limits::default();
    for (name, max) in limits {
        all.set(name, *max).unwrap();
    }
    let spool = SpoolPool::new(std::env::temp_dir(), &all);
    let options = source::Options { limits: Arc::new(all), spool, ..source_options() };
    source::open(path.to_str().unwrap(), &options)
}

fn docker_archive(noise_bytes: usize) -> Vec<u8> {
    let layer = tar_of(&[("etc/os-release", b"ID=debian\n"), ("noise", &noise(noise_bytes))]);
    let diff_id = Sha256::of(&layer).to_string();
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": [diff_id] } });
    let manifest = json!([{ "Config": "c.json", "RepoTags": ["app:1"], "Layers": ["a/layer.tar"] }]);
    tar_of(&[
        ("a/layer.tar", &layer),
        ("c.json", config.to_string().as_bytes()),
        ("manifest.json", manifest.to_string().as_bytes()),
    ])
}

fn oci_archive() -> Vec<u8> {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("layout");
    let tar = tar_of(&[("etc/os-release", b"ID=debian\n"), ("noise", &noise(40_000))]);
    let layout = Layout(&root);
    let manifest = layout.image("amd64", &[(tar.clone(), gzip(&tar))]);
    layout.finish(&[manifest]);
    let path = directory.path().join("oci.tar");
    layout.archive(&path);
    fs::read(path).unwrap()
}

fn rootfs_tar(noise_bytes: usize) -> Vec<u8> {
    tar_of(&[("./etc/", b""), ("./etc/os-release", b"ID=debian\n"), ("./noise", &noise(noise_bytes))])
}

#[test]
fn archives_compressed_as_a_whole_are_what_they_hold() {
    let directory = TempDir::new().unwrap();
    for (plain, kind) in [
        (docker_archive(40_000), ImageKind::DockerArchive),
        (oci_archive(), ImageKind::OciArchive),
        (rootfs_tar(40_000), ImageKind::RootfsTar),
    ] {
        let want = names_of(open_one(&write(&directory, "plain.tar", &plain)));
        for (name, stored) in all_compressions(&plain) {
            let path = write(&directory, "whole", &stored);
            let image = open_one(&path);
            assert_eq!(image.info.kind, kind, "{name}");
            assert!(image.gaps.is_empty(), "{name}: {:?}", image.gaps);
            assert_eq!(names_of(image), want, "{name} {kind}");
            let forced = source::open(&format!("{kind}:{}", path.display()), &source_options()).unwrap();
            assert_eq!(forced[0].info.kind, kind);

            // Cut off anywhere: never whole, and never another kind.
            for part in 1..8 {
                let cut = write(&directory, "cut", &stored[..stored.len() * part / 8]);
                let Ok(images) = open(&cut) else { continue };
                for image in images {
                    assert_eq!(image.info.kind, kind, "{name} {kind} {part}");
                    let is_told = image.gaps.iter().any(|gap| gap.required) || image.content.is_err();
                    assert!(is_told, "{name} {kind} {part}");
                }
            }
        }
    }
}

#[test]
fn a_whole_archive_stops_at_its_ceilings() {
    let directory = TempDir::new().unwrap();
    let stored = write(&directory, "docker.tar.gz", &gzip(&docker_archive(600_000)));
    let image = open_limited(&stored, &[("spool_file_bytes", 300_000)]).unwrap().remove(0);
    assert_eq!(image.info.kind, ImageKind::DockerArchive);
    let gap = image.gaps.iter().find(|gap| gap.required).unwrap();
    assert!(gap.place == "gzip archive" && gap.reason.contains("limit `spool_file_bytes` passed"), "{gap:?}");
    assert!(gap.reason.contains("--limit spool_file_bytes="), "{gap:?}");
    // A root file system needs no spool.
    let rootfs = write(&directory, "rootfs.tar.gz", &gzip(&rootfs_tar(600_000)));
    let image = open_limited(&rootfs, &[("spool_file_bytes", 300_000)]).unwrap().remove(0);
    assert_eq!(names_of(image), [["/etc dir", "/etc/os-release file", "/noise file"]]);
    // A bomb: a tar of zeros.
    let bomb = tar_of(&[("a/layer.tar", &vec![0; 100 << 20])]);
    for stored in [gzip(&bomb), zstd(&bomb)] {
        let path = write(&directory, "bomb", &stored);
        let started = open_limited(&path, &[("inflate_ratio", 50)]);
        let reason = match started {
            Ok(mut images) => images.remove(0).gaps.remove(0).reason,
            Err(error) => error.to_string(),
        };
        assert!(reason.contains("limit `inflate_ratio` passed"), "{reason}");
    }
}

#[test]
fn a_root_file_system_tar_is_told_from_image_archives() {
    let directory = TempDir::new().unwrap();
    let digits = format!("{:064x}", 7);
    let in_layer = format!("{digits}/layer.tar");
    for (members, want) in [
        (&[("bin/sh", &b""[..])][..], Ok(ImageKind::RootfsTar)),
        (
            &[("usr/lib/os-release", b""), ("manifest.json", b"{}")],
            Err("may be an image archive (it has `manifest.json`) and a root file system (it has `usr`)"),
        ),
        (&[("etc/x", b""), ("index.json", b"{}"), ("oci-layout", b"{}")], Err("it has `index.json`")),
        (&[("app", b"")], Err("no image archive and no root file system")),
        (&[(in_layer.as_str(), b"")], Err("an image archive without its index")),
    ] {
        let path = write(&directory, "some.tar", &tar_of(members));
        match want {
            Ok(kind) => assert_eq!(open_one(&path).info.kind, kind),
            Err(want) => {
                let error = open(&path).err().unwrap();
                assert!(error.to_string().contains(want), "{error}");
                assert!(error.hint_text().is_some(), "{error}");
            }
        }
        let forced = source::open(&format!("rootfs-tar:{}", path.display()), &source_options()).unwrap();
        assert_eq!(names_of(forced.into_iter().next().unwrap())[0].len(), members.len());
    }
    // Cut off behind any member: an image archive never becomes a root file system.
    for whole in [docker_archive(40_000), oci_archive()] {
        for len in (512..whole.len()).step_by(512) {
            let path = write(&directory, "cut.tar", &whole[..len]);
            let Ok(images) = open(&path) else { continue };
            for image in images {
                assert_ne!(image.info.kind, ImageKind::RootfsTar, "{len}");
            }
        }
    }
}

#[test]
fn a_directory_of_skopeo_is_read() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("layout");
    let layout = Layout(&root);
    let layer = |name: &str| {
        let tar = tar_of(&[(name, b"")]);
        (tar.clone(), gzip(&tar))
    };
    let images = [layout.image("amd64", &[layer("a")]), layout.image("arm64", &[layer("b")])];
    let platforms = ["amd64", "arm64"].map(|arch| json!({ "os": "linux", "architecture": arch }));
    let entries: Vec<_> = images.iter().zip(platforms).map(|(i, p)| with(i.clone(), "platform", p)).collect();
    let index = json!({ "schemaVersion": 2, "manifests": entries });
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        (fs::read(root.join("blobs/sha256").join(&digest)).unwrap(), digest)
    };
    let at = directory.path().join("dir");
    fs::create_dir(&at).unwrap();
    for entry in fs::read_dir(root.join("blobs/sha256")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), at.join(entry.file_name())).unwrap();
    }
    fs::write(at.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    fs::write(at.join("manifest.json"), blob(&images[0]).0).unwrap();
    let image = open_one(&at);
    assert_eq!(image.info.kind, ImageKind::SkopeoDir);
    assert_eq!(image.info.digest.unwrap().to_string(), images[0]["digest"]);
    assert_eq!(names_of(image), [["/a file"]]);
    // In a tar as well.
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", &at).unwrap();
    let path = write(&directory, "dir.tar", &builder.into_inner().unwrap());
    assert_eq!(open_one(&path).info.kind, ImageKind::SkopeoDir);
    // All platforms: an index, whose manifests have an ending.
    fs::write(at.join("manifest.json"), index.to_string()).unwrap();
    for image in &images {
        let (bytes, digest) = blob(image);
        fs::remove_file(at.join(&digest)).unwrap();
        fs::write(at.join(format!("{digest}.manifest.json")), bytes).unwrap();
    }
    assert_eq!(names_of(open_one(&at)), [["/a file"]]);
    let arm = source::open(&format!("{}#linux/arm64", at.display()), &source_options()).unwrap();
    assert_eq!(names_of(arm.into_iter().next().unwrap()), [["/b file"]]);

    fs::write(at.join("version"), "Directory Transport Version: 2.0\n").unwrap();
    assert!(content_error(open_one(&at)).contains("directory transport version `2.0`"));
    fs::write(at.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    fs::remove_file(at.join("manifest.json")).unwrap();
    let forced = source::open(&format!("skopeo-dir:{}", at.display()), &source_options()).unwrap();
    assert!(content_error(forced.into_iter().next().unwrap()).contains("manifest.json"));
}

#[test]
fn what_skopeo_copies_to_a_directory_is_read() {
    let Some(skopeo) = tool("skopeo") else { return };
    let directory = TempDir::new().unwrap();
    write(&directory, "oci.tar", &oci_archive());
    let want = names_of(open_one(&directory.path().join("oci.tar")));
    for (name, more) in [("plain", &["--dest-decompress"][..]), ("stored", &[])] {
        let done = Command::new(&skopeo)
            .args(["--insecure-policy", "copy", "-q"])
            .args(more)
            .args(["oci-archive:oci.tar", &format!("dir:{name}")])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let image = open_one(&directory.path().join(name));
        assert_eq!(image.info.kind, ImageKind::SkopeoDir);
        assert_eq!(names_of(image), want, "{name}");
    }
}

/// A docker archive as it was before 1.10: layers by random ids, each with its parent.
fn old_docker_archive(layers: &[(&str, Option<&str>, &str)], repositories: Option<&str>) -> Vec<u8> {
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    for (id, parent, file) in layers {
        let mut json = json!({ "id": id, "os": "linux", "architecture": "amd64", "created": "2015-01-02T03:04:05Z",
            "container_config": { "Cmd": ["/bin/sh", "-c", format!("add {file}")] } });
        if let Some(parent) = parent {
            json["parent"] = (*parent).into();
        }
        members.push((format!("{id}/VERSION"), b"1.0".to_vec()));
        members.push((format!("{id}/json"), json.to_string().into_bytes()));
        members.push((format!("{id}/layer.tar"), tar_of(&[(file, b"")])));
    }
    members.extend(repositories.map(|json| ("repositories".to_owned(), json.as_bytes().to_vec())));
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    tar_of(&members)
}

#[test]
fn docker_archives_without_manifest_are_read_by_their_parents() {
    let directory = TempDir::new().unwrap();
    let layers = [("aa", None, "one"), ("bb", Some("aa"), "two"), ("cc", Some("bb"), "three")];
    let named = r#"{"app":{"1":"cc","latest":"cc"}}"#;
    for (repositories, gzipped) in [(Some(named), false), (None, false), (Some(named), true)] {
        let mut whole = old_docker_archive(&layers, repositories);
        if gzipped {
            whole = gzip(&whole);
        }
        let image = open_one(&write(&directory, "old.tar", &whole));
        assert_eq!(image.info.kind, ImageKind::DockerArchive);
        assert_eq!(image.info.os_arch.as_deref(), Some("linux/amd64"));
        assert!(image.info.created_at.is_some());
        let Ok(Content::Layers(set)) = &image.content else { panic!() };
        assert_eq!(set.layers[0].created_by.as_deref(), Some("/bin/sh -c add one"));
        assert_eq!(names_of(image), [["/one file"], ["/two file"], ["/three file"]]);
    }
    // Two images on one base, of which one has no name.
    let forked = [layers[0], layers[1], ("dd", Some("aa"), "four")];
    let path = write(&directory, "fork.tar", &old_docker_archive(&forked, Some(r#"{"app":{"1":"bb"}}"#)));
    let images = open(&path).unwrap();
    let names: Vec<_> = images.iter().map(|i| i.info.reference.rsplit_once('#').unwrap().1).collect();
    assert_eq!(names, ["app:1", "dd"]);
    for (layers, repositories, want) in [
        (
            &[("aa", Some("bb"), "x"), ("bb", Some("aa"), "y")][..],
            Some(r#"{"app":{"1":"aa"}}"#),
            "a layer below itself",
        ),
        (
            &[("aa", Some("bb"), "x"), ("bb", Some("aa"), "y")],
            None,
            "every layer of the archive is another's parent",
        ),
        (&[("aa", Some("zz"), "x")], None, "not found: `/zz/json`"),
        (&[("aa", None, "x")], Some(r#"{"app":{"1":"zz"}}"#), "not found: `/zz/json`"),
        (&[("aa", None, "x")], Some("{"), "repositories: docker archive: JSON"),
    ] {
        let path = write(&directory, "bad.tar", &old_docker_archive(layers, repositories));
        let error = content_error(open(&path).unwrap().remove(0));
        assert!(error.contains(want), "{error} has not {want}");
    }
}

fn all_platforms() -> source::Options {
    source::Options { all_platforms: true, ..source_options() }
}

#[test]
fn all_platforms_of_an_index_are_images() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("layout");
    let layout = Layout(&root);
    let of = |arch: &str| {
        let tar = tar_of(&[(arch, b"")]);
        let image = layout.image(arch, &[(tar.clone(), gzip(&tar))]);
        with(image, "platform", json!({ "os": "linux", "architecture": arch }))
    };
    let absent = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 7,
        "digest": Sha256::of(b"absent").to_string(), "platform": { "os": "linux", "architecture": "s390x" } });
    let attestation = json!({ "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 7,
        "digest": Sha256::of(b"attestation").to_string(), "platform": { "os": "unknown", "architecture": "unknown" } });
    let index = layout.index_of(&[of("amd64"), of("arm64"), absent, attestation]);
    layout.finish(std::slice::from_ref(&index));
    let path = root.to_str().unwrap();
    let images = source::open(path, &all_platforms()).unwrap();
    let seen: Vec<_> = images
        .iter()
        .map(|image| (image.info.reference.strip_prefix(path).unwrap(), image.content.is_ok()))
        .collect();
    assert_eq!(seen, [("#linux/amd64", true), ("#linux/arm64", true), ("#linux/s390x", false)]);
    assert_eq!(open_one(&root).info.reference, path);
    let name = "org.opencontainers.image.ref.name";
    layout.finish(&[with(index, "annotations", json!({ name: "app:1" })), of("riscv64")]);
    let images = source::open(path, &all_platforms()).unwrap();
    let seen: Vec<_> = images.iter().map(|i| i.info.reference.strip_prefix(path).unwrap()).collect();
    assert_eq!(seen[..2], ["#app:1@linux/amd64", "#app:1@linux/arm64"]);
    let arm = source::open(&format!("{path}#app:1@linux/arm64"), &source_options()).unwrap();
    assert_eq!(names_of(arm.into_iter().next().unwrap()), [["/arm64 file"]]);
}

#[test]
fn what_is_no_image_is_never_counted_as_one() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("layout");
    let layout = Layout(&root);
    let config_type = "application/vnd.oci.image.config.v1+json";
    let manifest = |config: Value, layers: &[Value]| {
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        layout.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())
    };
    let config = layout.blob(config_type, b"{\"rootfs\":{\"diff_ids\":[]}}");
    for (config, layer_type, want) in [
        (config.clone(), "application/vnd.dev.cosign.simplesigning.v1+json", "simplesigning"),
        (config.clone(), "application/vnd.in-toto+json", "in-toto"),
        (
            layout.blob("application/vnd.cncf.helm.config.v1+json", b"{}"),
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            "helm.config",
        ),
        (layout.blob("application/vnd.oci.empty.v1+json", b"{}"), "application/spdx+json", "oci.empty"),
    ] {
        let other = manifest(config, &[layout.blob(layer_type, b"{}")]);
        layout.finish(std::slice::from_ref(&other));
        let error = content_error(open_one(&root));
        assert!(
            error.contains("without container image; it holds: an artifact") && error.contains(want),
            "{error}"
        );
        // Beside an image it is passed over.
        let tar = tar_of(&[("a", b"")]);
        layout.finish(&[other, layout.image("amd64", &[(tar.clone(), gzip(&tar))])]);
        for options in [source_options(), all_platforms()] {
            let images = source::open(root.to_str().unwrap(), &options).unwrap();
            assert_eq!(images.len(), 1);
        }
    }
    // An image without layers is one, of nothing.
    layout.finish(&[manifest(config, &[])]);
    assert!(names_of(open_one(&root)).is_empty());
    let windows = json!({ "os": "windows", "architecture": "amd64", "rootfs": { "diff_ids": [] } });
    layout.finish(&[manifest(layout.blob(config_type, windows.to_string().as_bytes()), &[])]);
    assert!(content_error(open_one(&root)).contains("a Windows image (windows/amd64)"));
}

#[test]
fn patterns_become_the_files_that_they_match() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    fs::create_dir_all(root.join("deep/er")).unwrap();
    for name in ["b.tar", "a.tar", ".hidden.tar", "c.tgz", "deep/d.tar", "deep/er/e.tar", "odd[1].tar"] {
        fs::write(root.join(name), "").unwrap();
    }
    symlink(root.join("deep"), root.join("link")).unwrap();
    let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
    for (pattern, want) in [
        ("*.tar", &["a.tar", "b.tar", "odd[1].tar"][..]),
        ("?.t*", &["a.tar", "b.tar", "c.tgz"]),
        ("[ab].tar", &["a.tar", "b.tar"]),
        ("deep/**/*.tar", &["deep/d.tar", "deep/er/e.tar"]),
        // What is there by this name is meant.
        ("odd[1].tar", &["odd[1].tar"]),
        ("none*.tar", &["none*.tar"]),
        ("plain.tar", &["plain.tar"]),
    ] {
        let want: Vec<_> = want.iter().map(|name| at(name)).collect();
        assert_eq!(source::expand(&[at(pattern)]).unwrap(), want, "{pattern}");
        let forced: Vec<_> = want.iter().map(|path| format!("rootfs-tar:{path}")).collect();
        assert_eq!(source::expand(&[format!("rootfs-tar:{}", at(pattern))]).unwrap(), forced);
    }
    assert!(source::expand(&[at("a[.tar")]).unwrap_err().to_string().contains("no pattern"));
    let error = source::open(&at("none*.tar"), &source_options()).err().unwrap();
    assert!(matches!(error.kind(), Kind::NotFound(_)));
    assert!(error.to_string().ends_with("none that matches the pattern"), "{error}");
}

#[test]
fn flips_never_panic() {
    let directory = TempDir::new().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/archives");
    for name in [
        "whole.docker-1.9.tar.gz",
        "whole.docker.tar.bz2",
        "whole.oci.tar.xz",
        "whole.oci.tar.zst",
        "whole.rootfs.tar.gz",
        "schema1.skopeo-dir.tar",
        "odd-paths.rootfs.tar",
    ] {
        let whole = fs::read(fixtures.join(name)).unwrap();
        for at in (0..whole.len()).step_by(whole.len() / 120) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x15;
            let path = write(&directory, "flipped", &flipped);
            for image in open(&path).into_iter().flatten().filter(|image| image.content.is_ok()) {
                visit_layers(image);
            }
        }
    }
}
