//! One volume: an append-only file, its index, one writer and any number of readers.
//!
//! This is ordinary synchronous Rust. Reads run wherever they are called; writes are
//! queued for the volume's one writer thread, which answers through a channel that
//! both threads and async tasks can wait on.

mod compaction;
pub mod digest;
mod fence;
pub mod files;
mod fix;
mod group;
mod identity;
mod live;
mod offline;
mod open;
mod options;
mod progress;
mod reader;
mod record;
mod recovery;
mod replica;
pub mod scanner;
mod scrub;
#[cfg(test)]
mod tests;
mod transfer;
mod verify;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use compaction::Compacted;
pub(crate) use fence::{Fence, Order};
pub use fix::{Diagnosis, diagnose, fix};
pub use live::Condition;
pub use offline::{Current, OfflineVolume, read_meta};
pub use open::{Created, OpenError, OpenReport};
pub use options::{Durability, VolumeOptions};
pub use progress::Progress;
pub use reader::{StoredNeedle, WHOLE_READ_BYTES};
pub use record::{NewNeedle, Prepared};
pub use replica::NewReplica;
pub(crate) use replica::{clear_removed, remove_broken};
pub use scrub::{Finding, Pass, ScrubState, ScrubStep, ScrubTurn};
pub use transfer::{Comparison, CopiedIn, Held, KeyPage};
pub use verify::{Damaged, VerifyError, VerifyReport, read_superblock, verify_file};

use crate::error::StoreError;
use crate::format::meta::Meta;
use crate::format::superblock::SUPERBLOCK_BYTES;
use crate::id::{Cookie, Epoch, Key, VolumeId};
use crate::index;
use digest::{Totals, content};
use live::Shared;
use writer::{Command, Writer};

/// An open volume.
pub struct Volume {
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The answer to a queued command: wait for it, or drop it if nobody cares.
pub type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

/// Numbers of a volume at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeStats {
    /// Whether it takes writes.
    pub condition: Condition,
    /// The epoch that it knows; 0 if it was never told one, or has lost it.
    pub epoch: Epoch,
    /// Why it has lost its epoch, if it has.
    pub no_epoch: Option<String>,
    /// Whether it is still being filled from other replicas.
    pub copying: bool,
    /// Counts and digest of the live needles.
    pub totals: Totals,
    /// Size of the file up to its last record.
    pub file_bytes: u64,
    /// Bytes of records that are neither alive nor tombstones that a compaction would keep.
    pub garbage_bytes: u64,
    /// The file grows no larger than this.
    pub limit_bytes: u64,
    /// One more at each compaction.
    pub generation: u64,
    /// When the last record was appended, in nanoseconds since 1970.
    pub last_append_ns: u64,
    /// Commands waiting for the writer.
    pub queued: u64,
    /// Needles stored since the volume was opened.
    pub puts: u64,
    /// Needles deleted since the volume was opened.
    pub deletes: u64,
    /// Syncs since the volume was opened.
    pub syncs: u64,
    /// Reads since the volume was opened that met damage or an I/O error.
    pub failed_reads: u64,
    /// Index entries that are not in the index file yet.
    pub unsaved_entries: usize,
}

impl VolumeStats {
    /// Whether there is no room left for a needle of ordinary size.
    pub fn is_full(&self) -> bool {
        let room = writer::put_room(self.limit_bytes).saturating_sub(self.file_bytes);
        room < NEARLY_FULL_BYTES.min(self.limit_bytes / 16)
    }
}

/// A volume with less room for needles than this counts as full.
const NEARLY_FULL_BYTES: u64 = 32 << 20;

impl Volume {
    /// The volume's id.
    pub fn id(&self) -> VolumeId {
        self.shared.id
    }

