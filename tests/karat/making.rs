//! Small tars, layers and images, made for one test, and a sink that writes down what it is shown.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use karat::bytes::ReadAt;
use karat::codec::SpoolPool;
use karat::error::Result;
use karat::layer;
use karat::limits::Limits;
use karat::model::{Gap, ImagePath, Sha256, StratumId};
use karat::source::{self, Content, Image, LayerBlob, LayerSet};
use karat::stratum::{DigestSet, Entry, FileDigests, Node, Request, Scope, Sink, Stratum, Want};
use serde_json::{Value, json};

/// Whether an external tool is there; says so where it is not.
pub(crate) fn has_tool(name: &str) -> bool {
    crate::tools::tool(name).is_some()
}

/// A tar of files and, where the name ends with a slash, directories.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
        }
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// Bytes that do not compress and are the same every time.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(step).collect()
}

/// What a walk showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) entries: Vec<Entry>,
    pub(crate) contents: BTreeMap<ImagePath, Vec<u8>>,
    pub(crate) digests: BTreeMap<ImagePath, Sha256>,
    pub(crate) gaps: Vec<Gap>,
}

impl Shown {
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |entry: &Entry| {
            let kind = match &entry.node {
                Node::File(_) => "file",
                Node::Directory(_) => "dir",
                Node::Symlink(_) => "symlink",
                Node::HardLink(_) => "hardlink",
                Node::Whiteout => "whiteout",
                Node::Opaque => "opaque",
                Node::Special => "special",
            };
            format!("{} {kind}", entry.path)
        };
        self.entries.iter().map(name).collect()
    }

    pub(crate) fn content(&self, path: &str) -> &[u8] {
        &self.contents[&ImagePath::from(path)]
    }
}

/// Wants the same of every file.
pub(crate) struct Recorder {
    pub(crate) want: Want,
    pub(crate) sha256: bool,
    pub(crate) shown: Mutex<Shown>,
}

impl Recorder {
    pub(crate) fn new(want: Want, sha256: bool) -> Self {
        Recorder { want, sha256, shown: Mutex::default() }
    }
}

impl Sink for Recorder {
    fn request(&self, entry: &Entry) -> Request {
        self.shown.lock().unwrap().entries.push(entry.clone());
        Request { want: self.want, digests: DigestSet { sha256: self.sha256 } }
    }

    fn file(&self, entry: &Entry, content: &dyn ReadAt) {
        let mut bytes = vec![0; usize::try_from(content.size_bytes()).unwrap()];
        content.read_exact_at(0, &mut bytes).unwrap();
        assert!(content.read_exact_at(content.size_bytes(), &mut [0]).is_err());
        self.shown.lock().unwrap().contents.insert(entry.path.clone(), bytes);
    }

    fn digests(&self, entry: &Entry, digests: &FileDigests) {
        self.shown.lock().unwrap().digests.insert(entry.path.clone(), digests.sha256.unwrap());
    }

    fn gap(&self, gap: Gap) {
        self.shown.lock().unwrap().gaps.push(gap);
    }
}

/// Everything that a stratum shows.
pub(crate) fn visit(stratum: &dyn Stratum, scope: Scope<'_>, want: Want, sha256: bool) -> Result<Shown> {
    let recorder = Recorder::new(want, sha256);
    stratum.visit(scope, &recorder)?;
    Ok(recorder.shown.into_inner().unwrap())
}

pub(crate) fn layer_options(limits: Limits) -> layer::Options {
    layer::Options {
        spool: SpoolPool::new(std::env::temp_dir(), &limits),
        limits: Arc::new(limits),
        progress: Arc::new(AtomicU64::new(0)),
    }
}

/// One layer of these stored bytes, without an image.
pub(crate) fn layer_of(stored: Vec<u8>, diff_id: Option<Sha256>, limits: Limits) -> Box<dyn Stratum> {
    let layer = LayerBlob {
        id: StratumId(0),
        place: "layer 1 of 1".into(),
        digest: Some(Sha256::of(&stored)),
        diff_id,
        size_bytes: stored.len() as u64,
        created_by: None,
        blob: Ok(Arc::new(stored)),
    };
    layer::strata(LayerSet { layers: vec![layer] }, &layer_options(limits)).pop().unwrap()
}

/// All layers of an image, visited.
pub(crate) fn visit_layers(image: Image) -> Vec<Result<Shown>> {
    let Content::Layers(set) = image.content.unwrap() else { panic!("no layers") };
    let strata = layer::strata(set, &layer_options(Limits::default()));
    strata.iter().map(|stratum| visit(&**stratum, Scope::All, Want::Random, true)).collect()
}

pub(crate) fn source_options() -> source::Options {
    source::Options {
        limits: Arc::default(),
        platform: "linux/amd64".parse().unwrap(),
        all_platforms: false,
        disk_folders: Default::default(),
        check_digests: false,
        spool: SpoolPool::new(std::env::temp_dir(), &Limits::default()),
        registry: Arc::default(),
    }
}

pub(crate) fn open(path: &Path) -> Result<Vec<Image>> {
    source::open(path.to_str().unwrap(), &source_options())
}

/// The one image at this path.
pub(crate) fn open_one(path: &Path) -> Image {
    let mut images = open(path).unwrap();
    assert_eq!(images.len(), 1);
    images.pop().unwrap()
}

/// An OCI layout in a directory.
pub(crate) struct Layout<'a>(pub(crate) &'a Path);

impl Layout<'_> {
    /// Stores a blob; gives its descriptor.
    pub(crate) fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Sha256::of(bytes);
        let blobs = self.0.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
    }

    /// Stores a manifest for these stored layers with these tars; gives its descriptor.
    pub(crate) fn image(&self, arch: &str, layers: &[(Vec<u8>, Vec<u8>)]) -> Value {
        let diff_ids: Vec<_> = layers.iter().map(|(tar, _)| Sha256::of(tar).to_string()).collect();
        let config = json!({
            "os": "linux", "architecture": arch, "created": "2026-02-03T04:05:06Z",
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": [{ "created_by": "add base" }, { "created_by": "env", "empty_layer": true }],
        });
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let layers: Vec<_> = layers
            .iter()
            .map(|(_, stored)| self.blob("application/vnd.oci.image.layer.v1.tar+gzip", stored))
            .collect();
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        self.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes())
    }

    pub(crate) fn index_of(&self, manifests: &[Value]) -> Value {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        self.blob("application/vnd.oci.image.index.v1+json", index.to_string().as_bytes())
    }

    pub(crate) fn finish(&self, manifests: &[Value]) {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
        fs::write(self.0.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }

    /// The same layout as a tar.
    pub(crate) fn archive(&self, to: &Path) {
        let mut builder = tar::Builder::new(fs::File::create(to).unwrap());
        builder.append_dir_all(".", self.0).unwrap();
        builder.finish().unwrap();
    }
}

/// A member of a descriptor set.
pub(crate) fn with(mut descriptor: Value, key: &str, value: Value) -> Value {
    descriptor[key] = value;
    descriptor
}
