//! The nouns: what images, hosts and baselines are made of. Plain data with serde; no input, no output.

pub mod digest;
pub mod image_path;
pub mod inventory;
pub mod package;
pub mod platform;
pub mod release;
mod stratum_id;
pub mod time;
pub mod version;

pub use digest::Sha256;
pub use image_path::ImagePath;
pub use inventory::{
    Boot, BootLoader, Coverage, Gap, ImageInfo, ImageKind, Inventory, OsInfo, StratumInfo, System,
};
pub use package::{Ecosystem, Package, SourcePackage};
pub use platform::Platform;
pub use release::{Advisory, ReleaseEntry};
pub use stratum_id::StratumId;
pub use time::Time;
