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
use crate::format::meta::Meta;
use crate::format::needle::{HEADER_BYTES, Kind, NeedleHeader};
use crate::format::{FormatError, NeedleOffset, Salt};
use crate::id::{Cookie, Key};
use crate::pace::{TELLING_READ_BYTES, Wait};
use crate::storage::{File, is_device_error, read_exact_at};

/// Records up to this size are read whole, in one disk access, when they are opened.
pub const WHOLE_READ_BYTES: u64 = 256 * 1024;

/// Reads that the device may fail before the volume refuses writes.
const QUARANTINE_DEVICE_ERRORS: u64 = 3;

/// A needle found and vouched for. It stays readable whatever happens to its volume.
pub struct StoredNeedle {
    shared: Arc<Shared>,
    offset: NeedleOffset,
    header: NeedleHeader,
    meta: Meta,
    data: Data,
}

enum Data {
    /// Read and checked already.
    Whole(Bytes),
    /// Read and checked block by block, as asked.
    OnDisk { file: Arc<dyn File>, starts_at: u64, trailer: Trailer },
}

/// Why a record was not read.
enum ReadError {
    Io(io::Error),
    Format(FormatError),
}

impl StoredNeedle {
    /// Finds the live needle of `key` and checks its cookie.
    pub(super) fn open(shared: &Arc<Shared>, key: Key, cookie: Cookie) -> Result<Self, StoreError> {
        Self::find(shared, key, cookie, WHOLE_READ_BYTES)
    }

    /// Like [`StoredNeedle::open`], but reads only what is around the data.
    pub(super) fn stat(shared: &Arc<Shared>, key: Key, cookie: Cookie) -> Result<Self, StoreError> {
        Self::find(shared, key, cookie, 0)
    }

    fn find(
        shared: &Arc<Shared>,
        key: Key,
        cookie: Cookie,
        whole_read_bytes: u64,
    ) -> Result<Self, StoreError> {
        let located = shared.locate_live(key)?;
        let offset = located.entry.offset;
        let foreground = &shared.options.pace.foreground;
        let read = foreground.time(Wait::Read, || read_record(&located, key, whole_read_bytes));
        let read = read.map_err(|error| shared.read_error(error, key, offset))?;
        let (header, meta, data) = read;
        if header.cookie != cookie {
            return Err(StoreError::NotFound);
        }
        Ok(Self { shared: Arc::clone(shared), offset, header, meta, data })
    }

    /// The needle's header.
    pub fn header(&self) -> &NeedleHeader {
        &self.header
    }

    /// What the needle says of itself.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Bytes of data.
    pub fn size(&self) -> u64 {
        self.header.data_size.into()
    }

    /// When the needle was stored.
    pub fn appended_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.header.appended_ns)
    }

    /// The bytes of `range` if they are in memory already, so that reading them cannot block.
    pub fn in_memory(&self, range: &Range<u64>) -> Option<Bytes> {
        match &self.data {
            Data::Whole(data) => Some(slice(data, range)),
            Data::OnDisk { .. } => None,
        }
    }

    /// The bytes of `range`, clamped to the data, all of them checked.
    pub fn read(&self, range: &Range<u64>) -> Result<Bytes, StoreError> {
        let end = range.end.min(self.size());
        let range = range.start.min(end)..end;
        match &self.data {
            Data::Whole(data) => Ok(slice(data, &range)),
            Data::OnDisk { file, starts_at, trailer } => {
                let read = || read_blocks(&**file, *starts_at, trailer, &self.header, &range);
                let read = if range.end - range.start > TELLING_READ_BYTES {
                    read()
                } else {
                    self.shared.options.pace.foreground.time(Wait::Read, read)
                };
                read.map_err(|error| self.shared.read_error(error, self.header.key, self.offset))
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
) -> Result<(NeedleHeader, Meta, Data), ReadError> {
    let Located { file, salt, entry } = located;
    if entry.record_bytes() <= whole_read_bytes {
        return read_whole(&**file, *salt, key, entry.offset, entry.record_bytes());
    }
    let header = read_header(&**file, *salt, key, entry.offset, entry.record_bytes())?;
    let starts_at = entry.offset.bytes() + HEADER_BYTES as u64;
    let behind = u64::from(header.meta_size) + trailer_bytes(header.data_size);
    let rest = read(&**file, behind, starts_at + u64::from(header.data_size))?;
    let (meta, trailer) = rest.split_at(header.meta_size as usize);
    let trailer = Trailer::from_bytes(trailer, header.data_size, header.body_crc)?;
    trailer.verify_meta(meta)?;
    let meta = Meta::from_bytes(meta)?;
    Ok((header, meta, Data::OnDisk { file: Arc::clone(file), starts_at, trailer }))
}

fn read_whole(
    file: &dyn File,
    salt: Salt,
    key: Key,
    offset: NeedleOffset,
    record_bytes: u64,
) -> Result<(NeedleHeader, Meta, Data), ReadError> {
    let record = Bytes::from(read(file, record_bytes, offset.bytes())?);
    let header = check_header(&record, salt, key, offset, record_bytes)?;
    let body = Body::parse(&header, &record)?;
    body.verify()?;
    let meta = Meta::from_bytes(body.meta)?;
    let data = record.slice(HEADER_BYTES..HEADER_BYTES + header.data_size as usize);
    Ok((header, meta, Data::Whole(data)))
}

/// Reads the header of the record that the index knows at `offset`.
fn read_header(
    file: &dyn File,
    salt: Salt,
    key: Key,
    offset: NeedleOffset,
    record_bytes: u64,
) -> Result<NeedleHeader, ReadError> {
    let bytes = read(file, HEADER_BYTES as u64, offset.bytes())?;
    Ok(check_header(&bytes, salt, key, offset, record_bytes)?)
}

fn check_header(
    bytes: &[u8],
    salt: Salt,
    key: Key,
    offset: NeedleOffset,
    record_bytes: u64,
) -> Result<NeedleHeader, FormatError> {
    let header = NeedleHeader::from_bytes(bytes, salt, offset)?;
    if header.kind != Kind::Data || header.key != key || header.record_bytes() != record_bytes {
        return Err(FormatError::Field { what: "needle where the index points" });
    }
    Ok(header)
}

fn read_blocks(
    file: &dyn File,
    starts_at: u64,
    trailer: &Trailer,
    header: &NeedleHeader,
    range: &Range<u64>,
) -> Result<Bytes, ReadError> {
    let blocks = covering_blocks(range, header.data_size);
    let bytes = Bytes::from(read(file, blocks.end - blocks.start, starts_at + blocks.start)?);
    let first_block = usize::try_from(blocks.start).unwrap_or(usize::MAX) / BLOCK_BYTES;
    trailer.verify_blocks(first_block, &bytes)?;
    Ok(slice(&bytes, &(range.start - blocks.start..range.end - blocks.start)))
}

fn read(file: &dyn File, len: u64, offset: u64) -> Result<Vec<u8>, ReadError> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    read_exact_at(file, len, offset).map_err(|error| match error.kind() {
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
        match read_header(&*file, salt, key, entry.offset, entry.record_bytes()) {
            Ok(header) => Ok(Some(header)),
            Err(ReadError::Format(_)) => Ok(None),
            Err(ReadError::Io(error)) => Err(StoreError::io(self.id, error)),
        }
    }
}
