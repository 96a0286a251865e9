//! Replicas that catch up with each other over the network.

#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a test may fail by panic")]

mod damage;
mod histories;
mod orders;
mod world;

use std::time::Duration;

use hayrick_store::status::VolumeState;
use hayrick_store::volume::Held;
use hayrick_store::{Key, StoreError, Synced};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use self::world::{Replica, assert_equal, id, needle, removal};
use crate::rig::{E1, vid};

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_filled_and_then_a_replica_like_any_other() {
    let (source, target) = (Replica::new().await, Replica::copy(0).await);
    for key in 0..300 {
        source.put(key).await;
    }
    for key in (0..300).step_by(7) {
        source.delete(key).await;
    }
    source.compact().await;
    source.put(400).await;
    let job = target.far().start_sync(vid(1), E1, vec![source.peer()], false).await.unwrap();
    let done = target.outcome(job.id).await.unwrap();
    let expected = (source.status().live_needles, source.status().tombstones, 0, 0);
    assert_eq!((done.needles, done.tombstones, done.repaired, done.unreadable), expected);
    let job = target.far().job(job.id).await.unwrap();
    assert_eq!((job.done_bytes, job.total_bytes), (done.bytes, source.status().live_bytes));
    assert_equal(&[&source, &target]);
    assert_eq!(target.status().state, VolumeState::Writable);
    for key in (0..300).chain([400]) {
        let expected = (key % 7 != 0 || key == 400).then_some(());
        assert_eq!(target.get(key).await.unwrap(), expected, "needle {key}");
    }
    target.put(500).await;
    let again = target.sync(&[&source], true).await.unwrap();
    assert_eq!(again, Synced::default(), "nothing is fetched twice");

    let disk = target.stop().await;
    let target = Replica::on(disk, 0).await;
    assert_eq!(target.status().state, VolumeState::Writable, "also after a restart");
    source.sync(&[&target], false).await.unwrap();
    assert_equal(&[&source, &target]);
    assert_eq!(source.get(500).await.unwrap(), Some(()));
}

