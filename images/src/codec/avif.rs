//! AVIF out, by rav1e: all of it in Rust.

use ravif::{BitDepth, Encoder, Img, RGB8, RGBA8};

use super::EncodeOptions;
use crate::error::ImageError;
use crate::raster::{Layout, Raster};

/// Writes a picture that has colour.
pub(super) fn encode(raster: &Raster, options: EncodeOptions) -> Result<Vec<u8>, ImageError> {
    let (width, height) = (raster.size().width as usize, raster.size().height as usize);
    let encoder = Encoder::new()
        .with_quality(options.quality.into())
        .with_alpha_quality(options.quality.into())
        .with_speed(options.avif_speed)
        .with_bit_depth(BitDepth::Eight)
        // The pool already keeps every core busy.
        .with_num_threads(Some(1));
    let encoded = match raster.layout() {
        Layout::Rgb => {
            let pixels: Vec<RGB8> = raster.pixels().filter_map(rgb).collect();
            encoder.encode_rgb(Img::new(&pixels, width, height))
        }
        Layout::Rgba => {
            let pixels: Vec<RGBA8> = raster.pixels().filter_map(rgba).collect();
            encoder.encode_rgba(Img::new(&pixels, width, height))
        }
        Layout::Gray | Layout::GrayAlpha => {
            return Err(ImageError::internal("AVIF is written in colour"));
        }
    };
    encoded.map(|encoded| encoded.avif_file).map_err(ImageError::internal)
}

fn rgb(pixel: &[u8]) -> Option<RGB8> {
    let [r, g, b] = pixel.try_into().ok()?;
    Some(RGB8 { r, g, b })
}

fn rgba(pixel: &[u8]) -> Option<RGBA8> {
    let [r, g, b, a] = pixel.try_into().ok()?;
    Some(RGBA8 { r, g, b, a })
}
