//! Errors as HTTP clients see them: one JSON body everywhere.
//!
//! ```json
//! {"error": "NotFound", "message": "no object named cats/tom.jpg", "request_id": "9f1c…"}
//! ```
//!
//! `error` is a stable word for programs, `message` is for people, `request_id` finds the line in
//! the server's log. An error is never cached (`Cache-Control: no-store`).

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::Display;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_RANGE, CONTENT_TYPE};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};

use crate::request::{self, BodyStalled};

/// How much of a plain error text is kept when it is turned into JSON.
const MAX_PLAIN_TEXT_BYTES: usize = 4 * 1024;

/// An answer other than success, ready to be sent.
///
/// `message` goes to the client, so it must not tell secrets or internals; see
/// [`ApiError::internal`] for those.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{status}: {message}")]
pub struct ApiError {
    /// HTTP status, 4xx or 5xx.
    pub status: StatusCode,
    /// Stable word for programs, in CamelCase.
    pub code: &'static str,
    /// Sentence for people.
    pub message: Cow<'static, str>,
    /// When a retry makes sense; sent as `Retry-After` in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The JSON body of an [`ApiError`], as written by servers and read by [`crate::client`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable word for programs.
    pub error: String,
    /// Sentence for people.
    pub message: String,
    /// The request this answers; empty when it did not pass the request layer.
    #[serde(default)]
    pub request_id: String,
}

/// Marks a response that already carries the JSON form; the access log reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorCode(pub(crate) &'static str);

impl ApiError {
    /// An error with its own status, code and message.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { status, code, message: message.into(), retry_after: None, headers: Vec::new() }
    }

    /// 400 with code `BadRequest`: the message must name what is wrong.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401 with code `Unauthorized`; `challenge` is sent as `WWW-Authenticate`.
    pub fn unauthorized(challenge: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// 403 with code `Forbidden`.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    /// 404 with code `NotFound`.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// 405 with code `MethodNotAllowed` and the methods that are allowed here.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("this method is not allowed here; allowed: {allow}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
            .with_header(ALLOW, HeaderValue::from_static(allow))
    }

    /// 408 with code `RequestTimeout`; the connection is closed.
    pub fn request_timeout(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", message)
            .with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// 409 with code `Conflict`.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    /// 412 with code `PreconditionFailed`.
    pub fn precondition_failed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message)
    }

    /// 413 with code `TooLarge`, naming the limit.
    pub fn too_large(limit_bytes: u64) -> Self {
        let message = format!("the body is larger than the limit of {limit_bytes} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message)
    }

    /// 416 with code `RangeNotSatisfiable` and `Content-Range: bytes */size`.
    pub fn range_not_satisfiable(size_bytes: u64) -> Self {
        let message = format!("no part of the range lies in the {size_bytes} bytes of this object");
        let error = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "RangeNotSatisfiable", message);
        match HeaderValue::try_from(format!("bytes */{size_bytes}")) {
            Ok(value) => error.with_header(CONTENT_RANGE, value),
            Err(_) => error,
        }
    }

    /// 422 with code `Unprocessable`: well formed, but not something that can be done.
    pub fn unprocessable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Unprocessable", message)
    }

    /// 429 with code `TooManyRequests` and `Retry-After`.
    pub fn too_many_requests(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message)
            .with_retry_after(retry_after)
    }

    /// 500 with code `Internal`. The cause goes to the log, not to the client.
    pub fn internal(cause: impl Display) -> Self {
        tracing::error!(cause = %cause, "internal error");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal", "internal error; see the log")
    }

    /// 503 with code `Unavailable` and `Retry-After`.
    pub fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", message)
            .with_retry_after(retry_after)
    }

    /// 507 with code `InsufficientStorage`.
    pub fn insufficient_storage(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", message)
    }

    /// What to answer when reading a request body failed: 408 for a client that went silent, 413
    /// for a body over its limit, 400 for one that ended early or was not well formed.
    pub fn from_body(error: &(dyn StdError + 'static)) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(stalled) = error.downcast_ref::<BodyStalled>() {
                return Self::request_timeout(stalled.to_string());
            }
            if error.is::<LengthLimitError>() {
                let message = "the body is larger than the limit";
                return Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message);
            }
            cause = error.source();
        }
        let message = "the body ended before its announced length or was not well formed";
        Self::new(StatusCode::BAD_REQUEST, "IncompleteBody", message)
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Another code than the constructor's.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: self.code.to_owned(),
            message: self.message.into_owned(),
            request_id: request::current_id(),
        };
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(ErrorCode(self.code));
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        response
    }
}

fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

/// Gives axum's own plain answers (404, 405, extractor rejections) the JSON form; their headers,
/// such as `Allow`, stay.
pub(crate) async fn in_json_form(response: Response) -> Response {
    if !is_plain_error(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = plain_text(body).await;
    let (code, default) = code_of(parts.status);
    let message = if text.is_empty() || parts.status.is_server_error() {
        Cow::Borrowed(default)
    } else {
        Cow::Owned(text)
    };
    let (new, body) = ApiError::new(parts.status, code, message).into_response().into_parts();
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    parts.headers.extend(new.headers);
    parts.extensions.extend(new.extensions);
    Response::from_parts(parts, body)
}

fn is_plain_error(response: &Response) -> bool {
    let status = response.status();
    let plain = response
        .headers()
        .get(CONTENT_TYPE)
        .is_none_or(|value| value.as_bytes().starts_with(b"text/plain"));
    (status.is_client_error() || status.is_server_error())
        && response.extensions().get::<ErrorCode>().is_none()
        && plain
}

async fn plain_text(body: Body) -> String {
    match Limited::new(body, MAX_PLAIN_TEXT_BYTES).collect().await {
        Ok(text) => String::from_utf8_lossy(&text.to_bytes()).into_owned(),
        Err(_) => String::new(),
    }
}

fn code_of(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::UNAUTHORIZED => ("Unauthorized", "credentials are missing or wrong"),
        StatusCode::FORBIDDEN => ("Forbidden", "this is not allowed"),
        StatusCode::NOT_FOUND => ("NotFound", "nothing is served at this path"),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("MethodNotAllowed", "this method is not allowed here; see Allow")
        }
        StatusCode::REQUEST_TIMEOUT => ("RequestTimeout", "the request took too long"),
        StatusCode::PAYLOAD_TOO_LARGE => ("TooLarge", "the body is larger than the limit"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ("UnsupportedMediaType", "wrong Content-Type"),
        StatusCode::UNPROCESSABLE_ENTITY => ("Unprocessable", "the body cannot be used"),
        StatusCode::SERVICE_UNAVAILABLE => ("Unavailable", "try again later"),
        status if status.is_server_error() => ("Internal", "internal error; see the log"),
        _ => ("BadRequest", "the request cannot be used"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body_of(response: Response) -> ErrorBody {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    #[tokio::test]
    async fn an_error_is_json_and_never_cached() {
        let response =
            ApiError::unavailable("queue full", Duration::from_millis(1500)).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let body = body_of(response).await;
        assert_eq!((body.error.as_str(), body.message.as_str()), ("Unavailable", "queue full"));
    }

    #[tokio::test]
    async fn extra_headers_are_sent() {
        let range = ApiError::range_not_satisfiable(10).into_response();
        assert_eq!(range.headers()[CONTENT_RANGE], "bytes */10");
        let challenge = ApiError::unauthorized("Bearer", "no token").into_response();
        assert_eq!(challenge.headers()[WWW_AUTHENTICATE], "Bearer");
        assert_eq!(ApiError::method_not_allowed("GET").into_response().headers()[ALLOW], "GET");
    }

    #[tokio::test]
    async fn plain_answers_become_json_and_server_texts_stay_inside() {
        let plain = (StatusCode::BAD_REQUEST, "limit: not a number").into_response();
        let body = body_of(in_json_form(plain).await).await;
        assert_eq!(
            (body.error.as_str(), body.message.as_str()),
            ("BadRequest", "limit: not a number")
        );
        let leak = (StatusCode::INTERNAL_SERVER_ERROR, "password=x").into_response();
        let body = body_of(in_json_form(leak).await).await;
        assert_eq!(body.message, "internal error; see the log");
        let fine = in_json_form("hello".into_response()).await;
        assert_eq!(fine.into_body().collect().await.unwrap().to_bytes(), "hello");
    }

    #[test]
    fn body_errors_are_told_apart() {
        let stalled = axum::Error::new(BodyStalled(Duration::from_secs(30)));
        assert_eq!(ApiError::from_body(&stalled).status, 408);
        assert_eq!(ApiError::from_body(&axum::Error::new(std::fmt::Error)).code, "IncompleteBody");
    }
}
