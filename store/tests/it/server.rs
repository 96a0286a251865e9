//! The HTTP interfaces.

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use hayrick_service::client::ClientError;
use hayrick_store::http::batch;
use hayrick_store::jobs::{JobOutcome, JobStatus};
use hayrick_store::status::{StoreStatus, VolumeState};
use hayrick_store::{Cookie, Epoch, Key, Meta, NewNeedle};
use http_body_util::BodyExt as _;

use crate::rig::{Rig, config, open, vid};

async fn rig() -> (tempfile::TempDir, Rig) {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    rig.store.create_volume(vid(1), Epoch::NONE).await.unwrap();
    (dir, rig)
}

impl Rig {
    async fn put(&self, path: &str, body: Vec<u8>) -> Result<StatusCode, ClientError> {
        let url = format!("{}{path}", self.data);
        Ok(self.client.put(url).body(body).send().await?.status())
    }

    async fn get(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let url = format!("{}{path}", self.data);
        match self.client.get(url).headers(map).send().await {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                (head.status, head.headers, body.collect().await.unwrap().to_bytes().to_vec())
            }
            Err(error) => (error.status().unwrap(), HeaderMap::new(), Vec::new()),
        }
    }

    async fn job(&self, path: &str) -> JobStatus {
        let url = format!("{}{path}", self.admin);
        let job: JobStatus = self.client.post(url).send_json().await.unwrap();
        for _ in 0..500 {
            let url = format!("{}/store/jobs/{}", self.admin, job.id);
            let job: JobStatus = self.client.get(url).send_json().await.unwrap();
            if job.outcome.is_some() {
                return job;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("job {} does not end", job.id);
    }
}

fn refused(result: Result<StatusCode, ClientError>) -> u16 {
    result.unwrap_err().status().unwrap().as_u16()
}

/// What the kernel does not hold is read where waiting is no trouble.
#[tokio::test(flavor = "multi_thread")]
async fn a_needle_is_found_in_memory_and_on_disk() {
    let (dir, rig) = rig().await;
    for (path, size) in [("/1/5/77", 1_000), ("/1/6/77", 1_000_000)] {
        let data: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[1]).collect();
        rig.put(path, data.clone()).await.unwrap();
        let warm = rig.get(path, &[]).await;
        let volume = std::fs::File::open(dir.path().join("disk0/0000000001.vol"));
        let forget = rustix::fs::Advice::DontNeed;
        rustix::fs::fadvise(volume.unwrap(), 0, None, forget).unwrap();
        let cold = rig.get(path, &[]).await;
        assert!(warm.0 == 200 && warm.2 == data && cold.2 == data);
        let told = |headers: &HeaderMap| {
            ["etag", "last-modified", "x-hayrick-meta"].map(|name| headers[name].clone())
        };
        assert_eq!(told(&warm.1), told(&cold.1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_needle_goes_in_and_comes_out() {
    let (_dir, rig) = rig().await;
    let data: Vec<u8> = (0..1_000_000u32).map(|at| at.to_le_bytes()[1]).collect();
    assert_eq!(rig.put("/1/5/77", data.clone()).await.unwrap(), 201);
    assert_eq!(rig.put("/1/5/77", data.clone()).await.unwrap(), 201, "a retry");
    let (status, headers, body) = rig.get("/1/5/77", &[]).await;
    assert!(status == 200 && body == data);
    let etag = headers["etag"].to_str().unwrap();
    assert_eq!(rig.get("/1/5/77", &[("if-none-match", etag)]).await.0, 304);
    let (status, _, body) = rig.get("/1/5/77", &[("range", "bytes=65530-65545")]).await;
    assert!(status == 206 && body == data[65530..=65545]);
    let (status, headers, body) = rig.get("/1/5/77", &[("range", "bytes=0-9,900000-900009")]).await;
    assert_eq!(status, 206);
    assert_eq!(headers["content-length"].to_str().unwrap(), body.len().to_string());
    let head = rig.client.head(format!("{}/1/5/77", rig.data)).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "1000000");

    assert_eq!(refused(rig.put("/1/5/77", b"other".to_vec()).await), 409);
    assert_eq!(rig.get("/1/5/78", &[]).await.0, 404, "a wrong cookie");
    assert_eq!(rig.get("/2/5/77", &[]).await.0, 404, "no such volume");
    assert_eq!(rig.get("/0/5/77", &[]).await.0, 400);
    let delete = |path: &str| rig.client.delete(format!("{}{path}", rig.data)).send();
    assert_eq!(delete("/1/5/78").await.unwrap_err().status().unwrap(), 404);
    assert_eq!(delete("/1/5/77").await.unwrap().status(), 204);
    assert_eq!(rig.get("/1/5/77", &[]).await.0, 404);
    let posted = rig.client.request(Method::POST, format!("{}/1/5/77", rig.data)).send().await;
    assert_eq!(posted.unwrap_err().status().unwrap(), 405);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_sync_and_all_or_nothing() {
    let (_dir, rig) = rig().await;
    let needles = |keys: std::ops::Range<u64>| -> Vec<_> {
        let meta = Meta { bucket: "b".into(), name: "n".into(), ..Meta::default() };
        let needle = |key| NewNeedle {
            key: Key::new(key),
            cookie: Cookie::new(1),
            meta: meta.clone(),
            data: vec![7; 100].into(),
        };
        keys.map(needle).collect()
    };
    let send = |needles: Vec<NewNeedle>| {
        let body = batch::encode(&needles).unwrap().concat();
        rig.client.post(format!("{}/1", rig.data)).body(body).send()
    };
    let before = rig.store.volume(vid(1)).unwrap().stats().syncs;
    assert_eq!(send(needles(0..100)).await.unwrap().status(), 201);
    assert_eq!(rig.store.volume(vid(1)).unwrap().stats().syncs, before + 1);
    let mut clash = needles(99..102);
    clash[0].data = vec![8; 100].into();
    assert_eq!(send(clash).await.unwrap_err().status().unwrap(), 409);
    assert_eq!(rig.get("/1/100/1", &[]).await.0, 404);
    assert_eq!(rig.get("/1/99/1", &[]).await.2, vec![7; 100]);
    let torn = rig.client.post(format!("{}/1", rig.data)).body(vec![1u8; 30]).send().await;
    assert_eq!(torn.unwrap_err().status().unwrap(), 400);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_compact_verify_and_make_read_only() {
    let (dir, rig) = rig().await;
    for key in 0..50 {
        rig.put(&format!("/1/{key}/9"), vec![3; 5000]).await.unwrap();
    }
    for key in 0..25 {
        rig.client.delete(format!("{}/1/{key}/9", rig.data)).send().await.unwrap();
    }
    let job = rig.job("/store/volumes/1/compact").await;
    let Some(JobOutcome::Compacted(done)) = job.outcome else { panic!("{job:?}") };
    assert!(done.live_needles == 25 && done.after_bytes < done.before_bytes * 6 / 10);
    let job = rig.job("/store/volumes/1/verify").await;
    let Some(JobOutcome::Verified(report)) = job.outcome else { panic!("{job:?}") };
    assert!(report.good_needles == 25 && report.damaged.is_empty());

    let read_only = |on: bool| {
        rig.client.put(format!("{}/store/volumes/1/read-only", rig.admin)).json(&on).send()
    };
    assert_eq!(read_only(true).await.unwrap().status(), 204);
    assert_eq!(refused(rig.put("/1/99/9", vec![1]).await), 409);
    assert_eq!(rig.get("/1/30/9", &[]).await.0, 200);
    rig.stop().await;
    let rig = Rig::start(open(&config(dir.path(), 1))).await;
    let status: StoreStatus =
        rig.client.get(format!("{}/store/status", rig.admin)).send_json().await.unwrap();
    assert_eq!(status.volumes[0].state, VolumeState::ReadOnly, "the mark outlives a restart");
    assert_eq!(status.volumes[0].live_needles, 25);
    rig.stop().await;
}
