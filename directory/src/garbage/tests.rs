use std::path::Path;

use hayrick_store::{Cookie, Key, NeedleId};

use super::*;
use crate::testing::{FakeStores, publish};
use crate::{Discard, EmbeddedCoordinator, FjallConfig, FjallNames};

const WAIT: Duration = Duration::from_secs(30);
const NEARLY: Duration = Duration::from_secs(29);
const HOUR_MS: u64 = 3_600_000;
/// What the clock of the queue says at first.
const NOW_MS: u64 = 1_000 * HOUR_MS;

struct Bench {
    names: Arc<FjallNames>,
    coordinator: Arc<EmbeddedCoordinator>,
    stores: Arc<FakeStores>,
    clock: Arc<QueueClock>,
    reaper: Reaper,
}

impl Bench {
    fn open(folder: &Path, stores: &Arc<FakeStores>) -> Self {
        let names = FjallNames::open(&folder.join("names"), &FjallConfig::default()).unwrap();
        let names = Arc::new(names);
        let coordinator = EmbeddedCoordinator::open(folder.join("cluster.json")).unwrap();
        let coordinator = Arc::new(coordinator);
        let clock = Arc::new(QueueClock::new(NOW_MS));
        let config = GarbageConfig {
            batch_needles: 10,
            min_backoff_ms: 40,
            max_backoff_ms: 40,
            ..GarbageConfig::default()
        };
        let reaper = Reaper::new(
            names.clone(),
            coordinator.clone(),
            stores.clone(),
            Arc::clone(&clock),
            WAIT,
            &config,
        );
        Self { names, coordinator, stores: Arc::clone(stores), clock, reaper }
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

/// A bench of one volume on one store, in a folder that must be kept.
async fn bench_of_one() -> (tempfile::TempDir, Bench, VolumeId) {
    let folder = tempfile::tempdir().unwrap();
    let stores = FakeStores::new(&["a"]);
    let bench = Bench::open(folder.path(), &stores);
    let volume = publish(&*bench.coordinator, &stores, &["a"]).await;
    (folder, bench, volume)
}

/// Lets time go on, and nothing else.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Two hours ahead for a while, then set right: whatever was queued meanwhile is deleted after
/// its wait, and not hours later.
#[tokio::test]
async fn what_a_clock_that_was_ahead_has_queued_waits_no_longer_than_all_else() {
    let (_folder, mut bench, volume) = bench_of_one().await;
    bench.clock.set(NOW_MS + 2 * HOUR_MS, Duration::ZERO);
    bench.queue(volume, 0..30, bench.clock.after(WAIT)).await;
    bench.clock.set(NOW_MS, Duration::ZERO);
    pass(WAIT).await; // From the jump ahead.
    bench.reap().await;
    bench.queue(volume, 100..103, bench.clock.after(WAIT)).await;
    pass(NEARLY).await;
    bench.reap().await;
    assert_eq!(bench.deleted("a"), 0, "seen for less than the wait");
    pass(Duration::from_secs(2)).await;
    bench.reap().await;
    assert_eq!((bench.deleted("a"), bench.names.garbage_len().await.unwrap()), (33, 0));
}

/// The same for a reaper that did not live to see the clock ahead.
#[tokio::test]
async fn what_was_queued_ahead_before_a_restart_is_deleted_after_it() {
    let (_folder, mut bench, volume) = bench_of_one().await;
    bench.queue(volume, 0..30, NOW_MS + 2 * HOUR_MS).await;
    bench.queue(volume, 100..101, u64::MAX).await;
    bench.reap().await;
    // What is due in time is not hurried by what is not.
    pass(WAIT).await;
    bench.queue(volume, 200..203, bench.clock.after(WAIT)).await;
    bench.reap().await;
    assert_eq!((bench.deleted("a"), bench.names.garbage_len().await.unwrap()), (31, 3));
}

/// Set ahead by two hours, by mistake or because it was behind: what waits goes on waiting.
#[tokio::test]
async fn a_clock_that_jumps_ahead_costs_nothing_its_wait() {
    let (_folder, mut bench, volume) = bench_of_one().await;
    bench.queue(volume, 0..30, bench.clock.after(WAIT)).await;
    bench.reap().await;
    bench.clock.set(NOW_MS + 2 * HOUR_MS, Duration::ZERO);
    bench.queue(volume, 100..103, bench.clock.after(WAIT)).await;
    pass(NEARLY).await;
    bench.reap().await;
    assert_eq!(bench.deleted("a"), 0);
    pass(Duration::from_secs(2)).await;
    bench.reap().await;
    assert_eq!((bench.deleted("a"), bench.names.garbage_len().await.unwrap()), (33, 0));
}
