//! What one replica of a volume tells and gives another.
//!
//! A listing is read page by page beside everything that goes on. What is put, deleted or
//! compacted meanwhile is told or not: the next sync tells it.

use std::collections::HashSet;
use std::io;

use bytes::Bytes;

use super::live::Located;
use super::record::Prepared;
use super::writer::Command;
use super::{Answer, Progress, Volume};
use crate::error::StoreError;
use crate::format::FormatError;
use crate::format::needle::{HEADER_BYTES, Kind, MAX_META_BYTES, NeedleHeader, record_bytes};
use crate::id::{Epoch, Key};
use crate::index;
use crate::storage::{is_device_error, read_exact_at};

/// Own needles are read in steps of about this many bytes.
const CHECK_BYTES: u64 = 4 << 20;

/// Some keys of a replica, in rising order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// Bytes of the records of all live needles of the replica.
    pub live_bytes: u64,
    /// Whether the replica is still being filled itself.
    pub copying: bool,
    /// Whether more keys follow.
    pub more: bool,
    /// Keys, and the sizes of their records in bytes; 0 for a tombstone.
    pub keys: Vec<(Key, u32)>,
}

/// What a replica holds under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// A needle or a tombstone.
    Record(Prepared),
    /// Neither.
    Nothing,
    /// One of them, but damaged.
    Unreadable,
}

impl Held {
    /// Bytes of the record, if there is a readable one.
    pub fn record_bytes(&self) -> u64 {
        match self {
            Self::Record(record) => record.record_bytes(),
            Self::Nothing | Self::Unreadable => 0,
        }
    }
}

/// What came of records from another replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopiedIn {
    /// Needles that were missing.
    pub needles: u64,
    /// Tombstones that were missing.
    pub tombstones: u64,
    /// Needles that were damaged.
    pub repaired: u64,
    /// Bytes of the records of all of these.
    pub bytes: u64,
    /// Keys that hold other content here.
    pub conflicts: u64,
}

/// How this replica compares with a page of another one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What to fetch: keys, and the sizes of their records in bytes; 0 for a tombstone.
    pub wanted: Vec<(Key, u32)>,
    /// Bytes of the records that need not be fetched.
    pub settled_bytes: u64,
    /// Keys whose needles are of other sizes in the two: one of the replicas is not of this volume.
    pub conflicts: Vec<Key>,
}

impl Volume {
    /// The keys from `first` on, at most `limit` of them.
    pub fn keys(&self, first: Key, limit: usize) -> KeyPage {
        let (live_bytes, (recent, sealed)) = {
            let live = self.shared.live.read();
            (live.totals.live_bytes, live.index.snapshot_from(first))
        };
        let mut entries = index::merge_from(recent, sealed, first);
        let size = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        let keys = entries.by_ref().take(limit);
        let keys = keys.map(|(key, entry)| (key, size(entry.record_bytes()))).collect();
        KeyPage { live_bytes, copying: self.is_copying(), more: entries.next().is_some(), keys }
    }

    /// How many of `keys` can be read so that their records have no more than `limit` bytes, at
    /// least one; and how many bytes these may have.
    pub fn fitting(&self, keys: &[Key], limit: u64) -> (usize, u64) {
        let live = self.shared.live.read();
        let (mut count, mut bytes) = (0, 0);
        for key in keys {
            let most = match live.index.get(*key) {
                None => 0,
                // A tombstone's size is not in the index.
                Some(entry) if entry.is_tombstone() => record_bytes(0, MAX_META_BYTES),
                Some(entry) => entry.record_bytes(),
            };
            if count > 0 && bytes + most > limit {
                break;
            }
            (count, bytes) = (count + 1, bytes + most);
        }
        (count, bytes)
    }

