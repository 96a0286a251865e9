//! The one thread that changes the tables: group commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ::fjall::PersistMode;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::group::{Answer, Base, Effects, Gate, Group, Job, Rules};
use super::{LAST_VERSION, Shared, Tables, engine_error, keys};
use crate::BucketName;
use crate::names::removals::Removals;
use crate::names::{Garbage, NamesError, Row, row};

/// The most changes written together; bounds how long the first waits for the last.
const MAX_GROUP_JOBS: usize = 1_024;

/// A change in the queue.
pub(super) struct Queued {
    pub(super) job: Job,
    /// Its share of the queue's memory, given back when it is answered.
    pub(super) budget: OwnedSemaphorePermit,
}

/// Where groups are written; a double stands in for it in tests.
pub(super) trait Sink: Base {
    /// Makes the effects durable, all or none.
    fn commit(&self, effects: &Effects, last_version: u64) -> Result<(), NamesError>;
    /// How much room its disk has.
    fn free_bytes(&self) -> u64;
}

pub(super) struct Writer<S> {
    sink: S,
    jobs: mpsc::Receiver<Queued>,
    shared: Arc<Shared>,
    min_free_bytes: u64,
    rules: Rules,
    removals: Removals,
}

impl<S: Sink> Writer<S> {
    pub(super) fn new(
        sink: S,
        jobs: mpsc::Receiver<Queued>,
        shared: Arc<Shared>,
        min_free_bytes: u64,
    ) -> Self {
        let removals = Removals::all_up_to(shared.last_version.load(Ordering::Acquire));
        Self { sink, jobs, shared, min_free_bytes, rules: Rules::default(), removals }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut waiting = Vec::with_capacity(MAX_GROUP_JOBS);
        while self.jobs.blocking_recv_many(&mut waiting, MAX_GROUP_JOBS) > 0 {
            metrics::histogram!("hayrick_names_group_changes").record(count(waiting.len()));
            self.rules.disk_full = self.sink.free_bytes() < self.min_free_bytes;
            // Memory is given back only when everybody has been answered.
            let split = waiting.drain(..).map(|queued| (queued.job, queued.budget));
            let (jobs, budgets): (Vec<_>, Vec<_>) = split.unzip();
            self.commit_all(jobs);
            drop(budgets);
        }
    }

    /// Commits the changes in order, in one group but for the gates between.
    fn commit_all(&mut self, jobs: Vec<Job>) {
        let mut jobs = jobs.into_iter().peekable();
        while jobs.peek().is_some() {
            let mut group = Group::new(&self.sink, &self.rules, &mut self.removals);
            let gate = jobs.by_ref().find_map(|job| group.apply(job));
            let (effects, answers) = group.finish();
            self.write(&effects, answers);
            if let Some(gate) = gate {
                self.pass(gate);
            }
        }
    }

    fn pass(&mut self, gate: Gate) {
        let (outcome, reply) = match gate {
            Gate::Close(bucket, reply) => (self.close(bucket), reply),
            Gate::Reopen(bucket, reply) => {
                self.rules.closed.remove(&bucket);
                (Ok(()), reply)
            }
        };
        drop(reply.send(outcome));
    }

    fn write(&self, effects: &Effects, answers: Vec<Answer>) {
        let synced = self.is_whole() && (effects.is_empty() || self.sync(effects));
        for (key, written) in &effects.rows {
            let row = written.as_ref().filter(|_| synced).map(|written| &written.row);
            self.shared.recent.changed(key, row);
        }
        for answer in answers {
            answer(synced);
        }
    }

    fn sync(&self, effects: &Effects) -> bool {
        let last_version = self.shared.last_version.load(Ordering::Acquire).max(effects.version);
        let started = Instant::now();
        if let Err(error) = self.sink.commit(effects, last_version) {
            // What reached the disk is unknown, and asking again would not tell: the
            // system may have dropped what it could not write.
            self.shared.failed.store(true, Ordering::Release);
            tracing::error!(%error, "name database: write failed, refusing changes");
            return false;
        }
        metrics::histogram!("hayrick_names_commit_seconds").record(started.elapsed());
        self.shared.last_version.store(last_version, Ordering::Release);
        let garbage_len = &self.shared.garbage_len;
        let len = garbage_len.load(Ordering::Acquire).saturating_add_signed(effects.garbage_growth);
        garbage_len.store(len, Ordering::Release);
        true
    }

    fn close(&mut self, bucket: BucketName) -> Result<(), NamesError> {
        if !self.is_whole() {
            return Err(NamesError::Failed);
        }
        if !self.sink.is_empty(&bucket)? {
            return Err(NamesError::BucketNotEmpty);
        }
        self.rules.closed.insert(bucket);
        Ok(())
    }

    fn is_whole(&self) -> bool {
        !self.shared.failed.load(Ordering::Acquire)
    }
}

impl Base for Tables {
    fn row(&self, key: &[u8]) -> Result<Option<Row>, NamesError> {
        let value = self.rows.get(key).map_err(engine_error)?;
        value.map(|value| row::decode(&value)).transpose()
    }

    fn has_garbage(&self, key: &[u8]) -> Result<bool, NamesError> {
        self.garbage.contains_key(key).map_err(engine_error)
    }

    fn is_empty(&self, bucket: &BucketName) -> Result<bool, NamesError> {
        let range = keys::bucket_prefix(bucket)..keys::bucket_end(bucket);
        let first = self.rows.range(range).next();
        Ok(first.map(|entry| entry.key().map_err(engine_error)).transpose()?.is_none())
    }
}

impl Sink for Tables {
    fn commit(&self, effects: &Effects, last_version: u64) -> Result<(), NamesError> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncData));
        for (key, written) in &effects.rows {
            match written {
                Some(written) => batch.insert(&self.rows, key.as_slice(), written.value.as_slice()),
                None => batch.remove(&self.rows, key.as_slice()),
            }
        }
        for (key, queued) in &effects.garbage {
            match queued {
                Some(garbage) => {
                    let Garbage { id, removal, .. } = garbage;
                    let value = row::encode_garbage(id.cookie, removal.as_deref())?;
                    batch.insert(&self.garbage, key, value);
                }
                None => batch.remove(&self.garbage, key),
            }
        }
        batch.insert(&self.meta, LAST_VERSION, last_version.to_le_bytes());
        batch.commit().map_err(engine_error)
    }

    fn free_bytes(&self) -> u64 {
        // If the system does not tell, writing will.
        let stat = rustix::fs::statvfs(&self.path);
        stat.map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn count(jobs: usize) -> f64 {
    f64::from(u32::try_from(jobs).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
