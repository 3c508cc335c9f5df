//! The layer cache: whatever is in it, the answer is that of a run without it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use karat::collect::{COLLECTORS, Collector, FileView, Needs, Out};
use karat::error::Result;
use karat::limits::Limits;
use karat::model::Sha256;
use karat::scan::{self, LayerCache, Usage, scan_all};
use karat::stratum::{Entry, Want};
use serde_json::json;

use crate::making::{Layout, gzip, layer_options, noise, source_options, tar_of};

/// Options of a run with this cache, and the counter of bytes that it reads of layers.
fn options(cache: Option<LayerCache>) -> (scan::Options, Arc<AtomicU64>) {
    with_limits(cache, Limits::default())
}

fn with_limits(cache: Option<LayerCache>, limits: Limits) -> (scan::Options, Arc<AtomicU64>) {
    let layer = layer_options(limits.clone());
    let progress = Arc::clone(&layer.progress);
    let options = scan::Options {
        source: karat::source::Options { limits: Arc::new(limits), ..source_options() },
        layer,
        needs: Needs::OS_PACKAGES,
        collectors: COLLECTORS,
        threads: 2,
        taken_at: "2026-11-24".parse().unwrap(),
        cache: cache.map(Arc::new),
    };
    (options, progress)
}

fn at(folder: &Path, used_at: u64) -> LayerCache {
    LayerCache::new(folder, false, Duration::from_secs(1_800_000_000 + used_at))
}

fn trusted(folder: &Path) -> LayerCache {
    LayerCache::new(folder, true, Duration::from_secs(1_800_000_000))
}

fn names(images: &[PathBuf]) -> Vec<String> {
    images.iter().map(|image| image.display().to_string()).collect()
}

/// What a run says of these images: inventories as JSON, errors as text.
fn said(images: &[PathBuf], options: &scan::Options) -> Vec<String> {
    let text = |result: Result<Vec<_>>| match result {
        Ok(inventories) => serde_json::to_string(&inventories).unwrap(),
        Err(error) => error.to_string(),
    };
    scan_all(&names(images), options).into_iter().map(text).collect()
}

fn plainly(images: &[PathBuf]) -> Vec<String> {
    let one = |image: &PathBuf| said(std::slice::from_ref(image), &options(None).0).remove(0);
    images.iter().map(one).collect()
}

fn usage(folder: &Path) -> Usage {
    at(folder, 0).usage()
}

/// The files of entries, sorted.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder.join("layers")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut images = Vec::new();
    for folder in ["images", "broken"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "tar")
                || path.join("index.json").exists()
            {
                images.push(path);
            }
        }
    }
    images.sort();
    assert!(images.len() > 8, "{images:?}");
    images
}

const OS_RELEASE: &[u8] = b"ID=debian\nVERSION_ID=12\n";

fn status(packages: &[(&str, &str)]) -> Vec<u8> {
    let stanza = |(name, version): &(&str, &str)| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\
             Maintainer: A <a@b.c>\nDescription: x\n\n"
        )
    };
    packages.iter().map(stanza).collect::<String>().into_bytes()
}

/// A layer: its tar, and the same as stored.
fn stored(tar: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let packed = gzip(&tar);
    (tar, packed)
}

fn base() -> (Vec<u8>, Vec<u8>) {
    let noise = noise(300_000);
    stored(tar_of(&[
        ("etc/os-release", OS_RELEASE),
        ("opt/", b""),
        ("opt/noise", &noise),
        ("var/lib/dpkg/status", &status(&[("dpkg", "1.21.22"), ("bash", "5.2.15-2")])),
    ]))
}

/// A layout of these layers.
fn layout(root: &Path, name: &str, layers: &[(Vec<u8>, Vec<u8>)]) -> PathBuf {
    let path = root.join(name);
    let layout = Layout(&path);
    let manifest = layout.image("amd64", layers);
    layout.finish(&[manifest]);
    path
}

fn blob(layout: &Path, stored: &[u8]) -> PathBuf {
    layout.join("blobs/sha256").join(Sha256::of(stored).hex())
}

