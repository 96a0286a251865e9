//! PNG in and out.

use std::io::{BufRead, Cursor, Seek};

use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Limits, Reader, Transformations};

use super::{Decoded, EncodeOptions, MAX_SIDE_DATA_BYTES, Request, adam7, check_size};
use crate::error::ImageError;
use crate::format::SourceFormat;
use crate::geometry::Size;
use crate::raster::{Layout, Raster};
use crate::shrink::{self, BlockMeans};

/// What the decoder may take for rows and side data; pixels are in our memory.
const MAX_DECODER_BYTES: usize = MAX_SIDE_DATA_BYTES + 4 * 1024 * 1024;

pub(super) fn decode(request: Request<'_>) -> Result<Decoded, ImageError> {
    let limits = Limits { bytes: MAX_DECODER_BYTES };
    let mut decoder = Decoder::new_with_limits(Cursor::new(request.source), limits);
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(broken)?;
    let (width, height) = reader.info().size();
    let size = Size { width, height };
    check_size(request.probe, Some(size))?;
    let profile = reader.info().icc_profile.as_ref().map(|profile| profile.to_vec());

    // An interlaced file gives its rows out of order, over and over.
    let factor = if reader.info().interlaced { 1 } else { shrink::factor(size, request.wanted) };
    let raster = if factor > 1 {
        decode_reduced(&mut reader, size, factor, request)
    } else {
        decode_whole(&mut reader, size, request.memory)
    }?;
    Ok(Decoded { raster, reduced_by: factor, profile })
}

fn decode_whole<R: BufRead + Seek>(
    reader: &mut Reader<R>,
    size: Size,
    memory: Vec<u8>,
) -> Result<Raster, ImageError> {
    let mut raster = Raster::zeroed(size, layout(reader)?, memory).ok_or_else(too_large)?;
    reader.next_frame(raster.data_mut()).map_err(broken)?;
    Ok(raster)
}

/// Holds one row of the source at a time.
fn decode_reduced<R: BufRead + Seek>(
    reader: &mut Reader<R>,
    size: Size,
    factor: u32,
    request: Request<'_>,
) -> Result<Raster, ImageError> {
    let layout = layout(reader)?;
    let mut means = BlockMeans::new(size, layout, factor, request.averaging, request.memory)
        .ok_or_else(too_large)?;
    for _ in 0..size.height {
        let row = reader.next_row().map_err(broken)?;
        let row = row.ok_or_else(|| broken("it has too few rows"))?;
        means.push(row.data());
    }
    Ok(means.finish())
}

fn layout<R: BufRead + Seek>(reader: &Reader<R>) -> Result<Layout, ImageError> {
    match reader.output_color_type() {
        (ColorType::Grayscale, BitDepth::Eight) => Ok(Layout::Gray),
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => Ok(Layout::GrayAlpha),
        (ColorType::Rgb, BitDepth::Eight) => Ok(Layout::Rgb),
        (ColorType::Rgba, BitDepth::Eight) => Ok(Layout::Rgba),
        other => Err(ImageError::internal(format!("PNG decoded to {other:?}"))),
    }
}

fn broken(reason: impl ToString) -> ImageError {
    ImageError::undecodable(SourceFormat::Png, reason)
}

fn too_large() -> ImageError {
    ImageError::internal("a picture larger than memory")
}

pub(super) fn encode(raster: &Raster, options: EncodeOptions) -> Result<Vec<u8>, ImageError> {
    if options.progressive {
        return adam7::encode(raster);
    }
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, raster.size().width, raster.size().height);
    encoder.set_color(match raster.layout() {
        Layout::Gray => ColorType::Grayscale,
        Layout::GrayAlpha => ColorType::GrayscaleAlpha,
        Layout::Rgb => ColorType::Rgb,
        Layout::Rgba => ColorType::Rgba,
    });
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header().map_err(ImageError::internal)?;
    writer.write_image_data(raster.data()).map_err(ImageError::internal)?;
    writer.finish().map_err(ImageError::internal)?;
    Ok(file)
}
