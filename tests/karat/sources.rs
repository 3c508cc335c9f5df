//! Opening images: every kind, every way in which it can be wrong.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use karat::error::Kind;
use karat::model::{ImageKind, Sha256};
use karat::source::{self, Content, Image};
use karat::stratum::{Node, Scope, Want};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::making::{
    Layout, gzip, has_tool, noise, open, open_one, source_options, tar_of, visit, visit_layers, with, zstd,
};

/// A base layer, and one over it.
fn two_layers() -> Vec<(Vec<u8>, Vec<u8>)> {
    let lower = tar_of(&[("etc/", b""), ("etc/os-release", b"ID=debian\n"), ("big", &noise(300_000))]);
    let upper = tar_of(&[("etc/.wh.os-release", b""), ("usr/", b"")]);
    vec![(lower.clone(), gzip(&lower)), (upper.clone(), zstd(&upper))]
}

fn one_layer(file: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let tar = tar_of(&[(file, b"")]);
    vec![(tar.clone(), tar)]
}

fn names_of(image: Image) -> Vec<Vec<String>> {
    visit_layers(image).into_iter().map(|shown| shown.unwrap().names()).collect()
}

fn content_error(image: Image) -> String {
    match image.content {
        Ok(Content::Layers(set)) => {
            set.layers.into_iter().find_map(|layer| layer.blob.err()).expect("an error").to_string()
        }
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_layout_is_read_as_directory_and_as_archive() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("layout");
    let layout = Layout(&root);
    let manifest = layout.image("amd64", &two_layers());
    layout.finish(std::slice::from_ref(&manifest));
    let archive = directory.path().join("layout.tar");
    layout.archive(&archive);
    for (path, kind) in [(&root, ImageKind::OciDir), (&archive, ImageKind::OciArchive)] {
        let image = open_one(path);
        assert_eq!(image.info.kind, kind);
        assert_eq!(image.info.reference, path.to_str().unwrap());
        assert_eq!(image.info.digest.unwrap().to_string(), manifest["digest"]);
        assert_eq!(image.info.os_arch.as_deref(), Some("linux/amd64"));
        assert_eq!(image.info.created_at.unwrap().to_string(), "2026-02-03T04:05:06Z");
        let Ok(Content::Layers(set)) = &image.content else { panic!() };
        // One history entry for two layers belongs to neither.
        assert!(set.layers.iter().all(|layer| layer.created_by.is_none()));
        assert!(set.layers[1].place.starts_with("layer 2 of 2 (sha256:"), "{}", set.layers[1].place);
        let names = names_of(image);
        assert_eq!(names[0], ["/etc dir", "/etc/os-release file", "/big file"]);
        assert_eq!(names[1], ["/etc/os-release whiteout", "/usr dir"]);
    }
}

#[test]
fn the_platform_is_chosen_and_never_the_first() {
    let directory = TempDir::new().unwrap();
    let layout = Layout(directory.path());
    let platform = |arch: &str| json!({ "os": "linux", "architecture": arch });
    let arm = with(layout.image("arm64", &one_layer("arm")), "platform", platform("arm64"));
    let amd = with(layout.image("amd64", &one_layer("amd")), "platform", platform("amd64"));
    let newer =
        with(amd.clone(), "platform", json!({ "os": "linux", "architecture": "amd64", "variant": "v3" }));
    let newer = with(newer, "digest", layout.image("amd64", &one_layer("v3"))["digest"].clone());
    let unknown = with(
        layout.image("amd64", &one_layer("no")),
        "platform",
        json!({ "os": "unknown", "architecture": "unknown" }),
    );
    let attestation = with(
        layout.image("amd64", &one_layer("attestation")),
        "annotations",
        json!({ "vnd.docker.reference.type": "attestation-manifest" }),
    );
    let artifact = layout.blob("application/vnd.cncf.helm.config.v1+json", b"{}");
    let artifact = json!({ "schemaVersion": 2, "config": artifact, "layers": [] }).to_string();
    let artifact = layout.blob("application/vnd.oci.image.manifest.v1+json", artifact.as_bytes());
    let bare = |value: &Value| {
        let mut bare = value.clone();
        bare.as_object_mut().unwrap().remove("platform");
        bare
    };
    let nested = layout.index_of(&[arm.clone(), amd.clone()]);
    let deeper = layout.index_of(std::slice::from_ref(&nested));
    let untyped = {
        let mut untyped = nested.clone();
        untyped.as_object_mut().unwrap().remove("mediaType");
        untyped
    };
    let schema2 = "application/vnd.docker.distribution.manifest.v2+json";
    let docker_manifest = with(amd.clone(), "mediaType", json!(schema2));
    let docker =
        with(nested.clone(), "mediaType", json!("application/vnd.docker.distribution.manifest.list.v2+json"));
    for entries in [
        vec![arm.clone(), amd.clone()],
        vec![bare(&arm), bare(&amd)],
        vec![unknown.clone(), attestation.clone(), artifact.clone(), arm.clone(), amd.clone()],
        vec![newer, amd.clone()],
        vec![nested],
        vec![deeper],
        vec![untyped],
        vec![docker],
        vec![arm.clone(), docker_manifest],
    ] {
        layout.finish(&entries);
        let image = open_one(directory.path());
        assert_eq!(image.info.os_arch.as_deref(), Some("linux/amd64"));
        assert_eq!(names_of(image), [["/amd file"]]);
    }
    // One image alone is read whatever it is for; of several, none may be taken that was not wanted.
    layout.finish(std::slice::from_ref(&arm));
    assert_eq!(names_of(open_one(directory.path())), [["/arm file"]]);
    let s390x = with(layout.image("s390x", &one_layer("s")), "platform", platform("s390x"));
    layout.finish(&[arm, s390x]);
    let error = open_one(directory.path()).content.err().unwrap();
    assert!(matches!(error.kind(), Kind::Config(_)));
    assert_eq!(
        error.to_string(),
        "index.json: no image for linux/amd64; there are: linux/arm64, linux/s390x"
    );
    layout.finish(&[unknown, attestation, artifact]);
    let error = content_error(open_one(directory.path()));
    assert!(
        error.contains(
            "an index without container image; it holds: an attestation, an attestation, an artifact"
        ),
        "{error}"
    );
}

#[test]
fn names_are_images_of_their_own() {
    let directory = TempDir::new().unwrap();
    let layout = Layout(directory.path());
    let named = |file: &str, name: &str| {
        with(
            layout.image("amd64", &one_layer(file)),
            "annotations",
            json!({ "org.opencontainers.image.ref.name": name }),
        )
    };
    let containerd = with(
        layout.image("amd64", &one_layer("c")),
        "annotations",
        json!({ "org.opencontainers.image.ref.name": "1.0", "io.containerd.image.name": "docker.io/library/c:1.0" }),
    );
    // The last is the first once more under another name.
    let again = named("a", "latest");
    layout.finish(&[named("a", "1.0"), named("b", "2.0"), containerd, again, named("d", "x#@y")]);
    let path = directory.path().to_str().unwrap();
    let references: Vec<_> =
        open(directory.path()).unwrap().into_iter().map(|image| image.info.reference).collect();
    assert_eq!(
        references,
        ["1.0", "2.0", "docker.io/library/c:1.0", "x#@y"].map(|name| format!("{path}#{name}"))
    );
    for (name, file) in [("2.0", "/b file"), ("x#@y", "/d file")] {
        let picked = source::open(&format!("oci-dir:{path}#{name}"), &source_options()).unwrap();
        assert_eq!(picked.into_iter().map(names_of).collect::<Vec<_>>(), [[[file]]]);
    }
    let error = source::open(&format!("{path}#3.0"), &source_options()).err().unwrap();
    assert!(error.hint_text().unwrap().contains("#docker.io/library/c:1.0"));
}

#[test]
fn images_that_nothing_tells_apart_are_numbered() {
    let directory = TempDir::new().unwrap();
    let entry = json!({ "Config": "absent.json", "RepoTags": ["app:1"], "Layers": [] });
    let unnamed = json!({ "Config": "absent.json", "Layers": [] });
    let manifest = json!([entry, entry, unnamed, unnamed]).to_string();
    let path = directory.path().join("twice.tar");
    fs::write(&path, tar_of(&[("manifest.json", manifest.as_bytes())])).unwrap();
    let shown = path.display();
    let references: Vec<String> =
        open(&path).unwrap().into_iter().map(|image| image.info.reference).collect();
    assert_eq!(
        references,
        ["app:1", "app:1@2", "unnamed", "unnamed@2"].map(|name| format!("{shown}#{name}"))
    );
    for reference in &references {
        assert_eq!(source::open(reference, &source_options()).unwrap().len(), 1, "{reference}");
    }
}

#[test]
fn what_is_wrong_in_a_layout_is_told_and_the_rest_is_read() {
    let directory = TempDir::new().unwrap();
    let layout = Layout(directory.path());
    let manifest = layout.image("amd64", &two_layers());
    let blob = |digest: &Value| {
        directory.path().join("blobs/sha256").join(digest.as_str().unwrap().strip_prefix("sha256:").unwrap())
    };
    let manifest_path = blob(&manifest["digest"]);
    let document: Value = serde_json::from_slice(&fs::read(&manifest_path).unwrap()).unwrap();
    let (config, layer) = (blob(&document["config"]["digest"]), blob(&document["layers"][0]["digest"]));
    layout.finish(std::slice::from_ref(&manifest));

    for path in [&manifest_path, &config] {
        let whole = fs::read(path).unwrap();
        fs::write(path, String::from_utf8_lossy(&whole).replace("sha256", "SHA256")).unwrap();
        let error = content_error(open_one(directory.path()));
        assert!(error.contains("blob: digest: sha256:"), "{error}");
        fs::write(path, [&whole[..], b" "].concat()).unwrap();
        let error = content_error(open_one(directory.path()));
        assert!(error.contains("blob: size: "), "{error}");
        fs::remove_file(path).unwrap();
        let error = content_error(open_one(directory.path()));
        assert!(error.contains("not found: `/blobs/sha256/"), "{error}");
        fs::write(path, whole).unwrap();
    }
    let whole = fs::read(&layer).unwrap();
    let mut flipped = whole.clone();
    flipped[100] ^= 1;
    for (bytes, want) in [
        (Some(flipped), "layer 1 of 2"),
        (Some(whole[..100].to_vec()), "blob: size: 100 bytes"),
        (None, "not found: `/blobs/sha256/"),
    ] {
        match bytes {
            Some(bytes) => fs::write(&layer, bytes).unwrap(),
            None => fs::remove_file(&layer).unwrap(),
        }
        let shown = visit_layers(open_one(directory.path()));
        let error = shown[0].as_ref().unwrap_err().to_string();
        assert!(error.starts_with("layer 1 of 2 (sha256:") && error.contains(want), "{error}");
        assert_eq!(shown[1].as_ref().unwrap().names(), ["/etc/os-release whiteout", "/usr dir"]);
    }
}

#[test]
fn manifests_that_are_not_read_are_named() {
    let directory = TempDir::new().unwrap();
    let layout = Layout(directory.path());
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let config = json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": [Sha256::of(b"").to_string()] } });
    let config = layout.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let manifest = |value: Value| layout.blob(oci, value.to_string().as_bytes());
    let layer =
        |media_type: &str, digest: &str| json!({ "mediaType": media_type, "digest": digest, "size": 3 });
    let with_layer =
        |layer: Value| manifest(json!({ "schemaVersion": 2, "config": config, "layers": [layer] }));
    let absent = Sha256::of(b"absent").to_string();
    let sha512 = format!("sha512:{}", "0".repeat(128));
    for (entry, want) in [
        (
            layout.blob(
                "application/vnd.docker.distribution.manifest.v1+prettyjws",
                b"{\"schemaVersion\":1,\"fsLayers\":[]}",
            ),
            "a docker manifest of schema 1",
        ),
        (
            manifest(json!({ "schemaVersion": 2, "config": config, "layers": [], "manifests": [] })),
            "manifests beside config or layers",
        ),
        (
            manifest(
                json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "config": config, "layers": [] }),
            ),
            "mediaType",
        ),
        (
            manifest(json!({ "schemaVersion": 2, "config": config, "layers": [] })),
            "rootfs.diff_ids: 1 digests; allowed: one for each of the 0 layers",
        ),
        (with(manifest(json!({})), "digest", json!(sha512)), "sha512 digests"),
        (with(manifest(json!({})), "digest", json!("sha256:../../../../etc/passwd")), "digest: value"),
        (with_layer(layer("application/vnd.oci.image.layer.v1.tar+gzip", &sha512)), "sha512 digests"),
        (
            with_layer(layer("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", &absent)),
            "an encrypted layer",
        ),
        (
            with_layer(layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", &absent)),
            "not found",
        ),
        (layout.blob(oci, b"no json"), "JSON"),
    ] {
        layout.finish(&[entry]);
        let error = content_error(open_one(directory.path()));
        assert!(error.contains(want), "{error} has not {want}");
    }
    let mut index = layout.index_of(&[]);
    for _ in 0..6 {
        index = layout.index_of(&[index]);
    }
    layout.finish(&[index]);
    assert!(content_error(open_one(directory.path())).contains("limit `index_depth`"));
    fs::write(directory.path().join("index.json"), "[]").unwrap();
    assert!(content_error(open_one(directory.path())).contains("index.json: image index: JSON"));
    fs::remove_file(directory.path().join("index.json")).unwrap();
    assert!(content_error(open_one(directory.path())).contains("not found: `/index.json`"));
}

