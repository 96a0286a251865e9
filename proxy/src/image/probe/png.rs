//! PNG: a signature, then chunks of length, type, body and checksum.

use super::bytes::{Order, array};
use super::{Header, ProbeError, exif};
use crate::image::geometry::Size;
use crate::image::orientation::Orientation;

pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
const BE: Order = Order::Big;

/// Reads the first chunk, and walks the others' heads for an EXIF one.
pub(super) fn read(source: &[u8]) -> Result<Header, ProbeError> {
    let mut rest = source.get(SIGNATURE.len()..).unwrap_or_default();
    let size = chunk(&mut rest)
        .filter(|(kind, body)| kind == b"IHDR" && body.len() == 13)
        .and_then(|(_, body)| Some(Size { width: BE.u32(body, 0)?, height: BE.u32(body, 4)? }))
        .ok_or(ProbeError::Broken("it does not start with a header"))?;
    let mut orientation = Orientation::Upright;
    while let Some((kind, body)) = chunk(&mut rest) {
        match &kind {
            b"eXIf" => {
                orientation = exif::orientation(body);
                break;
            }
            b"IEND" => break,
            _ => {}
        }
    }
    Ok(Header { size, orientation })
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
