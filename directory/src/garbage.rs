//! The reaper: deletes queued needles from the stores, in the background.
//!
//! A needle leaves the queue only when every replica has confirmed its deletion, so
//! whatever fails or crashes between is done again; deleting twice is harmless.
//!
//! Needles wait in the queue for the sake of downloads that began before their object was
//! replaced, and for nothing else: no name holds them any more, and a write that is still on its
//! way finds its key taken by the tombstone. So one that is deleted too early costs a download,
//! and one that is deleted late takes room. Both are bounded, whatever clocks do: all due times
//! are told by one clock (`clock`); while that has just jumped ahead nothing is deleted; and
//! what was queued while it was ahead is not waited for until it has caught up (`ahead`). Only a
//! jump while no directory was there to see it costs needles their wait.

mod ahead;
pub(crate) mod clock;

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use futures::{FutureExt, future};
use hayrick_store::{Epoch, VolumeId};

use self::ahead::Ahead;
use self::clock::QueueClock;
use crate::backoff::Backoff;
use crate::config::GarbageConfig;
use crate::{Coordinator, Garbage, Names, NamesError, Stores, Volume};

/// How many needles are being deleted at once.
const CONCURRENT_DELETES: usize = 16;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// There may be more to do at once.
    More,
    /// Nothing is due.
    Idle,
}

/// Deletes due needles, volume by volume.
pub(crate) struct Reaper {
    names: Arc<dyn Names>,
    coordinator: Arc<dyn Coordinator>,
    stores: Arc<dyn Stores>,
    clock: Arc<QueueClock>,
    /// The longest that any needle has to wait.
    longest_wait: Duration,
    ahead: Ahead,
    batch_needles: usize,
    /// Volumes still to be looked at in this round, and the due times of needles there that are
    /// to be deleted.
    round: VecDeque<(VolumeId, RangeInclusive<u64>)>,
    backoff: Backoff<VolumeId>,
}

impl Reaper {
    pub(crate) fn new(
        names: Arc<dyn Names>,
        coordinator: Arc<dyn Coordinator>,
        stores: Arc<dyn Stores>,
        clock: Arc<QueueClock>,
        longest_wait: Duration,
        config: &GarbageConfig,
    ) -> Self {
        let backoff = Backoff::new(
            Duration::from_millis(config.min_backoff_ms),
            Duration::from_millis(config.max_backoff_ms),
        );
        Self {
            names,
            coordinator,
            stores,
            clock,
            longest_wait,
            ahead: Ahead::new(longest_wait),
            batch_needles: config.batch_needles,
            round: VecDeque::new(),
            backoff,
        }
    }

    /// One batch of one volume.
    pub(crate) async fn step(&mut self) -> Step {
        match self.try_step().await {
            Ok(step) => step,
            Err(error) => {
                tracing::warn!(%error, "garbage queue not read or written");
                Step::Idle
            }
        }
    }

    async fn try_step(&mut self) -> Result<Step, NamesError> {
        if self.clock.jumped_within(self.longest_wait) {
            self.ahead.forget();
            self.round.clear();
            return Ok(Step::Idle);
        }
        if self.round.is_empty() {
            self.begin_round().await?;
        }
        let Some((volume, due_ms)) = self.round.pop_front() else { return Ok(Step::Idle) };
        let due = self.names.due_in(volume, due_ms, self.batch_needles).await?;
        let map = self.coordinator.map();
        let Some(known) = map.volumes.get(&volume) else {
            // The map may be an old copy; the needles are still somewhere.
            tracing::error!(%volume, needles = due.len(), "garbage in a volume not on the map");
            self.backoff.failed(volume);
            return Ok(Step::More);
        };
        let deleted = delete_all(&*self.stores, &known.value, &due).await;
        metrics::counter!("hayrick_garbage_deleted_total").increment(count(deleted.len()));
        let failed = due.len() - deleted.len();
        if failed > 0 {
            metrics::counter!("hayrick_garbage_failures_total").increment(count(failed));
            tracing::warn!(%volume, needles = failed, "needles not deleted, kept for later");
        }
        // One needle that cannot be deleted does not hold up the volume's others.
        if failed > 0 && deleted.is_empty() {
            self.backoff.failed(volume);
        } else {
            self.backoff.succeeded(&volume);
        }
        if !deleted.is_empty() {
            self.names.settle(deleted).await?;
        }
        Ok(Step::More)
    }

    /// Finds out where something is due.
    async fn begin_round(&mut self) -> Result<(), NamesError> {
        // Once a round: on a shared database, counting is no small matter.
        let queued = self.names.garbage_len().await?;
        metrics::gauge!("hayrick_garbage_needles").set(to_f64(queued));
        let queues = self.names.garbage_queues().await?;
        let now_ms = self.clock.now_ms();
        let due = queues.iter().filter(|queue| queue.first_due_ms <= now_ms);
        let due = due.map(|queue| (queue.volume, 0..=now_ms));
        let due = due.chain(self.ahead.look(&queues, now_ms));
        self.round = due.filter(|(volume, _)| !self.backoff.waits(volume)).collect();
        Ok(())
    }
}

/// Deletes needles of one volume; answers those that every replica confirmed. A replica that
/// knows a newer epoch than the map confirms nothing: there are other replicas by now.
pub(crate) async fn delete_all(
    stores: &dyn Stores,
    volume: &Volume,
    needles: &[Garbage],
) -> Vec<Garbage> {
    // Boxed, as the compiler does not see that borrowing futures in a stream are `Send`.
    let deletes = needles.iter().map(|garbage| delete(stores, volume, garbage.clone()).boxed());
    let deletes = stream::iter(deletes.collect::<Vec<_>>()).buffer_unordered(CONCURRENT_DELETES);
    deletes.filter_map(future::ready).collect().await
}

/// Deletes a needle on every replica that can be reached, whichever fail; answers it
/// if none did.
async fn delete(stores: &dyn Stores, volume: &Volume, garbage: Garbage) -> Option<Garbage> {
    let (replicas, epoch) = (&volume.replicas, Epoch::new(volume.epoch));
    let removal = garbage.removal.as_deref();
    let answers = replicas.iter().map(|store| stores.delete(store, garbage.id, epoch, removal));
    let answers = future::join_all(answers).await;
    let mut deleted = !replicas.is_empty();
    for (store, answer) in replicas.iter().zip(answers) {
        if let Err(error) = answer {
            tracing::debug!(needle = %garbage.id, %store, %error, "needle not deleted");
            deleted = false;
        }
    }
    deleted.then_some(garbage)
}

fn count(needles: usize) -> u64 {
    u64::try_from(needles).unwrap_or(u64::MAX)
}

/// A gauge holds a float; beyond 2^53 needles its last digits do not matter.
#[expect(clippy::cast_precision_loss, reason = "only shown")]
fn to_f64(needles: u64) -> f64 {
    needles as f64
}

#[cfg(test)]
mod tests;