    /// Stores needles as one batch: after a crash all of them are there, or none.
    ///
    /// A repeated put of the same needles changes nothing and succeeds. The answer comes
    /// when the needles are as durable as the volume's [`Durability`] says.
    ///
    /// # Errors
    /// Bad needles and a full queue are told at once, everything else by the answer.
    pub fn put(&self, needles: Vec<NewNeedle>) -> Result<Answer<()>, StoreError> {
        self.put_under(None, needles)
    }

    /// Like [`Volume::put`], by an order of `epoch`; `None` for who has the volume to himself.
    pub fn put_under(
        &self,
        epoch: Option<Epoch>,
        needles: Vec<NewNeedle>,
    ) -> Result<Answer<()>, StoreError> {
        self.shared.check_puts()?;
        let needles = needles.into_iter().map(Prepared::data).collect::<Result<Vec<_>, _>>()?;
        let limit = crate::format::needle::MAX_BATCH_LEN;
        if needles.is_empty() || needles.len() > usize::from(limit) {
            let got = needles.len();
            return Err(StoreError::Malformed(format!(
                "a batch has 1 to {limit} needles, not {got}"
            )));
        }
        self.send(|reply| Command::Put { epoch, needles, reply })
    }

    /// Deletes a needle and answers whether there was one to delete.
    ///
    /// This reads the needle's header from disk. A wrong cookie deletes nothing.
    pub fn delete(&self, key: Key, cookie: Cookie) -> Result<Answer<bool>, StoreError> {
        self.delete_under(None, key, cookie, &Meta::default())
    }

    /// Like [`Volume::delete`], by an order of `epoch`, and the tombstone says which name was
    /// removed at which version.
    pub fn delete_under(
        &self,
        epoch: Option<Epoch>,
        key: Key,
        cookie: Cookie,
        removed: &Meta,
    ) -> Result<Answer<bool>, StoreError> {
        let tombstone = Prepared::tombstone(key, cookie, removed)?;
        let content = match self.shared.header_of(key) {
            Ok(Some(header)) if header.cookie != cookie => return Err(StoreError::NotFound),
            Ok(header) => header.map(|header| content(&header)),
            // Perhaps it is being put or fetched just now; the writer looks again.
            Err(StoreError::NotFound | StoreError::Copying(_)) => None,
            Err(error) => return Err(error),
        };
        self.send(|reply| Command::Delete { epoch, tombstone, content, reply })
    }

    /// Finds a needle and checks its cookie. Small needles are read and verified here.
    pub fn open_needle(&self, key: Key, cookie: Cookie) -> Result<StoredNeedle, StoreError> {
        StoredNeedle::open(&self.shared, key, cookie)
    }

    /// Like [`Volume::open_needle`], but never waits for a disk: `None` where that would be needed, and
    /// for every error.
    pub fn open_cached_needle(&self, key: Key, cookie: Cookie) -> Option<StoredNeedle> {
        StoredNeedle::open_cached(&self.shared, key, cookie, u64::MAX)
    }

    /// The same for needles that are read whole when they are opened, and `None` for larger ones.
    pub fn open_cached_whole(&self, key: Key, cookie: Cookie) -> Option<StoredNeedle> {
        StoredNeedle::open_cached(&self.shared, key, cookie, WHOLE_READ_BYTES)
    }

    /// Like [`Volume::open_needle`], but reads no data unless asked for it later.
    pub fn stat_needle(&self, key: Key, cookie: Cookie) -> Result<StoredNeedle, StoreError> {
        StoredNeedle::stat(&self.shared, key, cookie)
    }

