//! Pixels in memory.

use super::geometry::Size;

/// The channels of a pixel, 8 bits each; alpha is not premultiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Gray,
    GrayAlpha,
    Rgb,
    Rgba,
}

/// A picture in memory, rows without gaps from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raster {
    size: Size,
    layout: Layout,
    data: Vec<u8>,
}

impl Layout {
    pub(super) const fn channels(self) -> usize {
        match self {
            Self::Gray => 1,
            Self::GrayAlpha => 2,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }

    pub(super) const fn has_alpha(self) -> bool {
        matches!(self, Self::GrayAlpha | Self::Rgba)
    }

    /// The bytes that a picture of this size takes. `None` where memory cannot
    /// be addressed that far.
    pub(super) fn bytes(self, size: Size) -> Option<usize> {
        usize::try_from(size.pixels()).ok()?.checked_mul(self.channels())
    }
}

impl Raster {
    /// A black and transparent picture in the given memory, whose old content
    /// is overwritten. `None` where it would be larger than memory.
    pub(super) fn zeroed(size: Size, layout: Layout, mut memory: Vec<u8>) -> Option<Self> {
        memory.clear();
        memory.resize(layout.bytes(size)?, 0);
        Some(Self { size, layout, data: memory })
    }

    /// A picture of these pixels. `None` if they are not as many as it has.
    pub(super) fn of(size: Size, layout: Layout, data: Vec<u8>) -> Option<Self> {
        (layout.bytes(size)? == data.len()).then_some(Self { size, layout, data })
    }

    pub(super) const fn size(&self) -> Size {
        self.size
    }

    pub(super) const fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// The memory, to be used for another picture.
    pub(super) fn into_memory(self) -> Vec<u8> {
        self.data
    }

    /// The pixels one after another, each as its channels.
    pub(super) fn pixels(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.data.chunks_exact(self.layout.channels())
    }

    /// Whether any pixel lets something through.
    pub(super) fn is_translucent(&self) -> bool {
        self.layout.has_alpha() && self.pixels().any(|pixel| pixel.last() != Some(&u8::MAX))
    }

    /// The same picture over a white ground, without alpha. Gray stays gray.
    pub(super) fn on_white(self) -> Self {
        let layout = match self.layout {
            Layout::Gray | Layout::Rgb => return self,
            Layout::GrayAlpha => Layout::Gray,
            Layout::Rgba => Layout::Rgb,
        };
        let mut data = Vec::with_capacity(self.data.len());
        for pixel in self.pixels() {
            if let Some((alpha, color)) = pixel.split_last() {
                data.extend(color.iter().map(|channel| over_white(*channel, *alpha)));
            }
        }
        Self { size: self.size, layout, data }
    }

    /// The same picture with three colour channels, alpha as it was.
    pub(super) fn in_color(self) -> Self {
        let layout = match self.layout {
            Layout::Rgb | Layout::Rgba => return self,
            Layout::Gray => Layout::Rgb,
            Layout::GrayAlpha => Layout::Rgba,
        };
        let mut data = Vec::with_capacity(self.data.len().saturating_mul(3));
        for pixel in self.pixels() {
            if let Some((gray, alpha)) = pixel.split_first() {
                data.extend([*gray; 3]);
                data.extend(alpha);
            }
        }
        Self { size: self.size, layout, data }
    }

    /// The same picture with alpha: opaque, where it had none.
    pub(super) fn with_alpha(self) -> Self {
        let layout = match self.layout {
            Layout::GrayAlpha | Layout::Rgba => return self,
            Layout::Gray => Layout::GrayAlpha,
            Layout::Rgb => Layout::Rgba,
        };
        let mut data = Vec::with_capacity(self.data.len().saturating_mul(2));
        for pixel in self.pixels() {
            data.extend(pixel);
            data.push(u8::MAX);
        }
        Self { size: self.size, layout, data }
    }

    /// The same picture in the given memory.
    pub(super) fn copy_in(&self, mut memory: Vec<u8>) -> Self {
        memory.clear();
        memory.extend(&self.data);
        Self { size: self.size, layout: self.layout, data: memory }
    }

    /// The picture whose pixel at each place is the one that `source` names,
    /// as a column and a row of this one.
    pub(super) fn rearranged(&self, size: Size, source: impl Fn(u32, u32) -> (u32, u32)) -> Self {
        let channels = self.layout.channels();
        let stride = self.size.width as usize * channels;
        let mut data = Vec::with_capacity(self.data.len());
        for row in 0..size.height {
            for column in 0..size.width {
                let (x, y) = source(column, row);
                let start = y as usize * stride + x as usize * channels;
                data.extend(self.data.get(start..start + channels).unwrap_or_default());
            }
        }
        Self { size, layout: self.layout, data }
    }
}

/// Rounded `channel * a + 255 * (1 - a)` for `a = alpha / 255`.
fn over_white(channel: u8, alpha: u8) -> u8 {
    let (channel, alpha) = (u32::from(channel), u32::from(alpha));
    let sum = channel * alpha + 255 * (255 - alpha);
    u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_over_white_meets_its_ends() {
        for channel in 0..=u8::MAX {
            assert_eq!(over_white(channel, 255), channel);
            assert_eq!(over_white(channel, 0), 255);
        }
        assert_eq!(over_white(0, 128), 127);
    }

    #[test]
    fn old_memory_is_not_seen_again() {
        let size = Size { width: 3, height: 2 };
        let raster = Raster::zeroed(size, Layout::Rgb, vec![7; 100]).unwrap();
        assert_eq!(raster.data(), [0; 18]);
    }
}
