//! On real sockets: directories that answer, that are slow, and that are frozen.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Request;
use axum::http::{StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::routing::post;
use axum::{Json, Router};
use futures::future::join_all;
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
    let say = move |uri: &Uri| if uri.path() == "/directory/lookup" { "[null]" } else { "null" };
    let app = async move |uri: Uri| (status, say(&uri));
    serving(Router::new().fallback(app), pause).await
}

async fn saying(body: String) -> (String, Arc<AtomicUsize>) {
    serving(Router::new().fallback(async move || body), Duration::ZERO).await
}

/// Counts what is asked of a router, which answers after a while.
async fn serving(router: Router, pause: Duration) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let router = router.layer(middleware::from_fn(move |request: Request, next: Next| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(pause).await;
            next.run(request).await
        }
    }));
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
    let (stale, _) = saying(stale).await;
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

/// Rows that can be told from each other: of 100 names, one of three has a row.
fn row_of(Object { name, .. }: Object) -> Option<Row> {
    let version = name.as_str().parse().unwrap();
    (version % 3 == 0).then(|| Row { version, ..Row::default() })
}

#[tokio::test]
async fn names_that_are_asked_for_at_once_share_requests_and_each_gets_its_own_row() {
    // As many as a request has, and then only the first two, as where rows are large.
    for most in [usize::MAX, 2] {
        let lookup = async move |Json(objects): Json<Vec<Object>>| {
            Json(objects.into_iter().take(most).map(row_of).collect::<Vec<_>>())
        };
        let router = Router::new().route("/directory/lookup", post(lookup));
        let (address, asked) = serving(router, Duration::from_millis(20)).await;
        let client = bench(&[&address]).client;
        let lookups = (0..100).map(async |number| {
            let name = number.to_string().parse().unwrap();
            let row = client.lookup(&"photos".parse().unwrap(), &name).await.unwrap();
            assert_eq!(row, row_of(object(&"photos".parse().unwrap(), &name)), "{number}");
        });
        join_all(lookups).await;
        let asked = asked.load(Ordering::Relaxed);
        assert!(asked <= if most > 2 { 10 } else { 60 }, "{asked} requests for 100 names");
    }
}

#[tokio::test]
async fn whoever_does_not_wait_any_more_keeps_nobody_from_an_answer() {
    let (address, _) = directory(Duration::from_millis(20)).await;
    let bench = bench(&[&address]);
    for _ in 0..3 {
        let gone = tokio::time::timeout(Duration::from_millis(1), bench.lookup());
        let (gone, row) = tokio::join!(gone, bench.lookup());
        assert!(gone.is_err() && row.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_directory_that_answers_other_questions_is_not_believed() {
    for said in ["[]", "[null, null]", "{}"] {
        let (address, _) = saying(said.to_owned()).await;
        let error = bench(&[&address]).lookup().await.unwrap_err();
        assert!(matches!(error, DirectoryError::Unavailable(_)), "{said}: {error}");
    }
}
