//! What is known of platforms and patches from outside the images: when public patches of a release end.

pub mod support;

pub use support::{SupportEnd, SupportEnds};
