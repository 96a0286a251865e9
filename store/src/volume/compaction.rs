//! Copying what is alive into a new file while everything goes on.
//!
//! The bulk is copied beside the running writer; what was appended meanwhile is copied
//! in rounds that get shorter, and the last one is done by the writer itself, so
//! nothing can be appended between it and the swap. Before the old file goes, the new
//! one is proved: same number of live needles, same bytes, same digest, synced, and read
//! back from the disk record by record. The rename is the one commit point; a crash before
//! it leaves the old file, a crash after it the new one, and recovery clears the other away.

mod proof;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use self::proof::Proof;
use super::digest::{Totals, content};
use super::files;
use super::live::{Live, Shared};
use super::progress::Progress;
use super::record::{Body, pad};
use super::scanner::{Found, Scanner};
use super::writer::{TOMBSTONE_RESERVE_BYTES, Writer};
use crate::error::StoreError;
use crate::format::index::{Entry, most_file_bytes};
use crate::format::needle::{BatchPlace, HEADER_BYTES, Kind, NeedleHeader};
use crate::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use crate::format::{NeedleOffset, Salt};
use crate::id::Key;
use crate::index::{self, Index, Sealed};
use crate::storage::{File, is_disk_full, read_exact_at, write_all_at};

/// Copied in one write.
const STEP_BYTES: usize = 1 << 20;
/// When less than this is left to copy, the writer does the rest.
const LAST_ROUND_BYTES: u64 = 4 << 20;
/// Rounds beside the writer, after which it does the rest however much that is.
const MAX_ROUNDS: u32 = 8;
/// Synced after this much, or the kernel would gather gigabytes, and clients' syncs wait for all of them.
const SYNC_EVERY_BYTES: u64 = 16 << 20;

/// What a cancelled compaction ends with.
const CANCELLED: StoreError = StoreError::Busy { what: "a compaction that was cancelled" };

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Compacted {
    /// Size of the volume file before.
    pub before_bytes: u64,
    /// Size of the volume file after.
    pub after_bytes: u64,
    /// Needles copied.
    pub live_needles: u64,
    /// Needles copied as they are although damaged, so that they go on answering as damaged.
    pub damaged_needles: u64,
}

/// A new generation of a volume file on its way.
pub(super) struct Copy {
    shared: Arc<Shared>,
    progress: Progress,
    superblock: Superblock,
    salt: Salt,
    file: Arc<dyn File>,
    /// Of the source: everything below has been copied.
    copied_to: NeedleOffset,
    /// Of the copy: where the next record goes.
    end: u64,
    /// Of the copy: everything below has been synced.
    synced: u64,
    buffer: Vec<u8>,
    /// Until the copy is sealed, its entries are a list.
    unsealed: Option<Vec<(Key, Entry)>>,
    /// Afterwards they come one by one.
    index: Index,
    totals: Totals,
    proof: Proof,
    last_append_ns: u64,
    /// Tombstones from before this time are dropped.
    keep_tombstones_from_ns: u64,
}

/// Compacts a volume: all but the last round, which [`Copy::finish`] does on the writer's thread.
pub(super) fn copy(shared: &Arc<Shared>, progress: &Progress) -> Result<Copy, StoreError> {
    shared.check_deletes()?;
    let mut copy = Copy::begin(shared, progress)?;
    let result = copy.copy_rounds();
    if result.is_err() {
        copy.discard();
    }
    result.map(|()| copy)
}