#[test]
fn links_in_a_layout_lead_nowhere() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("layout");
    let layout = Layout(&root);
    let manifest = layout.image("amd64", &one_layer("a"));
    layout.finish(&[manifest]);
    for name in ["blobs/sha256", "blobs", "index.json"] {
        let (inside, outside) = (root.join(name), directory.path().join("outside"));
        fs::rename(&inside, &outside).unwrap();
        symlink(&outside, &inside).unwrap();
        let error = content_error(open_one(&root));
        assert!(error.contains("a symbolic link inside a layout"), "{error}");
        fs::remove_file(&inside).unwrap();
        fs::rename(&outside, &inside).unwrap();
    }
    assert_eq!(names_of(open_one(&root)), [["/a file"]]);
    // The layout itself may be named through a link.
    let link = directory.path().join("link");
    symlink(&root, &link).unwrap();
    assert_eq!(names_of(open_one(&link)), [["/a file"]]);
    // A pipe is not waited for.
    let blob = fs::read_dir(root.join("blobs/sha256")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&blob).unwrap();
    if Command::new("mkfifo").arg(&blob).status().is_ok_and(|status| status.success()) {
        assert!(!content_error(open_one(&root)).is_empty());
    }
}

/// A member of an image archive: the bytes of a file, or anything else and what it links to.
type Member<'a> = Result<&'a [u8], (tar::EntryType, &'a str)>;

/// Writes an image archive.
fn archive(path: &Path, members: &[(&str, Member<'_>)]) {
    let mut builder = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, member) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(0);
        match member {
            Ok(bytes) => {
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, name, *bytes).unwrap();
            }
            Err((kind, target)) => {
                header.set_entry_type(*kind);
                builder.append_link(&mut header, name, target).unwrap();
            }
        }
    }
    builder.finish().unwrap();
}

