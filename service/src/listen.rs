//! Serving a router on a bound socket, with every wait and every queue bounded.
//!
//! [`serve`] speaks HTTP/1.1 and HTTP/2 (prior knowledge), applies the request layer
//! ([`crate::request`]), and leaves gracefully: on the stop signal it stops accepting, lets
//! requests in flight finish within [`ListenOptions::drain_timeout`], then closes what is left.
//!
//! When all connections are in use, those that have been without a request for longest are closed,
//! so that slow and idle clients cannot keep others out. A client that holds a connection without using it is cut off: before its first request and
//! between the first byte and the end of a request's head after
//! [`ListenOptions::header_timeout`], between requests after [`ListenOptions::idle_timeout`], and
//! when it stops reading an answer after [`ListenOptions::write_stall_timeout`]. Bodies and answers
//! must also keep up with [`RequestOptions::min_rate`].

mod app;
mod connection;
mod crowd;
mod limits;
mod watch;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use metrics::{counter, describe_counter, describe_gauge};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

pub use app::{App, Head, Short, Shortcut, Soon};
use crowd::Crowd;
pub use limits::{LimitError, ListenLimits};

use crate::Shutdown;
use crate::request::{RequestLayer, RequestOptions};

/// Counts connections closed by a limit. Labels: `listener`, `reason`.
const CUT_OFF: &str = "hayrick_http_connections_cut_off_total";
/// Connections open now. Label: `listener`.
const OPEN: &str = "hayrick_http_connections";
/// Counts the times that accepting had to wait for a connection to end. Label: `listener`.
const FULL: &str = "hayrick_http_connection_limit_waits_total";

/// Wait between two attempts to make room for a connection.
const ROOM_RETRY: Duration = Duration::from_millis(100);

/// What a client is told when too many requests are in work.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// Most bytes of an upload over HTTP/2 that come before a handler reads them. A connection's
/// streams share it, and what they wait to send has as much each.
const HTTP2_WINDOW_BYTES: u32 = 64 * 1024;

/// Requests at one time on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 128;

/// Wait after a failed accept, such as too many open files, so as not to spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// Tells Prometheus what this module's metrics mean.
pub(crate) fn describe_metrics() {
    describe_gauge!(OPEN, "Connections open now.");
    describe_counter!(CUT_OFF, "Connections closed because the client passed a limit.");
    describe_counter!(FULL, "Times that accepting waited because all connections were in use.");
}

/// Limits of one listener. No time but `drain_timeout` may be zero; [`ListenLimits`] checks that.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// Limits on each request, and the listener's name in logs and metrics.
    pub request: RequestOptions,
    /// Connections at one time; further ones wait in the kernel's queue. No more requests than
    /// this are in work either; further ones, which only HTTP/2 can bring, are answered 503.
    /// Default 10,000.
    pub max_connections: usize,
    /// Connections of one client address at one time, of IPv6 of one network of 64 bits; further
    /// ones are closed at once. Default 0, no limit: behind a load balancer all clients have its
    /// address.
    pub max_connections_per_client: usize,
    /// Longest time for the head of a request to arrive. Default 10 s.
    pub header_timeout: Duration,
    /// Longest time between two requests on one connection. Default 75 s.
    pub idle_timeout: Duration,
    /// Longest time that a client may read nothing of an answer. Default 30 s.
    pub write_stall_timeout: Duration,
    /// Longest time for requests in flight to finish after the stop signal. Default 30 s.
    pub drain_timeout: Duration,
    /// Most bytes of a request's head, all headers together; 8 KiB is the least that hyper takes
    /// and a smaller number counts as that. Default 32 KiB.
    pub max_head_bytes: u32,
}

impl ListenOptions {
    /// Default limits for the named listener: `public`, `internal`, `admin`.
    pub fn named(listener: &'static str) -> Self {
        Self {
            request: RequestOptions::named(listener),
            max_connections: 10_000,
            max_connections_per_client: 0,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_stall_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
            max_head_bytes: 32 * 1024,
        }
    }
}

