//! Baseline JPEG decoded at a half, a quarter or an eighth of its size.
//!
//! Entropy decoding is most of the work and the same at every scale. What follows
//! it is proportional to the pixels wanted: see [`super::scaling`].
//!
//! Only the plain kind of file is read here: sequential, one scan, gray or YCbCr.
//! All else, and whatever is odd about a file, is left to the full decoder, which
//! then also decides what is wrong with it. That one has read the headers before,
//! so that what it refuses is refused at every size.
#![expect(clippy::inline_always, reason = "the bits at hand stay in registers only where inlined")]

use super::huffman::{Bits, END_OF_BLOCK, Table};
use super::scaling::{self, BLOCK, BlockSums, Inverse, LANES, Sums, Weights};
use crate::geometry::Size;
use crate::light::Averaging;
use crate::probe::bytes::Order;
use crate::probe::jpeg::Segments;
use crate::raster::{Layout, Raster};

const SOF0: u8 = 0xc0;
const SOF1: u8 = 0xc1;
const DHT: u8 = 0xc4;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
const APP14: u8 = 0xee;

/// The picture with `n` pixels for 8, in each direction; `n` is 1, 2 or 4. Where the
/// size is no multiple, it is rounded up. `None` for a file that is not for here.
pub(super) fn decode(
    source: &[u8],
    size: Size,
    n: usize,
    averaging: Averaging,
    memory: &mut Vec<u8>,
) -> Option<Raster> {
    let mut header = Header::default();
    let mut segments = Segments::new(source);
    loop {
        let segment = segments.next()?;
        match segment.marker {
            SOF0 | SOF1 => header.frame(segment.body, n)?,
            DHT => header.huffman(segment.body)?,
            DQT => header.quantisation(segment.body)?,
            DRI => header.restart = be16(segment.body, 0)?,
            APP14 if segment.body.starts_with(b"Adobe") && segment.body.get(11) != Some(&1) => {
                return None;
            }
            SOS => {
                header.scan(segment.body)?;
                break;
            }
            EOI => return None,
            _ => {}
        }
    }
    let scan = segments.scan();
    if segments.next()?.marker != EOI || header.size != Some(size) {
        return None;
    }
    header.decode(scan, size, n, averaging, memory)
}

fn be16(bytes: &[u8], at: usize) -> Option<usize> {
    Order::Big.u16(bytes, at).map(usize::from)
}

