//! What every coordinator promises, as tests that each engine runs.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hayrick_store::VolumeId;

use super::{ClusterMap, Coordinator, CoordinatorError, Illness, Order, Volume};
use crate::testing::{bucket, store};
use crate::{AccessKey, Bucket, BucketName};

/// Long enough for a machine under load; nothing waits this long where all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// Two views of one fresh cluster: two sessions, where the engine has sessions.
pub(crate) struct Cluster {
    pub(crate) one: Arc<dyn Coordinator>,
    pub(crate) other: Arc<dyn Coordinator>,
    /// What must outlive the views.
    pub(crate) _keep: Box<dyn Any>,
}

pub(crate) async fn conforms(fresh: impl AsyncFn() -> Cluster) {
    old_revisions_are_refused(&fresh().await).await;
    the_rules_of_the_map_are_kept(&fresh().await).await;
    access_keys_belong_to_buckets(&fresh().await).await;
    a_snapshot_stays_as_it_was(&fresh().await).await;
    all_views_come_to_the_same_map(&fresh().await).await;
    one_of_many_creates_wins(&fresh().await).await;
    no_update_is_lost_in_a_race(&fresh().await).await;
    no_id_and_no_key_comes_twice(&fresh().await).await;
    no_access_key_outlives_its_bucket(&fresh().await).await;
    a_change_that_was_begun_is_carried_through(&fresh().await).await;
    an_order_stands_until_it_is_taken_back(&fresh().await).await;
    a_store_is_ill_until_it_is_well(&fresh().await).await;
    a_store_that_never_was_is_not_struck(&fresh().await).await;
}

pub(crate) fn volume(stores: &[&str]) -> Volume {
    let replicas = stores.iter().map(|id| store(id)).collect();
    Volume::new(replicas)
}

/// Waits until a coordinator's map is as wanted.
pub(crate) async fn sees(
    coordinator: &dyn Coordinator,
    wanted: impl Fn(&ClusterMap) -> bool,
) -> Arc<ClusterMap> {
    let mut maps = coordinator.subscribe();
    let seen = tokio::time::timeout(PATIENCE, maps.wait_for(|map| wanted(map))).await;
    Arc::clone(&seen.expect("the map never became as wanted").expect("the coordinator ended"))
}

fn name(text: &str) -> BucketName {
    text.parse().unwrap()
}

async fn published(coordinator: &dyn Coordinator) -> VolumeId {
    let id = coordinator.reserve_volume_id().await.unwrap();
    coordinator.publish_volume(id, volume(&["a"])).await.unwrap();
    id
}

async fn old_revisions_are_refused(cluster: &Cluster) {
    let one = &cluster.one;
    one.create_bucket(bucket("photos", 1)).await.unwrap();
    let again = cluster.other.create_bucket(bucket("photos", 2)).await;
    assert!(matches!(again, Err(CoordinatorError::Exists(_))), "{again:?}");
    let first = one.map().buckets[&name("photos")].revision;
    let second = one.update_bucket(first, bucket("photos", 2)).await.unwrap();
    assert!(second > first);
    assert_eq!(one.map().buckets[&name("photos")].revision, second);
    for coordinator in [one, &cluster.other] {
        let stale = coordinator.update_bucket(first, bucket("photos", 3)).await;
        let Err(CoordinatorError::Conflict { expected, actual, .. }) = stale else {
            panic!("{stale:?}");
        };
        assert_eq!((expected, actual), (first, second));
        let stale = coordinator.remove_bucket(&name("photos"), first).await;
        assert!(matches!(stale, Err(CoordinatorError::Conflict { .. })), "{stale:?}");
    }
    one.remove_bucket(&name("photos"), second).await.unwrap();
    assert!(one.map().buckets.is_empty());
    let gone = cluster.other.update_bucket(second, bucket("photos", 1)).await;
    assert!(matches!(gone, Err(CoordinatorError::Missing(_))), "{gone:?}");
    let gone = cluster.other.remove_bucket(&name("photos"), second).await;
    assert!(matches!(gone, Err(CoordinatorError::Missing(_))), "{gone:?}");
}

async fn the_rules_of_the_map_are_kept(cluster: &Cluster) {
    let one = &cluster.one;
    let never_reserved = VolumeId::new(1).unwrap();
    let invalid = |result| matches!(result, Err(CoordinatorError::Invalid(_)));
    assert!(invalid(one.publish_volume(never_reserved, volume(&["a"])).await));
    let id = one.reserve_volume_id().await.unwrap();
    assert!(invalid(one.publish_volume(id, volume(&[])).await));
    assert!(invalid(one.publish_volume(id, volume(&["a", "a"])).await));
    let unpublished = one.lease_keys(id, 1).await;
    assert!(matches!(unpublished, Err(CoordinatorError::Missing(_))), "{unpublished:?}");
    one.publish_volume(id, volume(&["a"])).await.unwrap();
    let twice = cluster.other.publish_volume(id, volume(&["b"])).await;
    assert!(matches!(twice, Err(CoordinatorError::Exists(_))), "{twice:?}");
    let first = one.map().volumes[&id].revision;
    let same_epoch = one.update_volume(id, first, volume(&["b"])).await;
    assert!(invalid(same_epoch.map(drop)));
    assert!(invalid(one.update_volume(id, first, volume(&[])).await.map(drop)));
    let risen = Volume { epoch: 2, ..volume(&["b"]) };
    let second = one.update_volume(id, first, risen.clone()).await.unwrap();
    let sunken = Volume { epoch: 1, ..risen.clone() };
    assert!(invalid(one.update_volume(id, second, sunken).await.map(drop)));
    assert_eq!(one.map().volumes[&id].value, risen);
    let no_copies = one.create_bucket(bucket("photos", 0)).await;
    assert!(invalid(no_copies));
    let unknown = one.update_volume(VolumeId::new(99).unwrap(), 1, volume(&["a"])).await;
    assert!(matches!(unknown, Err(CoordinatorError::Missing(_))), "{unknown:?}");
}

