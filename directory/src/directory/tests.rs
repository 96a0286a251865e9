use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use hayrick_store::{Cookie, Key};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::testing::{FakeStores, LIMIT_BYTES};
use crate::{Access, FjallConfig, GarbageConfig, GrowthConfig, NeedleRef, Volume, VolumeState};

struct Bench {
    folder: tempfile::TempDir,
    stores: Arc<FakeStores>,
    directory: Directory,
    bucket: Bucket,
}

fn config() -> DirectoryConfig {
    let garbage = GarbageConfig { grace_ms: 0, interval_ms: 10, ..GarbageConfig::default() };
    let growth = GrowthConfig { interval_ms: 20, ..GrowthConfig::default() };
    DirectoryConfig { lease_keys: 16, garbage, growth, ..DirectoryConfig::default() }
}

impl Bench {
    async fn new(stores: &[&str], copies: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = FakeStores::new(stores);
        let directory =
            Directory::open_embedded(folder.path(), stores.clone(), config()).await.unwrap();
        let name = "photos".parse().unwrap();
        let (read, write) = (Access::Public, Access::Private);
        let bucket = directory.create_bucket(name, read, write, copies).await.unwrap();
        Self { folder, stores, directory, bucket }
    }

    /// Uploads an object of one needle.
    async fn put(&self, name: &str) -> Result<(NeedleId, Committed), DirectoryError> {
        let id = self.directory.assign(&self.bucket, 5).await?.id;
        let row = self.row(id);
        let (bucket, name) = (&self.bucket.name, name.parse().unwrap());
        Ok((id, self.directory.commit(bucket, &name, row, Condition::None).await?))
    }

    fn row(&self, id: NeedleId) -> Row {
        let version = self.directory.next_version();
        let needles = [NeedleRef { id, size_bytes: 5 }].into();
        Row { version, size_bytes: 5, needles, ..Row::default() }
    }

    async fn lookup(&self, name: &str) -> Option<Row> {
        self.directory.lookup(&self.bucket.name, &name.parse().unwrap()).await.unwrap()
    }

