//! Read repair: a replica that lacks a needle, or has it damaged, is told to fetch it from one
//! that has just served it.
//!
//! It is the replica itself that compares and fetches: one that has the needle's tombstone keeps
//! that, so nothing that was deleted comes back. This is a help only. Whatever is not done here,
//! as too much is waiting or a store does not answer, the keeper finds when it compares.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hayrick_directory::StoreId;
use hayrick_store::{Epoch, Key, NeedleId, Peer, StoreError, StoreHandle, Synced, VolumeId};
use metrics::counter;
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

use crate::Proxy;

/// Repairs that may wait.
const QUEUE: usize = 64;

/// Between two repairs: the stores have clients to serve.
const PAUSE: Duration = Duration::from_millis(50);

/// The same needle of the same replica is not repaired again for this long, whatever came of it.
const REST: Duration = Duration::from_mins(1);

/// How many repairs are kept in mind for that.
const KEPT_IN_MIND: usize = 10_000;

/// Which needle of which replica.
type Place = (StoreId, VolumeId, Key);

/// Repairs that wait, and those that were made.
pub(super) struct Repairs {
    room: Arc<Semaphore>,
    turn: Arc<Mutex<()>>,
    recent: Cache<Place, Instant>,
}

impl Default for Repairs {
    fn default() -> Self {
        let (room, turn) = (Arc::new(Semaphore::new(QUEUE)), Arc::default());
        Self { room, turn, recent: Cache::new(KEPT_IN_MIND) }
    }
}

/// Whether the replica may be better for a repair.
pub(super) fn is_repairable(error: &StoreError) -> bool {
    matches!(error, StoreError::NotFound | StoreError::Corrupt { .. })
}

impl Proxy {
    /// Has replicas fetch a needle from one that has served it. Nobody waits for that.
    pub(super) fn repair(&self, needle: NeedleId, replicas: Vec<StoreId>, from: &StoreId) {
        for replica in replicas {
            self.repair_one(needle, replica, from);
        }
    }

    fn repair_one(&self, NeedleId { volume, key, .. }: NeedleId, replica: StoreId, from: &StoreId) {
        let Repairs { room, turn, recent } = &self.replicas.repairs;
        let place = (replica, volume, key);
        if recent.peek(&place).is_some_and(|at| at.elapsed() < REST) {
            return;
        }
        let source = self.directory.store_address(from);
        let (Some(address), Some(store)) = (source, self.stores.get(&place.0)) else { return };
        let Some(known) = self.directory.volume(volume) else { return };
        let Ok(seat) = Arc::clone(room).try_acquire_owned() else {
            outcome("dropped");
            return;
        };
        recent.insert(place.clone(), Instant::now());
        let source = Peer { name: from.to_string(), url: format!("http://{address}") };
        let (turn, epoch) = (Arc::clone(turn), Epoch::new(known.epoch));
        tokio::spawn(async move {
            let _turn = turn.lock().await;
            order(&store, place, epoch, source).await;
            tokio::time::sleep(PAUSE).await;
            drop(seat);
        });
    }
}

async fn order(store: &StoreHandle, (replica, volume, key): Place, epoch: Epoch, source: Peer) {
    let from = source.name.clone();
    match store.repair_keys(volume, epoch, vec![key], vec![source]).await {
        Ok(Synced { needles: 0, tombstones: 0, repaired: 0, unreadable, .. }) => {
            // It has the needle or its tombstone by now, or the other has lost it too.
            tracing::debug!(%replica, %volume, %key, from, unreadable, "nothing repaired");
            outcome("unneeded");
        }
        Ok(synced) => {
            tracing::info!(%replica, %volume, %key, from, ?synced, "replica repaired");
            outcome("done");
        }
        Err(error) => {
            tracing::warn!(%replica, %volume, %key, from, %error, "replica not repaired");
            outcome("failed");
        }
    }
}

fn outcome(outcome: &'static str) {
    counter!("hayrick_proxy_read_repairs_total", "outcome" => outcome).increment(1);
}
