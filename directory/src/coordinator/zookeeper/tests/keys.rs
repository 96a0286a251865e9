//! ZooKeeper goes while keys are leased.

use std::time::{Duration, Instant};

use hayrick_store::Key;

use super::*;
use crate::coordinator::conformance::volume;
use crate::directory::Parts;
use crate::keys::KeyAllocator;
use crate::testing::FakeStores;
use crate::{Access, Directory, DirectoryConfig, DirectoryError, HybridClock, SystemClock};

fn config_of_own(server: &ZooKeeper) -> ZooKeeperConfig {
    ZooKeeperConfig { session_timeout_ms: 60_000, ..config_of(server, "c") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_waited_for_once_and_comes_also_if_nobody_waits() {
    let server = ZooKeeper::start();
    let coordinator = open(&config_of_own(&server)).await;
    let id = coordinator.reserve_volume_id().await.unwrap();
    coordinator.publish_volume(id, volume(&["a"])).await.unwrap();
    let keys = KeyAllocator::new(coordinator, 10);
    server.freeze();
    let (patience, began) = (Duration::from_secs(1), Instant::now());
    for _ in 0..5 {
        let late = keys.take(id, 1, patience).await;
        assert!(matches!(late, Err(DirectoryError::Unavailable(_))), "{late:?}");
    }
    let waited = began.elapsed();
    assert!(patience <= waited && waited < patience * 2, "only the first one waits: {waited:?}");
    server.thaw();
    // One who has more patience waits for the same lease.
    assert_eq!(keys.take(id, 1, Duration::MAX).await.unwrap()[0].key, Key::new(1));
    assert_eq!(keys.fewest([id]), Some(9), "one range was leased");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_made_just_before_zookeeper_goes_holds_no_upload_up() {
    let server = ZooKeeper::start();
    let coordinator = open(&config_of_own(&server)).await;
    let folder = tempfile::tempdir().unwrap();
    let config = DirectoryConfig { lease_keys: 1_000, ..DirectoryConfig::default() };
    let map = coordinator.map();
    let names = crate::directory::open_names(folder.path(), &config, &map).await.unwrap();
    let stores = FakeStores::new(&["a"]);
    let clock = HybridClock::new(SystemClock, 0);
    let parts = Parts { coordinator, names, stores, clock, config };
    let directory = Directory::new(parts).await.unwrap();
    let (name, access) = ("photos".parse().unwrap(), Access::Public);
    let bucket = directory.create_bucket(name, access, access, 1).await.unwrap();
    let used = async |count| {
        let mut volumes = std::collections::BTreeSet::new();
        for _ in 0..count {
            volumes.insert(directory.assign(&bucket, 1).await.unwrap().id.volume);
        }
        volumes
    };
    let before = used(100).await;
    let new = directory.create_volume(1).await.unwrap();
    server.freeze();
    let began = Instant::now();
    assert_eq!(used(1_000).await, before, "those that have keys take all");
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
    server.thaw();
    let comes = async { while !used(10).await.contains(&new) {} };
    tokio::time::timeout(Duration::from_secs(20), comes).await.expect("the new one takes part");
}