    /// What is under `key`, verified.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the system failed for other reasons than a bad device.
    pub fn held(&self, key: Key) -> Result<Held, StoreError> {
        let Some(located) = self.shared.locate(key) else {
            let unsure = self.shared.index_has_gaps;
            return Ok(if unsure { Held::Unreadable } else { Held::Nothing });
        };
        let (expected, read) = if located.entry.is_tombstone() {
            (Kind::Tombstone, read_tombstone(&located))
        } else {
            (Kind::Data, read_needle(&located))
        };
        match read {
            Ok(record) if (record.kind(), record.key) == (expected, key) => {
                Ok(Held::Record(record))
            }
            Ok(_) | Err(Unread::Damaged) => Ok(Held::Unreadable),
            Err(Unread::Io(error)) if is_device_error(&error) => {
                self.shared.note_device_error(&error);
                Ok(Held::Unreadable)
            }
            Err(Unread::Io(error)) => Err(StoreError::io(self.id(), error)),
        }
    }

    /// Compares with a page of another replica. Needles that both have are taken for whole,
    /// unless the scrub knows better, or `check` has all of them read.
    ///
    /// `None` if `progress` was told to stop.
    pub fn compare(
        &self,
        page: &KeyPage,
        check: bool,
        progress: &Progress,
    ) -> Result<Option<Comparison>, StoreError> {
        let (damaged, check) = {
            let known = self.scrub_state();
            let check = check || known.more_findings > 0;
            let keys = known.findings.iter().filter_map(|finding| finding.damage.key);
            (keys.collect::<HashSet<Key>>(), check)
        };
        let pacer = &self.shared.options.pace.sync;
        let (mut comparison, mut read_bytes) = (Comparison::default(), 0);
        for &(key, theirs) in &page.keys {
            let ours = self.shared.live.read().index.get(key);
            let is_wanted = match ours {
                None => true,
                Some(entry) if entry.is_tombstone() => false,
                Some(_) if theirs == 0 => true,
                Some(entry) if entry.record_bytes() != u64::from(theirs) => {
                    comparison.conflicts.push(key);
                    false
                }
                Some(_) if damaged.contains(&key) => true,
                Some(_) if check => {
                    read_bytes += u64::from(theirs);
                    let _step = pacer.begin();
                    self.held(key)? == Held::Unreadable
                }
                Some(_) => false,
            };
            if is_wanted {
                comparison.wanted.push((key, theirs));
            } else {
                comparison.settled_bytes += u64::from(theirs);
            }
            if read_bytes >= CHECK_BYTES && !pacer.wait(std::mem::take(&mut read_bytes), progress) {
                return Ok(None);
            }
        }
        Ok(Some(comparison))
    }

    /// Takes over records of another replica, by an order of `epoch`. A needle that is deleted
    /// here stays so, and one that is whole stays as it is. Waits while the queue is full.
    pub(crate) fn copy_in(
        &self,
        epoch: Epoch,
        records: Vec<Prepared>,
    ) -> Result<Answer<CopiedIn>, StoreError> {
        self.send_waiting(|reply| Command::Copy { epoch, records, reply })
    }
}

/// Why a record was not read.
enum Unread {
    Io(io::Error),
    Damaged,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Damaged } else { Self::Io(error) }
    }
}

impl From<FormatError> for Unread {
    fn from(_: FormatError) -> Self {
        Self::Damaged
    }
}

fn read_needle(Located { file, salt, entry }: &Located) -> Result<Prepared, Unread> {
    let len = usize::try_from(entry.record_bytes()).unwrap_or(usize::MAX);
    let record = Bytes::from(read_exact_at(&**file, len, entry.offset.bytes())?);
    let header = NeedleHeader::from_bytes(&record, *salt, entry.offset)?;
    Ok(Prepared::read(&header, &record)?)
}

/// What it says of a removed name may be damaged: it still deletes.
fn read_tombstone(Located { file, salt, entry }: &Located) -> Result<Prepared, Unread> {
    let header = read_exact_at(&**file, HEADER_BYTES, entry.offset.bytes())?;
    let header = NeedleHeader::from_bytes(&header, *salt, entry.offset)?;
    let len = usize::try_from(header.record_bytes()).unwrap_or(usize::MAX);
    let record = read_exact_at(&**file, len, entry.offset.bytes())?;
    let whole = Prepared::read(&header, &record.into());
    Ok(whole.unwrap_or_else(|_| Prepared::bare_tombstone(header.key, header.cookie)))
}
