//! The store's HTTP interfaces: [`data`] for proxies, [`admin`] for operators.

pub mod admin;
pub mod batch;
pub mod data;

use std::time::Duration;

use axum::http::StatusCode;
use hayrick_service::ApiError;

use crate::error::StoreError;

/// The one place where a store's error becomes an answer.
pub(crate) fn api_error(error: StoreError) -> ApiError {
    let message = error.to_string();
    match error {
        StoreError::NotFound => ApiError::not_found(message).with_code("NoSuchNeedle"),
        StoreError::NoVolume(_) => ApiError::not_found(message).with_code("NoSuchVolume"),
        StoreError::Conflict { .. } => ApiError::conflict(message).with_code("KeyTaken"),
        StoreError::ReadOnly(_) => ApiError::conflict(message).with_code("ReadOnly"),
        StoreError::VolumeFull(_) => {
            ApiError::insufficient_storage(message).with_code("VolumeFull")
        }
        StoreError::DiskFull(_) => ApiError::insufficient_storage(message).with_code("DiskFull"),
        StoreError::Busy { .. } => {
            ApiError::unavailable(message, Duration::from_secs(1)).with_code("Busy")
        }
        StoreError::Unavailable { .. } => {
            ApiError::unavailable(message, Duration::from_secs(5)).with_code("Unavailable")
        }
        StoreError::TooLarge { .. } => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message)
        }
        StoreError::Malformed(_) => ApiError::bad_request(message),
        StoreError::Corrupt { volume, key, offset, reason } => {
            tracing::error!(%volume, %key, %offset, %reason, "damaged needle not served");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Corrupt", "the needle is damaged")
        }
        StoreError::Failed { .. } | StoreError::Io { .. } => ApiError::internal(message),
    }
}
