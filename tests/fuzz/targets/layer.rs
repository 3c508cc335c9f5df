//! Layers over each other: what is visible, what it says, and to which layer it belongs.
//!
//! Input: a byte that may ask for threads and for real layers as well, then steps. A step is a byte (what it adds, or
//! that the next layer begins) and bytes that choose a path, and a content or what a link leads to, out of
//! tables: so paths meet, which is what merging is about.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use karat::collect::{Assembled, COLLECTORS, Facts, Needs, Squashed, assemble, follow_up, gather, squash};
use karat::error::Result;
use karat::model::{ImagePath, Sha256, StratumId, System};
use karat::scan::scan;
use karat::stratum::{Entry, Meta, Node, Scope, Sink, Stratum, Want};
use karat_fuzz::{InFile, LIMITS, scan_options, tar_of};
use libfuzzer_sys::{Corpus, fuzz_target};

static FILE: LazyLock<InFile> = LazyLock::new(InFile::new);

const PATHS: [&str; 48] = [
    "etc",
    "etc/os-release",
    "usr",
    "usr/lib",
    "usr/lib/os-release",
    "var",
    "var/lib",
    "var/lib/dpkg",
    "var/lib/dpkg/status",
    "var/lib/dpkg/status.d",
    "var/lib/dpkg/status.d/tiny",
    "var/lib/dpkg/status.d/tiny.md5sums",
    "var/lib/dpkg/updates",
    "var/lib/dpkg/updates/0000",
    "var/lib/dpkg/updates/0001",
    "var/lib/dpkg/info",
    "var/lib/dpkg/info/tiny.list",
    "var/lib/dpkg/info/tiny.md5sums",
    "var/lib/dpkg/info/other:amd64.list",
    "var/lib/dpkg/diversions",
    "lib",
    "lib/apk",
    "lib/apk/db",
    "lib/apk/db/installed",
    "usr/lib/apk/db/installed",
    "etc/apk/world",
    "usr/share/doc",
    "usr/share/doc/tiny",
    "usr/share/doc/tiny/changelog.Debian",
    "usr/share/doc/other",
    "usr/share/doc/other/changelog.Debian",
    "var/lib/rpm/rpmdb.sqlite",
    "etc/debian_version",
    "etc/alpine-release",
    "a",
    "a/b",
    "a/b/c",
    "a-b",
    "a/b-c",
    "b",
    "b/c",
    "b/status",
    "b/dpkg/status",
    "b/installed",
    "opt/lib",
    "opt/lib/dpkg/status",
    "srv",
    "srv/os-release",
];

const TARGETS: [&str; 24] = [
    "/usr/lib/os-release",
    "../usr/lib/os-release",
    "/usr/lib",
    "usr/lib",
    "/b",
    "b",
    "../b",
    "..",
    "/",
    ".",
    "",
    "/a",
    "a",
    "a/b",
    "/a/b",
    "/opt/lib",
    "/var/lib/dpkg",
    "dpkg/status",
    "status",
    "/b/status",
    "/srv",
    "tiny",
    "../../../../../../b",
    "c",
];

const CONTENTS: [&[u8]; 16] = [
    b"",
    b"Package: tiny\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n",
    b"Package: tiny\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.1-1\n",
    b"Package: tiny\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1.1-1\n",
    b"Package: tiny\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\n\n\
      Package: other\nStatus: install ok installed\nArchitecture: amd64\nSource: tiny\nVersion: 1:2\n",
    b"Package: other\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 3\n",
    b"Package: tiny\nStatus: install ok inst",
    b"ID=debian\nVERSION_ID=\"12\"\n",
    b"ID=alpine\nVERSION_ID=3.16.2\n",
    b"P:tiny\nV:1.0-r0\nA:x86_64\nF:a\nR:b\n\n",
    b"P:tiny\nV:1.1-r0\nA:x86_64\no:source\n\nP:other\nV:2\nA:noarch\n\n",
    b"P:tiny\nV:1.0",
    b"tiny (1.1-1) bookworm-security; urgency=high\n\n  * CVE-2024-1234\n\n -- N <a@b>  Sun, 03 Jan 2021 05:49:19 +0100\n",
    b"/.\n/a\n/a/b\n/usr/share/doc/tiny\n",
    b"d41d8cd98f00b204e9800998ecf8427e  a/b\n",
    b"tiny other\n",
];

/// A layer in memory.
#[derive(Default)]
struct Memory {
    id: u32,
    entries: Vec<(Entry, Vec<u8>)>,
}

