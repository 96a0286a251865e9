//! Who a request is: its id and its place in a distributed trace.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue};

use super::{TRACEPARENT, X_REQUEST_ID};
use crate::random;

const MAX_REQUEST_ID_BYTES: usize = 64;

tokio::task_local! {
    static CURRENT: Context;
}

/// The id of one request: 1 to 64 visible ASCII characters. Kept as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// A new id: 16 random bytes in hex.
    pub fn generate() -> Self {
        Self::of(random::hex::<16>())
    }

    /// Takes a client's id if it is short and printable.
    pub fn parse(value: &str) -> Option<Self> {
        let sane = (1..=MAX_REQUEST_ID_BYTES).contains(&value.len())
            && value.bytes().all(|byte| byte.is_ascii_graphic());
        sane.then(|| Self::of(value.to_owned()))
    }

    fn of(text: String) -> Self {
        // Visible ASCII is always a header value.
        Self(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&RequestId> for HeaderValue {
    fn from(id: &RequestId) -> Self {
        id.0.clone()
    }
}

/// A valid W3C `traceparent`: `version-traceid-parentid-flags`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceParent(Arc<str>);

impl TraceParent {
    /// Checks lengths, lower-case hex, and that no id is all zero.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split('-');
        let (version, trace, parent, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let well_formed = is_hex(version, 2)
            && version != "ff"
            && (version != "00" || parts.next().is_none())
            && is_hex(trace, 32)
            && is_hex(parent, 16)
            && is_hex(flags, 2)
            && !all_zero(trace)
            && !all_zero(parent)
            && value.len() <= 128;
        well_formed.then(|| Self(value.into()))
    }

    /// The 32 hex digits that name the whole trace.
    pub fn trace_id(&self) -> &str {
        self.0.split('-').nth(1).unwrap_or_default()
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn all_zero(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'0')
}

/// What travels with a request through this process and on to peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Finds the request in logs.
    pub request_id: RequestId,
    /// Trace context, when the client sent a valid one.
    pub trace: Option<TraceParent>,
}

impl Context {
    /// Reads the context of an incoming request.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        Self {
            request_id: text(X_REQUEST_ID)
                .and_then(RequestId::parse)
                .unwrap_or_else(RequestId::generate),
            trace: text(TRACEPARENT).and_then(TraceParent::parse),
        }
    }

    /// Runs `work` under this context, so that [`current`] finds it. Needed by hand only for
    /// tasks that are spawned away from the handler.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The same for one poll of an answer's body.
    pub(super) fn sync_scope<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), work)
    }
}

/// The context of the request that this task serves.
pub fn current() -> Option<Context> {
    CURRENT.try_with(Clone::clone).ok()
}

/// The id of the request that this task serves; empty outside of one.
pub fn current_id() -> String {
    CURRENT.try_with(|context| context.request_id.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_ids_are_taken() {
        for good in ["a", "9f1c-ab", &"x".repeat(64)] {
            assert_eq!(RequestId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\tb", "é", &"x".repeat(65)] {
            assert_eq!(RequestId::parse(bad), None, "{bad:?}");
        }
        assert_ne!(RequestId::generate(), RequestId::generate());
        assert_eq!(RequestId::generate().as_str().len(), 32);
    }

    #[test]
    fn traceparent_is_checked() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let good = format!("00-{trace}-{parent}-01");
        assert_eq!(TraceParent::parse(&good).unwrap().trace_id(), trace);
        assert!(TraceParent::parse(&format!("01-{trace}-{parent}-01-more")).is_some());
        for bad in [
            String::new(),
            format!("00-{trace}-{parent}"),
            format!("ff-{trace}-{parent}-01"),
            format!("00-{trace}-{parent}-01-more"),
            format!("00-{}-{parent}-01", trace.to_uppercase()),
            format!("00-{}-{parent}-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
        ] {
            assert_eq!(TraceParent::parse(&bad), None, "{bad}");
        }
    }
}
