//! Sequential files with a scan for each component.
//!
//! `zune-jpeg` 0.5 shows these in wrong colours where a component is subsampled, and tells
//! nobody. They are rare from cameras, but what encoders write with tables made for the picture,
//! ours too: so these files alone are read by `jpeg-decoder`.

use std::io::Cursor;

use jpeg_decoder::{Decoder, PixelFormat};

use crate::codec::{Decoded, Request, check_size};
use crate::error::ImageError;
use crate::format::SourceFormat;
use crate::geometry::Size;
use crate::raster::{Layout, Raster};
use crate::shrink;

pub(super) fn decode(request: &Request<'_>) -> Result<Decoded, ImageError> {
    let broken = |error| ImageError::undecodable(SourceFormat::Jpeg, error);
    let mut decoder = Decoder::new(Cursor::new(request.source));
    decoder.read_info().map_err(broken)?;
    let info = decoder.info();
    let size = info.map(|info| Size { width: info.width.into(), height: info.height.into() });
    check_size(request.probe, size)?;
    let layout = match info.map(|info| info.pixel_format) {
        Some(PixelFormat::L8) => Layout::Gray,
        Some(PixelFormat::RGB24) => Layout::Rgb,
        _ => return Err(ImageError::UnsupportedSource { kind: "CMYK JPEG of several scans" }),
    };
    let bytes = layout.bytes(request.probe.size);
    decoder.set_max_decoding_buffer_size(bytes.unwrap_or_default());
    let pixels = decoder.decode().map_err(broken)?;
    let raster = Raster::of(request.probe.size, layout, pixels)
        .ok_or_else(|| ImageError::internal("a decoder gave another number of pixels"))?;
    let (raster, reduced_by) = shrink::reduce(raster, request.wanted, request.averaging);
    Ok(Decoded { raster, reduced_by, profile: decoder.icc_profile() })
}
