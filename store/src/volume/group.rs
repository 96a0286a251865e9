//! What goes into a volume with one write and one sync.

use std::io;
use std::ops::Range;

use hashbrown::HashMap;
use tokio::sync::oneshot;

use super::digest::content;
use super::live::{Live, Located, Shared};
use super::record::{Body, Place, Prepared};
use super::transfer::CopiedIn;
use crate::error::StoreError;
use crate::format::NeedleOffset;
use crate::format::index::Entry;
use crate::format::needle::{BatchPlace, HEADER_BYTES, Kind, NeedleHeader};
use crate::id::Key;
use crate::storage::{is_device_error, read_exact_at};

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// Records encoded one after another, and what they will change once they are durable.
pub(super) struct Group {
    pub buffer: Vec<u8>,
    changes: Vec<Staged>,
    /// The newest change of each key in this group.
    keys: HashMap<Key, usize>,
    puts: Vec<Reply<()>>,
    deletes: Vec<(Reply<bool>, bool)>,
    copies: Vec<(Reply<CopiedIn>, CopiedIn)>,
    synced_end: NeedleOffset,
    /// One for every batch, rising, because recovery tells batches apart by it.
    appended_ns: u64,
}

struct Staged {
    header: NeedleHeader,
    in_buffer: Range<usize>,
    entry: Entry,
    change: Change,
}

/// What a record changes.
#[derive(Clone, Copy)]
pub(super) enum Change {
    /// A needle of a key that had none.
    Put,
    /// A needle in place of one that is damaged: its record's size, and its part of the digest if known.
    Repair { record_bytes: u64, content: Option<u128> },
    /// The end of a live needle.
    Delete { record_bytes: u64, content: Option<u128> },
    /// A tombstone for a key that this volume has never seen.
    DeleteUnknown,
    /// A record that never happened.
    Abort,
}

/// What a volume lacks of another replica's record.
enum Missing {
    Nothing,
    /// The two hold different things under one key, and neither may be the right one.
    Agreement,
    /// The record, which makes this change.
    Record(Change),
}

impl Group {
    pub fn new(mut buffer: Vec<u8>, synced_end: NeedleOffset, appended_ns: u64) -> Self {
        buffer.clear();
        Self {
            buffer,
            changes: Vec::new(),
            keys: HashMap::new(),
            puts: Vec::new(),
            deletes: Vec::new(),
            copies: Vec::new(),
            synced_end,
            appended_ns,
        }
    }

