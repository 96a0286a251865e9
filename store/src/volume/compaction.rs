//! Copying what is alive into a new file while everything goes on.
//!
//! The bulk is copied beside the running writer; what was appended meanwhile is copied
//! in rounds that get shorter, and the last one is done by the writer itself, so
//! nothing can be appended between it and the swap. Before the old file goes, the new
//! one is proved: same number of live needles, same bytes, same digest, synced, and read
//! back from the disk record by record. The rename is the one commit point; a crash before
//! it leaves the old file, a crash after it the new one, and recovery clears the other away.
//!
//! Of the bulk, one thread copies ([`copy`]) while another makes durable and reads back what was
//! copied before ([`proof`]).

mod copy;
mod proof;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use self::copy::Copy;
use self::proof::Prover;
use super::digest::Totals;
use super::files;
use super::live::Shared;
use super::progress::Progress;
use super::writer::{TOMBSTONE_RESERVE_BYTES, Writer};
use crate::error::StoreError;
use crate::format::index::most_file_bytes;
use crate::format::superblock::Superblock;
use crate::storage::{File, is_disk_full, write_all_at};

/// Copied in one write.
const STEP_BYTES: usize = 1 << 20;
/// When less than this is left to copy, the writer does the rest.
const LAST_ROUND_BYTES: u64 = 4 << 20;
/// Rounds beside the writer, after which it does the rest however much that is.
const MAX_ROUNDS: u32 = 8;

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

/// What was written to the copy since the last one.
struct Piece {
    /// Everything below has been written. A record ends here.
    end: u64,
    /// Needles that were damaged in the original and are copied as they are, in the file's order.
    damaged: Vec<Range<u64>>,
}

/// A new generation of a volume file on its way.
pub(super) struct Compaction {
    shared: Arc<Shared>,
    superblock: Superblock,
    file: Arc<dyn File>,
    copy: Copy,
    prover: Prover,
}

/// Compacts a volume: all but the last round, which [`Compaction::finish`] does on the writer's thread.
pub(super) fn begin(shared: &Arc<Shared>, progress: &Progress) -> Result<Compaction, StoreError> {
    shared.check_deletes()?;
    let mut compaction = Compaction::new(shared, progress)?;
    let totals = shared.live.read().totals;
    // Written once, and read back once.
    progress.expect(totals.live_bytes.saturating_mul(2));
    let result = compaction.reserve(totals).and_then(|()| compaction.rounds());
    if result.is_err() {
        compaction.discard();
    }
    result.map(|()| compaction)
}

impl Compaction {
    fn new(shared: &Arc<Shared>, progress: &Progress) -> Result<Self, StoreError> {
        let id = shared.id;
        let superblock = {
            let live = shared.live.read();
            let created_ms = u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX);
            let generation = live.superblock.generation + 1;
            Superblock { generation, created_ms, ..live.superblock.clone() }
        };
        let _ = shared.disk.remove(&files::compacting(id));
        let created = shared.disk.create(&files::compacting(id));
        let file = created.map_err(|error| StoreError::io(id, error))?;
        Ok(Self {
            shared: Arc::clone(shared),
            copy: Copy::new(shared, progress, &superblock, &file),
            prover: Prover::new(shared, progress, &superblock, &file),
            superblock,
            file,
        })
    }

    /// Sets the space aside first: a copy is never begun that the disk cannot hold.
    fn reserve(&self, totals: Totals) -> Result<(), StoreError> {
        let bytes = totals.used_bytes().saturating_add(LAST_ROUND_BYTES);
        let entries = totals.live_needles + totals.tombstones;
        let needed = bytes.saturating_add(most_file_bytes(entries));
        let space = self.shared.disk.space().map_err(|error| self.shared.copy_error(error))?;
        if space.free_bytes < needed.saturating_add(self.shared.options.min_free_bytes) {
            return Err(StoreError::DiskFull(self.shared.id));
        }
        let made = self.file.allocate(0, bytes);
        made.and_then(|()| write_all_at(&*self.file, &self.superblock.to_bytes(), 0))
            .map_err(|error| self.shared.copy_error(error))
    }

    fn rounds(&mut self) -> Result<(), StoreError> {
        // Only the bulk keeps to the pace: clients might append faster than that for ever.
        self.bulk()?;
        for _ in 1..MAX_ROUNDS {
            let end = self.shared.live.read().end;
            if end.bytes() - self.copy.copied_to().bytes() < LAST_ROUND_BYTES {
                break;
            }
            self.copy.copy_range(end, None)?;
            self.prove_rest(false)?;
        }
        Ok(())
    }

    /// Copies and proves at the same time, then writes the index file.
    fn bulk(&mut self) -> Result<(), StoreError> {
        let end = self.shared.live.read().end;
        let Self { shared, copy, prover, .. } = self;
        let (copied, proved) = std::thread::scope(|scope| -> Result<_, StoreError> {
            let (pieces, written) = mpsc::sync_channel(1);
            let name = format!("prove-{}", shared.id);
            let prover = std::thread::Builder::new()
                .name(name)
                .spawn_scoped(scope, || prover.follow(written))
                .map_err(|error| shared.copy_error(error))?;
            let copied = copy.copy_range(end, Some(&pieces));
            drop(pieces);
            let proved = prover.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((copied, proved))
        })?;
        // Where pieces were no longer taken, it is the prover that knows why.
        proved.and(copied)?;
        self.copy.seal()?;
        self.prove_rest(true)
    }

    /// Makes durable, and reads back, what was copied since the last time.
    fn prove_rest(&mut self, paced: bool) -> Result<(), StoreError> {
        let rest = self.copy.piece();
        self.file.sync().map_err(|error| self.shared.copy_error(error))?;
        self.prover.prove_to_end(rest, paced)?;
        self.prover.compare(self.copy.written())
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
        self.copy.copy_range(end, None)?;
        let copy_end = self.copy.end();
        // The new file must take deletes on a full disk, as the old one does.
        let made = self.file.set_len(copy_end);
        made.and_then(|()| self.file.allocate(copy_end, TOMBSTONE_RESERVE_BYTES))
            .map_err(|error| self.shared.copy_error(error))?;
        // Clients wait for the writer meanwhile.
        self.prove_rest(false)?;
        let before = self.shared.live.read().totals;
        self.copy.compare(before)?;
        Ok(Compacted {
            before_bytes: end.bytes(),
            after_bytes: copy_end,
            live_needles: before.live_needles,
            damaged_needles: self.prover.damaged_needles(),
        })
    }

    /// Once the rename has begun, only its success is certain: an error fails the volume.
    fn swap(self, writer: &mut Writer) -> Result<(), StoreError> {
        let Self { shared, .. } = &self;
        let (disk, id) = (Arc::clone(&shared.disk), shared.id);
        let renamed =
            disk.rename(&files::compacting(id), &files::volume(id)).and_then(|()| disk.sync());
        renamed.map_err(|error| writer.fail("rename of a compacted copy", &error))?;
        let old = self.superblock.generation - 1;
        writer.replace(self.copy.into_live()?);
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
}

impl Shared {
    /// Why a copy cannot be made.
    fn copy_error(&self, error: std::io::Error) -> StoreError {
        if is_disk_full(&error) {
            StoreError::DiskFull(self.id)
        } else {
            StoreError::io(self.id, error)
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
