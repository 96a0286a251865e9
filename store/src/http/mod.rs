//! The store's HTTP interfaces: [`data`] for proxies, [`admin`] for operators.

pub mod admin;
pub mod batch;
pub mod data;
mod error;
pub mod listing;
mod meta;
pub mod parts;
mod pull;
pub mod records;
mod replica;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use hayrick_service::ApiError;

pub(crate) use error::{Subject, api_error, job_error, store_error, unavailable};
pub use meta::META_HEADER;
pub(crate) use meta::{meta_of, meta_value};

use crate::error::StoreError;
use crate::id::{Epoch, ParseIdError};

/// The cluster that the sender of a request is part of, as a UUID. A store of another
/// cluster refuses it.
pub const CLUSTER_HEADER: HeaderName = HeaderName::from_static("x-hayrick-cluster");

/// The epoch of a request, and in an answer that refuses an older one the epoch that is known.
/// A request without it is of epoch 0.
pub const EPOCH_HEADER: HeaderName = HeaderName::from_static("x-hayrick-epoch");

/// The epoch that a request is for.
struct ForEpoch(Epoch);

impl<S: Sync> FromRequestParts<S> for ForEpoch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        epoch_of(&parts.headers).map(Self).map_err(api_error)
    }
}

pub(crate) fn epoch_of(headers: &HeaderMap) -> Result<Epoch, StoreError> {
    let Some(value) = headers.get(EPOCH_HEADER) else { return Ok(Epoch::NONE) };
    let malformed = |reason: String| StoreError::Malformed(format!("{EPOCH_HEADER}: {reason}"));
    let text = value.to_str().map_err(|error| malformed(error.to_string()))?;
    text.parse().map_err(|error: ParseIdError| malformed(error.to_string()))
}
