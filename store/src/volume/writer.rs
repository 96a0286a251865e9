//! The one thread that writes to a volume.
//!
//! Everything that waits goes into one group: one write, one sync, and only then does
//! the index show it and are the callers told. No lock is held meanwhile, so readers
//! never wait for a disk. A failed sync fails the volume: the kernel may have dropped
//! the pages and will not say so again, so nothing after it can be believed.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

use super::group::{Change, Group, Reply};
use super::live::{Condition, Live, Shared};
use super::options::Durability;
use super::record::Prepared;
use super::transfer::CopiedIn;
use crate::error::StoreError;
use crate::format::needle::Kind;
use crate::format::{MAX_VOLUME_BYTES, NeedleOffset};
use crate::id::{Cookie, Epoch, Key};
use crate::pace::Wait;
use crate::storage::{is_disk_full, write_all_at};

/// Work for the writer.
pub(super) enum Command {
    /// Store needles, all or none.
    Put { epoch: Option<Epoch>, needles: Vec<Prepared>, reply: Reply<()> },
    /// Delete a needle. `content` is its part of the digest, if its header was readable.
    Delete { epoch: Option<Epoch>, tombstone: Prepared, content: Option<u128>, reply: Reply<bool> },
    /// Take over what is missing here of another replica's records.
    Copy { epoch: Epoch, records: Vec<Prepared>, reply: Reply<CopiedIn> },
    /// Run with nobody else writing.
    Exclusive(Box<dyn FnOnce(&mut Writer) + Send>),
    /// Finish what is queued before this, and end.
    Stop,
}

/// A group is closed when it has this many bytes.
const GROUP_BYTES: usize = 16 << 20;
/// The group's buffer is given back above this size.
const KEEP_BUFFER_BYTES: usize = 1 << 20;
/// Waiting for more to come is at most this long, however slow the device is.
const MAX_GATHER: Duration = Duration::from_millis(1);
/// Shorter than this, a thread cannot sleep.
const MIN_GATHER: Duration = Duration::from_micros(25);
/// Space set aside at a time.
const EXTENT_BYTES: u64 = 16 << 20;
/// Space always kept aside for tombstones, so that deletes go on when the disk is full.
pub(super) const TOMBSTONE_RESERVE_BYTES: u64 = 64 << 10;
/// The end of a volume that only tombstones may use, so that deletes go on when it is full.
const FULL_RESERVE_BYTES: u64 = 4 << 20;

/// How far new needles may fill a volume of `limit_bytes`.
pub(super) fn put_room(limit_bytes: u64) -> u64 {
    let limit = limit_bytes.min(MAX_VOLUME_BYTES);
    limit.saturating_sub(FULL_RESERVE_BYTES.min(limit / 8))
}

/// The writer's own state.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    /// Everything below is durable.
    synced_end: NeedleOffset,
    /// Space is set aside up to here.
    allocated_end: u64,
    last_sync: Instant,
    /// How long the last sync took.
    sync_took: Duration,
    /// How many were answered by the last group.
    answered: usize,
    buffer: Vec<u8>,
    /// Taken from the queue, but not of this group.
    postponed: VecDeque<Command>,
}

impl Writer {
    /// A writer for a volume all of whose published bytes are durable.
    pub fn new(shared: Arc<Shared>) -> Self {
        let end = shared.live.read().end;
        Self {
            shared,
            synced_end: end,
            allocated_end: end.bytes(),
            last_sync: Instant::now(),
            sync_took: Duration::ZERO,
            answered: 0,
            buffer: Vec::new(),
            postponed: VecDeque::new(),
        }
    }

    /// Works until told to stop or until nobody can send any more.
    pub fn run(mut self, commands: &Receiver<Command>) {
        while let Some(first) = self.next(commands) {
            match first {
                Command::Stop => break,
                Command::Exclusive(work) => work(&mut self),
                first @ (Command::Put { .. } | Command::Delete { .. } | Command::Copy { .. }) => {
                    self.write_group(first, commands);
                }
            }
        }
        if self.unsynced() {
            self.sync_or_fail();
        }
    }

