//! Walks a volume file record by record and hops over what is damaged.

use std::borrow::Cow;
use std::io;
use std::ops::Range;

use super::record::Body;
use crate::format::needle::{HEADER_BYTES, MAGIC, NeedleHeader};
use crate::format::{ALIGNMENT, FormatError, NeedleOffset, Salt, align_up};
use crate::storage::{File, is_device_error, read_exact_at, read_up_to};

/// How much is read at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// How far ahead of the window the device is told to read.
const PREFETCH_BYTES: u64 = 4 << 20;

/// How much is given up where the device fails to read.
const PAGE_BYTES: usize = 4096;

/// What stands at one place of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A record whose header is whole. Its body has not been looked at.
    Record {
        /// Where it starts.
        offset: NeedleOffset,
        /// Its header.
        header: NeedleHeader,
    },
    /// Bytes that no readable record covers.
    Damage(Range<u64>),
}

impl Found {
    /// The bytes that it covers.
    pub fn range(&self) -> Range<u64> {
        match self {
            Self::Record { offset, header } => {
                offset.bytes()..offset.bytes() + header.record_bytes()
            }
            Self::Damage(range) => range.clone(),
        }
    }
}

/// An iterator over the records of a file between two offsets, in the file's order.
///
/// Only headers are read. Where one is unreadable, the next readable one is looked for
/// at every boundary; header checksums cover the offset, so bytes that merely look like
/// a needle, in the middle of another one's data, are not taken for one. A header whose
/// record would reach beyond the end is the last thing there: what seems to lie within that
/// record would vanish into it as soon as the file grew.
pub struct Scanner<'a> {
    file: &'a dyn File,
    salt: Salt,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
    /// The device has been told to read everything below.
    prefetched: u64,
    /// Whether the window has zeros where the device gave nothing.
    window_has_holes: bool,
    /// Whether the device failed to read some of it.
    met_device_error: bool,
}

impl<'a> Scanner<'a> {
    /// Scans `range` of `file`; the start must be where a record starts.
    pub fn new(file: &'a dyn File, salt: Salt, range: Range<u64>) -> Self {
        let (position, end) = (range.start, range.end);
        Self {
            file,
            salt,
            position,
            end,
            window: Vec::new(),
            window_at: 0,
            prefetched: position,
            window_has_holes: false,
            met_device_error: false,
        }
    }

    /// The bytes from `at` to the end of the window that holds them: at least `least`,
    /// or none where the file ends before.
    fn bytes(&mut self, at: u64, least: usize) -> io::Result<&[u8]> {
        if !self.holds(at, least) {
            let len = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            self.fill_window(at, len)?;
        }
        let start = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let bytes = self.window.get(start..).unwrap_or_default();
        Ok(if bytes.len() < least { &[] } else { bytes })
    }

    fn holds(&self, at: u64, len: usize) -> bool {
        let held = self.window_at..self.window_at + self.window.len() as u64;
        at >= held.start && at + len as u64 <= held.end
    }

    /// Moves the window to `at`. What it holds already of that is not read again.
    fn fill_window(&mut self, at: u64, len: usize) -> io::Result<()> {
        let passed = at.checked_sub(self.window_at).and_then(|passed| usize::try_from(passed).ok());
        match passed.filter(|passed| *passed < self.window.len() && !self.window_has_holes) {
            Some(passed) => drop(self.window.drain(..passed)),
            None => self.window.clear(),
        }
        self.window_at = at;
        self.window_has_holes = false;
        let have = self.window.len();
        let missing = len.saturating_sub(have);
        self.prefetch(at + len as u64);
        match read_up_to(self.file, &mut self.window, missing, at + have as u64) {
            Err(error) if is_device_error(&error) => self.fill_by_pages(at, len),
            read => read.map(drop),
        }
    }