    /// Those of `needles` that are not stored already; a retry finds all of them stored.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if one of the keys has other content, or is deleted.
    pub fn missing<'a>(
        &self,
        shared: &Shared,
        needles: &'a [Prepared],
    ) -> Result<Vec<&'a Prepared>, StoreError> {
        let mut missing: Vec<&Prepared> = Vec::with_capacity(needles.len());
        for needle in needles {
            if missing.iter().any(|other| other.key == needle.key) {
                return Err(StoreError::Malformed(format!(
                    "key {} comes twice in one batch",
                    needle.key
                )));
            }
            if !self.has(shared, needle)? {
                missing.push(needle);
            }
        }
        Ok(missing)
    }

    fn has(&self, shared: &Shared, needle: &Prepared) -> Result<bool, StoreError> {
        let conflict = StoreError::Conflict { volume: shared.id, key: needle.key };
        if let Some(staged) = self.staged(needle.key) {
            return if self.same_as_staged(staged, needle) { Ok(true) } else { Err(conflict) };
        }
        match shared.locate(needle.key) {
            None => Ok(false),
            Some(located) if located.entry.is_tombstone() => Err(conflict),
            Some(located) => match stored_content(shared, &located, needle)? {
                Stored::Same => Ok(true),
                Stored::Other => Err(conflict),
                Stored::Damaged => Ok(false),
            },
        }
    }

    fn same_as_staged(&self, staged: &Staged, needle: &Prepared) -> bool {
        let record = self.buffer.get(staged.in_buffer.clone()).unwrap_or_default();
        needle.same_content(&staged.header)
            && Body::parse(&staged.header, record).is_ok_and(|body| needle.same_body(&body))
    }

    fn staged(&self, key: Key) -> Option<&Staged> {
        self.changes.get(*self.keys.get(&key)?)
    }

    /// Adds needles as one batch. Room has been made, and none of them is stored.
    pub fn put(&mut self, shared: &Shared, needles: &[&Prepared]) -> Result<(), StoreError> {
        let len = u16::try_from(needles.len()).map_err(|_| too_many())?;
        // What can fail comes before the first append: a batch goes in whole.
        let changes: Vec<Change> = needles
            .iter()
            .map(|needle| put_or_repair(shared, needle.key))
            .collect::<Result<_, _>>()?;
        // A batch has a time of its own.
        self.appended_ns += 1;
        for (index, (needle, change)) in (0..len).zip(needles.iter().zip(changes)) {
            self.append_batched(shared, needle, change, BatchPlace { index, len })?;
        }
        Shared::count(&shared.counters.puts, needles.len() as u64);
        Ok(())
    }

    /// Adds a tombstone, and tells whether there was anything to delete. A key that nobody
    /// has seen gets one too, so that a put which is still on its way finds the key taken.
    pub fn delete(
        &mut self,
        shared: &Shared,
        tombstone: &Prepared,
        known: Option<u128>,
    ) -> Result<bool, StoreError> {
        if let Some(staged) = self.staged(tombstone.key) {
            let header = staged.header;
            return match staged.change {
                Change::Put | Change::Repair { .. } if header.cookie == tombstone.cookie => {
                    let (record_bytes, content) = (header.record_bytes(), Some(content(&header)));
                    self.append(shared, tombstone, Change::Delete { record_bytes, content })?;
                    Ok(true)
                }
                _ => Ok(false),
            };
        }
        match shared.locate(tombstone.key) {
            Some(located) if located.entry.is_tombstone() => Ok(false),
            Some(located) => {
                let content = match known {
                    Some(content) => Some(content),
                    // It was not there yet when the caller looked.
                    None => match shared.header_of(tombstone.key)? {
                        Some(header) if header.cookie != tombstone.cookie => return Ok(false),
                        header => header.map(|header| content(&header)),
                    },
                };
                let record_bytes = located.entry.record_bytes();
                self.append(shared, tombstone, Change::Delete { record_bytes, content })?;
                Shared::count(&shared.counters.deletes, 1);
                Ok(true)
            }
            None => {
                self.append(shared, tombstone, Change::DeleteUnknown)?;
                Ok(false)
            }
        }
    }

    /// Adds a record of another replica if it is missing here, and counts what came of it.
    pub fn copy(
        &mut self,
        shared: &Shared,
        record: &Prepared,
        copied: &mut CopiedIn,
    ) -> Result<(), StoreError> {
        let change = match self.missing_copy(shared, record)? {
            Missing::Nothing => return Ok(()),
            Missing::Agreement => {
                tracing::error!(volume = %shared.id, key = %record.key, "another replica holds something else under this key: both are kept");
                copied.conflicts += 1;
                return Ok(());
            }
            Missing::Record(change) => change,
        };
        match change {
            Change::Put => copied.needles += 1,
            Change::Repair { .. } => copied.repaired += 1,
            Change::Delete { .. } | Change::DeleteUnknown | Change::Abort => copied.tombstones += 1,
        }
        copied.bytes += record.record_bytes();
        self.append(shared, record, change)
    }

    fn missing_copy(&self, shared: &Shared, record: &Prepared) -> Result<Missing, StoreError> {
        // Whoever is just putting or deleting it does so on the other replica too.
        if self.staged(record.key).is_some() {
            return Ok(Missing::Nothing);
        }
        let is_needle = record.kind() == Kind::Data;
        let Some(located) = shared.locate(record.key) else {
            let change = if is_needle { Change::Put } else { Change::DeleteUnknown };
            return Ok(Missing::Record(change));
        };
        let record_bytes = located.entry.record_bytes();
        if located.entry.is_tombstone() {
            return Ok(Missing::Nothing);
        }
        if is_needle {
            return Ok(match readable(stored_content(shared, &located, record))? {
                Some(Stored::Same) => Missing::Nothing,
                Some(Stored::Other) => Missing::Agreement,
                Some(Stored::Damaged) | None => {
                    Missing::Record(Change::Repair { record_bytes, content: None })
                }
            });
        }
        let header = readable(shared.header_of(record.key))?.flatten();
        if header.is_some_and(|header| header.cookie != record.cookie) {
            return Ok(Missing::Agreement);
        }
        let content = header.map(|header| content(&header));
        Ok(Missing::Record(Change::Delete { record_bytes, content }))
    }

    /// Adds one record that is no batch's.
    pub fn append(
        &mut self,
        shared: &Shared,
        record: &Prepared,
        change: Change,
    ) -> Result<(), StoreError> {
        self.appended_ns += 1;
        self.append_batched(shared, record, change, BatchPlace::ALONE)
    }

    fn append_batched(
        &mut self,
        shared: &Shared,
        record: &Prepared,
        change: Change,
        batch: BatchPlace,
    ) -> Result<(), StoreError> {
        let live = shared.live.read();
        let at = live.end.bytes() + self.buffer.len() as u64;
        let offset = NeedleOffset::from_bytes(at).ok_or(StoreError::VolumeFull(shared.id))?;
        let place =
            Place { offset, appended_ns: self.appended_ns, synced_end: self.synced_end, batch };
        let start = self.buffer.len();
        let header = record.encode(&mut self.buffer, live.salt, place);
        let in_buffer = start..self.buffer.len();
        let entry = match change {
            Change::Put | Change::Repair { .. } => Entry::of_record(offset, header.record_bytes()),
            Change::Delete { .. } | Change::DeleteUnknown | Change::Abort => {
                Entry::tombstone(offset)
            }
        };
        self.keys.insert(record.key, self.changes.len());
        self.changes.push(Staged { header, in_buffer, entry, change });
        Ok(())
    }

    pub fn answer_put(&mut self, reply: Reply<()>) {
        self.puts.push(reply);
    }

    pub fn answer_delete(&mut self, reply: Reply<bool>, existed: bool) {
        self.deletes.push((reply, existed));
    }

    pub fn answer_copy(&mut self, reply: Reply<CopiedIn>, copied: CopiedIn) {
        self.copies.push((reply, copied));
    }

    /// How many wait for the group.
    pub fn answers(&self) -> usize {
        self.puts.len() + self.deletes.len() + self.copies.len()
    }

    /// Shows the group to readers.
    pub fn publish(&self, live: &mut Live, end: NeedleOffset) {
        for staged in &self.changes {
            staged.publish(live);
        }
        live.last_append_ns = self.appended_ns;
        live.end = end;
    }

    /// Tells everybody how it went, and gives the buffer back.
    pub fn finish(self, result: &Result<(), StoreError>) -> Vec<u8> {
        // Whoever no longer waits needs no answer.
        for reply in self.puts {
            let _ = reply.send(result.clone());
        }
        for (reply, existed) in self.deletes {
            let _ = reply.send(result.clone().map(|()| existed));
        }
        for (reply, copied) in self.copies {
            let _ = reply.send(result.clone().map(|()| copied));
        }
        self.buffer
    }
}

