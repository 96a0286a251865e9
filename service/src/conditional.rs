//! Conditional requests: `If-Match`, `If-None-Match`, `If-Modified-Since`, `If-Unmodified-Since`.
//!
//! [`evaluate`] follows RFC 9110 section 13.2.2: its order, strong comparison for `If-Match`, weak
//! for `If-None-Match`, dates only where no entity tag condition of the same kind was sent, and
//! dates that cannot be read ignored. `If-Range` belongs to [`crate::range`].

use std::time::SystemTime;

use axum::http::{HeaderMap, Method};
use headers::{
    HeaderMapExt as _, IfMatch, IfModifiedSince, IfNoneMatch, IfUnmodifiedSince, LastModified,
};

pub use headers::ETag;

/// What is known of a stored representation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Validators {
    /// Its entity tag; `ETag::from_str` wants the quotes.
    pub etag: Option<ETag>,
    /// When it was last changed; compared in whole seconds, as HTTP dates are.
    pub last_modified: Option<SystemTime>,
}

impl Validators {
    /// Sends the validators with an answer, as 200, 206 and 304 need.
    pub fn write(self, headers: &mut HeaderMap) {
        if let Some(etag) = self.etag {
            headers.typed_insert(etag);
        }
        if let Some(time) = self.last_modified {
            headers.typed_insert(LastModified::from(time));
        }
    }
}

/// What to do with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Do as asked.
    Proceed,
    /// Answer 304 with the validators and no body.
    NotModified,
    /// Answer 412 and change nothing.
    PreconditionFailed,
}

/// Decides by the request's conditions; `current` is `None` when nothing is stored there.
///
/// The decision holds only for what `current` describes: a write must hand its condition on to
/// whoever can compare and commit in one step.
pub fn evaluate(method: &Method, headers: &HeaderMap, current: Option<&Validators>) -> Outcome {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if !may_touch_this_version(headers, current) {
        Outcome::PreconditionFailed
    } else if is_news(headers, current, is_read) {
        Outcome::Proceed
    } else if is_read {
        Outcome::NotModified
    } else {
        Outcome::PreconditionFailed
    }
}

/// Steps 1 and 2: `If-Match`, else `If-Unmodified-Since`.
fn may_touch_this_version(headers: &HeaderMap, current: Option<&Validators>) -> bool {
    if let Some(condition) = headers.typed_get::<IfMatch>() {
        let Some(current) = current else { return false };
        let etag = current.etag.as_ref();
        return condition.is_any() || etag.is_some_and(|tag| condition.precondition_passes(tag));
    }
    match (headers.typed_get::<IfUnmodifiedSince>(), last_modified(current)) {
        (Some(condition), Some(time)) => condition.precondition_passes(time),
        _ => true,
    }
}

/// Steps 3 and 4: `If-None-Match`, else `If-Modified-Since`, which only reads have.
fn is_news(headers: &HeaderMap, current: Option<&Validators>, is_read: bool) -> bool {
    if let Some(condition) = headers.typed_get::<IfNoneMatch>() {
        let Some(current) = current else { return true };
        let etag = current.etag.as_ref();
        return condition != IfNoneMatch::any()
            && etag.is_none_or(|tag| condition.precondition_passes(tag));
    }
    match (headers.typed_get::<IfModifiedSince>(), last_modified(current)) {
        (Some(condition), Some(time)) if is_read => condition.is_modified(time),
        _ => true,
    }
}

