//! A page of an index file: as many entries as fit, each in as few bits as their page allows.
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | first key | |
//! | 8 | 4 | first offset | the smallest one, in blocks of 8 bytes |
//! | 12 | 4 | offset step | all offsets are multiples of it behind the smallest; 0 if they are equal |
//! | 16 | 4 | smallest size | of a live needle's record, in blocks of 8 bytes |
//! | 20 | 2 | entries `n` | at least 1 |
//! | 22 | 2 | words `u` | of 64 bits each, of high key bits |
//! | 24 | 1 | low bits `l` | of a key that its record has, at most 63 |
//! | 25 | 1 | offset bits `o` | in a record, at most 32 |
//! | 26 | 1 | size bits `s` | in a record, at most 32 |
//! | 27 | 1 | tombstone bits `t` | 1 if there are tombstones in the page, else 0 |
//! | 28 | 2 x ⌈u / 8⌉ | zeros | how many zeros stand before each eighth word of high key bits |
//! | then | 8 x u | high key bits | for entry `i`, bit `i + ((key - first key) >> l)` is one; all others are zero |
//! | then | n x (l + o + s + t) bits | records | one an entry, with no gaps between them |
//! | then | to 4092 | reserved | zero |
//! | 4092 | 4 | checksum | CRC32 of bytes 0 to 4091, begun with the file's salt and the page's offset |
//!
//! A record has, from its lowest bit on, the `l` low bits of `key - first key`, the offset's
//! distance from the first offset in steps, the size less the smallest size, and a one if the
//! entry is a tombstone. A tombstone's size bits are zero. Bit 0 of a row of bits is the lowest
//! bit of its first byte.
//!
//! Behind the first key this is the code of Elias and Fano, about two bits a key more than the
//! logarithm of the mean distance between keys: among the high key bits, the zeros before an
//! entry's one are its high bits, and the ones before it its number. A lookup counts zeros, from
//! a place where they have been counted beforehand, and compares the low bits of the one or two
//! records that it comes to. It touches the page's beginning and two other places, the second
//! of which is not known before the first has been read, but can be guessed.

use std::ops::Range;

use bytes::{Buf, BufMut};

use super::{BLOCK_BYTES, CHECKSUM_AT, Entry, bits, seal_block};
use crate::format::{FormatError, NeedleOffset, Salt};
use crate::id::Key;

/// Whatever the entries are, so many fit in a page.
pub const MIN_ENTRIES_PER_PAGE: usize = 256;

const HEADER_BYTES: usize = 28;
const WORD_BYTES: usize = 8;
const MAX_LOW_BITS: u32 = 63;

const CACHE_LINE_BYTES: usize = 64;

/// High key bits between two numbers of zeros.
const RUN_BYTES: usize = CACHE_LINE_BYTES;

// With 256 keys as far apart as can be, 55 bits of each are low and up to 12 words are high.
const _: () = assert!(
    HEADER_BYTES + 12 * WORD_BYTES + 4 + MIN_ENTRIES_PER_PAGE * (55 + 32 + 32 + 1) / 8
        <= CHECKSUM_AT
);

/// What stands at the beginning of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    first_key: u64,
    first_offset: u32,
    offset_step: u32,
    smallest_size: u32,
    entries: u16,
    high_words: u16,
    low_bits: u32,
    offset_bits: u32,
    size_bits: u32,
    tombstone_bits: u32,
}

impl Header {
    fn put(&self, mut out: &mut [u8]) {
        out.put_u64_le(self.first_key);
        out.put_u32_le(self.first_offset);
        out.put_u32_le(self.offset_step);
        out.put_u32_le(self.smallest_size);
        out.put_u16_le(self.entries);
        out.put_u16_le(self.high_words);
        for width in [self.low_bits, self.offset_bits, self.size_bits, self.tombstone_bits] {
            out.put_uint_le(u64::from(width), 1);
        }
    }

    /// `None` where a width is larger than it can be.
    fn get(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let mut left = &bytes[..];
        let header = Self {
            first_key: left.get_u64_le(),
            first_offset: left.get_u32_le(),
            offset_step: left.get_u32_le(),
            smallest_size: left.get_u32_le(),
            entries: left.get_u16_le(),
            high_words: left.get_u16_le(),
            low_bits: left.get_u8().into(),
            offset_bits: left.get_u8().into(),
            size_bits: left.get_u8().into(),
            tombstone_bits: left.get_u8().into(),
        };
        let possible = header.low_bits <= MAX_LOW_BITS
            && header.offset_bits <= u32::BITS
            && header.size_bits <= u32::BITS
            && header.tombstone_bits <= 1;
        possible.then_some(header)
    }

