//! WebP in and out: read in safe Rust, written by libwebp.

use std::io::Cursor;

use image_webp::WebPDecoder;

use super::{Decoded, EncodeOptions, MAX_SIDE_DATA_BYTES, Request, check_size, webp_sys};
use crate::error::ImageError;
use crate::format::SourceFormat;
use crate::geometry::Size;
use crate::raster::{Layout, Raster};
use crate::shrink;

/// Reads a still picture, or an animation's first frame on its canvas.
pub(super) fn decode(request: Request<'_>) -> Result<Decoded, ImageError> {
    let mut decoder = WebPDecoder::new(Cursor::new(request.source)).map_err(broken)?;
    decoder.set_memory_limit(MAX_SIDE_DATA_BYTES);
    let (width, height) = decoder.dimensions();
    let size = Size { width, height };
    check_size(request.probe, Some(size))?;

    let layout = if decoder.has_alpha() { Layout::Rgba } else { Layout::Rgb };
    let mut raster = Raster::zeroed(size, layout, request.memory)
        .ok_or_else(|| ImageError::internal("a picture larger than memory"))?;
    decoder.read_image(raster.data_mut()).map_err(broken)?;
    // A profile that cannot be read is as good as none.
    let profile = decoder.icc_profile().unwrap_or_default();
    let (raster, reduced_by) = shrink::reduce(raster, request.wanted, request.averaging);
    Ok(Decoded { raster, reduced_by, profile })
}

fn broken(reason: impl ToString) -> ImageError {
    ImageError::undecodable(SourceFormat::WebP, reason)
}

/// Writes a picture that has colour.
pub(super) fn encode(raster: &Raster, options: EncodeOptions) -> Result<Vec<u8>, ImageError> {
    let has_alpha = match raster.layout() {
        Layout::Rgb => false,
        Layout::Rgba => true,
        Layout::Gray | Layout::GrayAlpha => {
            return Err(ImageError::internal("WebP has no gray"));
        }
    };
    let effort = webp_sys::Effort::from(options);
    webp_sys::encode(raster.data(), raster.size(), has_alpha, effort).map_err(ImageError::internal)
}

impl From<EncodeOptions> for webp_sys::Effort {
    fn from(options: EncodeOptions) -> Self {
        Self { quality: options.quality, method: options.webp_method }
    }
}