    fn next(&mut self, commands: &Receiver<Command>) -> Option<Command> {
        loop {
            if let Some(command) = self.postponed.pop_front() {
                return Some(command);
            }
            let received = match self.shared.options.durability {
                Durability::Interval(every) if self.unsynced() => {
                    commands.recv_timeout(every.saturating_sub(self.last_sync.elapsed()))
                }
                _ => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(command) => {
                    self.shared.counters.queued.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                    return Some(command);
                }
                Err(RecvTimeoutError::Timeout) => self.sync_or_fail(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Takes what waits into one group and makes it durable together.
    fn write_group(&mut self, first: Command, commands: &Receiver<Command>) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut group = Group::new(buffer, self.synced_end, self.next_append_ns());
        self.stage(&mut group, first);
        self.stage_waiting(&mut group, commands);
        if group.answers() < self.answered
            && self.postponed.is_empty()
            && let Some(time) = self.gather_time()
        {
            std::thread::sleep(time);
            self.stage_waiting(&mut group, commands);
        }
        self.answered = group.answers();
        let result = self.commit(&group);
        self.buffer = group.finish(&result);
        if self.buffer.capacity() > KEEP_BUFFER_BYTES {
            self.buffer = Vec::new();
        }
    }

    fn stage_waiting(&mut self, group: &mut Group, commands: &Receiver<Command>) {
        while group.buffer.len() < GROUP_BYTES && self.postponed.is_empty() {
            match commands.try_recv() {
                Ok(command) => {
                    self.shared.counters.queued.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                    self.stage(group, command);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
    }

    /// How long to wait for those who were answered just now and may come again. With one sync for
    /// all of them, none waits for another's: so it costs nobody time as long as it is shorter than
    /// what is left of a sync on average.
    fn gather_time(&self) -> Option<Duration> {
        let is_synced = self.shared.options.durability == Durability::Sync;
        let time = (self.sync_took / 2).min(MAX_GATHER);
        (is_synced && time >= MIN_GATHER).then_some(time)
    }

    fn stage(&mut self, group: &mut Group, command: Command) {
        match command {
            Command::Put { epoch, needles, reply } => {
                let staged = self.shared.obey(epoch).and_then(|()| self.stage_put(group, &needles));
                match staged {
                    Ok(()) => group.answer_put(reply),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Delete { epoch, tombstone, content, reply } => {
                let obeyed = self.shared.obey(epoch);
                match obeyed.and_then(|()| self.stage_delete(group, &tombstone, content)) {
                    Ok(existed) => group.answer_delete(reply, existed),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Copy { epoch, records, reply } => {
                let obeyed = self.shared.obey(Some(epoch));
                match obeyed.and_then(|()| self.stage_copies(group, &records)) {
                    Ok(copied) => group.answer_copy(reply, copied),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            later @ (Command::Exclusive(_) | Command::Stop) => self.postponed.push_back(later),
        }
    }

    fn stage_put(&mut self, group: &mut Group, needles: &[Prepared]) -> Result<(), StoreError> {
        self.shared.check_puts()?;
        let missing = group.missing(&self.shared, needles)?;
        let bytes: u64 = missing.iter().map(|needle| needle.record_bytes()).sum();
        let room = put_room(self.shared.options.limit_bytes);
        self.reserve(group, bytes, room, TOMBSTONE_RESERVE_BYTES)?;
        group.put(&self.shared, &missing)
    }

    fn stage_delete(
        &mut self,
        group: &mut Group,
        tombstone: &Prepared,
        content: Option<u128>,
    ) -> Result<bool, StoreError> {
        self.shared.check_deletes()?;
        self.reserve(group, tombstone.record_bytes(), MAX_VOLUME_BYTES, 0)?;
        group.delete(&self.shared, tombstone, content)
    }

    /// Each record stands for itself: what was staged before an error is not taken back.
    fn stage_copies(
        &mut self,
        group: &mut Group,
        records: &[Prepared],
    ) -> Result<CopiedIn, StoreError> {
        let mut copied = CopiedIn::default();
        for record in records {
            let bytes = record.record_bytes();
            if record.kind() == Kind::Tombstone {
                self.shared.check_deletes()?;
                self.reserve(group, bytes, MAX_VOLUME_BYTES, 0)?;
            } else {
                self.shared.check_copies()?;
                // Another replica had room for it, whatever this one is limited to.
                let room = put_room(MAX_VOLUME_BYTES);
                self.reserve(group, bytes, room, TOMBSTONE_RESERVE_BYTES)?;
            }
            group.copy(&self.shared, record, &mut copied)?;
        }
        Ok(copied)
    }

    /// Sees to it that `bytes` more fit behind the group: in the volume, and on the disk.
    fn reserve(
        &mut self,
        group: &Group,
        bytes: u64,
        volume_room: u64,
        spare: u64,
    ) -> Result<(), StoreError> {
        let start = self.shared.live.read().end.bytes() + group.buffer.len() as u64;
        let end = start + bytes;
        if end > volume_room {
            return Err(StoreError::VolumeFull(self.shared.id));
        }
        if end + spare <= self.allocated_end {
            return Ok(());
        }
        let extent = (end + spare).next_multiple_of(EXTENT_BYTES);
        // A deletion is how an operator makes room, so it may use the last of it, and what
        // was set aside before a restart.
        let is_tombstone = spare == 0;
        let least_free = if is_tombstone { 0 } else { self.shared.options.min_free_bytes };
        let last_resort = (!is_tombstone).then_some(least_free);
        match self
            .allocate(extent, Some(least_free))
            .or_else(|_| self.allocate(end + spare, last_resort))
        {
            Ok(()) => Ok(()),
            Err(error) if is_disk_full(&error) => Err(self.disk_is_full()),
            Err(error) => Err(StoreError::io(self.shared.id, error)),
        }
    }

    fn allocate(&mut self, end: u64, least_free: Option<u64>) -> io::Result<()> {
        let len = end.saturating_sub(self.allocated_end);
        if let Some(least_free) = least_free
            && self.shared.disk.space()?.free_bytes < least_free.saturating_add(len)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = Arc::clone(&self.shared.live.read().file);
        file.allocate(self.allocated_end, len)?;
        self.allocated_end = end;
        Ok(())
    }

    fn disk_is_full(&self) -> StoreError {
        let mut condition = self.shared.condition.lock();
        if *condition == Condition::Writable {
            tracing::warn!(volume = %self.shared.id, "disk full: the volume takes no new needles until there is room");
            *condition = Condition::DiskFull;
        }
        StoreError::DiskFull(self.shared.id)
    }

    /// Writes the group, makes it durable and publishes it, in this order.
    fn commit(&mut self, group: &Group) -> Result<(), StoreError> {
        if group.buffer.is_empty() {
            return Ok(());
        }
        let (file, end) = {
            let live = self.shared.live.read();
            (Arc::clone(&live.file), live.end)
        };
        if let Err(error) = write_all_at(&*file, &group.buffer, end.bytes()) {
            return Err(self.undo_write(&error, end));
        }
        let new_end = NeedleOffset::from_bytes(end.bytes() + group.buffer.len() as u64)
            .ok_or(StoreError::VolumeFull(self.shared.id))?;
        match self.shared.options.durability {
            Durability::Sync => self.sync(new_end)?,
            Durability::Interval(_) | Durability::Os => {}
        }
        group.publish(&mut self.shared.live.write(), new_end);
        Ok(())
    }

    /// Nothing of a failed write may stay: a later, shorter one would leave its end standing.
    fn undo_write(&mut self, error: &io::Error, end: NeedleOffset) -> StoreError {
        let file = Arc::clone(&self.shared.live.read().file);
        let undone = file.set_len(end.bytes());
        self.allocated_end = end.bytes();
        match undone {
            Ok(()) if is_disk_full(error) => self.disk_is_full(),
            Ok(()) => self.fail("write", error),
            Err(_) => self.fail("write, and taking it back,", error),
        }
    }

    /// Syncs everything up to `end`.
    fn sync(&mut self, end: NeedleOffset) -> Result<(), StoreError> {
        let file = Arc::clone(&self.shared.live.read().file);
        Shared::count(&self.shared.counters.syncs, 1);
        let begun = Instant::now();
        let synced = self.shared.options.pace.foreground.time(Wait::Sync, || file.sync());
        synced.map_err(|error| self.fail("sync", &error))?;
        self.synced_end = end;
        self.last_sync = Instant::now();
        self.sync_took = self.last_sync - begun;
        Ok(())
    }

    fn unsynced(&self) -> bool {
        self.synced_end < self.shared.live.read().end
    }

    /// Makes what is published durable, where the durability mode put that off.
    pub fn sync_published(&mut self) -> Result<(), StoreError> {
        self.shared.check_deletes()?;
        let end = self.shared.live.read().end;
        if self.synced_end < end { self.sync(end) } else { Ok(()) }
    }

    fn sync_or_fail(&mut self) {
        // A failure is logged and remembered where it happens; nobody waits for an answer.
        let _ = self.sync_published();
        self.last_sync = Instant::now();
    }

    /// Refuses writes from now on.
    pub fn fail(&self, what: &str, error: &io::Error) -> StoreError {
        tracing::error!(volume = %self.shared.id, what, %error, "volume refuses writes from now on");
        let reason: Arc<str> = format!("a {what} failed: {error}").into();
        *self.shared.condition.lock() = Condition::Failed(Arc::clone(&reason));
        StoreError::Failed { volume: self.shared.id, reason }
    }

    /// Now, but always later than the last record, whatever the clock does.
    fn next_append_ns(&self) -> u64 {
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        now.max(self.shared.live.read().last_append_ns + 1)
    }

    /// Publishes another file in place of the current one; all its bytes are durable.
    pub fn replace(&mut self, live: Live) {
        self.synced_end = live.end;
        self.allocated_end = live.end.bytes();
        *self.shared.live.write() = live;
    }

    /// Takes back records that were never acknowledged. Used by recovery, before anyone else writes.
    pub fn abort(&mut self, records: &[(Key, Cookie)]) -> Result<(), StoreError> {
        let mut group = Group::new(Vec::new(), self.synced_end, self.next_append_ns());
        for (key, cookie) in records {
            let record = Prepared::abort(*key, *cookie);
            group.append(&self.shared, &record, Change::Abort)?;
        }
        self.commit(&group)?;
        self.sync_published()
    }
}
