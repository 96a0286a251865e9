//! One picture from bytes to bytes, on the calling thread.

use super::codec::{self, EncodeOptions};
use super::color;
use super::error::ImageError;
use super::format::OutputFormat;
use super::geometry::{GeometryOptions, Plan, Rect};
use super::limits::Limits;
use super::orientation::Orientation;
use super::probe::Probe;
use super::resample::Scratch;
use super::suffix::Suffix;

/// Changes whenever the same source and suffix may give other bytes than the
/// version before gave. Part of every entity tag and cache key.
pub const ENCODER_EPOCH: u32 = 1;

/// What the operator decides about pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How large a source may be.
    pub limits: Limits,
    /// What the grammar leaves open.
    pub geometry: GeometryOptions,
    /// JPEG quality when the suffix has none, 1 to 100. Default 75.
    pub jpeg_quality: u8,
    /// WebP quality when the suffix has none, 1 to 100. Default 75.
    pub webp_quality: u8,
    /// Time against bytes for WebP, 0 (fast) to 6 (small). Default 2.
    pub webp_method: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            geometry: GeometryOptions::default(),
            jpeg_quality: 75,
            webp_quality: 75,
            webp_method: 2,
        }
    }
}

/// A finished picture, without metadata, in sRGB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The file.
    pub bytes: Vec<u8>,
    /// What kind of file it is; [`OutputFormat::content_type`] says it to HTTP.
    pub format: OutputFormat,
    /// Its width in pixels (of the picture measured, for a mean colour).
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
}

/// Makes of `source` what `suffix` asks for. Takes long and blocks: call it on a
/// thread made for that.
///
/// The source's size is read from its header and held against the limits before
/// anything is decoded. `go_on` is asked between the stages and ends the work
/// with [`ImageError::Timeout`] when it says no.
pub fn transform(
    source: &[u8],
    suffix: &Suffix,
    settings: &Settings,
    scratch: &mut Scratch,
    go_on: &dyn Fn() -> bool,
) -> Result<Output, ImageError> {
    let checkpoint = || if go_on() { Ok(()) } else { Err(ImageError::Timeout) };
    settings.limits.check_bytes(source.len().try_into().unwrap_or(u64::MAX))?;
    let probe = Probe::read(source)?;
    settings.limits.check_size(probe.size)?;
    let orientation = if suffix.upright { probe.orientation } else { Orientation::Upright };
    let plan = plan(&probe, orientation, suffix, settings);

    checkpoint()?;
    let decoded = codec::decode(codec::Request {
        source,
        probe: &probe,
        wanted: orientation.apply_to_size(plan.cover),
        memory: scratch.take_frame(),
    })?;
    checkpoint()?;
    let rect = orientation.stored_rect(plan.source_rect(), probe.size);
    let rect = reduced(rect, decoded.reduced_by);
    let target = orientation.apply_to_size(plan.target);
    let small = scratch.resample(decoded.raster, rect, target)?;

    // All that is left works on the small picture.
    let mut picture = orientation.apply(small);
    if let Some(profile) = decoded.profile {
        picture = color::to_srgb(picture, &profile);
    }
    let has_alpha = picture.is_translucent();
    if !has_alpha {
        picture = picture.on_white();
    }
    let format = suffix.format.unwrap_or(probe.format.default_output(has_alpha));
    let (width, height) = (picture.size().width, picture.size().height);
    checkpoint()?;
    let bytes = codec::encode(picture, format, encode_options(format, suffix, settings))?;
    Ok(Output { bytes, format, width, height })
}

fn plan(probe: &Probe, orientation: Orientation, suffix: &Suffix, settings: &Settings) -> Plan {
    let format = suffix.format.unwrap_or(probe.format.default_output(true));
    let max_side = settings.geometry.max_side.min(format.max_side());
    let options = GeometryOptions { max_side, ..settings.geometry };
    Plan::new(orientation.apply_to_size(probe.size), suffix, options)
}

fn reduced(rect: Rect, by: u32) -> Rect {
    let by = f64::from(by);
    Rect {
        left: rect.left / by,
        top: rect.top / by,
        width: rect.width / by,
        height: rect.height / by,
    }
}

fn encode_options(format: OutputFormat, suffix: &Suffix, settings: &Settings) -> EncodeOptions {
    let default = match format {
        OutputFormat::WebP => settings.webp_quality,
        OutputFormat::Jpeg | OutputFormat::Png | OutputFormat::AvgColor => settings.jpeg_quality,
    };
    EncodeOptions {
        quality: suffix.quality.unwrap_or(default),
        progressive: suffix.progressive,
        webp_method: settings.webp_method,
    }
}
