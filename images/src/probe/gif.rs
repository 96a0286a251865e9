//! GIF: a screen, then blocks: extensions and the frames of an animation, each in
//! chains of sub-blocks that say their length.

use super::bytes::Order;
use super::{Probe, ProbeError};
use crate::format::SourceFormat;
use crate::geometry::Size;

const LE: Order = Order::Little;
const HEAD_BYTES: usize = 13;
const FRAME_HEAD_BYTES: usize = 10;
const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
const GRAPHIC_CONTROL: u8 = 0xf9;
const TRANSPARENT_FLAG: u8 = 1;
const CUT: ProbeError = ProbeError::Broken("it is cut short");

pub(super) fn is_gif(source: &[u8]) -> bool {
    source.starts_with(b"GIF87a") || source.starts_with(b"GIF89a")
}

/// Walks all blocks, none of which may be cut short. A still picture may lack the
/// end marker, as those of careless writers do; of an animation nobody could tell
/// whether it has more frames.
pub(super) fn read(source: &[u8]) -> Result<Probe, ProbeError> {
    let (head, mut rest) = source.split_at_checked(HEAD_BYTES).ok_or(CUT)?;
    let size = size(head, 6)?;
    skip(&mut rest, table_bytes(head.get(10)))?;
    let mut probe = Probe { frames: 0, ..Probe::of(SourceFormat::Gif, size) };
    loop {
        match rest.first() {
            Some(&TRAILER) => break,
            None if probe.frames == 1 => break,
            None => return Err(CUT),
            Some(&EXTENSION) => {
                probe.has_alpha |= is_transparent(rest);
                skip(&mut rest, 2)?;
            }
            Some(&FRAME) => {
                let frame = self::size(rest, 5)?;
                probe.has_alpha |= probe.frames == 0 && !covers(rest, frame, size);
                probe.coded_pixels = probe.coded_pixels.max(frame.pixels());
                probe.frames += 1;
                let table = table_bytes(rest.get(9));
                // A byte before the data tells the width of its first code.
                skip(&mut rest, FRAME_HEAD_BYTES + table + 1)?;
            }
            Some(_) => return Err(ProbeError::Broken("it has a block of no known kind")),
        }
        skip_sub_blocks(&mut rest)?;
    }
    if probe.frames == 0 {
        return Err(ProbeError::Broken("it has no frame"));
    }
    // A frame's indices, and what was there before it.
    probe.beside_bytes = probe.coded_pixels * 5;
    Ok(probe)
}

fn size(block: &[u8], at: usize) -> Result<Size, ProbeError> {
    let side = |at| LE.u16(block, at).map(u32::from);
    let (width, height) = side(at).zip(side(at + 2)).ok_or(CUT)?;
    Ok(Size { width, height })
}

/// Whether nothing of the screen is left bare.
fn covers(block: &[u8], frame: Size, screen: Size) -> bool {
    LE.u32(block, 1) == Some(0) && frame.width >= screen.width && frame.height >= screen.height
}

fn is_transparent(block: &[u8]) -> bool {
    matches!(block, [_, GRAPHIC_CONTROL, 4, flags, ..] if flags & TRANSPARENT_FLAG != 0)
}

/// The length of the colour table that these flags announce.
fn table_bytes(flags: Option<&u8>) -> usize {
    match flags {
        Some(flags) if flags & 0x80 != 0 => 3 << ((flags & 7) + 1),
        _ => 0,
    }
}

fn skip(rest: &mut &[u8], bytes: usize) -> Result<(), ProbeError> {
    *rest = rest.get(bytes..).ok_or(CUT)?;
    Ok(())
}

fn skip_sub_blocks(rest: &mut &[u8]) -> Result<(), ProbeError> {
    loop {
        let length = usize::from(*rest.first().ok_or(CUT)?);
        skip(rest, 1 + length)?;
        if length == 0 {
            return Ok(());
        }
    }
}
