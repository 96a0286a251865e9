//! The span, the log line and the metrics of one request.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use http_body::{Frame, SizeHint};
use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};
use tracing::field::Empty;
use tracing::{Level, Span};

use super::{Context, X_REQUEST_ID};
use crate::error::ErrorCode;
use crate::listen::Head;

/// The target of the line that is logged for each request.
const TARGET: &str = "hayrick::access";

/// Counts requests. Labels: `listener`, `method`, `status` (`2xx`).
const REQUESTS: &str = "hayrick_http_requests_total";
/// Seconds from the head of the request to the last byte of the answer. Same labels.
const DURATION: &str = "hayrick_http_request_duration_seconds";
/// Requests being served now. Label: `listener`.
const IN_FLIGHT: &str = "hayrick_http_requests_in_flight";

/// Tells Prometheus what this module's metrics mean.
pub(crate) fn describe_metrics() {
    describe_counter!(REQUESTS, "Requests, when their answer has left.");
    describe_histogram!(
        DURATION,
        "Seconds from the head of a request to the last byte of its answer."
    );
    describe_gauge!(IN_FLIGHT, "Requests being served now.");
}

/// Methods that have a label of their own, and the label of all others: clients may invent methods,
/// and the metrics may not grow with them.
const METHODS: [&str; 8] = ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "other"];
/// Classes of status, and that of a request that was never answered.
const STATUSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "aborted"];

/// The metrics of one listener. To find a metric by its labels takes as long as to answer a small
/// request does, so each is found once.
pub(crate) struct Measures {
    listener: &'static str,
    in_flight: OnceLock<Gauge>,
    done: [[OnceLock<(Counter, Histogram)>; STATUSES.len()]; METHODS.len()],
}

/// Follows one request; tells the log and the metrics when it is dropped.
pub(crate) struct Access {
    measures: Arc<Measures>,
    method: &'static str,
    is_head: bool,
    context: Context,
    span: Span,
    started: Instant,
    status: Option<StatusCode>,
    size_bytes: u64,
    whole: bool,
    given_up: bool,
}

impl Measures {
    pub(crate) fn new(listener: &'static str) -> Self {
        Self { listener, in_flight: OnceLock::new(), done: Default::default() }
    }

    fn in_flight(&self) -> &Gauge {
        self.in_flight.get_or_init(|| gauge!(IN_FLIGHT, "listener" => self.listener))
    }

    fn done(&self, method: &'static str, status: &'static str) -> Option<&(Counter, Histogram)> {
        let place = |all: &[&str], wanted| all.iter().position(|one| *one == wanted);
        let cell = self.done.get(place(&METHODS, method)?)?.get(place(&STATUSES, status)?)?;
        Some(cell.get_or_init(|| {
            let labels = [("listener", self.listener), ("method", method), ("status", status)];
            (counter!(REQUESTS, &labels), histogram!(DURATION, &labels))
        }))
    }
}

impl Access {
    /// Follows a request that came in at `started` and has no span unless its own line needs one.
    pub(super) fn quiet(
        measures: &Arc<Measures>,
        head: &Head<'_>,
        context: Context,
        started: Instant,
    ) -> Self {
        if tracing::enabled!(target: TARGET, Level::INFO) {
            Self::spanned(measures, head, context, started)
        } else {
            Self::within(Span::none(), measures, head, context, started)
        }
    }

    /// Goes on with the whole answer, which tells the request's id.
    pub(super) fn around(
        mut self,
        mut answer: Response<Bytes>,
        context: &Context,
    ) -> (Response<Bytes>, Self) {
        self.status = Some(answer.status());
        self.whole = answer.body().is_empty();
        answer.headers_mut().insert(X_REQUEST_ID, HeaderValue::from(&context.request_id));
        (answer, self)
    }

    /// Leaves the request to somebody else, who follows it from its beginning.
    pub(super) fn give_up(mut self) {
        self.given_up = true;
    }

    /// Follows a request that came in at `started`.
    pub(super) fn spanned(
        measures: &Arc<Measures>,
        head: &Head<'_>,
        context: Context,
        started: Instant,
    ) -> Self {
        // An error-level span is there under every filter, so no log line lacks its request.
        let span = tracing::error_span!(
            "request",
            listener = measures.listener,
            method = %head.method,
            path = head.uri.path(),
            request_id = %context.request_id,
            trace_id = context.trace.as_ref().map(super::TraceParent::trace_id),
            status = Empty,
            error = Empty,
            size_bytes = Empty,
            duration_ms = Empty,
        );
        Self::within(span, measures, head, context, started)
    }

    fn within(
        span: Span,
        measures: &Arc<Measures>,
        head: &Head<'_>,
        context: Context,
        started: Instant,
    ) -> Self {
        measures.in_flight().increment(1.0);
        Self {
            measures: Arc::clone(measures),
            method: method_label(head.method),
            is_head: *head.method == Method::HEAD,
            context,
            span,
            started,
            status: None,
            size_bytes: 0,
            whole: false,
            given_up: false,
        }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Stays with the answer until its last byte has left.
    pub(super) fn follow(mut self, response: Response<Body>) -> Response<Body> {
        self.status = Some(response.status());
        self.whole = self.is_head || response.body().is_end_stream();
        if let Some(ErrorCode(code)) = response.extensions().get() {
            self.span.record("error", code);
        }
        response.map(|body| Body::new(Followed { body, access: self }))
    }

    /// All of the answer has been handed over for sending.
    pub(crate) fn sent(&mut self, size_bytes: usize) {
        self.size_bytes = u64::try_from(size_bytes).unwrap_or(u64::MAX);
        self.whole = true;
    }

    fn log(&self, duration: Duration) {
        self.span.record("size_bytes", self.size_bytes);
        self.span.record("duration_ms", u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        if let Some(status) = self.status {
            self.span.record("status", status.as_u16());
        }
        let _entered = self.span.enter();
        match self.status {
            Some(status) if status.is_server_error() => {
                tracing::warn!(target: TARGET, "failed");
            }
            Some(_) if self.whole => tracing::info!(target: TARGET, "served"),
            _ => tracing::info!(target: TARGET, "cut off"),
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        self.measures.in_flight().decrement(1.0);
        if self.given_up {
            return;
        }
        let duration = self.started.elapsed();
        let status = self.status.map_or("aborted", class);
        if let Some((requests, durations)) = self.measures.done(self.method, status) {
            requests.increment(1);
            durations.record(duration.as_secs_f64());
        }
        self.log(duration);
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

struct Followed {
    body: Body,
    access: Access,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = {
            let _entered = this.access.span.enter();
            let body = Pin::new(&mut this.body);
            ready!(this.access.context.sync_scope(|| body.poll_frame(cx)))
        };
        match &frame {
            None => this.access.whole = true,
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                this.access.size_bytes += u64::try_from(length).unwrap_or(u64::MAX);
                // With a known length hyper never asks for the end.
                this.access.whole = this.body.size_hint().exact() == Some(0);
            }
            Some(Err(error)) => {
                this.access.span.record("error", tracing::field::display(error));
            }
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
