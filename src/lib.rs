//! karat assays gold images.

pub mod archive;
pub mod baseline;
pub mod bytes;
pub mod codec;
pub mod drift;
pub mod error;
pub mod format;
pub mod layer;
pub mod intel;
pub mod limits;
pub mod model;
pub mod source;
pub mod report;
pub mod standard;
pub mod stratum;
