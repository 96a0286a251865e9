//! Light and colour differences to red, green and blue. ITU-T H.273, section 8.

use super::rav1d_sys::{Frame, Row};
use crate::raster::Raster;

/// How samples stand for values.
#[derive(Clone, Copy)]
pub(super) struct Range {
    /// The sample that stands for black, and how much of 0 to 255 a step is.
    light: (f32, f32),
    /// The same for no colour.
    color: (f32, f32),
}

impl Range {
    pub(super) fn new(bits: u8, is_full: bool) -> Self {
        let unit = f32::from(1u16 << bits.saturating_sub(8));
        let middle = 128.0 * unit;
        if is_full {
            let step = 255.0 / (256.0 * unit - 1.0);
            Self { light: (0.0, step), color: (middle, step) }
        } else {
            let step = |levels: f32| 255.0 / (levels * unit);
            Self { light: (16.0 * unit, step(219.0)), color: (middle, step(224.0)) }
        }
    }
}

/// How light and colour mix.
#[derive(Clone, Copy)]
pub(super) enum Matrix {
    /// The planes are green, blue and red.
    Identity,
    /// The parts of red and blue in light.
    Parts(f32, f32),
}

impl Matrix {
    /// By their number. `None` for those that hardly any picture has.
    pub(super) const fn of(number: u16) -> Option<Self> {
        match number {
            0 => Some(Self::Identity),
            1 => Some(Self::Parts(0.2126, 0.0722)),
            4 => Some(Self::Parts(0.30, 0.11)),
            // Where it is not told, it is that of BT.601.
            2 | 5 | 6 => Some(Self::Parts(0.299, 0.114)),
            7 => Some(Self::Parts(0.212, 0.087)),
            9 => Some(Self::Parts(0.2627, 0.0593)),
            _ => None,
        }
    }

    fn rgb(self, [y, cb, cr]: [f32; 3]) -> [f32; 3] {
        match self {
            Self::Identity => [cr, y, cb],
            Self::Parts(of_red, of_blue) => {
                let red = y + 2.0 * (1.0 - of_red) * cr;
                let blue = y + 2.0 * (1.0 - of_blue) * cb;
                [red, (y - of_red * red - of_blue * blue) / (1.0 - of_red - of_blue), blue]
            }
        }
    }
}

/// Writes all channels but alpha. `None` where the picture lacks a row.
pub(super) fn write_colors(
    frame: &Frame,
    range: Range,
    matrix: Matrix,
    raster: &mut Raster,
) -> Option<()> {
    let channels = raster.layout().channels();
    let row_bytes = frame.size().width as usize * channels;
    // All three planes are light, where they are colours themselves.
    let color = if matches!(matrix, Matrix::Identity) { range.light } else { range.color };
    let [mut y, mut cb, mut cr] = [const { Vec::new() }; 3];
    for (number, line) in (0..).zip(raster.data_mut().chunks_exact_mut(row_bytes)) {
        read(frame.row(0, number)?, range.light, &mut y);
        if frame.samples().is_gray {
            let pixels = line.chunks_exact_mut(channels);
            pixels.zip(&y).for_each(|(pixel, y)| set(pixel, &[*y]));
            continue;
        }
        read_color(frame, 1, number, color, &mut cb)?;
        read_color(frame, 2, number, color, &mut cr)?;
        let values = y.iter().zip(&cb).zip(&cr);
        for (pixel, ((y, cb), cr)) in line.chunks_exact_mut(channels).zip(values) {
            set(pixel, &matrix.rgb([*y, *cb, *cr]));
        }
    }
    Some(())
}

/// Writes the last channel. `None` where the picture lacks a row.
pub(super) fn write_alpha(frame: &Frame, range: Range, raster: &mut Raster) -> Option<()> {
    let channels = raster.layout().channels();
    let row_bytes = frame.size().width as usize * channels;
    let mut values = Vec::new();
    for (number, line) in (0..).zip(raster.data_mut().chunks_exact_mut(row_bytes)) {
        read(frame.row(0, number)?, range.light, &mut values);
        for (pixel, value) in line.chunks_exact_mut(channels).zip(&values) {
            if let Some(alpha) = pixel.last_mut() {
                *alpha = rounded(*value);
            }
        }
    }
    Some(())
}

