//! Reading one needle: every byte is checked before it is handed out.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::live::{Condition, Located, Shared};
use super::record::Body;
use crate::error::StoreError;
use crate::format::checksum::{BLOCK_BYTES, Trailer, covering_blocks, trailer_bytes};
use crate::format::index::Entry;
use crate::format::meta::MetaRef;
use crate::format::needle::{HEADER_BYTES, Kind, NeedleHeader};
use crate::format::{FormatError, NeedleOffset, Salt};
use crate::id::{Cookie, Key};
use crate::pace::{TELLING_READ_BYTES, Wait};
use crate::storage::{File, is_device_error, read_cached_exact_at, read_exact_at};

/// Records up to this size are read whole, in one disk access, when they are opened.
pub const WHOLE_READ_BYTES: u64 = 256 * 1024;

/// Reads that the device may fail before the volume refuses writes.
const QUARANTINE_DEVICE_ERRORS: u64 = 3;

/// A needle found and vouched for. It stays readable whatever happens to its volume.
pub struct StoredNeedle {
    shared: Arc<Shared>,
    offset: NeedleOffset,
    header: NeedleHeader,
    encoded_meta: Bytes,
    data: Data,
}

/// What was read and checked of a record.
struct Record {
    header: NeedleHeader,
    encoded_meta: Bytes,
    data: Data,
}

enum Data {
    /// Read and checked already.
    Whole(Bytes),
    /// Read and checked block by block, as asked.
    OnDisk { file: Arc<dyn File>, starts_at: u64, trailer: Trailer },
}

/// Where bytes may come from.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    /// Memory or, where it does not hold them, the disk.
    Anywhere,
    /// Memory alone, so that nobody waits.
    Memory,
}

/// Why a record was not read.
enum ReadError {
    Io(io::Error),
    Format(FormatError),
}

impl StoredNeedle {
    /// Finds the live needle of `key` and checks its cookie.
    pub(super) fn open(shared: &Arc<Shared>, key: Key, cookie: Cookie) -> Result<Self, StoreError> {
        Self::wait_for(shared, key, cookie, WHOLE_READ_BYTES)
    }

    /// Like [`StoredNeedle::open`], but reads only what is around the data.
    pub(super) fn stat(shared: &Arc<Shared>, key: Key, cookie: Cookie) -> Result<Self, StoreError> {
        Self::wait_for(shared, key, cookie, 0)
    }

    /// Like [`StoredNeedle::open`], but never waits for the disk. `None` where that would be needed, where
    /// the record is larger than `most_bytes`, and where anything is wrong: [`StoredNeedle::open`] tells,
    /// and counts, what it is.
    pub(super) fn open_cached(
        shared: &Arc<Shared>,
        key: Key,
        cookie: Cookie,
        most_bytes: u64,
    ) -> Option<Self> {
        let located = shared.locate_live(key).ok()?;
        if located.entry.record_bytes() > most_bytes {
            return None;
        }
        let record = read_record(&located, key, WHOLE_READ_BYTES, Source::Memory).ok()?;
        Self::of(shared, &located, cookie, record).ok()
    }

    fn wait_for(
        shared: &Arc<Shared>,
        key: Key,
        cookie: Cookie,
        whole_read_bytes: u64,
    ) -> Result<Self, StoreError> {
        let located = shared.locate_live(key)?;
        let foreground = &shared.options.pace.foreground;
        let read = || read_record(&located, key, whole_read_bytes, Source::Anywhere);
        let record = foreground.time(Wait::Read, read);
        let offset = located.entry.offset;
        let record = record.map_err(|error| shared.read_error(error, key, offset))?;
        Self::of(shared, &located, cookie, record)
    }

    fn of(
        shared: &Arc<Shared>,
        located: &Located,
        cookie: Cookie,
        record: Record,
    ) -> Result<Self, StoreError> {
        let Record { header, encoded_meta, data } = record;
        if header.cookie != cookie {
            return Err(StoreError::NotFound);
        }
        let (shared, offset) = (Arc::clone(shared), located.entry.offset);
        Ok(Self { shared, offset, header, encoded_meta, data })
    }

