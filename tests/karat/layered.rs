//! Roots in layers: squashfs over each other as casper of Ubuntu lays them.

use std::collections::BTreeMap;
use std::sync::Arc;

use karat::bytes::ReadAt;
use karat::limits::Limits;
use karat::model::{ImagePath, Inventory};
use karat::root::nested;
use karat::tree::{BlockCache, FileTree, LayerMark, NodeId, NodeKind, Squashfs, Stacked};

use crate::cli::{DAY, karat, shown};
use crate::mutate::fixture;

fn open(image: Arc<dyn ReadAt>) -> karat::Result<Arc<dyn FileTree>> {
    let limits = Arc::new(Limits::default());
    Ok(Arc::new(Squashfs::open(BlockCache::new(&limits).reader(image), limits)?))
}

fn medium() -> Arc<dyn FileTree> {
    open(Arc::new(fixture("layers/medium.sqfs"))).unwrap()
}

/// The layers of a root, lowest first: their paths and their bytes.
fn stack(name: &str) -> Vec<(String, Vec<u8>)> {
    let found = nested(&*medium(), &Limits::default());
    let stack = found.into_iter().find(|found| found.path == ImagePath::from(name)).unwrap();
    let bytes =
        |content: Arc<dyn ReadAt>| karat::bytes::read_all(&*content, Limits::default().package_db_bytes);
    stack.layers.into_iter().map(|(path, file)| (path.to_string(), bytes(file.unwrap()).unwrap())).collect()
}

fn stacked(layers: Vec<Vec<u8>>) -> karat::Result<Stacked> {
    let trees = layers.into_iter().map(|bytes| open(Arc::new(bytes))).collect::<karat::Result<_>>()?;
    Stacked::new(trees, Arc::new(Limits::default()))
}

