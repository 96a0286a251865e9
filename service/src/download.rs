//! Sending a stored object: conditions, ranges and HEAD in one place.

use std::ops::Range;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, IF_MATCH, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures::Stream;

use crate::ApiError;
use crate::conditional::{Outcome, Validators, evaluate};
use crate::range::{Multipart, Selection, content_range, select};

/// What is known of an object before its first byte is read.
#[derive(Debug, Clone)]
pub struct Content {
    /// Its media type.
    pub content_type: HeaderValue,
    /// Its size.
    pub size_bytes: u64,
    /// Its entity tag and date.
    pub validators: Validators,
    /// Headers that go with every answer that has the object, 304 included.
    pub headers: HeaderMap,
}

/// Answers a GET or HEAD with `content`, as its conditions and ranges ask.
///
/// `open` finds the bytes of one range. It is called only when bytes are to be sent, and the first
/// time before the head of the answer is: what cannot be opened is still an error of its own.
/// Where a stream ends in an error, the connection is cut, so that the client sees a broken
/// answer and not a short one.
///
/// # Errors
/// What the first `open` answers; every other outcome is a response.
pub async fn respond<F, O, S, E>(
    method: &Method,
    request: &HeaderMap,
    content: Content,
    mut open: F,
) -> Result<Response, E>
where
    F: FnMut(Range<u64>) -> O + Send + 'static,
    O: Future<Output = Result<S, E>> + Send + 'static,
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: Into<axum::BoxError> + Send + 'static,
{
    match evaluate(method, request, Some(&content.validators)) {
        Outcome::Proceed => {}
        Outcome::NotModified => {
            return Ok(content.answer(StatusCode::NOT_MODIFIED, Body::empty()));
        }
        Outcome::PreconditionFailed => {
            let message = "the object is not the one that the request's conditions ask for";
            return Ok(ApiError::precondition_failed(message).into_response());
        }
    }
    let size = content.size_bytes;
    if *method == Method::HEAD {
        return Ok(content.sized(StatusCode::OK, size, Body::empty()));
    }
    Ok(match select(request, size, &content.validators) {
        Selection::Whole if size == 0 => content.sized(StatusCode::OK, 0, Body::empty()),
        Selection::Whole => {
            let body = Body::from_stream(open(0..size).await?);
            content.sized(StatusCode::OK, size, body)
        }
        Selection::Single(range) => {
            let body = Body::from_stream(open(range.clone()).await?);
            content.part(&range, body)
        }
        Selection::Multi(ranges) => {
            let parts = Multipart::new(ranges, size, &content.content_type);
            let (length, content_type) = (parts.content_length(), parts.content_type());
            let body = Body::from_stream(parts.into_stream(open).await?);
            let mut answer = content.sized(StatusCode::PARTIAL_CONTENT, length, body);
            answer.headers_mut().insert(CONTENT_TYPE, content_type);
            answer
        }
        Selection::Unsatisfiable => ApiError::range_not_satisfiable(size).into_response(),
    })
}

/// Answers a GET with `content`, all of which is `data`, as its conditions and range ask. `None` for
/// what is rarer than that: errors, and several ranges. [`respond`] answers those.
pub fn respond_at_once(
    request: &HeaderMap,
    content: Content,
    data: Bytes,
) -> Option<Response<Bytes>> {
    match evaluate(&Method::GET, request, Some(&content.validators)) {
        Outcome::Proceed => {}
        Outcome::NotModified => {
            return Some(content.answer(StatusCode::NOT_MODIFIED, Bytes::new()));
        }
        Outcome::PreconditionFailed => return None,
    }
    let size = content.size_bytes;
    match select(request, size, &content.validators) {
        Selection::Whole => Some(content.sized(StatusCode::OK, size, data)),
        Selection::Single(range) => {
            let (start, end) =
                (usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?);
            let part = (end <= data.len()).then(|| data.slice(start..end))?;
            Some(content.part(&range, part))
        }
        Selection::Multi(_) | Selection::Unsatisfiable => None,
    }
}

/// Whether a GET asks for all of the object, whatever it is.
pub fn asks_for_all(request: &HeaderMap) -> bool {
    let others = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE, RANGE];
    !others.iter().any(|name| request.contains_key(name))
}

