//! What a picture costs in memory, told before any of it is spent.
//!
//! An upper bound from the headers and the plan: the stages are worked through as
//! the pipeline does, and the one that holds most at once is what counts.

use super::format::{OutputFormat, SourceFormat};
use super::geometry::{Plan, Size};
use super::light::Averaging;
use super::probe::Probe;
use super::resample::{KEEP_BYTES, is_linear};
use super::shrink;

/// Tables, rows, codec state: what does not grow with the picture.
const FIXED_BYTES: u64 = 4 * 1024 * 1024;

impl Probe {
    /// The bytes that making `plan` of this picture, as a still, takes at most
    /// beside the source.
    pub fn memory_bytes(&self, plan: &Plan, output: OutputFormat, averaging: Averaging) -> u64 {
        let channels = if self.has_alpha { 4 } else { 3 };
        let bytes = |pixels: u64| pixels.saturating_mul(channels);
        let reduced = self.reduced_size(plan);
        let at_filter = bytes(reduced.pixels());
        let shrunk = if reduced == plan.source { 0 } else { at_filter };
        let decoded = if self.is_reduced_by_rows() {
            at_filter
        } else {
            bytes(self.coded_pixels).saturating_add(shrunk)
        };
        let made = bytes(plan.target.pixels());
        let encoder = plan.target.pixels().saturating_mul(output.encoder_bytes_per_pixel());
        let scales = plan.target != plan.source;
        // Linear values have twice the bytes, and are there beside the others.
        let is_linear = scales && is_linear(reduced, averaging);
        let depth = if is_linear { 2 } else { 1 };
        let linear = if is_linear { at_filter.saturating_add(made).saturating_mul(2) } else { 0 };
        let between = if scales { bytes(between(reduced, plan.target)) * depth } else { 0 };
        let premultiplied = if scales && self.has_alpha { at_filter * depth } else { 0 };
        // What the resizer worked in stays with the worker.
        let kept = sum([at_filter, between, linear, 0]).min(3 * KEEP_BYTES as u64);
        // The resizer's buffer may move to where it can grow.
        let filter = sum([between.saturating_mul(2), premultiplied, linear, 0]);
        let most = [
            [decoded, self.beside_bytes, 0, 0],
            [at_filter, filter, made, 0],
            // Turned, or its colours converted.
            [kept, made, made, 0],
            [kept, made, encoder, 0],
        ];
        let most = most.into_iter().map(sum).max().unwrap_or(u64::MAX);
        sum([most, self.icc_bytes.saturating_mul(4), FIXED_BYTES, 0])
    }

    /// The same for an animation. Its frames are shown one after the other in the
    /// same memory, but all that is written of them is kept until the end.
    pub fn animation_bytes(&self, plan: &Plan, output: OutputFormat, averaging: Averaging) -> u64 {
        let canvas = self.size.pixels().saturating_mul(8);
        let kept = plan.target.pixels().saturating_mul(12);
        let written = plan.target.pixels().saturating_mul(self.frames.into()).saturating_mul(2);
        sum([self.memory_bytes(plan, output, averaging), canvas, kept, written])
    }

    /// A PNG is shrunk while its rows come in, where they come in order.
    fn is_reduced_by_rows(&self) -> bool {
        self.format == SourceFormat::Png && !self.is_progressive
    }

    /// The size that comes to the filter.
    fn reduced_size(&self, plan: &Plan) -> Size {
        let factor = shrink::factor(plan.source, plan.cover);
        let by = match self.format {
            SourceFormat::Png if self.is_progressive => 1,
            SourceFormat::Png | SourceFormat::WebP | SourceFormat::Avif => factor,
            // By a power of two, where it can be decoded so.
            SourceFormat::Jpeg => 1 << factor.ilog2().min(3),
            SourceFormat::Gif | SourceFormat::Bmp | SourceFormat::Ico | SourceFormat::Tiff => 1,
        };
        let side = |side: u32| side.div_ceil(by);
        Size { width: side(plan.source.width), height: side(plan.source.height) }
    }
}

fn sum(bytes: [u64; 4]) -> u64 {
    bytes.into_iter().fold(0, u64::saturating_add)
}

/// The larger of the two pictures that are scaled in one direction only.
fn between(from: Size, to: Size) -> u64 {
    let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
    pixels(from.width, to.height).max(pixels(to.width, from.height))
}

impl OutputFormat {
    /// What an encoder holds for each pixel beside the pixels that it is given,
    /// its file included.
    const fn encoder_bytes_per_pixel(self) -> u64 {
        match self {
            Self::Jpeg | Self::WebP => 10,
            Self::Png | Self::Gif => 12,
            Self::Avif => 120,
            Self::AvgColor | Self::Info => 0,
        }
    }
}