    fn high_bytes(&self) -> usize {
        usize::from(self.high_words) * WORD_BYTES
    }

    fn zeros_bytes(&self) -> usize {
        self.high_bytes().div_ceil(RUN_BYTES) * size_of::<u16>()
    }

    fn record_bits(&self) -> u32 {
        self.low_bits + self.offset_bits + self.size_bits + self.tombstone_bits
    }

    /// Where the records end.
    fn end(&self) -> usize {
        let records = usize::from(self.entries) * self.record_bits() as usize;
        HEADER_BYTES + self.zeros_bytes() + self.high_bytes() + records.div_ceil(8)
    }

    /// What is to stand in the record of an entry whose key is `distance` behind the first.
    fn record(&self, distance: u64, entry: Entry) -> [(u32, u64); 4] {
        let steps = (entry.offset.blocks() - self.first_offset) / self.offset_step.max(1);
        let size = entry.size_blocks.saturating_sub(self.smallest_size);
        [
            (self.low_bits, distance),
            (self.offset_bits, steps.into()),
            (self.size_bits, size.into()),
            (self.tombstone_bits, entry.is_tombstone().into()),
        ]
    }
}

/// Where high key bits and records are in a page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Layout {
    high_at: usize,
    records_at: usize,
    end: usize,
}

impl Layout {
    /// All entries of a page.
    pub const WHOLE: usize = 1 << 16;

    /// What a lookup may read of a page, for an entry that has about this share of the page's entries
    /// before it: a place in each line of the processor's cache.
    pub fn places(self, share: usize) -> impl Iterator<Item = usize> {
        // Where keys are random, one of three is farther away from its mean place.
        const AROUND: [isize; 5] = [-128, -64, 0, 64, 128];
        let Self { high_at, records_at, end } = self;
        let at = |start: usize, end: usize| start + (end - start) * share / Self::WHOLE;
        let record = at(records_at, end);
        let around = AROUND.into_iter().map(move |bytes| record.saturating_add_signed(bytes));
        std::iter::once(at(high_at, records_at)).chain(around)
    }
}

/// A page to be read, whose checksum has been checked once.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    header: Header,
    zeros: &'a [u8],
    high: &'a [u8],
    records: &'a [u8],
}

impl<'a> Page<'a> {
    /// Takes a block for a page; `None` where it cannot be one. Then any question has some
    /// answer; only after [`Page::check`] is it the right one.
    pub fn of(block: &'a [u8]) -> Option<Self> {
        let (header, rest) = block.get(..CHECKSUM_AT)?.split_first_chunk()?;
        let header = Header::get(header)?;
        let (zeros, rest) = rest.split_at_checked(header.zeros_bytes())?;
        let (high, records) = rest.split_at_checked(header.high_bytes())?;
        Some(Self { header, zeros, high, records })
    }

    /// Checks what holds for the page as a whole, and tells its first and last key.
    pub fn check(&self) -> Result<(Key, Key), FormatError> {
        let number = usize::from(self.header.entries);
        let used = number * self.header.record_bits() as usize;
        let reserved = self.records.get(used.div_ceil(8)..);
        let is_whole = reserved.is_some_and(|rest| rest.iter().all(|byte| *byte == 0))
            && zeros_before(self.high).eq(self.zeros_before())
            && bits::count_ones(self.high) == number
            && bits::get(self.high, 0, 1) == 1
            && self.low(0) == 0;
        let last_key = || {
            let last = number.checked_sub(1)?;
            let high = bits::last_one(self.high)?.checked_sub(last)? as u64;
            let is_possible = high <= u64::MAX >> self.header.low_bits;
            let distance = is_possible.then(|| high << self.header.low_bits | self.low(last))?;
            self.header.first_key.checked_add(distance)
        };
        let keys = last_key().filter(|_| is_whole).map(|last| (self.header.first_key, last));
        let (first, last) = keys.ok_or(FormatError::Field { what: "index page" })?;
        Ok((Key::new(first), Key::new(last)))
    }

    /// Where things are in it.
    pub fn layout(&self) -> Layout {
        let high_at = HEADER_BYTES + self.header.zeros_bytes();
        let records_at = high_at + self.header.high_bytes();
        Layout { high_at, records_at, end: self.header.end() }
    }

    /// How many entries it has, of which there is at least one.
    pub fn entry_count(&self) -> u64 {
        self.header.entries.into()
    }

