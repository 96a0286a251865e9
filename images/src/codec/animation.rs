//! Pictures that move.

use gif::Repeat;

use super::{EncodeOptions, gif as gif_codec, webp_sys};
use crate::error::ImageError;
use crate::format::OutputFormat;
use crate::geometry::Size;
use crate::raster::Raster;

/// A moving picture in the making.
pub(crate) enum AnimationWriter {
    Gif(Box<gif_codec::Writer>),
    WebP(webp_sys::Animation),
}

impl AnimationWriter {
    pub(crate) fn new(
        format: OutputFormat,
        size: Size,
        repeat: Repeat,
        options: EncodeOptions,
    ) -> Result<Self, ImageError> {
        match format {
            OutputFormat::Gif => {
                let writer = gif_codec::Writer::new(size, Some(repeat))?;
                Ok(Self::Gif(Box::new(writer)))
            }
            OutputFormat::WebP => {
                // WebP counts how often it is shown, and 0 is for ever.
                let shown = match repeat {
                    Repeat::Infinite => 0,
                    Repeat::Finite(times) => times.saturating_add(1),
                };
                let effort = webp_sys::Effort::from(options);
                let writer = webp_sys::Animation::new(size, shown, effort);
                writer.map(Self::WebP).map_err(ImageError::internal)
            }
            OutputFormat::Jpeg
            | OutputFormat::Png
            | OutputFormat::Avif
            | OutputFormat::AvgColor
            | OutputFormat::Info => Err(ImageError::internal("a format that does not move")),
        }
    }

    /// The picture as the format can show it.
    pub(crate) fn prepare(&self, raster: Raster) -> Raster {
        match self {
            Self::Gif(_) => gif_codec::Writer::prepare(raster),
            Self::WebP(_) => raster,
        }
    }

    /// Adds a picture from [`AnimationWriter::prepare`], to be seen for so many
    /// hundredths of a second and then followed by `next`.
    pub(crate) fn push(
        &mut self,
        raster: &Raster,
        delay: u32,
        next: Option<&Raster>,
    ) -> Result<(), ImageError> {
        match self {
            Self::Gif(writer) => writer.push(raster, delay, next),
            Self::WebP(writer) => {
                let milliseconds = delay.saturating_mul(10);
                writer.push(raster.data(), milliseconds).map_err(ImageError::internal)
            }
        }
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, ImageError> {
        match self {
            Self::Gif(writer) => writer.finish(),
            Self::WebP(writer) => writer.finish().map_err(ImageError::internal),
        }
    }
}
