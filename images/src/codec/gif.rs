//! GIF in and out, still and moving.

mod palette;
mod writer;

use std::io::Cursor;
use std::num::NonZeroU64;

use gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, Frame, MemoryLimit, Repeat};

use super::{Decoded, Request, check_size};
use crate::error::ImageError;
use crate::format::SourceFormat;
use crate::geometry::Size;
use crate::probe::Probe;
use crate::raster::{Layout, Raster};
pub(crate) use writer::{Writer, encode};

/// Reads the first frame on its canvas.
pub(super) fn decode(request: Request<'_>) -> Result<Decoded, ImageError> {
    let mut frames = Frames::open(request.source, request.probe, request.memory)?;
    if frames.advance()?.is_none() {
        return Err(broken("it has no frame"));
    }
    Ok(Decoded { raster: frames.canvas, reduced_by: 1, profile: None })
}

/// An animation as it is seen: each frame drawn over what the ones before left.
pub(crate) struct Frames<'a> {
    decoder: Decoder<Cursor<&'a [u8]>>,
    canvas: Raster,
    leftover: Leftover,
}

/// What becomes of a frame when the next one comes.
enum Leftover {
    Stays,
    /// Its place is cleared.
    Cleared(Place),
    /// The canvas is as it was before.
    Undone(Raster),
}

/// Where a frame lies on the canvas.
#[derive(Clone, Copy)]
struct Place {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl<'a> Frames<'a> {
    /// Opens an animation, whose canvas is put in `memory`.
    pub(crate) fn open(
        source: &'a [u8],
        probe: &Probe,
        memory: Vec<u8>,
    ) -> Result<Self, ImageError> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        let limit = NonZeroU64::MIN.saturating_add(probe.coded_pixels.saturating_mul(4));
        options.set_memory_limit(MemoryLimit::Bytes(limit));
        let decoder = options.read_info(Cursor::new(source)).map_err(broken)?;
        let size = Size { width: decoder.width().into(), height: decoder.height().into() };
        check_size(probe, Some(size))?;
        let canvas = Raster::zeroed(size, Layout::Rgba, memory)
            .ok_or_else(|| ImageError::internal("a picture larger than memory"))?;
        Ok(Self { decoder, canvas, leftover: Leftover::Stays })
    }

    /// How often the animation is to be repeated. Known after the first frame.
    pub(crate) fn repeat(&self) -> Repeat {
        self.decoder.repeat()
    }

    /// Draws the next frame, and tells for how many hundredths of a second it is
    /// seen. `None` after the last.
    pub(crate) fn advance(&mut self) -> Result<Option<u32>, ImageError> {
        match std::mem::replace(&mut self.leftover, Leftover::Stays) {
            Leftover::Stays => {}
            Leftover::Cleared(place) => {
                rows(&mut self.canvas, place).for_each(|row| row.fill(0));
            }
            Leftover::Undone(before) => self.canvas = before,
        }
        let Some(frame) = self.decoder.read_next_frame().map_err(broken)? else {
            return Ok(None);
        };
        let place = Place::of(frame);
        self.leftover = match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => Leftover::Stays,
            DisposalMethod::Background => Leftover::Cleared(place),
            DisposalMethod::Previous => Leftover::Undone(self.canvas.clone()),
        };
        draw(frame, place, &mut self.canvas);
        Ok(Some(frame.delay.into()))
    }

    /// What is seen now.
    pub(crate) const fn canvas(&self) -> &Raster {
        &self.canvas
    }
}

impl Place {
    fn of(frame: &Frame<'_>) -> Self {
        let [left, top, width, height] =
            [frame.left, frame.top, frame.width, frame.height].map(usize::from);
        Self { left, top, width, height }
    }
}

/// Draws what is not transparent, and not beside the canvas.
fn draw(frame: &Frame<'_>, place: Place, canvas: &mut Raster) {
    let lines = frame.buffer.chunks_exact(4 * place.width.max(1));
    for (line, row) in lines.zip(rows(canvas, place)) {
        for (new, old) in line.chunks_exact(4).zip(row.chunks_exact_mut(4)) {
            if new.last() != Some(&0) {
                old.copy_from_slice(new);
            }
        }
    }
}

/// The parts of the canvas's rows that are within the place.
fn rows(canvas: &mut Raster, place: Place) -> impl Iterator<Item = &mut [u8]> {
    let width = canvas.size().width as usize;
    let (from, to) = (place.left.min(width), (place.left + place.width).min(width));
    canvas
        .data_mut()
        .chunks_exact_mut(4 * width.max(1))
        .skip(place.top)
        .take(place.height)
        .filter_map(move |row| row.get_mut(4 * from..4 * to))
}

fn broken(reason: impl ToString) -> ImageError {
    ImageError::undecodable(SourceFormat::Gif, reason)
}
