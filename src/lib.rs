//! karat assays gold images.

pub mod archive;
pub mod audit;
pub mod baseline;
pub mod bytes;
pub mod cli;
pub mod codec;
pub mod collect;
pub mod drift;
pub mod error;
pub mod format;
pub mod intel;
pub mod layer;
pub mod limits;
pub mod model;
pub mod render;
pub mod report;
pub mod scan;
pub mod source;
pub mod standard;
pub mod stratum;
