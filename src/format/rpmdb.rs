//! placeholder
use crate::bytes::ReadAt;
use crate::error::Result;
use crate::limits::Limits;
/// b
pub struct Blob {
    /// i
    pub instance: u64,
    /// b
    pub bytes: Vec<u8>,
}
/// x
pub fn blobs(
    _d: &dyn ReadAt,
    _w: Option<&dyn ReadAt>,
    _j: Option<&dyn ReadAt>,
    _l: &Limits,
    _e: &mut dyn FnMut(Result<Blob>),
) -> Result<()> {
    Ok(())
}
