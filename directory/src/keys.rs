//! Keys and cookies of new needles.
//!
//! Keys are given out from leased ranges: in memory, but for one durable step per range. A
//! volume's next range is leased in the background when half of the last one is used, and its
//! first before anything is written to it. So writes go on for a while when the coordinator
//! cannot be reached: for ten minutes at the pace that a volume had before, as leases grow
//! until one lasts twice as long.

mod stock;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{self, BoxFuture, FutureExt as _, Shared};
use futures::stream::{self, StreamExt as _};
use hayrick_store::{Cookie, Key, NeedleId, VolumeId};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::stock::Stock;
use crate::{Coordinator, DirectoryError};

/// How many ranges are leased at once.
const CONCURRENT_LEASES: usize = 16;

/// Gives out keys.
///
/// After a restart each volume goes on with a new range. What is left of the old ones
/// is never used, so a key is never given out twice.
pub(crate) struct KeyAllocator {
    coordinator: Arc<dyn Coordinator>,
    first_lease: u64,
    volumes: Mutex<HashMap<VolumeId, Arc<Mutex<Keys>>>>,
    /// Some stock is low.
    low: Notify,
}

/// The keys of a volume.
struct Keys {
    stock: Stock,
    /// The lease that is under way.
    lease: Option<Lease>,
}

/// A range that is being leased, by a task of its own: it comes also if nobody waits any more.
#[derive(Clone)]
struct Lease {
    since: Instant,
    done: Shared<BoxFuture<'static, ()>>,
}

impl KeyAllocator {
    /// Leases ranges of `first_lease` keys, and of more for volumes that use them up quickly.
    pub(crate) fn new(coordinator: Arc<dyn Coordinator>, first_lease: u64) -> Self {
        let (first_lease, low) = (first_lease.max(1), Notify::new());
        Self { coordinator, first_lease, volumes: Mutex::default(), low }
    }

    /// The ids of `count` new needles in a volume: fresh keys, random cookies.
    ///
    /// Where there are too few keys this waits for a lease, but for none that has been under
    /// way for longer than `patience`. After a lease that failed it fails at once, until
    /// [`KeyAllocator::stock_up`] has made one.
    pub(crate) async fn take(
        &self,
        volume: VolumeId,
        count: usize,
        patience: Duration,
    ) -> Result<Vec<NeedleId>, DirectoryError> {
        let keys = self.of(volume);
        loop {
            let lease = {
                let mut keys_now = keys.lock();
                let taken = keys_now.stock.take(count);
                if keys_now.stock.is_low() {
                    self.low.notify_one();
                }
                if let Some(taken) = taken {
                    return taken.into_iter().map(|key| needle_id(volume, key)).collect();
                }
                if let Some(problem) = keys_now.stock.problem() {
                    return Err(no_keys(volume, problem));
                }
                self.lease(volume, &keys, &mut keys_now)
            };
            let left = patience.saturating_sub(lease.since.elapsed());
            if tokio::time::timeout(left, lease.done).await.is_err() {
                return Err(no_keys(volume, "the coordinator has not answered yet"));
            }
        }
    }

    /// Leases a range for each of these volumes that has few keys left, and for those that were
    /// refused one: as no needles are placed there, nobody else would ask for it.
    pub(crate) async fn stock_up(&self, volumes: impl IntoIterator<Item = VolumeId>) {
        let volumes: BTreeSet<_> = volumes.into_iter().chain(self.refused()).collect();
        let low = volumes.into_iter().map(|volume| (volume, self.of(volume)));
        let low = low.filter(|(_, keys)| keys.lock().stock.is_low());
        let leases = stream::iter(low).map(|(volume, keys)| {
            let lease = self.lease(volume, &keys, &mut keys.lock());
            lease.done.map(move |()| keys.lock().stock.problem().map(str::to_owned))
        });
        let problems = leases.buffer_unordered(CONCURRENT_LEASES).filter_map(future::ready);
        let problems: Vec<_> = problems.collect().await;
        if let Some(error) = problems.first() {
            tracing::warn!(volumes = problems.len(), error, "keys not leased ahead");
        }
    }

    /// The volumes on the map whose last lease failed.
    fn refused(&self) -> Vec<VolumeId> {
        let map = self.coordinator.map();
        let volumes = self.volumes.lock();
        let refused = volumes.iter().filter(|(volume, keys)| {
            map.volumes.contains_key(volume) && keys.lock().stock.problem().is_some()
        });
        refused.map(|(volume, _)| *volume).collect()
    }

    /// Returns when some volume is low in keys.
    pub(crate) async fn run_low(&self) {
        self.low.notified().await;
    }

    /// The keys left of the one that has the fewest of these volumes.
    pub(crate) fn fewest(&self, volumes: impl IntoIterator<Item = VolumeId>) -> Option<u64> {
        volumes.into_iter().map(|volume| self.of(volume).lock().stock.len()).min()
    }

    /// The lease that is under way for a volume; begun if there is none. `now` is what `keys`
    /// holds.
    fn lease(&self, volume: VolumeId, keys: &Arc<Mutex<Keys>>, now: &mut Keys) -> Lease {
        if let Some(lease) = now.lease.as_ref().filter(|lease| lease.done.peek().is_none()) {
            return lease.clone();
        }
        let count = now.stock.next_lease(Instant::now());
        let (coordinator, keys) = (Arc::clone(&self.coordinator), Arc::clone(keys));
        let leasing = tokio::spawn(async move {
            let leased = coordinator.lease_keys(volume, count).await;
            let mut keys = keys.lock();
            match leased {
                Ok(range) => keys.stock.add(range, Instant::now()),
                Err(error) => keys.stock.failed(error.to_string()),
            }
            keys.lease = None;
        });
        let lease = Lease { since: Instant::now(), done: leasing.map(drop).boxed().shared() };
        now.lease.insert(lease).clone()
    }

