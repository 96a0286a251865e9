//! Crop and resize in one step, and the memory that a worker keeps for it.
//!
//! Light is averaged in linear values of 16 bits: [`super::light`] says why.

use std::sync::LazyLock;
use std::time::Instant;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{
    FilterType, PixelComponentMapper, PixelType, ResizeAlg, ResizeOptions, Resizer,
    create_srgb_mapper,
};

use super::error::ImageError;
use super::geometry::{Rect, Size};
use super::light::Averaging;
use super::raster::{Layout, Raster};
use super::stages::{Stage, Stages};

/// A worker keeps no more memory than this from one picture to the next.
pub(super) const KEEP_BYTES: usize = 32 * 1024 * 1024;

/// Linear values take three times the time and memory of sRGB's. A picture that
/// is still larger than this is filtered as it is: the sources are whole then, and
/// are reduced by little, which is where it shows least.
const LINEAR_UP_TO_PIXELS: u64 = 4_000_000;

/// From sRGB to linear light and back. Alpha is linear as it is.
static LINEAR: LazyLock<PixelComponentMapper> = LazyLock::new(create_srgb_mapper);

/// Memory that is used again for the next picture. One per thread.
#[derive(Default)]
pub struct Scratch {
    resizer: Resizer,
    stages: Stages,
    frame: Vec<u8>,
    linear: Vec<u8>,
}

impl Scratch {
    /// Does the work of a stage, and notes how long it took.
    pub(super) fn timed<T>(&mut self, stage: Stage, work: impl FnOnce(&mut Self) -> T) -> T {
        let began = Instant::now();
        let done = work(self);
        self.stages.note(stage, began);
        done
    }

    /// The times noted since this was last asked.
    pub(super) fn take_stages(&mut self) -> Stages {
        std::mem::take(&mut self.stages)
    }

    /// The memory of the frame before, or none.
    pub(super) fn take_frame(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.frame)
    }

    fn keep_frame(&mut self, frame: Vec<u8>) {
        if frame.capacity() <= KEEP_BYTES {
            self.frame = frame;
        }
    }

    /// The part of `source` within `rect`, at the size `target`, by Lanczos. Colour
    /// counts as much as it is opaque.
    pub(super) fn resample(
        &mut self,
        source: Raster,
        rect: Rect,
        target: Size,
        averaging: Averaging,
    ) -> Result<Raster, ImageError> {
        let rect = inside(rect, source.size());
        if target == source.size() && is_whole(rect, source.size()) {
            return Ok(source);
        }
        let mut out = Raster::zeroed(target, source.layout(), Vec::new())
            .ok_or_else(|| ImageError::internal("a picture larger than memory"))?;
        let pixel = pixel_type(source.layout());
        let from = source.size();
        let view = ImageRef::new(from.width, from.height, source.data(), pixel)
            .map_err(ImageError::internal)?;
        let mut into = Image::from_slice_u8(target.width, target.height, out.data_mut(), pixel)
            .map_err(ImageError::internal)?;
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
            .crop(rect.left, rect.top, rect.width, rect.height)
            .use_alpha(source.is_translucent());
        if is_linear(from, averaging) {
            self.resize_linear(&view, &mut into, linear_type(source.layout()), &options)?;
        } else {
            self.resizer.resize(&view, &mut into, &options).map_err(ImageError::internal)?;
        }
        if self.resizer.size_of_internal_buffers() > KEEP_BYTES {
            self.resizer.reset_internal_buffers();
        }
        self.keep_frame(source.into_memory());
        Ok(out)
    }

    fn resize_linear(
        &mut self,
        from: &ImageRef<'_>,
        into: &mut Image<'_>,
        pixel: PixelType,
        options: &ResizeOptions,
    ) -> Result<(), ImageError> {
        let (width, height) = (from.width(), from.height());
        let bytes = width as usize * height as usize * pixel.size();
        // All of it is written before it is read.
        self.linear.resize(bytes.max(self.linear.len().min(KEEP_BYTES)), 0);
        let memory = self.linear.get_mut(..bytes).unwrap_or_default();
        let mut linear = Image::from_slice_u8(width, height, memory, pixel)
            .unwrap_or_else(|_| Image::new(width, height, pixel));
        let mut small = Image::new(into.width(), into.height(), pixel);
        LINEAR.forward_map(from, &mut linear).map_err(ImageError::internal)?;
        self.resizer.resize(&linear, &mut small, options).map_err(ImageError::internal)?;
        LINEAR.backward_map(&small, into).map_err(ImageError::internal)
    }
}

/// Whether a picture of this size is filtered in linear values.
pub(super) fn is_linear(from: Size, averaging: Averaging) -> bool {
    averaging == Averaging::Light && from.pixels() <= LINEAR_UP_TO_PIXELS
}

/// The rectangle with the last rounding error cut off its edges.
fn inside(rect: Rect, size: Size) -> Rect {
    let (width, height) = (f64::from(size.width), f64::from(size.height));
    let left = rect.left.clamp(0.0, width);
    let top = rect.top.clamp(0.0, height);
    Rect { left, top, width: rect.width.min(width - left), height: rect.height.min(height - top) }
}

fn is_whole(rect: Rect, size: Size) -> bool {
    const NOTHING: f64 = 1e-6;
    rect.left < NOTHING
        && rect.top < NOTHING
        && f64::from(size.width) - rect.width < NOTHING
        && f64::from(size.height) - rect.height < NOTHING
}

const fn pixel_type(layout: Layout) -> PixelType {
    match layout {
        Layout::Gray => PixelType::U8,
        Layout::GrayAlpha => PixelType::U8x2,
        Layout::Rgb => PixelType::U8x3,
        Layout::Rgba => PixelType::U8x4,
    }
}

const fn linear_type(layout: Layout) -> PixelType {
    match layout {
        Layout::Gray => PixelType::U16,
        Layout::GrayAlpha => PixelType::U16x2,
        Layout::Rgb => PixelType::U16x3,
        Layout::Rgba => PixelType::U16x4,
    }
}
