//! One connection from accept to close.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use axum::response::IntoResponse as _;
use futures::future::{BoxFuture, Either, FutureExt as _, Ready, TryFutureExt as _, ready};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use metrics::{counter, gauge};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceExt as _;

use super::watch::{Activity, InFlight, Watched};
use super::{BUSY_RETRY, CUT_OFF, OPEN, Server};
use crate::ApiError;
use crate::request::{Access, Followed, Shortened};

/// Serves requests until the client leaves, a limit is passed, or the server stops.
pub(super) async fn run(server: &Server, stream: TcpStream, peer: SocketAddr) {
    let listener = server.name();
    let _open = Open::new(listener);
    let activity = Arc::new(Activity::new(&server.options));
    let Some(_place) = server.crowd.join(peer.ip(), &activity) else {
        cut_off(listener, peer, "too_many_of_one_client");
        return;
    };
    // Answers are written in whole pieces; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(server, &activity, peer, request));
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let mut connection = pin!(server.http.serve_connection(io, service));
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(listener, %peer, %error, "connection ended");
                }
                return;
            }
            () = server.shutdown.wait(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            reason = activity.overdue() => {
                cut_off(listener, peer, reason);
                return;
            }
        }
    }
}

fn cut_off(listener: &'static str, peer: SocketAddr, reason: &'static str) {
    tracing::debug!(listener, %peer, reason, "connection cut off");
    counter!(CUT_OFF, "listener" => listener, "reason" => reason).increment(1);
}

/// Whoever sends an answer that is there at once moves it about; so all else is behind a pointer.
type Answer = Either<Ready<Outcome>, BoxFuture<'static, Outcome>>;
type Outcome = Result<Response<Sending>, Infallible>;

fn answer(
    server: &Server,
    activity: &Arc<Activity>,
    peer: SocketAddr,
    mut request: Request<Incoming>,
) -> Answer {
    let in_flight = InFlight::begin(activity, request.version());
    let permit = Arc::clone(&server.requests).try_acquire_owned().ok();
    let has_permit = permit.is_some();
    let sending = |body| Sending { body, _in_flight: in_flight, _permit: permit };
    if !has_permit {
        let busy = ApiError::unavailable("too many requests at once", BUSY_RETRY);
        let refusal = busy.with_code("Busy").into_response();
        return at_once(refusal.map(Outgoing::Streamed).map(sending));
    }
    let soon = match server.layer.short_answer(&server.app, &request) {
        Some(Shortened::Now(answer)) => return at_once(outgoing(answer).map(sending)),
        Some(Shortened::Soon(soon)) => Some(soon),
        None => None,
    };
    request.extensions_mut().insert(ConnectInfo(peer));
    let router = server.app.clone().into_router();
    let Some(soon) = soon else {
        let answer = router.oneshot(request.map(Body::new));
        let sent = answer.map_ok(|answer| answer.map(Outgoing::Streamed).map(sending));
        return sent.boxed().right_future();
    };
    let answer = async move {
        let answer = match soon.await {
            Ok(answer) => outgoing(answer),
            Err(known) => {
                request.extensions_mut().extend(known);
                router.oneshot(request.map(Body::new)).await?.map(Outgoing::Streamed)
            }
        };
        Ok(answer.map(sending))
    };
    answer.boxed().right_future()
}

fn outgoing((answer, access): Followed) -> Response<Outgoing> {
    answer.map(|data| Outgoing::AtOnce { data, access })
}

fn at_once(response: Response<Sending>) -> Answer {
    ready(Ok(response)).left_future()
}

/// An answer's body. It keeps the request counted as in flight until it has left.
struct Sending {
    body: Outgoing,
    _in_flight: InFlight,
    _permit: Option<OwnedSemaphorePermit>,
}

enum Outgoing {
    /// All of it is there; empty once it is handed over.
    AtOnce { data: Bytes, access: Access },
    /// It comes bit by bit.
    Streamed(Body),
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Outgoing::AtOnce { data, .. } if data.is_empty() => Poll::Ready(None),
            Outgoing::AtOnce { data, access } => {
                access.sent(data.len());
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))))
            }
            Outgoing::Streamed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Outgoing::AtOnce { data, .. } => data.is_empty(),
            Outgoing::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Outgoing::AtOnce { data, .. } => SizeHint::with_exact(data.len() as u64),
            Outgoing::Streamed(body) => body.size_hint(),
        }
    }
}

struct Open(&'static str);

impl Open {
    fn new(listener: &'static str) -> Self {
        gauge!(OPEN, "listener" => listener).increment(1.0);
        Self(listener)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!(OPEN, "listener" => self.0).decrement(1.0);
    }
}
