//! From a block's coefficients to fewer pixels than it has.
//!
//! Each of the `NX` by `NY` pixels made of a block of 8 by 8 is the exact mean of
//! those that it stands for. The cosines of the higher frequencies, averaged, are
//! cosines of the lower ones, so their coefficients are added up, weighted, while
//! they are read, and only a small transform is left.
//!
//! Where light is averaged, the variance of what became one pixel counts. It follows
//! from the squares of all coefficients, less what the means still show: Parseval's
//! theorem. So the reduction is one in linear light, and full pixels are never made.
#![expect(clippy::inline_always, reason = "loops over a few lanes, which are one instruction each")]

use std::f32::consts::FRAC_1_SQRT_2;

use crate::light::lightened;

pub(super) const BLOCK: usize = 64;

/// Where a coefficient, in the order of the file, goes and with what weight.
#[derive(Clone, Copy, Default)]
#[repr(align(16))]
pub(super) struct Weight {
    factor: f32,
    /// What its square adds to the variance of the block.
    square: f32,
    place: u32,
}

/// One component's weights.
pub(super) type Weights = [Weight; BLOCK];

/// Blocks that are transformed side by side.
pub(super) const LANES: usize = 8;

/// One number of each of [`LANES`] blocks.
type Lanes = [f32; LANES];

/// The coefficients of a row of blocks, added up for their transform. For each
/// [`LANES`] blocks: what becomes each frequency, then the variance.
pub(super) struct Sums {
    lanes: Vec<Lanes>,
    variance_at: usize,
}

impl Sums {
    /// Room for so many blocks of `nx` by `ny` pixels.
    pub(super) fn new(blocks: usize, nx: usize, ny: usize) -> Self {
        let variance_at = nx * ny;
        let lanes = vec![[0.0; LANES]; blocks.div_ceil(LANES) * (variance_at + 1)];
        Self { lanes, variance_at }
    }

    /// Puts down what was added up for a block.
    pub(super) fn put(&mut self, block: usize, sums: &mut BlockSums) -> Option<()> {
        let each = self.variance_at + 1;
        let start = block / LANES * each;
        let (variance, lanes) = self.lanes.get_mut(start..start + each)?.split_last_mut()?;
        let lane = block % LANES;
        *variance.get_mut(lane)? = sums.variance;
        sums.variance = 0.0;
        for (lanes, sum) in lanes.iter_mut().zip(&mut sums.sums) {
            *lanes.get_mut(lane)? = *sum;
            *sum = 0.0;
        }
        Some(())
    }

    /// The sums of the blocks side by side.
    pub(super) fn side_by_side(&mut self) -> impl Iterator<Item = &mut [Lanes]> {
        self.lanes.chunks_exact_mut(self.variance_at + 1)
    }
}

/// One block's sums.
pub(super) struct BlockSums {
    sums: [f32; BLOCK],
    pub(super) variance: f32,
}

impl BlockSums {
    pub(super) const fn new() -> Self {
        Self { sums: [0.0; BLOCK], variance: 0.0 }
    }

    /// Adds the coefficient at `place` in the order of the file; gives what it adds
    /// to the variance.
    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "coefficients have 16 bits")]
    #[expect(clippy::indexing_slicing, reason = "held below the lengths")]
    pub(super) fn add(&mut self, weights: &Weights, place: usize, value: i32) -> f32 {
        let weight = weights[place % BLOCK];
        let value = value as f32;
        self.sums[weight.place as usize % BLOCK] += weight.factor * value;
        weight.square * value * value
    }
}

/// The weights for this table of quantisation, which is in the order of the file.
pub(super) fn weights(nx: usize, ny: usize, quantisation: &[u16; BLOCK]) -> Weights {
    let mut weights = [Weight::default(); BLOCK];
    let across: [_; 8] = std::array::from_fn(|u| folded(u, nx));
    let down: [_; 8] = std::array::from_fn(|u| folded(u, ny));
    for ((weight, natural), step) in weights.iter_mut().zip(ZIGZAG).zip(quantisation) {
        let at = |side: &[(usize, f32)], u: u8| side.get(usize::from(u)).copied();
        let (x, weight_x) = at(&across, natural % 8).unwrap_or_default();
        let (y, weight_y) = at(&down, natural / 8).unwrap_or_default();
        let step = f32::from(*step);
        weight.factor = weight_x * weight_y * step;
        weight.place = u32::try_from(y * nx + x).unwrap_or_default();
        weight.square = if natural == 0 { 0.0 } else { step * step / 64.0 };
    }
    weights
}

/// Which of `n` frequencies the frequency `u` of 8 becomes when its pixels are
/// averaged, and how much of it is left.
#[expect(clippy::cast_precision_loss, reason = "numbers up to 8")]
fn folded(u: usize, n: usize) -> (usize, f32) {
    let scale = if u == 0 { 0.5 * FRAC_1_SQRT_2 } else { 0.5 };
    let each = 8 / n;
    let mean = |j: usize| {
        let pixels = j * each..(j + 1) * each;
        pixels.map(|x| cosine((2 * x + 1) * u)).sum::<f32>() / each as f32
    };
    let seen = |f: usize| {
        let norm = if f == 0 { 1.0 } else { 2.0 } / n as f32;
        (0..n).map(|j| mean(j) * cosine((2 * j + 1) * f * 8 / n)).sum::<f32>() * norm
    };
    // Frequencies fold at the middle, again and again.
    let f = (0..n).find(|f| u % (2 * n) == *f || 2 * n - u % (2 * n) == *f);
    f.map(|f| (f, seen(f) * scale)).unwrap_or_default()
}

