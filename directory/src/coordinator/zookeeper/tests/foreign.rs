//! Nodes that others have put there, or have damaged.

use std::time::Duration;

use futures::StreamExt as _;
use zookeeper_client::{Acls, CreateMode};

use super::*;
use crate::coordinator::conformance::{sees, volume};
use crate::testing::bucket;

const ANYBODY: zookeeper_client::CreateOptions<'static> =
    CreateMode::Persistent.with_acls(Acls::anyone_all());

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_node_keeps_its_last_value_and_stops_nobody() {
    let config = fresh();
    let coordinator = open(&config).await;
    for name in ["cats", "dogs"] {
        coordinator.create_bucket(bucket(name, 1)).await.unwrap();
    }
    let cats = coordinator.map().buckets[&"cats".parse().unwrap()].clone();
    let operator = plain_client(&config).await;
    operator.set_data("/buckets/cats", b"{oops", None).await.unwrap();
    operator.create("/volumes/7", b"", &ANYBODY).await.unwrap();
    operator.create("/volumes/not-a-number", b"", &ANYBODY).await.unwrap();
    // What is changed after the damage still arrives.
    coordinator.create_bucket(bucket("birds", 1)).await.unwrap();
    let map = sees(&*coordinator, |map| map.buckets.len() == 3).await;
    assert_eq!(map.buckets[&"cats".parse().unwrap()], cats);
    assert!(map.volumes.is_empty());
    let refused = coordinator.update_bucket(cats.revision, bucket("cats", 2)).await;
    let Err(CoordinatorError::Damaged { node, .. }) = &refused else { panic!("{refused:?}") };
    assert_eq!(node, "/buckets/cats");
    // Who starts now has no last value, and all the rest.
    let newcomer = open(&config).await;
    assert_eq!(newcomer.map().buckets.len(), 2);
    // A person writes it again: everybody has it.
    let good = layout::encode(Uuid::new_v4(), &bucket("cats", 3)).unwrap();
    operator.set_data("/buckets/cats", &good, None).await.unwrap();
    for coordinator in [&coordinator, &newcomer] {
        let map = sees(&**coordinator, |map| {
            map.buckets.get(&"cats".parse().unwrap()).is_some_and(|cats| cats.value.copies == 3)
        })
        .await;
        let revision = map.buckets[&"cats".parse().unwrap()].revision;
        assert_eq!(revision, 3, "the revision is the node's");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_newer_version_is_not_guessed_at() {
    let config = fresh();
    let coordinator = open(&config).await;
    let operator = plain_client(&config).await;
    let newer =
        br#"{"format":2,"stamp":"00000000-0000-0000-0000-000000000000","value":{"last":9}}"#;
    operator.set_data(layout::VOLUME_IDS, newer, None).await.unwrap();
    let refused = coordinator.reserve_volume_id().await;
    let Err(CoordinatorError::Damaged { reason, .. }) = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("format 2"), "{reason}");
    // Beginning again at 1 would give ids of volumes that exist.
    operator.delete(layout::VOLUME_IDS, None).await.unwrap();
    let refused = coordinator.reserve_volume_id().await;
    assert!(matches!(refused, Err(CoordinatorError::Damaged { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_without_its_cluster_is_left_alone_until_it_is_back() {
    let config = ZooKeeperConfig { change_timeout_ms: 700, ..fresh() };
    let coordinator = open(&config).await;
    coordinator.create_bucket(bucket("cats", 1)).await.unwrap();
    let operator = plain_client(&config).await;
    let (data, _) = operator.get_data(layout::CLUSTER).await.unwrap();
    operator.delete(layout::CLUSTER, None).await.unwrap();
    operator.delete("/buckets/cats", None).await.unwrap();
    let refused = async {
        while coordinator.reserve_volume_id().await.is_ok() {}
        coordinator.reserve_volume_id().await.unwrap_err()
    };
    let refused = tokio::time::timeout(Duration::from_mins(1), refused).await.unwrap();
    assert!(refused.to_string().contains("no cluster"), "{refused}");
    assert_eq!(coordinator.map().buckets.len(), 1, "the last map stays");
    operator.create(layout::CLUSTER, &data, &ANYBODY).await.unwrap();
    sees(&*coordinator, |map| map.buckets.is_empty()).await;
    coordinator.reserve_volume_id().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_without_end_are_seen_as_they_are_made() {
    let config = fresh();
    let (reader, writer) = (open(&config).await, open(&config).await);
    let id = writer.reserve_volume_id().await.unwrap();
    writer.publish_volume(id, volume(&["a"])).await.unwrap();
    let operator = plain_client(&config).await;
    let data = layout::encode(Uuid::new_v4(), &volume(&["a"])).unwrap();
    let path = Entry::Volume(id).path();
    // Many are under way at all times, so the reader never finds a quiet moment.
    let changing = futures::stream::iter(0..)
        .map(move |_| {
            let change = operator.set_data(&path, &data, None);
            async move { change.await.map(drop).unwrap() }
        })
        .buffer_unordered(50)
        .collect::<()>();
    let changing = tokio::spawn(changing);
    let seen = async {
        let mut last = 0;
        for _ in 0..20 {
            let map = sees(&*reader, |map| {
                map.volumes.get(&id).is_some_and(|volume| volume.revision > last)
            })
            .await;
            last = map.volumes[&id].revision;
        }
    };
    seen.await;
    assert!(!changing.is_finished(), "it was quiet");
    changing.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_not_a_lost_connection() {
    let coordinator = open(&fresh()).await;
    let id = coordinator.reserve_volume_id().await.unwrap();
    let replicas = (0..20_000).map(|n| format!("store-with-a-long-name-{n:010}").parse().unwrap());
    let huge = Volume { replicas: replicas.collect(), ..volume(&["a"]) };
    let refused = coordinator.publish_volume(id, huge).await;
    assert!(matches!(refused, Err(CoordinatorError::Invalid(_))), "{refused:?}");
    coordinator.publish_volume(id, volume(&["a"])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_very_many_keys_is_removed_with_all_of_them() {
    let config = fresh();
    let coordinator = open(&config).await;
    coordinator.create_bucket(bucket("photos", 1)).await.unwrap();
    let operator = plain_client(&config).await;
    let mut made = Vec::new();
    for _ in 0..2_500 {
        let key = AccessKey::generate("photos".parse().unwrap(), 1).unwrap();
        let path = Entry::AccessKey(key.bucket.clone(), key.id.clone()).path();
        let data = layout::encode(Uuid::new_v4(), &key).unwrap();
        made.push(async {
            let (path, data) = (path, data);
            operator.create(&path, &data, &ANYBODY).await.map(drop)
        });
    }
    futures::future::try_join_all(made).await.unwrap();
    let map = sees(&*coordinator, |map| map.access_keys.len() == 2_500).await;
    let revision = map.buckets[&"photos".parse().unwrap()].revision;
    coordinator.remove_bucket(&"photos".parse().unwrap(), revision).await.unwrap();
    let map = coordinator.map();
    assert!(map.buckets.is_empty() && map.access_keys.is_empty());
    assert!(operator.list_children("/buckets").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_map_is_loaded_and_followed() {
    let volumes = 10_000;
    let config = fresh();
    let first = open(&config).await;
    let operator = plain_client(&config).await;
    let data = layout::encode(Uuid::new_v4(), &volume(&["a", "b", "c"])).unwrap();
    let paths: Vec<_> = (1..=volumes).map(|id| format!("/volumes/{id}")).collect();
    let all = |map: &ClusterMap| map.volumes.len() == volumes as usize;
    for paths in paths.chunks(500) {
        let made = paths.iter().map(|path| operator.create(path, &data, &ANYBODY));
        futures::future::try_join_all(made).await.unwrap();
    }
    sees(&*first, all).await;
    let began = std::time::Instant::now();
    let second = open(&config).await;
    let loaded = began.elapsed();
    assert!(all(&second.map()), "the map is whole once it is open");
    let began = std::time::Instant::now();
    let id = VolumeId::new(volumes / 2).unwrap();
    let changed = Volume { epoch: 2, ..volume(&["a", "b"]) };
    first.update_volume(id, 1, changed.clone()).await.unwrap();
    let made = began.elapsed();
    let map = sees(&*second, |map| map.volumes[&id].value == changed).await;
    let seen = began.elapsed();
    assert_eq!(map.volumes[&id].revision, 2);
    println!(
        "{volumes} volumes: loaded in {loaded:?}; one change made in {made:?}, seen elsewhere in {seen:?}"
    );
}
