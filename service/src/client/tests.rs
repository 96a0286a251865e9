use std::convert::Infallible;

use axum::Json;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use axum::http::StatusCode;

use super::*;
use crate::ApiError;
use crate::auth::require_bearer;
use crate::listen::ListenOptions;
use crate::request::{Context, RequestId, current_id};
use crate::testing::TestServer;

fn client(timeout: Duration) -> Client {
    Client::new(ClientOptions {
        connect_timeout: Duration::from_millis(500),
        timeout: Some(timeout),
        body_idle_timeout: Duration::from_millis(200),
        token: Some(Secret::new("s3cret")),
        ..ClientOptions::default()
    })
}

async fn server() -> TestServer {
    let count = |body: Body| async move {
        let mut stream = body.into_data_stream();
        let mut bytes = 0;
        while let Some(Ok(piece)) = stream.next().await {
            bytes += piece.len();
        }
        bytes.to_string()
    };
    let stalls = || async {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"abc"))]);
        Body::from_stream(first.chain(futures::stream::pending()))
    };
    let router = Router::new()
        .route("/id", get(|| async { Json(json!({ "id": current_id() })) }))
        .route("/echo", post(|Json(value): Json<Value>| async move { Json(value) }))
        .route("/count", post(count).layer(DefaultBodyLimit::disable()))
        .route(
            "/busy",
            get(|| async { ApiError::unavailable("queue full", Duration::from_secs(2)) }),
        )
        .route("/sleeps", get(|| async { tokio::time::sleep(Duration::from_mins(1)).await }))
        .route("/stalls", get(stalls));
    let router = require_bearer(router, Some(Secret::new("s3cret")));
    TestServer::start(router, ListenOptions::named("internal")).await
}

#[tokio::test]
async fn json_both_ways_with_the_token_and_the_request_id() {
    let (server, client) = (server().await, client(Duration::from_secs(5)));
    let sent = json!({"a": [1, 2]});
    let got: Value = client.post(server.url("/echo")).json(&sent).send_json().await.unwrap();
    assert_eq!(got, sent);
    let context = Context { request_id: RequestId::parse("outer-1").unwrap(), trace: None };
    let asked = context.scope(client.get(server.url("/id")).send_json::<Value>()).await;
    assert_eq!(asked.unwrap()["id"], "outer-1");
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let (server, client) = (server().await, client(Duration::from_secs(5)));
    let pieces =
        futures::stream::repeat(Ok::<_, Infallible>(Bytes::from(vec![7; 1000]))).take(5000);
    let call = client.post(server.url("/count")).body(Body::from_stream(pieces));
    assert_eq!(call.send_bytes(100).await.unwrap(), "5000000");

    let response = client.get(server.url("/stalls")).send().await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    assert_eq!(stream.next().await.unwrap().unwrap(), "abc");
    assert!(stream.next().await.unwrap().is_err(), "silence ends the read");
}

#[tokio::test]
async fn server_errors_come_in_the_servers_words() {
    let (server, client) = (server().await, client(Duration::from_secs(5)));
    let error = client.get(server.url("/busy")).send().await.unwrap_err();
    let ClientError::Status(status) = &error else { panic!("{error}") };
    assert_eq!((status.status.as_u16(), status.body.error.as_str()), (503, "Unavailable"));
    assert_eq!(status.retry_after, Some(Duration::from_secs(2)));
    assert!(error.to_string().contains("queue full"), "{error}");
    let head = client.head(server.url("/nowhere?token=t0ken")).send().await.unwrap_err();
    assert_eq!(head.status(), Some(StatusCode::NOT_FOUND));
    assert!(!head.to_string().contains("t0ken"), "{head}");
    let anonymous = Client::new(ClientOptions::default());
    let refused = anonymous.get(server.url("/id")).send().await.unwrap_err();
    assert_eq!(refused.status(), Some(StatusCode::UNAUTHORIZED));
    assert!(!refused.is_unreachable());
}

#[tokio::test]
async fn failures_to_reach_a_peer_are_told_apart() {
    let (server, client) = (server().await, client(Duration::from_millis(100)));
    let slow = client.get(server.url("/sleeps")).send().await.unwrap_err();
    assert!(matches!(slow, ClientError::Timeout { .. }) && !slow.is_unsent(), "{slow}");

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    let broken = tokio::spawn(async move { drop(free.accept().await) });
    let broke = client.get(format!("http://{address}/")).send().await.unwrap_err();
    assert!(matches!(broke, ClientError::Broken { .. }), "{broke}");
    broken.await.unwrap();
    let refused = client.get(format!("http://{address}/")).send().await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused { .. }) && refused.is_unsent(), "{refused}");

    for url in ["https://a/", "/path", "a b", "ftp://a/"] {
        let error = client.get(url).send().await.unwrap_err();
        assert!(matches!(error, ClientError::BadUrl { .. }), "{url}: {error}");
    }
}

#[tokio::test]
async fn what_is_too_large_or_no_json_is_said_so() {
    let (server, client) = (server().await, client(Duration::from_secs(5)));
    let large = client.get(server.url("/id")).send_bytes(3).await.unwrap_err();
    assert!(matches!(large, ClientError::TooLarge { limit_bytes: 3, .. }), "{large}");
    let wrong = client.get(server.url("/id")).send_json::<Vec<u8>>().await.unwrap_err();
    assert!(matches!(wrong, ClientError::Decode { .. }), "{wrong}");
}

#[test]
fn the_token_is_not_printed() {
    assert!(!format!("{:?}", client(Duration::from_secs(1))).contains("s3cret"));
}