    /// The needle's header.
    pub fn header(&self) -> &NeedleHeader {
        &self.header
    }

    /// What the needle says of itself.
    pub fn meta(&self) -> MetaRef<'_> {
        // It was looked at when the needle was found.
        MetaRef::from_bytes(&self.encoded_meta).unwrap_or_default()
    }

    /// The same as it stands in the volume.
    pub fn encoded_meta(&self) -> &[u8] {
        &self.encoded_meta
    }

    /// Bytes of data.
    pub fn size(&self) -> u64 {
        self.header.data_size.into()
    }

    /// When the needle was stored.
    pub fn appended_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.header.appended_ns)
    }

    /// All of the data, where it was small enough to be read when the needle was found.
    pub fn whole(&self) -> Option<&Bytes> {
        match &self.data {
            Data::Whole(data) => Some(data),
            Data::OnDisk { .. } => None,
        }
    }

    /// Like [`StoredNeedle::read`], but `None` where the disk would have to be waited for, or anything is
    /// wrong.
    pub fn read_cached(&self, range: &Range<u64>) -> Option<Bytes> {
        self.read_from(Source::Memory, range).ok()
    }

    /// The bytes of `range`, clamped to the data, all of them checked.
    pub fn read(&self, range: &Range<u64>) -> Result<Bytes, StoreError> {
        let read = || self.read_from(Source::Anywhere, range);
        let is_telling = range.end.saturating_sub(range.start) <= TELLING_READ_BYTES;
        let read = match self.data {
            Data::OnDisk { .. } if is_telling => {
                self.shared.options.pace.foreground.time(Wait::Read, read)
            }
            _ => read(),
        };
        read.map_err(|error| self.shared.read_error(error, self.header.key, self.offset))
    }

    fn read_from(&self, source: Source, range: &Range<u64>) -> Result<Bytes, ReadError> {
        let end = range.end.min(self.size());
        let range = range.start.min(end)..end;
        match &self.data {
            Data::Whole(data) => Ok(slice(data, &range)),
            Data::OnDisk { file, starts_at, trailer } => {
                let read_bytes = |len, at| read(&**file, source, len, starts_at + at);
                read_blocks(read_bytes, trailer, &self.header, &range)
            }
        }
    }
}

fn slice(data: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |position| usize::try_from(position).unwrap_or(usize::MAX).min(data.len());
    data.slice(at(range.start)..at(range.end))
}

fn read_record(
    located: &Located,
    key: Key,
    whole_read_bytes: u64,
    source: Source,
) -> Result<Record, ReadError> {
    let Located { file, salt, entry } = located;
    if entry.record_bytes() <= whole_read_bytes {
        return read_whole(&**file, *salt, key, *entry, source);
    }
    let header = read_header(&**file, *salt, key, *entry, source)?;
    let starts_at = entry.offset.bytes() + HEADER_BYTES as u64;
    let behind = u64::from(header.meta_size) + trailer_bytes(header.data_size);
    let rest = Bytes::from(read(&**file, source, behind, starts_at + u64::from(header.data_size))?);
    let (encoded_meta, trailer) = rest.split_at(header.meta_size as usize);
    let trailer = Trailer::from_bytes(trailer, header.data_size, header.body_crc)?;
    trailer.verify_meta(encoded_meta)?;
    MetaRef::from_bytes(encoded_meta)?;
    let encoded_meta = rest.slice_ref(encoded_meta);
    let data = Data::OnDisk { file: Arc::clone(file), starts_at, trailer };
    Ok(Record { header, encoded_meta, data })
}

fn read_whole(
    file: &dyn File,
    salt: Salt,
    key: Key,
    entry: Entry,
    source: Source,
) -> Result<Record, ReadError> {
    let record = Bytes::from(read(file, source, entry.record_bytes(), entry.offset.bytes())?);
    let header = check_header(&record, salt, key, entry)?;
    let body = Body::parse(&header, &record)?;
    body.verify()?;
    MetaRef::from_bytes(body.meta)?;
    let (encoded_meta, data) = (record.slice_ref(body.meta), record.slice_ref(body.data));
    Ok(Record { header, encoded_meta, data: Data::Whole(data) })
}

