//! JPEG: a chain of marked segments, then scans of entropy-coded data.

use super::bytes::Order;
use super::{Probe, ProbeError, exif};
use crate::format::SourceFormat;
use crate::geometry::Size;

const EXIF_PREFIX: &[u8] = b"Exif\0\0";
const ICC_PREFIX: &[u8] = b"ICC_PROFILE\0";
const COEFFICIENT_BYTES: u64 = 2;
/// Segments beside scans. Decoders may look again at all there were with each that
/// follows; real files have some hundred, as one holds up to 64 KiB.
const MAX_SEGMENTS: usize = 4096;
/// Bytes of Huffman tables. One of 17 bytes is made into some kilobytes to look up in;
/// real files have some thousand bytes, those with tables for each scan too.
const MAX_TABLE_BYTES: usize = 256 * 1024;
/// Of an APP0 that has any, `zune-jpeg` takes at least five bytes.
const SHORT_APP0_BYTES: usize = 4;
/// How often a decoder may have what applications added, at one time.
const SIDE_DATA_COPIES: u64 = 3;
const BE: Order = Order::Big;

/// Walks the whole file, passing over what is entropy-coded.
pub(super) fn read(source: &[u8]) -> Result<Probe, ProbeError> {
    let mut probe = None;
    let mut orientation = None;
    let (mut scans, mut scan_bytes, mut icc_bytes, mut side_bytes) = (0, 0, 0, 0);
    let (mut others, mut table_bytes) = (0, 0);
    let mut segments = Segments::new(source.strip_prefix(&SOI).unwrap_or(source));
    loop {
        let segment = segments.next().ok_or(ProbeError::Broken("it is cut short"))?;
        if matches!(segment.marker, APP0..=APP15) {
            side_bytes += segment.body.len() as u64;
        }
        others += usize::from(segment.marker != SOS);
        if others > MAX_SEGMENTS {
            return Err(ProbeError::Broken("it has too many segments"));
        }
        match segment.marker {
            EOI => break,
            SOS => {
                scans += 1;
                scan_bytes += segments.scan().len() as u64;
            }
            // Decoders do not agree where these end. What one passes over would be headers
            // to another, of which nothing has been counted.
            marker if stands_alone(marker) => {
                return Err(ProbeError::Broken("it has a marker where none belongs"));
            }
            APP0 if segment.body.len() == SHORT_APP0_BYTES => {
                return Err(ProbeError::Broken("its header is too short"));
            }
            DHT => {
                table_bytes += segment.body.len();
                if table_bytes > MAX_TABLE_BYTES {
                    return Err(ProbeError::Broken("it has too many Huffman tables"));
                }
            }
            marker if is_frame(marker) => {
                if probe.is_some() {
                    return Err(ProbeError::Broken("it has two frame headers"));
                }
                probe = Some(frame(marker, segment.body)?);
            }
            APP1 if orientation.is_none() => {
                orientation = segment.body.strip_prefix(EXIF_PREFIX).map(exif::orientation);
            }
            APP2 if segment.body.starts_with(ICC_PREFIX) => {
                icc_bytes += segment.body.len() as u64;
            }
            _ => {}
        }
    }
    let probe = probe.ok_or(ProbeError::Broken("it has no frame header"))?;
    if scans == 0 {
        return Err(ProbeError::Broken("it has no scan"));
    }
    // With one scan, a block is done with once it is read; what is read is a copy without
    // its stuffing.
    let is_kept = scans > 1 || probe.is_progressive;
    let coded = if is_kept { probe.beside_bytes } else { scan_bytes };
    let beside_bytes = coded + side_bytes * SIDE_DATA_COPIES;
    let orientation = orientation.unwrap_or_default();
    Ok(Probe { orientation, icc_bytes, scans, beside_bytes, ..probe })
}

fn frame(marker: u8, body: &[u8]) -> Result<Probe, ProbeError> {
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
        (8, 1 | 3 | 4) => {}
        (8, _) => return Err(ProbeError::Unsupported("JPEG of two or more than four channels")),
        _ => return Err(ProbeError::Unsupported("JPEG of more than 8 bits")),
    }
    let size = Size { width: width.into(), height: height.into() };
    let is_progressive = marker == PROGRESSIVE;
    Ok(Probe {
        is_progressive,
        beside_bytes: coefficients(size, components.into(), body) * COEFFICIENT_BYTES,
        ..Probe::of(SourceFormat::Jpeg, size)
    })
}

/// A file of several scans is decoded only once all of them are there. Each
/// component has as many coefficients as samples, in whole units of all.
fn coefficients(size: Size, components: u64, body: &[u8]) -> u64 {
    let sampling = || body.get(6..).unwrap_or_default().chunks_exact(3).filter_map(|c| c.get(1));
    let across = sampling().map(|s| s >> 4).max().unwrap_or(1).clamp(1, 4);
    let down = sampling().map(|s| s & 15).max().unwrap_or(1).clamp(1, 4);
    let unit = |side: u32, blocks: u8| u64::from(side).next_multiple_of(8 * u64::from(blocks));
    unit(size.width, across) * unit(size.height, down) * components
}

const SOI: [u8; 2] = [0xff, 0xd8];
const SOS: u8 = 0xda;
const EOI: u8 = 0xd9;
const DHT: u8 = 0xc4;
const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const APP15: u8 = 0xef;
const PROGRESSIVE: u8 = 0xc2;

const fn is_frame(marker: u8) -> bool {
    // 0xc4, 0xc8 and 0xcc stand among the frame markers and mean other things.
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// Markers that stand alone, without a length: TEM, the restarts and the start.
const fn stands_alone(marker: u8) -> bool {
    matches!(marker, 0x01 | 0xd0..=0xd8)
}

/// A marker and what it brings.
pub(crate) struct Segment<'a> {
    pub(crate) marker: u8,
    pub(crate) body: &'a [u8],
}

/// Goes from marker to marker.
pub(crate) struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    pub(crate) fn new(source: &'a [u8]) -> Self {
        Self { rest: source }
    }

    pub(crate) fn next(&mut self) -> Option<Segment<'a>> {
        let marker = self.marker()?;
        if marker == EOI || stands_alone(marker) {
            return Some(Segment { marker, body: &[] });
        }
        let length = usize::from(BE.u16(self.rest, 0)?);
        let (segment, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Segment { marker, body: segment.get(2..)? })
    }

    /// The next marker. Bytes before it belong to nothing and are passed over,
    /// as decoders do.
    fn marker(&mut self) -> Option<u8> {
        loop {
            let ff = memchr::memchr(0xff, self.rest)?;
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

    /// Takes entropy-coded data, up to the marker after it.
    pub(crate) fn scan(&mut self) -> &'a [u8] {
        let mut markers = memchr::memchr_iter(0xff, self.rest);
        let coded = |next| matches!(next, 0x00 | 0xd0..=0xd7 | 0xff);
        let end = markers.find(|at| self.rest.get(at + 1).is_some_and(|next| !coded(*next)));
        let (scan, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        scan
    }
}
