//! The units that an AV1 picture is made of. Only their heads are read.

use crate::probe::ProbeError;

const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// A still picture is one frame of one sequence. Were it more, a few bytes could
/// keep a decoder busy for as long as they like.
pub(super) fn check(mut units: &[u8]) -> Result<(), ProbeError> {
    let (mut sequences, mut frames) = (0, 0);
    while !units.is_empty() {
        match unit(&mut units).ok_or(ProbeError::Broken("its picture is cut short"))? {
            SEQUENCE_HEADER => sequences += 1,
            FRAME_HEADER | FRAME => frames += 1,
            _ => {}
        }
    }
    match (sequences, frames) {
        (1, 1) => Ok(()),
        (1, 2..) => Err(ProbeError::Unsupported("layered AVIF")),
        _ => Err(ProbeError::Broken("its picture is not one frame")),
    }
}

/// Takes one unit off the front, and tells its type.
fn unit(units: &mut &[u8]) -> Option<u8> {
    let (head, mut rest) = units.split_first()?;
    let (has_extension, has_size) = (head & 4 != 0, head & 2 != 0);
    rest = rest.get(usize::from(has_extension)..)?;
    let size = if has_size { leb128(&mut rest)? } else { rest.len() };
    *units = rest.get(size..)?;
    Some(head >> 3 & 0xf)
}

fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for at in 0..8 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return usize::try_from(number).ok();
        }
    }
    None
}
