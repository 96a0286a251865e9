//! How large a source may be. Checked from its header, before any pixel.

use super::error::{ImageError, Measure};
use super::probe::Probe;

/// How large a source may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file. Default 20 MiB.
    pub max_source_bytes: u64,
    /// Width times height. Default 50,000,000.
    pub max_pixels: u64,
    /// The longer side in pixels. Default 16384.
    pub max_side: u32,
    /// Frames of an animation that is shown moving; one of more is shown still.
    /// Default 100.
    pub max_frames: u32,
    /// Width times height times frames of an animation that is shown moving; a
    /// larger one is shown still. Default 100,000,000.
    pub max_animation_pixels: u64,
}

/// Scans of a JPEG. Each may touch every pixel again; real files have about ten.
pub(super) const MAX_SCANS: u32 = 100;
/// Bytes of a colour profile. The largest real ones, for printers, have two million.
pub(super) const MAX_ICC_BYTES: usize = 4 * 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_source_bytes: 20 * 1024 * 1024,
            max_pixels: 50_000_000,
            max_side: 16_384,
            max_frames: 100,
            max_animation_pixels: 100_000_000,
        }
    }
}

impl Limits {
    /// Whether a file of so many bytes may be looked at. A caller that knows the
    /// length asks this before it reads the file.
    pub fn check_bytes(&self, bytes: u64) -> Result<(), ImageError> {
        within(Measure::Bytes, bytes, self.max_source_bytes)
    }

    /// Whether a picture with these headers may be decoded.
    pub fn check(&self, probe: &Probe) -> Result<(), ImageError> {
        let longer = probe.size.width.max(probe.size.height);
        within(Measure::Side, longer.into(), self.max_side.into())?;
        within(Measure::Pixels, probe.size.pixels().max(probe.coded_pixels), self.max_pixels)?;
        within(Measure::Scans, probe.scans.into(), MAX_SCANS.into())?;
        within(Measure::IccBytes, probe.icc_bytes, MAX_ICC_BYTES as u64)
    }

    /// Whether an animation may be shown moving.
    pub fn allow_motion(&self, probe: &Probe) -> bool {
        let pixels = probe.size.pixels().saturating_mul(probe.frames.into());
        probe.frames <= self.max_frames && pixels <= self.max_animation_pixels
    }
}

fn within(what: Measure, got: u64, limit: u64) -> Result<(), ImageError> {
    if got > limit { Err(ImageError::TooLarge { what, got, limit }) } else { Ok(()) }
}