#[derive(Default)]
struct Header {
    size: Option<Size>,
    components: Vec<Component>,
    quantisation: [Option<[u16; BLOCK]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    /// Groups of blocks between two restarts; 0 for none.
    restart: usize,
}

/// Luma or one of the chromas.
struct Component {
    id: u8,
    /// Its blocks in each group: across and down.
    blocks: (usize, usize),
    /// Its pixels for each of its blocks.
    points: (usize, usize),
    quantisation: usize,
    /// Its tables for DC and AC.
    tables: (usize, usize),
}

impl Header {
    fn frame(&mut self, body: &[u8], n: usize) -> Option<()> {
        let (height, width) = (be16(body, 1)?, be16(body, 3)?);
        let side = |side| u32::try_from(side).ok();
        self.size = Some(Size { width: side(width)?, height: side(height)? });
        let fields = body.get(6..)?.chunks_exact(3);
        if self.components.len() + fields.len() != usize::from(*body.get(5)?) {
            return None;
        }
        for field in fields {
            let &[id, sampling, quantisation] = field else { return None };
            // Some of the rarer ones, the full decoder refuses.
            if !(1..=2).contains(&(sampling >> 4)) || !(1..=2).contains(&(sampling & 15)) {
                return None;
            }
            self.components.push(Component {
                id,
                blocks: ((sampling >> 4).into(), (sampling & 15).into()),
                points: (n, n),
                quantisation: quantisation.into(),
                tables: (0, 0),
            });
        }
        match self.components.as_mut_slice() {
            // The blocks of a single component come one after another, whatever it says.
            [gray] => gray.blocks = (1, 1),
            // Others name their components otherwise where they are no YCbCr.
            [luma, chromas @ ..] if chromas.len() == 2 && luma.id <= 1 => {
                for chroma in chromas {
                    let points =
                        |most: usize, own: usize| most.is_multiple_of(own).then(|| n * most / own);
                    chroma.points = (
                        points(luma.blocks.0, chroma.blocks.0)?,
                        points(luma.blocks.1, chroma.blocks.1)?,
                    );
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((head, rest)) = body.split_first_chunk::<17>() {
            let (&class_and_place, counts) = head.split_first()?;
            let counts = *counts.first_chunk::<16>()?;
            let listed = counts.iter().map(|count| usize::from(*count)).sum();
            let (listed, rest) = rest.split_at_checked(listed)?;
            body = rest;
            let is_dc = class_and_place >> 4 == 0;
            let tables = if is_dc { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(class_and_place & 15))? =
                Some(Table::new(counts, listed, is_dc)?);
        }
        Some(())
    }

    fn quantisation(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&precision_and_place, rest)) = body.split_first() {
            let bytes = if precision_and_place >> 4 == 0 { 1 } else { 2 };
            let (steps, rest) = rest.split_at_checked(bytes * BLOCK)?;
            body = rest;
            let mut table = [0; BLOCK];
            for (to, from) in table.iter_mut().zip(steps.chunks_exact(bytes)) {
                *to = from.iter().fold(0, |step, byte| step << 8 | u16::from(*byte));
            }
            *self.quantisation.get_mut(usize::from(precision_and_place & 15))? = Some(table);
        }
        Some(())
    }

    /// The scan must hold all components, whole.
    fn scan(&mut self, body: &[u8]) -> Option<()> {
        let (&count, fields) = body.split_first()?;
        if usize::from(count) != self.components.len() || count == 0 {
            return None;
        }
        let (fields, spectrum) = fields.split_at_checked(2 * usize::from(count))?;
        for (component, field) in self.components.iter_mut().zip(fields.chunks_exact(2)) {
            let &[id, tables] = field else { return None };
            if id != component.id {
                return None;
            }
            component.tables = ((tables >> 4).into(), (tables & 15).into());
        }
        (spectrum == [0, 63, 0]).then_some(())
    }

    /// How often decoding starts over, the start counted too.
    fn intervals(&self, groups: (usize, usize)) -> usize {
        if self.restart == 0 { 1 } else { (groups.0 * groups.1).div_ceil(self.restart) }
    }

    fn decode(
        &self,
        scan: &[u8],
        size: Size,
        n: usize,
        averaging: Averaging,
        memory: &mut Vec<u8>,
    ) -> Option<Raster> {
        let most = self.components.first()?.blocks;
        let (width, height) = (size.width as usize, size.height as usize);
        let groups = (width.div_ceil(8 * most.0), height.div_ceil(8 * most.1));
        let data = unstuffed(scan, self.intervals(groups))?;
        let mut planes = Vec::new();
        for component in &self.components {
            let is_lightened = planes.is_empty() && averaging == Averaging::Light;
            planes.push(Plane::new(self, component, groups.0, is_lightened)?);
        }
        let small = |side: usize| u32::try_from((side * n).div_ceil(8)).ok();
        let small = Size { width: small(width)?, height: small(height)? };
        let layout = if planes.len() == 1 { Layout::Gray } else { Layout::Rgb };
        let mut raster = Raster::zeroed(small, layout, std::mem::take(memory))?;

        let mut intervals = data.intervals();
        let mut bits = Bits::new(&[]);
        let mut until_restart = 0;
        let row_bytes = small.width as usize * layout.channels();
        for rows in raster.data_mut().chunks_mut(row_bytes * n * most.1) {
            if bits.is_overrun() {
                return None;
            }
            for group in 0..groups.0 {
                if until_restart == 0 {
                    if bits.is_overrun() {
                        return None;
                    }
                    bits = Bits::new(intervals.next()?);
                    until_restart = if self.restart == 0 { usize::MAX } else { self.restart };
                    for plane in &mut planes {
                        plane.last_dc = 0;
                    }
                }
                until_restart -= 1;
                for plane in &mut planes {
                    plane.read(&mut bits, group)?;
                }
            }
            for plane in &mut planes {
                plane.transform();
            }
            for (y, row) in rows.chunks_exact_mut(row_bytes).enumerate() {
                match planes.as_slice() {
                    [y_, cb, cr] => to_rgb(row, y_.row(y)?, cb.row(y)?, cr.row(y)?),
                    [gray, ..] => row.copy_from_slice(gray.row(y)?.get(..row_bytes)?),
                    [] => return None,
                }
            }
        }
        let ended = !bits.is_overrun() && intervals.next().is_none();
        ended.then_some(raster)
    }
}

/// A component while it is decoded: one row of groups at a time.
struct Plane<'a> {
    blocks: (usize, usize),
    points: (usize, usize),
    dc: &'a Table,
    ac: &'a Table,
    weights: Weights,
    inverse: Inverse,
    is_lightened: bool,
    block: BlockSums,
    /// For each row of blocks in a group, those of all groups.
    sums: Vec<Sums>,
    last_dc: i32,
    pixels: Vec<u8>,
    stride: usize,
}

impl<'a> Plane<'a> {
    fn new(header: &'a Header, of: &Component, groups: usize, is_lightened: bool) -> Option<Self> {
        fn table(tables: &[Option<Table>], place: usize) -> Option<&Table> {
            tables.get(place)?.as_ref()
        }
        let (points, blocks) = (of.points, of.blocks);
        let across = groups * blocks.0;
        let stride = across.next_multiple_of(LANES) * points.0;
        let sums = (0..blocks.1).map(|_| Sums::new(across, points.0, points.1)).collect();
        Some(Self {
            blocks,
            points,
            dc: table(&header.dc, of.tables.0)?,
            ac: table(&header.ac, of.tables.1)?,
            weights: scaling::weights(
                points.0,
                points.1,
                header.quantisation.get(of.quantisation)?.as_ref()?,
            ),
            inverse: scaling::inverse(points.0, points.1, is_lightened)?,
            is_lightened,
            block: BlockSums::new(),
            sums,
            last_dc: 0,
            pixels: vec![0; stride * blocks.1 * points.1],
            stride,
        })
    }