/// A tombstone goes on saying which name it removed: a rebuild of the names needs that.
#[tokio::test(flavor = "multi_thread")]
async fn tombstones_arrive_with_what_they_say() {
    let (source, target) = (Replica::new().await, Replica::copy(0).await);
    source.put(1).await;
    source.delete(1).await;
    source.delete(2).await;
    source.store.delete(id(3), E1).await.unwrap();
    target.sync(&[&source], false).await.unwrap();
    let [here, there] = [&source, &target].map(|replica| replica.store.volume(vid(1)).unwrap());
    for key in [1, 2, 3].map(Key::new) {
        let held = there.held(key).unwrap();
        assert!(matches!(&held, Held::Record(_)), "{held:?}");
        assert_eq!(held, here.held(key).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_anywhere_is_deleted_everywhere() {
    let (a, b) = (Replica::new().await, Replica::new().await);
    for key in 0..4 {
        a.put(key).await;
        b.put(key).await;
    }
    a.delete(0).await;
    b.delete(1).await;
    a.delete(9).await;
    let from_b = a.sync(&[&b], true).await.unwrap();
    let from_a = b.sync(&[&a], true).await.unwrap();
    assert_eq!(
        (from_b.tombstones, from_a.tombstones, from_b.needles, from_a.needles),
        (1, 2, 0, 0)
    );
    assert_equal(&[&a, &b]);
    for replica in [&a, &b] {
        for (key, there) in [(0, None), (1, None), (2, Some(())), (9, None)] {
            assert_eq!(replica.get(key).await.unwrap(), there, "needle {key}");
        }
        let late = replica.store.put(vid(1), E1, vec![needle(9)]).await;
        assert!(matches!(late, Err(StoreError::Conflict { .. })), "its tombstone came first");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_on_while_a_copy_is_filled() {
    let (source, target) = (Replica::new().await, Replica::copy(4 << 20).await);
    for key in 0..400 {
        source.put(key).await;
    }
    let job = target.near().start_sync(vid(1), E1, vec![source.peer()], false).await.unwrap().id;
    target.until(job, |job| job.done_bytes > 0).await;
    // The clients' deletes and the source's puts; the target takes none yet.
    for key in 0..100 {
        source.delete(key * 3).await;
        assert!(!target.near().delete(id(key * 3 + 1000), E1, removal(0)).await.unwrap());
        if key % 2 == 0 {
            target.delete(key * 3).await;
        }
        source.put(key + 400).await;
    }
    for replica in [&source, &target] {
        replica.compact().await;
    }
    target.outcome(job).await.unwrap();
    target.sync(&[&source], true).await.unwrap();
    source.sync(&[&target], true).await.unwrap();
    assert_equal(&[&source, &target]);
    for key in 0..500 {
        let there = (key % 3 != 0 || key >= 300).then_some(());
        assert_eq!(target.get(key).await.unwrap(), there, "needle {key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_dies_leaves_a_copy_that_goes_on_where_it_was() {
    let (source, target) = (Replica::new().await, Replica::copy(2 << 20).await);
    for key in 0..400 {
        source.put(key).await;
    }
    let all = source.status().live_bytes;
    let job = target.near().start_sync(vid(1), E1, vec![source.peer()], false).await.unwrap().id;
    target.until(job, |job| job.done_bytes > 0).await;
    let disk = source.stop().await;
    let reason = target.outcome(job).await.unwrap_err();
    assert!(reason.contains("source"), "{reason}");
    assert_eq!(target.status().state, VolumeState::Copying);
    let before = target.status().live_bytes;
    assert!(before > 0 && before < all, "in the middle: {before} of {all}");

    let source = Replica::on(disk, 0).await;
    let done = target.sync(&[&source], false).await.unwrap();
    assert_eq!(done.bytes, all - before, "only what was missing");
    assert_equal(&[&source, &target]);
    assert_eq!(target.status().state, VolumeState::Writable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_power_is_cut_anywhere_is_filled_all_the_same() {
    let mut rng = StdRng::seed_from_u64(7);
    let source = Replica::new().await;
    for key in 0..60 {
        source.put(key).await;
    }
    source.delete(3).await;
    let (mut half, mut whole) = (0, 0);
    for cut in 0.. {
        let target = Replica::copy(0).await;
        target.disk.cut_after(cut);
        let synced = target.sync(&[&source], false).await;
        let was_cut = target.disk.is_cut();
        for _ in 0..2 {
            let target = Replica::on(target.disk.crash(&mut rng), 0).await;
            let is_whole = target.status().state == VolumeState::Writable;
            if is_whole {
                assert_equal(&[&source, &target]);
                whole += 1;
            } else {
                assert_eq!(target.status().state, VolumeState::Copying, "cut {cut}");
                assert!(synced.is_err(), "cut {cut}: it was told to be whole");
                half += 1;
            }
            target.sync(&[&source], false).await.unwrap();
            assert_equal(&[&source, &target]);
            target.stop().await;
        }
        if !was_cut {
            break;
        }
    }
    assert!(half > 0 && whole > 0, "{half} half filled, {whole} whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_keeps_to_its_rate_and_ends_when_it_is_told_to() {
    let (source, target) = (Replica::new().await, Replica::copy(2 << 20).await);
    for key in 0..250 {
        source.put(key).await;
    }
    let bytes = source.status().live_bytes;
    let begun = std::time::Instant::now();
    let job = target.near().start_sync(vid(1), E1, vec![source.peer()], false).await.unwrap().id;
    target.until(job, |job| job.done_bytes > 0).await;
    target.far().cancel_job(job).await.unwrap();
    let reason = target.outcome(job).await.unwrap_err();
    assert!(reason.contains("cancelled"), "{reason}");
    assert_eq!(target.status().state, VolumeState::Copying);
    target.sync(&[&source], false).await.unwrap();
    // A quarter of a second may be saved up.
    let least = Duration::from_millis(bytes * 800 / (2 << 20));
    assert!(begun.elapsed() + Duration::from_millis(500) > least, "{:?}", begun.elapsed());
    assert_equal(&[&source, &target]);
}
