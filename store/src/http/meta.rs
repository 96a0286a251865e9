//! A needle's meta in a header.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::StoreError;
use crate::format::meta::Meta;

/// Encoded meta in base64url: the needle's in answers to GET and HEAD, the tombstone's in a
/// DELETE.
pub const META_HEADER: HeaderName = HeaderName::from_static("x-hayrick-meta");

/// The header's value.
pub(crate) fn meta_value(encoded: &[u8]) -> HeaderValue {
    // base64 is always a header value.
    HeaderValue::try_from(URL_SAFE_NO_PAD.encode(encoded))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The meta in a request's headers; empty if there is none.
pub(crate) fn meta_of(headers: &HeaderMap) -> Result<Meta, StoreError> {
    let Some(value) = headers.get(META_HEADER) else { return Ok(Meta::default()) };
    let malformed = |reason: String| StoreError::Malformed(format!("{META_HEADER}: {reason}"));
    let bytes = URL_SAFE_NO_PAD.decode(value).map_err(|error| malformed(error.to_string()))?;
    Meta::from_bytes(&bytes).map_err(|error| malformed(error.to_string()))
}
