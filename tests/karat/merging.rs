//! What layers make together (OCI image-spec 1.1, `layer.md`), by rule and by what umoci unpacks.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use karat::collect::{Facts, gather, squash};
use karat::limits::Limits;
use karat::model::ImagePath;
use karat::stratum::{Node, Scope};
use tar::EntryType;
use tempfile::TempDir;

use crate::making::{Layout, gzip, layer_of, with};
use crate::tools::tool;

/// Members as words: `path` a file, `path/` a directory, `path -> target` a link, `path = target` a hard link.
/// In file `a` of layer 2 stands `2:a`.
fn layer(number: usize, members: &[&str]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(0);
        header.set_mtime(1_000_000_000);
        if let Some((path, target)) = member.split_once(" -> ") {
            header.set_entry_type(EntryType::Symlink);
            builder.append_link(&mut header, path, target).unwrap();
        } else if let Some((path, target)) = member.split_once(" = ") {
            header.set_entry_type(EntryType::Link);
            builder.append_link(&mut header, path, target).unwrap();
        } else if member.ends_with('/') {
            header.set_entry_type(EntryType::Directory);
            builder.append_data(&mut header, member, &b""[..]).unwrap();
        } else {
            let is_marker = member.rsplit('/').next().unwrap().starts_with(".wh.");
            let content = if is_marker { String::new() } else { format!("{number}:{member}") };
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, member, content.as_bytes()).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

/// The merged tree: what is at each path; a file is said by the layer and path that its content is from.
fn merged(layers: &[Vec<u8>]) -> BTreeMap<String, String> {
    let facts: Vec<Facts> = layers
        .iter()
        .map(|tar| {
            let stratum = layer_of(tar.clone(), None, Limits::default());
            let facts = gather(&*stratum, Scope::All, &[], &Limits::default()).unwrap();
            assert_eq!(facts.gaps, []);
            facts
        })
        .collect();
    let squashed = squash(facts);
    let what = |path: &ImagePath, node: &Node| match node {
        Node::Directory(_) | Node::Opaque => "dir".to_owned(),
        Node::Symlink(target) => format!("-> {}", String::from_utf8_lossy(target)),
        Node::File(_) | Node::HardLink(_) => {
            let located = squashed.locate(path).expect("a file's content");
            format!("{}:{}", located.stratum.0, located.path.to_string().trim_start_matches('/'))
        }
        other => format!("{other:?}"),
    };
    squashed.below(&ImagePath::root()).map(|(path, node)| (path.to_string(), what(path, node))).collect()
}

/// The same of a directory on disk.
fn listed(root: &Path, below: &Path, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(below).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let name = format!("/{}", path.strip_prefix(root).unwrap().display());
        if metadata.is_dir() {
            into.insert(name, "dir".into());
            listed(root, &path, into);
        } else if metadata.is_symlink() {
            into.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else {
            into.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

fn unpacked_by_umoci(layers: &[Vec<u8>]) -> Option<BTreeMap<String, String>> {
    Some(umoci(layers)?.unwrap())
}

/// What umoci unpacks, or says.
fn umoci(layers: &[Vec<u8>]) -> Option<Result<BTreeMap<String, String>, String>> {
    let umoci = tool("umoci")?;
    let directory = TempDir::new().unwrap();
    let layout = Layout(directory.path());
    let layers: Vec<_> = layers.iter().map(|tar| (tar.clone(), gzip(tar))).collect();
    let name = serde_json::json!({ "org.opencontainers.image.ref.name": "1" });
    layout.finish(&[with(layout.image("amd64", &layers), "annotations", name)]);
    let bundle = directory.path().join("bundle");
    let done = Command::new(umoci)
        .args(["unpack", "--rootless", "--image"])
        .arg(format!("{}:1", directory.path().display()))
        .arg(&bundle)
        .output()
        .unwrap();
    if !done.status.success() {
        return Some(Err(String::from_utf8_lossy(&done.stderr).into_owned()));
    }
    let root = bundle.join("rootfs");
    let mut all = BTreeMap::new();
    listed(&root, &root, &mut all);
    Some(Ok(all))
}

#[test]
fn layers_merge_by_the_rules() {
    for (layers, want) in [
        // A whiteout hides what is below, and what is below that.
        (&[&["a/", "a/x", "a/d/", "a/d/y", "b"][..], &[".wh.a"]][..], &["/b 0:b"][..]),
        // A whiteout of a name and an entry of that name in the same layer, in both orders.
        (&[&["a"], &[".wh.a", "a"]], &["/a 1:a"]),
        (&[&["a"], &["a", ".wh.a"]], &["/a 1:a"]),
        (&[&["a/", "a/x"], &[".wh.a", "a/", "a/y"]], &["/a dir", "/a/y 1:a/y"]),
        (&[&["a/", "a/x"], &["a/", "a/y", ".wh.a"]], &["/a dir", "/a/y 1:a/y"]),
        // An opaque directory hides lower layers and never its own, wherever the marker stands.
        (&[&["a/", "a/x"], &["a/", "a/.wh..wh..opq", "a/y"]], &["/a dir", "/a/y 1:a/y"]),
        (&[&["a/", "a/x"], &["a/", "a/y", "a/.wh..wh..opq"]], &["/a dir", "/a/y 1:a/y"]),
        (
            &[&["a/", "a/x"], &["a/.wh..wh..opq", "a/y", "a/.wh..wh..opq", "a/z"]],
            &["/a dir", "/a/y 1:a/y", "/a/z 1:a/z"],
        ),
        (
            &[&["a/", "a/d/", "a/d/x"], &["a/", "a/d/", "a/d/y", "a/.wh..wh..opq"]],
            &["/a dir", "/a/d dir", "/a/d/y 1:a/d/y"],
        ),
        (&[&["a/", "a/x"], &["a/", "a/.wh..wh..opq"], &["a/", "a/z"]], &["/a dir", "/a/z 2:a/z"]),
        // aufs' own.
        (&[&["a"], &[".wh..wh.plnk/", ".wh..wh.plnk/1.2", ".wh..wh.aufs", ".wh..wh.orph/"]], &["/a 0:a"]),
        // A directory joins a directory; anything else replaces.
        (&[&["a/", "a/x"], &["a/", "a/y"]], &["/a dir", "/a/x 0:a/x", "/a/y 1:a/y"]),
        (&[&["a/", "a/x"], &["a"]], &["/a 1:a"]),
        (&[&["a"], &["a/", "a/x"]], &["/a dir", "/a/x 1:a/x"]),
        (&[&["b/", "b/x", "a -> b"], &["a/", "a/y"]], &["/a dir", "/a/y 1:a/y", "/b dir", "/b/x 0:b/x"]),
        // Hard links within a layer and over layers; what they lead to may be replaced or removed later.
        (&[&["a", "b = a"]], &["/a 0:a", "/b 0:a"]),
        (&[&["a"], &["b = a"]], &["/a 0:a", "/b 0:a"]),
        (&[&["a", "b = a"], &["a"]], &["/a 1:a", "/b 0:a"]),
        (&[&["a", "b = a"], &[".wh.a"]], &["/b 0:a"]),
        // A parent that is a link below, and not in the layer itself.
        (
            &[&["usr/", "usr/lib/", "lib -> usr/lib"], &["lib/x"]],
            &["/lib -> usr/lib", "/usr dir", "/usr/lib dir", "/usr/lib/x 1:lib/x"],
        ),
        // The same in one layer, also over what is there and through links in a row.
        (
            &[&["usr/", "usr/lib/", "lib -> usr/lib", "lib/x"]],
            &["/lib -> usr/lib", "/usr dir", "/usr/lib dir", "/usr/lib/x 0:lib/x"],
        ),
        (
            &[&["b/", "b/x"], &["a -> b", "c -> a", "c/x", "a/y", "d = c/x"]],
            &["/a -> b", "/b dir", "/b/x 1:c/x", "/b/y 1:a/y", "/c -> a", "/d 1:c/x"],
        ),
        // Of a link that leads nowhere the directory is made where it leads.
        (&[&["etc -> b", "etc/x"], &["b/", "b/y"]], &["/b dir", "/b/x 0:etc/x", "/b/y 1:b/y", "/etc -> b"]),
        // What comes later in a layer replaces a directory that was only implied.
        (&[&["a/", "a/d/x", "a/d", "a/e/", "a/e/x", "a/e"]], &["/a dir", "/a/d 0:a/d", "/a/e 0:a/e"]),
        (&[&["a/", "b/", "a/d/x", "a/d -> ../b"]], &["/a dir", "/a/d -> ../b", "/b dir"]),
    ] {
        let tars: Vec<_> =
            layers.iter().enumerate().map(|(number, members)| layer(number, members)).collect();
        let found = merged(&tars);
        let shown: Vec<String> = found.iter().map(|(path, what)| format!("{path} {what}")).collect();
        assert_eq!(shown, want, "{layers:?}");
        // umoci removes what a whiteout behind it names in its own layer, and knows nothing of aufs.
        let is_disputed = layers.iter().any(|members| match members {
            [first, .., last] => *last == ".wh.a" || first.starts_with(".wh..wh."),
            _ => false,
        });
        if !is_disputed && let Some(theirs) = unpacked_by_umoci(&tars) {
            assert_eq!(found, theirs, "{layers:?}");
        }
    }
}

/// An upper layer puts a file, a directory or nothing in the place of the link through which the lower one named its
/// database, and it may put the link back: what the database says counts only while something leads to it.
#[test]
fn a_database_behind_a_link_counts_while_the_link_is_there() {
    let package = ("var/lib/dpkg/status.d/a", status("1"));
    let link = Some(("var/lib", "b"));
    let lower = tar_of(&[release(), package], link);
    let empty = || tar_of(&[], None);
    let linked = || tar_of(&[], link);
    let file = || tar_of(&[("var/lib", String::new())], None);
    let gone = || tar_of(&[("var/.wh.lib", String::new())], None);
    let elsewhere = || tar_of(&[("var/c/x", String::new())], Some(("var/lib", "c")));
    let other = || tar_of(&[("var/lib/dpkg/status.d/a", status("2"))], None);
    let directory = |link: (&str, &str)| {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, target) in [("var/lib", None), (link.0, Some(link.1))] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            header.set_size(0);
            match target {
                None => {
                    header.set_entry_type(EntryType::Directory);
                    builder.append_data(&mut header, name, &b""[..]).unwrap();
                }
                Some(target) => {
                    header.set_entry_type(EntryType::Symlink);
                    builder.append_link(&mut header, name, target).unwrap();
                }
            }
        }
        builder.into_inner().unwrap()
    };
    let inner = || directory(("var/lib/dpkg", "../b/dpkg"));
    let renamed = || directory(("var/lib/dpkg/status.d/x", "../../../b/dpkg/status.d/a"));
    for (case, above, want) in [
        ("the link stays", vec![empty()], vec!["1 of layer 0"]),
        ("a file", vec![file()], vec![]),
        ("a whiteout", vec![gone()], vec![]),
        ("another link", vec![elsewhere()], vec![]),
        ("a file, and the link again", vec![file(), linked()], vec!["1 of layer 2"]),
        ("the same link", vec![linked()], vec!["1 of layer 0"]),
        ("the next link again", vec![linked(), empty(), gone()], vec![]),
        ("another link that leads there by this name", vec![inner()], vec!["1 of layer 0"]),
        ("by another name", vec![renamed()], vec!["1 of layer 0"]),
        ("by another name, later", vec![file(), renamed()], vec!["1 of layer 2"]),
        ("a database of its own", vec![gone(), other(), empty()], vec!["2 of layer 2"]),
        ("through the link, then gone", vec![other(), gone()], vec![]),
    ] {
        let layers: Vec<Vec<u8>> = std::iter::once(lower.clone()).chain(above).collect();
        let inventory = inventory_of(&layers);
        let shown: Vec<String> = inventory
            .systems
            .iter()
            .flat_map(|system| &system.packages)
            .map(|package| format!("{} of layer {}", package.version, package.stratum.0))
            .collect();
        assert_eq!(shown, want, "{case}: {:?}", inventory.gaps);
    }
}

/// Entries below a file or below a link that leads to none: engines stop there.
#[test]
fn what_lies_below_a_file_is_a_gap() {
    for (layers, want) in [
        (&[&["a", "a/b"][..]][..], &["/a"][..]),
        (&[&["a", "a/b/", "a/b/c", "a-b", "a0"]], &["/a"]),
        (&[&["a"], &["a/b"]], &["/a"]),
        (&[&["b", "a -> b", "a/c"]], &["/a"]),
        (&[&["a -> a", "a/b"]], &["/a"]),
        (&[&["a", "b = a", "b/c"]], &["/b"]),
        // The file came last, or a directory took its place.
        (&[&["a/b", "a"]], &[]),
        (&[&["a"], &["a/", "a/b"]], &[]),
        (&[&["a"], &[".wh.a", "a/b"]], &[]),
    ] {
        let tars: Vec<_> =
            layers.iter().enumerate().map(|(number, members)| layer(number, members)).collect();
        let gather = |tar: &Vec<u8>| {
            let stratum = layer_of(tar.clone(), None, Limits::default());
            gather(&*stratum, Scope::All, &[], &Limits::default()).unwrap()
        };
        let squashed = squash(tars.iter().map(gather).collect());
        let places: Vec<&str> = squashed.gaps.iter().map(|gap| gap.place.as_str()).collect();
        assert_eq!(places, want, "{layers:?}");
        for (path, _) in squashed.below(&ImagePath::root()) {
            let above = path.parent();
            let is_file = |node: &Node| !matches!(node, Node::Directory(_) | Node::Opaque);
            assert!(above.is_root() || !squashed.node(&above).is_some_and(is_file), "{layers:?}: {path}");
        }
        if let Some(unpacked) = umoci(&tars) {
            assert_eq!(unpacked.is_ok(), want.is_empty(), "{layers:?}: {unpacked:?}");
        }
    }
}

fn status(version: &str) -> String {
    format!("Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: {version}\n\n")
}

fn release() -> (&'static str, String) {
    ("etc/os-release", "ID=debian\nVERSION_ID=12\n".to_owned())
}

/// A layer: the link first, so that what lies below it is named through it.
fn tar_of(files: &[(&str, String)], link: Option<(&str, &str)>) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    if let Some((name, target)) = link {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn inventory_of(layers: &[Vec<u8>]) -> karat::model::Inventory {
    let directory = TempDir::new().unwrap();
    let layout = Layout(directory.path());
    let layers: Vec<_> = layers.iter().map(|tar| (tar.clone(), gzip(tar))).collect();
    layout.finish(&[layout.image("amd64", &layers)]);
    let output = assert_cmd::Command::cargo_bin("karat")
        .unwrap()
        .args(["inventory", directory.path().to_str().unwrap(), "-o", "json", "--platform", "linux/amd64"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The database of the upper layer is written through a link of the lower one.
#[test]
fn a_database_that_its_layer_names_through_a_link_is_read() {
    let lower = tar_of(&[release(), ("var/lib/dpkg/status", status("1"))], Some(("data", "var/lib/dpkg")));
    let upper = tar_of(&[("data/status", status("2"))], None);
    let inventory = inventory_of(&[lower, upper]);
    let versions: Vec<_> = inventory.systems[0].packages.iter().map(|p| p.version.to_string()).collect();
    assert_eq!(versions, ["2"], "{:?}", inventory.gaps);
}
