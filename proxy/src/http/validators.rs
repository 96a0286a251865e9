//! What tells one version of an object from every other.

use axum::http::HeaderValue;
use hayrick_directory::Row;
use hayrick_service::conditional::{ETag, Validators};

use crate::upload::modified;

/// The first needle of an object.
pub(super) fn needle_header(row: &Row) -> Option<HeaderValue> {
    HeaderValue::try_from(row.needles.first()?.id.to_string()).ok()
}

pub(super) fn validators(row: &Row) -> Validators {
    Validators { etag: etag_text(row).parse::<ETag>().ok(), last_modified: Some(modified(row)) }
}

/// A version is given once, so it is a strong entity tag.
pub(super) fn etag_text(row: &Row) -> String {
    format!("\"{:x}\"", row.version)
}

/// The version that an entity tag of ours names.
pub(super) fn parse_version(tag: &str) -> Option<u64> {
    let hex = tag.strip_prefix('"')?.strip_suffix('"')?;
    u64::from_str_radix(hex, 16).ok().filter(|version| format!("{version:x}") == hex)
}
