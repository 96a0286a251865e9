//! Writing the copy.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::super::digest::{Totals, content};
use super::super::files;
use super::super::live::{Live, Shared};
use super::super::progress::Progress;
use super::super::record::{Body, pad};
use super::super::scanner::{Found, Scanner};
use super::{CANCELLED, Piece, STEP_BYTES, keep_tombstones_from_ns};
use crate::error::StoreError;
use crate::format::index::Entry;
use crate::format::needle::{BatchPlace, HEADER_BYTES, Kind, NeedleHeader};
use crate::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use crate::format::{NeedleOffset, Salt};
use crate::id::Key;
use crate::index::{self, Index};
use crate::storage::{File, read_exact_at, write_all_at};

/// Handed to the prover after this much, who syncs it. Else the kernel would gather gigabytes, and
/// clients' syncs wait for all of them.
const PIECE_BYTES: u64 = 16 << 20;

/// The one that copies.
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
    /// Of the copy: everything below has been handed to the prover.
    handed_over: u64,
    /// Not handed to the prover yet; see [`Piece`].
    damaged: Vec<Range<u64>>,
    buffer: Vec<u8>,
    /// Until the copy is sealed, its entries are a list.
    unsealed: Option<Vec<(Key, Entry)>>,
    /// Afterwards they come one by one.
    index: Index,
    /// What is alive in the copy.
    totals: Totals,
    /// Everything that was written, whatever became of it since.
    written: Totals,
    last_append_ns: u64,
    /// Tombstones from before this time are dropped.
    keep_tombstones_from_ns: u64,
}

impl Copy {
    pub(super) fn new(
        shared: &Arc<Shared>,
        progress: &Progress,
        superblock: &Superblock,
        file: &Arc<dyn File>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            progress: progress.clone(),
            salt: superblock.salt(),
            superblock: superblock.clone(),
            file: Arc::clone(file),
            copied_to: NeedleOffset::from_bytes(SUPERBLOCK_BYTES as u64).unwrap_or_default(),
            end: SUPERBLOCK_BYTES as u64,
            handed_over: 0,
            damaged: Vec::new(),
            buffer: Vec::with_capacity(STEP_BYTES),
            unsealed: Some(Vec::new()),
            index: Index::default(),
            totals: Totals::default(),
            written: Totals::default(),
            last_append_ns: 0,
            keep_tombstones_from_ns: keep_tombstones_from_ns(shared),
        }
    }

    /// Of the source: everything below has been copied.
    pub(super) fn copied_to(&self) -> NeedleOffset {
        self.copied_to
    }

    /// Of the copy: where the next record goes.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Everything that was written, whatever became of it since.
    pub(super) fn written(&self) -> Totals {
        self.written
    }

    /// Copies what is alive between what was copied before and `end`, in the file's order: at a pace
    /// if there is somebody who takes the pieces, else at once.
    pub(super) fn copy_range(
        &mut self,
        end: NeedleOffset,
        pieces: Option<&SyncSender<Piece>>,
    ) -> Result<(), StoreError> {
        let (file, salt) = self.source();
        let pace = Arc::clone(&self.shared.options.pace);
        let mut step = pace.compaction.begin();
        let mut step_at = self.copied_to.bytes();
        let mut scanner = Scanner::new(&*file, salt, step_at..end.bytes());
        while let Some(found) = scanner.next() {
            let found = found.map_err(|error| self.io(error))?;
            let done_to = found.range().end;
            match found {
                Found::Record { offset, header } => {
                    self.copy_record(&mut scanner, offset, header)?;
                }
                Found::Damage(range) => self.copy_damaged(&*file, &range)?,
            }
            if scanner.met_device_error() {
                // Nothing is left behind for good that a better day may still read.
                return Err(self.io(rustix::io::Errno::IO.into()));
            }
            if let Some(pieces) = pieces
                && done_to - step_at >= STEP_BYTES as u64
            {
                drop(step);
                self.hand_over(pieces)?;
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

    /// Waits until the prover takes what was written, once that is a piece.
    fn hand_over(&mut self, pieces: &SyncSender<Piece>) -> Result<(), StoreError> {
        let written = self.end - self.buffer.len() as u64;
        if written - self.handed_over < PIECE_BYTES {
            return Ok(());
        }
        // Nobody takes it where the proof has failed, and then that is what the compaction ends with.
        let piece = self.piece();
        pieces.send(piece).map_err(|_| CANCELLED)
    }

    /// What was written since the last one.
    pub(super) fn piece(&mut self) -> Piece {
        self.handed_over = self.end - self.buffer.len() as u64;
        let written = |range: &mut Range<u64>| range.end <= self.handed_over;
        let damaged = self.damaged.extract_if(.., written).collect();
        Piece { end: self.handed_over, damaged }
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
            self.damaged.push(self.end..self.end + header.record_bytes());
            tracing::error!(volume = %self.shared.id, key = %header.key, %offset, "compaction met a damaged needle and keeps it");
        }
        if let Some(damaged) = self.copied(header.key) {
            // Repaired since the damaged one was copied.
            let content = self.content_of(header.key, damaged)?;
            self.totals.remove(damaged.record_bytes(), content);
        }
        let entry = self.put_record(header, body)?;
        self.totals.add(header.record_bytes(), content(header));
        self.written.add(header.record_bytes(), content(header));
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
        self.written.add_tombstone(header);
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
            self.damaged.push(self.end..self.end + record.len() as u64);
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
        // Memory does not let go of it before it is written, so the device begins to.
        self.file.evict(at..self.end).map_err(|error| self.io(error))?;
        self.buffer.clear();
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

    /// Makes the bulk durable and writes its index file, under the new generation's name.
    pub(super) fn seal(&mut self) -> Result<(), StoreError> {
        self.file.sync().map_err(|error| self.io(error))?;
        let mut entries = self.unsealed.take().unwrap_or_default();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let head = self.as_live(Index::default())?.index_head();
        let name = files::index(self.shared.id, self.superblock.generation);
        let (disk, written) = (&*self.shared.disk, entries.iter().copied());
        let sealed = index::write_sealed(disk, &name, head, written, &self.superblock)
            .map_err(|error| self.io(error.into()))?;
        if !sealed.clone().into_entries().eq(entries) {
            let message = "the index of the compacted copy does not say what was copied";
            return Err(self.io(std::io::Error::other(message)));
        }
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

    /// The copy, in the place of the original.
    pub(super) fn into_live(mut self) -> Result<Live, StoreError> {
        let index = std::mem::take(&mut self.index);
        self.as_live(index)
    }

    /// The copy must hold just what the original holds.
    pub(super) fn compare(&mut self, before: Totals) -> Result<(), StoreError> {
        let after = self.totals;
        let exact = before.digest_exact && after.digest_exact;
        let same = before.live_needles == after.live_needles
            && before.live_bytes == after.live_bytes
            && (!exact || before.digest == after.digest);
        if !same {
            tracing::error!(volume = %self.shared.id, ?before, ?after, "a compacted copy differs from its original and is thrown away");
            let message = "the compacted copy differs from the original";
            return Err(self.io(std::io::Error::other(message)));
        }
        if before.digest_exact {
            // What a needle with an unreadable header adds cannot be told any more, but the
            // sum can: the copy holds just what the original does.
            (self.totals.digest, self.totals.digest_exact) = (before.digest, true);
        }
        Ok(())
    }

    fn io(&self, error: std::io::Error) -> StoreError {
        self.shared.copy_error(error)
    }
}