    /// Keeps the device busy with what comes behind `window_end` while the window is looked at.
    fn prefetch(&mut self, window_end: u64) {
        let to = self.end.min(window_end + PREFETCH_BYTES);
        let mut at = self.prefetched.max(window_end);
        // In pieces, as systems limit how much they take of one hint.
        while at < to {
            let end = to.min(at + WINDOW_BYTES as u64);
            self.file.prefetch(at..end);
            at = end;
        }
        self.prefetched = at;
    }

    /// Reads what the device still gives. The rest counts as zeros, which are no needle.
    fn fill_by_pages(&mut self, at: u64, len: usize) -> io::Result<()> {
        self.met_device_error = true;
        self.window_has_holes = true;
        self.window.clear();
        while self.window.len() < len {
            let have = self.window.len();
            let wanted = PAGE_BYTES.min(len - have);
            match read_up_to(self.file, &mut self.window, wanted, at + have as u64) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_device_error(&error) => self.window.resize(have + wanted, 0),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The bytes of a record that was just found, from the window where it fits in there.
    pub fn record(
        &mut self,
        offset: NeedleOffset,
        header: &NeedleHeader,
    ) -> io::Result<Cow<'_, [u8]>> {
        let (at, len) = (offset.bytes(), header.record_bytes());
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let fits = len <= WINDOW_BYTES && !self.bytes(at, len)?.is_empty();
        // Only the device can say what should stand in a hole.
        if !fits || self.window_has_holes {
            return read_exact_at(self.file, len, at).map(Cow::Owned);
        }
        let bytes = self.bytes(at, len)?;
        Ok(Cow::Borrowed(bytes.get(..len).unwrap_or(bytes)))
    }

    /// Checks every byte of a record that was just found against its header.
    pub fn check(
        &mut self,
        offset: NeedleOffset,
        header: &NeedleHeader,
    ) -> io::Result<Result<(), FormatError>> {
        check_record(self.record(offset, header), header)
    }

    /// Whether the device failed to read some of what was scanned. What it held is unknown.
    pub fn met_device_error(&self) -> bool {
        self.met_device_error
    }

    /// The header at `at`, if one is there.
    fn header_at(&mut self, at: u64) -> io::Result<Option<(NeedleOffset, NeedleHeader)>> {
        let salt = self.salt;
        let Some(offset) = NeedleOffset::from_bytes(at) else { return Ok(None) };
        let bytes = self.bytes(at, HEADER_BYTES)?;
        let header = NeedleHeader::from_bytes(bytes, salt, offset).ok();
        Ok(header.map(|header| (offset, header)))
    }

    /// Whether the whole record lies before the end.
    fn fits(&self, offset: NeedleOffset, header: &NeedleHeader) -> bool {
        offset.bytes() + header.record_bytes() <= self.end
    }

    /// The first boundary at or after `from` where a whole record starts, else the end.
    fn next_record(&mut self, from: u64) -> io::Result<u64> {
        let mut at = align_up(from);
        while at + HEADER_BYTES as u64 <= self.end {
            let bytes = self.bytes(at, HEADER_BYTES)?;
            let blocks = bytes.chunks(usize::try_from(ALIGNMENT).unwrap_or(8));
            match blocks.take(WINDOW_BYTES).position(|block| block.starts_with(&MAGIC)) {
                Some(skipped) => {
                    at += skipped as u64 * ALIGNMENT;
                    if let Some((offset, header)) = self.header_at(at)? {
                        return Ok(if self.fits(offset, &header) { at } else { self.end });
                    }
                    at += ALIGNMENT;
                }
                None if bytes.is_empty() => break,
                None => at += bytes.len() as u64 / ALIGNMENT * ALIGNMENT,
            }
        }
        Ok(self.end)
    }
}

impl Iterator for Scanner<'_> {
    type Item = io::Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.end {
            return None;
        }
        let start = self.position;
        let found = self.header_at(start).and_then(|header| {
            self.position = match header {
                Some((offset, header)) if self.fits(offset, &header) => {
                    self.position = start + header.record_bytes();
                    return Ok(Found::Record { offset, header });
                }
                Some(_) => self.end,
                None => self.next_record(start + 1)?,
            };
            Ok(Found::Damage(start..self.position))
        });
        if found.is_err() {
            // An error ends the scan: what lies behind it is unknown, not absent.
            self.position = self.end;
        }
        Some(found)
    }
}