async fn access_keys_belong_to_buckets(cluster: &Cluster) {
    let one = &cluster.one;
    let key = |bucket: &str| AccessKey::generate(name(bucket), 1).unwrap();
    let homeless = one.add_access_key(key("cats")).await;
    assert!(matches!(homeless, Err(CoordinatorError::Missing(_))), "{homeless:?}");
    let cats = key("cats");
    for (name, key) in [("cats", cats.clone()), ("dogs", key("dogs"))] {
        one.create_bucket(bucket(name, 1)).await.unwrap();
        one.add_access_key(key).await.unwrap();
    }
    let again = one.add_access_key(cats.clone()).await;
    assert!(matches!(again, Err(CoordinatorError::Exists(_))), "{again:?}");
    assert_eq!(one.map().access_keys[&cats.id], cats, "the key stands as it was given");
    let extra = key("cats");
    one.add_access_key(extra.clone()).await.unwrap();
    // The other view may not have seen the key yet: it is removed all the same.
    cluster.other.remove_access_key(&extra.id).await.unwrap();
    let twice = cluster.other.remove_access_key(&extra.id).await;
    assert!(matches!(twice, Err(CoordinatorError::Missing(_))), "{twice:?}");
    let revision = one.map().buckets[&name("cats")].revision;
    one.remove_bucket(&name("cats"), revision).await.unwrap();
    let left = one.map();
    let left: Vec<_> = left.access_keys.values().map(|key| key.bucket.as_str()).collect();
    assert_eq!(left, ["dogs"]);
}

async fn a_snapshot_stays_as_it_was(cluster: &Cluster) {
    let before = cluster.one.map();
    cluster.one.create_bucket(bucket("photos", 1)).await.unwrap();
    assert!(before.buckets.is_empty());
    assert_eq!(cluster.one.map().buckets.len(), 1);
}

async fn all_views_come_to_the_same_map(cluster: &Cluster) {
    let (one, other) = (&cluster.one, &cluster.other);
    one.create_bucket(bucket("photos", 1)).await.unwrap();
    one.add_access_key(AccessKey::generate(name("photos"), 1).unwrap()).await.unwrap();
    let volume = published(&**other).await;
    for coordinator in [one, other] {
        sees(&**coordinator, |map| map.volumes.contains_key(&volume) && map.access_keys.len() == 1)
            .await;
    }
    assert_eq!(one.map(), other.map());
    let revision = other.map().buckets[&name("photos")].revision;
    other.remove_bucket(&name("photos"), revision).await.unwrap();
    let map = sees(&**one, |map| map.buckets.is_empty()).await;
    assert!(map.access_keys.is_empty(), "no reader sees half of a removal");
}

async fn one_of_many_creates_wins(cluster: &Cluster) {
    let mut tasks = Vec::new();
    for copies in 1..=16_u8 {
        let coordinator = Arc::clone(if copies % 2 == 0 { &cluster.one } else { &cluster.other });
        tasks.push(tokio::spawn(async move {
            coordinator.create_bucket(bucket("contested", copies)).await.is_ok().then_some(copies)
        }));
    }
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    let map = sees(&*cluster.one, |map| !map.buckets.is_empty()).await;
    assert_eq!(map.buckets[&name("contested")].value.copies, winners[0]);
}

