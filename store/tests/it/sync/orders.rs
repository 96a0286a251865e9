//! Which syncs are obeyed, and how many at a time.

use hayrick_store::status::VolumeState;
use hayrick_store::{Epoch, Key, StoreError};

use super::world::{Replica, assert_equal};
use crate::rig::{E1, vid};

const E2: Epoch = Epoch::new(2);
const E3: Epoch = Epoch::new(3);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_fetched_by_an_old_order_or_from_whoever_knows_better() {
    let (source, target) = (Replica::new().await, Replica::copy(0).await);
    source.put(1).await;
    target.near().fence(vid(1), E2).await.unwrap();
    for handle in [target.near(), target.far()] {
        let stale = |answer| matches!(answer, Err(StoreError::StaleEpoch { known: E2, .. }));
        let sources = || vec![source.peer()];
        assert!(stale(handle.start_sync(vid(1), E1, sources(), false).await.map(drop)));
        let keys = vec![Key::new(1)];
        assert!(stale(handle.repair_keys(vid(1), E1, keys, sources()).await.map(drop)));
    }
    // The source is told by the map, not by who reads it.
    target.sync_at(E2, &[&source], false).await.unwrap();
    assert_eq!((source.status().epoch, target.status().epoch), (E1, E2));
    source.put(2).await;

    source.near().fence(vid(1), E3).await.unwrap();
    let reason = target.sync_at(E2, &[&source], false).await.unwrap_err();
    assert!(reason.contains("epoch 3"), "{reason}");
    assert_eq!(target.get(2).await.unwrap(), None);
    target.sync_at(E3, &[&source], false).await.unwrap();
    assert_equal(&[&source, &target]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_ends_a_sync_of_an_older_epoch() {
    let (source, target) = (Replica::new().await, Replica::copy(1 << 20).await);
    for key in 0..250 {
        source.put(key).await;
    }
    let job = target.near().start_sync(vid(1), E1, vec![source.peer()], false).await.unwrap().id;
    target.until(job, |job| job.done_bytes > 0).await;
    target.far().fence(vid(1), E2).await.unwrap();
    let fetched = target.status().live_needles;
    let reason = target.outcome(job).await.unwrap_err();
    assert!(reason.contains("epoch 2"), "{reason}");
    let status = target.status();
    assert_eq!((status.live_needles, status.state), (fetched, VolumeState::Copying));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_from_a_whole_replica_is_a_copy_whole() {
    let (half, other, target) =
        (Replica::copy(0).await, Replica::new().await, Replica::copy(0).await);
    other.put(1).await;
    other.put(2).await;
    half.near().repair_keys(vid(1), E1, vec![Key::new(1)], vec![other.peer()]).await.unwrap();
    target.sync(&[&half], false).await.unwrap();
    assert_eq!((target.status().state, target.status().live_needles), (VolumeState::Copying, 1));
    target.sync(&[&other], false).await.unwrap();
    assert_eq!(target.status().state, VolumeState::Writable);
    assert_equal(&[&other, &target]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sync_a_volume_and_a_few_a_store() {
    let source = Replica::new().await;
    for key in 0..250 {
        source.put(key).await;
    }
    let target = Replica::copy(1 << 20).await;
    let sources = || vec![source.peer()];
    let job = target.near().start_sync(vid(1), E1, sources(), false).await.unwrap();
    target.until(job.id, |job| job.done_bytes > 0).await;
    let same = target.far().start_sync(vid(1), E1, sources(), false).await.unwrap();
    assert_eq!(same.id, job.id, "who asks again is told of the first one");
    let other = target.far().start_sync(vid(1), E1, sources(), true).await;
    assert!(matches!(other, Err(StoreError::Busy { .. })), "{other:?}");
    target.near().start_compaction(vid(1)).await.expect("beside a sync");

    let nobody = target.far().start_sync(vid(2), E1, sources(), false).await;
    assert!(matches!(nobody, Err(StoreError::NoVolume(_))), "{nobody:?}");
    let nothing = target.far().start_sync(vid(1), E1, Vec::new(), false).await;
    assert!(matches!(nothing, Err(StoreError::Malformed(_))), "{nothing:?}");
    let too_many = (0..2000).map(Key::new).collect();
    let too_many = target.far().repair_keys(vid(1), E1, too_many, sources()).await;
    assert!(matches!(too_many, Err(StoreError::Malformed(_))), "{too_many:?}");

    for volume in 2..=4 {
        target.store.create_copy(vid(volume), E1).await.unwrap();
        source.store.create_volume(vid(volume), E1).await.unwrap();
    }
    let missing = target.near().start_sync(vid(4), E1, vec![source.peer()], false).await.unwrap();
    assert!(target.outcome(missing.id).await.is_ok());
}
