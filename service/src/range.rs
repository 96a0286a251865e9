//! `Range` requests over an object whose size is known (RFC 9110 section 14).
//!
//! [`select`] says which bytes to send, [`Multipart`] how to send several pieces in one answer.
//!
//! | request | answer |
//! |---|---|
//! | no `Range`, or one that cannot be read, is in another unit or has over [`MAX_RANGES`] parts | whole, 200 |
//! | `If-Range` that does not match exactly | whole, 200 |
//! | parts that overlap: nobody needs a byte twice | whole, 200 |
//! | a suffix of an empty object | whole, 200 |
//! | one part that lies in the object | 206 with `Content-Range` |
//! | several of them | 206 `multipart/byteranges`, in the order asked for |
//! | no part lies in the object | 416, see [`ApiError::range_not_satisfiable`] |
//!
//! Parsed by hand: the public parsers refuse forms that RFC 9110 allows (blanks and empty elements
//! in the list, leading zeros, suffixes longer than the object).
//!
//! [`ApiError::range_not_satisfiable`]: crate::ApiError::range_not_satisfiable

mod multipart;

use std::ops::Range;
use std::time::SystemTime;

use axum::http::header::{IF_RANGE, RANGE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub use multipart::Multipart;

use crate::conditional::{ETag, Validators};

/// Most parts in one request; with more the header is ignored.
pub const MAX_RANGES: usize = 16;

/// The bytes to send. Ranges are half open, never empty, and lie inside the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with status 200.
    Whole,
    /// One piece, with status 206 and [`content_range`].
    Single(Range<u64>),
    /// Two or more pieces, with status 206 and [`Multipart`].
    Multi(Vec<Range<u64>>),
    /// None of the pieces exists: 416.
    Unsatisfiable,
}

/// Reads `Range` and `If-Range` of a GET for an object of `size_bytes`.
///
/// Call it after [`crate::conditional::evaluate`] said to proceed, and for GET only; other methods
/// have no ranges.
pub fn select(headers: &HeaderMap, size_bytes: u64, validators: &Validators) -> Selection {
    match only(headers, &RANGE).and_then(parse) {
        Some(specs) if if_range_holds(headers, validators) => resolve(&specs, size_bytes),
        _ => Selection::Whole,
    }
}

/// `Content-Range` of one piece.
pub fn content_range(range: &Range<u64>, size_bytes: u64) -> HeaderValue {
    let text = multipart::content_range_text(range, size_bytes);
    // Digits and ASCII punctuation are always a header value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    From { first: u64, last: Option<u64> },
    Suffix { length: u64 },
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// The parts of a well-formed byte range set that is not too long.
fn parse(value: &str) -> Option<Vec<Spec>> {
    let (unit, set) = value.split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let elements = set.split(',').map(|part| part.trim_matches([' ', '\t']));
    let specs: Option<Vec<Spec>> =
        elements.filter(|part| !part.is_empty()).take(MAX_RANGES + 1).map(parse_spec).collect();
    specs.filter(|specs| (1..=MAX_RANGES).contains(&specs.len()))
}

fn parse_spec(part: &str) -> Option<Spec> {
    match part.split_once('-')? {
        ("", length) => Some(Spec::Suffix { length: number(length)? }),
        (first, "") => Some(Spec::From { first: number(first)?, last: None }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From { first, last: Some(last) })
        }
    }
}

/// A decimal number of any length; what no object can reach counts as the largest one.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn resolve(specs: &[Spec], size_bytes: u64) -> Selection {
    let mut ranges: Vec<Range<u64>> =
        specs.iter().filter_map(|spec| spec.within(size_bytes)).collect();
    match ranges.len() {
        0 => Selection::Unsatisfiable,
        _ if size_bytes == 0 || overlap(&ranges) => Selection::Whole,
        1 => ranges.pop().map_or(Selection::Whole, Selection::Single),
        _ => Selection::Multi(ranges),
    }
}

impl Spec {
    fn within(self, size_bytes: u64) -> Option<Range<u64>> {
        match self {
            Self::From { first, last } => {
                let end = last.map_or(size_bytes, |last| last.saturating_add(1).min(size_bytes));
                (first < end).then_some(first..end)
            }
            // A suffix of an empty object is satisfiable by RFC 9110, and empty.
            Self::Suffix { length } => {
                (length > 0).then(|| size_bytes.saturating_sub(length)..size_bytes)
            }
        }
    }
}

fn overlap(ranges: &[Range<u64>]) -> bool {
    let mut sorted: Vec<&Range<u64>> = ranges.iter().collect();
    sorted.sort_unstable_by_key(|range| range.start);
    !sorted.is_sorted_by(|a, b| a.end <= b.start)
}

/// Without `If-Range` it holds. An entity tag must match strongly, a date exactly.
fn if_range_holds(headers: &HeaderMap, validators: &Validators) -> bool {
    if !headers.contains_key(IF_RANGE) {
        return true;
    }
    let Some(value) = only(headers, &IF_RANGE) else { return false };
    if let Ok(sent) = value.parse::<ETag>() {
        return !sent.is_weak() && validators.etag.as_ref() == Some(&sent);
    }
    match (httpdate::parse_http_date(value), validators.last_modified) {
        (Ok(sent), Some(stored)) => whole_seconds(sent) == whole_seconds(stored),
        _ => false,
    }
}