/// Reads a whole record and checks every byte of it against its header.
pub fn check_body(
    file: &dyn File,
    offset: NeedleOffset,
    header: &NeedleHeader,
) -> io::Result<Result<(), FormatError>> {
    let len = usize::try_from(header.record_bytes()).unwrap_or(usize::MAX);
    check_record(read_exact_at(file, len, offset.bytes()).map(Cow::Owned), header)
}

fn check_record(
    record: io::Result<Cow<'_, [u8]>>,
    header: &NeedleHeader,
) -> io::Result<Result<(), FormatError>> {
    match record {
        Ok(record) => Ok(Body::parse(header, &record).and_then(|body| body.verify())),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Ok(Err(FormatError::Short { what: "needle" }))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::needle::{BatchPlace, Kind};
    use crate::id::{Cookie, Key};
    use crate::storage::Disk as _;
    use crate::storage::memory::MemoryDisk;
    use crate::volume::NewNeedle;
    use crate::volume::record::{Place, Prepared};

    const SALT: fn() -> Salt = || Salt::new(&[7; 16], 1);

    /// Records that lie within a window, across its end, and beyond its size.
    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, len) in [100, 700_000, 600_000, 3_000_000, 0, 500_000].into_iter().enumerate() {
            let data = vec![u8::try_from(key).unwrap(); len].into();
            let key = Key::new(key as u64);
            let needle =
                NewNeedle { key, cookie: Cookie::new(1), meta: crate::Meta::default(), data };
            let offset = NeedleOffset::from_bytes(bytes.len() as u64).unwrap();
            let place =
                Place { offset, appended_ns: 0, synced_end: offset, batch: BatchPlace::ALONE };
            Prepared::data(needle).unwrap().encode(&mut bytes, SALT(), place);
        }
        bytes
    }

    #[test]
    fn records_come_out_whole_wherever_the_window_ends() {
        let disk = MemoryDisk::new();
        let bytes = file();
        disk.put("f", bytes.clone());
        let file = disk.open("f").unwrap();
        let mut scanner = Scanner::new(&*file, SALT(), 0..bytes.len() as u64);
        let mut seen = 0;
        while let Some(found) = scanner.next() {
            let Found::Record { offset, header } = found.unwrap() else { panic!("damage") };
            assert_eq!(header.kind, Kind::Data);
            let at = usize::try_from(offset.bytes()).unwrap();
            let len = usize::try_from(header.record_bytes()).unwrap();
            assert_eq!(scanner.record(offset, &header).unwrap(), &bytes[at..at + len]);
            assert!(scanner.check(offset, &header).unwrap().is_ok());
            seen += 1;
        }
        assert_eq!(seen, 6);
    }

    #[test]
    fn a_record_with_a_bad_sector_is_an_error_of_the_device_not_of_the_bytes() {
        let disk = MemoryDisk::new();
        let bytes = file();
        disk.put("f", bytes.clone());
        disk.spoil("f", 300_000..300_512);
        let file = disk.open("f").unwrap();
        let mut scanner = Scanner::new(&*file, SALT(), 0..bytes.len() as u64);
        let mut failed = Vec::new();
        while let Some(found) = scanner.next() {
            let Found::Record { offset, header } = found.unwrap() else { panic!("damage") };
            match scanner.check(offset, &header) {
                Ok(checked) => checked.unwrap(),
                Err(error) if is_device_error(&error) => failed.push(header.key),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(failed, [Key::new(1)]);
        assert!(scanner.met_device_error());
    }
}
