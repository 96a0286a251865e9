//! One picture from bytes to bytes, on the calling thread.

use super::animate::animate;
use super::codec::{self, Decoded, EncodeOptions};
use super::color;
use super::error::ImageError;
use super::format::{OutputFormat, SourceFormat};
use super::geometry::{GeometryOptions, Plan, Rect, Size};
use super::info::Info;
use super::light::Averaging;
use super::limits::Limits;
use super::orientation::Orientation;
use super::probe::Probe;
use super::raster::Raster;
use super::resample::Scratch;
use super::stages::Stage;
use super::suffix::Suffix;

/// Changes whenever the same source and suffix may give other bytes than the
/// version before gave. Part of every entity tag and cache key.
pub const ENCODER_EPOCH: u32 = 3;

/// What the operator decides about pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How large a source may be.
    pub limits: Limits,
    /// What the grammar leaves open.
    pub geometry: GeometryOptions,
    /// What a reduction averages. Default light.
    pub averaging: Averaging,
    /// JPEG quality when the suffix has none, 1 to 100. Default 75.
    pub jpeg_quality: u8,
    /// WebP quality when the suffix has none, 1 to 100. Default 75.
    pub webp_quality: u8,
    /// Time against bytes for WebP, 0 (fast) to 6 (small). Default 2.
    pub webp_method: u8,
    /// AVIF quality when the suffix has none, 1 to 100 on the encoder's own scale.
    /// Default 55.
    pub avif_quality: u8,
    /// Time against bytes for AVIF, 1 (small) to 10 (fast). Default 9, which
    /// takes about a tenth longer than 10 and writes a tenth less.
    pub avif_speed: u8,
    /// Pixels of an AVIF. A larger picture is written as WebP, for AVIF takes more
    /// than half a microsecond a pixel. Default 360,000.
    pub avif_max_pixels: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            geometry: GeometryOptions::default(),
            averaging: Averaging::Light,
            jpeg_quality: 75,
            webp_quality: 75,
            webp_method: 2,
            avif_quality: 55,
            avif_speed: 9,
            avif_max_pixels: 360_000,
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
    /// Whether the source moves and this does not, though it could: the source is
    /// over the limits for animations.
    pub animation_dropped: bool,
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
    Job::new(source, suffix, settings)?.run(scratch, go_on)
}

/// A picture that is small enough to be made, and all that is known of it before.
pub(super) struct Job<'a> {
    source: &'a [u8],
    suffix: &'a Suffix,
    settings: &'a Settings,
    probe: Probe,
    orientation: Orientation,
    plan: Plan,
    /// `None` where it depends on whether any pixel is transparent.
    format: Option<OutputFormat>,
    motion: Motion,
}

/// What becomes of the frames of an animation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Motion {
    /// There are none, or the format has no place for them.
    None,
    Kept,
    /// There are more than is allowed.
    Dropped,
}

impl<'a> Job<'a> {
    /// Reads the headers and holds them against the limits.
    pub(super) fn new(
        source: &'a [u8],
        suffix: &'a Suffix,
        settings: &'a Settings,
    ) -> Result<Self, ImageError> {
        settings.limits.check_bytes(source.len().try_into().unwrap_or(u64::MAX))?;
        let probe = Probe::read(source)?;
        settings.limits.check(&probe)?;
        let orientation = if suffix.upright { probe.orientation } else { Orientation::Upright };
        let format = suffix.format.or(probe.format.own_output());
        let plan = |format: Option<OutputFormat>| {
            let max_side = format.map_or(u32::MAX, OutputFormat::max_side);
            let max_side = settings.geometry.max_side.min(max_side);
            let options = GeometryOptions { max_side, ..settings.geometry };
            Plan::new(orientation.apply_to_size(probe.size), suffix, options)
        };
        // Looked at as AVIF first: that, and no other, may be too large.
        let format = match format {
            Some(OutputFormat::Avif) if plan(format).target.pixels() > settings.avif_max_pixels => {
                Some(OutputFormat::WebP)
            }
            format => format,
        };
        let motion = match format {
            Some(format) if probe.is_animated_gif() && format.is_animated() => {
                let allowed = settings.limits.allow_motion(&probe);
                if allowed { Motion::Kept } else { Motion::Dropped }
            }
            _ => Motion::None,
        };
        let plan = plan(format);
        Ok(Self { source, suffix, settings, probe, orientation, plan, format, motion })
    }

