//! JPEG in and out.

mod huffman;
mod reduced;
mod scaling;
mod scans;

use jpeg_encoder::{ColorType, Encoder, QuantizationTableType as Table, SamplingFactor};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::{Decoded, EncodeOptions, Request, check_size};
use crate::error::ImageError;
use crate::format::SourceFormat;
use crate::geometry::Size;
use crate::limits::MAX_SCANS;
use crate::raster::{Layout, Raster};
use crate::shrink;

/// From this quality on, colour is kept at full resolution.
const FULL_CHROMA_FROM_QUALITY: u8 = 90;
/// From this size on, tables made for the picture save more than they cost.
const OPTIMIZE_FROM_PIXELS: u64 = 12_000;

pub(super) fn decode(request: Request<'_>) -> Result<Decoded, ImageError> {
    let broken =
        |reason: &dyn ToString| ImageError::undecodable(SourceFormat::Jpeg, reason.to_string());
    let size = request.probe.size;
    if request.probe.scans > 1 && !request.probe.is_progressive {
        return scans::decode(&request);
    }
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(size.width as usize)
        .set_max_height(size.height as usize)
        .jpeg_set_max_scans(MAX_SCANS as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(request.source), options);
    decoder.decode_headers().map_err(|error| broken(&error))?;
    check_size(request.probe, decoder.dimensions().and_then(size_of))?;

    let components = decoder.info().map_or(0, |info| info.components);
    // The decoder turns CMYK to RGB by itself, and the profile is of the former.
    let profile = if components == 4 { None } else { decoder.icc_profile() };
    let mut memory = request.memory;
    let by = reduction(size, request.wanted);
    if by > 1
        && let n = 8 / by as usize
        && let Some(raster) =
            reduced::decode(request.source, size, n, request.averaging, &mut memory)
    {
        return Ok(Decoded { raster, reduced_by: by, profile });
    }
    let layout = if components == 1 {
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
        Layout::Gray
    } else {
        Layout::Rgb
    };
    let mut raster = Raster::zeroed(size, layout, memory)
        .ok_or_else(|| ImageError::internal("a picture larger than memory"))?;
    decoder.decode_into(raster.data_mut()).map_err(|error| broken(&error))?;
    let (raster, reduced_by) = shrink::reduce(raster, request.wanted, request.averaging);
    Ok(Decoded { raster, reduced_by, profile })
}

/// The largest of the scales that leaves the filter its margin.
fn reduction(source: Size, wanted: Size) -> u32 {
    let most = shrink::factor(source, wanted);
    [8, 4, 2].into_iter().find(|by| *by <= most).unwrap_or(1)
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
    // Of the tables that the encoder knows, those that score best for their bytes.
    let (sampling, luma, chroma) = if options.quality < FULL_CHROMA_FROM_QUALITY {
        let table = Table::KleinSilversteinCarney;
        (SamplingFactor::F_2_2, table.clone(), table)
    } else {
        (SamplingFactor::F_1_1, Table::CustomMsSsim, Table::Default)
    };
    encoder.set_sampling_factor(sampling);
    encoder.set_quantization_tables(luma, chroma);
    encoder.set_progressive(options.progressive);
    encoder.set_optimized_huffman_tables(raster.size().pixels() >= OPTIMIZE_FROM_PIXELS);
    encoder.encode(raster.data(), width, height, color).map_err(ImageError::internal)?;
    Ok(file)
}

#[cfg(test)]
mod tests;
