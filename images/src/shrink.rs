//! Shrinking by a whole factor while rows come in.
//!
//! A picture far larger than what is asked of it need never be in memory whole:
//! each block of pixels becomes their mean as soon as its last row is read. The
//! factor leaves the real filter at least [`MARGIN`] pixels for one, so that its
//! sharpness, and not the block's, is what shows.
//!
//! Sums of values and of squares are all that is kept: cheaper than turning every
//! pixel into light.

use super::geometry::Size;
use super::light::{Averaging, lightened};
use super::raster::{Layout, Raster};

const MARGIN: u32 = 2;

/// By how much `source` may be shrunk when `wanted` is what it is scaled to
/// next: 1 where it may not.
pub(super) fn factor(source: Size, wanted: Size) -> u32 {
    let side = |source: u32, wanted: u32| source / wanted.saturating_mul(MARGIN).max(1);
    side(source.width, wanted.width).min(side(source.height, wanted.height)).max(1)
}

/// A whole picture shrunk as far as it may be, and by how much.
pub(super) fn reduce(raster: Raster, wanted: Size, averaging: Averaging) -> (Raster, u32) {
    let (size, layout) = (raster.size(), raster.layout());
    let factor = factor(size, wanted);
    if factor > 1
        && let Some(mut means) = BlockMeans::new(size, layout, factor, averaging, Vec::new())
    {
        let row_bytes = size.width as usize * layout.channels();
        raster.data().chunks_exact(row_bytes).for_each(|row| means.push(row));
        return (means.finish(), factor);
    }
    (raster, 1)
}

/// Rows that are added up at most before blocks take them over: so many squares,
/// weighted by alpha, are within 32 bits.
const MAX_HELD_ROWS: usize = 256;

/// The means of blocks of `factor` by `factor` pixels. Blocks at the
/// right and bottom edge may be smaller, so sizes round up.
pub(super) struct BlockMeans {
    factor: usize,
    stride: usize,
    averaging: Averaging,
    /// Of each channel of each column. Colours are weighted by their alpha where
    /// there is one.
    sums: Vec<u32>,
    /// The same of the squares, which only means of light need.
    squares: Vec<u32>,
    blocks: Vec<Block>,
    held: usize,
    rows: usize,
    filled: usize,
    out: Raster,
}

#[derive(Clone, Copy, Default)]
struct Block {
    sums: [u64; 4],
    squares: [u64; 4],
    pixels: u64,
}

impl BlockMeans {
    /// Means of a picture of size `source`, kept in `memory`.
    pub(super) fn new(
        source: Size,
        layout: Layout,
        factor: u32,
        averaging: Averaging,
        memory: Vec<u8>,
    ) -> Option<Self> {
        let size =
            Size { width: source.width.div_ceil(factor), height: source.height.div_ceil(factor) };
        let out = Raster::zeroed(size, layout, memory)?;
        let columns = source.width as usize * layout.channels();
        Some(Self {
            factor: usize::try_from(factor).ok()?,
            stride: size.width as usize * layout.channels(),
            averaging,
            sums: vec![0; columns],
            squares: match averaging {
                Averaging::Light => vec![0; columns],
                Averaging::Values => Vec::new(),
            },
            blocks: vec![Block::default(); size.width as usize],
            held: 0,
            rows: 0,
            filled: 0,
            out,
        })
    }

    /// Takes the next row of the source.
    pub(super) fn push(&mut self, row: &[u8]) {
        let (sums, squares) = (&mut self.sums, &mut self.squares);
        match self.out.layout() {
            Layout::Gray | Layout::Rgb => add_opaque(sums, squares, row),
            Layout::GrayAlpha => add_weighted::<2>(sums, squares, row),
            Layout::Rgba => add_weighted::<4>(sums, squares, row),
        }
        self.held += 1;
        self.rows += 1;
        if self.rows == self.factor {
            self.flush();
        } else if self.held == MAX_HELD_ROWS {
            self.gather();
        }
    }

    /// The picture, once all rows were pushed.
    pub(super) fn finish(mut self) -> Raster {
        if self.rows > 0 {
            self.flush();
        }
        self.out
    }

    /// Hands the columns' sums on to their blocks.
    fn gather(&mut self) {
        let channels = self.out.layout().channels();
        let each = self.factor * channels;
        for (columns, block) in self.sums.chunks_mut(each).zip(&mut self.blocks) {
            take(columns, channels, &mut block.sums);
            block.pixels += (columns.len() / channels * self.held) as u64;
        }
        for (columns, block) in self.squares.chunks_mut(each).zip(&mut self.blocks) {
            take(columns, channels, &mut block.squares);
        }
        self.held = 0;
    }

    fn flush(&mut self) {
        self.gather();
        let (layout, stride) = (self.out.layout(), self.stride);
        let row = self.out.data_mut().chunks_exact_mut(stride).nth(self.filled);
        let pixels = row.unwrap_or_default().chunks_exact_mut(layout.channels());
        for (pixel, block) in pixels.zip(&mut self.blocks) {
            std::mem::take(block).mean(pixel, layout.has_alpha(), self.averaging);
        }
        self.rows = 0;
        self.filled += 1;
    }
}

/// Adds up what columns hold of each channel, and clears them.
fn take(columns: &mut [u32], channels: usize, sums: &mut [u64; 4]) {
    for pixel in columns.chunks_exact_mut(channels) {
        for (column, sum) in pixel.iter_mut().zip(&mut *sums) {
            *sum += u64::from(std::mem::take(column));
        }
    }
}