    /// The kind of the source.
    pub(super) const fn source_format(&self) -> SourceFormat {
        self.probe.format
    }

    /// What [`Job::run`] takes at most, in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let format = self.format.unwrap_or(OutputFormat::Png);
        let averaging = self.settings.averaging;
        match self.motion {
            Motion::Kept => self.probe.animation_bytes(&self.plan, format, averaging),
            Motion::None | Motion::Dropped => {
                self.probe.memory_bytes(&self.plan, format, averaging)
            }
        }
    }

    pub(super) fn run(
        self,
        scratch: &mut Scratch,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Output, ImageError> {
        match (self.motion, self.format) {
            (Motion::Kept, Some(format)) => self.animate(format, scratch, go_on),
            _ => self.still(scratch, go_on),
        }
    }

    fn animate(
        self,
        format: OutputFormat,
        scratch: &mut Scratch,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Output, ImageError> {
        let writing = (format, encode_options(format, self.suffix, self.settings));
        let averaging = self.settings.averaging;
        let bytes =
            animate(self.source, &self.probe, &self.plan, averaging, writing, scratch, go_on)?;
        let Size { width, height } = self.plan.target;
        Ok(Output { bytes, format, width, height, animation_dropped: false })
    }

    fn still(self, scratch: &mut Scratch, go_on: &dyn Fn() -> bool) -> Result<Output, ImageError> {
        let checkpoint = || if go_on() { Ok(()) } else { Err(ImageError::Timeout) };
        checkpoint()?;
        let decoded = scratch.timed(Stage::Decoding, |scratch| {
            codec::decode(codec::Request {
                source: self.source,
                probe: &self.probe,
                wanted: self.orientation.apply_to_size(self.plan.cover),
                averaging: self.settings.averaging,
                memory: scratch.take_frame(),
            })
        })?;
        checkpoint()?;
        // All that is left works on the small picture.
        let mut picture =
            scratch.timed(Stage::Resizing, |scratch| self.resized(decoded, scratch))?;
        if self.format == Some(OutputFormat::Info) {
            return info(&self.probe, self.source.len(), picture);
        }
        let has_alpha = picture.is_translucent();
        if !has_alpha {
            picture = picture.on_white();
        }
        let format = self.format.unwrap_or(self.probe.format.default_output(has_alpha));
        let (width, height) = (picture.size().width, picture.size().height);
        checkpoint()?;
        let options = encode_options(format, self.suffix, self.settings);
        let bytes = scratch.timed(Stage::Encoding, |_| codec::encode(picture, format, options))?;
        let animation_dropped = self.motion == Motion::Dropped;
        Ok(Output { bytes, format, width, height, animation_dropped })
    }

    /// The part that the plan shows, at its size, upright and in sRGB.
    fn resized(&self, decoded: Decoded, scratch: &mut Scratch) -> Result<Raster, ImageError> {
        let rect = self.orientation.stored_rect(self.plan.source_rect(), self.probe.size);
        let rect = reduced(rect, decoded.reduced_by);
        let target = self.orientation.apply_to_size(self.plan.target);
        let averaging = self.settings.averaging;
        let picture = scratch.resample(decoded.raster, rect, target, averaging)?;
        let picture = self.orientation.apply(picture);
        Ok(match decoded.profile {
            Some(profile) => color::to_srgb(picture, &profile),
            None => picture,
        })
    }
}

fn info(probe: &Probe, source_bytes: usize, small: Raster) -> Result<Output, ImageError> {
    let Size { width, height } = small.size();
    let info = Info::new(probe, source_bytes, small);
    let bytes = serde_json::to_vec(&info).map_err(ImageError::internal)?;
    Ok(Output { bytes, format: OutputFormat::Info, width, height, animation_dropped: false })
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
        OutputFormat::Avif => settings.avif_quality,
        OutputFormat::Jpeg
        | OutputFormat::Png
        | OutputFormat::Gif
        | OutputFormat::AvgColor
        | OutputFormat::Info => settings.jpeg_quality,
    };
    EncodeOptions {
        quality: suffix.quality.unwrap_or(default),
        progressive: suffix.progressive,
        webp_method: settings.webp_method,
        #[cfg(feature = "avif")]
        avif_speed: settings.avif_speed,
    }
}
