//! Many clients at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

/// Each has ports of its own, and no more than some 28,000 of them.
const SOURCES: usize = 8;

/// The full number in a torture run, else the small one.
pub fn size(small: usize, full: usize) -> usize {
    if std::env::var_os("HAYRICK_TORTURE_SECONDS").is_some() { full } else { small }
}

/// Lets this process have as many sockets as the system allows.
pub fn allow_many_sockets() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

/// The `number`-th client's connection; it keeps little of what comes in its own buffers.
pub async fn connect(number: usize, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(16 << 10)?;
    let source = u8::try_from(number % SOURCES + 2).unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0)))?;
    socket.connect(to).await
}

/// Runs `count` clients, at most `at_once` of them at a time, and counts what they come to.
pub async fn run<F>(count: usize, at_once: usize, client: impl Fn(usize) -> F) -> usize
where
    F: Future<Output = bool> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(at_once));
    let clients: FuturesUnordered<_> = (0..count)
        .map(|number| {
            let (slots, client) = (Arc::clone(&slots), client(number));
            tokio::spawn(async move {
                let _slot = slots.acquire_owned().await.unwrap();
                client.await
            })
        })
        .collect();
    clients.filter(|done| std::future::ready(*done.as_ref().unwrap())).count().await
}

/// Sends as much as the server takes, and gives what it says until it closes.
pub async fn say(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    // Whoever is cut off cannot finish.
    let _ = stream.write_all(bytes).await;
    hear(stream).await
}

/// What the server says until it closes.
pub async fn hear(stream: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    heard
}

/// The status of an answer; `None` where none came.
pub fn status(answer: &[u8]) -> Option<u16> {
    std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()
}