    fn of(&self, volume: VolumeId) -> Arc<Mutex<Keys>> {
        let fresh = || Keys { stock: Stock::new(self.first_lease), lease: None };
        let mut volumes = self.volumes.lock();
        Arc::clone(volumes.entry(volume).or_insert_with(|| Arc::new(Mutex::new(fresh()))))
    }
}

fn no_keys(volume: VolumeId, why: &str) -> DirectoryError {
    let message = format!("no keys are left for volume {volume}, and none can be leased: {why}");
    DirectoryError::Unavailable(message)
}

fn needle_id(volume: VolumeId, key: u64) -> Result<NeedleId, DirectoryError> {
    Ok(NeedleId { volume, key: Key::new(key), cookie: random_cookie()? })
}

/// Cookies keep guessers out, so they come from a source that cannot be guessed.
fn random_cookie() -> Result<Cookie, DirectoryError> {
    getrandom::u32().map(Cookie::new).map_err(DirectoryError::from)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{EmbeddedCoordinator, Volume};

    const PATIENT: Duration = Duration::MAX;

    async fn volume(coordinator: &dyn Coordinator) -> VolumeId {
        let id = coordinator.reserve_volume_id().await.unwrap();
        let replicas = vec!["a".parse().unwrap()];
        let volume = Volume::new(replicas);
        coordinator.publish_volume(id, volume).await.unwrap();
        id
    }

    #[tokio::test]
    async fn no_key_comes_twice_over_restarts_and_tasks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        let mut seen = HashSet::new();
        let mut first = None;
        for _ in 0..5 {
            let coordinator: Arc<dyn Coordinator> =
                Arc::new(EmbeddedCoordinator::open(&path).unwrap());
            if first.is_none() {
                first = Some(volume(&*coordinator).await);
            }
            let volume = first.unwrap();
            let allocator = Arc::new(KeyAllocator::new(coordinator, 10));
            let tasks: Vec<_> = (1..=20)
                .map(|count| {
                    let allocator = Arc::clone(&allocator);
                    tokio::spawn(
                        async move { allocator.take(volume, count, PATIENT).await.unwrap() },
                    )
                })
                .collect();
            for (task, count) in tasks.into_iter().zip(1..) {
                let ids = task.await.unwrap();
                assert_eq!(ids.len(), count);
                for id in ids {
                    assert!(seen.insert(id.key), "key {} came twice", id.key);
                }
            }
        }
        let highest = seen.iter().map(|key| key.get()).max().unwrap();
        // A lease is as large as what was used before it at most.
        assert!(highest <= 5 * 2 * 220, "ranges stay dense, but the highest key is {highest}");
    }

    #[tokio::test]
    async fn keys_are_leased_ahead_and_asked_for_in_vain_by_nobody_who_waits() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let coordinator: Arc<dyn Coordinator> =
            Arc::new(EmbeddedCoordinator::open(data.join("c.json")).unwrap());
        let (one, other) = (volume(&*coordinator).await, volume(&*coordinator).await);
        let keys = KeyAllocator::new(coordinator, 10);
        keys.stock_up([one, other]).await;
        keys.take(one, 5, PATIENT).await.unwrap();
        keys.run_low().await;
        keys.stock_up([one, other]).await;
        std::fs::remove_dir_all(&data).unwrap();
        keys.take(other, 10, PATIENT).await.unwrap();
        // Half a lease, and one that was twice as large as it was used up so soon.
        keys.take(one, 5 + 20, PATIENT).await.unwrap();
        let refused = keys.take(one, 1, PATIENT).await;
        assert!(matches!(refused, Err(DirectoryError::Unavailable(_))), "{refused:?}");
        std::fs::create_dir(&data).unwrap();
        let in_vain = keys.take(one, 1, PATIENT).await;
        assert!(matches!(in_vain, Err(DirectoryError::Unavailable(_))), "{in_vain:?}");
        assert_eq!(keys.fewest([one, other]), Some(0));
        // As no needles are placed in the one without keys, it is not named.
        keys.stock_up([other]).await;
        keys.take(one, 1, PATIENT).await.unwrap();
        keys.take(other, 1, PATIENT).await.unwrap();
    }

    #[tokio::test]
    async fn keys_that_are_too_few_are_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let coordinator: Arc<dyn Coordinator> =
            Arc::new(EmbeddedCoordinator::open(data.join("c.json")).unwrap());
        let volume = volume(&*coordinator).await;
        let keys = KeyAllocator::new(coordinator, 10);
        keys.stock_up([volume]).await;
        std::fs::remove_dir_all(&data).unwrap();
        keys.take(volume, 11, PATIENT).await.unwrap_err();
        assert_eq!(keys.take(volume, 10, PATIENT).await.unwrap().len(), 10);
    }

    #[tokio::test]
    async fn cookies_differ() {
        let folder = tempfile::tempdir().unwrap();
        let coordinator: Arc<dyn Coordinator> =
            Arc::new(EmbeddedCoordinator::open(folder.path().join("c.json")).unwrap());
        let volume = volume(&*coordinator).await;
        let ids = KeyAllocator::new(coordinator, 100).take(volume, 100, PATIENT).await.unwrap();
        let cookies: HashSet<_> = ids.iter().map(|id| id.cookie).collect();
        assert!(cookies.len() >= 99, "{} different cookies", cookies.len());
    }
}