impl Staged {
    fn publish(&self, live: &mut Live) {
        let Self { header, entry, change, .. } = self;
        match *change {
            // Recovery has not believed the record that this one takes back.
            Change::Abort => return,
            Change::Put => {}
            Change::Repair { record_bytes, content: known } => {
                // A key has one content: what cannot be read any more was the same.
                let same = (record_bytes == entry.record_bytes()).then(|| content(header));
                live.totals.remove(record_bytes, known.or(same));
            }
            Change::Delete { record_bytes, content } => {
                live.totals.remove(record_bytes, content);
                live.totals.add_tombstone(header);
            }
            Change::DeleteUnknown => live.totals.add_tombstone(header),
        }
        if let Change::Put | Change::Repair { .. } = change {
            live.totals.add(entry.record_bytes(), content(header));
        }
        live.index.insert(header.key, *entry);
    }
}

fn put_or_repair(shared: &Shared, key: Key) -> Result<Change, StoreError> {
    let Some(located) = shared.locate(key) else { return Ok(Change::Put) };
    let content = shared.header_of(key)?.map(|header| content(&header));
    Ok(Change::Repair { record_bytes: located.entry.record_bytes(), content })
}

enum Stored {
    Same,
    Other,
    Damaged,
}

/// Compares a needle with the one stored under its key, byte for byte.
fn stored_content(
    shared: &Shared,
    located: &Located,
    needle: &Prepared,
) -> Result<Stored, StoreError> {
    let Located { file, salt, entry } = located;
    let len = usize::try_from(entry.record_bytes()).unwrap_or(usize::MAX);
    let record = match read_exact_at(&**file, len, entry.offset.bytes()) {
        Ok(record) => record,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Stored::Damaged),
        Err(error) => return Err(StoreError::io(shared.id, error)),
    };
    let Ok(header) = NeedleHeader::from_bytes(&record, *salt, entry.offset) else {
        return Ok(Stored::Damaged);
    };
    if !needle.same_content(&header) {
        return Ok(Stored::Other);
    }
    debug_assert!(record.len() >= HEADER_BYTES);
    match Body::parse(&header, &record) {
        Ok(body) if body.verify().is_ok() => {
            Ok(if needle.same_body(&body) { Stored::Same } else { Stored::Other })
        }
        _ => Ok(Stored::Damaged),
    }
}

/// `None` where the device fails to read it.
fn readable<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Io { source, .. }) if is_device_error(&source) => Ok(None),
        read => read.map(Some),
    }
}

fn too_many() -> StoreError {
    StoreError::Malformed("too many needles in one batch".to_owned())
}
