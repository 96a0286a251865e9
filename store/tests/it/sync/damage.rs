//! What has rotted is healed from another replica, and never handed on.

use std::io;

use hayrick_store::storage::memory::Call;
use hayrick_store::{Key, StoreError, Synced};

use super::world::{Replica, VOLUME_FILE, assert_equal, id, needle};
use crate::rig::{E1, vid};

/// Two replicas of the needles 0 to 9, and what rot does to the first one.
async fn two() -> (Replica, Replica) {
    let replicas = (Replica::new().await, Replica::new().await);
    for key in 0..10 {
        replicas.0.put(key).await;
        replicas.1.put(key).await;
    }
    replicas
}

async fn is_damaged(replica: &Replica, key: u64) -> bool {
    matches!(replica.get(key).await, Err(StoreError::Corrupt { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn rotten_needles_are_fetched_again() {
    let (good, bad) = two().await;
    bad.rot(&needle(1).data, 3);
    // In the header, so that not even the cookie can be told.
    bad.rot(&needle(2).data, -20);
    bad.disk.evict();
    assert!(is_damaged(&bad, 1).await && is_damaged(&bad, 2).await);
    let done = bad.sync(&[&good], false).await.unwrap();
    assert_eq!(done, Synced::default(), "nobody has looked yet");
    let done = bad.sync(&[&good], true).await.unwrap();
    assert_eq!((done.repaired, done.needles, done.unreadable), (2, 0, 0));
    assert_equal(&[&good, &bad]);
    let disk = bad.stop().await;
    let healed = Replica::on(disk, 0).await;
    assert_equal(&[&good, &healed]);
    for key in 0..10 {
        assert_eq!(healed.get(key).await.unwrap(), Some(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_scrub_has_found_is_fetched_without_reading_everything() {
    let (good, bad) = two().await;
    bad.rot(&needle(4).data, 3);
    bad.disk.evict();
    let volume = bad.store.volume(vid(1)).unwrap();
    while !volume.scrub_step(1 << 20).unwrap().is_over {}
    assert_eq!(volume.scrub_state().findings.len(), 1);
    let done = bad.sync(&[&good], false).await.unwrap();
    assert_eq!((done.repaired, done.unreadable), (1, 0));
    assert_eq!(bad.get(4).await.unwrap(), Some(()));
    assert_eq!(volume.scrub_state().findings.len(), 0, "and is no finding any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_sector_is_left_behind() {
    let (good, bad) = two().await;
    let file = bad.disk.bytes(VOLUME_FILE).unwrap();
    let data = needle(5).data;
    let at = file.windows(data.len()).position(|window| window == data).unwrap() as u64;
    bad.disk.spoil(VOLUME_FILE, at - 30..at + 1);
    assert!(bad.get(5).await.is_err());
    let done = bad.sync(&[&good], true).await.unwrap();
    assert_eq!((done.repaired, done.unreadable), (1, 0));
    assert_equal(&[&good, &bad]);
    assert_eq!(bad.get(5).await.unwrap(), Some(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_source_cannot_give_another_one_does() {
    let (good, bad) = two().await;
    bad.rot(&needle(1).data, 3);
    bad.rot(&needle(2).data, 3);
    bad.disk.evict();
    let copy = Replica::copy(0).await;
    let done = copy.sync(&[&bad], false).await.unwrap();
    assert_eq!((done.needles, done.unreadable), (8, 2), "damage is not handed on");
    assert_eq!(copy.get(1).await.unwrap(), None);
    let copy = Replica::copy(0).await;
    let done = copy.sync(&[&bad, &good], false).await.unwrap();
    assert_eq!((done.needles, done.unreadable), (10, 0));
    assert_equal(&[&good, &copy]);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_needles_are_repaired_at_once() {
    let (good, bad) = two().await;
    let other = Replica::new().await;
    good.put(20).await;
    bad.delete(7).await;
    bad.rot(&needle(1).data, 3);
    bad.rot(&needle(2).data, -20);
    bad.disk.evict();
    for (handle, key) in [(bad.near(), 1), (bad.far(), 2)] {
        let sources = vec![other.peer(), good.peer()];
        let keys = [0, key, 7, 99].map(Key::new).to_vec();
        let done = handle.repair_keys(vid(1), E1, keys, sources).await.unwrap();
        assert_eq!((done.repaired, done.needles, done.tombstones, done.unreadable), (1, 0, 0, 0));
        assert_eq!(bad.get(key).await.unwrap(), Some(()));
    }
    let keys = vec![Key::new(20)];
    let done = bad.far().repair_keys(vid(1), E1, keys, vec![good.peer()]).await.unwrap();
    assert_eq!((done.repaired, done.needles), (0, 1), "it was missing");
    assert_eq!(bad.get(20).await.unwrap(), Some(()));
    assert_eq!(bad.get(7).await.unwrap(), None, "deleted stays deleted");
    assert_eq!(bad.status().live_needles, 10, "no more than was asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_tells_what_could_not_be_repaired() {
    let (good, bad) = two().await;
    for replica in [&good, &bad] {
        replica.rot(&needle(1).data, 3);
        replica.disk.evict();
    }
    let keys = vec![Key::new(1)];
    let done = bad.near().repair_keys(vid(1), E1, keys.clone(), vec![good.peer()]).await.unwrap();
    assert_eq!(done, Synced { unreadable: 1, ..Synced::default() });
    let gone = good.peer();
    good.stop().await;
    let failed = bad.far().repair_keys(vid(1), E1, keys, vec![gone]).await;
    assert!(matches!(failed, Err(StoreError::Unavailable { .. })), "{failed:?}");
}

/// A failed write of the target ends the sync; the replica is what it says it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_fails_says_so() {
    let (source, target) = (Replica::new().await, Replica::copy(0).await);
    source.put(1).await;
    target.disk.fail_next(Call::Sync, 0, io::ErrorKind::Other);
    let reason = target.sync(&[&source], false).await.unwrap_err();
    assert!(reason.contains("sync"), "{reason}");
    assert!(target.store.open_needle(id(1)).await.is_err());
    target.disk.set_capacity(Some(0));
    let disk = target.stop().await;
    disk.set_capacity(None);
    let target = Replica::on(disk, 0).await;
    target.sync(&[&source], false).await.unwrap();
    assert_equal(&[&source, &target]);
}
