//! How large a source may be. Checked from its header, before any pixel.

use super::error::{ImageError, Measure};
use super::geometry::Size;

/// How large a source may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file. Default 20 MiB.
    pub max_source_bytes: u64,
    /// Width times height. Default 50,000,000.
    pub max_pixels: u64,
    /// The longer side in pixels. Default 16384.
    pub max_side: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_source_bytes: 20 * 1024 * 1024, max_pixels: 50_000_000, max_side: 16_384 }
    }
}

impl Limits {
    /// Whether a file of so many bytes may be looked at. A caller that knows the
    /// length asks this before it reads the file.
    pub fn check_bytes(&self, bytes: u64) -> Result<(), ImageError> {
        within(Measure::Bytes, bytes, self.max_source_bytes)
    }

    /// Whether a picture of this size may be decoded.
    pub fn check_size(&self, size: Size) -> Result<(), ImageError> {
        let longer = size.width.max(size.height);
        within(Measure::Side, longer.into(), self.max_side.into())?;
        within(Measure::Pixels, size.pixels(), self.max_pixels)
    }
}

fn within(what: Measure, got: u64, limit: u64) -> Result<(), ImageError> {
    if got > limit { Err(ImageError::TooLarge { what, got, limit }) } else { Ok(()) }
}