#[test]
fn every_fixture_says_the_same_with_and_without_cache() {
    let images = fixtures();
    let plain = plainly(&images);
    for needs in [Needs::OS_PACKAGES, Needs::OS_PACKAGES | Needs::HISTORY | Needs::OWNERSHIP] {
        let folder = tempfile::tempdir().unwrap();
        let run = |cache: Option<LayerCache>, threads| {
            let (options, _) = options(cache);
            said(&images, &scan::Options { needs, threads, ..options })
        };
        let without = run(None, 1);
        if needs == Needs::OS_PACKAGES {
            assert_eq!(without, plain);
        }
        assert!(run(None, 4) == without, "without a cache, four threads");
        assert!(run(Some(at(folder.path(), 0)), 4) == without, "cold");
        let filled = usage(folder.path());
        assert!(filled.entries > 4, "{filled:?}");
        assert!(run(Some(at(folder.path(), 1)), 1) == without, "warm");
        assert!(run(Some(at(folder.path(), 2)), 4) == without, "warm, four threads");
        // Some of the broken ones have the digests of whole ones: trusted, they are taken for these.
        let is_whole = |image: &&PathBuf| !image.to_str().unwrap().contains("broken");
        let (trusting, read) = options(Some(trusted(folder.path())));
        let trusting = scan::Options { needs, ..trusting };
        for (image, without) in images.iter().zip(&without).filter(|(image, _)| is_whole(image)) {
            assert_eq!(said(std::slice::from_ref(image), &trusting), [without.as_str()], "trusted");
        }
        assert_eq!(read.load(Ordering::Relaxed), 0);
        assert_eq!(usage(folder.path()), filled);
    }
}

#[test]
fn a_damaged_entry_is_ignored_and_written_again() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let images = [layout(root.path(), "image", &[base()])];
    let plain = plainly(&images);
    assert_eq!(said(&images, &options(Some(at(folder.path(), 0))).0), plain);
    let entry = entries(folder.path()).remove(0);
    let whole = fs::read(&entry).unwrap();
    let cuts = (0..whole.len()).step_by(whole.len() / 16).map(|len| whole[..len].to_vec());
    let flips = (0..whole.len()).step_by(whole.len() / 16).map(|at| {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        flipped
    });
    let foreign = [b"{}".to_vec(), vec![0; 1 << 20], [&whole[..], b"\0"].concat()];
    for damaged in cuts.chain(flips).chain(foreign) {
        fs::write(&entry, &damaged).unwrap();
        let (options, read) = options(Some(trusted(folder.path())));
        assert_eq!(said(&images, &options), plain);
        assert!(read.load(Ordering::Relaxed) > 0, "it was believed");
        assert!(fs::read(&entry).unwrap() == whole, "it was not written again");
        assert_eq!(options.cache.unwrap().trouble(), None);
    }
}

#[test]
fn an_entry_under_another_name_is_not_believed() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let other =
        stored(tar_of(&[("etc/os-release", OS_RELEASE), ("var/lib/dpkg/status", &status(&[("evil", "1")]))]));
    let images = [layout(root.path(), "a", &[base()]), layout(root.path(), "b", &[other])];
    let plain = plainly(&images);
    said(&images, &options(Some(at(folder.path(), 0))).0);
    let [a, b] = <[PathBuf; 2]>::try_from(entries(folder.path())).unwrap();
    let [in_a, in_b] = [&a, &b].map(|path| fs::read(path).unwrap());
    fs::write(&a, in_b).unwrap();
    fs::write(&b, in_a).unwrap();
    assert_eq!(said(&images, &options(Some(trusted(folder.path()))).0), plain);
}

#[test]
fn a_changed_layer_is_found_unless_the_cache_is_trusted() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let layer = base();
    let images = [layout(root.path(), "image", std::slice::from_ref(&layer))];
    let plain = plainly(&images);
    let (cold, read) = options(Some(at(folder.path(), 0)));
    assert_eq!(said(&images, &cold), plain);
    assert_eq!(read.load(Ordering::Relaxed), layer.1.len() as u64);

    let blob = blob(&images[0], &layer.1);
    let mut changed = layer.1.clone();
    changed[1000] ^= 1;
    fs::write(&blob, &changed).unwrap();
    let now = plainly(&images);
    assert_ne!(now, plain);
    assert_eq!(said(&images, &options(Some(at(folder.path(), 0))).0), now);

    let (trusting, read) = options(Some(trusted(folder.path())));
    assert_eq!(said(&images, &trusting), plain);
    assert_eq!(read.load(Ordering::Relaxed), 0, "a trusted layer was read");

    // What is not there is missed whatever is trusted.
    fs::remove_file(&blob).unwrap();
    let gone = plainly(&images);
    assert!(gone[0].contains("exported without this layer"), "{}", gone[0]);
    assert_eq!(said(&images, &options(Some(trusted(folder.path()))).0), gone);
}

