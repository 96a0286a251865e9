//! What happens to every request before a handler sees it and after it answered.
//!
//! [`layered`] wraps a router so that each request
//! - has an id (the client's `X-Request-Id` when it is sane, else a new one), sent back in the
//!   answer, in error bodies and, by [`crate::client`], to peers; a valid W3C `traceparent`
//!   travels the same way;
//! - runs in one span (`listener`, `method`, `path`, `request_id`, `trace_id`), which gets
//!   `status`, `size_bytes` and `duration_ms` when the last byte of the answer has left; then one
//!   line is logged under the target `hayrick::access`. Query strings are never logged, as they
//!   carry tokens;
//! - is counted (`hayrick_http_requests_total`, `hayrick_http_request_duration_seconds`,
//!   `hayrick_http_requests_in_flight`) by listener, method and status class;
//! - is refused when it should not pass a public door: bad `Host`, `CONNECT`, `TRACE`, oversized
//!   names, headers or URLs;
//! - gets its errors in the JSON form of [`crate::error`].
//!
//! [`crate::listen::serve`] applies the layer itself; call [`layered`] only to test a router
//! without a socket, and then send a `Host` header.

mod access;
mod body;
mod context;
mod guard;
mod rate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::EXPECT;
use axum::http::{Extensions, HeaderName, HeaderValue, Method, StatusCode, Version};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tracing::Instrument as _;

pub use body::{BodyStalled, stall_limited};
pub use context::{Context, RequestId, TraceParent, current, current_id};
pub use rate::MinRate;

use crate::error::{self, ApiError};
use crate::listen::{App, Head, Short, Soon};
pub(crate) use access::describe_metrics;

pub(crate) use access::Access;

use access::Measures;
use body::lingering;

/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Limits and label of the request layer.
#[derive(Debug, Clone)]
pub struct RequestOptions {
    /// Label of the listener in logs and metrics: `public`, `internal`, `admin`.
    pub listener: &'static str,
    /// Longest request target, bytes; longer is answered 414. Default 8 KiB.
    pub max_uri_bytes: usize,
    /// Longest single header value, bytes; longer is answered 431. Default 8 KiB.
    pub max_header_value_bytes: usize,
    /// Longest silence of a client that sends a body; then its reader gets [`BodyStalled`].
    /// Default 30 s.
    pub body_idle_timeout: Duration,
    /// Least bytes a second of a body, and of an answer that is being read, after
    /// `body_idle_timeout` or `write_stall_timeout` of grace; 0 for no such limit. Default 1 KiB.
    pub min_rate: MinRate,
}

impl RequestOptions {
    /// Default limits for the named listener.
    pub fn named(listener: &'static str) -> Self {
        Self {
            listener,
            max_uri_bytes: 8 * 1024,
            max_header_value_bytes: 8 * 1024,
            body_idle_timeout: Duration::from_secs(30),
            min_rate: MinRate(1024),
        }
    }
}

/// Wraps a router in the request layer; see the module.
pub fn layered(router: Router, options: RequestOptions) -> Router {
    RequestLayer::new(options).around(router)
}

/// What is done to all requests of a listener. Clones count in the same metrics.
#[derive(Clone)]
pub(crate) struct RequestLayer {
    options: Arc<RequestOptions>,
    measures: Arc<Measures>,
}

impl RequestLayer {
    pub(crate) fn new(options: RequestOptions) -> Self {
        let measures = Arc::new(Measures::new(options.listener));
        Self { options: Arc::new(options), measures }
    }

    pub(crate) fn around(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), around))
    }

    /// What the shortcut of `app` answers, if it does, with all that the layer does to an answer.
    pub(crate) fn short_answer<B: HttpBody>(
        &self,
        app: &App,
        request: &axum::http::Request<B>,
    ) -> Option<Shortened> {
        let started = Instant::now();
        let may_be = app.has_shortcut() && request.body().is_end_stream();
        if !may_be || guard::check(&self.options, request).is_err() {
            return None;
        }
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let head = Head { method, uri, headers };
        // A panic is our bug; the router may do better, and answers for itself.
        let short = catch_unwind(AssertUnwindSafe(|| app.short_answer(&head))).ok().flatten()?;
        let context = Context::of(headers);
        let access = Access::quiet(&self.measures, &head, context.clone(), started);
        Some(match short {
            Short::Now(answer) => Shortened::Now(access.around(answer, &context)),
            Short::Soon(soon) => {
                let begun = Begun { context: context.clone(), started };
                Shortened::Soon(context.scope(shorten(soon, access, begun)).boxed())
            }
        })
    }
}

/// A shortcut's answer, followed.
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one")]
pub(crate) enum Shortened {
    Now(Followed),
    /// Or what the router is told.
    Soon(BoxFuture<'static, Result<Followed, Extensions>>),
}

/// An answer, and who follows it.
pub(crate) type Followed = (Response<Bytes>, Access);

/// A request that the shortcut has left to the router.
#[derive(Clone)]
struct Begun {
    context: Context,
    started: Instant,
}

async fn shorten(soon: Soon, access: Access, begun: Begun) -> Result<Followed, Extensions> {
    let span = access.span().clone();
    // After a panic, nothing is known.
    let soon = AssertUnwindSafe(soon.instrument(span)).catch_unwind().await;
    match soon.unwrap_or_else(|_| Err(Extensions::new())) {
        Ok(answer) => Ok(access.around(answer, &begun.context)),
        Err(mut known) => {
            access.give_up();
            known.insert(begun);
            Err(known)
        }
    }
}

async fn around(State(layer): State<RequestLayer>, mut request: Request, next: Next) -> Response {
    let begun = request.extensions_mut().remove().unwrap_or_else(|| Begun {
        context: Context::of(request.headers()),
        started: Instant::now(),
    });
    let Begun { context, started } = begun;
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let head = Head { method, uri, headers };
    let access = Access::spanned(&layer.measures, &head, context.clone(), started);
    let span = access.span().clone();
    let id = HeaderValue::from(&context.request_id);
    let answer =
        async move { error::in_json_form(pass(&layer.options, request, next).await).await };
    let mut response = context.scope(answer.instrument(span)).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    access.follow(response)
}

async fn pass(options: &RequestOptions, request: Request, next: Next) -> Response {
    if let Err(refused) = guard::check(options, &request) {
        return refused.into_response();
    }
    if request.method() == Method::OPTIONS && request.uri().path() == "*" {
        return StatusCode::NO_CONTENT.into_response();
    }
    // HTTP/2 resets one stream; a client that asked first has not begun to send.
    let linger = request.version() < Version::HTTP_2 && !request.headers().contains_key(EXPECT);
    let request = request.map(|body| {
        match stall_limited(body, options.body_idle_timeout, options.min_rate) {
            body if linger => lingering(body),
            body => body,
        }
    });
    let answer = next.run(request);
    // A panic is our bug; it costs one request, not the connection with its other streams.
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(response) => response,
        Err(_) => ApiError::internal("the handler panicked").into_response(),
    }
}

#[cfg(test)]
mod tests;