    /// The volume's numbers now.
    pub fn stats(&self) -> VolumeStats {
        let condition = self.shared.condition.lock().clone();
        let counters = &self.shared.counters;
        let live = self.shared.live.read();
        let (totals, file_bytes) = (live.totals, live.end.bytes());
        let last_append_ns = live.last_append_ns;
        let keep_from_ns = compaction::keep_tombstones_from_ns(&self.shared);
        VolumeStats {
            condition,
            epoch: self.epoch(),
            no_epoch: self.shared.fence.lost().map(|error| error.to_string()),
            copying: self.is_copying(),
            totals,
            file_bytes,
            garbage_bytes: file_bytes.saturating_sub(totals.needed_bytes(keep_from_ns)),
            limit_bytes: self.shared.options.limit_bytes,
            generation: live.superblock.generation,
            last_append_ns,
            queued: counters.queued.load(Ordering::Relaxed),
            puts: counters.puts.load(Ordering::Relaxed),
            deletes: counters.deletes.load(Ordering::Relaxed),
            syncs: counters.syncs.load(Ordering::Relaxed),
            failed_reads: counters.failed_reads.load(Ordering::Relaxed),
            unsaved_entries: live.index.recent_len(),
        }
    }

    /// Copies what is alive into a new file and puts that in the place of the old one.
    /// Reads, writes and deletes go on. One compaction or checkpoint runs at a time.
    pub fn compact(&self, progress: &Progress) -> Result<Compacted, StoreError> {
        let _one_at_a_time = self.shared.upkeep.lock();
        let compaction = compaction::begin(&self.shared, progress)?;
        let done = self.exclusive(move |writer| compaction.finish(writer))??;
        if !self.shared.live.read().is_digest_saved()
            && let Err(error) = self.save_index(false)
        {
            tracing::warn!(volume = %self.id(), %error, "index not saved; trying again later");
        }
        Ok(done)
    }

    /// Reads every byte of the volume as it is now and tells what is damaged. Everything else
    /// goes on; where a compaction replaces the file meanwhile, the new one is read instead.
    pub fn verify(&self, progress: &Progress) -> Result<VerifyReport, VerifyError> {
        loop {
            if let Some(report) = self.verify_current_file(progress)? {
                return Ok(report);
            }
        }
    }

    /// `None` if the file was replaced before all of it was read.
    fn verify_current_file(
        &self,
        progress: &Progress,
    ) -> Result<Option<VerifyReport>, VerifyError> {
        let (file, salt, end, generation) = {
            let live = self.shared.live.read();
            (Arc::clone(&live.file), live.salt, live.end.bytes(), live.superblock.generation)
        };
        let lend = |use_it: &mut dyn FnMut(&index::Index)| {
            let live = self.shared.live.read();
            let is_current = live.superblock.generation == generation;
            if is_current {
                use_it(&live.index);
            }
            is_current
        };
        let target = verify::Target {
            volume: self.id(),
            salt,
            range: SUPERBLOCK_BYTES as u64..end,
            index: &lend,
            doubtful: std::collections::HashSet::new(),
            pacer: Some(&self.shared.options.pace.verify),
        };
        verify::verify(&*file, &target, progress)
    }

