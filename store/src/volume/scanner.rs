//! Walks a volume file record by record and hops over what is damaged.

use std::io;
use std::ops::Range;

use crate::format::needle::{HEADER_BYTES, MAGIC, NeedleHeader};
use crate::format::{ALIGNMENT, FormatError, NeedleOffset, Salt, align_up};
use crate::storage::{File, is_device_error, read_exact_at, read_up_to};

/// How much is read at a time.
const WINDOW_BYTES: usize = 1 << 20;

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

/// An iterator over the records of a file between two offsets, in the file's order.
///
/// Only headers are read. Where one is unreadable, the next readable one is looked for
/// at every boundary; header checksums cover the offset, so bytes that merely look like
/// a needle, in the middle of another one's data, are not taken for one.
pub struct Scanner<'a> {
    file: &'a dyn File,
    salt: Salt,
    position: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
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
            met_device_error: false,
        }
    }

    /// The bytes from `at` to the end of the window that holds them: at least `least`,
    /// or none where the file ends before.
    fn bytes(&mut self, at: u64, least: usize) -> io::Result<&[u8]> {
        let held = self.window_at..self.window_at + self.window.len() as u64;
        if at < held.start || at + least as u64 > held.end {
            let len = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(WINDOW_BYTES);
            self.fill_window(at, len)?;
        }
        let start = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        let bytes = self.window.get(start..).unwrap_or_default();
        Ok(if bytes.len() < least { &[] } else { bytes })
    }

    fn fill_window(&mut self, at: u64, len: usize) -> io::Result<()> {
        self.window.clear();
        self.window_at = at;
        match read_up_to(self.file, &mut self.window, len, at) {
            Err(error) if is_device_error(&error) => self.fill_by_pages(at, len),
            read => read.map(drop),
        }
    }

    /// Reads what the device still gives. The rest counts as zeros, which are no needle.
    fn fill_by_pages(&mut self, at: u64, len: usize) -> io::Result<()> {
        self.met_device_error = true;
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

    /// Whether the device failed to read some of what was scanned. What it held is unknown.
    pub fn met_device_error(&self) -> bool {
        self.met_device_error
    }

    /// The header at `at`, if a whole record fits between there and the end.
    fn header_at(&mut self, at: u64) -> io::Result<Option<(NeedleOffset, NeedleHeader)>> {
        let (salt, end) = (self.salt, self.end);
        let Some(offset) = NeedleOffset::from_bytes(at) else { return Ok(None) };
        let bytes = self.bytes(at, HEADER_BYTES)?;
        let header = NeedleHeader::from_bytes(bytes, salt, offset).ok();
        Ok(header.filter(|header| at + header.record_bytes() <= end).map(|header| (offset, header)))
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
                    if self.header_at(at)?.is_some() {
                        return Ok(at);
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
            if let Some((offset, header)) = header {
                self.position = start + header.record_bytes();
                return Ok(Found::Record { offset, header });
            }
            self.position = self.next_record(start + 1)?;
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
    let record = match read_exact_at(file, len, offset.bytes()) {
        Ok(record) => record,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Err(FormatError::Short { what: "needle" }));
        }
        Err(error) => return Err(error),
    };
    Ok(super::record::Body::parse(header, &record).and_then(|body| body.verify()))
}
