//! The embedded engine: the names in a fjall database, changed by one thread.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `rows` | bucket, 0, name | [a row](super::Row) |
//! | `garbage` | volume, due time, needle key (big-endian) | the needle's cookie; the removal it is deleted for |
//! | `meta` | `last_version` | the highest version (u64, little-endian) |
//!
//! Changes go through a bounded queue to the writer thread. It takes all that wait,
//! checks their conditions in order, each seeing what those before it did, writes one
//! batch, syncs once, and answers only then. Reads go to the database directly; rows that are asked
//! for at the same time share a thread.

mod builder;
mod group;
mod lookups;
mod raw;
mod reader;
mod recent;
mod writer;

use std::io;
use std::iter;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use ::fjall::{Database, Keyspace, KeyspaceCreateOptions};
use futures::FutureExt;
use futures::future;
use hayrick_store::VolumeId;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub(crate) use self::builder::Builder;
use self::group::{Gate, Job};
use self::lookups::Lookup;
pub(crate) use self::raw::RawFjall;
use self::reader::Reader;
use self::recent::RecentRows;
use self::writer::{Queued, Writer};
use super::{
    Answer, Committed, Discard, Garbage, GarbageQueue, ListPage, ListQuery, Names, NamesError, Put,
    Remove, Row, keys, row,
};
use crate::{BucketName, ObjectName, SystemClock, WallClock as _};
use hayrick_service::gather::Gather;

/// How the embedded name database uses the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FjallConfig {
    /// Memory for blocks read from disk, in bytes. Default: 64 MiB.
    pub cache_bytes: u64,
    /// Memory for rows that were read or written lately, in bytes; 0 for none. Default: 32 MiB.
    pub recent_bytes: u64,
    /// How many changes may wait; one more is refused as busy. Default: 4,096.
    pub queue_jobs: usize,
    /// How many bytes the waiting changes may take. Default: 64 MiB.
    pub queue_bytes: usize,
    /// How many reads run at once; more wait. Default: 64.
    pub max_reads: usize,
    /// When less than this is free on the disk, puts are refused and only removals
    /// are taken: a write that fails for lack of room would stop both. Default: 128 MiB.
    pub min_free_bytes: u64,
}

impl Default for FjallConfig {
    fn default() -> Self {
        Self {
            cache_bytes: 64 << 20,
            recent_bytes: 32 << 20,
            queue_jobs: 4_096,
            queue_bytes: 64 << 20,
            max_reads: 64,
            min_free_bytes: 128 << 20,
        }
    }
}

/// The names in a fjall database. Dropping it lets the writer finish what is queued.
pub struct FjallNames {
    /// `None` only while dropping: the writer ends when the queue is closed.
    queue: Option<mpsc::Sender<Queued>>,
    queue_budget: Arc<Semaphore>,
    reader: Arc<Reader>,
    reads: Arc<Semaphore>,
    lookups: Arc<Gather<Lookup>>,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer tells the rest of the engine.
#[derive(Debug, Default)]
struct Shared {
    garbage_len: AtomicU64,
    last_version: AtomicU64,
    failed: AtomicBool,
    recent: RecentRows,
}

/// The parts of the open database.
#[derive(Clone)]
struct Tables {
    database: Database,
    rows: Keyspace,
    garbage: Keyspace,
    meta: Keyspace,
    path: PathBuf,
}

const LAST_VERSION: &str = "last_version";

impl FjallNames {
    /// Opens the database in the folder `path`, or makes one.
    pub fn open(path: &Path, config: &FjallConfig) -> Result<Self, NamesError> {
        let tables = Tables::open(path, config)?;
        let reader = Arc::new(Reader::new(tables.clone()));
        let recent = RecentRows::new(config.recent_bytes);
        let shared = Arc::new(Shared { recent, ..Shared::default() });
        shared.garbage_len.store(reader.count_garbage()?, Ordering::Release);
        shared.last_version.store(reader.last_version()?, Ordering::Release);
        let (queue, jobs) = mpsc::channel(config.queue_jobs.max(1));
        let writer = Writer::new(tables, jobs, Arc::clone(&shared), config.min_free_bytes);
        let writer = thread::Builder::new()
            .name("names-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| NamesError::Io(error.to_string()))?;
        Ok(Self {
            queue: Some(queue),
            queue_budget: Arc::new(Semaphore::new(config.queue_bytes.min(Semaphore::MAX_PERMITS))),
            reader,
            reads: Arc::new(Semaphore::new(config.max_reads.max(1))),
            lookups: Gather::new(lookups::LIMITS),
            shared,
            writer: Some(writer),
        })
    }

    /// Queues a change of about `size_bytes`. It is made even if the answer's future
    /// is dropped.
    fn change<T: Send + 'static>(
        &self,
        size_bytes: usize,
        job: impl FnOnce(oneshot::Sender<Result<T, NamesError>>) -> Job,
    ) -> Answer<'_, T> {
        let (reply, answer) = oneshot::channel();
        if let Err(error) = self.enqueue(size_bytes, job(reply)) {
            return future::ready(Err(error)).boxed();
        }
        // The writer answers every job or dies of a bug; then nothing is known.
        async move { answer.await.unwrap_or(Err(NamesError::Failed)) }.boxed()
    }