    /// The entry of `key`.
    pub fn get(&self, key: Key) -> Option<Entry> {
        let distance = key.get().checked_sub(self.header.first_key)?;
        let low = distance & bits::mask(self.header.low_bits);
        let high = usize::try_from(distance >> self.header.low_bits).ok()?;
        let numbers = self.numbers_of(high)?;
        let end = numbers.end;
        self.fetch(&numbers);
        let found = partition_point(numbers, |number| self.low(number) < low);
        (found < end && self.low(found) == low).then(|| self.entry(found))
    }

    /// All entries, sorted by key.
    pub fn entries(&self) -> impl Iterator<Item = (Key, Entry)> {
        bits::ones(self.high).enumerate().map(|(number, bit)| {
            let high = (bit - number) as u64;
            let distance = high << self.header.low_bits | self.low(number);
            (Key::new(self.header.first_key.wrapping_add(distance)), self.entry(number))
        })
    }

    /// Has the processor fetch the records of keys that lie close to each other all at once: a search
    /// among them would wait for one after the other.
    fn fetch(&self, numbers: &Range<usize>) {
        let lines = self.record_at(numbers.start) / 8..self.record_at(numbers.end) / 8;
        for line in lines.step_by(CACHE_LINE_BYTES).skip(1) {
            std::hint::black_box(self.records.get(line).copied());
        }
    }

    /// The numbers of the entries whose keys have these high bits.
    fn numbers_of(&self, high: usize) -> Option<Range<usize>> {
        let bit = match high.checked_sub(1) {
            Some(before) => self.nth_zero(before)? + 1,
            None => 0,
        };
        let first = bit.checked_sub(high)?;
        Some(first..first + bits::run_of_ones(self.high, bit))
    }

    /// Where the zero is that has `number` others before it, in the high bits.
    fn nth_zero(&self, number: usize) -> Option<usize> {
        let runs = self.zeros_before().take_while(|zeros| *zeros <= number);
        let (run, zeros) = runs.enumerate().last()?;
        let start = run * RUN_BYTES;
        Some(start * 8 + bits::nth_zero(self.high.get(start..)?, number - zeros)?)
    }

    fn zeros_before(&self) -> impl Iterator<Item = usize> {
        self.zeros.as_chunks::<2>().0.iter().map(|zeros| u16::from_le_bytes(*zeros).into())
    }

    fn low(&self, number: usize) -> u64 {
        bits::get(self.records, self.record_at(number), self.header.low_bits)
    }

    fn entry(&self, number: usize) -> Entry {
        let Header { first_offset, offset_step, smallest_size, .. } = self.header;
        let Header { low_bits, offset_bits, size_bits, tombstone_bits, .. } = self.header;
        let mut at = self.record_at(number) + low_bits as usize;
        let mut next = |width| {
            let field = bits::get(self.records, at, width);
            at += width as usize;
            #[expect(clippy::cast_possible_truncation, reason = "no field has more than 32 bits")]
            let field = field as u32;
            field
        };
        let offset = first_offset.wrapping_add(next(offset_bits).wrapping_mul(offset_step));
        let offset = NeedleOffset::from_blocks(offset);
        let size_blocks = smallest_size.wrapping_add(next(size_bits));
        match next(tombstone_bits) {
            0 => Entry { offset, size_blocks },
            _ => Entry::tombstone(offset),
        }
    }

    fn record_at(&self, number: usize) -> usize {
        number * self.header.record_bits() as usize
    }
}

/// How many zeros stand before each run of high bits.
fn zeros_before(high: &[u8]) -> impl Iterator<Item = usize> {
    high.chunks(RUN_BYTES).scan(0, |zeros, run| {
        let before = *zeros;
        *zeros += bits::count_zeros(run);
        Some(before)
    })
}