fn last_modified(current: Option<&Validators>) -> Option<SystemTime> {
    current.and_then(|validators| validators.last_modified)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::{HeaderName, HeaderValue};

    use super::Outcome::{NotModified, PreconditionFailed, Proceed};
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn stored() -> Validators {
        Validators {
            etag: Some("\"abc\"".parse().unwrap()),
            last_modified: Some(
                SystemTime::UNIX_EPOCH
                    + Duration::from_secs(784_111_777)
                    + Duration::from_millis(600),
            ),
        }
    }

    /// Conditions, and what they mean for a GET and for a PUT.
    type Case<'a> = (&'a [(&'a str, &'a str)], Outcome, Outcome);

    fn outcome(
        method: &Method,
        conditions: &[(&str, &str)],
        current: Option<&Validators>,
    ) -> Outcome {
        let headers = conditions
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
            })
            .fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            });
        evaluate(method, &headers, current)
    }

    #[test]
    fn conditions_on_what_is_stored() {
        let cases: &[Case<'_>] = &[
            (&[], Proceed, Proceed),
            (&[("if-match", "\"abc\"")], Proceed, Proceed),
            (&[("if-match", "*")], Proceed, Proceed),
            (&[("if-match", "\"x\", \"abc\"")], Proceed, Proceed),
            (&[("if-match", "\"x\""), ("if-match", "\"abc\"")], Proceed, Proceed),
            (&[("if-match", "\"x\"")], PreconditionFailed, PreconditionFailed),
            (&[("if-match", "W/\"abc\"")], PreconditionFailed, PreconditionFailed),
            (&[("if-match", "junk")], PreconditionFailed, PreconditionFailed),
            (&[("if-unmodified-since", AFTER)], Proceed, Proceed),
            (&[("if-unmodified-since", SAME)], Proceed, Proceed),
            (&[("if-unmodified-since", BEFORE)], PreconditionFailed, PreconditionFailed),
            (&[("if-unmodified-since", "yesterday")], Proceed, Proceed),
            (&[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)], Proceed, Proceed),
            (&[("if-none-match", "\"abc\"")], NotModified, PreconditionFailed),
            (&[("if-none-match", "W/\"abc\"")], NotModified, PreconditionFailed),
            (&[("if-none-match", "\"x\", W/\"abc\"")], NotModified, PreconditionFailed),
            (&[("if-none-match", "*")], NotModified, PreconditionFailed),
            (&[("if-none-match", "\"x\"")], Proceed, Proceed),
            (&[("if-modified-since", SAME)], NotModified, Proceed),
            (&[("if-modified-since", AFTER)], NotModified, Proceed),
            (&[("if-modified-since", BEFORE)], Proceed, Proceed),
            (&[("if-modified-since", "0")], Proceed, Proceed),
            (&[("if-none-match", "\"x\""), ("if-modified-since", SAME)], Proceed, Proceed),
            (
                &[("if-match", "\"x\""), ("if-none-match", "\"abc\"")],
                PreconditionFailed,
                PreconditionFailed,
            ),
            (
                &[("if-match", "\"abc\""), ("if-none-match", "\"abc\"")],
                NotModified,
                PreconditionFailed,
            ),
        ];
        for (conditions, get, put) in cases {
            assert_eq!(
                outcome(&Method::GET, conditions, Some(&stored())),
                *get,
                "GET {conditions:?}"
            );
            assert_eq!(outcome(&Method::HEAD, conditions, Some(&stored())), *get);
            assert_eq!(
                outcome(&Method::PUT, conditions, Some(&stored())),
                *put,
                "PUT {conditions:?}"
            );
        }
    }

    #[test]
    fn conditions_on_nothing() {
        for (name, value, expected) in [
            ("if-none-match", "*", Proceed),
            ("if-none-match", "\"abc\"", Proceed),
            ("if-match", "*", PreconditionFailed),
            ("if-match", "\"abc\"", PreconditionFailed),
            ("if-unmodified-since", BEFORE, Proceed),
            ("if-modified-since", AFTER, Proceed),
        ] {
            assert_eq!(outcome(&Method::PUT, &[(name, value)], None), expected, "{name}: {value}");
        }
    }

    #[test]
    fn validators_are_written() {
        let mut headers = HeaderMap::new();
        stored().write(&mut headers);
        assert_eq!(headers["etag"], "\"abc\"");
        assert_eq!(headers["last-modified"], SAME);
    }
}
