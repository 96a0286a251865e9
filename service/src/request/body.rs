//! A request body that fails instead of waiting for ever, and lets a refused client finish.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use futures::StreamExt as _;
use http_body::{Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep};

use super::MinRate;

/// How much, and for how long, of an upload nobody wants is still read.
const LINGER_BYTES: usize = 64 << 20;
const LINGER_TIME: Duration = Duration::from_secs(10);

/// The other side sent no byte of its body for this long, or next to none for longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body came too slowly: silence may last {0:?}")]
pub struct BodyStalled(pub Duration);

/// Gives a body a limit on silence: a read that waits longer than `limit` for the next piece, or
/// for pieces that fall behind `rate`, ends with [`BodyStalled`] inside the [`axum::Error`]. Time
/// between reads does not count.
pub fn stall_limited(body: Body, limit: Duration, rate: MinRate) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(StallLimited {
        body,
        limit,
        rate,
        waiting: None,
        waited: Duration::ZERO,
        received_bytes: 0,
    })
}

struct StallLimited {
    body: Body,
    limit: Duration,
    rate: MinRate,
    /// Since when the next piece is waited for, and until when.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    /// For the pieces before it.
    waited: Duration,
    received_bytes: u64,
}

impl StallLimited {
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.rate.patience(self.limit, self.waited, self.received_bytes);
        let begin = || (Instant::now(), Box::pin(tokio::time::sleep(patience)));
        let (_, sleep) = self.waiting.get_or_insert_with(begin);
        sleep.as_mut().poll(cx)
    }

    fn came(&mut self, bytes: usize) {
        self.received_bytes += bytes as u64;
        if let Some((since, _)) = self.waiting.take() {
            self.waited += since.elapsed();
        }
    }
}

impl HttpBody for StallLimited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
            this.came(data.map_or(0, Bytes::len));
            return Poll::Ready(frame);
        }
        ready!(this.poll_stalled(cx));
        Poll::Ready(Some(Err(axum::Error::new(BodyStalled(this.limit)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads on, within bounds, when a handler drops the body before its end.
///
/// Many HTTP/1 clients look for the answer only after they have sent everything. If the server
/// closed on them at once, the kernel would reset the connection and they would see a broken pipe
/// in place of the 401, 404 or 413 that explains it.
pub(super) fn lingering(body: Body) -> Body {
    if body.is_end_stream() {
        return body;
    }
    Body::new(Lingering { body })
}

struct Lingering {
    body: Body,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = Body::empty();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let rest = std::mem::take(&mut self.body);
            runtime.spawn(tokio::time::timeout(LINGER_TIME, discard(rest)));
        }
    }
}

async fn discard(body: Body) {
    let mut pieces = body.into_data_stream();
    let mut left = LINGER_BYTES;
    while let Some(Ok(piece)) = pieces.next().await {
        match left.checked_sub(piece.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::ApiError;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_the_read_with_408() {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"abc"))]);
        let body = Body::from_stream(first.chain(futures::stream::pending()));
        let started = Instant::now();
        let mut body = stall_limited(body, Duration::from_secs(30), MinRate(0));
        assert!(body.frame().await.unwrap().is_ok());
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(started.elapsed(), Duration::from_secs(30));
        assert_eq!(ApiError::from_body(&error).status, 408);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_ends_too() {
        let piece = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b"a")), ()))
        };
        let body = Body::from_stream(futures::stream::unfold((), move |()| piece()));
        let started = Instant::now();
        let body = stall_limited(body, Duration::from_secs(30), MinRate(1024));
        let error = body.collect().await.unwrap_err();
        assert_eq!(started.elapsed(), Duration::from_secs(30));
        assert_eq!(ApiError::from_body(&error).status, 408);
    }

    #[tokio::test]
    async fn length_and_bytes_pass_unchanged() {
        let body =
            lingering(stall_limited(Body::from("hello"), Duration::from_secs(1), MinRate(1)));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
    }
}
