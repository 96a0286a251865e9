use std::path::Path;

use hayrick_store::{Cookie, Key, NeedleId};

use super::*;
use crate::testing::{FakeStores, publish};
use crate::{Discard, EmbeddedCoordinator, FjallConfig, FjallNames, SystemClock};

struct Bench {
    names: Arc<FjallNames>,
    coordinator: Arc<EmbeddedCoordinator>,
    stores: Arc<FakeStores>,
    reaper: Reaper,
}

impl Bench {
    fn open(folder: &Path, stores: &Arc<FakeStores>) -> Self {
        let names = FjallNames::open(&folder.join("names"), &FjallConfig::default()).unwrap();
        let names = Arc::new(names);
        let coordinator = EmbeddedCoordinator::open(folder.join("cluster.json")).unwrap();
        let coordinator = Arc::new(coordinator);
        let clock = Arc::new(HybridClock::new(SystemClock, 0));
        let config = GarbageConfig {
            batch_needles: 10,
            min_backoff_ms: 40,
            max_backoff_ms: 40,
            ..GarbageConfig::default()
        };
        let reaper =
            Reaper::new(names.clone(), coordinator.clone(), stores.clone(), clock, &config);
        Self { names, coordinator, stores: Arc::clone(stores), reaper }
    }

    async fn queue(&self, volume: VolumeId, keys: std::ops::Range<u64>, due_ms: u64) {
        let cookie = Cookie::new(1);
        let needles = keys.map(|key| NeedleId { volume, key: Key::new(key), cookie }).collect();
        let (bucket, name) = ("photos".parse().unwrap(), "a".parse().unwrap());
        self.names.discard(Discard { bucket, name, needles, due_ms }).await.unwrap();
    }

    async fn reap(&mut self) {
        while self.reaper.step().await == Step::More {}
    }

    fn deleted(&self, store: &str) -> usize {
        self.stores.with(store, |store| store.deleted.len())
    }
}

#[tokio::test]
async fn due_needles_are_deleted_on_every_replica() {
    let folder = tempfile::tempdir().unwrap();
    let stores = FakeStores::new(&["a", "b"]);
    let mut bench = Bench::open(folder.path(), &stores);
    let volume = publish(&*bench.coordinator, &stores, &["a", "b"]).await;
    bench.queue(volume, 0..25, 0).await;
    bench.queue(volume, 100..103, u64::MAX).await;
    bench.reap().await;
    assert_eq!((bench.deleted("a"), bench.deleted("b")), (25, 25));
    assert_eq!(bench.names.garbage_len().await.unwrap(), 3, "what is not due stays");
}

#[tokio::test]
async fn a_needle_stays_queued_until_every_replica_confirms() {
    let folder = tempfile::tempdir().unwrap();
    let stores = FakeStores::new(&["a", "b"]);
    let mut bench = Bench::open(folder.path(), &stores);
    let volume = publish(&*bench.coordinator, &stores, &["a", "b"]).await;
    bench.queue(volume, 0..5, 0).await;
    stores.with("b", |store| store.down = true);
    bench.reap().await;
    assert_eq!((bench.deleted("a"), bench.names.garbage_len().await.unwrap()), (5, 5));
    stores.with("b", |store| store.down = false);
    bench.reap().await;
    assert_eq!(bench.names.garbage_len().await.unwrap(), 5, "left alone for a while");
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.reap().await;
    assert_eq!((bench.deleted("b"), bench.names.garbage_len().await.unwrap()), (5, 0));
}

#[tokio::test]
async fn unknown_volumes_keep_their_needles_and_hold_up_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let stores = FakeStores::new(&["a"]);
    let mut bench = Bench::open(folder.path(), &stores);
    let lost = publish(&*bench.coordinator, &stores, &["a"]).await;
    let good = publish(&*bench.coordinator, &stores, &["a"]).await;
    stores.with("a", |store| store.volumes.remove(&lost));
    bench.queue(VolumeId::new(999).unwrap(), 0..3, 0).await;
    bench.queue(lost, 0..3, 0).await;
    bench.queue(good, 0..30, 0).await;
    bench.reap().await;
    assert_eq!((bench.deleted("a"), bench.names.garbage_len().await.unwrap()), (30, 6));
}

#[tokio::test]
async fn a_needle_that_cannot_be_deleted_holds_up_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let stores = FakeStores::new(&["a"]);
    let mut bench = Bench::open(folder.path(), &stores);
    let volume = publish(&*bench.coordinator, &stores, &["a"]).await;
    stores.with("a", |store| store.keeps = Some(0));
    bench.queue(volume, 0..50, 0).await;
    bench.reap().await;
    assert_eq!((bench.deleted("a"), bench.names.garbage_len().await.unwrap()), (49, 1));
}

#[tokio::test]
async fn the_queue_is_drained_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stores = FakeStores::new(&["a"]);
    {
        let bench = Bench::open(folder.path(), &stores);
        let volume = publish(&*bench.coordinator, &stores, &["a"]).await;
        bench.queue(volume, 0..12, 0).await;
    }
    let mut bench = Bench::open(folder.path(), &stores);
    assert_eq!(bench.names.garbage_len().await.unwrap(), 12);
    bench.reap().await;
    assert_eq!((bench.deleted("a"), bench.names.garbage_len().await.unwrap()), (12, 0));
}

/// A replica that was told of a newer epoch is one of another set by now: what those of the old
/// one have confirmed proves nothing of the new one.
#[tokio::test]
async fn a_needle_stays_queued_while_a_replica_knows_a_newer_map() {
    let folder = tempfile::tempdir().unwrap();
    let stores = FakeStores::new(&["a", "b"]);
    let mut bench = Bench::open(folder.path(), &stores);
    let volume = publish(&*bench.coordinator, &stores, &["a", "b"]).await;
    bench.queue(volume, 0..1, 0).await;
    stores.with("b", |store| store.epochs.insert(volume, Epoch::new(2)));
    bench.reap().await;
    assert_eq!((bench.deleted("a"), bench.deleted("b")), (1, 0));
    assert_eq!(bench.names.garbage_len().await.unwrap(), 1);

    let entry = bench.coordinator.map().volumes[&volume].clone();
    let newer = Volume { epoch: 2, ..entry.value };
    bench.coordinator.update_volume(volume, entry.revision, newer).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    bench.reap().await;
    assert_eq!((bench.deleted("b"), bench.names.garbage_len().await.unwrap()), (1, 0));
}