#[test]
fn a_layer_under_the_diff_id_of_another_is_not_taken_for_it() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (good, evil) = (base(), stored(tar_of(&[("etc/os-release", OS_RELEASE), ("evil", b"x")])));
    let honest = [
        layout(root.path(), "good", std::slice::from_ref(&good)),
        layout(root.path(), "evil", std::slice::from_ref(&evil)),
    ];
    said(&honest, &options(Some(at(folder.path(), 0))).0);
    assert_eq!(usage(folder.path()).entries, 2);
    // The tar of one, the stored bytes of the other: the layout names each pair crosswise.
    let crossed = [
        layout(root.path(), "crossed", &[(good.0.clone(), evil.1.clone())]),
        layout(root.path(), "crossed-too", &[(evil.0, good.1)]),
    ];
    let plain = plainly(&crossed);
    assert!(plain.iter().all(|said| said.contains("diff-id")), "{plain:?}");
    for cache in [at(folder.path(), 0), trusted(folder.path())] {
        assert_eq!(said(&crossed, &options(Some(cache)).0), plain);
    }
    assert_eq!(usage(folder.path()).entries, 2, "what was not proven was kept");
}

#[test]
fn an_archive_that_names_no_digest_of_stored_bytes_is_checked_too() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = |name: &str, stored: &[u8]| {
        let config =
            json!({ "rootfs": { "type": "layers", "diff_ids": [Sha256::of(&base().0).to_string()] } });
        let manifest = json!([{ "Config": "config.json", "Layers": ["layer.tar"] }]);
        let files = [
            ("manifest.json", manifest.to_string().into_bytes()),
            ("config.json", config.to_string().into_bytes()),
            ("layer.tar", stored.to_vec()),
        ];
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, &bytes[..])).collect();
        let path = root.path().join(name);
        fs::write(&path, tar_of(&files)).unwrap();
        path
    };
    let mut changed = base().1;
    changed[1000] ^= 1;
    let images = [
        archive("packed.tar", &base().1),
        archive("plain.tar", &base().0),
        archive("changed.tar", &changed),
        archive("evil.tar", &tar_of(&[("etc/os-release", OS_RELEASE)])),
    ];
    let plain = plainly(&images);
    for _ in 0..2 {
        assert_eq!(said(&images, &options(Some(at(folder.path(), 0))).0), plain);
        for (image, plain) in images.iter().zip(&plain) {
            let said = said(std::slice::from_ref(image), &options(Some(at(folder.path(), 0))).0);
            assert_eq!(said, [plain.as_str()]);
        }
    }
}

/// The dpkg collector of a later version.
struct Later(&'static dyn Collector);

impl Collector for Later {
    fn id(&self) -> &'static str {
        self.0.id()
    }
    fn version(&self) -> u32 {
        self.0.version() + 1
    }
    fn serves(&self) -> Needs {
        self.0.serves()
    }
    fn places(&self) -> &'static [&'static str] {
        self.0.places()
    }
    fn want(&self, entry: &Entry) -> Want {
        self.0.want(entry)
    }
    fn collect(&self, file: &FileView<'_>, out: &mut Out<'_>) -> Result<()> {
        self.0.collect(file, out)
    }
}

#[test]
fn facts_are_kept_for_these_collectors_needs_and_limits_only() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let images = [layout(root.path(), "image", &[base()])];
    let dpkg = *COLLECTORS.iter().find(|collector| collector.id() == "dpkg").unwrap();
    let later: &'static [&'static dyn Collector] =
        Box::leak(Box::new([Box::leak(Box::new(Later(dpkg))) as &_]));
    let mut lower = Limits::default();
    lower.set("record_bytes", 1 << 20).unwrap();
    let mut own = Limits::default();
    own.set("cache_bytes", 1 << 20).unwrap();
    let cache = || Some(at(folder.path(), 0));
    let needs = Needs::OS_PACKAGES | Needs::HISTORY;
    let runs = [
        (options(cache()).0, 1),
        (options(cache()).0, 1),
        (scan::Options { needs, ..options(cache()).0 }, 2),
        (with_limits(cache(), lower).0, 3),
        (scan::Options { collectors: later, ..options(cache()).0 }, 4),
        // Limits of the cache itself say nothing of a layer.
        (with_limits(cache(), own).0, 4),
    ];
    for (number, (options, entries)) in runs.into_iter().enumerate() {
        said(&images, &options);
        assert_eq!(usage(folder.path()).entries, entries, "run {number}");
    }
}

#[test]
fn what_a_limit_or_the_host_kept_from_being_read_is_not_kept() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let images = [layout(root.path(), "image", &[base()])];
    let mut limits = Limits::default();
    limits.set("package_db_bytes", 10).unwrap();
    let without = said(&images, &with_limits(None, limits.clone()).0);
    assert!(without[0].contains("package_db_bytes"), "{}", without[0]);
    for _ in 0..2 {
        assert_eq!(said(&images, &with_limits(Some(at(folder.path(), 0)), limits.clone()).0), without);
    }
    assert_eq!(usage(folder.path()).entries, 0);
}

