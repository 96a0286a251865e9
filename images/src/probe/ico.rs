//! ICO: a directory of pictures, each a PNG or a bitmap of its own kind.

use super::bytes::{Order, array};
use super::{Probe, ProbeError, png};
use crate::format::SourceFormat;
use crate::geometry::Size;

const LE: Order = Order::Little;
const HEAD_BYTES: usize = 6;
const ENTRY_BYTES: usize = 16;

pub(super) fn is_ico(source: &[u8]) -> bool {
    matches!(source, [0, 0, 1, 0, 1..=u8::MAX, 0, ..])
}

/// One picture of an icon.
pub(crate) struct Entry<'a> {
    /// What the directory says of it.
    pub(crate) head: [u8; ENTRY_BYTES],
    /// Its file.
    pub(crate) picture: &'a [u8],
}

/// The picture with most pixels, and of those the one with most colours.
pub(crate) fn largest(source: &[u8]) -> Option<Entry<'_>> {
    let count = usize::from(LE.u16(source, 4)?);
    let entries = source.get(HEAD_BYTES..)?.chunks_exact(ENTRY_BYTES).take(count);
    let best = entries.max_by_key(|entry| {
        // A side of 256 is written as 0.
        let side = |at: usize| entry.get(at).map_or(0, |side| u32::from(side.wrapping_sub(1)) + 1);
        (side(0) * side(1), LE.u16(entry, 6))
    })?;
    let [length, start] = [8, 12].map(|at| LE.u32(best, at).and_then(|n| usize::try_from(n).ok()));
    let (start, length) = (start?, length?);
    let picture = source.get(start..start.checked_add(length)?)?;
    Some(Entry { head: array(best, 0)?, picture })
}

/// Whether the picture is a PNG.
pub(crate) fn is_png(picture: &[u8]) -> bool {
    picture.starts_with(png::SIGNATURE)
}

pub(super) fn read(source: &[u8]) -> Result<Probe, ProbeError> {
    let entry = largest(source).ok_or(ProbeError::Broken("it has no picture"))?;
    if is_png(entry.picture) {
        return Ok(Probe { format: SourceFormat::Ico, frames: 1, ..png::read(entry.picture)? });
    }
    let size = bitmap(entry.picture).ok_or(ProbeError::Broken("its picture has no header"))?;
    // The decoder wants a file of that picture alone.
    let beside_bytes = entry.picture.len() as u64;
    Ok(Probe { has_alpha: true, beside_bytes, ..Probe::of(SourceFormat::Ico, size) })
}

/// The height counts the mask below the picture, too.
fn bitmap(picture: &[u8]) -> Option<Size> {
    let side = |at| LE.u32(picture, at).map(|side| side.cast_signed().unsigned_abs());
    Some(Size { width: side(4)?, height: side(8)? / 2 })
}
