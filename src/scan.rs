//! From what the user named to inventories: open, visit every stratum in parallel, squash, follow up, assemble.

mod cache;
mod disk;
mod run;
mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Serialize;

use crate::collect::{
    Collector, Facts, Needs, SecondVisits, Squashed, assemble, follow_up, gather, nothing_found, squash,
};
use crate::error::{Error, Result};
use crate::layer;
use crate::limits::Limits;
use crate::model::inventory::INVENTORY_SCHEMA;
use crate::model::{Coverage, Gap, ImageInfo, ImagePath, Inventory, Sha256, StratumInfo, System, Time};
use crate::source::{self, Content, Image, LayerSet};
use crate::stratum::{Scope, Stratum};

pub use cache::{LayerCache, Usage};
use run::{Gathered, Named, Run};

/// How to scan.
#[derive(Clone)]
pub struct Options {
    /// How images are opened.
    pub source: source::Options,
    /// How layers are read.
    pub layer: layer::Options,
    /// What is looked for.
    pub needs: Needs,
    /// Who looks.
    pub collectors: &'static [&'static dyn Collector],
    /// At most so many strata are read at once.
    pub threads: usize,
    /// The time that the inventories bear.
    pub taken_at: Time,
    /// Where what layers say is kept for other runs, if anywhere.
    pub cache: Option<Arc<LayerCache>>,
}

impl Options {
    fn limits(&self) -> &Limits {
        &self.source.limits
    }

    /// The collectors that serve what is needed.
    fn collectors(&self) -> Vec<&'static dyn Collector> {
        self.collectors.iter().copied().filter(|c| self.needs.any(c.serves())).collect()
    }
}

/// Scans several images, at most `threads` of them and of their strata at once. One result a reference, in
/// their order; each reference may hold several images.
#[must_use]
pub fn scan_all(references: &[String], options: &Options) -> Vec<Result<Vec<Inventory>>> {
    let run = Run::new(options, references.len() > 1);
    in_parallel(references.len(), options.threads, |i| scan_one(&references[i], &run))
}

/// Scans one reference.
///
/// # Errors
/// If it does not lead to an image of any known kind. What is wrong inside an image is a gap of its inventory.
pub fn scan(reference: &str, options: &Options) -> Result<Vec<Inventory>> {
    scan_one(reference, &Run::new(options, false))
}

fn scan_one(reference: &str, run: &Run<'_>) -> Result<Vec<Inventory>> {
    let images = source::open(reference, &run.options.source)?;
    if images.len() > 1 {
        run.share();
    }
    Ok(images.into_iter().map(|image| inventory(image, run)).collect())
}

/// The inventory of one opened image.
fn inventory(image: Image, run: &Run<'_>) -> Inventory {
    let Image { info, content, gaps } = image;
    let mut inventory = empty(info, run.options.taken_at, gaps);
    match content {
        Ok(Content::Layers(set)) => layers(&mut inventory, set, run),
        Ok(Content::Directory(stratum)) => directory(&mut inventory, stratum.as_ref(), run),
        Ok(Content::Disks(disks)) => disk::systems(&mut inventory, disks, run),
        Ok(Content::Document(bytes)) => match document(&bytes) {
            Ok(mut read) => {
                if read.content_id != content_id(&read.systems, &read.gaps) {
                    let reason = "it was changed after karat wrote it: its content_id is of another content";
                    read.gaps.push(Gap { place: "inventory".into(), reason: reason.into(), required: true });
                }
                if read.systems.is_empty() && !read.gaps.iter().any(|gap| gap.required) {
                    let reason = "it holds no system".into();
                    read.gaps.push(Gap { place: "inventory".into(), reason, required: true });
                }
                inventory = Inventory {
                    image: ImageInfo {
                        kind: inventory.image.kind,
                        reference: inventory.image.reference,
                        ..read.image.clone()
                    },
                    ..read
                };
            }
            Err(error) => inventory.gaps.push(required(&error)),
        },
        Err(error) => inventory.gaps.push(required(&error)),
    }
    seal(inventory)
}

fn empty(image: ImageInfo, taken_at: Time, gaps: Vec<Gap>) -> Inventory {
    Inventory {
        schema: INVENTORY_SCHEMA.into(),
        karat: env!("CARGO_PKG_VERSION").into(),
        taken_at,
        content_id: Sha256([0; 32]),
        image,
        systems: Vec::new(),
        strata: Vec::new(),
        coverage: Vec::new(),
        gaps,
    }
}

fn required(error: &Error) -> Gap {
    let place = match error.place() {
        place if place.is_empty() => "image".into(),
        place => place,
    };
    let hint = error.hint_text().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
    Gap { place, reason: format!("{}{hint}", error.reason()), required: true }
}

fn layers(inventory: &mut Inventory, set: LayerSet, run: &Run<'_>) {
    let named: Vec<Named> = set.layers.iter().map(Named::of).collect();
    inventory.strata = set
        .layers
        .iter()
        .map(|l| StratumInfo { id: l.id, digest: l.digest, created_by: l.created_by.clone() })
        .collect();
    let strata = layer::strata(set, &run.options.layer);
    let strata: Vec<&dyn Stratum> = strata.iter().map(AsRef::as_ref).collect();
    let mut believed = Vec::with_capacity(strata.len());
    for (layer, gathered) in named.iter().zip(gather_all(&named, &strata, run)) {
        let read = gathered.is_ok();
        let gathered = gathered.unwrap_or_else(|error| {
            inventory.gaps.push(required(&error));
            Gathered::default()
        });
        inventory.gaps.extend(gathered.gaps.iter().cloned());
        believed.push(gathered);
        inventory.coverage.push(Coverage::of_place(layer.place.clone(), "layer", "root", read));
    }
    let places: Vec<String> = named.into_iter().map(|layer| layer.place).collect();
    let visits = run.visits(&believed, &places);
    finish(inventory, || run.squash(believed), &strata, run, &visits);
}

