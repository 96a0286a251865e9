//! Finds connections that are held but not used.
//!
//! hyper's header timer starts when it begins to wait for a request, so it cannot tell an idle
//! connection from a slow head, and it does not cover the first bytes (where HTTP/1 and HTTP/2
//! are told apart) nor a client that stops reading. So the socket is watched instead.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::Version;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ListenOptions;
use crate::request::MinRate;

/// What a connection is doing, as far as its limits care.
pub(super) struct Activity {
    header_timeout: Duration,
    idle_timeout: Duration,
    write_stall_timeout: Duration,
    rate: MinRate,
    state: Mutex<State>,
    /// Somebody else needs the connection's place.
    displaced: Notify,
}

struct State {
    in_flight: usize,
    /// HTTP/2 sends frames between requests too, so bytes there are no sign of a head.
    http2: bool,
    /// Start of the wait for the head of a request, with the reason given when it lasts too long.
    waiting: Option<(Instant, Wait)>,
    write_blocked: Option<Instant>,
    /// Time that answers have waited for the client since the connection was last idle, and what
    /// was written in it.
    blocked_for: Duration,
    written_bytes: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Wait {
    Head,
    Idle,
}

impl Activity {
    pub(super) fn new(options: &ListenOptions) -> Self {
        Self {
            header_timeout: options.header_timeout,
            idle_timeout: options.idle_timeout,
            write_stall_timeout: options.write_stall_timeout,
            rate: options.request.min_rate,
            displaced: Notify::new(),
            state: Mutex::new(State {
                in_flight: 0,
                http2: false,
                waiting: Some((Instant::now(), Wait::Head)),
                write_blocked: None,
                blocked_for: Duration::ZERO,
                written_bytes: 0,
            }),
        }
    }

    /// Waits until a limit is passed and names it.
    pub(super) async fn overdue(&self) -> &'static str {
        // A new wait can begin right after the look, but none can end before this.
        let shortest = self.header_timeout.min(self.idle_timeout).min(self.write_stall_timeout);
        loop {
            let now = Instant::now();
            let next = match self.deadline() {
                Some((deadline, reason)) if deadline <= now => return reason,
                Some((deadline, _)) => deadline.min(now + shortest),
                None => now + shortest,
            };
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = self.displaced.notified() => {
                    // A request that came in between is served.
                    if self.waiting_since().is_some() {
                        return "displaced";
                    }
                }
            }
        }
    }

    /// Since when no request has been in work.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.state.lock().waiting.map(|(since, _)| since)
    }

    /// Closes the connection, if it is still without a request.
    pub(super) fn displace(&self) {
        self.displaced.notify_one();
    }

    fn deadline(&self) -> Option<(Instant, &'static str)> {
        let state = self.state.lock();
        let waiting = state.waiting.map(|(since, wait)| match wait {
            Wait::Head => (since + self.header_timeout, "slow_head"),
            Wait::Idle => (since + self.idle_timeout, "idle"),
        });
        let blocked = state.write_blocked.map(|since| {
            let stall = self.write_stall_timeout;
            let patience = self.rate.patience(stall, state.blocked_for, state.written_bytes);
            (since + patience, "slow_reader")
        });
        waiting.into_iter().chain(blocked).min_by_key(|(deadline, _)| *deadline)
    }

    fn bytes_came(&self) {
        let mut state = self.state.lock();
        if !state.http2 && state.waiting.is_some_and(|(_, wait)| wait == Wait::Idle) {
            state.waiting = Some((Instant::now(), Wait::Head));
        }
    }

    fn write_polled(&self, polled: &Poll<io::Result<usize>>) {
        let mut state = self.state.lock();
        let Poll::Ready(written) = polled else {
            state.write_blocked.get_or_insert_with(Instant::now);
            return;
        };
        if let Some(since) = state.write_blocked.take() {
            state.blocked_for += since.elapsed();
        }
        state.written_bytes += *written.as_ref().unwrap_or(&0) as u64;
    }
}

/// Counts one request as in flight until dropped.
pub(super) struct InFlight(Arc<Activity>);

impl InFlight {
    pub(super) fn begin(activity: &Arc<Activity>, version: Version) -> Self {
        let mut state = activity.state.lock();
        if state.in_flight == 0 {
            (state.blocked_for, state.written_bytes) = (Duration::ZERO, 0);
        }
        state.in_flight += 1;
        state.http2 = version == Version::HTTP_2;
        state.waiting = None;
        drop(state);
        Self(Arc::clone(activity))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.in_flight -= 1;
        if state.in_flight == 0 {
            state.waiting = Some((Instant::now(), Wait::Idle));
        }
    }
}

/// A socket that tells [`Activity`] what passes.
pub(super) struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.bytes_came();
        }
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.write_polled(&polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.write_polled(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
