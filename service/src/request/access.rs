//! The span, the log line and the metrics of one request.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Instant;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use tracing::Span;
use tracing::field::Empty;

use super::Context;
use crate::error::ErrorCode;

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

/// Follows one request; tells the log and the metrics when it is dropped.
pub(super) struct Access {
    listener: &'static str,
    method: &'static str,
    is_head: bool,
    context: Context,
    span: Span,
    started: Instant,
    status: Option<StatusCode>,
    size_bytes: u64,
    whole: bool,
}

impl Access {
    pub(super) fn start<B>(
        listener: &'static str,
        request: &Request<B>,
        context: &Context,
    ) -> Self {
        // An error-level span is there under every filter, so no log line lacks its request.
        let span = tracing::error_span!(
            "request",
            listener,
            method = %request.method(),
            path = request.uri().path(),
            request_id = %context.request_id,
            trace_id = context.trace.as_ref().map(super::TraceParent::trace_id),
            status = Empty,
            error = Empty,
            size_bytes = Empty,
            duration_ms = Empty,
        );
        gauge!(IN_FLIGHT, "listener" => listener).increment(1.0);
        Self {
            listener,
            method: method_label(request.method()),
            is_head: request.method() == Method::HEAD,
            context: context.clone(),
            span,
            started: Instant::now(),
            status: None,
            size_bytes: 0,
            whole: false,
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

    fn log(&self) {
        let duration_ms = self.started.elapsed().as_micros() / 1000;
        self.span.record("size_bytes", self.size_bytes);
        self.span.record("duration_ms", u64::try_from(duration_ms).unwrap_or(u64::MAX));
        if let Some(status) = self.status {
            self.span.record("status", status.as_u16());
        }
        let _entered = self.span.enter();
        match self.status {
            Some(status) if status.is_server_error() => {
                tracing::warn!(target: "hayrick::access", "failed");
            }
            Some(_) if self.whole => tracing::info!(target: "hayrick::access", "served"),
            _ => tracing::info!(target: "hayrick::access", "cut off"),
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let (listener, method) = (self.listener, self.method);
        let status = self.status.map_or("aborted", class);
        gauge!(IN_FLIGHT, "listener" => listener).decrement(1.0);
        counter!(REQUESTS, "listener" => listener, "method" => method, "status" => status)
            .increment(1);
        histogram!(DURATION, "listener" => listener, "method" => method, "status" => status)
            .record(self.started.elapsed().as_secs_f64());
        self.log();
    }
}

/// Clients may invent methods; the label may not grow with them.
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
