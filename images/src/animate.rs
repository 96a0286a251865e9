//! An animation from frames to frames.

use super::codec::{AnimationWriter, EncodeOptions, Frames};
use super::error::ImageError;
use super::format::OutputFormat;
use super::geometry::Plan;
use super::light::Averaging;
use super::probe::Probe;
use super::raster::Raster;
use super::resample::Scratch;
use super::stages::Stage;

/// A frame that may yet turn out to be seen for longer.
struct Pending {
    raster: Raster,
    delay: u32,
}

/// Makes `plan` of each frame as it is seen. A frame that looks like the one
/// before it only lengthens that. `go_on` is asked before each.
pub(super) fn animate(
    source: &[u8],
    probe: &Probe,
    plan: &Plan,
    averaging: Averaging,
    (format, options): (OutputFormat, EncodeOptions),
    scratch: &mut Scratch,
    go_on: &dyn Fn() -> bool,
) -> Result<Vec<u8>, ImageError> {
    let mut frames = Frames::open(source, probe, Vec::new())?;
    let mut animation = None;
    let mut pending: Option<Pending> = None;
    while let Some(delay) = scratch.timed(Stage::Decoding, |_| next(&mut frames, go_on))? {
        let writer = match &mut animation {
            Some(writer) => writer,
            None => animation.insert(AnimationWriter::new(
                format,
                plan.target,
                frames.repeat(),
                options,
            )?),
        };
        let small = scratch.timed(Stage::Resizing, |scratch| {
            let seen = frames.canvas().copy_in(scratch.take_frame());
            scratch.resample(seen, plan.source_rect(), plan.target, averaging)
        })?;
        let raster = writer.prepare(small);
        match &mut pending {
            Some(pending) if pending.raster == raster => {
                pending.delay = pending.delay.saturating_add(delay);
            }
            pending => {
                if let Some(done) = pending {
                    scratch.timed(Stage::Encoding, |_| {
                        writer.push(&done.raster, done.delay, Some(&raster))
                    })?;
                }
                *pending = Some(Pending { raster, delay });
            }
        }
    }
    let (Some(mut writer), Some(last)) = (animation, pending) else {
        return Err(ImageError::undecodable(probe.format, "it has no frame"));
    };
    scratch.timed(Stage::Encoding, |_| {
        writer.push(&last.raster, last.delay, None)?;
        writer.finish()
    })
}

fn next(frames: &mut Frames<'_>, go_on: &dyn Fn() -> bool) -> Result<Option<u32>, ImageError> {
    if go_on() { frames.advance() } else { Err(ImageError::Timeout) }
}
