//! What tells one version of an object from every other.

use std::fmt::Write as _;

use axum::http::HeaderValue;
use hayrick_directory::Row;
use hayrick_service::conditional::{ETag, Validators};

use crate::upload::modified;

/// The first needle of an object.
pub(super) fn needle_header(row: &Row) -> Option<HeaderValue> {
    // Room for three numbers, so that it need not grow.
    let mut id = String::with_capacity(10 + 1 + 20 + 1 + 10);
    write!(id, "{}", row.needles.first()?.id).ok()?;
    HeaderValue::try_from(id).ok()
}

pub(super) fn validators(row: &Row) -> Validators {
    Validators { etag: etag_text(row).parse::<ETag>().ok(), last_modified: Some(modified(row)) }
}

/// A version is given once, so it is a strong entity tag.
pub(super) fn etag_text(row: &Row) -> String {
    let mut tag = String::with_capacity(2 + 16);
    // A String takes whatever is written to it.
    let _ = write!(tag, "\"{:x}\"", row.version);
    tag
}

/// The version that an entity tag of ours names.
pub(super) fn parse_version(tag: &str) -> Option<u64> {
    let hex = tag.strip_prefix('"')?.strip_suffix('"')?;
    u64::from_str_radix(hex, 16).ok().filter(|version| format!("{version:x}") == hex)
}