fn config_of(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|tar| Sha256::of(tar).to_string()).collect();
    let history: Vec<_> = (0..layers.len()).map(|i| json!({ "created_by": format!("step {i}") })).collect();
    json!({ "os": "linux", "architecture": "arm64", "variant": "v8", "created": "2026-01-01T00:00:00.5Z", "rootfs": { "diff_ids": diff_ids }, "history": history })
        .to_string()
        .into_bytes()
}

#[test]
fn docker_archives_are_read_with_their_links() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("image.tar");
    let (one, two) = (tar_of(&[("one", b"")]), tar_of(&[("two", b"2")]));
    let zipped = gzip(&two);
    let config = config_of(&[&one, &two, &one, &one]);
    let config_name = format!("{}.json", Sha256::of(&config).hex());
    let manifest = json!([{ "Config": config_name, "RepoTags": ["app:1"], "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar", "d/layer.tar"] }]);
    let manifest = manifest.to_string();
    archive(
        &path,
        &[
            ("a/layer.tar", Ok(&one)),
            ("b/layer.tar", Ok(&zipped)),
            ("c/layer.tar", Err((tar::EntryType::Symlink, "../a/layer.tar"))),
            ("d/layer.tar", Err((tar::EntryType::Link, "a/layer.tar"))),
            (&config_name, Ok(&config)),
            ("manifest.json", Ok(manifest.as_bytes())),
            ("repositories", Ok(&[b'{'; 400])),
        ],
    );
    let image = open_one(&path);
    assert_eq!(image.info.kind, ImageKind::DockerArchive);
    assert_eq!(image.info.digest, Some(Sha256::of(&config)));
    assert_eq!(image.info.os_arch.as_deref(), Some("linux/arm64/v8"));
    let Ok(Content::Layers(set)) = &image.content else { panic!() };
    let steps: Vec<_> = set.layers.iter().map(|layer| layer.created_by.as_deref().unwrap()).collect();
    assert_eq!(steps, ["step 0", "step 1", "step 2", "step 3"]);
    assert_eq!(names_of(image), [["/one file"], ["/two file"], ["/one file"], ["/one file"]]);

    // Cut off behind the index: that is found, and the image is not whole.
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1400]).unwrap();
    let images = open(&path).unwrap();
    assert!(images[0].gaps.iter().any(|gap| gap.required && gap.place == "archive"), "{:?}", images[0].gaps);
    // Cut off before it: a docker archive all the same.
    fs::write(&path, &whole[..4000]).unwrap();
    let image = open_one(&path);
    assert_eq!(image.gaps.len(), 1);
    assert!(content_error(image).contains("not found: `/manifest.json`"));
}

