use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use axum::Router;

use super::*;
use crate::request::MinRate;
use crate::testing::{TestServer, read_all};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

fn quick() -> ListenOptions {
    ListenOptions {
        header_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(1500),
        write_stall_timeout: Duration::from_millis(300),
        drain_timeout: Duration::from_millis(400),
        ..ListenOptions::named("test")
    }
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

fn slow(wait: Duration) -> Router {
    let handler = move || async move {
        tokio::time::sleep(wait).await;
        "finished"
    };
    Router::new().route("/", get(handler))
}

/// An answer without an end.
fn endless() -> Router {
    let answer = || async {
        let piece = Bytes::from(vec![0_u8; 64 * 1024]);
        Body::from_stream(futures::stream::repeat_with(move || {
            Ok::<_, std::io::Error>(piece.clone())
        }))
    };
    Router::new().route("/", get(answer))
}

#[test]
fn loopback_addresses() {
    for (address, expected) in [
        ("127.0.0.1:1", true),
        ("127.9.9.9:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("0.0.0.0:1", false),
        ("[::]:1", false),
        ("10.0.0.1:1", false),
    ] {
        assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
    }
}

#[tokio::test]
async fn a_request_in_flight_finishes_after_the_stop_signal() {
    let server = TestServer::start(slow(Duration::from_millis(200)), quick()).await;
    let mut stream = server.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.trigger();
    let answer = read_all(&mut stream).await;
    assert!(answer.contains("200 OK") && answer.ends_with("finished"), "{answer}");
    server.task.await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn the_drain_has_an_end_and_idle_connections_close_at_once() {
    let server = TestServer::start(slow(Duration::from_mins(1)), quick()).await;
    let mut stuck = server.connect().await;
    stuck.write_all(GET.as_bytes()).await.unwrap();
    let mut idle = server.connect().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    server.shutdown.trigger();
    assert_eq!(read_all(&mut idle).await, "");
    assert!(started.elapsed() < Duration::from_millis(390));
    server.task.await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(400));
    assert_eq!(read_all(&mut stuck).await, "");
}

#[tokio::test]
async fn slow_heads_are_cut() {
    let server = TestServer::start(hello(), quick()).await;
    for first in ["", "P", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "] {
        let mut stream = server.connect().await;
        let started = Instant::now();
        stream.write_all(first.as_bytes()).await.unwrap();
        assert_eq!(read_all(&mut stream).await, "", "{first:?}");
        let waited = started.elapsed();
        assert!(
            waited >= Duration::from_millis(290) && waited < Duration::from_secs(2),
            "{waited:?}"
        );
    }
}

#[tokio::test]
async fn idle_connections_live_longer_than_slow_heads() {
    let server = TestServer::start(hello(), quick()).await;
    let mut stream = server.connect().await;
    for _ in 0..2 {
        stream.write_all(GET.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let started = Instant::now();
    stream.write_all(b"GET /").await.unwrap();
    read_all(&mut stream).await;
    assert!(started.elapsed() < Duration::from_millis(1200), "a slow second head counts too");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut() {
    let server = TestServer::start(endless(), quick()).await;
    let mut stream = server.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(900)).await;
    let drained = tokio::time::timeout(Duration::from_secs(5), async {
        let mut buffer = vec![0; 1 << 20];
        while matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {}
    });
    assert!(drained.await.is_ok(), "the server had closed, so what was buffered ends");
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_slot() {
    let server = TestServer::start(hello(), ListenOptions { max_connections: 1, ..quick() }).await;
    let holder = server.connect().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut waiting = server.connect().await;
    waiting.write_all(GET_CLOSE.as_bytes()).await.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_millis(100), waiting.read(&mut byte)).await;
    assert!(read.is_err(), "no slot, no answer");
    drop(holder);
    assert!(read_all(&mut waiting).await.ends_with("hello"));
}

#[tokio::test]
async fn who_waits_longest_without_a_request_makes_room() {
    let options = ListenOptions {
        max_connections: 2,
        header_timeout: Duration::from_mins(5),
        idle_timeout: Duration::from_mins(5),
        ..quick()
    };
    let server = TestServer::start(hello(), options).await;
    let mut oldest = server.connect().await;
    oldest.write_all(b"GET / HT").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut idle = server.connect().await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    assert!(idle.read(&mut [0; 1024]).await.unwrap() > 0);
    // There are only two places, and nothing but this takes one of them back in these minutes.
    assert!(server.raw(GET_CLOSE).await.ends_with("hello"));
    assert_eq!(read_all(&mut oldest).await, "");
    idle.write_all(GET_CLOSE.as_bytes()).await.unwrap();
    assert!(read_all(&mut idle).await.ends_with("hello"), "the newer one is still there");
}

#[tokio::test]
async fn requests_in_work_are_not_disturbed_by_a_crowd() {
    let options = ListenOptions { max_connections: 1, ..quick() };
    let server = TestServer::start(slow(Duration::from_millis(1500)), options).await;
    let mut working = server.connect().await;
    working.write_all(GET_CLOSE.as_bytes()).await.unwrap();
    let mut waiting = server.connect().await;
    waiting.write_all(GET_CLOSE.as_bytes()).await.unwrap();
    assert!(read_all(&mut working).await.ends_with("finished"));
    assert!(read_all(&mut waiting).await.ends_with("finished"));
}

#[tokio::test]
async fn one_client_has_no_more_connections_than_it_may() {
    let options = ListenOptions { max_connections_per_client: 1, ..quick() };
    let server = TestServer::start(hello(), options).await;
    let mut first = server.connect().await;
    first.write_all(GET.as_bytes()).await.unwrap();
    assert!(first.read(&mut [0; 1024]).await.unwrap() > 0);
    assert_eq!(read_all(&mut server.connect().await).await, "");
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = other.connect(server.address).await.unwrap();
    other.write_all(GET_CLOSE.as_bytes()).await.unwrap();
    assert!(read_all(&mut other).await.ends_with("hello"));
    drop(first);
    while !server.raw(GET_CLOSE).await.ends_with("hello") {}
}

#[tokio::test]
async fn a_client_that_reads_next_to_nothing_is_cut() {
    let mut options = quick();
    options.request.min_rate = MinRate(1 << 40);
    let server = TestServer::start(endless(), options).await;
    let mut stream = server.connect().await;
    stream.write_all(GET.as_bytes()).await.unwrap();
    let trickle = tokio::time::timeout(Duration::from_secs(30), async {
        let mut buffer = vec![0; 1 << 20];
        // Never silent for as long as `write_stall_timeout`.
        while matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(trickle.await.is_ok(), "it was cut");
}

#[tokio::test]
async fn http_2_brings_no_more_requests_than_there_may_be_connections() {
    let options = ListenOptions { max_connections: 2, ..quick() };
    let server = TestServer::start(slow(Duration::from_secs(1)), options).await;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Body>();
    let ask = || {
        let asked = client.get(server.url("/").parse().unwrap());
        async move { asked.await.unwrap().status().as_u16() }
    };
    let mut statuses = [ask(), ask(), ask()].map(tokio::spawn);
    let mut got = Vec::new();
    for status in &mut statuses {
        got.push(status.await.unwrap());
    }
    got.sort_unstable();
    assert_eq!(got, [200, 200, 503]);
}

#[tokio::test]
async fn handlers_see_the_client_and_http_2_works() {
    let who = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() };
    let server = TestServer::start(Router::new().route("/", get(who)), quick()).await;
    assert!(server.raw(GET_CLOSE).await.ends_with("127.0.0.1"));

    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Body>();
    let response = client.get(server.url("/").parse().unwrap()).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), response.version()),
        (200, axum::http::Version::HTTP_2)
    );
}
