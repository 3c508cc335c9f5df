//! karat assays gold images: it opens container images in place, finds every installed package, holds it
//! against what patched production runs, and says how far each image has drifted, since when, and whether it
//! passes the organisation's patch standard.
//!
//! The pipeline, one module a step:
//!
//! > bytes become layers of files, files become facts, facts become an inventory, an inventory meets the
//! > baseline and becomes a drift, a drift meets the standard and becomes a verdict, verdicts become reports.
//!
//! | step | module |
//! | --- | --- |
//! | what the user named is opened, its kind told by its content | [`source`] |
//! | container layers stream by once: read, inflated, hashed, parsed | [`layer`], over [`codec`] and [`archive`] |
//! | a volume's file system is read by inode, and volumes are put over their mount points | [`tree`] |
//! | systems are found on volumes, with what their fstab mounts | [`root`] |
//! | a walk shows entries; a sink says what it wants of each | [`stratum`] |
//! | collectors turn single files into facts, by decoders without policy | [`collect`], [`mod@format`] |
//! | facts of all strata are squashed, followed up, and assembled | [`collect`] |
//! | all of that in parallel, for several images | [`scan`] |
//! | hosts become what production runs, changelogs become dated releases | [`baseline`] |
//! | a system is compared with production | [`drift`] |
//! | two systems are compared with each other | [`change`] |
//! | a drift is judged | [`standard`], with support ends from [`intel`] |
//! | the versioned JSON contracts, and text and Markdown for people | [`report`], [`compare`], [`render`] |
//! | the whole, wired; and the command line | [`audit`], [`cli`] |
//!
//! A module uses only modules of a lower rank; `tests/karat/house.rs` has the ranks. Nothing below [`cli`]
//! reads the clock or the environment, or prints. An image is hostile until proven otherwise: every length,
//! count and depth has a ceiling in [`limits`], and what could not be read is a [`Gap`], never silence.

pub mod archive;
pub mod audit;
pub mod baseline;
pub mod bytes;
pub mod change;
pub mod cli;
pub mod codec;
pub mod collect;
pub mod compare;
pub mod drift;
pub mod error;
pub mod format;
pub mod intel;
pub mod layer;
pub mod limits;
pub mod model;
pub mod render;
pub mod report;
pub mod root;
pub mod scan;
pub mod source;
pub mod standard;
pub mod stratum;
pub mod tree;
pub mod volume;

pub use baseline::Baseline;
pub use compare::Comparison;
pub use drift::Drift;
pub use error::{Error, Result};
pub use limits::Limits;
pub use model::{Gap, ImagePath, Inventory, Package, Platform, System};
pub use report::Report;
pub use standard::{Standard, Verdict};
