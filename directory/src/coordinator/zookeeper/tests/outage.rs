//! ZooKeeper dies, hangs, stays away, comes back, and forgets.

use std::time::{Duration, Instant};

use hayrick_testkit::Ensemble;

use super::membership::{is_there, registration};
use super::*;
use crate::coordinator::conformance::{sees, volume};
use crate::testing::{bucket, store};

async fn has_bucket(coordinator: &ZooKeeperCoordinator, name: &str) {
    sees(coordinator, |map| map.buckets.contains_key(&name.parse().unwrap())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_around_a_restart_arrives() {
    let mut server = ZooKeeper::start();
    let config = ZooKeeperConfig { session_timeout_ms: 20_000, ..config_of(&server, "c") };
    let reader = open(&config).await;
    let _registered = reader.register(registration("s1", "r1")).await.unwrap();
    let session = reader.shared.sessions.id();
    for round in 0..2 {
        server.kill();
        server.restart();
        // Made by another session, at once: before, while and after the reader reconnects.
        let writer = open(&config).await;
        for number in 0..20 {
            let name = format!("round-{round}-{number}");
            writer.create_bucket(bucket(&name, 1)).await.unwrap();
        }
        has_bucket(&reader, &format!("round-{round}-19")).await;
        assert_eq!(reader.map().buckets.len(), 20 * (round + 1));
        // The watch lives on after it caught up.
        writer.create_bucket(bucket(&format!("late-{round}"), 1)).await.unwrap();
        has_bucket(&reader, &format!("late-{round}")).await;
        let late = writer.map().buckets[&format!("late-{round}").parse().unwrap()].revision;
        let late_name = format!("late-{round}").parse().unwrap();
        writer.remove_bucket(&late_name, late).await.unwrap();
        sees(&*reader, |map| !map.buckets.contains_key(&late_name)).await;
        sees(&*writer, |map| is_there(map, "s1")).await;
    }
    assert_eq!(reader.shared.sessions.id(), session, "it was one session all the time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_expired_is_made_again_with_all_it_held() {
    let server = ZooKeeper::start();
    let config = ZooKeeperConfig { session_timeout_ms: 2_000, ..config_of(&server, "c") };
    let coordinator = open(&config).await;
    let registered = coordinator.register(registration("s1", "r1")).await.unwrap();
    let mut candidacy = coordinator.campaign("k1", None);
    let leadership = candidacy.elected().await;
    coordinator.create_bucket(bucket("before", 1)).await.unwrap();
    let session = coordinator.shared.sessions.id();
    server.freeze();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(!leadership.is_held(), "who hears nothing does not lead");
    assert!(coordinator.map().buckets.len() == 1, "the last map stays");
    server.thaw();
    let expired = async {
        let mut sessions = coordinator.shared.sessions.subscribe();
        let other = |now: &Option<Client>| {
            now.as_ref().is_some_and(|client| client.session_id().0 != session)
        };
        sessions.wait_for(other).await.map(drop).unwrap();
    };
    tokio::time::timeout(Duration::from_secs(30), expired).await.expect("a new session");
    let map = sees(&*coordinator, |map| {
        let member = map.stores.get(&store("s1")).and_then(|known| known.member.as_ref());
        member.is_some_and(|member| member.session == coordinator.shared.sessions.id())
    })
    .await;
    assert_eq!(map.buckets.len(), 1);
    let mut presence = registered.presence();
    presence.wait_for(|now| *now == Presence::Present).await.unwrap();
    let again = candidacy.elected().await;
    assert!(again.term() > leadership.term() && again.is_held() && !leadership.is_held());
    let other = open(&config).await;
    coordinator.create_bucket(bucket("after", 1)).await.unwrap();
    has_bucket(&other, "after").await;
    other.create_bucket(bucket("elsewhere", 1)).await.unwrap();
    has_bucket(&coordinator, "elsewhere").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_zookeeper_the_last_map_stays_and_changes_fail_in_time() {
    let mut server = ZooKeeper::start();
    let config = ZooKeeperConfig {
        session_timeout_ms: 1_000,
        change_timeout_ms: 1_500,
        ..config_of(&server, "c")
    };
    let coordinator = open(&config).await;
    let id = coordinator.reserve_volume_id().await.unwrap();
    coordinator.publish_volume(id, volume(&["a"])).await.unwrap();
    let before = coordinator.map();
    server.kill();
    // The first may meet the connection as it breaks; the second certainly finds none.
    for attempt in 0..2 {
        let began = Instant::now();
        let failed = coordinator.create_bucket(bucket("photos", 1)).await;
        let expected = match &failed {
            Err(CoordinatorError::Unavailable { .. }) => true,
            Err(CoordinatorError::InDoubt(_)) => attempt == 0,
            _ => false,
        };
        assert!(expected, "{failed:?}");
        assert!(began.elapsed() >= Duration::from_millis(1_400), "it was tried until the deadline");
        assert!(began.elapsed() < Duration::from_secs(20), "took {:?}", began.elapsed());
    }
    let error = coordinator.lease_keys(id, 1).await.unwrap_err();
    assert!(error.to_string().contains(config.servers()), "{error}");
    assert_eq!(coordinator.map(), before);
    let unreachable = ZooKeeperCoordinator::open(config.clone(), None).await.err();
    assert!(matches!(unreachable, Some(CoordinatorError::Unavailable { .. })), "{unreachable:?}");
    server.restart();
    let patient = ZooKeeperConfig { change_timeout_ms: 30_000, ..config };
    let other = open(&patient).await;
    other.create_bucket(bucket("later", 1)).await.unwrap();
    has_bucket(&coordinator, "later").await;
    coordinator.lease_keys(id, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zookeeper_that_forgot_everything_is_not_believed() {
    let mut server = ZooKeeper::start();
    let config = ZooKeeperConfig {
        session_timeout_ms: 1_000,
        change_timeout_ms: 1_500,
        ..config_of(&server, "c")
    };
    let coordinator = open(&config).await;
    coordinator.create_bucket(bucket("photos", 1)).await.unwrap();
    let before = coordinator.map();
    server.kill();
    server.forget();
    server.restart();
    let told_apart = async {
        loop {
            let refused = coordinator.reserve_volume_id().await.unwrap_err().to_string();
            if refused.contains("no cluster") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), told_apart).await.unwrap();
    // Somebody begins another cluster there.
    let other = open(&ZooKeeperConfig { change_timeout_ms: 30_000, ..config }).await;
    other.create_bucket(bucket("scans", 1)).await.unwrap();
    let told_apart = async {
        loop {
            let refused = coordinator.reserve_volume_id().await.unwrap_err().to_string();
            if refused.contains(&other.map().cluster_id.to_string()) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), told_apart).await.unwrap();
    assert_eq!(coordinator.map(), before, "not a bucket of it got onto the map");
    assert_eq!(other.reserve_volume_id().await.unwrap(), VolumeId::new(1).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_again_and_again_give_nothing_twice() {
    let mut server = ZooKeeper::start();
    let config = ZooKeeperConfig { session_timeout_ms: 20_000, ..config_of(&server, "c") };
    let coordinators = [open(&config).await, open(&config).await];
    let volume_id = coordinators[0].reserve_volume_id().await.unwrap();
    coordinators[0].publish_volume(volume_id, volume(&["a"])).await.unwrap();
    coordinators[0].create_bucket(bucket("counter", 1)).await.unwrap();
    has_bucket(&coordinators[1], "counter").await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = Vec::new();
    for coordinator in coordinators.clone() {
        let stop = Arc::clone(&stop);
        tasks.push(tokio::spawn(async move {
            let (mut keys, mut ids, mut updates, mut doubts) = (Vec::new(), Vec::new(), 0, 0);
            while !stop.load(Ordering::Relaxed) {
                keys.extend(coordinator.lease_keys(volume_id, 2).await.unwrap());
                ids.push(coordinator.reserve_volume_id().await.unwrap());
                let entry = coordinator.map().buckets[&"counter".parse().unwrap()].clone();
                let created_ms = entry.value.created_ms + 1;
                let next = Bucket { created_ms, ..entry.value };
                match coordinator.update_bucket(entry.revision, next).await {
                    Ok(_) => updates += 1,
                    Err(CoordinatorError::Conflict { .. }) => {}
                    // The other's changes came on top: ours may lie beneath.
                    Err(CoordinatorError::InDoubt(_)) => doubts += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            (keys, ids, updates, doubts)
        }));
    }
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.kill();
        server.restart();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut keys, mut ids) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    let (mut updates, mut doubts) = (0, 0);
    for task in tasks {
        let (some_keys, some_ids, some_updates, some_doubts) = task.await.unwrap();
        assert!(some_keys.into_iter().all(|key| keys.insert(key)), "a key came twice");
        assert!(some_ids.into_iter().all(|id| ids.insert(id)), "an id came twice");
        updates += some_updates;
        doubts += some_doubts;
    }
    assert!(keys.len() > 20 && updates > 5, "{} keys, {updates} updates", keys.len());
    let fresh = open(&config).await;
    let counter = fresh.map().buckets[&"counter".parse().unwrap()].clone();
    let counted = counter.value.created_ms - 1;
    assert!(
        (updates..=updates + doubts).contains(&counted),
        "each update counts once: {counted} for {updates} and {doubts} in doubt"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ensemble_that_loses_its_leader_goes_on() {
    let mut ensemble = Ensemble::start();
    let connect = format!("{}/c", ensemble.address());
    let config = ZooKeeperConfig { connect, ..config_of(&ensemble.servers[0], "c") };
    let config = ZooKeeperConfig { session_timeout_ms: 10_000, ..config };
    let (one, other) = (open(&config).await, open(&config).await);
    let _registered = one.register(registration("s1", "r1")).await.unwrap();
    ensemble.leader().kill();
    one.create_bucket(bucket("photos", 1)).await.unwrap();
    has_bucket(&other, "photos").await;
    other.create_bucket(bucket("scans", 1)).await.unwrap();
    has_bucket(&one, "scans").await;
    sees(&*other, |map| is_there(map, "s1")).await;
}
