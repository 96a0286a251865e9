//! Kinds that are read and never written: GIF and BMP.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::{ColorType, ImageDecoder, ImageResult};

use super::{Decoded, Request, check_size};
use crate::image::error::ImageError;
use crate::image::geometry::Size;
use crate::image::raster::{Layout, Raster};

/// Reads the first frame on its canvas.
pub(super) fn decode_gif(request: Request<'_>) -> Result<Decoded, ImageError> {
    let decoder = GifDecoder::new(Cursor::new(request.source));
    decode(request, decoder)
}

pub(super) fn decode_bmp(request: Request<'_>) -> Result<Decoded, ImageError> {
    let decoder = BmpDecoder::new(Cursor::new(request.source));
    decode(request, decoder)
}

fn decode<D: ImageDecoder>(
    request: Request<'_>,
    decoder: ImageResult<D>,
) -> Result<Decoded, ImageError> {
    let format = request.probe.format;
    let broken = |error| ImageError::undecodable(format, error);
    let mut decoder = decoder.map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let size = Size { width, height };
    check_size(request.probe, Some(size))?;
    let layout = match decoder.color_type() {
        ColorType::L8 => Layout::Gray,
        ColorType::Rgb8 => Layout::Rgb,
        ColorType::Rgba8 => Layout::Rgba,
        other => return Err(ImageError::internal(format!("{format} decoded to {other:?}"))),
    };
    let bytes = layout.bytes(size).ok_or_else(too_large)?;
    decoder.set_limits(limits(size, bytes)).map_err(broken)?;
    let mut raster = Raster::zeroed(size, layout, request.memory).ok_or_else(too_large)?;
    decoder.read_image(raster.data_mut()).map_err(broken)?;
    Ok(Decoded { raster, reduced_by: 1, profile: None })
}

/// The checked size, and room for one more picture as large beside ours.
fn limits(size: Size, bytes: usize) -> image::Limits {
    let mut limits = image::Limits::no_limits();
    limits.max_image_width = Some(size.width);
    limits.max_image_height = Some(size.height);
    limits.max_alloc = Some(2 * u64::try_from(bytes).unwrap_or(u64::MAX / 2));
    limits
}

fn too_large() -> ImageError {
    ImageError::internal("a picture larger than memory")
}