fn whole_seconds(time: SystemTime) -> Option<u64> {
    time.duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Selection::{Multi, Single, Unsatisfiable, Whole};
    use super::*;

    fn selected(range: &str, size_bytes: u64) -> Selection {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range.parse().unwrap());
        select(&headers, size_bytes, &Validators::default())
    }

    #[test]
    fn single_ranges() {
        for (range, expected) in [
            ("bytes=0-0", Single(0..1)),
            ("bytes=0-9", Single(0..10)),
            ("bytes=2-5", Single(2..6)),
            ("bytes=5-", Single(5..10)),
            ("bytes=0-", Single(0..10)),
            ("bytes=9-9", Single(9..10)),
            ("bytes=5-100", Single(5..10)),
            ("bytes=5-99999999999999999999999", Single(5..10)),
            ("bytes=5-18446744073709551615", Single(5..10)),
            ("bytes=-3", Single(7..10)),
            ("bytes=-10", Single(0..10)),
            ("bytes=-11", Single(0..10)),
            ("bytes=-99999999999999999999999", Single(0..10)),
            ("bytes=007-008", Single(7..9)),
            ("BYTES=1-2", Single(1..3)),
            ("bytes= 1-2", Single(1..3)),
            ("bytes=,1-2,,", Single(1..3)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-20", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
        ] {
            assert_eq!(selected(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        for range in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=1-b",
            "bytes=+1-2",
            "bytes=5-4",
            "bytes=1-2,x",
            "bytes=1-2,5-4",
            "bytes=--1",
            "bytes=1 - 2",
            "items=0-1",
            "bytes =0-1",
            "0-1",
            "bytes=0x1-2",
            "bytes=1.0-2",
        ] {
            assert_eq!(selected(range, 10), Whole, "{range}");
        }
        let mut twice = HeaderMap::new();
        twice.append(RANGE, "bytes=0-1".parse().unwrap());
        twice.append(RANGE, "bytes=2-3".parse().unwrap());
        assert_eq!(select(&twice, 10, &Validators::default()), Whole);
    }

    #[test]
    fn several_ranges() {
        for (range, expected) in [
            ("bytes=0-1,4-5", Multi(vec![0..2, 4..6])),
            ("bytes=4-5 ,\t0-1", Multi(vec![4..6, 0..2])),
            ("bytes=0-1,2-3", Multi(vec![0..2, 2..4])),
            ("bytes=0-0,-1", Multi(vec![0..1, 9..10])),
            ("bytes=0-1,20-30", Single(0..2)),
            ("bytes=0-1,-0", Single(0..2)),
            ("bytes=20-30,40-", Unsatisfiable),
            ("bytes=0-5,5-6", Whole),
            ("bytes=0-,0-,0-", Whole),
            ("bytes=5-,-5", Whole),
        ] {
            assert_eq!(selected(range, 10), expected, "{range}");
        }
        let set = |n: u64| (0..n).map(|i| format!("{0}-{0}", i * 2)).collect::<Vec<_>>().join(",");
        assert!(matches!(selected(&format!("bytes={}", set(16)), 100), Multi(r) if r.len() == 16));
        assert_eq!(selected(&format!("bytes={}", set(17)), 100), Whole);
    }

    #[test]
    fn empty_and_one_byte_objects() {
        for (range, empty, one) in [
            ("bytes=0-", Unsatisfiable, Single(0..1)),
            ("bytes=0-0", Unsatisfiable, Single(0..1)),
            ("bytes=1-", Unsatisfiable, Unsatisfiable),
            ("bytes=-1", Whole, Single(0..1)),
            ("bytes=-5", Whole, Single(0..1)),
            ("bytes=-0", Unsatisfiable, Unsatisfiable),
        ] {
            assert_eq!(selected(range, 0), empty, "{range} of nothing");
            assert_eq!(selected(range, 1), one, "{range} of one byte");
        }
    }

    #[test]
    fn if_range_wants_the_exact_version() {
        let stored = Validators {
            etag: Some("\"abc\"".parse().unwrap()),
            last_modified: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_600)),
        };
        let selected = |condition: &str, validators: &Validators| {
            let mut headers = HeaderMap::new();
            headers.insert(RANGE, "bytes=20-".parse().unwrap());
            headers.insert(IF_RANGE, condition.parse().unwrap());
            select(&headers, 10, validators)
        };
        for (condition, expected) in [
            ("\"abc\"", Unsatisfiable),
            ("W/\"abc\"", Whole),
            ("\"other\"", Whole),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Unsatisfiable),
            ("Sun, 06 Nov 1994 08:49:36 GMT", Whole),
            ("Sun, 06 Nov 1994 08:49:38 GMT", Whole),
            ("junk", Whole),
        ] {
            assert_eq!(selected(condition, &stored), expected, "{condition}");
        }
        let weak = Validators { etag: Some("W/\"abc\"".parse().unwrap()), ..Validators::default() };
        assert_eq!(selected("W/\"abc\"", &weak), Whole);
        assert_eq!(selected("\"abc\"", &Validators::default()), Whole);
    }

    #[test]
    fn content_range_counts_inclusively() {
        assert_eq!(content_range(&(0..10), 10), "bytes 0-9/10");
        assert_eq!(content_range(&(3..4), 10), "bytes 3-3/10");
    }
}
