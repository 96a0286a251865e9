//! Random histories of a store.

use std::fmt;
use std::time::Duration;

use hayrick_store::StoreError;
use hayrick_store::config::StoreOptions;
use hayrick_store::storage::memory::{HeldSyncs, MemoryDisk};
use hayrick_store::volume::{Answer, Durability};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::runtime::Runtime;

use crate::client::{Client, open, options};
use crate::record::{Name, Record, id, needle, vid};

/// Keys are few, so that steps meet.
const KEYS: u64 = 24;

#[derive(Debug, Clone)]
pub enum Step {
    Put(Vec<Name>),
    /// These wait together, and so share one write and one sync.
    Burst(Vec<Op>),
    Delete(Name),
    Compact(u32),
    Checkpoint(u32),
    /// Makes the next volume.
    Roll(u32),
    /// Ends the store in good order and opens it again.
    Reopen,
    /// Opens it again after an end without any order.
    Restart,
}

#[derive(Debug, Clone)]
pub enum Op {
    Put(Vec<Name>),
    Delete(Name),
}

#[derive(Clone)]
pub struct History {
    pub steps: Vec<Step>,
    pub options: StoreOptions,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let volume = &self.options.volume;
        write!(f, "{:?} {:?} {:?}", volume.durability, volume.tombstone_retention, self.steps)
    }
}

impl History {
    pub fn random(rng: &mut StdRng, len: usize) -> Self {
        let mut options = options();
        if rng.random_ratio(1, 3) {
            options.volume.tombstone_retention = Duration::ZERO;
        }
        if rng.random_ratio(1, 5) {
            options.volume.durability = Durability::Os;
        }
        let mut volumes = 1;
        let mut steps = vec![Step::Roll(1)];
        while steps.len() < len {
            let step = random_step(rng, volumes);
            volumes += u32::from(matches!(step, Step::Roll(_)));
            steps.push(step);
        }
        Self { steps, options }
    }

    pub fn is_synced(&self) -> bool {
        self.options.volume.durability == Durability::Sync
    }

    fn record(&self) -> Record {
        Record::new(self.options.volume.tombstone_retention.is_zero())
    }

    /// Runs until the first call fails, as it does when the power goes.
    pub fn run_until_cut(&self, disk: &MemoryDisk, runtime: &Runtime) -> Record {
        let Some(store) = open(disk, &self.options) else { return self.record() };
        let mut client = Client::new(store, self.record(), runtime);
        for step in &self.steps {
            match self.take(client, disk, step, runtime) {
                Ok(next) => client = next,
                Err(record) => return record,
            }
        }
        client.record
    }

    fn take<'a>(
        &self,
        mut client: Client<'a>,
        disk: &MemoryDisk,
        step: &Step,
        runtime: &'a Runtime,
    ) -> Result<Client<'a>, Record> {
        let record = match step {
            Step::Reopen => client.close(),
            Step::Restart => client.record,
            step => {
                let done = perform(&mut client, disk, step);
                return if done.is_ok() { Ok(client) } else { Err(client.record) };
            }
        };
        match open(disk, &self.options) {
            Some(store) => Ok(Client::new(store, record, runtime)),
            None => Err(record),
        }
    }
}

/// Does what `step` says, unless it is about opening the store again.
pub fn perform(client: &mut Client<'_>, disk: &MemoryDisk, step: &Step) -> Result<(), StoreError> {
    let done = match step {
        Step::Put(batch) => client.put(batch),
        Step::Burst(ops) => burst(client, disk, ops),
        Step::Delete(name) => client.delete(*name).map(drop),
        Step::Compact(volume) => client.compact(*volume),
        Step::Checkpoint(volume) => client.checkpoint(*volume),
        Step::Roll(volume) => client.create_volume(*volume),
        Step::Reopen | Step::Restart => Ok(()),
    };
    done.or_else(|error| match error {
        StoreError::Conflict { .. } => Ok(()),
        error => Err(error),
    })
}

fn random_step(rng: &mut StdRng, volumes: u32) -> Step {
    let volume = rng.random_range(1..=volumes);
    match rng.random_range(0..20) {
        0..6 => Step::Put(batch(rng, volume)),
        6..10 => Step::Burst((0..rng.random_range(2..6)).map(|_| op(rng, volume)).collect()),
        10..13 => Step::Delete((volume, rng.random_range(0..KEYS))),
        13 | 14 => Step::Compact(volume),
        15 => Step::Checkpoint(volume),
        16 => Step::Roll(volumes + 1),
        17 => Step::Reopen,
        _ => Step::Restart,
    }
}

fn op(rng: &mut StdRng, volume: u32) -> Op {
    if rng.random_ratio(1, 3) {
        Op::Delete((volume, rng.random_range(0..KEYS)))
    } else {
        Op::Put(batch(rng, volume))
    }
}

fn batch(rng: &mut StdRng, volume: u32) -> Vec<Name> {
    let first = rng.random_range(0..KEYS);
    (0..rng.random_range(1..5)).map(|next| (volume, (first + next * 5) % KEYS)).collect()
}

/// Sends all of `ops` while the writer is in a sync, so that they make one group.
fn burst(client: &mut Client<'_>, disk: &MemoryDisk, ops: &[Op]) -> Result<(), StoreError> {
    let volume = match &ops[0] {
        Op::Put(batch) => batch[0].0,
        Op::Delete(name) => name.0,
    };
    let open = client.store.volume(vid(volume))?;
    let sent: Vec<_> = {
        let held = disk.hold_syncs();
        // A key that no other step uses, so that there is something to sync.
        let blocker = (volume, 1000 + disk.steps());
        let first = open.put(vec![needle(blocker)]);
        wait_for_sync(&held);
        let rest: Vec<_> = ops
            .iter()
            .map(|op| match op {
                Op::Put(batch) => Sent::Put(open.put(batch.iter().map(|n| needle(*n)).collect())),
                Op::Delete(name) => Sent::Delete(open.delete(id(*name).key, id(*name).cookie)),
            })
            .collect();
        drop(held);
        client.record.note_put(&[blocker], &first.and_then(answer));
        rest
    };
    let mut result = Ok(());
    for (op, sent) in ops.iter().zip(sent) {
        let done = match (op, sent) {
            (Op::Put(batch), Sent::Put(sent)) => {
                let answer = sent.and_then(answer);
                client.record.note_put(batch, &answer);
                answer
            }
            (Op::Delete(name), Sent::Delete(sent)) => {
                let answer = sent.and_then(answer);
                client.record.note_delete(*name, &answer);
                answer.map(drop)
            }
            _ => Ok(()),
        };
        match done {
            Err(StoreError::Conflict { .. }) | Ok(()) => {}
            failed => result = failed,
        }
    }
    result
}

enum Sent {
    Put(Result<Answer<()>, StoreError>),
    Delete(Result<Answer<bool>, StoreError>),
}

fn answer<T>(answer: Answer<T>) -> Result<T, StoreError> {
    answer.blocking_recv().unwrap()
}

/// Waits until the writer is in its sync, or has got nowhere near one.
fn wait_for_sync(held: &HeldSyncs) {
    for _ in 0..40 {
        if held.any_waits() {
            return;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}
