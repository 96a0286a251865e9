//! Many disks, many volumes, some of them bad.

use std::fs;

use hayrick_service::config::ByteSize;
use hayrick_store::config::StoreConfig;
use hayrick_store::status::VolumeState::{Unavailable, Writable};
use hayrick_store::{Cookie, Key, Meta, NeedleId, NewNeedle, Store, StoreError};

use crate::rig::{CLUSTER, E1, config, open, vid};

fn needle(key: u64) -> NewNeedle {
    let data = vec![u8::try_from(key % 251).unwrap(); 2000];
    NewNeedle {
        key: Key::new(key),
        cookie: Cookie::new(5),
        meta: Meta::default(),
        data: data.into(),
    }
}

fn id(volume: u32, key: u64) -> NeedleId {
    NeedleId::new(vid(volume), Key::new(key), Cookie::new(5))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_volume_never_stops_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), 2);
    let store = open(&config);
    for volume in 1..=4 {
        store.create_volume(vid(volume), E1).await.unwrap();
        store.create_volume(vid(volume), E1).await.unwrap();
        store.put(vid(volume), E1, vec![needle(1)]).await.unwrap();
    }
    let status = store.status();
    assert_eq!(status.volumes.len(), 4);
    let bad = format!("{}/0000000002.vol", status.volumes[1].disk);
    store.close().await;

    fs::write(&bad, b"no superblock").unwrap();
    let store = open(&config);
    let states: Vec<_> = store.status().volumes.iter().map(|volume| volume.state).collect();
    assert_eq!(states, [Writable, Unavailable, Writable, Writable]);
    assert!(matches!(store.open_needle(id(2, 1)).await, Err(StoreError::Failed { .. })));
    assert!(matches!(store.create_volume(vid(2), E1).await, Err(StoreError::Failed { .. })));
    assert_eq!(fs::read(&bad).unwrap(), b"no superblock", "an error never destroys");
    for volume in [1, 3, 4] {
        assert_eq!(store.open_needle(id(volume, 1)).await.unwrap().size(), 2000);
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_has_one_store_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), 1);
    let store = open(&config);
    assert!(Store::open(CLUSTER, config.check().unwrap()).is_err());
    store.close().await;
    open(&config).close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&config(dir.path(), 1));
    store.create_volume(vid(1), E1).await.unwrap();
    let writers: Vec<_> = (0..32u64)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..20 {
                    store.put(vid(1), E1, vec![needle(writer * 1000 + n)]).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let stats = store.volume(vid(1)).unwrap().stats();
    assert_eq!(stats.totals.live_needles, 640);
    assert!(stats.syncs <= 320, "{} syncs for 640 puts", stats.syncs);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_given_back_without_being_asked() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { compact_min_garbage: ByteSize::kib(64), ..config(dir.path(), 1) };
    let store = open(&config);
    store.create_volume(vid(1), E1).await.unwrap();
    store.put(vid(1), E1, (0..100).map(needle).collect()).await.unwrap();
    for key in 0..50 {
        assert!(store.delete(id(1, key), E1).await.unwrap());
    }
    let volume = store.volume(vid(1)).unwrap();
    for _ in 0..200 {
        if volume.stats().generation == 2 {
            assert_eq!(volume.stats().garbage_bytes, 0);
            assert_eq!(store.open_needle(id(1, 70)).await.unwrap().size(), 2000);
            store.close().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("not compacted within 20 s");
}
