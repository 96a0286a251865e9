//! Crowds that each try to take something away from others.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use crate::crowd::{self, connect, hear, say, status};
use crate::host::Host;
use crate::ordinary::{Ordinary, request};

/// When a client that only waits goes.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Runs a crowd of `count` against a server with so many places, among ordinary clients.
async fn attack<F>(
    name: &str,
    (count, at_once): (usize, usize),
    host: Host,
    client: impl Fn(usize) -> F,
) where
    F: Future<Output = bool> + Send + 'static,
{
    let ordinary = Ordinary::start(host.address);
    let ended = crowd::run(count, at_once, client).await;
    let served = ordinary.must_have_been_served().await;
    assert_eq!(ended, count, "the server let each of them go");
    let name = format!("{count} {name}, {served} ordinary uploads and downloads");
    host.must_have_kept_its_bounds(&name).await;
}

/// More of them than there are places, each with a head that never ends.
#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_let_go_and_keep_nobody_out() {
    crowd::allow_many_sockets();
    let count = crowd::size(1000, 10_000);
    let host = Host::start(count / 2);
    let address = host.address;
    attack("slow clients", (count, count), host, |number| async move {
        let Ok(mut stream) = connect(number, address).await else { return false };
        // The server keeps what has come of it.
        let some = format!("X-Some: {}\r\n", "x".repeat(7000)).repeat(3);
        let head = format!("GET /photos/a HTTP/1.1\r\nHost: a\r\n{some}X-Slow: ");
        let mut sent = stream.write_all(head.as_bytes()).await;
        // A byte now and then, so that it is never silent for long.
        while sent.is_ok() {
            sleep(Duration::from_millis(300)).await;
            sent = stream.write_all(b"x").await;
        }
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_uploads_are_let_go_and_cost_no_more_than_their_memory() {
    crowd::allow_many_sockets();
    let count = crowd::size(200, 1000);
    let host = Host::start(count + 100);
    let address = host.address;
    attack("half-sent uploads", (count, count), host, |number| async move {
        let Ok(mut stream) = connect(number, address).await else { return false };
        let size = [16 << 10, 1 << 20, 4 << 20, 16 << 20][number % 4];
        let head = format!(
            "PUT /photos/half-{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n"
        );
        let _ = stream.write_all(head.as_bytes()).await;
        let answer = say(&mut stream, &vec![1; size / 2]).await;
        // Refused for want of memory, or given up for silence; or cut off without a word.
        matches!(status(&answer), Some(503 | 408) | None)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_are_let_go_and_cost_no_more_than_their_memory() {
    crowd::allow_many_sockets();
    let count = crowd::size(200, 2000);
    let host = Host::start(count + 100);
    let address = host.address;
    let sizes = [100_000, 8 << 20];
    for (number, size) in sizes.into_iter().enumerate() {
        let put = request(address, "PUT", &format!("/photos/big-{number}"), &vec![7; size]).await;
        assert_eq!(status(&put), Some(201));
    }
    attack("clients that never read", (count, count), host, |number| async move {
        let Ok(mut stream) = connect(number, address).await else { return false };
        let path = format!("/photos/big-{}", number % 2);
        // Many answers on one connection, as none of them is taken.
        let asked = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").repeat(100);
        let _ = stream.write_all(asked.as_bytes()).await;
        // Nothing is read until the server has gone.
        while stream.write_all(b"\r\n").await.is_ok() {
            sleep(Duration::from_millis(300)).await;
        }
        true
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn header_floods_are_refused() {
    crowd::allow_many_sockets();
    let count = crowd::size(500, 10_000);
    let host = Host::start(1000);
    let address = host.address;
    attack("header floods", (count, 500), host, |number| async move {
        let Ok(mut stream) = connect(number, address).await else { return false };
        let lines = match number % 3 {
            0 => format!("X-Large: {}\r\n", "x".repeat(100_000)),
            1 => "X-Many: 1\r\n".repeat(20_000),
            _ => format!("{}: 1\r\n", "x".repeat(100_000)),
        };
        let head = format!("GET /photos/a HTTP/1.1\r\nHost: a\r\n{lines}");
        let answer = say(&mut stream, head.as_bytes()).await;
        // The kernel may take back the answer when it is not read in time.
        matches!(status(&answer), Some(431) | None)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_keeps_nobody_out() {
    crowd::allow_many_sockets();
    let count = crowd::size(5000, 100_000);
    let host = Host::start(crowd::size(500, 2000));
    let address = host.address;
    attack("connections tried", (count, 4000), host, |number| async move {
        // Half of them say nothing and stay until they are sent away.
        match connect(number, address).await {
            Ok(stream) if number % 2 == 0 => drop(stream),
            // The kernel may drop what does not fit into its queue without a word.
            Ok(mut stream) => drop(timeout(GIVE_UP, hear(&mut stream)).await),
            Err(_) => {}
        }
        true
    })
    .await;
}

/// The same object asked for over and over, and read.
#[tokio::test(flavor = "multi_thread")]
async fn downloads_in_a_crowd_are_whole_or_refused() {
    crowd::allow_many_sockets();
    let count = crowd::size(200, 2000);
    let host = Host::start(count + 100);
    let address = host.address;
    let size = 1 << 20;
    request(address, "PUT", "/photos/big", &vec![7; size]).await;
    attack("downloads at once", (count, count), host, |number| async move {
        let Ok(mut stream) = connect(number, address).await else { return false };
        let asked = b"GET /photos/big HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(asked).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        match status(&answer) {
            Some(200) => answer.ends_with(&vec![7; size]),
            status => status == Some(503),
        }
    })
    .await;
}
