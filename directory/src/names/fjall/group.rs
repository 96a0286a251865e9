//! A group of changes that are written together: each change's effect on the tables,
//! seeing the effects of those before it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use hayrick_store::NeedleId;
use tokio::sync::oneshot;

use super::keys;
use crate::BucketName;
use crate::names::removals::Removals;
use crate::names::{Committed, Discard, Garbage, NamesError, Put, Removal, Remove, Row, rules};

/// Who waits for the answer.
pub(super) type Reply<T> = oneshot::Sender<Result<T, NamesError>>;

/// A change that waits for the writer.
pub(super) enum Job {
    /// With the row as it will be written.
    Put(Put, Vec<u8>, Reply<Committed>),
    Remove(Remove, Reply<Option<Row>>),
    Discard(Discard, Reply<Vec<Garbage>>),
    Settle(Vec<Garbage>, Reply<()>),
    Gate(Gate),
}

/// Stands between groups: what is before it is on disk first.
pub(super) enum Gate {
    Close(BucketName, Reply<()>),
    Reopen(BucketName, Reply<()>),
}

/// The tables as they were before the group.
pub(super) trait Base {
    /// The row with this key.
    fn row(&self, key: &[u8]) -> Result<Option<Row>, NamesError>;
    /// Whether a needle with this key is queued.
    fn has_garbage(&self, key: &[u8]) -> Result<bool, NamesError>;
    /// Whether the bucket has no rows.
    fn is_empty(&self, bucket: &BucketName) -> Result<bool, NamesError>;
}

/// What a group changes; `None` removes.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) rows: HashMap<Vec<u8>, Option<Written>>,
    pub(super) garbage: BTreeMap<[u8; 20], Option<Garbage>>,
    /// The highest version among the changes.
    pub(super) version: u64,
    /// By how much the queue of needles grows.
    pub(super) garbage_growth: i64,
}

/// A row as it is read and as it is written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) row: Arc<Row>,
    pub(super) value: Vec<u8>,
}

impl Effects {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.garbage.is_empty()
    }
}

/// Tells the result of the group's sync: `true` when it is on disk.
pub(super) type Answer = Box<dyn FnOnce(bool) + Send>;

pub(super) struct Group<'a, B> {
    base: &'a B,
    rules: &'a Rules,
    removals: &'a mut Removals,
    effects: Effects,
    answers: Vec<Answer>,
}

/// What puts are refused for.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Buckets that take no puts.
    pub(super) closed: HashSet<BucketName>,
    /// There is hardly room on the disk left: only changes that free some are made.
    pub(super) disk_full: bool,
}

impl<'a, B: Base> Group<'a, B> {
    pub(super) fn new(base: &'a B, rules: &'a Rules, removals: &'a mut Removals) -> Self {
        Self { base, rules, removals, effects: Effects::default(), answers: Vec::new() }
    }

    /// Makes the change, or gives back the gate at which the group ends.
    pub(super) fn apply(&mut self, job: Job) -> Option<Gate> {
        match job {
            Job::Put(put, value, reply) => {
                let outcome = self.put(put, value);
                self.answer(outcome, reply);
            }
            Job::Remove(remove, reply) => {
                let outcome = self.remove(&remove);
                self.answer(outcome, reply);
            }
            Job::Discard(discard, reply) => {
                let outcome = self.discard(&discard);
                self.answer(outcome, reply);
            }
            Job::Settle(done, reply) => {
                let outcome = done.iter().try_for_each(|garbage| self.unqueue(garbage));
                self.answer(outcome, reply);
            }
            Job::Gate(gate) => return Some(gate),
        }
        None
    }

    pub(super) fn finish(self) -> (Effects, Vec<Answer>) {
        (self.effects, self.answers)
    }

