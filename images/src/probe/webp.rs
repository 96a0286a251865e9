//! WebP: RIFF chunks of type, length and body, padded to even lengths.
//!
//! The size stands up to three times: for the canvas, for an animation's frame
//! and in the coded picture. A decoder makes room by the last, so all are read
//! and the innermost may not be larger than the canvas.

use super::bytes::{Order, array, u24};
use super::{Probe, ProbeError, exif};
use crate::format::SourceFormat;
use crate::geometry::Size;
use crate::orientation::Orientation;

const LE: Order = Order::Little;
const RIFF_HEAD_BYTES: usize = 12;
const FRAME_HEAD_BYTES: usize = 16;
const ALPHA_FLAG: u8 = 0x10;
const LOSSLESS_ALPHA_BIT: u32 = 1 << 28;

pub(super) fn is_webp(source: &[u8]) -> bool {
    array(source, 0) == Some(*b"RIFF") && array(source, 8) == Some(*b"WEBP")
}

/// Walks the heads of all chunks.
pub(super) fn read(source: &[u8]) -> Result<Probe, ProbeError> {
    let mut rest = source.get(RIFF_HEAD_BYTES..).unwrap_or_default();
    let mut canvas = None;
    let mut orientation = Orientation::Upright;
    let (mut frames, mut has_alpha, mut icc_bytes) = (0, false, 0);
    while let Some((kind, body)) = chunk(&mut rest)? {
        match &kind {
            b"VP8X" => {
                canvas = Some(size_less_one(body, 4)?);
                has_alpha |= body.first().is_some_and(|flags| flags & ALPHA_FLAG != 0);
            }
            b"VP8 " => check(&mut canvas, coded_size(kind, body)?)?,
            b"VP8L" => {
                check(&mut canvas, coded_size(kind, body)?)?;
                has_alpha |= LE.u32(body, 1).is_some_and(|bits| bits & LOSSLESS_ALPHA_BIT != 0);
            }
            b"ANMF" => {
                check(&mut canvas, frame_size(body)?)?;
                frames += 1;
            }
            b"ALPH" => has_alpha = true,
            b"ICCP" => icc_bytes += body.len() as u64,
            b"EXIF" => {
                // Some writers keep the prefix that JPEG needs.
                let tiff = body.strip_prefix(b"Exif\0\0").unwrap_or(body);
                orientation = exif::orientation(tiff);
            }
            _ => {}
        }
    }
    let size = canvas.ok_or(ProbeError::Broken("it has no image chunk"))?;
    let still = Probe::of(SourceFormat::WebP, size);
    Ok(Probe {
        orientation,
        frames: frames.max(1),
        has_alpha,
        icc_bytes,
        // A frame before it is put on its canvas, or in its own colour space.
        beside_bytes: size.pixels() * 4,
        ..still
    })
}

/// A plain file has no canvas but its picture.
fn check(canvas: &mut Option<Size>, inner: Size) -> Result<(), ProbeError> {
    let canvas = canvas.get_or_insert(inner);
    if inner.width > canvas.width || inner.height > canvas.height {
        return Err(ProbeError::Broken("a frame is larger than its canvas"));
    }
    Ok(())
}

/// The larger of what an animation frame's head says and what its picture says.
fn frame_size(body: &[u8]) -> Result<Size, ProbeError> {
    let mut size = size_less_one(body, 6)?;
    let mut rest = body.get(FRAME_HEAD_BYTES..).unwrap_or_default();
    while let Some((kind, body)) = chunk(&mut rest)? {
        if matches!(&kind, b"VP8 " | b"VP8L") {
            let coded = coded_size(kind, body)?;
            size.width = size.width.max(coded.width);
            size.height = size.height.max(coded.height);
        }
    }
    Ok(size)
}

fn coded_size(kind: [u8; 4], body: &[u8]) -> Result<Size, ProbeError> {
    let size = if &kind == b"VP8L" { lossless_size(body) } else { lossy_size(body) };
    size.ok_or(ProbeError::Broken("its image chunk has no header"))
}

fn lossy_size(body: &[u8]) -> Option<Size> {
    let side = |at| Some(u32::from(LE.u16(body, at)? & 0x3fff));
    (array(body, 3)? == [0x9d, 0x01, 0x2a]).then_some(Size { width: side(6)?, height: side(8)? })
}

fn lossless_size(body: &[u8]) -> Option<Size> {
    let bits = LE.u32(body, 1)?;
    (*body.first()? == 0x2f)
        .then_some(Size { width: (bits & 0x3fff) + 1, height: (bits >> 14 & 0x3fff) + 1 })
}

/// Two 24-bit sides, each written as one less than it is.
fn size_less_one(body: &[u8], at: usize) -> Result<Size, ProbeError> {
    let side = |at| u24(body, at).map(|side| side + 1);
    side(at)
        .zip(side(at + 3))
        .map(|(width, height)| Size { width, height })
        .ok_or(ProbeError::Broken("a header chunk is too short"))
}

/// A chunk's type and body.
type Chunk<'a> = ([u8; 4], &'a [u8]);

/// Takes one chunk off the front. An image that is cut short is refused here:
/// a decoder would show what it has.
fn chunk<'a>(rest: &mut &'a [u8]) -> Result<Option<Chunk<'a>>, ProbeError> {
    let Some((kind, length)) = array(rest, 0).zip(LE.u32(rest, 4)) else {
        return Ok(None);
    };
    let broken = ProbeError::Broken("it is cut short");
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(8));
    let (head, after) = end.and_then(|end| rest.split_at_checked(end)).ok_or(broken)?;
    *rest = if length % 2 == 1 { after.get(1..).unwrap_or_default() } else { after };
    Ok(Some((kind, head.get(8..).unwrap_or_default())))
}
