//! Frames to a GIF: of each, only what has changed.

use gif::{DisposalMethod, Encoder, Frame, Repeat};

use super::palette::Palette;
use crate::error::ImageError;
use crate::geometry::Size;
use crate::raster::{Layout, Raster};

/// From this alpha on, a pixel is opaque. GIF knows no half measures.
const OPAQUE_FROM: u8 = 128;

/// Writes a still picture.
pub(crate) fn encode(raster: Raster) -> Result<Vec<u8>, ImageError> {
    let mut writer = Writer::new(raster.size(), None)?;
    writer.push(&Writer::prepare(raster), 0, None)?;
    writer.finish()
}

/// A GIF in the making.
pub(crate) struct Writer {
    encoder: Encoder<Vec<u8>>,
    /// What is seen before the next frame is drawn.
    shown: Raster,
}

/// Where a frame is drawn.
#[derive(Clone, Copy)]
struct Part {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Writer {
    /// A picture that moves if `repeat` says how often.
    pub(crate) fn new(size: Size, repeat: Option<Repeat>) -> Result<Self, ImageError> {
        let side = |side: u32| u16::try_from(side).map_err(ImageError::internal);
        let (width, height) = (side(size.width)?, side(size.height)?);
        let mut encoder =
            Encoder::new(Vec::new(), width, height, &[]).map_err(ImageError::internal)?;
        // An animation that runs once says nothing of repeating.
        if let Some(repeat) = repeat.filter(|repeat| *repeat != Repeat::Finite(0)) {
            encoder.set_repeat(repeat).map_err(ImageError::internal)?;
        }
        let shown = Raster::zeroed(size, Layout::Rgba, Vec::new())
            .ok_or_else(|| ImageError::internal("a picture larger than memory"))?;
        Ok(Self { encoder, shown })
    }

    /// The picture as GIF can show it: each pixel is there or not.
    pub(crate) fn prepare(raster: Raster) -> Raster {
        let mut raster = raster.in_color().with_alpha();
        for pixel in raster.data_mut().chunks_exact_mut(4) {
            match pixel.last_mut() {
                Some(alpha) if *alpha >= OPAQUE_FROM => *alpha = u8::MAX,
                _ => pixel.fill(0),
            }
        }
        raster
    }

    /// Writes a frame from [`Writer::prepare`], seen for so many hundredths of a
    /// second, then `next`.
    pub(crate) fn push(
        &mut self,
        raster: &Raster,
        delay: u32,
        next: Option<&Raster>,
    ) -> Result<(), ImageError> {
        // Only clearing all of it takes an opaque pixel away.
        let clears = next.is_some_and(|next| uncovers(raster, next));
        let part = if clears { Part::whole(raster.size()) } else { self.changed(raster) };
        let frame = Frame {
            delay: u16::try_from(delay).unwrap_or(u16::MAX),
            dispose: if clears { DisposalMethod::Background } else { DisposalMethod::Keep },
            ..self.frame(raster, part)?
        };
        self.encoder.write_frame(&frame).map_err(ImageError::internal)?;
        if clears {
            self.shown.data_mut().fill(0);
        } else {
            self.shown.data_mut().copy_from_slice(raster.data());
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, ImageError> {
        self.encoder.into_inner().map_err(ImageError::internal)
    }

    fn frame(&self, raster: &Raster, part: Part) -> Result<Frame<'static>, ImageError> {
        let drawn: Vec<Option<[u8; 3]>> = part
            .rows(raster)
            .zip(part.rows(&self.shown))
            .flat_map(|(new, old)| new.chunks_exact(4).zip(old.chunks_exact(4)))
            .map(|(new, old)| match new {
                [r, g, b, 255] if new != old => Some([*r, *g, *b]),
                _ => None,
            })
            .collect();
        let colors: Vec<_> = drawn.iter().copied().flatten().collect();
        let palette = Palette::of(&colors);
        let mut table = palette.colors();
        let nothing = u8::try_from(table.len() / 3).map_err(ImageError::internal)?;
        table.extend([0; 3]);
        let indices: Vec<u8> =
            drawn.iter().map(|pixel| pixel.map_or(nothing, |color| palette.index(color))).collect();
        let side = |side: usize| u16::try_from(side).map_err(ImageError::internal);
        Ok(Frame {
            left: side(part.left)?,
            top: side(part.top)?,
            width: side(part.right - part.left)?,
            height: side(part.bottom - part.top)?,
            transparent: Some(nothing),
            palette: Some(table),
            buffer: indices.into(),
            ..Frame::default()
        })
    }

    /// The smallest part that holds all changes, and at least one pixel.
    fn changed(&self, raster: &Raster) -> Part {
        let whole = Part::whole(raster.size());
        let mut changed: Option<Part> = None;
        for (y, (new, old)) in whole.rows(raster).zip(whole.rows(&self.shown)).enumerate() {
            if new == old {
                continue;
            }
            let differs = || new.chunks_exact(4).zip(old.chunks_exact(4)).map(|(a, b)| a != b);
            let first = differs().position(|differs| differs).unwrap_or(0);
            let last = differs().rposition(|differs| differs).unwrap_or(0);
            let part =
                changed.get_or_insert(Part { left: first, top: y, right: last + 1, bottom: y + 1 });
            part.left = part.left.min(first);
            part.right = part.right.max(last + 1);
            part.bottom = y + 1;
        }
        changed.unwrap_or(Part { left: 0, top: 0, right: 1, bottom: 1 })
    }
}

impl Part {
    const fn whole(size: Size) -> Self {
        Self { left: 0, top: 0, right: size.width as usize, bottom: size.height as usize }
    }

    fn rows(self, raster: &Raster) -> impl Iterator<Item = &[u8]> {
        let stride = 4 * raster.size().width as usize;
        raster
            .data()
            .chunks_exact(stride.max(1))
            .skip(self.top)
            .take(self.bottom - self.top)
            .filter_map(move |row| row.get(4 * self.left..4 * self.right))
    }
}

/// Whether a pixel that is there is not there afterwards.
fn uncovers(before: &Raster, after: &Raster) -> bool {
    let alphas = |raster: &Raster| raster.data().iter().skip(3).step_by(4).copied().collect();
    let (before, after): (Vec<u8>, Vec<u8>) = (alphas(before), alphas(after));
    before.iter().zip(&after).any(|(before, after)| before > after)
}