#[test]
fn what_is_wrong_in_a_docker_archive_is_told() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("image.tar");
    let layer = tar_of(&[("a", b"")]);
    let config = config_of(&[&layer]);
    let hex = Sha256::of(b"another configuration").hex();
    let manifest = |config: &str, layers: &[&str]| {
        json!([{ "Config": config, "RepoTags": null, "Layers": layers }]).to_string()
    };
    let named = format!("{hex}.json");
    let as_blob = format!("blobs/sha256/{hex}");
    let kaniko = format!("sha256:{hex}");
    for (config_name, layers, want) in [
        (named.as_str(), &["l.tar"][..], "blob: digest"),
        (&as_blob, &["l.tar"], "blob: digest"),
        (&kaniko, &["l.tar"], "blob: digest"),
        ("config.json", &["absent.tar"], "not found: `/absent.tar` in the archive"),
        ("config.json", &["l.tar", "l.tar"], "rootfs.diff_ids: 1 digests"),
        ("config.json", &["loop.tar"], "leads in a circle"),
        ("config.json", &["out.tar"], "not found: `/etc/passwd` in the archive"),
        ("config.json", &["dir"], "as a file of the archive"),
        ("absent.json", &["l.tar"], "image configuration: absent.json: not found"),
    ] {
        let stored_as = if config_name == "absent.json" { "config.json" } else { config_name };
        let manifest = manifest(config_name, layers);
        archive(
            &path,
            &[
                (stored_as, Ok(&config)),
                ("l.tar", Ok(&layer)),
                ("loop.tar", Err((tar::EntryType::Symlink, "pool.tar"))),
                ("pool.tar", Err((tar::EntryType::Symlink, "loop.tar"))),
                ("out.tar", Err((tar::EntryType::Symlink, "../../../../etc/passwd"))),
                ("dir", Err((tar::EntryType::Directory, "x"))),
                ("manifest.json", Ok(manifest.as_bytes())),
            ],
        );
        let error = content_error(open_one(&path));
        assert!(error.contains(want), "{error} has not {want}");
    }
    for (manifest, want) in [("null", "lists none"), ("[]", "lists none"), ("{", "docker archive: JSON")] {
        archive(&path, &[("manifest.json", Ok(manifest.as_bytes()))]);
        let error = content_error(open_one(&path));
        assert!(
            error.contains(want.trim_start_matches("lists none")) && error.starts_with("manifest.json: "),
            "{error}"
        );
    }
}

