//! rpm's databases in a system, from the files to what is told of it: by all collectors, with the log in a layer
//! of its own.
//!
//! Input: a byte that chooses place and name, two that say how long what lies beside is, the database, the rest.
#![no_main]

use karat::collect::{Assembled, COLLECTORS, Needs, assemble, follow_up, gather, squash};
use karat::error::Result;
use karat::model::{ImagePath, Sha256, StratumId};
use karat::stratum::{Entry, Meta, Node, Scope, Sink, Stratum, Want};
use karat_fuzz::{LIMITS, holding};
use libfuzzer_sys::fuzz_target;

const PLACES: [&str; 3] = ["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];
const NAMES: [&str; 3] = ["rpmdb.sqlite", "Packages.db", "Packages"];

/// One file.
struct File(u32, ImagePath, Vec<u8>);

impl Stratum for File {
    fn id(&self) -> StratumId {
        StratumId(self.0)
    }

    fn digest(&self) -> Option<Sha256> {
        None
    }

    fn visit(&self, scope: Scope<'_>, sink: &dyn Sink) -> Result<()> {
        let meta = Meta { size_bytes: self.2.len() as u64, mode: 0o644 };
        let entry = Entry { path: self.1.clone(), node: Node::File(meta) };
        if scope.shows(&entry.path) {
            match sink.request(&entry).want {
                Want::No => {}
                Want::Head(len) => sink.file(&entry, &&self.2[..self.2.len().min(len as usize)]),
                Want::Random => sink.file(&entry, &self.2),
            }
        }
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let Some(([what, low, high], rest)) = data.split_first_chunk::<3>() else { return };
    let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
    let (database, beside) = rest.split_at(rest.len() - len);
    let place = PLACES[usize::from(*what) % 3];
    let name = NAMES[usize::from(*what) / 3 % 3];
    let log = if what & 0x80 == 0 { "-wal" } else { "-journal" };
    let mut files = vec![
        File(0, ImagePath::from("etc/os-release"), b"ID=rhel\nVERSION_ID=9\n".to_vec()),
        File(1, ImagePath::from(&*format!("{place}/{name}")), database.to_vec()),
    ];
    if len > 0 {
        files.push(File(2, ImagePath::from(&*format!("{place}/{name}{log}")), beside.to_vec()));
    }
    let needs = Needs::OS_PACKAGES | Needs::HISTORY | Needs::OWNERSHIP;
    let assembled = || {
        let facts = files.iter().map(|file| gather(file, Scope::All, COLLECTORS, &LIMITS).expect("a layer"));
        let mut squashed = squash(facts.collect());
        let strata: Vec<&dyn Stratum> = files.iter().map(|file| file as _).collect();
        follow_up(&mut squashed, &strata, COLLECTORS, &LIMITS, &());
        assemble(&squashed, needs, &LIMITS)
    };
    let found = holding((16 << 20) + 512 * data.len(), assembled);
    let Assembled { system, gaps, .. } = &found;
    assert!(system.packages.is_sorted());
    assert!(system.packages.iter().all(|p| !p.name.is_empty() && !p.purl.is_empty()));
    // A file that is no database is told.
    if karat::format::rpmdb::backend(database).is_none() {
        assert!(system.packages.is_empty() && gaps.iter().any(|gap| gap.required));
    }
    let again = assembled();
    assert!(again.system == found.system && again.gaps == found.gaps, "the same bytes were told differently");
});
