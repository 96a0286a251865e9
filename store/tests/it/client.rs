//! A store asked over the network.

use std::fs::OpenOptions;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures::TryStreamExt as _;
use hayrick_service::client::{Client, ClientOptions};
use hayrick_store::{
    Cookie, Key, Meta, NeedleId, NewNeedle, StoreClient, StoreError, StoreHandle, VolumeId,
};
use uuid::Uuid;

use crate::rig::{CLUSTER, E1, Rig, config, open, vid};

fn client(rig: &Rig, cluster: Uuid) -> StoreHandle {
    let http = Client::new(ClientOptions::default());
    StoreHandle::Remote(StoreClient::new("s1", rig.data.clone(), cluster, http))
}

fn needle(key: u64, size: u32) -> NewNeedle {
    let data: Vec<u8> = (0..size).map(|at| at.to_le_bytes()[1] ^ at.to_le_bytes()[0]).collect();
    let meta = Meta { name: format!("n{key}"), ..Meta::default() };
    NewNeedle { key: Key::new(key), cookie: Cookie::new(9), meta, data: data.into() }
}

fn id(volume: VolumeId, key: u64) -> NeedleId {
    NeedleId::new(volume, Key::new(key), Cookie::new(9))
}

async fn read(store: &StoreHandle, id: NeedleId, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
    let pieces: Vec<_> = store.read(id, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_far_away_answers_like_one_that_is_near() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    for (number, store) in
        [StoreHandle::Local(rig.store.clone()), client(&rig, CLUSTER)].into_iter().enumerate()
    {
        let volume = vid(u32::try_from(number).unwrap() + 1);
        assert!(matches!(
            store.put(volume, E1, vec![needle(1, 10)]).await,
            Err(StoreError::NoVolume(missing)) if missing == volume
        ));
        store.create_volume(volume, E1).await.unwrap();
        store.create_volume(volume, E1).await.unwrap();
        let needles = vec![needle(1, 10), needle(2, 3_000_000), needle(3, 0)];
        store.put(volume, E1, needles.clone()).await.unwrap();
        store.put(volume, E1, needles.clone()).await.expect("a retry");
        let large = &needles[1].data;
        assert!(read(&store, id(volume, 2), 0..3_000_000).await.unwrap() == *large);
        let part = read(&store, id(volume, 2), 65_530..1_065_541).await.unwrap();
        assert!(part == large[65_530..1_065_541]);
        assert!(read(&store, id(volume, 2), 0..3_000_001).await.is_err(), "more than there is");
        let found = rig.store.open_needle(id(volume, 1)).await.unwrap();
        assert_eq!(found.meta().name, "n1", "meta travels");

        let other = NewNeedle { data: "else".into(), ..needle(1, 0) };
        let taken = store.put(volume, E1, vec![other]).await;
        assert!(matches!(taken, Err(StoreError::Conflict { .. })), "{taken:?}");
        let guess = NeedleId::new(volume, Key::new(1), Cookie::new(8));
        assert!(matches!(read(&store, guess, 0..1).await, Err(StoreError::NotFound)));
        let removed = Meta { bucket: "b".into(), name: "n1".into(), ..Meta::default() };
        assert!(store.delete(id(volume, 1), E1, removed.clone()).await.unwrap());
        assert!(!store.delete(id(volume, 1), E1, removed).await.unwrap());
        assert!(matches!(read(&store, id(volume, 1), 0..1).await, Err(StoreError::NotFound)));
        let status = store.status().await.unwrap();
        assert_eq!(status.volumes[number].live_needles, 2);
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_needle_is_told_from_a_missing_one_and_never_comes_short() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    let store = client(&rig, CLUSTER);
    store.create_volume(vid(1), E1).await.unwrap();
    store.put(vid(1), E1, vec![needle(1, 1_000), needle(2, 3_000_000)]).await.unwrap();
    let path = dir.path().join("disk0/0000000001.vol");
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"rot", 4096 + 200).unwrap();
    file.write_all_at(b"rot", 4096 + 1_200 + 2_500_000).unwrap();
    let small = read(&store, id(vid(1), 1), 0..1_000).await;
    assert!(matches!(small, Err(StoreError::Corrupt { .. })), "{small:?}");
    let large = read(&store, id(vid(1), 2), 0..3_000_000).await;
    assert!(matches!(large, Err(StoreError::Unavailable { .. })), "the answer was cut");
    assert!(read(&store, id(vid(1), 2), 0..1_000_000).await.is_ok(), "this part is intact");
    rig.stop().await;
}

/// Whatever becomes of the others, with which they share a request.
#[tokio::test(flavor = "multi_thread")]
async fn small_reads_at_the_same_time_are_each_answered_as_if_alone() {
    const NEEDLES: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    let store = client(&rig, CLUSTER);
    store.create_volume(vid(1), E1).await.unwrap();
    let size = |key: u64| if key == 3 { 3_000_000 } else { u32::try_from(key * 200).unwrap() };
    for key in 1..=NEEDLES {
        store.put(vid(1), E1, vec![needle(key, size(key))]).await.unwrap();
    }
    store.delete(id(vid(1), 2), E1, Meta::default()).await.unwrap();
    let path = dir.path().join("disk0/0000000001.vol");
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"rot", 4096 + 100).unwrap();
    file.sync_all().unwrap();
    for is_cold in [false, true] {
        if is_cold {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
        let read_one = |number: u64| {
            let (key, store) = (1 + number % (NEEDLES + 1), store.clone());
            let start = number % 50;
            let range = start..(start + 20_000).min(size(key).into());
            async move {
                let found = read(&store, id(vid(1), key), range.clone()).await;
                match (key, found) {
                    (1, Err(StoreError::Corrupt { .. })) | (2 | 101, Err(StoreError::NotFound)) => {
                    }
                    (3..=NEEDLES, Ok(bytes)) => {
                        let part = range.start.try_into().unwrap()..range.end.try_into().unwrap();
                        assert!(bytes == needle(key, size(key)).data[part], "{key}");
                    }
                    (key, other) => panic!("{key}: {other:?}"),
                }
            }
        };
        futures::future::join_all((0..1_000).map(read_one)).await;
    }
    let failed = rig.store.status().volumes[0].failed_reads;
    assert_eq!(failed, 20, "each of ten reads of a damaged needle counts once, twice over");
    rig.stop().await;
}

/// What a store that answers with nonsense gets asked: `GET /parts/…` and what was in it.
struct Nonsense {
    answer: Vec<u8>,
    together: AtomicU64,
    alone: AtomicU64,
}

async fn talk_nonsense(State(store): State<Arc<Nonsense>>, request: Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/parts/") {
        let parts = path.split('/').count() as u64 - 2;
        store.together.fetch_add(parts, Ordering::Relaxed);
        return store.answer.clone().into_response();
    }
    store.alone.fetch_add(1, Ordering::Relaxed);
    let position = [("content-range", "bytes 0-2/3")];
    (StatusCode::PARTIAL_CONTENT, position, "hay").into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_not_answered_well_are_asked_for_alone() {
    let frame = |number: u16, length: u32, data: &[u8]| {
        [&number.to_le_bytes()[..], &length.to_le_bytes(), data].concat()
    };
    let answers = [
        Vec::new(),
        frame(0, 3, b"h"),
        frame(0, 2, b"ha"),
        frame(40, 3, b"hay"),
        frame(0, u32::MAX, b""),
        frame(0, u32::MAX - 3, b""),
        frame(u16::MAX, 0, b""),
        b"<html>".to_vec(),
    ];
    for answer in answers {
        let nonsense = Nonsense { answer, together: 0.into(), alone: 0.into() };
        let state = Arc::new(nonsense);
        let router = Router::new().fallback(talk_nonsense).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        let http = Client::new(ClientOptions::default());
        let store = StoreHandle::Remote(StoreClient::new("s1", url, CLUSTER, http));
        let reads = (1..=20).map(|key| {
            let store = store.clone();
            async move { read(&store, id(vid(1), key), 0..3).await }
        });
        for found in futures::future::join_all(reads).await {
            assert_eq!(found.unwrap(), b"hay");
        }
        let asked = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((asked(&state.together), asked(&state.alone)), (20, 20), "{:?}", state.answer);
        server.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_cluster_is_not_spoken_to() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    rig.store.create_volume(vid(1), E1).await.unwrap();
    let stranger = client(&rig, Uuid::from_u128(8));
    let refused = stranger.put(vid(1), E1, vec![needle(1, 10)]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert_eq!(rig.store.status().volumes[0].live_needles, 0);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_as_such() {
    let http = Client::new(ClientOptions::default());
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let store = StoreClient::new("s1", format!("http://{free}"), CLUSTER, http);
    let answer = StoreHandle::Remote(store).delete(id(vid(1), 1), E1, Meta::default()).await;
    assert!(matches!(answer, Err(StoreError::Unavailable { store, .. }) if store == "s1"));
}
