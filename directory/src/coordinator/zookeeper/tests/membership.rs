//! Stores that come, go and come back.

use std::time::Duration;

use super::*;
use crate::coordinator::MemberDisk;
use crate::coordinator::conformance::{sees, volume};
use crate::testing::store;

pub(super) fn registration(id: &str, rack: &str) -> Registration {
    let disks = vec![MemberDisk { path: "/disk1".to_owned(), total_bytes: 1 << 40 }];
    let (rack, address) = (rack.parse().unwrap(), format!("{id}.{rack}:8081"));
    Registration { store: store(id), rack, host: None, address, disks }
}

/// Whether a store is there, as a map tells.
pub(super) fn is_there(map: &ClusterMap, id: &str) -> bool {
    map.stores.get(&store(id)).is_some_and(|known| known.member.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_seen_and_stays_known_when_it_is_gone() {
    let config = fresh();
    let (one, other) = (open(&config).await, open(&config).await);
    let told = registration("s1", "r1");
    let registered = one.register(told.clone()).await.unwrap();
    assert!(is_there(&one.map(), "s1"), "its own map shows it on return");
    let map = sees(&*other, |map| is_there(map, "s1")).await;
    let known = map.stores[&store("s1")].clone();
    let member = known.member.unwrap();
    assert_eq!(known.rack, told.rack);
    assert_eq!((member.rack, member.address, member.disks), (told.rack, told.address, told.disks));
    registered.leave().await.unwrap();
    let map = sees(&*other, |map| !is_there(map, "s1")).await;
    assert!(map.stores.contains_key(&store("s1")), "gone is not the same as never seen");
    // It comes back in another rack, and was first seen when it was.
    let _back = one.register(registration("s1", "r2")).await.unwrap();
    let map = sees(&*other, |map| is_there(map, "s1")).await;
    let back = &map.stores[&store("s1")];
    assert_eq!((back.rack.as_str(), back.since_ms), ("r2", known.since_ms));
    drop(one);
    sees(&*other, |map| !is_there(map, "s1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_id_that_lives_is_refused_in_any_rack() {
    let config = ZooKeeperConfig { session_timeout_ms: 1_000, ..fresh() };
    let (one, other) = (open(&config).await, open(&config).await);
    let _holder = one.register(registration("s1", "r1")).await.unwrap();
    for rack in ["r1", "r2"] {
        let refused = other.register(registration("s1", rack)).await.err();
        let Some(CoordinatorError::StoreTaken { store: id, address }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!((id.as_str(), address.as_str()), ("s1", "s1.r1:8081"));
    }
    let map = sees(&*other, |map| is_there(map, "s1")).await;
    assert_eq!(map.stores[&store("s1")].rack.as_str(), "r1");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_processes_with_one_id_one_is_the_store() {
    let config = ZooKeeperConfig { session_timeout_ms: 1_000, ..fresh() };
    // Known already, in yet another rack: the record alone stands between the processes.
    let before = open(&config).await;
    before.register(registration("s1", "r0")).await.unwrap().leave().await.unwrap();
    let mut contenders = Vec::new();
    for rack in ["r1", "r2", "r1", "r3"] {
        let coordinator = open(&config).await;
        contenders.push(async move {
            let won = coordinator.register(registration("s1", rack)).await;
            (coordinator, won)
        });
    }
    let outcomes = futures::future::join_all(contenders).await;
    let won = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    assert_eq!(won, 1);
    let client = plain_client(&config).await;
    let mut nodes = 0;
    for rack in client.list_children("/stores").await.unwrap() {
        nodes += client.list_children(&format!("/stores/{rack}")).await.unwrap().len();
    }
    assert_eq!(nodes, 1, "the id stands in one rack");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_died_is_taken_over_after_its_session() {
    let config = ZooKeeperConfig { session_timeout_ms: 1_000, ..fresh() };
    let dead = session::connect(&config).await.unwrap();
    let observer = open(&config).await;
    // As a process leaves it that was killed: a session that nobody keeps alive.
    let record = layout::MemberRecord {
        cluster_id: observer.map().cluster_id,
        boot_id: Uuid::new_v4(),
        address: "old:1".to_owned(),
        disks: Vec::new(),
    };
    let data = layout::encode(Uuid::new_v4(), &record).unwrap();
    let durable = zookeeper_client::CreateMode::Persistent.with_acls(Acls::anyone_all());
    let ephemeral = zookeeper_client::CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    dead.create("/stores/r1", b"", &durable).await.unwrap();
    dead.create("/stores/r1/s1", &data, &ephemeral).await.unwrap();
    sees(&*observer, |map| is_there(map, "s1")).await;
    let successor = observer.register(registration("s1", "r1"));
    let dying = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(dead);
    };
    let (registered, ()) = futures::join!(successor, dying);
    let _registered = registered.unwrap();
    let map = observer.map();
    let member = map.stores[&store("s1")].member.as_ref().unwrap();
    assert_eq!(member.address, "s1.r1:8081");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_somebody_removed_is_made_again() {
    let config = fresh();
    let coordinator = open(&config).await;
    let registered = coordinator.register(registration("s1", "r1")).await.unwrap();
    let first = coordinator.map();
    let client = plain_client(&config).await;
    let (_, before) = client.get_data("/stores/r1/s1").await.unwrap();
    client.delete("/stores/r1/s1", None).await.unwrap();
    let mut presence = registered.presence();
    let back = async {
        loop {
            if let Ok((_, stat)) = client.get_data("/stores/r1/s1").await
                && stat.czxid > before.czxid
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
    presence.wait_for(|now| *now == Presence::Present).await.unwrap();
    let map = sees(&*coordinator, |map| is_there(map, "s1")).await;
    assert_eq!(map.stores[&store("s1")].since_ms, first.stores[&store("s1")].since_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_struck_off_once_it_is_gone_and_empty() {
    let config = fresh();
    let (one, other) = (open(&config).await, open(&config).await);
    let in_use = |result| matches!(result, Err(CoordinatorError::InUse { .. }));
    let registered = one.register(registration("s1", "r1")).await.unwrap();
    assert!(in_use(other.remove_store(&store("s1")).await), "it is running");
    registered.leave().await.unwrap();
    let id = one.reserve_volume_id().await.unwrap();
    one.publish_volume(id, volume(&["s1"])).await.unwrap();
    assert!(in_use(other.remove_store(&store("s1")).await), "a volume is on it");
    let moved = Volume { epoch: 2, moving: Some(store("s1")), ..volume(&["s2"]) };
    let revision = one.update_volume(id, 1, moved.clone()).await.unwrap();
    assert!(in_use(other.remove_store(&store("s1")).await), "a volume comes from it");
    let over = Volume { moving: None, ..moved };
    one.update_volume(id, revision, over).await.unwrap();
    other.remove_store(&store("s1")).await.unwrap();
    sees(&*one, |map| !map.stores.contains_key(&store("s1"))).await;
    let again = one.remove_store(&store("s1")).await;
    assert!(matches!(again, Err(CoordinatorError::Missing(_))), "{again:?}");
    // It may come back, as a new one.
    let _back = one.register(registration("s1", "r1")).await.unwrap();
    sees(&*other, |map| is_there(map, "s1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_seen_as_long_as_they_live() {
    let config = fresh();
    let (one, other) = (open(&config).await, open(&config).await);
    let observer = open(&config).await;
    // As in a cluster that was begun before directories registered.
    plain_client(&config).await.delete("/directories", None).await.unwrap();
    let leaving = one.register_directory("d1:8181".to_owned()).await.unwrap();
    assert_eq!(one.map().directories.len(), 1, "its own map shows it on return");
    let _staying = other.register_directory("d2:8181".to_owned()).await.unwrap();
    let map = sees(&*observer, |map| map.directories.len() == 2).await;
    let mut addresses: Vec<_> = map.directories.values().map(|info| &info.address).collect();
    addresses.sort();
    assert_eq!(addresses, ["d1:8181", "d2:8181"]);
    leaving.leave().await.unwrap();
    sees(&*observer, |map| map.directories.len() == 1).await;
    drop(other);
    sees(&*observer, |map| map.directories.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_whose_session_ended_registers_again() {
    let config = fresh();
    let coordinator = open(&config).await;
    let registered = coordinator.register_directory("d1:8181".to_owned()).await.unwrap();
    let client = plain_client(&config).await;
    let [name] = &client.list_children("/directories").await.unwrap()[..] else { panic!() };
    let path = format!("/directories/{name}");
    let (_, before) = client.get_data(&path).await.unwrap();
    client.delete(&path, None).await.unwrap();
    let back = async {
        let is_new = |(_, stat): (_, zookeeper_client::Stat)| stat.czxid > before.czxid;
        while !client.get_data(&path).await.is_ok_and(is_new) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
    registered.presence().wait_for(|now| *now == Presence::Present).await.unwrap();
    sees(&*coordinator, |map| map.directories.len() == 1).await;
}