#[test]
fn several_images_in_a_docker_archive_have_names() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("images.tar");
    let layer = tar_of(&[("a", b"")]);
    let config = config_of(&[&layer]);
    let entry =
        |tags: Value, config: &str| json!({ "Config": config, "RepoTags": tags, "Layers": ["l.tar"] });
    let manifest = json!([
        entry(json!(["app:1", "app:latest"]), "c.json"),
        entry(json!(null), "c.json"),
        entry(json!(["bad"]), "absent.json")
    ]);
    archive(
        &path,
        &[
            ("c.json", Ok(&config)),
            ("l.tar", Ok(&layer)),
            ("manifest.json", Ok(manifest.to_string().as_bytes())),
        ],
    );
    let images = open(&path).unwrap();
    let suffixes: Vec<_> =
        images.iter().map(|image| image.info.reference.rsplit_once('#').unwrap().1).collect();
    let digest = format!("sha256:{}", &Sha256::of(&config).hex()[..12]);
    assert_eq!(suffixes, ["app:1", &digest, "bad"]);
    let outcomes: Vec<_> = images.iter().map(|image| image.content.is_ok()).collect();
    assert_eq!(outcomes, [true, true, false]);
}

#[test]
fn an_archive_with_both_indexes_is_read_by_the_one_that_is_whole() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("layout");
    let layout = Layout(&root);
    let layers = one_layer("a");
    let manifest = layout.image("amd64", &layers);
    let config = config_of(&[&layers[0].0]);
    let docker = json!([{ "Config": format!("blobs/sha256/{}", Sha256::of(&config).hex()), "RepoTags": ["app:1"], "Layers": [format!("blobs/sha256/{}", Sha256::of(&layers[0].0).hex())] }]);
    layout.blob("", &config);
    fs::write(root.join("manifest.json"), docker.to_string()).unwrap();
    let path = directory.path().join("both.tar");
    layout.finish(&[manifest]);
    layout.archive(&path);
    assert_eq!(open_one(&path).info.kind, ImageKind::OciArchive);
    let forced = source::open(&format!("docker-archive:{}", path.display()), &source_options()).unwrap();
    assert_eq!(forced[0].info.kind, ImageKind::DockerArchive);
    // As docker 25 wrote it: a layout that lists nothing.
    layout.finish(&[]);
    layout.archive(&path);
    let image = open_one(&path);
    assert_eq!(image.info.kind, ImageKind::DockerArchive);
    assert_eq!(names_of(image), [["/a file"]]);
}

