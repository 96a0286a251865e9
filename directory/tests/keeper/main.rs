//! A keeper, real stores behind real sockets, and a real ZooKeeper: stores go for good, come
//! back old, come back empty, and are emptied; keepers are lost in the middle of their work.
#![expect(clippy::unwrap_used, reason = "all of this file is a test")]
#![expect(clippy::indexing_slicing, reason = "all of this file is a test")]
#![expect(clippy::panic, reason = "all of this file is a test")]

mod world;

use std::time::Duration;

use hayrick_directory::keeper::Health;
use hayrick_directory::{Coordinator as _, Order};
use hayrick_service::config::Span;

use world::{Running, World, config, id, key, vid};

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_lost_is_replaced_and_not_believed_when_it_returns() {
    let mut world = World::start(4).await;
    for volume in 1..=3 {
        world.publish(volume, &["s1", "s2"]).await;
        world.put_all(volume, 1..=20).await;
    }
    let keeper = world.keeper("k1", config()).await;
    world.stop("s1").await;
    world
        .eventually("full replication", |world| {
            (1..=3)
                .all(|volume| world.is_whole(volume) && !world.replicas(volume).contains(&id("s1")))
        })
        .await;
    for volume in 1..=3 {
        world.delete(volume, 7).await;
        world.put_all(volume, 21..=25).await;
        assert_eq!(world.live(volume), 24);
    }
    // With needles that were deleted meanwhile, and without new ones.
    world.restart("s1").await;
    world.eventually("what was left behind is removed", |world| world.volumes_on("s1") == 0).await;
    for volume in 1..=3 {
        assert!(world.is_whole(volume));
        assert_eq!(world.live(volume), 24, "nothing came back with it");
    }
    let status = keeper.status();
    assert!(status.leads && status.stuck.is_empty(), "{status:?}");
    assert!(status.done.iter().any(|job| job.work.starts_with("replace the replica of s1")));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_back_in_time_is_caught_up() {
    let mut world = World::start(3).await;
    world.publish(1, &["s1", "s2"]).await;
    world.put_all(1, 1..=20).await;
    let patient = hayrick_directory::KeeperConfig { grace: Span::secs(3_600), ..config() };
    let keeper = world.keeper("k1", patient).await;
    world.stop("s1").await;
    // An upload that failed, and a delete that waits for the other store.
    world.put_on("s2", 1, 30).await;
    world.delete_on("s2", 1, 5).await;
    world.restart("s1").await;
    world.eventually("both hold the same", |world| world.is_whole(1)).await;
    assert_eq!(world.replicas(1), [id("s1"), id("s2")], "nothing was moved");
    assert_eq!(world.live(1), 20, "one more, one less");
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_back_empty_is_filled() {
    let mut world = World::start(2).await;
    for volume in 1..=2 {
        world.publish(volume, &["s1", "s2"]).await;
        world.put_all(volume, 1..=20).await;
        world.delete(volume, 3).await;
    }
    let patient = hayrick_directory::KeeperConfig { grace: Span::secs(3_600), ..config() };
    let keeper = world.keeper("k1", patient).await;
    world.stop("s2").await;
    world.wipe("s2");
    world.restart("s2").await;
    world.eventually("full replication", |world| (1..=2).all(|v| world.is_whole(v))).await;
    assert_eq!((world.live(1), world.live(2)), (19, 19));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_store_ends_up_empty_and_is_struck_off() {
    let mut world = World::start(3).await;
    world.publish(1, &["s1"]).await;
    world.publish(2, &["s1", "s2"]).await;
    for volume in 1..=2 {
        world.put_all(volume, 1..=20).await;
        world.delete(volume, 3).await;
    }
    let keeper = world.keeper("k1", config()).await;
    let drain = Order::Drain { store: id("s1") };
    world.coordinator.put_order(drain.clone()).await.unwrap();
    world
        .eventually("s1 is empty", |world| {
            world.volumes_on("s1") == 0 && (1..=2).all(|volume| world.is_whole(volume))
        })
        .await;
    for volume in 1..=2 {
        assert_eq!(world.live(volume), 19);
        world.eventually("it takes needles again", |world| world.takes_needles(volume)).await;
        world.put_all(volume, 21..=22).await;
    }
    world.stop("s1").await;
    world.eventually("s1 is gone", |world| world.is_away("s1")).await;
    world.coordinator.remove_store(&id("s1")).await.unwrap();
    world
        .eventually("nobody is left to be emptied", |world| {
            world.coordinator.map().orders.is_empty()
        })
        .await;
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_keeper_ends_what_one_began() {
    let world = World::start(3).await;
    world.publish(1, &["s1", "s2"]).await;
    world.put_all(1, 1..=60).await;
    let (first, second) = (world.keeper("k1", config()).await, world.keeper("k2", config()).await);
    world.eventually("one leads", |_| first.status().leads != second.status().leads).await;
    let (leader, other) = if first.status().leads { (first, second) } else { (second, first) };
    let order = Order::Move { volume: vid(1), from: id("s1"), to: id("s3") };
    world.coordinator.put_order(order).await.unwrap();
    world.eventually("the move has begun", |_| !leader.status().running.is_empty()).await;
    leader.stop().await;
    world.eventually("the other leads", |_| other.status().leads).await;
    world
        .eventually("the move is over", |world| {
            world.coordinator.map().orders.is_empty()
                && world.is_whole(1)
                && world.volumes_on("s1") == 0
                && world.takes_needles(1)
        })
        .await;
    assert_eq!(world.replicas(1), [id("s2"), id("s3")]);
    assert_eq!(world.live(1), 60);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_paused_nothing_begins() {
    let mut world = World::start(3).await;
    world.publish(1, &["s1", "s2"]).await;
    world.put_all(1, 1..=5).await;
    world.coordinator.put_order(Order::Pause).await.unwrap();
    let keeper = world.keeper("k1", config()).await;
    world.stop("s1").await;
    world
        .eventually("it would begin", |_| {
            let status = keeper.status();
            status.paused && status.waiting.iter().any(|job| job.volume == vid(1))
        })
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.replicas(1), [id("s1"), id("s2")]);
    world.coordinator.remove_order(&Order::Pause.id()).await.unwrap();
    world.eventually("it begins", |world| world.is_whole(1)).await;
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_given_back_on_every_replica() {
    let world = World::start(2).await;
    world.publish(1, &["s1", "s2"]).await;
    world.put_all(1, 1..=20).await;
    for key in 1..=15 {
        world.delete(1, key).await;
    }
    let small = "1KiB".parse().unwrap();
    let eager = hayrick_directory::KeeperConfig { compact_min_garbage: small, ..config() };
    let keeper = world.keeper("k1", eager).await;
    world
        .eventually("both are compacted", |world| {
            ["s1", "s2"].iter().all(|store| world.status(store, 1).generation > 1)
        })
        .await;
    world.eventually("both hold the same", |world| world.is_whole(1)).await;
    assert_eq!(world.live(1), 5);
    assert!(key(world.get("s1", 1, 16).await) == 16);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_needles_cannot_be_read_is_ill_for_all_until_it_is_well() {
    let world = World::start(3).await;
    world.pause_scrub("s1");
    world.publish(1, &["s1", "s2"]).await;
    world.put_all(1, 1..=20).await;
    let keeper = world.keeper("k1", config()).await;
    let health = |keeper: &Running, name: &str| {
        let stores = keeper.status().stores;
        stores.into_iter().find(|store| store.store == id(name)).map(|store| store.health)
    };
    world.eventually("all are well", |_| health(&keeper, "s1") == Some(Health::Well)).await;
    world.spoil("s1", 1);
    world.eventually("s1 is ill", |_| health(&keeper, "s1") == Some(Health::Ill)).await;
    world.eventually("the map says so", |world| world.is_ill("s1")).await;
    assert_eq!(health(&keeper, "s2"), Some(Health::Well));
    assert!(world.takes_needles(1), "that is an operator's word");
    keeper.stop().await;

    // Another keeper has seen nothing of it, and believes the map.
    let keeper = world.keeper("k2", config()).await;
    world.eventually("it leads", |_| keeper.status().leads).await;
    world.eventually("it sees for itself", |_| health(&keeper, "s1") == Some(Health::Ill)).await;
    assert!(world.is_ill("s1"));
    world.coordinator.put_order(Order::Repair { volume: vid(1) }).await.unwrap();
    world.eventually("it is well again", |world| !world.is_ill("s1")).await;
    world.eventually("both hold the same", |world| world.is_whole(1)).await;
    assert_eq!(key(world.get("s1", 1, 16).await), 16);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_scrub_finds_is_fetched_from_another_replica() {
    let world = World::start(2).await;
    world.publish(1, &["s1", "s2"]).await;
    world.put_all(1, 1..=20).await;
    world.spoil("s1", 1);
    let keeper = world.keeper("k1", config()).await;
    world.scrub("s1");
    let is_mended = |_: &World| keeper.status().done.iter().any(|job| job.work == "mend on s1");
    world.eventually("it is mended", is_mended).await;
    for number in 1..=20 {
        assert_eq!(key(world.get("s1", 1, number).await), number);
    }
    world.eventually("both hold the same", |world| world.is_whole(1)).await;
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_scrubbed_one_at_a_time() {
    let mut world = World::start(3).await;
    world.publish(1, &["s1", "s2", "s3"]).await;
    // More than is read in one step, so a pass lasts.
    world.put_large(1, 1..=9).await;
    // Each store reads at its start what it never read before.
    for store in ["s1", "s2", "s3"] {
        world.stop(store).await;
        world.restart(store).await;
    }
    world.eventually("all are scrubbing", |world| world.scrubbing(1).len() == 3).await;
    let keeper = world.keeper("k1", config()).await;
    world.eventually("one is scrubbing", |world| world.scrubbing(1).len() == 1).await;
    let only = world.scrubbing(1)[0].to_owned();
    let is_told = |_: &World| {
        let scrubs = keeper.status().scrubs;
        matches!(&scrubs[..], [scrub] if scrub.store == id(&only) && scrub.total_bytes > 9 << 20)
    };
    world.eventually("the keeper tells which", is_told).await;
    keeper.stop().await;
}