    fn row(&self, y: usize) -> Option<&[u8]> {
        self.pixels.get(y * self.stride..(y + 1) * self.stride)
    }

    /// Reads its blocks of one group.
    #[inline]
    fn read(&mut self, bits: &mut Bits<'_>, group: usize) -> Option<()> {
        for row in &mut self.sums {
            for across in 0..self.blocks.0 {
                let block = group * self.blocks.0 + across;
                let (tables, sums) = ((self.dc, self.ac), &mut self.block);
                let read = if self.is_lightened { read_block::<true> } else { read_block::<false> };
                self.last_dc = read(bits, tables, &self.weights, sums, self.last_dc)?;
                row.put(block, &mut self.block)?;
            }
        }
        Some(())
    }

    /// Makes pixels of all blocks that were read.
    fn transform(&mut self) {
        let height = self.points.1 * self.stride;
        for (row, pixels) in self.sums.iter_mut().zip(self.pixels.chunks_mut(height)) {
            let width = LANES * self.points.0;
            for (sums, left) in row.side_by_side().zip((0..).step_by(width)) {
                if let Some(pixels) = pixels.get_mut(left..) {
                    (self.inverse)(sums, pixels, self.stride);
                }
            }
        }
    }
}

/// Reads one block into the sums, which need no variance where light does not count;
/// gives its DC.
#[inline(always)]
fn read_block<const LIGHTENED: bool>(
    from: &mut Bits<'_>,
    (dc, ac): (&Table, &Table),
    weights: &Weights,
    sums: &mut BlockSums,
    last_dc: i32,
) -> Option<i32> {
    // What changes with every symbol stays in registers.
    let (mut bits, mut variance, mut place) = (*from, 0.0, 1);
    bits.refill();
    let dc = last_dc.wrapping_add(bits.take(dc)?.value);
    sums.add(weights, 0, dc);
    loop {
        // Two symbols fit in what a refill gives.
        let symbol = bits.take(ac)?;
        place += symbol.run;
        let square = sums.add(weights, place, symbol.value);
        variance += if LIGHTENED { square } else { 0.0 };
        place += 1;
        if place >= BLOCK {
            break;
        }
        bits.refill();
        let symbol = bits.take(ac)?;
        place += symbol.run;
        let square = sums.add(weights, place, symbol.value);
        variance += if LIGHTENED { square } else { 0.0 };
        place += 1;
        if place >= BLOCK {
            break;
        }
    }
    *from = bits;
    sums.variance = variance;
    (place == BLOCK || place > END_OF_BLOCK).then_some(dc)
}

/// Entropy-coded data without its stuffing and without its restart markers.
struct Unstuffed {
    data: Vec<u8>,
    ends: Vec<usize>,
}

/// `None` for more than `most` intervals: markers alone, two bytes each, would take
/// many times their room.
fn unstuffed(mut coded: &[u8], most: usize) -> Option<Unstuffed> {
    let mut data = Vec::with_capacity(coded.len());
    let mut ends = Vec::new();
    while let Some(ff) = memchr::memchr(0xff, coded) {
        let (plain, rest) = coded.split_at(ff);
        data.extend_from_slice(plain);
        match rest.get(1) {
            Some(0x00) => data.push(0xff),
            Some(0xd0..=0xd7) if ends.len() + 1 < most => ends.push(data.len()),
            Some(0xd0..=0xd7) => return None,
            // A fill byte: the next one starts over.
            _ => {
                coded = rest.get(1..).unwrap_or_default();
                continue;
            }
        }
        coded = rest.get(2..).unwrap_or_default();
    }
    data.extend_from_slice(coded);
    ends.push(data.len());
    Some(Unstuffed { data, ends })
}

impl Unstuffed {
    fn intervals(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter_map(|(start, end)| self.data.get(start..*end))
    }
}

/// JFIF's conversion, rounded.
fn to_rgb(row: &mut [u8], luma: &[u8], cb: &[u8], cr: &[u8]) {
    const SHIFT: u32 = 16;
    const HALF: i32 = 1 << (SHIFT - 1);
    let pixels = row.chunks_exact_mut(3).zip(luma.iter().zip(cb.iter().zip(cr)));
    for (pixel, (y, (cb, cr))) in pixels {
        let y = (i32::from(*y) << SHIFT) + HALF;
        let (cb, cr) = (i32::from(*cb) - 128, i32::from(*cr) - 128);
        let rgb = [y + 91_881 * cr, y - 22_554 * cb - 46_802 * cr, y + 116_130 * cb];
        for (channel, value) in pixel.iter_mut().zip(rgb) {
            *channel = clamped(value >> SHIFT);
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
const fn clamped(value: i32) -> u8 {
    if value < 0 {
        0
    } else if value > 255 {
        255
    } else {
        value as u8
    }
}
