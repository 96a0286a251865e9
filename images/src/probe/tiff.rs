//! TIFF: a chain of directories of tags, one for each page.

use super::bytes::{Order, array};
use super::{Probe, ProbeError, exif};
use crate::format::SourceFormat;
use crate::geometry::Size;

const SHORT: u16 = 3;
const LONG: u16 = 4;
const ENTRY_BYTES: usize = 12;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const SAMPLES: u16 = 277;
const EXTRA_SAMPLES: u16 = 338;
const ICC: u16 = 34675;

pub(super) fn is_tiff(source: &[u8]) -> bool {
    matches!(source, [b'I', b'I', b'*', 0, ..] | [b'M', b'M', 0, b'*', ..])
}

/// Reads the first directory.
pub(super) fn read(source: &[u8]) -> Result<Probe, ProbeError> {
    let page = Page::first(source).ok_or(ProbeError::Broken("it ends in its header"))?;
    let size = page
        .number(WIDTH)
        .zip(page.number(HEIGHT))
        .map(|(width, height)| Size { width, height })
        .ok_or(ProbeError::Broken("it does not tell its size"))?;
    let samples = u64::from(page.number(SAMPLES).unwrap_or(1));
    let sample_bytes = u64::from(page.number(BITS).unwrap_or(1)).div_ceil(8);
    let still = Probe::of(SourceFormat::Tiff, size);
    Ok(Probe {
        orientation: exif::orientation(source),
        has_alpha: page.entry(EXTRA_SAMPLES).is_some() || samples == 2,
        icc_bytes: page.entry(ICC).map_or(0, |entry| entry.count.into()),
        // As it is stored, and once more while it is unpacked.
        beside_bytes: size.pixels().saturating_mul(samples).saturating_mul(2 * sample_bytes),
        ..still
    })
}

struct Page<'a> {
    source: &'a [u8],
    order: Order,
    entries: &'a [u8],
}

struct Entry {
    kind: u16,
    count: u32,
    value: [u8; 4],
}

impl<'a> Page<'a> {
    fn first(source: &'a [u8]) -> Option<Self> {
        let order = if source.first()? == &b'I' { Order::Little } else { Order::Big };
        let directory = source.get(usize::try_from(order.u32(source, 4)?).ok()?..)?;
        let count = usize::from(order.u16(directory, 0)?);
        Some(Self { source, order, entries: directory.get(2..2 + count * ENTRY_BYTES)? })
    }

    fn entry(&self, tag: u16) -> Option<Entry> {
        let found = self
            .entries
            .chunks_exact(ENTRY_BYTES)
            .find(|entry| self.order.u16(entry, 0) == Some(tag))?;
        Some(Entry {
            kind: self.order.u16(found, 2)?,
            count: self.order.u32(found, 4)?,
            value: array(found, 8)?,
        })
    }

    /// The first number of a tag, which stands elsewhere when there are many.
    fn number(&self, tag: u16) -> Option<u32> {
        let Entry { kind, count, value } = self.entry(tag)?;
        match kind {
            LONG if count == 1 => self.order.u32(&value, 0),
            SHORT if count <= 2 => self.order.u16(&value, 0).map(u32::from),
            SHORT => {
                let at = usize::try_from(self.order.u32(&value, 0)?).ok()?;
                self.order.u16(self.source, at).map(u32::from)
            }
            _ => None,
        }
    }
}