    fn put(&mut self, put: Put, value: Vec<u8>) -> Result<Committed, NamesError> {
        if self.rules.closed.contains(&put.bucket) {
            return Err(NamesError::BucketClosed);
        }
        if self.rules.disk_full {
            return Err(NamesError::DiskFull);
        }
        let key = keys::row(&put.bucket, &put.name);
        let current = self.row(&key)?;
        let effect = rules::put(&put, current, self.removals.floor(&key), false)?;
        let leaving = self.unqueued(effect.leaving, put.due_ms, None)?;
        self.queue(&leaving);
        if effect.writes_row {
            self.set(key, put.row, value);
        }
        Ok(effect.answer)
    }

    fn remove(&mut self, remove: &Remove) -> Result<Option<Row>, NamesError> {
        let key = keys::row(&remove.bucket, &remove.name);
        let current = self.row(&key)?;
        remove.condition.check(current.as_ref().map(|row| row.version))?;
        if let Some(current) = &current {
            let removal = Arc::new(remove.of(current));
            let version = removal.version;
            let needles = current.needle_ids().collect();
            let leaving = self.unqueued(needles, remove.due_ms, Some(&removal))?;
            self.queue(&leaving);
            self.removals.note(&key, version);
            self.effects.rows.insert(key, None);
            self.effects.version = self.effects.version.max(version);
        }
        Ok(current)
    }

    fn discard(&mut self, discard: &Discard) -> Result<Vec<Garbage>, NamesError> {
        let current = self.row(&keys::row(&discard.bucket, &discard.name))?.unwrap_or_default();
        // Whoever discards may not know that its put was made after all.
        let leaving = rules::leaving(discard.needles.iter().copied(), &current);
        let leaving = self.unqueued(leaving, discard.due_ms, None)?;
        self.queue(&leaving);
        Ok(leaving)
    }

    fn row(&self, key: &[u8]) -> Result<Option<Row>, NamesError> {
        match self.effects.rows.get(key) {
            Some(written) => Ok(written.as_ref().map(|written| (*written.row).clone())),
            None => self.base.row(key),
        }
    }

    fn set(&mut self, key: Vec<u8>, row: Row, value: Vec<u8>) {
        self.effects.version = self.effects.version.max(row.version);
        self.effects.rows.insert(key, Some(Written { row: Arc::new(row), value }));
    }

    /// The needles as they would be queued, but for those that are already. Nothing is
    /// queued yet, so that a change that fails leaves nothing of itself behind.
    fn unqueued(
        &self,
        needles: Vec<NeedleId>,
        due_ms: u64,
        removal: Option<&Arc<Removal>>,
    ) -> Result<Vec<Garbage>, NamesError> {
        let mut fresh = Vec::new();
        for id in needles {
            let entry = Garbage { id, due_ms, removal: removal.cloned() };
            if !self.is_queued(&keys::garbage(&entry))? {
                fresh.push(entry);
            }
        }
        Ok(fresh)
    }

    fn queue(&mut self, garbage: &[Garbage]) {
        for entry in garbage {
            let before = self.effects.garbage.insert(keys::garbage(entry), Some(entry.clone()));
            if !matches!(before, Some(Some(_))) {
                self.effects.garbage_growth += 1;
            }
        }
    }

    fn unqueue(&mut self, garbage: &Garbage) -> Result<(), NamesError> {
        let key = keys::garbage(garbage);
        if self.is_queued(&key)? {
            self.effects.garbage.insert(key, None);
            self.effects.garbage_growth -= 1;
        }
        Ok(())
    }

    fn is_queued(&self, key: &[u8; 20]) -> Result<bool, NamesError> {
        match self.effects.garbage.get(key) {
            Some(queued) => Ok(queued.is_some()),
            None => self.base.has_garbage(key),
        }
    }

    /// Holds the outcome back until the group is on disk. A refusal too: it may stand
    /// on the effect of a change before it in the group.
    fn answer<T: Send + 'static>(&mut self, outcome: Result<T, NamesError>, reply: Reply<T>) {
        self.answers.push(Box::new(move |synced| {
            // Whoever asked may have gone away; the change stands all the same.
            drop(reply.send(if synced { outcome } else { Err(NamesError::Failed) }));
        }));
    }
}