/// Whether only this machine can reach the address.
pub fn is_loopback(address: SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.to_canonical().is_loopback(),
    }
}

/// Serves `app`, which may be a router, on `listener` until `shutdown` is given and the drain is over.
///
/// Handlers find the client's address in the extension `axum::extract::ConnectInfo<SocketAddr>`.
pub fn serve(
    listener: TcpListener,
    app: impl Into<App>,
    options: ListenOptions,
    shutdown: Shutdown,
) -> impl Future<Output = ()> + Send {
    Arc::new(Server::new(app.into(), options, shutdown)).serve(listener)
}

/// What all connections of one listener share.
struct Server {
    /// With the request layer around its router.
    app: App,
    layer: RequestLayer,
    options: ListenOptions,
    http: auto::Builder<TokioExecutor>,
    slots: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    crowd: Crowd,
    shutdown: Shutdown,
}

impl Server {
    fn new(app: App, options: ListenOptions, shutdown: Shutdown) -> Self {
        let max_head = usize::try_from(options.max_head_bytes).unwrap_or(usize::MAX).max(8 * 1024);
        let mut http = auto::Builder::new(TokioExecutor::new());
        // hyper's own header timeout would also cut idle connections, so `watch` does both.
        http.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(max_head);
        http.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(options.max_head_bytes)
            .initial_stream_window_size(HTTP2_WINDOW_BYTES)
            .initial_connection_window_size(HTTP2_WINDOW_BYTES)
            .max_send_buf_size(HTTP2_WINDOW_BYTES as usize)
            .max_concurrent_streams(HTTP2_STREAMS);
        let layer = RequestLayer::new(options.request.clone());
        Self {
            app: app.map_router(|router| layer.around(router)),
            layer,
            slots: Arc::new(Semaphore::new(options.max_connections)),
            requests: Arc::new(Semaphore::new(options.max_connections)),
            crowd: Crowd::new(options.max_connections_per_client),
            http,
            options,
            shutdown,
        }
    }

    fn name(&self) -> &'static str {
        self.options.request.listener
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.wait() => break,
                Some(ended) = connections.join_next() => {
                    report_panic(ended);
                    continue;
                }
                accepted = self.accept(&listener) => accepted,
            };
            let Some((stream, peer)) = accepted else { continue };
            // Only now does somebody need a place for whom others may have to make room.
            let slot = tokio::select! {
                () = self.shutdown.wait() => break,
                slot = self.slot() => slot,
            };
            let server = Arc::clone(&self);
            connections.spawn(async move {
                connection::run(&server, stream, peer).await;
                drop(slot);
            });
        }
        drop(listener);
        self.drain(connections).await;
    }

    async fn accept(&self, listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        match listener.accept().await {
            Ok(accepted) => Some(accepted),
            Err(error) => {
                tracing::warn!(listener = self.name(), %error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                None
            }
        }
    }

    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(permit);
        }
        counter!(FULL, "listener" => self.name()).increment(1);
        loop {
            self.crowd.make_room();
            let slot = Arc::clone(&self.slots).acquire_owned();
            if let Ok(slot) = tokio::time::timeout(ROOM_RETRY, slot).await {
                return slot.ok();
            }
        }
    }

    async fn drain(&self, mut connections: JoinSet<()>) {
        let (listener, open) = (self.name(), connections.len());
        tracing::info!(listener, open, "draining");
        let all_ended = async {
            while let Some(ended) = connections.join_next().await {
                report_panic(ended);
            }
        };
        if tokio::time::timeout(self.options.drain_timeout, all_ended).await.is_err() {
            let cut_off = connections.len();
            tracing::warn!(listener, cut_off, "drain took too long; closing");
            connections.shutdown().await;
        }
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task failed");
    }
}

#[cfg(test)]
mod tests;
