//! Loading and saving baselines. A baseline's digest is the SHA-256 of its bytes as they are stored.

use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};
use std::path::Path;

use super::{BASELINE_SCHEMA, Baseline, BaselinePackage, PlatformBaseline};
use crate::bytes::read_stream;
use crate::error::{Error, Result, ResultExt as _};
use crate::limits::Limits;
use crate::model::{Sha256, Time, version};

/// A baseline and the digest of the bytes that it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The baseline.
    pub baseline: Baseline,
    /// The digest of its bytes.
    pub digest: Sha256,
}

/// As karat writes it, the schema stands in so many first bytes.
const HEAD_BYTES: u64 = 256;

/// Every platform and channel stands once, in order.
fn check_platforms(baseline: &Baseline) -> Result<()> {
    for pair in baseline.platforms.windows(2) {
        if (&pair[0].platform, &pair[0].channel) >= (&pair[1].platform, &pair[1].channel) {
            let found = format!("`{}` is out of order", pair[1].platform);
            return Err(Error::malformed("baseline", "platforms", None, found, "sorted")
                .hint("`karat baseline build` makes a whole one"));
        }
    }
    Ok(())
}

/// A baseline knows nothing of the time after it: such a date would make images look newer than they are.
fn check_times(baseline: &Baseline) -> Result<()> {
    let check = |field: &'static str, what: &dyn Fn() -> String, at: Option<Time>, as_of: Time| match at {
        Some(at) if at > as_of.plus_days(1) => {
            let found = format!("{}: {at}", what());
            Err(Error::malformed("baseline", field, None, found, format!("at most a day after {as_of}")))
        }
        _ => Ok(()),
    };
    for platform in &baseline.platforms {
        check("as_of", &|| platform.platform.to_string(), Some(platform.as_of), baseline.as_of)?;
        let known_until = platform.known_until();
        for history in &platform.sources {
            for release in history.releases.iter().chain(&history.rebuilds) {
                let what = || format!("`{}` {}", history.source, release.version);
                check("published", &what, release.published, known_until)?;
                check("not_before", &what, release.not_before, known_until)?;
                check("not_after", &what, release.not_after, known_until)?;
            }
        }
    }
    Ok(())
}

/// Look-ups rest on the order: a list out of order would hide what it holds.
fn check_order(platform: &PlatformBaseline) -> Result<()> {
    let out_of_order = |field: &'static str, name: &str| {
        Err(Error::malformed("baseline", field, None, format!("`{name}` is out of order"), "sorted")
            .hint("`karat baseline build` makes a whole one"))
    };
    for pair in platform.packages.windows(2) {
        let key = |p: &BaselinePackage| (p.ecosystem, p.name.clone(), p.arch.clone());
        if key(&pair[0]) >= key(&pair[1]) {
            return out_of_order("packages", &pair[1].name);
        }
    }
    for package in &platform.packages {
        let order = |a: &str, b: &str| version::compare(package.ecosystem, a, b).is_ge();
        if !package.versions.is_sorted_by(|a, b| order(&a.source_version, &b.source_version)) {
            return out_of_order("versions", &package.name);
        }
    }
    for pair in platform.sources.windows(2) {
        if (pair[0].ecosystem, &pair[0].source) >= (pair[1].ecosystem, &pair[1].source) {
            return out_of_order("sources", &pair[1].source);
        }
    }
    for history in &platform.sources {
        let order = |a: &str, b: &str| history.compare(a, b).is_ge();
        if !history.releases.is_sorted_by(|a, b| order(&a.version, &b.version))
            || !history.others.is_sorted_by(|a, b| order(&a.version, &b.version))
        {
            return out_of_order("releases", &history.source);
        }
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Header {
    schema: Option<String>,
}

impl Baseline {
    /// The baseline as it is stored: one line of JSON and a line end, the same bytes for the same baseline.
    ///
    /// # Errors
    /// `Io` if it cannot be written, which no baseline gives cause for.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec(self).map_err(std::io::Error::from)?;
        json.push(b'\n');
        Ok(json)
    }

    /// Reads a stored baseline.
    ///
    /// # Errors
    /// `Config` if it is another document or of another version, `Malformed` if it is damaged.
    pub fn from_json(bytes: &[u8]) -> Result<Loaded> {
        let schema = serde_json::from_slice::<Header>(bytes).ok().and_then(|header| header.schema);
        match schema.as_deref() {
            Some(BASELINE_SCHEMA) => {}
            Some(other) => {
                return Err(Error::config(format!("not a baseline: its schema is `{other}`")).hint(format!(
                    "this version reads `{BASELINE_SCHEMA}`; `karat baseline build` makes one"
                )));
            }
            None => {
                return Err(Error::config("not a baseline: it is no JSON document with a schema")
                    .hint("`karat baseline build` makes one"));
            }
        }
        let baseline: Baseline = serde_json::from_slice(bytes).map_err(|error| {
            Error::malformed("baseline", "JSON", None, error.to_string(), BASELINE_SCHEMA)
        })?;
        check_platforms(&baseline)?;
        baseline.platforms.iter().try_for_each(check_order)?;
        check_times(&baseline)?;
        Ok(Loaded { baseline, digest: Sha256::of(bytes) })
    }

    /// Whether a file is a stored baseline: a regular file that begins like one, whole or not, or a JSON
    /// document with the schema in any place.
    #[must_use]
    pub fn is_stored(path: &Path) -> bool {
        let open = || File::open(path).ok().filter(|file| file.metadata().is_ok_and(|m| m.is_file()));
        let mut head = Vec::new();
        let read = open().and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head).ok());
        if read.is_none() || head.first() != Some(&b'{') {
            return false;
        }
        let is_ours = |schema: &str| schema.contains("karat-baseline/");
        is_ours(&String::from_utf8_lossy(&head))
            || open()
                .and_then(|file| serde_json::from_reader::<_, Header>(BufReader::new(file)).ok())
                .and_then(|header| header.schema)
                .is_some_and(|schema| is_ours(&schema))
    }

    /// Loads a baseline from a file.
    ///
    /// # Errors
    /// `Io` and `Limit` besides what [`Baseline::from_json`] gives, at the file's name.
    pub fn load(path: &Path, limits: &Limits) -> Result<Loaded> {
        let read = || -> Result<Loaded> {
            let mut file = File::open(path)?;
            Baseline::from_json(&read_stream(&mut file, limits.document_bytes)?)
        };
        read().at(|| path.display().to_string())
    }

    /// Saves the baseline to a file, whole or not at all, and gives its digest.
    ///
    /// # Errors
    /// `Io` at the file's name.
    pub fn save(&self, path: &Path) -> Result<Sha256> {
        let write = || -> Result<Sha256> {
            let json = self.to_json()?;
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&json)?;
            file.persist(path).map_err(|error| Error::from(error.error))?;
            Ok(Sha256::of(&json))
        };
        write().at(|| path.display().to_string())
    }
}