    async fn reopen(self) -> Self {
        let Self { folder, stores, directory, bucket } = self;
        drop(directory);
        let directory =
            Directory::open_embedded(folder.path(), stores.clone(), config()).await.unwrap();
        Self { folder, stores, directory, bucket }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_put_looked_up_replaced_and_removed() {
    let bench = Bench::new(&["a", "b"], 2).await;
    let (first, created) = bench.put("cats/tom.jpg").await.unwrap();
    assert_eq!(created, Committed::Created);
    assert_eq!(bench.lookup("cats/tom.jpg").await.unwrap().needles[0].id, first);
    let (second, replaced) = bench.put("cats/tom.jpg").await.unwrap();
    assert!(matches!(replaced, Committed::Replaced(row) if row.needles[0].id == first));
    assert_eq!(bench.directory.garbage_len().await.unwrap(), 1);
    let query = ListQuery { prefix: String::new(), delimiter: None, cursor: None, limit: 10 };
    let page = bench.directory.list(&bench.bucket.name, query).await.unwrap();
    assert_eq!(page.objects.len(), 1);

    let name = "cats/tom.jpg".parse().unwrap();
    let removed = bench.directory.remove(&bench.bucket.name, &name, Condition::None).await.unwrap();
    assert_eq!(removed.unwrap().needles[0].id, second);
    assert_eq!(bench.lookup("cats/tom.jpg").await, None);
    for store in ["a", "b"] {
        let deleted = bench.stores.with(store, |store| store.deleted.clone());
        assert!(deleted.contains(&second.to_string()), "deleted when the removal answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_background_drains_the_queue_also_after_a_restart() {
    let bench = Bench::new(&["a"], 1).await;
    for _ in 0..20 {
        bench.put("same").await.unwrap();
    }
    assert_eq!(bench.directory.garbage_len().await.unwrap(), 19);
    let bench = bench.reopen().await;
    assert_eq!(bench.directory.garbage_len().await.unwrap(), 19);
    let stop = CancellationToken::new();
    let background = bench.directory.spawn_background(&stop);
    for _ in 0..500 {
        if bench.directory.garbage_len().await.unwrap() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bench.directory.garbage_len().await.unwrap(), 0);
    assert_eq!(bench.stores.with("a", |store| store.deleted.len()), 19);
    stop.cancel();
    background.finished().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_does_not_wait_for_a_store_that_is_down() {
    let bench = Bench::new(&["a", "b"], 2).await;
    bench.put("x").await.unwrap();
    bench.stores.with("b", |store| store.down = true);
    let name = "x".parse().unwrap();
    bench.directory.remove(&bench.bucket.name, &name, Condition::None).await.unwrap().unwrap();
    assert_eq!(bench.stores.with("a", |store| store.deleted.len()), 1);
    assert_eq!(bench.directory.garbage_len().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn assignments_never_repeat_and_spread() {
    let mut bench = Bench::new(&["a"], 1).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        let mut by_volume = BTreeMap::<_, usize>::new();
        for _ in 0..100 {
            let assignment = bench.directory.assign(&bench.bucket, 10).await.unwrap();
            assert_eq!(assignment.replicas, ["a".parse().unwrap()]);
            let id = assignment.id;
            assert!(seen.insert((id.volume, id.key)), "{id} came twice");
            *by_volume.entry(id.volume).or_default() += 1;
        }
        assert!(by_volume.len() == 2 && by_volume.values().all(|n| *n >= 20), "{by_volume:?}");
        bench = bench.reopen().await;
    }
    let batch = bench.directory.assign_many(&bench.bucket, 40, 400).await.unwrap();
    assert!(batch.ids.iter().all(|id| id.volume == batch.ids[0].volume));
    assert!(batch.ids.iter().all(|id| seen.insert((id.volume, id.key))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_finds_volumes_by_itself_or_says_why_not() {
    let bench = Bench::new(&["a"], 1).await;
    bench.stores.fill("a", LIMIT_BYTES);
    bench.directory.shared.grower.lock().await.step().await;
    bench.directory.assign(&bench.bucket, 10).await.unwrap();

    bench.stores.with("a", |store| store.free_bytes = 0);
    bench.stores.fill("a", LIMIT_BYTES);
    tokio::time::sleep(MIN_STEP_GAP).await;
    bench.directory.shared.grower.lock().await.step().await;
    let full = bench.directory.assign(&bench.bucket, 10).await;
    assert!(matches!(full, Err(DirectoryError::Full)), "{full:?}");

    bench.stores.with("a", |store| store.down = true);
    bench.directory.shared.grower.lock().await.step().await;
    let unknown = bench.directory.assign(&bench.bucket, 10).await;
    assert!(matches!(unknown, Err(DirectoryError::NoWritableVolume { size_bytes: 10 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_that_went_away_a_moment_ago_are_told_from_those_that_never_were() {
    let bench = Bench::new(&["a"], 1).await;
    let pairs = Bucket { copies: 2, ..bench.bucket.clone() };
    let never = bench.directory.assign(&pairs, 10).await;
    assert!(matches!(never, Err(DirectoryError::NoWritableVolume { .. })), "{never:?}");
    bench.directory.assign(&bench.bucket, 10).await.unwrap();
    bench.stores.with("a", |store| store.down = true);
    bench.directory.shared.grower.lock().await.step().await;
    let just_now = bench.directory.assign(&bench.bucket, 10).await;
    assert!(matches!(just_now, Err(DirectoryError::NoVolumeJustNow { .. })), "{just_now:?}");
    let too_large = bench.directory.assign(&bench.bucket, LIMIT_BYTES + 1).await;
    assert!(matches!(too_large, Err(DirectoryError::NoWritableVolume { .. })), "{too_large:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_was_closed_since_the_stores_were_asked_is_passed_over() {
    let bench = Bench::new(&["a"], 1).await;
    bench.directory.assign(&bench.bucket, 10).await.unwrap();
    let coordinator = &bench.directory.shared.coordinator;
    let volumes = coordinator.map().volumes.clone();
    let (closed, entry) = volumes.first_key_value().unwrap();
    let read_only = Volume { state: VolumeState::ReadOnly, ..entry.value.clone() };
    coordinator.update_volume(*closed, entry.revision, read_only).await.unwrap();
    for _ in 0..20 {
        let place = bench.directory.assign(&bench.bucket, 10).await.unwrap();
        assert_ne!(place.id.volume, *closed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_volume_is_avoided() {
    let bench = Bench::new(&["a"], 1).await;
    let failing = bench.directory.assign(&bench.bucket, 1).await.unwrap().id.volume;
    bench.directory.report_failed_write(failing);
    for _ in 0..50 {
        assert_ne!(bench.directory.assign(&bench.bucket, 1).await.unwrap().id.volume, failing);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_after_a_commit_does_no_harm() {
    let bench = Bench::new(&["a"], 1).await;
    let (id, _) = bench.put("x").await.unwrap();
    let stray = bench.directory.assign(&bench.bucket, 1).await.unwrap().id;
    let (bucket, name) = (&bench.bucket.name, "x".parse().unwrap());
    bench.directory.discard(bucket, &name, Vec::new(), vec![id, stray]).await.unwrap();
    assert_eq!(bench.directory.garbage_len().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_surely_stored_and_not_committed_is_deleted_at_once() {
    let bench = Bench::new(&["a"], 1).await;
    let (id, _) = bench.put("x").await.unwrap();
    let stray = bench.directory.assign(&bench.bucket, 1).await.unwrap().id;
    let (bucket, name) = (&bench.bucket.name, "x".parse().unwrap());
    bench.directory.discard(bucket, &name, vec![id, stray], Vec::new()).await.unwrap();
    bench.stores.with("a", |store| {
        assert_eq!(store.deleted.iter().collect::<Vec<_>>(), [&stray.to_string()]);
        assert_eq!(store.removals, [], "the name itself was not removed");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn tombstones_tell_which_name_was_removed() {
    let bench = Bench::new(&["a"], 1).await;
    bench.put("x").await.unwrap();
    let (bucket, name) = (&bench.bucket.name, "x".parse().unwrap());
    let row = bench.directory.remove(bucket, &name, Condition::None).await.unwrap().unwrap();
    bench.stores.with("a", |store| {
        let [removal] = &store.removals[..] else { panic!("{:?}", store.removals) };
        assert_eq!((&removal.bucket, &removal.name), (bucket, &name));
        assert!(removal.version > row.version);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_and_keys_are_managed() {
    let bench = Bench::new(&["a"], 1).await;
    let directory = &bench.directory;
    let photos = &bench.bucket.name;
    let again = directory.create_bucket(photos.clone(), Access::Public, Access::Public, 1).await;
    assert!(matches!(again, Err(DirectoryError::BucketExists(_))));
    let greedy =
        directory.create_bucket("vault".parse().unwrap(), Access::Public, Access::Public, 2);
    let greedy = greedy.await;
    assert!(matches!(greedy, Err(DirectoryError::NotEnoughStores { copies: 2, stores: 1 })));

    let key = directory.create_access_key(photos).await.unwrap();
    assert_eq!(directory.access_key(&key.id), Some(key.clone()));
    assert_eq!(directory.access_keys(photos).unwrap(), std::slice::from_ref(&key));
    directory.remove_access_key(&key.id).await.unwrap();
    let gone = directory.remove_access_key(&key.id).await;
    assert!(matches!(gone, Err(DirectoryError::NoAccessKey(_))));
    let changed = directory.set_access(photos, Access::Private, Access::Private).await.unwrap();
    assert_eq!(directory.bucket(photos), Some(changed));

    bench.put("x").await.unwrap();
    let kept = directory.remove_bucket(photos).await;
    assert!(matches!(kept, Err(DirectoryError::BucketNotEmpty(_))));
    bench.put("y").await.unwrap();
    for name in ["x", "y"] {
        directory.remove(photos, &name.parse().unwrap(), Condition::None).await.unwrap();
    }
    directory.remove_bucket(photos).await.unwrap();
    assert!(matches!(bench.put("z").await, Err(DirectoryError::NoBucket(_))));
    assert!(matches!(directory.remove_bucket(photos).await, Err(DirectoryError::NoBucket(_))));
    directory.create_bucket(photos.clone(), Access::Public, Access::Public, 1).await.unwrap();
    bench.put("z").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_needles_nowhere_is_refused() {
    let bench = Bench::new(&["a"], 1).await;
    let volume = VolumeId::new(4_000).unwrap();
    let row = bench.row(NeedleId { volume, key: Key::new(1), cookie: Cookie::new(1) });
    let name = "x".parse().unwrap();
    let refused = bench.directory.commit(&bench.bucket.name, &name, row, Condition::None).await;
    assert!(matches!(refused, Err(DirectoryError::NoVolume(lost)) if lost == volume));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_volume_gets_no_needles() {
    let bench = Bench::new(&["a"], 1).await;
    let sealed = bench.directory.assign(&bench.bucket, 1).await.unwrap().id.volume;
    bench.directory.set_volume_state(sealed, VolumeState::ReadOnly).await.unwrap();
    for _ in 0..50 {
        assert_ne!(bench.directory.assign(&bench.bucket, 1).await.unwrap().id.volume, sealed);
    }
    assert_eq!(bench.directory.replicas(sealed).len(), 1, "reads go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_rise_over_restarts_and_clock_steps() {
    let bench = Bench::new(&["a"], 1).await;
    bench.put("x").await.unwrap();
    let last = bench.lookup("x").await.unwrap().version;
    let Bench { folder, stores, directory, .. } = bench;
    drop(directory);
    let (coordinator, names) = open_files(folder.path(), &FjallConfig::default()).unwrap();
    let directory = Directory::new(Parts {
        coordinator: Arc::new(coordinator),
        names: Arc::new(names),
        stores,
        clock: HybridClock::new(Arc::new(AtomicU64::new(1)), 0),
        config: config(),
    });
    assert!(directory.await.unwrap().next_version() > last);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_without_a_map_are_not_opened_as_a_new_cluster() {
    let bench = Bench::new(&["a"], 1).await;
    let Bench { folder, stores, directory, .. } = bench;
    drop(directory);
    std::fs::remove_file(folder.path().join("cluster.json")).unwrap();
    let opened = Directory::open_embedded(folder.path(), stores, config()).await;
    assert!(matches!(opened.err(), Some(DirectoryError::Setup(text)) if text.contains("missing")));
}
