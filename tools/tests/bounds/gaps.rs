//! Requests that plain HTTP libraries let through, on the public door.

use tokio::net::TcpStream;

use crate::crowd::{say, status};
use crate::host::Host;

async fn ask(host: &Host, request: &[u8]) -> (Option<u16>, String) {
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    let answer = say(&mut stream, request).await;
    (status(&answer), String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn what_no_door_should_let_through_is_refused() {
    let host = Host::start(100);
    let long = "x".repeat(100_000);
    let cases = [
        ("GET /photos/a", String::new(), 400),
        ("GET /photos/a", "Host: a\r\nHost: a\r\n".to_owned(), 400),
        ("GET /photos/a", "Host: a b\r\n".to_owned(), 400),
        ("GET /photos/a", "Host: \r\n".to_owned(), 400),
        ("GET /photos/a", "Host : a\r\n".to_owned(), 400),
        ("GET *", "Host: a\r\n".to_owned(), 400),
        ("CONNECT a:80", "Host: a\r\n".to_owned(), 405),
        ("TRACE /photos/a", "Host: a\r\n".to_owned(), 405),
        ("PROPFIND /photos/a", "Host: a\r\n".to_owned(), 405),
        ("XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX /", "Host: a\r\n".to_owned(), 400),
        ("GET /photos/a", format!("Host: a\r\nX-Long: {long}\r\n"), 431),
        ("GET /photos/a", format!("Host: a\r\nX-Long: {}\r\n", &long[..9000]), 431),
        ("GET /photos/a", format!("Host: a\r\n{}", "X-Some: 1\r\n".repeat(200)), 431),
        (&format!("{long} /photos/a"), "Host: a\r\n".to_owned(), 431),
        (&format!("GET /photos/{long}"), "Host: a\r\n".to_owned(), 431),
        (&format!("GET /photos/{}", &long[..9000]), "Host: a\r\n".to_owned(), 414),
        ("PUT /photos/a", "Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n".to_owned(), 400),
        ("PUT /photos/a", "Host: a\r\nContent-Length: -1\r\n".to_owned(), 400),
        ("PUT /photos/a", "Host: a\r\nContent-Length: 6000000000\r\n".to_owned(), 413),
    ];
    for (line, headers, expected) in cases {
        let request = format!("{line} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        let (status, answer) = ask(&host, request.as_bytes()).await;
        let line = &line[..line.len().min(40)];
        assert_eq!(status, Some(expected), "{line}: {answer}");
    }
    host.must_have_kept_its_bounds("odd requests").await;
}

#[tokio::test]
async fn chunks_may_have_extensions_but_no_nonsense() {
    let host = Host::start(100);
    let put = |chunks: String| {
        format!(
            "PUT /photos/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        )
    };
    for (chunks, expected) in [
        ("5;name=value\r\nhello\r\n0\r\n\r\n".to_owned(), 201),
        ("5\r\nhello\r\n0;last=\"yes\"\r\n\r\n".to_owned(), 200),
        // A line feed alone is where two servers may see two different bodies.
        ("5;a\nb\r\nhello\r\n0\r\n\r\n".to_owned(), 400),
        ("5\nhello\r\n0\r\n\r\n".to_owned(), 400),
        (format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000)), 400),
        ("0x5\r\nhello\r\n0\r\n\r\n".to_owned(), 400),
        ("fffffffffffffffff\r\nhello\r\n0\r\n\r\n".to_owned(), 400),
        (format!("0\r\n{}\r\n", "X-Some: 1\r\n".repeat(5000)), 400),
    ] {
        let (status, answer) = ask(&host, put(chunks.clone()).as_bytes()).await;
        assert_eq!(status, Some(expected), "{:?}: {answer}", &chunks[..chunks.len().min(40)]);
    }
    let both =
        put("0\r\n\r\nhello".to_owned()).replace("Transfer", "Content-Length: 5\r\nTransfer");
    let (status, answer) = ask(&host, both.as_bytes()).await;
    assert_eq!(status, Some(200), "{answer}");
    let get = b"GET /photos/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let (_, stored) = ask(&host, get).await;
    assert!(stored.contains("\r\ncontent-length: 0\r\n"), "chunks win over a length: {stored}");
}

/// Some clients wait a minute for leave to send what they have not got.
#[tokio::test]
async fn whoever_asks_for_leave_to_send_nothing_is_answered_at_once() {
    let host = Host::start(100);
    for length in ["Content-Length: 0\r\n", ""] {
        let request = format!(
            "PUT /photos/empty HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\n{length}\r\n"
        );
        let (status, answer) = ask(&host, request.as_bytes()).await;
        assert!(matches!(status, Some(200 | 201)), "{answer}");
    }
}