/// Adds 1 to a number kept in a bucket, as often as it takes.
async fn count_up(coordinator: &dyn Coordinator) {
    loop {
        let map = coordinator.map();
        let entry = &map.buckets[&name("counter")];
        let created_ms = entry.value.created_ms + 1;
        let next = Bucket { created_ms, ..entry.value.clone() };
        match coordinator.update_bucket(entry.revision, next).await {
            Ok(_) => return,
            Err(CoordinatorError::Conflict { actual, .. }) => {
                sees(coordinator, |map| map.buckets[&name("counter")].revision >= actual).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn no_update_is_lost_in_a_race(cluster: &Cluster) {
    const EACH: u64 = 12;
    let counter = Bucket { created_ms: 0, ..bucket("counter", 1) };
    cluster.one.create_bucket(counter).await.unwrap();
    sees(&*cluster.other, |map| map.buckets.contains_key(&name("counter"))).await;
    let mut tasks = Vec::new();
    for task in 0..4 {
        let coordinator = Arc::clone(if task % 2 == 0 { &cluster.one } else { &cluster.other });
        tasks.push(tokio::spawn(async move {
            for _ in 0..EACH {
                count_up(&*coordinator).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let total = EACH * 4;
    let map =
        sees(&*cluster.one, |map| map.buckets[&name("counter")].value.created_ms >= total).await;
    assert_eq!(map.buckets[&name("counter")].value.created_ms, total);
}

async fn no_id_and_no_key_comes_twice(cluster: &Cluster) {
    let volume = published(&*cluster.one).await;
    let mut tasks = Vec::new();
    for task in 0..8 {
        let coordinator = Arc::clone(if task % 2 == 0 { &cluster.one } else { &cluster.other });
        tasks.push(tokio::spawn(async move {
            let (mut ids, mut keys) = (Vec::new(), Vec::new());
            for _ in 0..5 {
                ids.push(coordinator.reserve_volume_id().await.unwrap());
                keys.extend(coordinator.lease_keys(volume, 10).await.unwrap());
            }
            (ids, keys)
        }));
    }
    let (mut ids, mut keys) = (HashSet::from([volume]), HashSet::new());
    for task in tasks {
        let taken = task.await.unwrap();
        assert!(taken.0.into_iter().all(|id| ids.insert(id)), "an id came twice");
        assert!(taken.1.into_iter().all(|key| keys.insert(key)), "a key came twice");
    }
    assert_eq!((keys.len(), keys.iter().max()), (400, Some(&400)), "leased keys are dense");
    assert!(!keys.contains(&0), "key 0 stays free");
    assert_eq!(ids.iter().map(|id| id.get()).max(), Some(41), "ids are dense");
}

async fn no_access_key_outlives_its_bucket(cluster: &Cluster) {
    for _ in 0..5 {
        cluster.one.create_bucket(bucket("photos", 1)).await.unwrap();
        let adding = async {
            // Fails as soon as the bucket is gone.
            while cluster
                .other
                .add_access_key(AccessKey::generate(name("photos"), 1).unwrap())
                .await
                .is_ok()
            {}
        };
        let removing = async {
            let map = sees(&*cluster.one, |map| !map.access_keys.is_empty()).await;
            let revision = map.buckets[&name("photos")].revision;
            cluster.one.remove_bucket(&name("photos"), revision).await.unwrap();
        };
        futures::join!(adding, removing);
        sees(&*cluster.other, |map| map.buckets.is_empty()).await;
        for coordinator in [&cluster.one, &cluster.other] {
            assert!(coordinator.map().access_keys.is_empty(), "a key opens a bucket that is gone");
        }
    }
}

async fn a_change_that_was_begun_is_carried_through(cluster: &Cluster) {
    drop(cluster.one.create_bucket(bucket("photos", 1)));
    sees(&*cluster.one, |map| map.buckets.contains_key(&name("photos"))).await;
}

async fn an_order_stands_until_it_is_taken_back(cluster: &Cluster) {
    let (one, other) = (&cluster.one, &cluster.other);
    let drain = Order::Drain { store: store("s1") };
    let orders = [drain.clone(), Order::Pause, "move:7:s1:s2".parse().unwrap()];
    for order in &orders {
        one.put_order(order.clone()).await.unwrap();
        assert_eq!(one.map().orders.get(&order.id()), Some(order));
    }
    other.put_order(drain.clone()).await.expect("an order given twice is one order");
    let map = sees(&**other, |map| map.orders.len() == orders.len()).await;
    assert!(map.is_draining(&store("s1")) && !map.is_draining(&store("s2")));
    other.remove_order(&drain.id()).await.unwrap();
    let map = sees(&**one, |map| map.orders.len() < orders.len()).await;
    assert!(!map.is_draining(&store("s1")));
    let gone = one.remove_order(&drain.id()).await;
    assert!(matches!(gone, Err(CoordinatorError::Missing(_))), "{gone:?}");
}

async fn a_store_is_ill_until_it_is_well(cluster: &Cluster) {
    let (one, other, s1) = (&cluster.one, &cluster.other, store("s1"));
    let illness = |reason: &str| Illness { reason: reason.to_owned(), since_ms: 7 };
    one.mark_ill(&s1, illness("slow")).await.unwrap();
    assert_eq!(one.map().ill.get(&s1), Some(&illness("slow")));
    sees(&**other, |map| map.ill.contains_key(&s1)).await;
    other.mark_ill(&s1, illness("slower")).await.unwrap();
    assert_eq!(other.map().ill.get(&s1), Some(&illness("slow")), "what was said first");
    assert!(!one.map().is_well(&Volume::new(vec![store("s2"), s1.clone()])));
    for _ in 0..2 {
        other.mark_well(&s1).await.unwrap();
        assert!(other.map().ill.is_empty());
    }
    sees(&**one, |map| map.ill.is_empty()).await;
}

async fn a_store_that_never_was_is_not_struck(cluster: &Cluster) {
    let missing = cluster.one.remove_store(&store("s1")).await;
    assert!(matches!(missing, Err(CoordinatorError::Missing(_))), "{missing:?}");
}
