//! Shrinking by a whole factor while rows come in.
//!
//! A picture far larger than what is asked of it need never be in memory whole:
//! each block of pixels becomes their mean as soon as its last row is read. The
//! factor leaves the real filter at least [`MARGIN`] pixels for one, so that its
//! sharpness, and not the block's, is what shows.

use super::geometry::Size;
use super::raster::{Layout, Raster};

const MARGIN: u32 = 2;

/// By how much `source` may be shrunk when `wanted` is what it is scaled to
/// next: 1 where it may not.
pub(super) fn factor(source: Size, wanted: Size) -> u32 {
    let side = |source: u32, wanted: u32| source / wanted.saturating_mul(MARGIN).max(1);
    side(source.width, wanted.width).min(side(source.height, wanted.height)).max(1)
}

/// The means of blocks of `factor` by `factor` pixels. Blocks at the right and
/// bottom edge may be smaller, so sizes round up.
pub(super) struct BlockMeans {
    factor: usize,
    stride: usize,
    sums: Vec<Sum>,
    rows: usize,
    filled: usize,
    out: Raster,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    /// Colours, each weighted by its alpha where there is one; then the weights.
    channels: [u64; 4],
    pixels: u64,
}

impl BlockMeans {
    /// Means of a picture of size `source`, kept in `memory`.
    pub(super) fn new(source: Size, layout: Layout, factor: u32, memory: Vec<u8>) -> Option<Self> {
        let size =
            Size { width: source.width.div_ceil(factor), height: source.height.div_ceil(factor) };
        let out = Raster::zeroed(size, layout, memory)?;
        Some(Self {
            factor: usize::try_from(factor).ok()?,
            stride: size.width as usize * layout.channels(),
            sums: vec![Sum::default(); size.width as usize],
            rows: 0,
            filled: 0,
            out,
        })
    }

    /// Takes the next row of the source.
    pub(super) fn push(&mut self, row: &[u8]) {
        let layout = self.out.layout();
        let block_bytes = self.factor * layout.channels();
        for (block, sum) in row.chunks(block_bytes).zip(&mut self.sums) {
            for pixel in block.chunks_exact(layout.channels()) {
                sum.add(pixel, layout.has_alpha());
            }
        }
        self.rows += 1;
        if self.rows == self.factor {
            self.flush();
        }
    }

    /// The picture, once all rows were pushed.
    pub(super) fn finish(mut self) -> Raster {
        if self.rows > 0 {
            self.flush();
        }
        self.out
    }

    fn flush(&mut self) {
        let (layout, stride) = (self.out.layout(), self.stride);
        let row = self.out.data_mut().chunks_exact_mut(stride).nth(self.filled);
        let pixels = row.unwrap_or_default().chunks_exact_mut(layout.channels());
        for (pixel, sum) in pixels.zip(&mut self.sums) {
            std::mem::take(sum).mean(pixel, layout.has_alpha());
        }
        self.rows = 0;
        self.filled += 1;
    }
}

impl Sum {
    fn add(&mut self, pixel: &[u8], has_alpha: bool) {
        self.pixels += 1;
        match pixel.split_last() {
            Some((alpha, color)) if has_alpha => {
                let alpha = u64::from(*alpha);
                for (sum, channel) in self.channels.iter_mut().zip(color) {
                    *sum += u64::from(*channel) * alpha;
                }
                self.channels[3] += alpha;
            }
            _ => {
                for (sum, channel) in self.channels.iter_mut().zip(pixel) {
                    *sum += u64::from(*channel);
                }
            }
        }
    }

    fn mean(self, pixel: &mut [u8], has_alpha: bool) {
        match pixel.split_last_mut() {
            Some((alpha, color)) if has_alpha => {
                for (channel, sum) in color.iter_mut().zip(self.channels) {
                    *channel = rounded(sum, self.channels[3]);
                }
                *alpha = rounded(self.channels[3], self.pixels);
            }
            _ => {
                for (channel, sum) in pixel.iter_mut().zip(self.channels) {
                    *channel = rounded(sum, self.pixels);
                }
            }
        }
    }
}

/// Half up; 0 where there is nothing to divide by.
pub(super) fn rounded(sum: u64, count: u64) -> u8 {
    let mean = (2 * sum + count).checked_div(2 * count).unwrap_or(0);
    u8::try_from(mean).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn means(width: u32, height: u32, layout: Layout, factor: u32, rows: &[&[u8]]) -> Raster {
        let size = Size { width, height };
        let mut means = BlockMeans::new(size, layout, factor, Vec::new()).unwrap();
        for row in rows {
            means.push(row);
        }
        means.finish()
    }

    #[test]
    fn blocks_at_the_edges_count_what_they_have() {
        let small = means(3, 3, Layout::Gray, 2, &[&[0, 10, 7], &[20, 30, 9], &[1, 2, 255]]);
        assert_eq!(small.size(), Size { width: 2, height: 2 });
        assert_eq!(small.data(), [15, 8, 2, 255]);
    }

    #[test]
    fn transparent_pixels_lend_no_colour() {
        let small = means(2, 1, Layout::Rgba, 2, &[&[200, 100, 0, 255, 9, 9, 9, 0]]);
        assert_eq!(small.data(), [200, 100, 0, 128]);
        let nothing = means(1, 1, Layout::GrayAlpha, 2, &[&[77, 0]]);
        assert_eq!(nothing.data(), [0, 0]);
    }

    #[test]
    fn the_factor_leaves_a_margin() {
        let size = |width, height| Size { width, height };
        assert_eq!(factor(size(4000, 3000), size(400, 300)), 5);
        assert_eq!(factor(size(4000, 3000), size(1500, 1125)), 1);
        assert_eq!(factor(size(4000, 10), size(1, 10)), 1);
        assert_eq!(factor(size(1, 1), size(u32::MAX, 1)), 1);
    }
}