/// The first number for which `holds` is false, if it holds for all before.
fn partition_point(numbers: Range<usize>, holds: impl Fn(usize) -> bool) -> usize {
    let Range { start: mut low, end: mut high } = numbers;
    while low < high {
        let middle = usize::midpoint(low, high);
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// What has to be known of entries to tell how much room they take.
#[derive(Debug, Clone, Copy)]
struct Summary {
    entries: u16,
    first_key: u64,
    last_key: u64,
    /// The offset of the first entry; all others are multiples of `offset_step` away.
    an_offset: u32,
    offset_step: u32,
    offsets: Bounds,
    sizes: Bounds,
    has_tombstones: bool,
}

/// The smallest and the largest of some numbers.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: u32,
    most: u32,
}

impl Bounds {
    const NONE: Self = Self { least: u32::MAX, most: 0 };

    fn with(self, number: u32) -> Self {
        Self { least: self.least.min(number), most: self.most.max(number) }
    }

    fn width(self) -> u32 {
        self.most.saturating_sub(self.least)
    }
}

impl Summary {
    fn of_first(key: Key, entry: Entry) -> Self {
        let none = Self {
            entries: 0,
            first_key: key.get(),
            last_key: key.get(),
            an_offset: entry.offset.blocks(),
            offset_step: 0,
            offsets: Bounds::NONE,
            sizes: Bounds::NONE,
            has_tombstones: false,
        };
        none.with(key, entry)
    }

    fn with(self, key: Key, entry: Entry) -> Self {
        let offset = entry.offset.blocks();
        Self {
            entries: self.entries.saturating_add(1),
            last_key: key.get(),
            offset_step: common_divisor(offset.abs_diff(self.an_offset), self.offset_step),
            offsets: self.offsets.with(offset),
            sizes: if entry.is_tombstone() {
                self.sizes
            } else {
                self.sizes.with(entry.size_blocks)
            },
            has_tombstones: self.has_tombstones || entry.is_tombstone(),
            ..self
        }
    }

    fn header(&self) -> Header {
        let span = self.last_key.saturating_sub(self.first_key);
        let low_bits = low_bits(span, self.entries.into());
        let high_bits = u64::from(self.entries) + (span >> low_bits);
        Header {
            first_key: self.first_key,
            first_offset: self.offsets.least,
            offset_step: self.offset_step,
            // Where all are tombstones, there is none.
            smallest_size: self.sizes.least.min(self.sizes.most),
            entries: self.entries,
            high_words: u16::try_from(high_bits.div_ceil(u64::BITS.into())).unwrap_or(u16::MAX),
            low_bits,
            offset_bits: bits::width((self.offsets.width() / self.offset_step.max(1)).into()),
            size_bits: bits::width(self.sizes.width().into()),
            tombstone_bits: self.has_tombstones.into(),
        }
    }
}

/// How many bits of each of `count` keys are best kept low where they span `span`: the logarithm
/// of their mean distance. Then there are one to two times as many zeros as ones in the high bits.
fn low_bits(span: u64, count: u64) -> u32 {
    match (span.checked_ilog2(), count.checked_ilog2()) {
        (Some(span_log), Some(count_log)) if span >= count => {
            let log = span_log - count_log;
            if count << log <= span { log } else { log.saturating_sub(1) }
        }
        _ => 0,
    }
}

fn common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Entries on their way into a page.
#[derive(Default)]
pub struct PageBuilder {
    entries: Vec<(Key, Entry)>,
    summary: Option<Summary>,
}

impl PageBuilder {
    /// Takes an entry, whose key must be above those before it; `false` if the page is full.
    pub fn push(&mut self, key: Key, entry: Entry) -> bool {
        let summary = match self.summary {
            Some(summary) => summary.with(key, entry),
            None => Summary::of_first(key, entry),
        };
        let fits = summary.entries < u16::MAX && summary.header().end() <= CHECKSUM_AT;
        if fits {
            self.summary = Some(summary);
            self.entries.push((key, entry));
        }
        fits
    }

    /// The page that stands at `position` of the file, if there are entries for it. Then the next
    /// page may be begun.
    pub fn finish(&mut self, salt: Salt, position: u64) -> Option<[u8; BLOCK_BYTES]> {
        let header = self.summary.take()?.header();
        let mut page = [0; BLOCK_BYTES];
        let (head, rest) = page.split_at_mut(HEADER_BYTES);
        header.put(head);
        let (zeros, rest) = rest.split_at_mut_checked(header.zeros_bytes())?;
        let (high, records) = rest.split_at_mut_checked(header.high_bytes())?;
        let mut at = 0;
        for (number, (key, entry)) in self.entries.drain(..).enumerate() {
            let distance = key.get() - header.first_key;
            let bit = usize::try_from(distance >> header.low_bits).ok()?;
            bits::put(high, number + bit, 1, 1);
            for (width, field) in header.record(distance, entry) {
                bits::put(records, at, width, field);
                at += width as usize;
            }
        }
        for (number, before) in zeros.as_chunks_mut().0.iter_mut().zip(zeros_before(high)) {
            *number = u16::try_from(before).ok()?.to_le_bytes();
        }
        seal_block(&mut page, salt, position);
        Some(page)
    }
}

#[cfg(test)]
mod tests;