/// Reads the header of the record that the index knows.
fn read_header(
    file: &dyn File,
    salt: Salt,
    key: Key,
    entry: Entry,
    source: Source,
) -> Result<NeedleHeader, ReadError> {
    let bytes = read(file, source, HEADER_BYTES as u64, entry.offset.bytes())?;
    Ok(check_header(&bytes, salt, key, entry)?)
}

fn check_header(
    bytes: &[u8],
    salt: Salt,
    key: Key,
    entry: Entry,
) -> Result<NeedleHeader, FormatError> {
    let header = NeedleHeader::from_bytes(bytes, salt, entry.offset)?;
    let is_the_one = header.kind == Kind::Data
        && header.key == key
        && header.record_bytes() == entry.record_bytes();
    if !is_the_one {
        return Err(FormatError::Field { what: "needle where the index points" });
    }
    Ok(header)
}

/// Reads the blocks of data that cover `range`, with `read_bytes` of a length and a place in the data.
fn read_blocks(
    read_bytes: impl Fn(u64, u64) -> Result<Vec<u8>, ReadError>,
    trailer: &Trailer,
    header: &NeedleHeader,
    range: &Range<u64>,
) -> Result<Bytes, ReadError> {
    let blocks = covering_blocks(range, header.data_size);
    let bytes = Bytes::from(read_bytes(blocks.end - blocks.start, blocks.start)?);
    let first_block = usize::try_from(blocks.start).unwrap_or(usize::MAX) / BLOCK_BYTES;
    trailer.verify_blocks(first_block, &bytes)?;
    Ok(slice(&bytes, &(range.start - blocks.start..range.end - blocks.start)))
}

fn read(file: &dyn File, source: Source, len: u64, offset: u64) -> Result<Vec<u8>, ReadError> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    let read = match source {
        Source::Anywhere => read_exact_at(file, len, offset),
        Source::Memory => read_cached_exact_at(file, len, offset),
    };
    read.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FormatError::Short { what: "needle" }.into(),
        _ => ReadError::Io(error),
    })
}

impl From<FormatError> for ReadError {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl Shared {
    fn read_error(&self, error: ReadError, key: Key, offset: NeedleOffset) -> StoreError {
        Self::count(&self.counters.failed_reads, 1);
        match error {
            ReadError::Io(error) => {
                self.note_device_error(&error);
                StoreError::io(self.id, error)
            }
            ReadError::Format(reason) => {
                let reason = format!("at offset {offset}: {reason}").into();
                StoreError::Corrupt { volume: self.id, key, reason }
            }
        }
    }

    /// A device that fails again and again gets no more to keep. Nothing is deleted for
    /// that: what can still be read is served.
    pub(super) fn note_device_error(&self, error: &io::Error) {
        if !is_device_error(error) {
            return;
        }
        let seen = self.counters.device_errors.fetch_add(1, Ordering::Relaxed) + 1;
        let mut condition = self.condition.lock();
        if seen >= QUARANTINE_DEVICE_ERRORS && !matches!(*condition, Condition::Failed(_)) {
            tracing::error!(volume = %self.id, device_errors = seen, "volume quarantined: it refuses writes");
            *condition = Condition::Failed(format!("the device failed {seen} reads").into());
        }
    }

    /// The header of a live needle; `Ok(None)` where it is damaged, an error where the disk fails.
    pub(super) fn header_of(&self, key: Key) -> Result<Option<NeedleHeader>, StoreError> {
        let Located { file, salt, entry } = self.locate_live(key)?;
        match read_header(&*file, salt, key, entry, Source::Anywhere) {
            Ok(header) => Ok(Some(header)),
            Err(ReadError::Format(_)) => Ok(None),
            Err(ReadError::Io(error)) => Err(StoreError::io(self.id, error)),
        }
    }
}