#[test]
fn disks_are_told_by_their_magic() {
    let directory = TempDir::new().unwrap();
    let place = |offset: usize, magic: &[u8]| [&vec![1; offset][..], magic, &[1; 1000]].concat();
    let disks = [
        place(0, b"QFI\xfb"),
        place(0, b"KDMV"),
        b"# Disk DescriptorFile\nversion=1\n".to_vec(),
        place(0, b"vhdxfile"),
        place(0x40, b"\x7f\x10\xda\xbe"),
        place(510, b"\x55\xaa"),
        place(512, b"EFI PART"),
        place(4096, b"EFI PART"),
        place(0x438, b"\x53\xef"),
        place(0, b"hsqs"),
        place(0, b"LUKS\xba\xbe"),
        place(512, b"LABELONE"),
        place(0x8001, b"CD001"),
        place(0x1_0040, b"_BHRfS_M"),
    ];
    for disk in disks {
        for bytes in [disk.clone(), gzip(&disk), zstd(&disk)] {
            let path = directory.path().join("file");
            fs::write(&path, &bytes).unwrap();
            assert_eq!(open_one(&path).info.kind, ImageKind::Disk, "{:?}", &disk[..8]);
        }
    }
}

#[test]
fn names_that_lead_to_no_image_say_what_is_there() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let place = |offset: usize, magic: &[u8]| [&vec![1; offset][..], magic, &[1; 1000]].concat();
    let tar = tar_of(&[("etc/os-release", b"")]);
    for (bytes, want) in [
        (vec![], "an empty file"),
        (gzip(b"a text"), "compressed with gzip that holds no tar and no disk, but a text file"),
        (gzip(b""), "compressed with gzip that holds no tar and no disk, but an empty file"),
        (place(0, b"\x7fELF"), "an ELF executable"),
        (place(0, b"PK\x03\x04"), "a zip archive"),
        (b"FROM debian:12\n".to_vec(), "a text file"),
        (b"{\"schema\":\"other/1\"}".to_vec(), "a JSON document that is no karat inventory"),
        (vec![0; 4096], "starts with zeros only"),
        (place(0, b"\xde\xad\xbe\xef"), "it starts with de ad be ef"),
        (tar_of(&[("srv/x", b"")]), "a tar that is no image archive and no root file system"),
        (tar_of(&[(&format!("blobs/sha256/{:064}", 0), b"")]), "an image archive without its index"),
    ] {
        let error = open(&at("file", &bytes)).err().unwrap();
        assert!(error.to_string().contains(want), "{error} has not {want}");
        assert!(error.hint_text().is_some() && matches!(error.kind(), Kind::Unsupported(_)), "{error}");
    }
    for (name, want) in [
        ("/no/such/image.tar", "/no/such/image.tar: not found: no such file or directory"),
        (
            "docker://example/app:1",
            "docker://example/app:1: not read by this version: images named by `docker:`",
        ),
        ("/dev/null", "/dev/null: neither a regular file nor a directory"),
        ("", ": not found: no such file or directory"),
    ] {
        assert_eq!(source::open(name, &source_options()).err().unwrap().to_string(), want);
    }
    let file = at("file", &tar);
    for (prefix, want) in [("dir", "a file, and no `dir`"), ("oci-dir", "a file, and no `oci-dir`")] {
        let error = source::open(&format!("{prefix}:{}", file.display()), &source_options()).err().unwrap();
        assert!(error.to_string().ends_with(want), "{error}");
    }
    // A file whose own name looks like a prefix is that file.
    let odd = at("dir:odd", b"text");
    assert!(open(&odd).err().unwrap().to_string().contains("a text file"));
    let inventory = at("inventory.json", br#"{ "schema": "karat-inventory/1", "x": 1 }"#);
    let image = open_one(&inventory);
    assert_eq!(image.info.kind, ImageKind::Inventory);
    assert!(matches!(image.content, Ok(Content::Document(bytes)) if bytes.len() == 41));
}

