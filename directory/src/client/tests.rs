//! On real sockets: directories that answer, that are slow, and that are frozen.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use hayrick_service::client::ClientOptions;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{EmbeddedCoordinator, SystemClock};

struct Bench {
    _folder: tempfile::TempDir,
    client: DirectoryClient,
}

fn bench(named: &[&str]) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = Arc::new(EmbeddedCoordinator::open(folder.path().join("c.json")).unwrap());
    let named = named.iter().map(|address| format!("http://{address}")).collect();
    let http = Client::new(ClientOptions::default());
    let clock = HybridClock::new(SystemClock, 0);
    Bench { _folder: folder, client: DirectoryClient::new(named, http, coordinator, clock) }
}

impl Bench {
    async fn lookup(&self) -> Result<Option<Row>, DirectoryError> {
        self.client.lookup(&"photos".parse().unwrap(), &"x".parse().unwrap()).await
    }

    async fn remove(&self) -> Result<Option<Row>, DirectoryError> {
        let (bucket, name) = ("photos".parse().unwrap(), "x".parse().unwrap());
        self.client.remove(&bucket, &name, Condition::None).await
    }
}

/// A directory without any rows, which answers after a while; and how often it was asked.
async fn directory(pause: Duration) -> (String, Arc<AtomicUsize>) {
    answering(StatusCode::OK, pause).await
}

async fn answering(status: StatusCode, pause: Duration) -> (String, Arc<AtomicUsize>) {
    saying(status, "null".to_owned(), pause).await
}

async fn saying(status: StatusCode, body: String, pause: Duration) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let router = Router::new().fallback(async move || {
        count.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
        (status, body)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

/// One that takes connections, as the kernel does for a frozen process, and says nothing.
async fn frozen() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let mut kept: Vec<TcpStream> = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            kept.push(stream);
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_frozen_directory_costs_one_wait_and_not_one_for_each_request() {
    let ((frozen, asked), (good, _)) = (frozen().await, directory(Duration::ZERO).await);
    let bench = bench(&[&frozen, &good]);
    for _ in 0..40 {
        assert_eq!(bench.lookup().await.unwrap(), None);
    }
    let asked = asked.load(Ordering::Relaxed);
    assert!((1..=6).contains(&asked), "{asked} of 40 requests met it");
}

#[tokio::test]
async fn without_any_other_a_frozen_directory_is_waited_for_once() {
    let (frozen, asked) = frozen().await;
    let bench = bench(&[&frozen]);
    let waited = bench.lookup().await.unwrap_err().to_string();
    assert!(waited.contains("no answer from"), "{waited}");
    for _ in 0..10 {
        let told = bench.remove().await.unwrap_err().to_string();
        assert!(told.contains("no directory of the cluster answers"), "{told}");
    }
    assert!(asked.load(Ordering::Relaxed) >= 1);
}

#[tokio::test]
async fn a_slow_lookup_is_made_twice_and_a_slow_change_is_not() {
    let ((slow, _), (other, asked)) = (directory(HEDGE * 2).await, directory(Duration::ZERO).await);
    bench(&[&slow, &other]).remove().await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    bench(&[&slow, &other]).lookup().await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn one_that_is_gone_is_passed_over() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = free.local_addr().unwrap().to_string();
    drop(free);
    let (good, asked) = directory(Duration::ZERO).await;
    let bench = bench(&[&gone, &good]);
    for _ in 0..10 {
        bench.remove().await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 10);
}

#[tokio::test]
async fn what_one_may_have_done_is_not_refused_by_the_word_of_another() {
    let (unsure, _) = answering(StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO).await;
    let (refusing, _) = answering(StatusCode::PRECONDITION_FAILED, Duration::ZERO).await;
    let (bucket, name) = ("photos".parse().unwrap(), "x".parse().unwrap());
    let commit = async |servers: &[&str]| {
        let client = bench(servers);
        let client = &client.client;
        client.commit(&bucket, &name, Row::default(), Condition::IfAbsent).await.unwrap_err()
    };
    let error = commit(&[&refusing]).await;
    assert!(matches!(error, DirectoryError::ConditionFailed { .. }), "{error}");
    let error = commit(&[&unsure, &refusing]).await;
    assert!(matches!(error, DirectoryError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn what_one_may_have_committed_is_not_committed_again_with_a_higher_version() {
    let (unsure, _) = answering(StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO).await;
    let stale = serde_json::to_string(&CommitAnswer::Stale { current: 7 << 40 }).unwrap();
    let (stale, _) = saying(StatusCode::OK, stale, Duration::ZERO).await;
    let (bucket, name) = ("photos".parse().unwrap(), "x".parse().unwrap());
    for (servers, doubted) in [(vec![&*stale], false), (vec![&*unsure, &*stale], true)] {
        let client = bench(&servers).client;
        let committed = client.commit(&bucket, &name, Row::default(), Condition::None).await;
        match committed {
            Err(DirectoryError::StaleVersion { current }) => {
                assert!(!doubted && current == 7 << 40);
            }
            committed => assert!(doubted && committed.unwrap() == Committed::Superseded),
        }
        assert!(client.next_version() > 7 << 40);
    }
}
