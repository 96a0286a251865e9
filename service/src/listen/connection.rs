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

fn answer(
    server: &Server,
    activity: &Arc<Activity>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + use<> {
    let in_flight = InFlight::begin(activity, request.version());
    let router = server.router.clone();
    let permit = Arc::clone(&server.requests).try_acquire_owned();
    async move {
        let Ok(permit) = permit else {
            let busy = ApiError::unavailable("too many requests at once", BUSY_RETRY);
            return Ok(busy.with_code("Busy").into_response());
        };
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = router.oneshot(request).await?;
        Ok(response.map(|body| Body::new(Held { body, _in_flight: in_flight, _permit: permit })))
    }
}

/// Keeps the request counted as in flight until its answer has left.
struct Held {
    body: Body,
    _in_flight: InFlight,
    _permit: OwnedSemaphorePermit,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
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