#[test]
fn a_directory_is_walked_without_following_anything() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("var/lib/dpkg/info")).unwrap();
    fs::create_dir_all(root.join("usr/share/doc/a")).unwrap();
    fs::write(root.join("var/lib/dpkg/status"), "Package: a\n").unwrap();
    fs::write(root.join("var/lib/dpkg-old"), "").unwrap();
    fs::write(directory.path().join("secret"), "secret").unwrap();
    symlink("../../secret", root.join("usr/out")).unwrap();
    symlink("/", root.join("var/root")).unwrap();
    symlink("usr", root.join("linked")).unwrap();
    let _ = Command::new("mkfifo").arg(root.join("pipe")).status();
    let image = open_one(&root);
    assert_eq!(image.info.kind, ImageKind::Dir);
    let Ok(Content::Directory(stratum)) = image.content else { panic!() };
    let shown = visit(&*stratum, Scope::All, Want::Head(5), true).unwrap();
    let mut names = shown.names();
    names.retain(|name| name != "/pipe special");
    assert_eq!(
        names,
        [
            "/linked symlink",
            "/usr dir",
            "/usr/out symlink",
            "/usr/share dir",
            "/usr/share/doc dir",
            "/usr/share/doc/a dir",
            "/var dir",
            "/var/lib dir",
            "/var/lib/dpkg dir",
            "/var/lib/dpkg/info dir",
            "/var/lib/dpkg/status file",
            "/var/lib/dpkg-old file",
            "/var/root symlink",
        ]
    );
    assert_eq!(shown.content("var/lib/dpkg/status"), b"Packa");
    assert_eq!(shown.digests[&"var/lib/dpkg/status".into()], Sha256::of(b"Package: a\n"));
    let paths = [
        "var/lib/dpkg/status",
        "var/lib/dpkg",
        "var/lib/dpkg/info",
        "usr/out/x",
        "linked/share",
        "absent/a",
        "var",
    ];
    for (count, want) in [
        (1, vec!["/var dir", "/var/lib dir", "/var/lib/dpkg dir", "/var/lib/dpkg/status file"]),
        (
            3,
            vec![
                "/var dir",
                "/var/lib dir",
                "/var/lib/dpkg dir",
                "/var/lib/dpkg/info dir",
                "/var/lib/dpkg/status file",
            ],
        ),
    ] {
        let scope: Vec<_> = paths[..count].iter().map(|path| (*path).into()).collect();
        assert_eq!(visit(&*stratum, Scope::Only(&scope), Want::Random, false).unwrap().names(), want);
    }
    let scope: Vec<_> = paths[3..6].iter().map(|path| (*path).into()).collect();
    let shown = visit(&*stratum, Scope::Only(&scope), Want::Random, false).unwrap();
    assert_eq!(shown.names(), ["/linked symlink", "/usr dir", "/usr/out symlink"]);
    assert_eq!(shown.entries[0].node, Node::Symlink(b"usr"[..].into()));
    let whole = visit(&*stratum, Scope::Only(&["".into()]), Want::No, false).unwrap();
    assert_eq!(whole.entries, visit(&*stratum, Scope::All, Want::No, false).unwrap().entries);
}

