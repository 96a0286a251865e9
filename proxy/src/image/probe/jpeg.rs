//! JPEG: a chain of marked segments, then scans of entropy-coded data.

use super::bytes::Order;
use super::{Header, ProbeError, exif};
use crate::image::geometry::Size;
use crate::image::orientation::Orientation;

const EXIF_PREFIX: &[u8] = b"Exif\0\0";
const BE: Order = Order::Big;

/// Reads up to the first scan.
pub(super) fn read(source: &[u8]) -> Result<Header, ProbeError> {
    let mut size = None;
    let mut orientation = None;
    let mut segments = Segments::new(source);
    loop {
        let segment = segments.next().ok_or(ProbeError::Broken("it ends in its header"))?;
        match segment.marker {
            SOS => break,
            EOI => return Err(ProbeError::Broken("it has no scan")),
            marker if is_frame(marker) => {
                if size.is_some() {
                    return Err(ProbeError::Broken("it has two frame headers"));
                }
                size = Some(frame_size(marker, segment.body)?);
            }
            APP1 if orientation.is_none() => {
                orientation = segment.body.strip_prefix(EXIF_PREFIX).map(exif::orientation);
            }
            _ => {}
        }
    }
    let size = size.ok_or(ProbeError::Broken("it has no frame header"))?;
    Ok(Header { size, orientation: orientation.unwrap_or(Orientation::Upright) })
}

/// Whether the file goes on to its end marker, through one frame only. A decoder
/// paints what is missing gray, which is not to be served as the picture.
pub(in crate::image) fn is_whole(source: &[u8]) -> bool {
    let mut segments = Segments::new(source);
    let mut scanned = false;
    while let Some(segment) = segments.next() {
        match segment.marker {
            EOI => return scanned,
            SOS => {
                scanned = true;
                segments.skip_scan();
            }
            marker if scanned && is_frame(marker) => return false,
            _ => {}
        }
    }
    false
}

fn frame_size(marker: u8, body: &[u8]) -> Result<Size, ProbeError> {
    match marker {
        0xc0..=0xc2 => {}
        0xc3 | 0xc7 => return Err(ProbeError::Unsupported("lossless JPEG")),
        0xc5 | 0xc6 => return Err(ProbeError::Unsupported("hierarchical JPEG")),
        _ => return Err(ProbeError::Unsupported("arithmetic-coded JPEG")),
    }
    let fields = |body| {
        let precision = *<[u8]>::first(body)?;
        Some((precision, BE.u16(body, 1)?, BE.u16(body, 3)?, *body.get(5)?))
    };
    let (precision, height, width, components) =
        fields(body).ok_or(ProbeError::Broken("its frame header is too short"))?;
    match (precision, components) {
        (8, 1 | 3 | 4) => Ok(Size { width: width.into(), height: height.into() }),
        (8, _) => Err(ProbeError::Unsupported("JPEG of two or more than four channels")),
        _ => Err(ProbeError::Unsupported("JPEG of more than 8 bits")),
    }
}

const SOS: u8 = 0xda;
const EOI: u8 = 0xd9;
const APP1: u8 = 0xe1;

const fn is_frame(marker: u8) -> bool {
    // 0xc4, 0xc8 and 0xcc stand among the frame markers and mean other things.
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// Markers that stand alone, without a length: TEM, the restarts and the start.
const fn stands_alone(marker: u8) -> bool {
    matches!(marker, 0x01 | 0xd0..=0xd8)
}

struct Segment<'a> {
    marker: u8,
    body: &'a [u8],
}

struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    fn new(source: &'a [u8]) -> Self {
        Self { rest: source }
    }

    fn next(&mut self) -> Option<Segment<'a>> {
        loop {
            let marker = self.marker()?;
            if marker == EOI {
                return Some(Segment { marker, body: &[] });
            }
            if stands_alone(marker) {
                continue;
            }
            let length = usize::from(BE.u16(self.rest, 0)?);
            let (segment, rest) = self.rest.split_at_checked(length)?;
            self.rest = rest;
            return Some(Segment { marker, body: segment.get(2..)? });
        }
    }

    /// The next marker. Bytes before it belong to nothing and are passed over,
    /// as decoders do.
    fn marker(&mut self) -> Option<u8> {
        loop {
            let ff = self.rest.iter().position(|byte| *byte == 0xff)?;
            self.rest = self.rest.get(ff + 1..)?;
            match *self.rest.first()? {
                // A stuffed byte; a fill byte, which may be the marker's own first.
                0x00 | 0xff => {}
                marker => {
                    self.rest = self.rest.get(1..)?;
                    return Some(marker);
                }
            }
        }
    }

    /// Passes entropy-coded data, up to the marker after it.
    fn skip_scan(&mut self) {
        let coded = |pair: &[u8]| match pair {
            [0xff, next] => matches!(next, 0x00 | 0xd0..=0xd7 | 0xff),
            _ => true,
        };
        let end = self.rest.windows(2).position(|pair| !coded(pair));
        self.rest = end.and_then(|end| self.rest.get(end..)).unwrap_or_default();
    }
}
