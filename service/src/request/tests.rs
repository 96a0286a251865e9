use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, put};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tower::ServiceExt as _;

use super::*;
use crate::error::ErrorBody;
use crate::listen::ListenOptions;
use crate::testing::{TestServer, read_all};

fn router() -> Router {
    Router::new()
        .route("/hello", get(|| async { "hello" }))
        .route("/id", get(|| async { current_id() }))
        .route("/number/{n}", get(|Path(n): Path<u32>| async move { n.to_string() }))
        .route("/fails", get(|| async { ApiError::conflict("taken").into_response() }))
        .route("/panics", get(panics))
        .route(
            "/put",
            put(|body: Result<Bytes, axum::extract::rejection::BytesRejection>| async move {
                match body {
                    Ok(body) => body.len().to_string().into_response(),
                    Err(error) => ApiError::from_body(&error).into_response(),
                }
            }),
        )
}

async fn panics() {
    assert_eq!(1, 2, "on purpose");
}

async fn server() -> TestServer {
    let mut options = ListenOptions::named("test");
    options.request.body_idle_timeout = Duration::from_millis(200);
    TestServer::start(router(), options).await
}

async fn ask(server: &TestServer, line: &str, headers: &str) -> (u16, String, String) {
    let answer =
        server.raw(&format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n")).await;
    split(&answer)
}

fn split(answer: &str) -> (u16, String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn doors_are_closed_on_a_raw_socket() {
    let server = server().await;
    for (line, headers, status) in [
        ("GET /hello", "Host: a\r\n", 200),
        ("GET /hello", "", 400),
        ("GET /hello", "Host: a\r\nHost: b\r\n", 400),
        ("GET /hello", "Host: a b\r\n", 400),
        ("GET http://a/hello", "Host: a\r\n", 200),
        ("TRACE /hello", "Host: a\r\n", 405),
        ("CONNECT a:80", "Host: a\r\n", 405),
        ("GET *", "Host: a\r\n", 400),
        ("OPTIONS *", "Host: a\r\n", 204),
        ("DELETE /hello", "Host: a\r\n", 405),
        ("GET /nowhere", "Host: a\r\n", 404),
        ("GET /number/x", "Host: a\r\n", 400),
        ("GET /fails", "Host: a\r\n", 409),
        ("GET /panics", "Host: a\r\n", 500),
    ] {
        let (got, head, body) = ask(&server, line, headers).await;
        assert_eq!(got, status, "{line} {headers}: {head} {body}");
        if status >= 400 {
            let error: ErrorBody = serde_json::from_str(&body).expect(line);
            assert!(head.contains(&format!("x-request-id: {}", error.request_id)), "{head}");
            assert!(head.contains("cache-control: no-store"), "{head}");
        }
        assert_eq!(head.contains("\r\nallow: "), status == 405, "{head}");
    }
}

#[tokio::test]
async fn head_answers_have_no_body() {
    let server = server().await;
    for (path, length) in [("/hello", "content-length: 5"), ("/fails", ""), ("/nowhere", "")] {
        let (_, head, body) = ask(&server, &format!("HEAD {path}"), "Host: a\r\n").await;
        assert_eq!(body, "", "{path}");
        assert!(head.contains(length), "{head}");
    }
}

#[tokio::test]
async fn a_sane_request_id_is_kept() {
    let server = server().await;
    let (_, head, body) = ask(&server, "GET /id", "Host: a\r\nX-Request-Id: mine-1\r\n").await;
    assert_eq!(body, "mine-1");
    assert!(head.contains("x-request-id: mine-1"));
    let (_, _, body) = ask(&server, "GET /id", "Host: a\r\nX-Request-Id: not mine\r\n").await;
    assert_eq!(body.len(), 32);
}

#[tokio::test]
async fn big_heads_are_refused() {
    let server = server().await;
    let headers = format!("Host: a\r\nX-Big: {}\r\n", "x".repeat(9000));
    assert_eq!(ask(&server, "GET /hello", &headers).await.0, 431);
    let many = format!("Host: a\r\n{}", "X-Some: 1\r\n".repeat(200));
    assert_eq!(ask(&server, "GET /hello", &many).await.0, 431);
}

#[tokio::test]
async fn a_silent_upload_is_answered_408_and_a_short_one_leaves_nothing() {
    let server = server().await;
    let mut stream = server.connect().await;
    let head = "PUT /put HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (status, head, body) = split(&read_all(&mut stream).await);
    assert_eq!(status, 408, "{body}");
    assert!(head.contains("connection: close"));
}

#[tokio::test]
async fn requests_are_counted_by_class_and_never_by_path() {
    let metrics = crate::metrics::install().unwrap();
    let server = server().await;
    ask(&server, "GET /hello", "Host: a\r\n").await;
    ask(&server, "BREW /hello", "Host: a\r\n").await;
    let text = metrics.render();
    for series in [
        r#"hayrick_http_requests_total{listener="test",method="GET",status="2xx"}"#,
        r#"hayrick_http_requests_total{listener="test",method="other",status="4xx"}"#,
        r#"hayrick_http_request_duration_seconds_count{listener="test",method="GET",status="2xx"}"#,
    ] {
        assert!(text.contains(series), "{series}\n{text}");
    }
    assert!(!text.contains("hello"));
}

#[tokio::test]
async fn a_refused_upload_still_learns_why() {
    let server = server().await;
    let mut stream = server.connect().await;
    let body = vec![0_u8; 8 << 20];
    let head = format!(
        "POST /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&body).await.unwrap();
    let (status, _, body) = split(&read_all(&mut stream).await);
    assert_eq!((status, body.contains("NotFound")), (404, true), "{body}");
}

#[tokio::test]
async fn a_client_that_asks_first_is_not_told_to_go_on() {
    let server = server().await;
    let headers = "Host: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n";
    assert_eq!(ask(&server, "POST /nowhere", headers).await.0, 404);
    let mut stream = server.connect().await;
    let head = format!("PUT /put HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"0123456789").await.unwrap();
    assert!(read_all(&mut stream).await.ends_with("10"));
}

#[tokio::test]
async fn one_line_tells_the_request_without_its_query() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let router = layered(router(), RequestOptions::named("public"));
    let request = axum::http::Request::get("/hello?token=s3cret")
        .header("host", "a")
        .header("x-request-id", "id-1")
        .body(axum::body::Body::empty());
    let response = router.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        "hayrick::access: served",
        r#"listener="public""#,
        "method=GET",
        r#"path="/hello""#,
        "request_id=id-1",
        "status=200",
        "size_bytes=5",
        "duration_ms=",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("s3cret"), "{text}");
}

/// Log lines kept in memory.
#[derive(Clone, Default)]
struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
