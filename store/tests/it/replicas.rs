//! What the keeper does to a replica, near and over the network.

use hayrick_service::client::{Client, ClientOptions};
use hayrick_store::status::VolumeState;
use hayrick_store::{
    Cookie, Epoch, Key, Meta, NeedleId, NewNeedle, StoreClient, StoreError, StoreHandle,
};

use crate::rig::{CLUSTER, E1, Rig, config, open, vid};

const E2: Epoch = Epoch::new(2);
const E3: Epoch = Epoch::new(3);

fn needle(key: u64) -> NewNeedle {
    let (key, cookie) = (Key::new(key), Cookie::new(5));
    NewNeedle { key, cookie, meta: Meta::default(), data: "a needle".into() }
}

fn id(key: u64) -> NeedleId {
    NeedleId::new(vid(1), Key::new(key), Cookie::new(5))
}

fn handles(rig: &Rig) -> [StoreHandle; 2] {
    let http = Client::new(ClientOptions::default());
    let client = StoreClient::new("s1", rig.data.clone(), CLUSTER, http);
    [StoreHandle::Local(rig.store.clone()), StoreHandle::Remote(client)]
}

fn is_stale<T>(answer: &Result<T, StoreError>, was_asked: Epoch, knows: Epoch) -> bool {
    let Err(StoreError::StaleEpoch { volume, asked, known }) = answer else { return false };
    (*volume, *asked, *known) == (vid(1), was_asked, knows)
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_an_older_epoch_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    for store in handles(&rig) {
        let nobody = store.fence(vid(1), E1).await;
        assert!(matches!(nobody, Err(StoreError::NoVolume(_))), "{nobody:?}");
        store.create_volume(vid(1), E1).await.unwrap();
        store.put(vid(1), E1, vec![needle(1)]).await.unwrap();
        store.fence(vid(1), E2).await.unwrap();
        store.fence(vid(1), E2).await.unwrap();
        assert!(is_stale(&store.put(vid(1), E1, vec![needle(2)]).await, E1, E2));
        assert!(is_stale(&store.delete(id(1), E1, Meta::default()).await, E1, E2));
        assert!(is_stale(&store.fence(vid(1), E1).await, E1, E2));
        assert!(is_stale(&store.create_volume(vid(1), E1).await, E1, E2));
        assert!(is_stale(&store.create_copy(vid(1), E1).await, E1, E2));
        assert!(is_stale(&store.confirm(vid(1), E1, 1).await, E1, E2));
        assert!(is_stale(&store.remove_volume(vid(1), E1).await, E1, E2));
        assert!(is_stale(&store.remove_volume(vid(1), E2).await, E2, E2));
        let status = store.status().await.unwrap();
        assert_eq!((status.volumes[0].live_needles, status.volumes[0].epoch), (1, E2));

        assert!(store.delete(id(1), E3, Meta::default()).await.unwrap());
        store.confirm(vid(1), E3, 1).await.unwrap();
        let status = &store.status().await.unwrap().volumes[0];
        assert_eq!(
            (status.epoch, status.tombstones),
            (E3, 1),
            "a newer one is told by whoever comes"
        );
        assert!(status.last_append_ns > 0);
        store.remove_volume(vid(1), Epoch::new(4)).await.unwrap();
        store.remove_volume(vid(1), Epoch::new(4)).await.expect("gone is gone");
        assert_eq!(store.status().await.unwrap().volumes, []);
    }
    let names = std::fs::read_dir(dir.path().join("disk0")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("00")).count(), 0, "no file stays");
    rig.stop().await;
}

/// What has been told outlives the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_deletes_only_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    let [near, far] = handles(&rig);
    far.create_copy(vid(1), E2).await.unwrap();
    near.create_copy(vid(1), E2).await.unwrap();
    drop(near);
    rig.stop().await;
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    for store in handles(&rig) {
        let status = &store.status().await.unwrap().volumes[0];
        assert_eq!((status.state, status.epoch), (VolumeState::Copying, E2));
        let put = store.put(vid(1), E2, vec![needle(1)]).await;
        assert!(matches!(put, Err(StoreError::Copying(volume)) if volume == vid(1)), "{put:?}");
        let read = store.read(id(1), 0..1).await.err();
        assert!(matches!(read, Some(StoreError::Copying(_))), "{read:?}");
        assert!(!store.delete(id(2), E2, Meta::default()).await.unwrap());
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_started_and_watched_from_afar() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    rig.store.create_volume(vid(1), E1).await.unwrap();
    for store in handles(&rig) {
        assert!(matches!(store.start_compaction(vid(2)).await, Err(StoreError::NoVolume(_))));
        let started = store.start_compaction(vid(1)).await.unwrap();
        let over = loop {
            let now = store.job(started.id).await.unwrap();
            if now.outcome.is_some() {
                break now;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!((over.id, over.volume, over.kind), (started.id, vid(1), started.kind));
        store.cancel_job(started.id).await.unwrap();
        assert!(matches!(store.job(99).await, Err(StoreError::NoJob(99))));
        assert!(matches!(store.cancel_job(99).await, Err(StoreError::NoJob(99))));
    }
    rig.stop().await;
}
