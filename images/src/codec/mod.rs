//! Files to pixels and pixels to files.
//!
//! What strangers wrote is read by decoders in Rust only, each with its own limits
//! set; in safe Rust, but for AVIF, which is read only where it was built in.
//! Metadata ends here: only a colour profile is handed on, to be applied and dropped.

mod adam7;
mod animation;
#[cfg(feature = "avif")]
mod avif;
#[cfg(feature = "avif-in")]
mod avif_in;
mod gif;
mod jpeg;
mod other;
mod png;
mod webp;
mod webp_sys;

pub(super) use animation::AnimationWriter;
pub(super) use gif::Frames;

use super::error::ImageError;
use super::format::{OutputFormat, SourceFormat};
use super::geometry::Size;
use super::light::Averaging;
use super::limits::MAX_ICC_BYTES;
use super::probe::Probe;
use super::raster::Raster;

/// Colour profiles and other side data above this are not looked at.
const MAX_SIDE_DATA_BYTES: usize = MAX_ICC_BYTES;

/// A picture to decode.
pub(super) struct Request<'a> {
    pub(super) source: &'a [u8],
    pub(super) probe: &'a Probe,
    /// What the whole picture is scaled to next, as stored. A codec that can
    /// decode at a reduced scale may deliver fewer pixels than the header says,
    /// as long as it leaves the filter enough of them.
    pub(super) wanted: Size,
    /// What such a codec averages.
    pub(super) averaging: Averaging,
    /// Memory to put the pixels in.
    pub(super) memory: Vec<u8>,
}

/// A decoded picture, in the orientation it is stored in.
pub(super) struct Decoded {
    pub(super) raster: Raster,
    /// How many source pixels, in each direction, one pixel stands for.
    pub(super) reduced_by: u32,
    /// The ICC profile of the pixels as they are in `raster`.
    pub(super) profile: Option<Vec<u8>>,
}

/// How to write a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct EncodeOptions {
    /// 1 to 100 on the encoder's own scale.
    pub(super) quality: u8,
    pub(super) progressive: bool,
    /// libwebp's effort, 0 to 6.
    pub(super) webp_method: u8,
    /// rav1e's speed, 1 to 10.
    #[cfg(feature = "avif")]
    pub(super) avif_speed: u8,
}

pub(super) fn decode(request: Request<'_>) -> Result<Decoded, ImageError> {
    match request.probe.format {
        SourceFormat::Jpeg => jpeg::decode(request),
        SourceFormat::Png => png::decode(request),
        SourceFormat::WebP => webp::decode(request),
        SourceFormat::Gif => gif::decode(request),
        SourceFormat::Bmp => other::decode_bmp(request),
        SourceFormat::Ico => other::decode_ico(request),
        SourceFormat::Tiff => other::decode_tiff(&request),
        #[cfg(feature = "avif-in")]
        SourceFormat::Avif => avif_in::decode(request),
        #[cfg(not(feature = "avif-in"))]
        SourceFormat::Avif => Err(ImageError::UnsupportedSource { kind: "AVIF" }),
    }
}

/// Writes a file without any metadata. [`OutputFormat::AvgColor`] is text.
pub(super) fn encode(
    raster: Raster,
    format: OutputFormat,
    options: EncodeOptions,
) -> Result<Vec<u8>, ImageError> {
    match format {
        OutputFormat::Jpeg => jpeg::encode(&raster.on_white(), options),
        OutputFormat::Png => png::encode(&raster, options),
        OutputFormat::WebP => webp::encode(&raster.in_color(), options),
        OutputFormat::Gif => gif::encode(raster),
        #[cfg(feature = "avif")]
        OutputFormat::Avif => avif::encode(&raster.in_color(), options),
        #[cfg(not(feature = "avif"))]
        OutputFormat::Avif => Err(ImageError::internal("AVIF is not built in")),
        OutputFormat::AvgColor => Ok(super::average::json(&raster).into_bytes()),
        OutputFormat::Info => {
            Err(ImageError::internal("no codec writes what is known of a picture"))
        }
    }
}

/// The decoder's own header must say what the probe was checked against.
fn check_size(probe: &Probe, found: Option<Size>) -> Result<(), ImageError> {
    if found == Some(probe.size) {
        return Ok(());
    }
    Err(ImageError::undecodable(probe.format, "its headers disagree about its size"))
}