/// A row of colour as long as one of light. Where there are half as many samples,
/// they stand between pixels, so that the nearer of two counts three times.
fn read_color(
    frame: &Frame,
    plane: usize,
    row: u32,
    range: (f32, f32),
    values: &mut Vec<f32>,
) -> Option<()> {
    let (across, down) = frame.samples().halved;
    if down {
        let last = frame.color_size().height.saturating_sub(1);
        let (near, far) = neighbors(row);
        let mut other = Vec::new();
        read(frame.row(plane, near.min(last))?, range, values);
        read(frame.row(plane, far.min(last))?, range, &mut other);
        values.iter_mut().zip(&other).for_each(|(near, far)| *near = mixed(*near, *far));
    } else {
        read(frame.row(plane, row)?, range, values);
    }
    if across {
        let last = frame.color_size().width.saturating_sub(1);
        let at = |column: u32| values.get(column.min(last) as usize).copied();
        let wide = (0..frame.size().width).map(|column| {
            let (near, far) = neighbors(column);
            Some(mixed(at(near)?, at(far)?))
        });
        *values = wide.collect::<Option<_>>()?;
    }
    Some(())
}

/// Of the samples that are half as many, the one that holds a place and the one
/// that is next to it. The latter may be beyond the last.
const fn neighbors(place: u32) -> (u32, u32) {
    let near = place / 2;
    (near, if place % 2 == 1 { near + 1 } else { near.saturating_sub(1) })
}

fn mixed(near: f32, far: f32) -> f32 {
    0.75 * near + 0.25 * far
}

fn read(row: Row<'_>, (zero, step): (f32, f32), values: &mut Vec<f32>) {
    values.clear();
    match row {
        Row::Eight(row) => {
            values.extend(row.iter().map(|sample| (f32::from(*sample) - zero) * step));
        }
        Row::More(row) => {
            values.extend(row.iter().map(|sample| (f32::from(*sample) - zero) * step));
        }
    }
}

fn set(pixel: &mut [u8], values: &[f32]) {
    for (channel, value) in pixel.iter_mut().zip(values) {
        *channel = rounded(*value);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held at both ends")]
fn rounded(value: f32) -> u8 {
    (value + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn black_and_white_are_the_ends_of_their_range() {
        let value = |(zero, step): (f32, f32), sample: f32| rounded((sample - zero) * step);
        for (bits, is_full, black, white, middle) in [
            (8, true, 0.0, 255.0, 128.0),
            (8, false, 16.0, 235.0, 128.0),
            (10, true, 0.0, 1023.0, 512.0),
            (10, false, 64.0, 940.0, 512.0),
            (12, true, 0.0, 4095.0, 2048.0),
            (12, false, 256.0, 3760.0, 2048.0),
        ] {
            let range = Range::new(bits, is_full);
            assert_eq!([black, white].map(|sample| value(range.light, sample)), [0, 255]);
            assert_eq!(value(range.color, middle), 0);
        }
    }

    #[test]
    fn matrices_give_back_what_went_in() {
        for number in [1, 2, 5, 6, 9] {
            let matrix = Matrix::of(number).unwrap();
            let Matrix::Parts(of_red, of_blue) = matrix else { panic!("{number}") };
            let [red, green, blue] = [200.0f32, 30.0, 90.0];
            let y = of_red * red + of_blue * blue + (1.0 - of_red - of_blue) * green;
            let cb = (blue - y) / (2.0 * (1.0 - of_blue));
            let cr = (red - y) / (2.0 * (1.0 - of_red));
            assert_eq!(matrix.rgb([y, cb, cr]).map(rounded), [200, 30, 90]);
        }
        assert_eq!(Matrix::of(0).unwrap().rgb([2.0, 3.0, 1.0]).map(rounded), [1, 2, 3]);
        assert!(Matrix::of(14).is_none());
    }
}
