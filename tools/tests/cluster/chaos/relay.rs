//! A way to a server that can be made slow.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Takes connections and hands on what comes, both ways.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    target: Mutex<Option<String>>,
    delay: Mutex<Duration>,
}

impl Relay {
    /// On this address of the machine; it leads nowhere yet.
    pub async fn start(on: IpAddr) -> Self {
        let listener = TcpListener::bind((on, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on to the server at this URL.
    pub fn lead_to(&self, url: &str) {
        *self.shared.target.lock().unwrap() = Some(url.trim_start_matches("http://").to_owned());
    }

    /// From now on everything takes this much longer, each way.
    pub fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(relay(client, Arc::clone(&shared)));
    }
}

async fn relay(client: TcpStream, shared: Arc<Shared>) {
    let Some(target) = shared.target.lock().unwrap().clone() else { return };
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(copy(from_client, to_server, &shared), copy(from_server, to_client, &shared));
}

async fn copy(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    shared: &Shared,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let delay = *shared.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        let piece = buffer.get(..len).unwrap_or_default();
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
    // The other side need not care that this one is over.
    let _ = to.shutdown().await;
}