impl Content {
    /// An answer with one range.
    fn part<B>(self, range: &Range<u64>, body: B) -> Response<B> {
        let position = content_range(range, self.size_bytes);
        let mut answer = self.sized(StatusCode::PARTIAL_CONTENT, range.end - range.start, body);
        answer.headers_mut().insert(CONTENT_RANGE, position);
        answer
    }

    /// An answer with the body's length and type.
    fn sized<B>(self, status: StatusCode, length: u64, body: B) -> Response<B> {
        let content_type = self.content_type.clone();
        let mut answer = self.answer(status, body);
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
        answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        answer
    }

    fn answer<B>(self, status: StatusCode, body: B) -> Response<B> {
        let mut answer = Response::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = self.headers;
        self.validators.write(answer.headers_mut());
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::ready;

    use axum::http::Request;
    use futures::stream::Empty;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::conditional::ETag;

    const OBJECT: &[u8] = b"0123456789";

    fn content() -> Content {
        let etag = "\"v1\"".parse::<ETag>().ok();
        let content_type = HeaderValue::from_static("text/plain");
        let validators = Validators { etag, last_modified: None };
        Content { content_type, size_bytes: 10, validators, headers: HeaderMap::new() }
    }

    async fn ask(method: Method, headers: &[(&str, &str)]) -> (u16, HeaderMap, Vec<u8>) {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let open = |range: Range<u64>| {
            let at = |position| usize::try_from(position).unwrap();
            let piece = Bytes::from_static(&OBJECT[at(range.start)..at(range.end)]);
            ready(Ok::<_, Infallible>(futures::stream::iter([Ok(piece)])))
        };
        let answer = respond(&method, request.headers(), content(), open).await.unwrap();
        let (head, body) = answer.into_parts();
        (head.status.as_u16(), head.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn whole_part_and_parts() {
        let (status, headers, body) = ask(Method::GET, &[]).await;
        assert_eq!((status, &body[..]), (200, OBJECT));
        assert_eq!(
            (&headers["content-length"], &headers["etag"]),
            (&"10".parse().unwrap(), &"\"v1\"".parse().unwrap())
        );
        let (status, headers, body) = ask(Method::GET, &[("range", "bytes=2-4")]).await;
        assert_eq!((status, &body[..]), (206, &b"234"[..]));
        assert_eq!(
            (&headers["content-length"], &headers["content-range"]),
            (&"3".parse().unwrap(), &"bytes 2-4/10".parse().unwrap())
        );
        let (status, headers, body) = ask(Method::GET, &[("range", "bytes=0-0,-1")]).await;
        assert_eq!(status, 206);
        assert_eq!(headers["content-length"].to_str().unwrap(), body.len().to_string());
        assert!(headers["content-type"].to_str().unwrap().starts_with("multipart/byteranges"));
        assert_eq!(ask(Method::GET, &[("range", "bytes=10-")]).await.0, 416);
    }

    #[tokio::test]
    async fn head_and_conditions_send_no_bytes() {
        let (status, headers, body) = ask(Method::HEAD, &[("range", "bytes=2-4")]).await;
        assert_eq!(
            (status, headers["content-length"].to_str().unwrap(), body.len()),
            (200, "10", 0)
        );
        let (status, headers, body) = ask(Method::GET, &[("if-none-match", "\"v1\"")]).await;
        assert_eq!((status, headers.contains_key("content-length"), body.len()), (304, false, 0));
        assert_eq!(headers["etag"], "\"v1\"");
        assert_eq!(ask(Method::GET, &[("if-match", "\"v2\"")]).await.0, 412);
    }

    #[tokio::test]
    async fn what_cannot_be_opened_is_an_error_and_no_broken_answer() {
        for range in ["", "bytes=2-4", "bytes=0-0,-1"] {
            let mut headers = HeaderMap::new();
            headers.insert("range", range.parse().unwrap());
            let open = |_| ready(Err::<Empty<Result<Bytes, &str>>, _>("gone"));
            let answer = respond(&Method::GET, &headers, content(), open).await;
            assert_eq!(answer.err(), Some("gone"), "{range}");
        }
    }
}