#[test]
fn a_cache_that_cannot_be_used_is_none() {
    let root = tempfile::tempdir().unwrap();
    let images = [layout(root.path(), "image", &[base()])];
    let plain = plainly(&images);
    let file = root.path().join("file");
    fs::write(&file, b"").unwrap();
    let open = root.path().join("open");
    fs::create_dir_all(open.join("layers")).unwrap();
    fs::set_permissions(open.join("layers"), fs::Permissions::from_mode(0o777)).unwrap();
    let full = Path::new("/proc/self");
    for (folder, reason) in
        [(&*file, "Not a directory"), (&*open, "everybody may write"), (full, "No such file")]
    {
        let (options, _) = options(Some(at(folder, 0)));
        assert_eq!(said(&images, &options), plain);
        let trouble = options.cache.unwrap().trouble().unwrap();
        assert!(trouble.contains(reason), "{trouble}");
    }
}

#[test]
fn the_cache_is_bounded_and_lets_go_of_what_was_used_longest_ago() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let image = |n: usize| {
        let names: Vec<String> =
            (0..200).map(|i| format!("opt/{}", Sha256::of(&[n as u8, i]).hex())).collect();
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        layout(root.path(), &format!("image-{n}"), &[stored(tar_of(&files))])
    };
    let images: Vec<PathBuf> = (0..5).map(image).collect();
    let run = |n: usize, used_at: u64, limits: &Limits| {
        let (options, read) = with_limits(Some(at(folder.path(), used_at)), limits.clone());
        said(&images[n..=n], &options);
        read.load(Ordering::Relaxed)
    };
    let mut limits = Limits::default();
    for n in 0..4 {
        run(n, 0, &limits);
        let entries = entries(folder.path());
        assert_eq!(entries.len(), n + 1);
    }
    // Used in this order, and not in the order of writing.
    for (used_at, n) in [1, 3, 0, 2].into_iter().enumerate() {
        run(n, used_at as u64, &limits);
    }
    let before = usage(folder.path());
    fs::write(folder.path().join("layers/not-ours"), noise(100_000)).unwrap();
    limits.set("cache_bytes", before.bytes - 1).unwrap();
    run(4, 4, &limits);
    let after = usage(folder.path());
    assert!(after.bytes <= limits.cache_bytes.max, "{after:?}");
    assert!(folder.path().join("layers/not-ours").exists());
    // Trusted, what is still there is not read.
    let is_there = |n: usize| {
        let (options, read) = options(Some(trusted(folder.path())));
        said(&images[n..=n], &options);
        read.load(Ordering::Relaxed) == 0
    };
    assert!(is_there(4) && is_there(2) && !is_there(1));
    let full = usage(folder.path());
    assert_eq!((at(folder.path(), 0).clear(), usage(folder.path())), (full, Usage::default()));
}

