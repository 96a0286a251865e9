use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::coordinator::conformance::{Cluster, conforms, volume};
use crate::testing::bucket;

#[tokio::test]
async fn it_conforms() {
    conforms(async || {
        let folder = tempfile::tempdir().unwrap();
        let one = Arc::new(EmbeddedCoordinator::open(folder.path().join("c.json")).unwrap());
        Cluster { other: Arc::clone(&one) as _, one, _keep: Box::new(folder) }
    })
    .await;
}

#[tokio::test]
async fn what_was_changed_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.json");
    let before = {
        let coordinator = EmbeddedCoordinator::open(&path).unwrap();
        let id = coordinator.reserve_volume_id().await.unwrap();
        coordinator.publish_volume(id, volume(&["a"])).await.unwrap();
        coordinator.create_bucket(bucket("photos", 1)).await.unwrap();
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
        coordinator.create_bucket(bucket("photos", 1)).await.unwrap();
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
    let failed = coordinator.create_bucket(bucket("photos", 1)).await;
    assert!(matches!(failed, Err(CoordinatorError::Io { .. })));
    assert!(coordinator.map().buckets.is_empty());
    fs::create_dir(&data).unwrap();
    coordinator.create_bucket(bucket("photos", 1)).await.unwrap();
}
