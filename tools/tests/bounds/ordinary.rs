//! Well-behaved clients, who must be served whatever others do.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::crowd::{hear, status};

/// Longest that a request may be put off. Machines that run tests may be slow.
const DEADLINE: Duration = Duration::from_mins(2);

/// Uploads and downloads, one after another.
pub struct Ordinary {
    stop: CancellationToken,
    done: JoinHandle<u32>,
}

impl Ordinary {
    pub fn start(to: SocketAddr) -> Self {
        let stop = CancellationToken::new();
        let done = tokio::spawn(go_on(to, stop.clone()));
        Self { stop, done }
    }

    /// Each request succeeded; at least one upload with its download, and how many there were.
    pub async fn must_have_been_served(self) -> u32 {
        self.stop.cancel();
        self.done.await.unwrap()
    }
}

async fn go_on(to: SocketAddr, stop: CancellationToken) -> u32 {
    let mut done = 0;
    while done == 0 || !stop.is_cancelled() {
        let name = format!("/photos/ordinary-{}", done % 8);
        // Small ones, and some that need more than an upload's first memory.
        let data =
            vec![u8::try_from(done % 251).unwrap(); if done % 4 == 3 { 200_000 } else { 10_000 }];
        let put = request(to, "PUT", &name, &data).await;
        assert!([200, 201].contains(&status(&put).unwrap()), "{}", String::from_utf8_lossy(&put));
        let got = request(to, "GET", &name, b"").await;
        assert!(status(&got) == Some(200) && got.ends_with(&data), "{name}");
        done += 1;
        sleep(Duration::from_millis(20)).await;
    }
    done
}

/// Asks until there is an answer other than 503, as a client does that heeds `Retry-After`.
pub async fn request(to: SocketAddr, method: &str, path: &str, data: &[u8]) -> Vec<u8> {
    let began = Instant::now();
    loop {
        let answer = ask(to, method, path, data).await.unwrap_or_default();
        match status(&answer) {
            Some(503) => {
                let text = String::from_utf8_lossy(&answer).to_lowercase();
                assert!(text.contains("\r\nretry-after: "), "{text}");
            }
            Some(_) => return answer,
            None => {}
        }
        assert!(
            began.elapsed() < DEADLINE,
            "{method} {path}: {}",
            String::from_utf8_lossy(&answer)
        );
        sleep(Duration::from_millis(200)).await;
    }
}

async fn ask(to: SocketAddr, method: &str, path: &str, data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    let length = data.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    // Whoever is refused early finds the reason in the answer.
    let _ = stream.write_all(data).await;
    Ok(hear(&mut stream).await)
}
