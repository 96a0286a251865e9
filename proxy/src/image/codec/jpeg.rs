//! JPEG in and out.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{Decoded, EncodeOptions, Request, check_size};
use crate::image::error::ImageError;
use crate::image::format::SourceFormat;
use crate::image::geometry::Size;
use crate::image::probe;
use crate::image::raster::{Layout, Raster};

/// A progressive file of more scans costs more time than any real one.
const MAX_SCANS: usize = 100;
/// From this quality on, colour is kept at full resolution.
const FULL_CHROMA_FROM_QUALITY: u8 = 90;
/// From this size on, tables made for the picture save more than they cost.
const OPTIMIZE_FROM_PIXELS: u64 = 12_000;

pub(super) fn decode(request: Request<'_>) -> Result<Decoded, ImageError> {
    let broken =
        |reason: &dyn ToString| ImageError::undecodable(SourceFormat::Jpeg, reason.to_string());
    if !probe::jpeg::is_whole(request.source) {
        return Err(broken(&"it is cut short"));
    }
    let size = request.probe.size;
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(size.width as usize)
        .set_max_height(size.height as usize)
        .jpeg_set_max_scans(MAX_SCANS)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(request.source), options);
    decoder.decode_headers().map_err(|error| broken(&error))?;
    check_size(request.probe, decoder.dimensions().and_then(size_of))?;

    let components = decoder.info().map_or(0, |info| info.components);
    let layout = if components == 1 {
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
        Layout::Gray
    } else {
        Layout::Rgb
    };
    let mut raster = Raster::zeroed(size, layout, request.memory)
        .ok_or_else(|| ImageError::internal("a picture larger than memory"))?;
    decoder.decode_into(raster.data_mut()).map_err(|error| broken(&error))?;

    // The decoder turns CMYK to RGB by itself, and the profile is of the former.
    let profile = if components == 4 { None } else { decoder.icc_profile() };
    Ok(Decoded { raster, reduced_by: 1, profile })
}

fn size_of((width, height): (usize, usize)) -> Option<Size> {
    Some(Size { width: width.try_into().ok()?, height: height.try_into().ok()? })
}

/// Writes a picture that has no alpha.
pub(super) fn encode(raster: &Raster, options: EncodeOptions) -> Result<Vec<u8>, ImageError> {
    let color = match raster.layout() {
        Layout::Gray => ColorType::Luma,
        Layout::Rgb => ColorType::Rgb,
        Layout::GrayAlpha | Layout::Rgba => {
            return Err(ImageError::internal("JPEG has no alpha"));
        }
    };
    let side = |side: u32| u16::try_from(side).map_err(ImageError::internal);
    let (width, height) = (side(raster.size().width)?, side(raster.size().height)?);
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, options.quality);
    encoder.set_sampling_factor(if options.quality < FULL_CHROMA_FROM_QUALITY {
        SamplingFactor::F_2_2
    } else {
        SamplingFactor::F_1_1
    });
    encoder.set_progressive(options.progressive);
    encoder.set_optimized_huffman_tables(raster.size().pixels() >= OPTIMIZE_FROM_PIXELS);
    encoder.encode(raster.data(), width, height, color).map_err(ImageError::internal)?;
    Ok(file)
}