/// Reads all layers, the largest first, so that the longest does not come last and alone.
fn gather_all(named: &[Named], strata: &[&dyn Stratum], run: &Run<'_>) -> Vec<Result<Gathered>> {
    let mut order: Vec<usize> = (0..strata.len()).collect();
    order.sort_by_key(|i| (std::cmp::Reverse(strata[*i].size_bytes()), *i));
    let mut facts = in_parallel(order.len(), run.options.threads, |i| {
        let i = order[i];
        (i, run.gather(&named[i], strata[i]))
    });
    facts.sort_by_key(|(i, _)| *i);
    facts.into_iter().map(|(_, facts)| facts).collect()
}

fn directory(inventory: &mut Inventory, stratum: &dyn Stratum, run: &Run<'_>) {
    let facts = gather_root(stratum, run);
    let read = facts.is_ok();
    let facts = facts.unwrap_or_else(|error| {
        inventory.gaps.push(required(&error));
        Facts::default()
    });
    inventory.coverage.push(Coverage::of_place("/", "directory", "root", read));
    finish(inventory, || squash(vec![facts]), &[stratum], run, &());
}

/// What a root file system says where the collectors look.
fn gather_root(stratum: &dyn Stratum, run: &Run<'_>) -> Result<Facts> {
    let all = run.collectors.iter().flat_map(|c| c.places());
    let mut places: Vec<ImagePath> = all.map(|place| ImagePath::from(*place)).collect();
    places.sort();
    places.dedup();
    let _slot = run.slots.take();
    gather(stratum, Scope::Only(&places), &run.collectors, run.options.limits())
}

fn nothing_looked_for() -> Gap {
    let reason = "nothing was looked for: only digests were checked".into();
    Gap { place: "image".into(), reason, required: true }
}

/// Joins the facts of all strata into the inventory's system.
fn finish(
    inventory: &mut Inventory,
    squash: impl FnOnce() -> Squashed,
    strata: &[&dyn Stratum],
    run: &Run<'_>,
    visits: &dyn SecondVisits,
) {
    let options = run.options;
    if options.needs == Needs::NONE {
        inventory.gaps.push(nothing_looked_for());
        return;
    }
    let mut squashed = squash();
    follow_up(&mut squashed, strata, &run.collectors, options.limits(), visits);
    let assembled = assemble(&squashed, options.needs, options.limits());
    inventory.gaps.extend(assembled.gaps);
    inventory.coverage.extend(assembled.coverage);
    // Where something was not read, that explains enough.
    if !inventory.gaps.iter().any(|gap| gap.required) {
        inventory.gaps.extend(nothing_found(&assembled.system));
    }
    let System { os, packages, .. } = &assembled.system;
    if os.is_some() || !packages.is_empty() {
        inventory.systems.push(assembled.system);
    }
}

/// Reads an inventory that karat wrote.
///
/// # Errors
/// `Malformed` if it is none, or of a schema that this version does not know.
pub fn document(bytes: &[u8]) -> Result<Inventory> {
    let malformed = |found: String| {
        Error::malformed("inventory", "document", None, found, format!("`{INVENTORY_SCHEMA}` in JSON"))
            .hint("make one with `karat inventory IMAGE -o json`")
    };
    let inventory: Inventory = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    match inventory.schema == INVENTORY_SCHEMA {
        true => Ok(inventory),
        false => Err(malformed(format!("`{}`", inventory.schema))),
    }
}

/// Sorts what is a list and gives the inventory its id.
fn seal(mut inventory: Inventory) -> Inventory {
    inventory.gaps.sort();
    inventory.gaps.dedup();
    inventory.coverage.sort();
    inventory.content_id = content_id(&inventory.systems, &inventory.gaps);
    inventory
}

/// The hash of what an image holds: its systems without their strata and release histories, and its gaps.
fn content_id(systems: &[System], gaps: &[Gap]) -> Sha256 {
    #[derive(Serialize)]
    struct Held<'a> {
        systems: Vec<System>,
        gaps: &'a [Gap],
    }
    let systems = systems
        .iter()
        .cloned()
        .map(|mut system| {
            system.releases.clear();
            system.packages.iter_mut().for_each(|package| package.stratum = Default::default());
            system
        })
        .collect();
    // Serialising plain data to memory cannot fail.
    Sha256::of(&serde_json::to_vec(&Held { systems, gaps }).unwrap_or_default())
}

/// Runs `work` for 0..count on at most `threads` threads; results in order.
pub(crate) fn in_parallel<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let next = Arc::new(AtomicUsize::new(0));
    let workers = threads.clamp(1, count.max(1));
    if workers == 1 {
        return (0..count).map(work).collect();
    }
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..workers)
            .map(|_| {
                let (next, work) = (next.clone(), &work);
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= count {
                            return mine;
                        }
                        mine.push((i, work(i)));
                    }
                })
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}
