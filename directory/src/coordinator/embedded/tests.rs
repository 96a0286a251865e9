use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::coordinator::VolumeState;
use crate::{Access, StoreId};

fn volume(stores: &[&str]) -> Volume {
    let replicas = stores.iter().map(|store| store.parse::<StoreId>().unwrap()).collect();
    Volume { replicas, epoch: 1, state: VolumeState::Writable }
}

fn bucket(name: &str) -> Bucket {
    let (read, write) = (Access::Public, Access::Private);
    Bucket { name: name.parse().unwrap(), read, write, copies: 1, created_ms: 7 }
}

#[tokio::test]
async fn what_was_changed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.json");
    let before = {
        let coordinator = EmbeddedCoordinator::open(&path).unwrap();
        let id = coordinator.reserve_volume_id().await.unwrap();
        coordinator.publish_volume(id, volume(&["a"])).await.unwrap();
        coordinator.create_bucket(bucket("photos")).await.unwrap();
        let key = AccessKey::generate("photos".parse().unwrap(), 1).unwrap();
        coordinator.add_access_key(key).await.unwrap();
        coordinator.map()
    };
    assert_eq!(*EmbeddedCoordinator::open(&path).unwrap().map(), *before);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn no_volume_id_and_no_key_is_given_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.json");
    let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
    let mut first = None;
    for _ in 0..20 {
        let coordinator = EmbeddedCoordinator::open(&path).unwrap();
        for _ in 0..3 {
            let id = coordinator.reserve_volume_id().await.unwrap();
            assert!(ids.insert(id), "{id} came twice");
            if first.is_none() {
                coordinator.publish_volume(id, volume(&["a"])).await.unwrap();
                first = Some(id);
            }
            for key in coordinator.lease_keys(first.unwrap(), 10).await.unwrap() {
                assert!(keys.insert(key), "key {key} came twice");
            }
        }
    }
    assert_eq!(keys.iter().max(), Some(&600), "leased keys are dense");
}

#[tokio::test]
async fn a_change_from_an_old_revision_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = EmbeddedCoordinator::open(folder.path().join("c.json")).unwrap();
    coordinator.create_bucket(bucket("photos")).await.unwrap();
    let again = coordinator.create_bucket(bucket("photos")).await;
    assert!(matches!(again, Err(CoordinatorError::Exists(_))));
    assert_eq!(coordinator.update_bucket(1, bucket("photos")).await.unwrap(), 2);
    let stale = coordinator.update_bucket(1, bucket("photos")).await;
    assert!(matches!(stale, Err(CoordinatorError::Conflict { expected: 1, actual: 2, .. })));
    let name = "photos".parse().unwrap();
    let stale = coordinator.remove_bucket(&name, 1).await;
    assert!(matches!(stale, Err(CoordinatorError::Conflict { .. })));
    coordinator.remove_bucket(&name, 2).await.unwrap();
    let gone = coordinator.update_bucket(2, bucket("photos")).await;
    assert!(matches!(gone, Err(CoordinatorError::Missing(_))));
}

#[tokio::test]
async fn the_rules_of_the_map_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = EmbeddedCoordinator::open(folder.path().join("c.json")).unwrap();
    let never_reserved = VolumeId::new(1).unwrap();
    let invalid = |result| matches!(result, Err(CoordinatorError::Invalid(_)));
    assert!(invalid(coordinator.publish_volume(never_reserved, volume(&["a"])).await));
    let id = coordinator.reserve_volume_id().await.unwrap();
    assert!(invalid(coordinator.publish_volume(id, volume(&[])).await));
    assert!(invalid(coordinator.publish_volume(id, volume(&["a", "a"])).await));
    let unpublished = coordinator.lease_keys(id, 1).await;
    assert!(matches!(unpublished, Err(CoordinatorError::Missing(_))));
    coordinator.publish_volume(id, volume(&["a"])).await.unwrap();
    let same_epoch = coordinator.update_volume(id, 1, volume(&["b"])).await;
    assert!(matches!(same_epoch, Err(CoordinatorError::Invalid(_))));
    let risen = Volume { epoch: 2, ..volume(&["b"]) };
    assert_eq!(coordinator.update_volume(id, 1, risen).await.unwrap(), 2);
}

#[tokio::test]
async fn a_removed_bucket_takes_its_keys_along() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = EmbeddedCoordinator::open(folder.path().join("c.json")).unwrap();
    for name in ["cats", "dogs"] {
        coordinator.create_bucket(bucket(name)).await.unwrap();
        let key = AccessKey::generate(name.parse().unwrap(), 1).unwrap();
        coordinator.add_access_key(key).await.unwrap();
    }
    coordinator.remove_bucket(&"cats".parse().unwrap(), 1).await.unwrap();
    let map = coordinator.map();
    let left: Vec<_> = map.access_keys.values().map(|key| key.bucket.as_str()).collect();
    assert_eq!(left, ["dogs"]);
}

#[tokio::test]
async fn a_snapshot_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = EmbeddedCoordinator::open(folder.path().join("c.json")).unwrap();
    let before = coordinator.map();
    coordinator.create_bucket(bucket("photos")).await.unwrap();
    assert!(before.buckets.is_empty());
    assert_eq!(coordinator.map().buckets.len(), 1);
}

#[test]
fn a_second_opening_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.json");
    let _first = EmbeddedCoordinator::open(&path).unwrap();
    assert!(matches!(EmbeddedCoordinator::open(&path), Err(CoordinatorError::Locked(_))));
}

#[tokio::test]
async fn damage_is_found_at_every_byte_and_every_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.json");
    {
        let coordinator = EmbeddedCoordinator::open(&path).unwrap();
        coordinator.create_bucket(bucket("photos")).await.unwrap();
    }
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(EmbeddedCoordinator::open(&path).is_err(), "cut to {length} bytes");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x01;
        fs::write(&path, &bad).unwrap();
        let Err(error) = EmbeddedCoordinator::open(&path) else { panic!("flip at {at} unseen") };
        assert!(fs::read(&path).unwrap() == bad, "the damaged file was touched");
        assert!(error.to_string().contains("cluster.json"), "{error}");
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.json");
    fs::write(&path, r#"{"format":2,"crc32":0,"content":{"anything":1}}"#).unwrap();
    let Err(error) = EmbeddedCoordinator::open(&path) else { panic!("opened") };
    assert!(matches!(error, CoordinatorError::NewerFormat { found: 2, supported: 1, .. }));
}

#[tokio::test]
async fn a_failed_write_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let coordinator = EmbeddedCoordinator::open(data.join("cluster.json")).unwrap();
    fs::remove_dir_all(&data).unwrap();
    let failed = coordinator.create_bucket(bucket("photos")).await;
    assert!(matches!(failed, Err(CoordinatorError::Io { .. })));
    assert!(coordinator.map().buckets.is_empty());
    fs::create_dir(&data).unwrap();
    coordinator.create_bucket(bucket("photos")).await.unwrap();
}