#[test]
fn images_that_share_layers_read_them_once() {
    let root = tempfile::tempdir().unwrap();
    let top = |n: usize| {
        let name = format!("opt/app-{n}");
        stored(tar_of(&[(name.as_str(), b"x"), ("var/lib/dpkg/.wh.status", b""), ("opt/.wh.noise", b"")]))
    };
    let lowest = base();
    let layers: Vec<_> = (0..6).map(|n| [lowest.clone(), top(n % 3)]).collect();
    let images: Vec<PathBuf> = layers
        .iter()
        .enumerate()
        .map(|(n, layers)| layout(root.path(), &format!("image-{n}"), layers))
        .collect();
    let stored: u64 = layers.iter().flatten().map(|(_, stored)| stored.len() as u64).sum();

    // Copies are files of their own: facts are shared, and each copy is hashed.
    let plain = plainly(&images);
    for threads in [1, 4] {
        let (options, read) = options(None);
        assert_eq!(said(&images, &scan::Options { threads, ..options }), plain);
        assert_eq!(read.load(Ordering::Relaxed), stored);
    }
    // A copy that is damaged is that image's gap, and no other's.
    let damaged = blob(&images[4], &lowest.1);
    let mut bytes = lowest.1.clone();
    bytes[2000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let told = plainly(&images);
    assert!(told[4] != plain[4] && told[..4] == plain[..4] && told[5] == plain[5]);
    assert_eq!(said(&images, &options(None).0), told);

    // Hard links are one file.
    for image in &images[1..] {
        let copy = blob(image, &lowest.1);
        fs::remove_file(&copy).unwrap();
        fs::hard_link(blob(&images[0], &lowest.1), copy).unwrap();
    }
    let (options, read) = options(None);
    assert_eq!(said(&images, &options), plain);
    let once = stored - 5 * lowest.1.len() as u64;
    assert_eq!(read.load(Ordering::Relaxed), once);
}

#[test]
fn second_visits_are_kept_too() {
    let (folder, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lowest = stored(tar_of(&[
        ("etc/os-release", OS_RELEASE),
        ("srv/dpkg/status", &status(&[("dpkg", "1.21.22")])),
    ]));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "var/lib/dpkg", "../../srv/dpkg").unwrap();
    let linked = stored(builder.into_inner().unwrap());
    let size = (lowest.1.len() + linked.1.len()) as u64;
    let images = [layout(root.path(), "image", &[lowest.clone(), linked])];
    let plain = plainly(&images);
    assert!(plain[0].contains("1.21.22"), "{}", plain[0]);

    let (cold, read) = options(Some(at(folder.path(), 0)));
    assert_eq!(said(&images, &cold), plain);
    assert_eq!(read.load(Ordering::Relaxed), size + lowest.1.len() as u64);
    assert_eq!(usage(folder.path()).entries, 3);
    let (warm, read) = options(Some(at(folder.path(), 0)));
    assert_eq!(said(&images, &warm), plain);
    assert_eq!(read.load(Ordering::Relaxed), size, "each layer is hashed once");
    let (trusting, read) = options(Some(trusted(folder.path())));
    assert_eq!(said(&images, &trusting), plain);
    assert_eq!(read.load(Ordering::Relaxed), 0);
}

#[test]
fn processes_share_a_cache() {
    let folder = tempfile::tempdir().unwrap();
    let images =
        ["fixtures/images/debian-12-drifted.oci.tar", "fixtures/images/debian-12-current.docker.tar"];
    let start = |cache: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_karat"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("inventory").args(images).args(cache);
        command.args(["-o", "json", "--as-of", "2026-11-24", "-v"]);
        command.env_remove("KARAT_CACHE_DIR").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let plain = start(&["--no-cache"]).wait_with_output().unwrap();
    let name = folder.path().to_str().unwrap();
    for _ in 0..2 {
        let all: Vec<_> = (0..4).map(|_| start(&["--cache-dir", name])).collect();
        for one in all {
            let output = one.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout == plain.stdout && output.stderr.is_empty());
        }
    }
    let files = entries(folder.path());
    assert!(files.iter().all(|file| file.extension().is_some_and(|e| e == "facts")), "{files:?}");
    assert_eq!(files.len() as u64, usage(folder.path()).entries);
}

#[test]
fn the_cache_is_shown_and_cleared_and_its_trouble_told_to_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let karat = |args: &[&str], home: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_karat"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(args);
        for name in ["KARAT_CACHE_DIR", "XDG_CACHE_HOME", "HOME"] {
            command.env_remove(name);
        }
        home.map(|home| command.env("HOME", home));
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let image = "fixtures/images/debian-12-drifted.oci.tar";
    let read = ["inventory", image, "-o", "json", "--as-of", "2026-11-24", "-v"];
    let homeless = karat(&read, None);
    assert_eq!((homeless.0, homeless.2.as_str()), (Some(0), ""));
    assert_eq!(karat(&read, Some(folder.path())), homeless);

    let entries = entries(&folder.path().join(".cache/karat")).len();
    let (code, shown, _) = karat(&["cache", "show"], Some(folder.path()));
    assert_eq!(code, Some(0));
    assert!(
        shown.contains(".cache/karat/layers\n") && shown.contains(&format!("\n{entries} entries, ")),
        "{shown}"
    );
    let (_, cleared, _) = karat(&["cache", "clear"], Some(folder.path()));
    assert!(cleared.contains(&format!("removed: {entries} entries, ")), "{cleared}");
    let (_, shown, _) = karat(&["cache", "show"], Some(folder.path()));
    assert!(shown.ends_with("\n0 entries, 0 bytes\n"), "{shown}");
    let (code, _, told) = karat(&["cache", "show"], None);
    assert!(code == Some(2) && told.contains("hint: name one"), "{told}");

    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let (code, said, told) = karat(&read, Some(&file));
    assert_eq!((code, said), (Some(0), homeless.1));
    assert!(
        told.starts_with("note: the layer cache was not used as it should be: ") && told.lines().count() == 1
    );
    let (_, _, told) = karat(&read[..read.len() - 1], Some(&file));
    assert_eq!(told, "");
}