    /// Writes the index to its file, so that a restart need not scan what it covers.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.shared.upkeep.lock();
        self.save_index(false)
    }

    /// Writes the index to its file although that ought to be there. Not while a long task
    /// has the volume: that one writes it.
    pub fn restore_index_file(&self) -> Result<(), StoreError> {
        match self.shared.upkeep.try_lock() {
            Some(_one_at_a_time) => self.save_index(true),
            None => Ok(()),
        }
    }

    fn save_index(&self, even_if_saved: bool) -> Result<(), StoreError> {
        // Only what is durable may be covered.
        self.exclusive(Writer::sync_published)??;
        let (head, (recent, sealed), superblock) = {
            let live = self.shared.live.read();
            (live.index_head(), live.index.snapshot(), live.superblock.clone())
        };
        let is_saved = recent.is_empty()
            && sealed.covered_end() == head.covered_end
            && self.shared.live.read().is_digest_saved();
        if is_saved && !even_if_saved {
            return Ok(());
        }
        let name = files::index(self.id(), superblock.generation);
        let entries = index::merge(recent, sealed);
        let written = index::write_sealed(&*self.shared.disk, &name, head, entries, &superblock);
        let sealed = written.map_err(|error| StoreError::io(self.id(), error.into()))?;
        self.shared.live.write().index.reseal(sealed);
        Ok(())
    }

    /// Whether enough has gathered for a checkpoint to be worth its while: what a crash
    /// now would have to scan, against what a checkpoint has to write. Not while another
    /// long task has the volume: whoever asks would wait for that. And not where nothing
    /// can be written.
    pub fn wants_checkpoint(&self) -> bool {
        if self.shared.upkeep.is_locked() || self.shared.check_deletes().is_err() {
            return false;
        }
        let live = self.shared.live.read();
        let unsaved = live.index.recent_len();
        let sealed = usize::try_from(live.totals.live_needles + live.totals.tombstones)
            .unwrap_or(usize::MAX);
        unsaved >= self.shared.options.checkpoint_entries.max(sealed / 4)
    }

    /// Makes the volume read-only, or writable again, for good: the mark outlives restarts.
    pub fn set_read_only(&self, read_only: bool) -> Result<(), StoreError> {
        let disk = &self.shared.disk;
        let mark = files::read_only(self.id());
        let done = if read_only { disk.create(&mark).map(drop) } else { disk.remove(&mark) };
        let done = done.or_else(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        });
        done.and_then(|()| disk.sync()).map_err(|error| StoreError::io(self.id(), error))?;
        let mut condition = self.shared.condition.lock();
        match (&*condition, read_only) {
            (Condition::Failed(_), _) => {}
            (_, true) => *condition = Condition::ReadOnly,
            (_, false) => *condition = Condition::Writable,
        }
        Ok(())
    }

    /// Takes new needles again if the disk has room again.
    pub fn recheck_space(&self) {
        let room = self.shared.disk.space().map_or(0, |space| space.free_bytes);
        let mut condition = self.shared.condition.lock();
        // Twice the mark, so that the volume does not flap.
        if *condition == Condition::DiskFull
            && room > self.shared.options.min_free_bytes.saturating_mul(2)
        {
            tracing::info!(volume = %self.id(), free_bytes = room, "there is room again: the volume takes new needles");
            *condition = Condition::Writable;
        }
    }

    /// Finishes what is queued, syncs, saves the index and stops the writer.
    pub fn close(&self) -> Result<(), StoreError> {
        let saved = self.checkpoint();
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        saved
    }

    /// Runs `work` on the writer's thread and waits for it.
    fn exclusive<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let command = Command::Exclusive(Box::new(move |writer| drop(sender.send(work(writer)))));
        self.shared.counters.queued.fetch_add(1, Ordering::Relaxed);
        self.commands.send(command).map_err(|_| Self::stopped())?;
        receiver.blocking_recv().map_err(|_| Self::stopped())
    }

    /// Like [`Volume::send`], and waits for a place in the queue.
    fn send_waiting<T>(
        &self,
        command: impl FnOnce(group::Reply<T>) -> Command,
    ) -> Result<Answer<T>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.counters.queued.fetch_add(1, Ordering::Relaxed);
        self.commands.send(command(reply)).map_err(|_| {
            self.shared.counters.queued.fetch_sub(1, Ordering::Relaxed);
            Self::stopped()
        })?;
        Ok(answer)
    }

    fn send<T>(
        &self,
        command: impl FnOnce(group::Reply<T>) -> Command,
    ) -> Result<Answer<T>, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.shared.counters.queued.fetch_add(1, Ordering::Relaxed);
        self.commands.try_send(command(reply)).map_err(|error| {
            self.shared.counters.queued.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => StoreError::Busy { what: "the volume's writer" },
                TrySendError::Disconnected(_) => Self::stopped(),
            }
        })?;
        Ok(answer)
    }

    fn stopped() -> StoreError {
        StoreError::Unavailable {
            store: "this one".to_owned(),
            reason: "it is stopping".to_owned(),
        }
    }
}
