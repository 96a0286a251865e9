//! Kinds that are read and never written: BMP, ICO and TIFF.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::ico::IcoDecoder;
use image::codecs::tiff::TiffDecoder;
use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageResult};

use super::{Decoded, Request, check_size, png};
use crate::error::ImageError;
use crate::geometry::Size;
use crate::probe::ico;
use crate::raster::{Layout, Raster};

pub(super) fn decode_bmp(request: Request<'_>) -> Result<Decoded, ImageError> {
    let decoder = BmpDecoder::new(Cursor::new(request.source));
    decode(request, decoder)
}

/// Reads the largest picture of an icon.
pub(super) fn decode_ico(request: Request<'_>) -> Result<Decoded, ImageError> {
    let format = request.probe.format;
    let broken = |reason: &str| ImageError::undecodable(format, reason);
    let entry = ico::largest(request.source).ok_or_else(|| broken("it has no picture"))?;
    if ico::is_png(entry.picture) {
        return png::decode(Request { source: entry.picture, ..request });
    }
    // An icon of that picture alone, so that the decoder takes no other.
    let mut alone = b"\0\0\x01\0\x01\0".to_vec();
    alone.extend(entry.head.iter().take(12));
    alone.extend(22u32.to_le_bytes());
    alone.extend(entry.picture);
    decode(request, IcoDecoder::new(Cursor::new(&alone)))
}

/// Reads the first page.
pub(super) fn decode_tiff(request: &Request<'_>) -> Result<Decoded, ImageError> {
    let format = request.probe.format;
    let broken = |error| ImageError::undecodable(format, error);
    let mut decoder = TiffDecoder::new(Cursor::new(request.source)).map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let size = Size { width, height };
    check_size(request.probe, Some(size))?;
    let bytes = usize::try_from(decoder.total_bytes()).map_err(|_| too_large())?;
    decoder.set_limits(limits(size, bytes)).map_err(broken)?;
    // The decoder turns CMYK to RGB by itself, and the profile is of the former.
    let has_rgb = !matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8);
    let profile = if has_rgb { decoder.icc_profile().map_err(broken)? } else { None };
    let picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    let (layout, pixels) = match (picture.color().has_color(), picture.color().has_alpha()) {
        (false, false) => (Layout::Gray, picture.into_luma8().into_raw()),
        (false, true) => (Layout::GrayAlpha, picture.into_luma_alpha8().into_raw()),
        (true, false) => (Layout::Rgb, picture.into_rgb8().into_raw()),
        (true, true) => (Layout::Rgba, picture.into_rgba8().into_raw()),
    };
    let raster = Raster::of(size, layout, pixels).ok_or_else(too_large)?;
    Ok(Decoded { raster, reduced_by: 1, profile })
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
