//! Interlaced PNG. The `png` crate reads it, and does not write it.
//!
//! Seven pictures in one stream, each finer than the one before: see PNG's
//! specification on Adam7. Each is filtered row by row like a picture of its own.

use std::io::{self, Write as _};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use crate::error::ImageError;
use crate::raster::{Layout, Raster};

/// The first column and row of each pass, and the steps to the next ones.
const PASSES: [(usize, usize, usize, usize); 7] = [
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
];
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const DEPTH: u8 = 8;
const INTERLACED: u8 = 1;

/// Writes a picture that is seen whole, if coarsely, after few of its bytes.
pub(super) fn encode(raster: &Raster) -> Result<Vec<u8>, ImageError> {
    let color = match raster.layout() {
        Layout::Gray => 0,
        Layout::Rgb => 2,
        Layout::GrayAlpha => 4,
        Layout::Rgba => 6,
    };
    let [width, height] =
        [raster.size().width, raster.size().height].map(|side| side.swap_bytes().to_le_bytes());
    let header = [&width[..], &height, &[DEPTH, color, 0, 0, INTERLACED]].concat();
    let data = compressed(raster).map_err(ImageError::internal)?;
    let mut file = SIGNATURE.to_vec();
    for (kind, body) in [(b"IHDR", &header), (b"IDAT", &data), (b"IEND", &Vec::new())] {
        chunk(&mut file, *kind, body)?;
    }
    Ok(file)
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], body: &[u8]) -> Result<(), ImageError> {
    let length = u32::try_from(body.len()).map_err(ImageError::internal)?;
    let mut crc = Crc::new();
    crc.update(&kind);
    crc.update(body);
    file.extend(length.swap_bytes().to_le_bytes());
    file.extend(kind);
    file.extend(body);
    file.extend(crc.sum().swap_bytes().to_le_bytes());
    Ok(())
}

fn compressed(raster: &Raster) -> io::Result<Vec<u8>> {
    let mut out = ZlibEncoder::new(Vec::new(), Compression::fast());
    let channels = raster.layout().channels();
    let stride = raster.size().width as usize * channels;
    for (left, top, across, down) in PASSES {
        let mut above = Vec::new();
        for row in raster.data().chunks_exact(stride).skip(top).step_by(down) {
            let pixels = row.chunks_exact(channels).skip(left).step_by(across);
            let row: Vec<u8> = pixels.flatten().copied().collect();
            // A pass without columns has no rows either.
            if row.is_empty() {
                break;
            }
            above.resize(row.len(), 0);
            let (filter, filtered) = filtered(&row, &above, channels);
            out.write_all(&[filter])?;
            out.write_all(&filtered)?;
            above = row;
        }
    }
    out.finish()
}

/// What the neighbours foretell of a byte: the one before, the one above, and the
/// one before that.
type Foretell = fn(u8, u8, u8) -> u8;

const FILTERS: [Foretell; 5] =
    [|_, _, _| 0, |before, _, _| before, |_, above, _| above, mean, paeth];

/// The row less what is foretold of it, by the filter that leaves least.
fn filtered(row: &[u8], above: &[u8], channels: usize) -> (u8, Vec<u8>) {
    let shifted = |row: &[u8]| -> Vec<u8> {
        std::iter::repeat_n(0, channels).chain(row.iter().copied()).take(row.len()).collect()
    };
    let (before, before_above) = (shifted(row), shifted(above));
    let apply = |foretell: Foretell| -> Vec<u8> {
        let neighbours = before.iter().zip(above).zip(&before_above);
        row.iter()
            .zip(neighbours)
            .map(|(byte, ((a, b), c))| byte.wrapping_sub(foretell(*a, *b, *c)))
            .collect()
    };
    let left_over = |row: &[u8]| {
        row.iter().map(|byte| u64::from(byte.cast_signed().unsigned_abs())).sum::<u64>()
    };
    (0u8..)
        .zip(FILTERS.map(apply))
        .min_by_key(|(_, row)| left_over(row))
        .unwrap_or_else(|| (0, row.to_vec()))
}

fn mean(before: u8, above: u8, _: u8) -> u8 {
    before.midpoint(above)
}

fn paeth(before: u8, above: u8, corner: u8) -> u8 {
    let [a, b, c] = [before, above, corner].map(i16::from);
    let guess = a + b - c;
    let (to_a, to_b, to_c) = (guess.abs_diff(a), guess.abs_diff(b), guess.abs_diff(c));
    if to_a <= to_b && to_a <= to_c {
        before
    } else if to_b <= to_c {
        above
    } else {
        corner
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    /// Sizes at which one pass or another has no pixel.
    #[test]
    fn every_size_and_layout_is_read_back() {
        for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba] {
            for (width, height) in (1..=17).flat_map(|w| (1..=17).map(move |h| (w, h))) {
                let mut raster =
                    Raster::zeroed(Size { width, height }, layout, Vec::new()).unwrap();
                for (at, byte) in (0u32..).zip(raster.data_mut()) {
                    *byte = u8::try_from(at.wrapping_mul(2_654_435_761) >> 24).unwrap();
                }
                let file = encode(&raster).unwrap();
                let decoder = png::Decoder::new(io::Cursor::new(&file));
                let mut reader = decoder.read_info().unwrap();
                assert!(reader.info().interlaced);
                let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
                reader.next_frame(&mut pixels).unwrap();
                reader.finish().unwrap();
                assert_eq!(pixels, raster.data(), "{width}x{height} {layout:?}");
            }
        }
    }

    #[test]
    fn a_smooth_picture_packs_well() {
        let size = Size { width: 200, height: 200 };
        let mut raster = Raster::zeroed(size, Layout::Gray, Vec::new()).unwrap();
        for (at, byte) in raster.data_mut().iter_mut().enumerate() {
            *byte = u8::try_from((at % 200).midpoint(at / 200)).unwrap();
        }
        assert!(encode(&raster).unwrap().len() < 4000);
    }
}
