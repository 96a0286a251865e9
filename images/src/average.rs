//! The mean colour of a picture.

use super::raster::{Layout, Raster};
use super::shrink::rounded;

/// `{"RGB":"#rrggbb"}`: the arithmetic mean, weighted by alpha, rounded half up.
/// A picture that is nowhere opaque is white.
pub(super) fn json(raster: &Raster) -> String {
    format!(r#"{{"RGB":"{}"}}"#, hex(raster))
}

/// `#rrggbb`.
pub(super) fn hex(raster: &Raster) -> String {
    let [r, g, b] = mean(raster);
    format!("#{r:02x}{g:02x}{b:02x}")
}

fn mean(raster: &Raster) -> [u8; 3] {
    let mut sums = [0u64; 3];
    let mut weights = 0u64;
    for pixel in raster.pixels() {
        let ([r, g, b], alpha) = match (raster.layout(), pixel) {
            (Layout::Gray, &[gray]) => ([gray; 3], u8::MAX),
            (Layout::GrayAlpha, &[gray, alpha]) => ([gray; 3], alpha),
            (Layout::Rgb, &[r, g, b]) => ([r, g, b], u8::MAX),
            (Layout::Rgba, &[r, g, b, alpha]) => ([r, g, b], alpha),
            _ => continue,
        };
        let alpha = u64::from(alpha);
        for (sum, channel) in sums.iter_mut().zip([r, g, b]) {
            *sum += u64::from(channel) * alpha;
        }
        weights += alpha;
    }
    if weights == 0 { [u8::MAX; 3] } else { sums.map(|sum| rounded(sum, weights)) }
}