/// Makes pixels of the sums, the blocks side by side in rows `stride` apart, and
/// clears the sums.
pub(super) type Inverse = fn(&mut [Lanes], &mut [u8], usize);

/// The transform for so many pixels of a block.
pub(super) fn inverse(nx: usize, ny: usize, lightened: bool) -> Option<Inverse> {
    Some(match (nx, ny, lightened) {
        (1, 1, true) => run::<1, 1, true>,
        (2, 2, true) => run::<2, 2, true>,
        (4, 4, true) => run::<4, 4, true>,
        (1, 1, false) => run::<1, 1, false>,
        (1, 2, false) => run::<1, 2, false>,
        (2, 1, false) => run::<2, 1, false>,
        (2, 2, false) => run::<2, 2, false>,
        (2, 4, false) => run::<2, 4, false>,
        (4, 2, false) => run::<4, 2, false>,
        (4, 4, false) => run::<4, 4, false>,
        (4, 8, false) => run::<4, 8, false>,
        (8, 4, false) => run::<8, 4, false>,
        (8, 8, false) => run::<8, 8, false>,
        _ => return None,
    })
}

fn run<const NX: usize, const NY: usize, const LIGHTENED: bool>(
    sums: &mut [Lanes],
    to: &mut [u8],
    stride: usize,
) {
    let Some((used, [variance])) = sums.split_at_mut_checked(NX * NY) else { return };
    let variance = std::mem::take(variance);
    let mean = used.first().copied().unwrap_or_default();
    // Rows of the frequencies across, each with all lanes.
    let mut cells = [[[0f32; LANES]; NX]; NY];
    for (row, from) in cells.iter_mut().zip(used.chunks_exact_mut(NX)) {
        row.copy_from_slice(from);
        from.fill([0.0; LANES]);
    }
    let columns = transposed(&transform(&cells));
    let mut cells = transposed(&transform(&columns));
    if LIGHTENED {
        lighten(&mut cells, mean, variance);
    }
    for (row, cells) in to.chunks_mut(stride).zip(&cells) {
        let mut values = [[0; LANES]; NX];
        for (to, value) in values.as_flattened_mut().iter_mut().zip(cells.as_flattened()) {
            *to = to_pixel(value + 128.0);
        }
        if let Some(row) = row.get_mut(..NX * LANES) {
            row.copy_from_slice(transposed(&values).as_flattened());
        }
    }
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the bounds are the loops'")]
fn transposed<T: Copy, const NX: usize, const NY: usize>(cells: &[[T; NX]; NY]) -> [[T; NY]; NX] {
    std::array::from_fn(|x| std::array::from_fn(|y| cells[y][x]))
}

fn lighten<const NX: usize, const NY: usize>(
    cells: &mut [[Lanes; NX]; NY],
    mean: Lanes,
    variance: Lanes,
) {
    let mut shown = [0f32; LANES];
    for cell in cells.as_flattened() {
        for (sum, (value, mean)) in shown.iter_mut().zip(cell.iter().zip(mean)) {
            *sum += (value - mean) * (value - mean);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "numbers up to 64")]
    let part = 1.0 / (NX * NY) as f32;
    let mut hidden = [0f32; LANES];
    for (hidden, (variance, shown)) in hidden.iter_mut().zip(variance.iter().zip(shown)) {
        *hidden = (variance - shown * part).max(0.0);
    }
    for cell in cells.as_flattened_mut() {
        for (value, hidden) in cell.iter_mut().zip(hidden) {
            *value = lightened(*value + 128.0, hidden) - 128.0;
        }
    }
}

/// Rounded and held between 0 and 255. Where the last bits of a float are whole
/// numbers, they are read as they are: that works on several at once.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low byte is all there is")]
fn to_pixel(value: f32) -> u8 {
    const WHOLE: f32 = 8_388_608.0;
    (value.clamp(0.0, 255.0) + WHOLE).to_bits() as u8
}

/// The inverse cosine transform of `N` points, in each lane of all columns.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "the bounds are the loops'")]
fn transform<const N: usize, const COLUMNS: usize>(
    from: &[[Lanes; COLUMNS]; N],
) -> [[Lanes; COLUMNS]; N] {
    let mut to = [[[0f32; LANES]; COLUMNS]; N];
    for at in 0..COLUMNS * LANES {
        let values: [f32; N] = std::array::from_fn(|f| from[f].as_flattened()[at]);
        for j in 0..N.div_ceil(2) {
            let (mut even, mut odd) = (values[0], 0.0);
            for (f, value) in values.iter().enumerate().skip(1) {
                let sum = if f % 2 == 0 { &mut even } else { &mut odd };
                *sum += cosine((2 * j + 1) * f * 8 / N) * value;
            }
            // Past the middle, odd frequencies have the other sign.
            to[N - 1 - j].as_flattened_mut()[at] = even - odd;
            to[j].as_flattened_mut()[at] = even + odd;
        }
    }
    to
}

/// The cosine of so many sixteenths of pi.
#[expect(clippy::indexing_slicing, reason = "held below the length")]
const fn cosine(sixteenths: usize) -> f32 {
    const QUARTER: [f32; 9] = [
        1.0,
        0.980_785_25,
        0.923_879_5,
        0.831_469_6,
        FRAC_1_SQRT_2,
        0.555_570_24,
        0.382_683_43,
        0.195_090_32,
        0.0,
    ];
    match sixteenths % 32 {
        k @ 0..=8 => QUARTER[k],
        k @ 9..=16 => -QUARTER[16 - k],
        k @ 17..=23 => -QUARTER[k - 16],
        k => QUARTER[32 - k],
    }
}

const ZIGZAG: [u8; BLOCK] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20,
    13, 6, 7, 14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59,
    52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
];
