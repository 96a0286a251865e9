//! Why a request to a peer failed, and whose fault it was.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper_util::client::legacy;

use crate::error::ErrorBody;

/// Largest error answer that is read.
const MAX_ERROR_BYTES: usize = 64 * 1024;

type BoxError = Box<dyn StdError + Send + Sync>;

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL cannot be used: our mistake or the operator's.
    #[error("cannot use the URL {url}: {reason}")]
    BadUrl {
        /// The URL.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The JSON body could not be written: our mistake.
    #[error("cannot encode the request: {0}")]
    Encode(#[source] serde_json::Error),
    /// Nothing listens there. The request was not seen; it may be sent elsewhere.
    #[error("nothing listens at {url}; is the server running?")]
    Refused {
        /// The URL.
        url: String,
    },
    /// The peer was not reached otherwise: timeout, no route, unknown host. The request was not
    /// seen; it may be sent elsewhere.
    #[error("cannot reach {url}: {source}")]
    Connect {
        /// The URL.
        url: String,
        /// Whether time ran out, rather than the network saying no.
        timed_out: bool,
        /// What the network said.
        source: BoxError,
    },
    /// The answer took too long. The peer may have done what was asked.
    #[error("no answer from {url} within {after:?}")]
    Timeout {
        /// The URL.
        url: String,
        /// The limit.
        after: Duration,
    },
    /// The connection broke or spoke no HTTP. The peer may have done what was asked.
    #[error("the exchange with {url} broke off: {source}")]
    Broken {
        /// The URL.
        url: String,
        /// What happened.
        source: BoxError,
    },
    /// The answer is larger than the caller takes.
    #[error("the answer of {url} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The URL.
        url: String,
        /// The limit.
        limit_bytes: usize,
    },
    /// The answer is not the JSON that was expected.
    #[error("cannot read the answer of {url}: {source}")]
    Decode {
        /// The URL.
        url: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The server answered with an error.
    #[error(transparent)]
    Status(Box<StatusError>),
}

/// An answer of 400 and above, in the server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url} answered {}: {} (request {})", status, body.message, body.request_id)]
pub struct StatusError {
    /// The URL.
    pub url: String,
    /// HTTP status.
    pub status: StatusCode,
    /// The decoded body; made up from the status when the answer was not in our form.
    pub body: ErrorBody,
    /// When the server asks to come back.
    pub retry_after: Option<Duration>,
    /// All headers of the answer.
    pub headers: HeaderMap,
}

impl ClientError {
    /// Whether the peer certainly did not see the request.
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::BadUrl { .. } | Self::Encode(_) | Self::Refused { .. } | Self::Connect { .. }
        )
    }

    /// Whether the peer could not be spoken with, as against an answer we did not like.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Connect { .. }
                | Self::Timeout { .. }
                | Self::Broken { .. }
        )
    }

    /// The status of the server's answer, if it answered with an error.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status(error) => Some(error.status),
            _ => None,
        }
    }

    pub(super) fn from_exchange(url: &str, cause: legacy::Error) -> Self {
        let url = url.to_owned();
        let kind = io_kind(&cause);
        match (cause.is_connect(), kind) {
            (true, Some(io::ErrorKind::ConnectionRefused)) => Self::Refused { url },
            (true, kind) => Self::Connect {
                url,
                timed_out: kind == Some(io::ErrorKind::TimedOut),
                source: root(cause),
            },
            (false, _) => Self::Broken { url, source: root(cause) },
        }
    }

    pub(super) fn from_body(url: &str, limit_bytes: usize, cause: BoxError) -> Self {
        let url = url.to_owned();
        if cause.is::<LengthLimitError>() {
            Self::TooLarge { url, limit_bytes }
        } else {
            Self::Broken { url, source: cause }
        }
    }
}

/// hyper's outer errors only say in which phase it happened; people want the innermost.
fn root(cause: legacy::Error) -> BoxError {
    let innermost = std::iter::successors(cause.source(), |&error| error.source()).last();
    match innermost.map(ToString::to_string) {
        Some(text) => text.into(),
        None => cause.into(),
    }
}

fn io_kind(cause: &(dyn StdError + 'static)) -> Option<io::ErrorKind> {
    std::iter::successors(Some(cause), |&error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>())
        .map(io::Error::kind)
}

impl StatusError {
    pub(super) async fn read(url: String, response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let text = match Limited::new(body, MAX_ERROR_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => axum::body::Bytes::new(),
        };
        let header = |name: &str| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        let made_up = || ErrorBody {
            error: String::new(),
            message: parts.status.canonical_reason().unwrap_or("unknown error").to_owned(),
            request_id: header("x-request-id").unwrap_or_default(),
        };
        Self {
            url,
            status: parts.status,
            body: serde_json::from_slice(&text).unwrap_or_else(|_| made_up()),
            retry_after: header(RETRY_AFTER.as_str())
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
            headers: parts.headers,
        }
    }
}