impl Memory {
    fn content(&self, path: &ImagePath) -> &[u8] {
        let is_it =
            |(entry, _): &&(Entry, Vec<u8>)| entry.path == *path && matches!(entry.node, Node::File(_));
        self.entries.iter().rev().find(is_it).map_or(b"", |(_, content)| content)
    }
}

impl Stratum for Memory {
    fn id(&self) -> StratumId {
        StratumId(self.id)
    }

    fn digest(&self) -> Option<Sha256> {
        None
    }

    fn visit(&self, scope: Scope<'_>, sink: &dyn Sink) -> Result<()> {
        for (entry, content) in self.entries.iter().filter(|(entry, _)| scope.shows(&entry.path)) {
            let want = sink.request(entry).want;
            match (&entry.node, want) {
                (Node::File(_), Want::Head(len)) => {
                    sink.file(entry, &&content[..content.len().min(len as usize)])
                }
                (Node::File(_), Want::Random) => sink.file(entry, content),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The layers that an input stands for: at most eight, of at most 64 steps each.
fn layers(data: &[u8]) -> Vec<Memory> {
    let mut layers = vec![Memory::default()];
    let mut bytes = data.iter().copied();
    while let Some(step) = bytes.next() {
        let id = layers.len() as u32;
        let top = layers.last_mut().expect("one at least");
        let (Some(path), Some(what)) = (bytes.next(), bytes.next()) else { break };
        if step % 8 == 7 || top.entries.len() == 64 {
            if layers.len() == 8 {
                break;
            }
            layers.push(Memory { id, ..Memory::default() });
            continue;
        }
        let path = ImagePath::from(PATHS[usize::from(path) % PATHS.len()]);
        let content = CONTENTS[usize::from(what) % CONTENTS.len()];
        let target = TARGETS[usize::from(what) % TARGETS.len()];
        let node = match step % 8 {
            0 => Node::File(Meta { size_bytes: content.len() as u64, mode: 0o644 }),
            1 => Node::Directory(Meta { size_bytes: 0, mode: 0o755 }),
            2 => Node::Symlink(target.as_bytes().into()),
            3 => Node::HardLink(ImagePath::from(PATHS[usize::from(what) % PATHS.len()])),
            4 => Node::Whiteout,
            5 => Node::Opaque,
            _ => Node::Special,
        };
        let content = if matches!(node, Node::File(_)) { content.to_vec() } else { Vec::new() };
        top.entries.push((Entry { path, node }, content));
    }
    layers
}

fn gathered(layers: &[Memory], threads: usize) -> Vec<Facts> {
    let one = |layer: &Memory| gather(layer, Scope::All, COLLECTORS, &LIMITS).expect("a layer in memory");
    if threads == 1 {
        return layers.iter().map(one).collect();
    }
    let mut facts = Vec::new();
    for some in layers.chunks(threads) {
        std::thread::scope(|threads| {
            let running: Vec<_> = some.iter().map(|layer| threads.spawn(move || one(layer))).collect();
            facts.extend(running.into_iter().map(|thread| thread.join().expect("no panic")));
        });
    }
    facts
}

fn needs() -> Needs {
    Needs::OS_PACKAGES | Needs::HISTORY | Needs::OWNERSHIP
}

fn followed(mut squashed: Squashed, layers: &[Memory]) -> (Squashed, Assembled) {
    let strata: Vec<&dyn Stratum> = layers.iter().map(|layer| layer as &dyn Stratum).collect();
    follow_up(&mut squashed, &strata, COLLECTORS, &LIMITS, &());
    let assembled = assemble(&squashed, needs(), &LIMITS);
    (squashed, assembled)
}

/// All that is visible, and the layer that put it there.
fn visible(squashed: &Squashed) -> BTreeMap<ImagePath, (Node, u32)> {
    let place = |path: &ImagePath| squashed.placed(path).expect("it is visible").0;
    squashed
        .below(&ImagePath::root())
        .map(|(path, node)| (path.clone(), (node.clone(), place(path))))
        .collect()
}

fn is_at_or_below(path: &ImagePath, directory: &ImagePath) -> bool {
    path == directory || path.below(directory).is_some()
}

/// The rules of the OCI image specification, word for word, for layers without symbolic links.
fn by_the_book(facts: &[Facts]) -> BTreeMap<ImagePath, (Node, u32)> {
    let is_directory = |node: &Node| matches!(node, Node::Directory(_) | Node::Opaque);
    let mut tree: BTreeMap<ImagePath, (Node, u32)> = BTreeMap::new();
    for (layer, facts) in (0..).zip(facts) {
        for (path, node) in &facts.entries {
            match node {
                Node::Directory(_) => tree.retain(|old, (kind, _)| old != path || is_directory(kind)),
                Node::Opaque => tree.retain(|old, (kind, _)| {
                    old.below(path).is_none() && (old != path || is_directory(kind))
                }),
                _ => tree.retain(|old, _| !is_at_or_below(old, path)),
            }
        }
        let stay = facts.entries.iter().filter(|(_, node)| **node != Node::Whiteout);
        tree.extend(stay.map(|(path, node)| (path.clone(), (node.clone(), layer))));
        // No engine unpacks what lies below a file.
        let files: Vec<ImagePath> =
            tree.iter().filter(|(_, (node, _))| !is_directory(node)).map(|(path, _)| path.clone()).collect();
        tree.retain(|path, _| !files.iter().any(|file| path != file && path.below(file).is_some()));
    }
    tree
}

/// A system as it is whatever layers it came in.
fn without_strata(system: &System) -> System {
    let mut system = system.clone();
    for package in &mut system.packages {
        package.stratum = StratumId::default();
    }
    system.packages.sort();
    system
}

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((mode, steps)) = data.split_first() else { return Corpus::Reject };
    let layers = layers(steps);
    if data.len() > 4096 {
        return Corpus::Reject;
    }
    let facts = gathered(&layers, 1);
    let has_symlink = layers.iter().flat_map(|l| &l.entries).any(|(e, _)| matches!(e.node, Node::Symlink(_)));

    let plain = squash(facts.clone());
    let shown = visible(&plain);
    assert_eq!(plain.len(), shown.len() + usize::from(plain.node(&ImagePath::root()).is_some()));
    if !has_symlink {
        let want = by_the_book(&facts);
        assert!(shown == want, "visible: {shown:#?}\nby the book: {want:#?}");
        for (top, facts) in (0..).zip(&facts) {
            for (hidden, _) in facts.entries.iter().filter(|(_, node)| **node == Node::Whiteout) {
                let below = shown.iter().find(|(path, (_, by))| *by < top && is_at_or_below(path, hidden));
                assert!(below.is_none(), "{below:?} is visible through the whiteout of {hidden}");
            }
        }
    }
    for (path, (node, by)) in &shown {
        assert!(*node != Node::Whiteout && (*by as usize) < layers.len(), "{path}");
        if let Some(located) = plain.locate(path) {
            let layer = &layers[located.stratum.0 as usize];
            let is_file =
                matches!(facts[located.stratum.0 as usize].entries.get(&located.path), Some(Node::File(_)));
            assert!(is_file, "{path} is said to lie at {} of layer {}", located.path, layer.id);
        }
    }

    // The same at any number of threads, and when what lies below is frozen, as for layers that images share.
    let (squashed, assembled) = followed(plain, &layers);
    let said = format!("{assembled:?}");
    if mode % 4 == 1 {
        assert_eq!(said, format!("{:?}", followed(squash(gathered(&layers, 4)), &layers).1));
    }
    let mut frozen = Squashed::default();
    for facts in &facts {
        frozen.apply(Arc::new(facts.clone()));
        frozen.freeze();
    }
    assert_eq!(said, format!("{:?}", followed(frozen, &layers).1));
    for package in &assembled.system.packages {
        assert!((package.stratum.0 as usize) < layers.len(), "{package:?}");
    }

    // An empty layer on top changes nothing.
    let mut more = squash(facts.clone());
    more.apply(Arc::default());
    let mut with_empty: Vec<Memory> = self::layers(steps);
    with_empty.push(Memory { id: layers.len() as u32, ..Memory::default() });
    assert_eq!(said, format!("{:?}", followed(more, &with_empty).1));

    // One that hides everything leaves nothing.
    let mut hidden = squash(facts.clone());
    let mut all = Facts::default();
    let tops = shown.keys().filter_map(|path| path.components().next());
    all.entries.extend(tops.map(|top| (ImagePath::new(top), Node::Whiteout)));
    hidden.apply(Arc::new(all));
    assert!(visible(&hidden).is_empty(), "{:#?}", visible(&hidden));
    let left = assemble(&hidden, needs(), &LIMITS).system;
    assert!(left.packages.is_empty() && left.os.is_none(), "{left:#?}");

    // What is visible, as one layer, says the same. (A hard link that leads nowhere in its own layer could lead
    // somewhere in that one.)
    let dangles = |(path, node): (&ImagePath, &Node)| {
        matches!(node, Node::HardLink(_)) && squashed.locate(path).is_none()
    };
    if !squashed.below(&ImagePath::root()).any(dangles) {
        let flat = [Memory { id: 0, entries: flattened(&squashed, &layers) }];
        let flat = followed(squash(gathered(&flat, 1)), &flat).1;
        let (one, many) = (without_strata(&flat.system), without_strata(&assembled.system));
        assert!(one == many, "as one layer: {one:#?}\nas several: {many:#?}");
    }

    if mode % 8 == 1 {
        as_real_layers(&layers, &assembled.system);
    }
    Corpus::Keep
});

/// Everything visible as entries of one layer: files where their content lies.
fn flattened(squashed: &Squashed, layers: &[Memory]) -> Vec<(Entry, Vec<u8>)> {
    let entry = |(path, node): (&ImagePath, &Node)| {
        let located = squashed.locate(path);
        let content = located.as_ref().map(|l| layers[l.stratum.0 as usize].content(&l.path).to_vec());
        let node = match (node, &content) {
            (Node::HardLink(_) | Node::File(_), Some(content)) => {
                Node::File(Meta { size_bytes: content.len() as u64, mode: 0o644 })
            }
            (Node::Opaque, _) => Node::Directory(Meta::default()),
            (node, _) => node.clone(),
        };
        (Entry { path: path.clone(), node }, content.unwrap_or_default())
    };
    squashed.below(&ImagePath::root()).map(entry).collect()
}

/// The same layers as tars of a docker archive, at one thread and at four: the same system.
fn as_real_layers(layers: &[Memory], want: &System) {
    let tars: Vec<Vec<u8>> = layers.iter().map(tar_of_layer).collect();
    let diff_ids: Vec<String> = tars.iter().map(|tar| Sha256::of(tar).to_string()).collect();
    let names: Vec<String> = (0..tars.len()).map(|number| format!("{number}.tar")).collect();
    let config =
        serde_json::json!({ "os": "linux", "architecture": "amd64", "rootfs": { "diff_ids": diff_ids } });
    let config = config.to_string();
    let manifest = serde_json::json!([{ "Config": "config.json", "Layers": names }]).to_string();
    let mut files: Vec<(String, &[u8])> = names.iter().cloned().zip(tars.iter().map(Vec::as_slice)).collect();
    files.push(("config.json".into(), config.as_bytes()));
    files.push(("manifest.json".into(), manifest.as_bytes()));
    let path = FILE.of(&tar_of(&files));
    let one = scan(path, &scan_options(false, 1)).expect("a docker archive");
    let four = scan(path, &scan_options(false, 4)).expect("a docker archive");
    assert!(one == four, "one thread: {one:#?}\nfour threads: {four:#?}");
    let [inventory] = &one[..] else { panic!("{} images", one.len()) };
    match &inventory.systems[..] {
        [system] => assert!(system == want, "as tars: {system:#?}\nin memory: {want:#?}"),
        _ => assert!(want.os.is_none() && want.packages.is_empty(), "no system, and in memory: {want:#?}"),
    }
    let json = serde_json::to_vec(inventory).expect("plain data");
    assert!(karat::scan::document(&json).expect("what was written is read") == *inventory);
}

fn tar_of_layer(layer: &Memory) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (entry, content) in &layer.entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let mut path = entry.path.to_string().trim_start_matches('/').to_owned();
        let (parent, name) =
            path.rsplit_once('/').map_or((None, path.as_str()), |(parent, name)| (Some(parent), name));
        let beside = |name: &str| parent.map_or(name.to_owned(), |parent| format!("{parent}/{name}"));
        match &entry.node {
            Node::File(_) => {
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, &path, content.as_slice()).expect("a member");
                continue;
            }
            Node::Directory(_) => header.set_entry_type(tar::EntryType::Directory),
            Node::Symlink(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name_literal(&**target).expect("a short target");
            }
            Node::HardLink(target) => {
                header.set_entry_type(tar::EntryType::Link);
                header.set_link_name_literal(target.as_bytes()).expect("a short target");
            }
            Node::Whiteout => path = beside(&format!(".wh.{name}")),
            Node::Opaque => path = format!("{path}/.wh..wh..opq"),
            Node::Special => header.set_entry_type(tar::EntryType::Fifo),
        }
        header.set_size(0);
        builder.append_data(&mut header, &path, &b""[..]).expect("a member");
    }
    builder.into_inner().expect("a tar in memory")
}
