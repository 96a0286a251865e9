//! Crop and resize in one step, and the memory that a worker keeps for it.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::error::ImageError;
use super::geometry::{Rect, Size};
use super::raster::{Layout, Raster};

/// A worker keeps no more memory than this from one picture to the next.
const KEEP_BYTES: usize = 32 * 1024 * 1024;

/// Memory that is used again for the next picture. One per thread.
#[derive(Default)]
pub struct Scratch {
    resizer: Resizer,
    frame: Vec<u8>,
}

impl Scratch {
    /// The memory of the frame before, or none.
    pub(super) fn take_frame(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.frame)
    }

    fn keep_frame(&mut self, frame: Vec<u8>) {
        if frame.capacity() <= KEEP_BYTES {
            self.frame = frame;
        }
    }

    /// The part of `source` within `rect`, at the size `target`. Lanczos, and
    /// colour counts as much as it is opaque.
    pub(super) fn resample(
        &mut self,
        source: Raster,
        rect: Rect,
        target: Size,
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
        self.resizer.resize(&view, &mut into, &options).map_err(ImageError::internal)?;
        if self.resizer.size_of_internal_buffers() > KEEP_BYTES {
            self.resizer.reset_internal_buffers();
        }
        self.keep_frame(source.into_memory());
        Ok(out)
    }
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
