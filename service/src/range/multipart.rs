//! Several pieces of one object in one answer.

use std::future::ready;
use std::ops::Range;

use axum::body::Bytes;
use axum::http::HeaderValue;
use futures::{Stream, StreamExt as _, TryFutureExt as _, stream};

use crate::random;

/// A `multipart/byteranges` answer whose exact length is known before the first byte is read.
#[derive(Debug, Clone)]
pub struct Multipart {
    boundary: String,
    parts: Vec<Part>,
    tail: Bytes,
}

#[derive(Debug, Clone)]
struct Part {
    head: Bytes,
    range: Range<u64>,
}

impl Multipart {
    /// Lays out `ranges` (of [`super::Selection::Multi`]) of an object of `size_bytes`;
    /// `content_type` is the object's own and stands in every part.
    pub fn new(ranges: Vec<Range<u64>>, size_bytes: u64, content_type: &HeaderValue) -> Self {
        Self::with_boundary(random::hex::<16>(), ranges, size_bytes, content_type)
    }

    fn with_boundary(
        boundary: String,
        ranges: Vec<Range<u64>>,
        size_bytes: u64,
        content_type: &HeaderValue,
    ) -> Self {
        let part = |range: Range<u64>| {
            let mut head = format!("\r\n--{boundary}\r\nContent-Type: ").into_bytes();
            head.extend_from_slice(content_type.as_bytes());
            let position = content_range_text(&range, size_bytes);
            head.extend_from_slice(format!("\r\nContent-Range: {position}\r\n\r\n").as_bytes());
            Part { head: head.into(), range }
        };
        let parts = ranges.into_iter().map(part).collect();
        let tail = format!("\r\n--{boundary}--\r\n").into();
        Self { boundary, parts, tail }
    }

    /// `Content-Type` of the answer.
    pub fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/byteranges; boundary={}", self.boundary);
        // Hex digits are always a header value.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// `Content-Length` of the answer, bytes.
    pub fn content_length(&self) -> u64 {
        let parts =
            self.parts.iter().map(|part| length(&part.head) + part.range.end - part.range.start);
        parts.sum::<u64>() + length(&self.tail)
    }

    /// The answer's bytes. `open` finds the bytes of one range, exactly as many as it is long: of
    /// the first one before this returns, of each other one when its turn comes.
    pub async fn into_stream<F, O, S, E>(
        self,
        mut open: F,
    ) -> Result<impl Stream<Item = Result<Bytes, E>>, E>
    where
        F: FnMut(Range<u64>) -> O,
        O: Future<Output = Result<S, E>>,
        S: Stream<Item = Result<Bytes, E>>,
    {
        let mut parts = self.parts.into_iter();
        let first = match parts.next() {
            Some(Part { head, range }) => Some(piece(head).chain(open(range).await?)),
            None => None,
        };
        let others = stream::iter(parts)
            .flat_map(move |part| piece(part.head).chain(open(part.range).try_flatten_stream()));
        Ok(stream::iter(first).flatten().chain(others).chain(piece(self.tail)))
    }
}

fn piece<E>(bytes: Bytes) -> impl Stream<Item = Result<Bytes, E>> {
    stream::once(ready(Ok(bytes)))
}

/// A `usize` of bytes in memory as the `u64` that HTTP counts with.
fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

pub(super) fn content_range_text(range: &Range<u64>, size_bytes: u64) -> String {
    format!("bytes {}-{}/{size_bytes}", range.start, range.end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const OBJECT: &[u8] = b"0123456789";

    async fn text(multipart: Multipart) -> String {
        let open = |range: Range<u64>| {
            let (start, end) =
                (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
            let (left, right) = OBJECT[start..end].split_at((end - start) / 2);
            let halves = [Bytes::from_static(left), Bytes::from_static(right)];
            ready(Ok::<_, Infallible>(stream::iter(halves.map(Ok))))
        };
        let pieces: Vec<_> =
            multipart.into_stream(open).await.unwrap().map(Result::unwrap).collect().await;
        String::from_utf8(pieces.concat()).unwrap()
    }

    #[tokio::test]
    async fn parts_are_interleaved_with_their_heads() {
        let ranges = vec![0..2, 7..10];
        let jpeg = HeaderValue::from_static("image/jpeg");
        let multipart = Multipart::with_boundary("B".to_owned(), ranges, 10, &jpeg);
        assert_eq!(multipart.content_type(), "multipart/byteranges; boundary=B");
        let length = multipart.content_length();
        let text = text(multipart).await;
        assert_eq!(
            text,
            "\r\n--B\r\nContent-Type: image/jpeg\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--B\r\nContent-Type: image/jpeg\r\nContent-Range: bytes 7-9/10\r\n\r\n789\
             \r\n--B--\r\n"
        );
        assert_eq!(length, text.len() as u64);
    }

    #[tokio::test]
    async fn boundaries_differ() {
        let plain = HeaderValue::from_static("text/plain");
        let new = || Multipart::new(vec![0..1, 2..3], 10, &plain);
        assert_ne!(new().content_type(), new().content_type());
    }
}