impl Copy {
    fn begin(shared: &Arc<Shared>, progress: &Progress) -> Result<Self, StoreError> {
        let id = shared.id;
        let (superblock, totals) = {
            let live = shared.live.read();
            let created_ms = u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX);
            let generation = live.superblock.generation + 1;
            (Superblock { generation, created_ms, ..live.superblock.clone() }, live.totals)
        };
        // Written once, and read back once.
        progress.expect(totals.live_bytes.saturating_mul(2));
        let _ = shared.disk.remove(&files::compacting(id));
        let file = shared
            .disk
            .create(&files::compacting(id))
            .map_err(|error| StoreError::io(id, error))?;
        let copy = Self {
            shared: Arc::clone(shared),
            progress: progress.clone(),
            salt: superblock.salt(),
            superblock,
            file,
            copied_to: NeedleOffset::from_bytes(SUPERBLOCK_BYTES as u64).unwrap_or_default(),
            end: SUPERBLOCK_BYTES as u64,
            synced: 0,
            buffer: Vec::with_capacity(STEP_BYTES),
            unsealed: Some(Vec::new()),
            index: Index::default(),
            totals: Totals::default(),
            proof: Proof::default(),
            last_append_ns: 0,
            keep_tombstones_from_ns: keep_tombstones_from_ns(shared),
        };
        copy.reserve(totals).inspect_err(|_| copy.discard())?;
        Ok(copy)
    }

    /// Sets the space aside first: a copy is never begun that the disk cannot hold.
    fn reserve(&self, totals: Totals) -> Result<(), StoreError> {
        let bytes = totals.used_bytes().saturating_add(LAST_ROUND_BYTES);
        let entries = totals.live_needles + totals.tombstones;
        let needed = bytes.saturating_add(most_file_bytes(entries));
        let space = self.shared.disk.space().map_err(|error| self.io(error))?;
        if space.free_bytes < needed.saturating_add(self.shared.options.min_free_bytes) {
            return Err(StoreError::DiskFull(self.shared.id));
        }
        self.file.allocate(0, bytes).map_err(|error| self.io(error))?;
        write_all_at(&*self.file, &self.superblock.to_bytes(), 0).map_err(|error| self.io(error))
    }

    fn copy_rounds(&mut self) -> Result<(), StoreError> {
        for round in 0..MAX_ROUNDS {
            let end = self.shared.live.read().end;
            if round > 0 && end.bytes() - self.copied_to.bytes() < LAST_ROUND_BYTES {
                break;
            }
            // Only the bulk keeps to the pace: clients might append faster than that for ever.
            self.copy_range(end, round == 0)?;
            if round == 0 {
                self.seal()?;
            }
            self.file.sync().map_err(|error| self.io(error))?;
            self.prove_copied(round == 0)?;
        }
        Ok(())
    }

    /// Copies what is alive between what was copied before and `end`, in the file's order.
    fn copy_range(&mut self, end: NeedleOffset, paced: bool) -> Result<(), StoreError> {
        let (file, salt) = self.source();
        let pace = Arc::clone(&self.shared.options.pace);
        let mut step = pace.compaction.begin();
        let mut step_at = self.copied_to.bytes();
        let mut scanner = Scanner::new(&*file, salt, step_at..end.bytes());
        while let Some(found) = scanner.next() {
            let done_to = match found.map_err(|error| self.io(error))? {
                Found::Record { offset, header } => {
                    self.copy_record(&mut scanner, offset, header)?;
                    offset.bytes() + header.record_bytes()
                }
                Found::Damage(range) => {
                    self.copy_damaged(&*file, &range)?;
                    range.end
                }
            };
            if scanner.met_device_error() {
                // Nothing is left behind for good that a better day may still read.
                return Err(self.io(rustix::io::Errno::IO.into()));
            }
            if paced && done_to - step_at >= STEP_BYTES as u64 {
                self.sync_some()?;
                drop(step);
                if !pace.compaction.wait(done_to - step_at, &self.progress) {
                    return Err(CANCELLED);
                }
                (step, step_at) = (pace.compaction.begin(), done_to);
            }
        }
        drop(step);
        self.flush()?;
        self.copied_to = end;
        Ok(())
    }

    fn source(&self) -> (Arc<dyn File>, Salt) {
        let live = self.shared.live.read();
        (Arc::clone(&live.file), live.salt)
    }

    fn copy_record(
        &mut self,
        scanner: &mut Scanner<'_>,
        offset: NeedleOffset,
        header: NeedleHeader,
    ) -> Result<(), StoreError> {
        self.last_append_ns = self.last_append_ns.max(header.appended_ns);
        let newest = self.shared.live.read().index.get(header.key);
        let is_newest = newest.is_some_and(|entry| entry.offset == offset);
        match header.kind {
            Kind::Data if is_newest => {
                let record = scanner.record(offset, &header).map_err(|error| self.io(error))?;
                self.copy_data(&record, offset, &header)
            }
            Kind::Tombstone if is_newest => {
                let record = scanner.record(offset, &header).map_err(|error| self.io(error))?;
                self.copy_tombstone(&record, &header)
            }
            // Deleted, repaired or aborted since.
            Kind::Data | Kind::Tombstone | Kind::Abort => Ok(()),
        }
    }

    fn copy_data(
        &mut self,
        record: &[u8],
        offset: NeedleOffset,
        header: &NeedleHeader,
    ) -> Result<(), StoreError> {
        let body = record.get(HEADER_BYTES..).unwrap_or_default();
        if Body::parse(header, record).and_then(|body| body.verify()).is_err() {
            self.proof.expect_damage(self.end..self.end + header.record_bytes());
            tracing::error!(volume = %self.shared.id, key = %header.key, %offset, "compaction met a damaged needle and keeps it");
        }
        if let Some(damaged) = self.copied(header.key) {
            // Repaired since the damaged one was copied.
            let content = self.content_of(header.key, damaged)?;
            self.totals.remove(damaged.record_bytes(), content);
        }
        let entry = self.put_record(header, body)?;
        self.totals.add(header.record_bytes(), content(header));
        self.proof.expect_needle(header);
        self.note(header.key, entry);
        if self.progress.advance(header.record_bytes()) { Ok(()) } else { Err(CANCELLED) }
    }

    /// A tombstone goes on saying which name it removed. Should that be damaged, it still deletes.
    fn copy_tombstone(&mut self, record: &[u8], header: &NeedleHeader) -> Result<(), StoreError> {
        if let Some(old) = self.copied(header.key) {
            let content = self.content_of(header.key, old)?;
            self.totals.remove(old.record_bytes(), content);
        } else if header.appended_ns < self.keep_tombstones_from_ns {
            return Ok(());
        }
        let entry = self.put_record(header, record.get(HEADER_BYTES..).unwrap_or_default())?;
        self.totals.add_tombstone(header);
        self.proof.expect_tombstone(header);
        self.note(header.key, Entry::tombstone(entry.offset));
        Ok(())
    }

    /// Live needles whose headers are unreadable are copied as they are: they go on
    /// answering as damaged, and whoever can repair them still knows of them.
    fn copy_damaged(&mut self, file: &dyn File, damage: &Range<u64>) -> Result<(), StoreError> {
        let lost: Vec<(Key, Entry)> = {
            let live = self.shared.live.read();
            let within =
                |entry: &Entry| !entry.is_tombstone() && damage.contains(&entry.offset.bytes());
            live.index.entries().filter(|(_, entry)| within(entry)).collect()
        };
        for (key, entry) in lost {
            let len = usize::try_from(entry.record_bytes()).unwrap_or(usize::MAX);
            let record =
                read_exact_at(file, len, entry.offset.bytes()).map_err(|error| self.io(error))?;
            let offset = self.next_offset()?;
            self.buffer.extend_from_slice(&record);
            self.proof.expect_damage(self.end..self.end + record.len() as u64);
            self.end += record.len() as u64;
            self.totals.live_needles += 1;
            self.totals.live_bytes += entry.record_bytes();
            self.totals.digest_exact = false;
            self.note(key, Entry { offset, ..entry });
            tracing::error!(volume = %self.shared.id, %key, offset = %entry.offset, "compaction met a needle without a readable header and keeps its bytes");
        }
        self.flush()
    }

    /// Appends a record with a header made for its new place.
    fn put_record(&mut self, header: &NeedleHeader, body: &[u8]) -> Result<Entry, StoreError> {
        let offset = self.next_offset()?;
        // The whole file is synced before it is used, so all of it counts as acknowledged.
        let synced_end = offset;
        let header = NeedleHeader { synced_end, batch: BatchPlace::ALONE, ..*header };
        let start = self.buffer.len() as u64;
        self.buffer.extend_from_slice(&header.to_bytes(self.salt, offset));
        self.buffer.extend_from_slice(body);
        pad(&mut self.buffer, start);
        self.end += self.buffer.len() as u64 - start;
        if self.buffer.len() >= STEP_BYTES {
            self.flush()?;
        }
        Ok(Entry::of_record(offset, header.record_bytes()))
    }

    fn next_offset(&self) -> Result<NeedleOffset, StoreError> {
        NeedleOffset::from_bytes(self.end).ok_or(StoreError::VolumeFull(self.shared.id))
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let at = self.end - self.buffer.len() as u64;
        write_all_at(&*self.file, &self.buffer, at).map_err(|error| self.io(error))?;
        self.buffer.clear();
        Ok(())
    }

    /// Gives the disk what was written, in pieces that nobody minds.
    fn sync_some(&mut self) -> Result<(), StoreError> {
        let written = self.end - self.buffer.len() as u64;
        if written - self.synced >= SYNC_EVERY_BYTES {
            self.file.sync().map_err(|error| self.io(error))?;
            self.synced = written;
        }
        Ok(())
    }

    fn note(&mut self, key: Key, entry: Entry) {
        match &mut self.unsealed {
            Some(entries) => entries.push((key, entry)),
            None => self.index.insert(key, entry),
        }
    }

    /// The live needle of `key` in the copy.
    fn copied(&self, key: Key) -> Option<Entry> {
        self.index.get(key).filter(|entry| !entry.is_tombstone())
    }

    fn content_of(&self, key: Key, entry: Entry) -> Result<Option<u128>, StoreError> {
        let written = self.end - self.buffer.len() as u64;
        let header = match entry.offset.bytes().checked_sub(written) {
            Some(at) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                self.buffer.get(at..).unwrap_or_default().to_vec()
            }
            None => read_exact_at(&*self.file, HEADER_BYTES, entry.offset.bytes())
                .map_err(|error| self.io(error))?,
        };
        let header = NeedleHeader::from_bytes(&header, self.salt, entry.offset).ok();
        Ok(header.filter(|header| header.key == key).map(|header| content(&header)))
    }

    /// Writes the index file of the bulk, under the new generation's name.
    fn seal(&mut self) -> Result<(), StoreError> {
        self.file.sync().map_err(|error| self.io(error))?;
        let mut entries = self.unsealed.take().unwrap_or_default();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let head = self.as_live(Index::default())?.index_head();
        let name = files::index(self.shared.id, self.superblock.generation);
        let written = index::write_sealed(
            &*self.shared.disk,
            &name,
            head,
            entries.into_iter(),
            &self.superblock,
        );
        let sealed: Sealed = written.map_err(|error| self.io(error.into()))?;
        self.index = Index::new(sealed);
        Ok(())
    }

    fn as_live(&self, index: Index) -> Result<Live, StoreError> {
        Ok(Live {
            file: Arc::clone(&self.file),
            superblock: self.superblock.clone(),
            salt: self.salt,
            index,
            totals: self.totals,
            end: self.next_offset()?,
            last_append_ns: self.last_append_ns,
        })
    }

    /// The last round, the proof and the swap. Runs where nothing else can be appended.
    pub(super) fn finish(mut self, writer: &mut Writer) -> Result<Compacted, StoreError> {
        match self.prepare_swap(writer) {
            Ok(done) => {
                self.swap(writer)?;
                Ok(done)
            }
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    fn prepare_swap(&mut self, writer: &mut Writer) -> Result<Compacted, StoreError> {
        writer.sync_published()?;
        let end = self.shared.live.read().end;
        self.copy_range(end, false)?;
        self.file.set_len(self.end).map_err(|error| self.io(error))?;
        // The new file must take deletes on a full disk, as the old one does.
        self.file.allocate(self.end, TOMBSTONE_RESERVE_BYTES).map_err(|error| self.io(error))?;
        self.file.sync().map_err(|error| self.io(error))?;
        self.prove_copied(false)?;
        let before = self.shared.live.read().totals;
        self.compare(before)?;
        if before.digest_exact {
            // What a needle with an unreadable header adds cannot be told any more, but the
            // sum can: the copy holds just what the original does.
            (self.totals.digest, self.totals.digest_exact) = (before.digest, true);
        }
        Ok(Compacted {
            before_bytes: end.bytes(),
            after_bytes: self.end,
            live_needles: self.totals.live_needles,
            damaged_needles: self.proof.damaged_needles(),
        })
    }

    /// The copy must hold just what the original holds.
    fn compare(&self, before: Totals) -> Result<(), StoreError> {
        let after = self.totals;
        let exact = before.digest_exact && after.digest_exact;
        let same = before.live_needles == after.live_needles
            && before.live_bytes == after.live_bytes
            && (!exact || before.digest == after.digest);
        if same {
            return Ok(());
        }
        tracing::error!(volume = %self.shared.id, ?before, ?after, "a compacted copy differs from its original and is thrown away");
        Err(self.io(std::io::Error::other("the compacted copy differs from the original")))
    }

    /// Once the rename has begun, only its success is certain: an error fails the volume.
    fn swap(self, writer: &mut Writer) -> Result<(), StoreError> {
        let Self { shared, .. } = &self;
        let (disk, id) = (Arc::clone(&shared.disk), shared.id);
        let renamed =
            disk.rename(&files::compacting(id), &files::volume(id)).and_then(|()| disk.sync());
        renamed.map_err(|error| writer.fail("rename of a compacted copy", &error))?;
        let old = self.superblock.generation - 1;
        let live = self.as_live(Index::default())?;
        writer.replace(Live { index: self.index, ..live });
        // Should this fail, the next start removes it.
        let _ = disk.remove(&files::index(id, old));
        Ok(())
    }

    /// Removes what was written. What cannot be removed now is removed at the next start.
    fn discard(&self) {
        let id = self.shared.id;
        let _ = self.shared.disk.remove(&files::compacting(id));
        let _ = self.shared.disk.remove(&files::index(id, self.superblock.generation));
    }

    fn io(&self, error: std::io::Error) -> StoreError {
        if is_disk_full(&error) {
            StoreError::DiskFull(self.shared.id)
        } else {
            StoreError::io(self.shared.id, error)
        }
    }
}

/// A tombstone goes when it is old enough, so that no put of its needle is on its way any more.
/// Another replica that has not got it yet would give the needle back, so it must be confirmed too.
pub(super) fn keep_tombstones_from_ns(shared: &Shared) -> u64 {
    let old_enough = unix_time().saturating_sub(shared.options.tombstone_retention).as_nanos();
    let old_enough = u64::try_from(old_enough).unwrap_or(u64::MAX);
    if shared.options.replicated {
        let confirmed = shared.confirmed_ns.load(Ordering::Acquire);
        old_enough.min(confirmed.saturating_add(1))
    } else {
        old_enough
    }
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
}