    fn enqueue(&self, size_bytes: usize, job: Job) -> Result<(), NamesError> {
        if self.shared.failed.load(Ordering::Acquire) {
            return Err(NamesError::Failed);
        }
        let permits = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        let budget = Arc::clone(&self.queue_budget).try_acquire_many_owned(permits);
        let budget = budget.map_err(|_| NamesError::Busy)?;
        let queue = self.queue.as_ref().ok_or(NamesError::Failed)?;
        queue.try_send(Queued { job, budget }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NamesError::Busy,
            mpsc::error::TrySendError::Closed(_) => NamesError::Failed,
        })
    }

    /// Runs a read on a thread where it may wait for the disk. A read from memory
    /// takes about a microsecond, one from disk milliseconds, and which it will be is
    /// not known before; the hop to the thread costs some tens of microseconds.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, NamesError> + Send + 'static,
    ) -> Answer<'_, T> {
        let reader = Arc::clone(&self.reader);
        let reads = Arc::clone(&self.reads);
        async move {
            let closed = |_| NamesError::Io("reading has ended".to_owned());
            let permit = reads.acquire_owned().await.map_err(closed)?;
            let task = tokio::task::spawn_blocking(move || {
                let _permit = permit;
                read(&reader)
            });
            task.await.unwrap_or_else(|error| Err(NamesError::Io(error.to_string())))
        }
        .boxed()
    }
}

impl Drop for FjallNames {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has been told on standard error already.
            drop(writer.join());
        }
    }
}

impl Tables {
    fn open(path: &Path, config: &FjallConfig) -> Result<Self, NamesError> {
        let builder = Database::builder(path).cache_size(config.cache_bytes);
        // The writer flushes with the sync, so a flush after each batch is not needed.
        let database = builder.manual_journal_persist(true).open().map_err(engine_error)?;
        let keyspace = |name, memtable_bytes| {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes);
            database.keyspace(name, options).map_err(engine_error)
        };
        Ok(Self {
            rows: keyspace("rows", 32 << 20)?,
            // The queue is eaten from the front, where deleted entries pile up until
            // they are flushed; a small table keeps the pile small.
            garbage: keyspace("garbage", 4 << 20)?,
            meta: keyspace("meta", 1 << 20)?,
            path: path.to_owned(),
            database,
        })
    }
}

pub(crate) fn engine_error(error: ::fjall::Error) -> NamesError {
    match error {
        ::fjall::Error::Locked => NamesError::Locked,
        ::fjall::Error::Poisoned => NamesError::Failed,
        other => match io_cause(&other) {
            Some(cause) => NamesError::Io(cause.to_string()),
            None => NamesError::Corrupt(other.to_string()),
        },
    }
}

fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    iter::successors(Some(error), |error| error.source()).find_map(|error| error.downcast_ref())
}

impl Names for FjallNames {
    fn get(&self, bucket: &BucketName, name: &ObjectName) -> Answer<'_, Option<Row>> {
        let key = keys::row(bucket, name);
        if let Some(row) = self.shared.recent.get(&key) {
            return future::ready(Ok(Some((*row).clone()))).boxed();
        }
        self.look_up(key).boxed()
    }

    fn get_recent(&self, bucket: &BucketName, name: &ObjectName) -> Option<Arc<Row>> {
        self.shared.recent.get(&keys::row(bucket, name))
    }

    fn put(&self, put: Put) -> Answer<'_, Committed> {
        let value = match row::encode(&put.row) {
            Ok(value) => value,
            Err(error) => return future::ready(Err(error)).boxed(),
        };
        // The row is held twice while it waits: as it will be read and as written.
        let size_bytes = 2 * value.len() + 256;
        self.change(size_bytes, |reply| Job::Put(put, value, reply))
    }

    fn remove(&self, remove: Remove) -> Answer<'_, Option<Row>> {
        self.change(1_024, |reply| Job::Remove(remove, reply))
    }

    fn discard(&self, discard: Discard) -> Answer<'_, Vec<Garbage>> {
        let size_bytes = 256 + discard.needles.len() * 64;
        self.change(size_bytes, |reply| Job::Discard(discard, reply))
    }

    fn list(&self, bucket: &BucketName, query: ListQuery) -> Answer<'_, ListPage> {
        let bucket = bucket.clone();
        self.read(move |reader| reader.list(&bucket, &query))
    }

    fn now_ms(&self) -> Answer<'_, u64> {
        // There is but one process.
        future::ready(Ok(SystemClock.now_ms())).boxed()
    }

    fn garbage_queues(&self) -> Answer<'_, Vec<GarbageQueue>> {
        self.read(Reader::garbage_queues)
    }

    fn due_in(
        &self,
        volume: VolumeId,
        due_ms: RangeInclusive<u64>,
        limit: usize,
    ) -> Answer<'_, Vec<Garbage>> {
        self.read(move |reader| reader.due_in(volume, &due_ms, limit))
    }

    fn settle(&self, done: Vec<Garbage>) -> Answer<'_, ()> {
        self.change(256 + done.len() * 64, |reply| Job::Settle(done, reply))
    }

    fn garbage_len(&self) -> Answer<'_, u64> {
        future::ready(Ok(self.shared.garbage_len.load(Ordering::Acquire))).boxed()
    }

    fn close_bucket(&self, bucket: &BucketName) -> Answer<'_, ()> {
        let bucket = bucket.clone();
        self.change(256, |reply| Job::Gate(Gate::Close(bucket, reply)))
    }

    fn reopen_bucket(&self, bucket: &BucketName) -> Answer<'_, ()> {
        let bucket = bucket.clone();
        self.change(256, |reply| Job::Gate(Gate::Reopen(bucket, reply)))
    }

    fn last_version(&self) -> Answer<'_, u64> {
        future::ready(Ok(self.shared.last_version.load(Ordering::Acquire))).boxed()
    }
}

#[cfg(test)]
mod tests;