fn add_opaque(sums: &mut [u32], squares: &mut [u32], row: &[u8]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += u32::from(*value);
    }
    for (sum, value) in squares.iter_mut().zip(row) {
        let value = u32::from(*value);
        *sum += value * value;
    }
}

fn add_weighted<const CHANNELS: usize>(sums: &mut [u32], squares: &mut [u32], row: &[u8]) {
    let pixels = row.as_chunks::<CHANNELS>().0;
    for (sums, pixel) in sums.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(pixels) {
        let alpha = alpha(pixel);
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += u32::from(*value) * alpha;
        }
        if let Some(sum) = sums.last_mut() {
            // Alpha itself is not weighted.
            *sum = *sum - alpha * alpha + alpha;
        }
    }
    for (sums, pixel) in squares.as_chunks_mut::<CHANNELS>().0.iter_mut().zip(pixels) {
        let alpha = alpha(pixel);
        for (sum, value) in sums.iter_mut().zip(pixel) {
            let value = u32::from(*value);
            *sum += value * value * alpha;
        }
    }
}

fn alpha(pixel: &[u8]) -> u32 {
    pixel.last().map_or(0, |alpha| u32::from(*alpha))
}

impl Block {
    fn mean(self, pixel: &mut [u8], has_alpha: bool, averaging: Averaging) {
        let (colors, weight) = match pixel.split_last_mut() {
            Some((alpha, colors)) if has_alpha => {
                let weights = self.sums.get(colors.len()).copied().unwrap_or_default();
                *alpha = rounded(weights, self.pixels);
                (colors, weights)
            }
            _ => (pixel, self.pixels),
        };
        let part = if weight == 0 { 0.0 } else { 1.0 / to_float(weight) };
        let channels = self.sums.into_iter().zip(self.squares);
        for (channel, (sum, squares)) in colors.iter_mut().zip(channels) {
            *channel = match averaging {
                Averaging::Light => mean_light(to_float(sum) * part, to_float(squares) * part),
                Averaging::Values => rounded(sum, weight),
            };
        }
        if weight == 0 {
            colors.fill(0);
        }
    }
}

/// Signed numbers are one instruction; sums have far fewer bits.
#[expect(clippy::cast_precision_loss, reason = "a quarter of a level is enough")]
const fn to_float(sum: u64) -> f32 {
    sum.cast_signed() as f32
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held at both ends")]
fn mean_light(mean: f32, mean_square: f32) -> u8 {
    let variance = (mean_square - mean * mean).max(0.0);
    (lightened(mean, variance) + 0.5) as u8
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
        means_of(Averaging::Light, width, height, layout, factor, rows)
    }

    fn means_of(
        averaging: Averaging,
        width: u32,
        height: u32,
        layout: Layout,
        factor: u32,
        rows: &[&[u8]],
    ) -> Raster {
        let size = Size { width, height };
        let mut means = BlockMeans::new(size, layout, factor, averaging, Vec::new()).unwrap();
        for row in rows {
            means.push(row);
        }
        means.finish()
    }

    #[test]
    fn blocks_at_the_edges_count_what_they_have() {
        let rows: [&[u8]; 3] = [&[9, 9, 7], &[9, 9, 7], &[200, 200, 255]];
        let small = means(3, 3, Layout::Gray, 2, &rows);
        assert_eq!(small.size(), Size { width: 2, height: 2 });
        assert_eq!(small.data(), [9, 7, 200, 255]);
    }

    #[test]
    fn transparent_pixels_lend_no_colour() {
        let small = means(2, 1, Layout::Rgba, 2, &[&[200, 100, 0, 255, 9, 9, 9, 0]]);
        assert_eq!(small.data(), [200, 100, 0, 128]);
        let nothing = means(1, 1, Layout::GrayAlpha, 2, &[&[77, 0]]);
        assert_eq!(nothing.data(), [0, 0]);
    }

    #[test]
    fn a_mean_is_one_of_light() {
        let light = |value: u8| ((f64::from(value) / 255.0 + 0.055) / 1.055).powf(2.4);
        for (a, b) in [(20, 40), (60, 120), (100, 110), (90, 255), (180, 250), (30, 200)] {
            let mean = f64::midpoint(light(a), light(b)).powf(1.0 / 2.4) * 1.055 - 0.055;
            let small = means(2, 1, Layout::Gray, 2, &[&[a, b]]);
            let found = f64::from(small.data()[0]);
            assert!((found - mean * 255.0).abs() < 4.0, "{a} and {b}: {found}, {}", mean * 255.0);
        }
    }

    #[test]
    fn a_mean_of_values_is_exact() {
        let mean = |layout, pixels: [&[u8]; 2]| {
            let row = pixels.concat();
            means_of(Averaging::Values, 2, 1, layout, 2, &[&row]).data().to_vec()
        };
        assert_eq!(mean(Layout::Gray, [&[0], &[255]]), [128]);
        assert_eq!(mean(Layout::Gray, [&[90], &[91]]), [91]);
        assert_eq!(mean(Layout::Rgb, [&[10, 0, 255], &[20, 1, 255]]), [15, 1, 255]);
        assert_eq!(mean(Layout::GrayAlpha, [&[100, 200], &[40, 100]]), [80, 150]);
    }

    #[test]
    fn the_largest_sums_fit() {
        let row = [255; 4];
        let rows = vec![&row[..]; 8192];
        let small = means(1, 8192, Layout::Rgba, 8192, &rows);
        assert_eq!(small.data(), [255; 4]);
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
