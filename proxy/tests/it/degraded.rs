//! While no directory answers.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response};
use hayrick_directory::Condition;
use hayrick_service::client::ClientError;
use http_body_util::BodyExt as _;

use crate::replicas::Cluster;
use crate::rig::photo;

/// What a proxy answered.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
    comes_back: bool,
}

impl Cluster {
    async fn ask(&self, method: Method, name: &str) -> Answer {
        let url = format!("{}/photos/{name}", self.url);
        match self.http.request(method, url).body("new").send().await {
            Ok(answer) => Answer::of(answer).await,
            Err(ClientError::Status(error)) => {
                let (status, comes_back) = (error.status.as_u16(), error.retry_after.is_some());
                Answer { status, headers: HeaderMap::new(), body: Vec::new(), comes_back }
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn fetch(&self, name: &str) -> Answer {
        self.ask(Method::GET, name).await
    }
}

impl Answer {
    async fn of(answer: Response<Body>) -> Self {
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Self { status: head.status.as_u16(), headers: head.headers, body, comes_back: false }
    }

    fn is_from_memory(&self) -> bool {
        self.headers.get("x-hayrick-degraded").is_some_and(|what| what == "names")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_is_served_and_all_else_is_told_to_come_back() {
    let cluster = Cluster::new(2, 2).await;
    cluster.put("tom.jpg", b"old".to_vec()).await.unwrap();
    assert_eq!(cluster.fetch("tom.jpg").await.body, b"old");
    cluster.put("tom.jpg", photo("chelsea.jpg")).await.unwrap();
    cluster.put("never-read", b"written".to_vec()).await.unwrap();
    cluster.away.store(true, Ordering::Relaxed);
    let tom = cluster.fetch("tom.jpg").await;
    assert!(tom.is_from_memory() && tom.body == photo("chelsea.jpg"), "the newest that was seen");
    assert_eq!(tom.headers["cache-control"], "public, no-cache");
    assert_eq!(cluster.fetch("never-read").await.body, b"written");
    let head = cluster.ask(Method::HEAD, "tom.jpg").await;
    assert!(head.status == 200 && head.is_from_memory());
    let small = cluster.fetch("tom.jpg@50w.png").await;
    assert!(small.is_from_memory() && small.headers["content-type"] == "image/png");
    for (method, name) in [
        (Method::GET, "unseen"),
        (Method::GET, "unseen@50w.png"),
        (Method::PUT, "tom.jpg"),
        (Method::DELETE, "tom.jpg"),
    ] {
        let refused = cluster.ask(method.clone(), name).await;
        assert!(refused.status == 503 && refused.comes_back, "{method} {name}");
    }
    cluster.away.store(false, Ordering::Relaxed);
    let tom = cluster.fetch("tom.jpg").await;
    assert!(!tom.is_from_memory() && tom.status == 200);
    assert_eq!(cluster.fetch("unseen").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_not_said_never_to_have_been() {
    let cluster = Cluster::new(2, 2).await;
    for name in ["here", "elsewhere", "elsewhere.jpg"] {
        cluster.put(name, photo("chelsea.jpg")).await.unwrap();
        assert_eq!(cluster.fetch(name).await.status, 200);
    }
    assert_eq!(cluster.ask(Method::DELETE, "here").await.status, 204);
    // By another proxy, of which this one does not hear.
    for name in ["elsewhere", "elsewhere.jpg"] {
        let (bucket, name) = ("photos".parse().unwrap(), name.parse().unwrap());
        cluster.directory.remove(&bucket, &name, Condition::None).await.unwrap().unwrap();
    }
    cluster.away.store(true, Ordering::Relaxed);
    for name in ["here", "elsewhere", "elsewhere.jpg@50w.png"] {
        let gone = cluster.fetch(name).await;
        assert!(gone.status == 503 && gone.comes_back, "{name}: {}", gone.status);
    }
    cluster.away.store(false, Ordering::Relaxed);
    for name in ["here", "elsewhere", "elsewhere.jpg@50w.png"] {
        assert_eq!(cluster.fetch(name).await.status, 404, "{name}");
    }
}
