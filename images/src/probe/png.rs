//! PNG: a signature, then chunks of length, type, body and checksum.

use super::bytes::{Order, array};
use super::{Probe, ProbeError, exif};
use crate::format::SourceFormat;
use crate::geometry::Size;

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const GRAY_ALPHA: u8 = 4;
const RGBA: u8 = 6;
const ADAM7: u8 = 1;
const BE: Order = Order::Big;

/// Reads the first chunk, and walks the heads of the others.
pub(super) fn read(source: &[u8]) -> Result<Probe, ProbeError> {
    let mut rest = source.get(SIGNATURE.len()..).unwrap_or_default();
    let mut probe = chunk(&mut rest)
        .filter(|(kind, body)| kind == b"IHDR" && body.len() == 13)
        .and_then(|(_, body)| header(body))
        .ok_or(ProbeError::Broken("it does not start with a header"))?;
    while let Some((kind, body)) = chunk(&mut rest) {
        match &kind {
            b"eXIf" => probe.orientation = exif::orientation(body),
            b"iCCP" => probe.icc_bytes += body.len() as u64,
            b"tRNS" => probe.has_alpha = true,
            b"acTL" => probe.frames = BE.u32(body, 0).unwrap_or(1).max(1),
            b"IEND" => break,
            _ => {}
        }
    }
    Ok(probe)
}

fn header(body: &[u8]) -> Option<Probe> {
    let size = Size { width: BE.u32(body, 0)?, height: BE.u32(body, 4)? };
    let [_, color, _, _, interlace] = array(body, 8)?;
    Some(Probe {
        has_alpha: matches!(color, GRAY_ALPHA | RGBA),
        is_progressive: interlace == ADAM7,
        ..Probe::of(SourceFormat::Png, size)
    })
}

/// Takes one whole chunk off the front.
fn chunk<'a>(rest: &mut &'a [u8]) -> Option<([u8; 4], &'a [u8])> {
    let length = usize::try_from(BE.u32(rest, 0)?).ok()?;
    let kind = array(rest, 4)?;
    let end = length.checked_add(8)?;
    let body = rest.get(8..end)?;
    *rest = rest.get(end.checked_add(4)?..)?;
    Some((kind, body))
}