/// Every file and device, as the fixture's list has them; the first error, too.
fn walk(tree: &dyn FileTree) -> (BTreeMap<String, String>, Option<karat::Error>) {
    let (mut rows, mut failed) = (BTreeMap::new(), None);
    let mut left = vec![(String::new(), tree.root())];
    while let Some((path, node)) = left.pop() {
        let mut entries: Vec<(String, NodeId)> = Vec::new();
        let read = tree.read_dir(node, &mut |entry| {
            entries.push((format!("{path}/{}", String::from_utf8_lossy(entry.name)), entry.node));
            Ok(())
        });
        failed = failed.or(read.err());
        for (path, node) in entries {
            let what = tree.meta(node).and_then(|meta| match meta.kind {
                NodeKind::Directory => {
                    left.push((path.clone(), node));
                    Ok(None)
                }
                NodeKind::File => {
                    let content = tree.open(node)?;
                    let bytes = karat::bytes::read_all(&*content, Limits::default().package_db_bytes)?;
                    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
                }
                _ => Ok(Some("device".to_owned())),
            });
            match what {
                Ok(Some(what)) => drop(rows.insert(path, what)),
                Ok(None) => {}
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
    }
    (rows, failed)
}

#[test]
fn layers_come_to_what_overlayfs_shows() {
    for (name, parts) in [
        ("minimal.standard.live", &["minimal", "minimal.standard", "minimal.standard.live"][..]),
        ("minimal.de", &["minimal", "minimal.de"]),
    ] {
        let layers = stack(&format!("casper/{name}.squashfs"));
        let paths: Vec<String> = parts.iter().map(|part| format!("/casper/{part}.squashfs")).collect();
        assert_eq!(layers.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), paths);
        let tree = stacked(layers.into_iter().map(|(_, bytes)| bytes).collect()).unwrap();
        let (rows, failed) = walk(&tree);
        assert!(failed.is_none(), "{failed:?}");
        let expected = String::from_utf8(fixture(&format!("layers/{name}.tsv"))).unwrap();
        let expected: Vec<(&str, &str)> =
            expected.lines().map(|line| line.split_once('\t').unwrap()).collect();
        let paths: Vec<&str> = rows.keys().map(|path| path.trim_start_matches('/')).collect();
        assert_eq!(paths, expected.iter().map(|(path, _)| *path).collect::<Vec<_>>(), "{name}");
        for (path, what) in expected.iter().filter(|(_, what)| *what != "…") {
            let found = rows[&format!("/{path}")].replace('\n', "\\n");
            assert_eq!(format!("'{found}'"), *what, "{path}");
        }
        // What is listed is what is found by name, and what was taken away is not found.
        let mut all: Vec<ImagePath> = rows.keys().map(|path| ImagePath::from(path.as_str())).collect();
        let listed = all.len();
        all.extend(
            ["usr/share/odd", "opt/app/old", "opt/app/sub", "usr/lib/marked/a/x"].map(ImagePath::from),
        );
        for (index, (path, reached)) in all.iter().zip(tree.lookup_many(tree.root(), &all)).enumerate() {
            let is_there = reached.steps.len() == path.components().count() && reached.failed.is_none();
            let is_listed = index < listed || (name == "minimal.de" && path.as_bytes().starts_with(b"opt/"));
            assert_eq!(is_there, is_listed, "{path}");
        }
    }
    // One alone that is named as none of the others is one.
    assert_eq!(nested(&*medium(), &Limits::default()).len(), 2);
    let tree = medium();
    assert_eq!(tree.layer_mark(tree.root()).unwrap(), LayerMark::None);
    assert!(Stacked::new(Vec::new(), Arc::new(Limits::default())).is_err());
}

#[test]
fn a_medium_with_layers_holds_one_system_a_longest_name() {
    let path = format!("{}/fixtures/layers/medium.sqfs", env!("CARGO_MANIFEST_DIR"));
    let ran = karat(&["inventory", "-q", "-o", "json", "--as-of", DAY, &path]);
    let found: Inventory =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {}", shown(&ran)));
    assert_eq!((ran.code, found.gaps.as_slice()), (0, &[][..]), "{}", shown(&ran));
    let systems: Vec<(Option<&str>, Vec<String>)> = found
        .systems
        .iter()
        .map(|system| {
            let packages = system.packages.iter().map(|p| format!("{} {}", p.name, p.version)).collect();
            (system.volume.as_deref(), packages)
        })
        .collect();
    let base = ["base-files 13ubuntu10"];
    let packages = |more: &[&str]| {
        let mut all: Vec<String> = base.iter().chain(more).map(|p| (*p).to_owned()).collect();
        all.sort();
        all
    };
    assert_eq!(
        systems,
        [
            (
                Some("disk: /casper/minimal.de.squashfs"),
                packages(&[
                    "curl 8.5.0-2ubuntu10.1",
                    "dpkg 1.22.6ubuntu6",
                    "language-pack-de 1:24.04",
                    "nano 7.2-2"
                ])
            ),
            (
                Some("disk: /casper/minimal.standard.live.squashfs"),
                packages(&[
                    "bash 5.2.21-2ubuntu4",
                    "casper 1.498",
                    "curl 8.5.0-2ubuntu10.6",
                    "dpkg 1.22.6ubuntu6"
                ])
            ),
        ]
    );
    let notes: Vec<&str> = found.coverage.iter().filter_map(|row| row.note.as_deref()).collect();
    let wanted = "laid over /casper/minimal.squashfs, /casper/minimal.standard.squashfs";
    assert!(notes.contains(&wanted), "{notes:?}");
}

#[test]
fn damaged_layers_are_told() {
    let layers: Vec<Vec<u8>> =
        stack("casper/minimal.standard.live.squashfs").into_iter().map(|(_, bytes)| bytes).collect();
    let (whole, _) = walk(&stacked(layers.clone()).unwrap());
    for (index, layer) in layers.iter().enumerate() {
        let used = layer.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for at in (0..used).step_by(3) {
            let mut broken = layers.clone();
            broken[index][at] ^= 0x41;
            let Ok(tree) = stacked(broken) else { continue };
            let (rows, failed) = walk(&tree);
            // zlib's sums tell of damage in metadata; the plain places lead elsewhere or say other sizes.
            let lost = whole.keys().filter(|path| !rows.contains_key(*path)).count();
            assert!(
                lost == 0 || failed.is_some() || at < 96,
                "layer {index}, byte {at}: {lost} files are gone"
            );
        }
    }
    // One that is cut off keeps the whole from being read, and names the file.
    let cut = |index: usize| {
        let mut broken = layers.clone();
        broken[index].truncate(100);
        stacked(broken).err().map(|error| error.to_string())
    };
    assert!((0..3).all(|index| cut(index).is_some()));
}