#[test]
fn cuts_and_flips_never_panic() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("layout");
    let layout = Layout(&root);
    let nested =
        layout.index_of(&[layout.image("arm64", &one_layer("a")), layout.image("amd64", &one_layer("b"))]);
    layout.finish(&[nested]);
    let (oci, docker) = (directory.path().join("oci.tar"), directory.path().join("docker.tar"));
    layout.archive(&oci);
    let layer = tar_of(&[("a", b"")]);
    let config = config_of(&[&layer]);
    let manifest =
        json!([{ "Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l/layer.tar"] }]).to_string();
    archive(
        &docker,
        &[("manifest.json", Ok(manifest.as_bytes())), ("c.json", Ok(&config)), ("l/layer.tar", Ok(&layer))],
    );
    for path in [oci, docker] {
        let whole = fs::read(&path).unwrap();
        let broken = directory.path().join("broken.tar");
        let try_it = |bytes: &[u8]| {
            fs::write(&broken, bytes).unwrap();
            for image in open(&broken).into_iter().flatten() {
                if matches!(image.content, Ok(Content::Layers(_))) {
                    visit_layers(image);
                }
            }
        };
        (0..whole.len()).step_by(311).for_each(|len| try_it(&whole[..len]));
        for at in (0..whole.len()).step_by(17) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x15;
            try_it(&flipped);
        }
    }
}

#[test]
fn what_real_tools_write_is_read() {
    if !has_tool("umoci") || !has_tool("skopeo") {
        return;
    }
    let directory = TempDir::new().unwrap();
    let run = |tool: &str, arguments: &[&str]| {
        let done = Command::new(tool).args(arguments).current_dir(directory.path()).output().unwrap();
        assert!(done.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    run("umoci", &["init", "--layout", "l"]);
    run("umoci", &["new", "--image", "l:1"]);
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/os-release"), "ID=debian\n").unwrap();
    fs::write(tree.join("big"), noise(600_000)).unwrap();
    run("umoci", &["insert", "--rootless", "--image", "l:1", "tree/etc", "/etc"]);
    run("umoci", &["insert", "--rootless", "--image", "l:1", "tree/big", "/big"]);
    run("umoci", &["insert", "--rootless", "--whiteout", "--image", "l:1", "/etc/os-release"]);
    run("skopeo", &["copy", "-q", "oci:l:1", "docker-archive:docker.tar:app:1"]);
    run("skopeo", &["copy", "-q", "oci:l:1", "oci-archive:oci.tar:1"]);
    run(
        "skopeo",
        &["copy", "-q", "--dest-compress-format", "zstd", "--dest-compress", "oci:l:1", "oci:zstd:1"],
    );
    let want = names_of(open_one(&directory.path().join("l")));
    assert_eq!(want.len(), 3);
    assert_eq!(want[2], ["/etc/os-release whiteout"]);
    for name in ["docker.tar", "oci.tar", "zstd"] {
        assert_eq!(names_of(open_one(&directory.path().join(name))), want, "{name}");
    }
}
