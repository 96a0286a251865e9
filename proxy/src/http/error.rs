//! Where the errors of what the proxy uses become answers.

use std::time::Duration;

use axum::http::StatusCode;
use hayrick_service::ApiError;
use hayrick_store::StoreError;

use super::picture::Refusal;
use crate::memory::Full;
use crate::upload::UploadError;
use hayrick_images::{ImageError, SuffixError};

pub(super) use hayrick_directory::http::api_error as directory_error;

const SOON: Duration = Duration::from_secs(1);

pub(super) fn no_such_object() -> ApiError {
    ApiError::not_found("there is no object of this name").with_code("NoSuchObject")
}

/// What was served of this name before is gone, and no directory tells what it is now.
pub(super) fn names_unknown() -> ApiError {
    ApiError::unavailable("the directory of names does not answer now", SOON)
}

pub(super) fn upload_error(error: UploadError) -> ApiError {
    match error {
        UploadError::Body(error) => ApiError::from_body(&*error),
        UploadError::TooLarge { limit } => ApiError::too_large(limit),
        UploadError::Busy => {
            ApiError::unavailable("too many uploads at once", SOON).with_code("Busy")
        }
        UploadError::Store(error) => write_error(error),
        UploadError::Directory(error) => directory_error(error),
    }
}

pub(super) fn too_many_downloads(Full: Full) -> ApiError {
    ApiError::unavailable("too many downloads at once", SOON).with_code("Busy")
}

/// A store that did not take a needle. The client knows nothing of needles.
fn write_error(error: StoreError) -> ApiError {
    match error {
        StoreError::VolumeFull(_) | StoreError::DiskFull(_) => {
            ApiError::insufficient_storage("the disks are full").with_code("DiskFull")
        }
        StoreError::Malformed(message) => ApiError::bad_request(message),
        StoreError::TooLarge { limit } => ApiError::too_large(limit),
        error @ (StoreError::Busy { .. }
        | StoreError::Unavailable { .. }
        | StoreError::NoVolume(_)
        | StoreError::ReadOnly(_)
        | StoreError::StaleEpoch { .. }
        | StoreError::Copying(_)
        | StoreError::Conflict { .. }) => {
            tracing::warn!(%error, "upload not stored");
            ApiError::unavailable("no store takes the object now", SOON)
        }
        error @ (StoreError::NotFound
        | StoreError::NoEpoch { .. }
        | StoreError::NoJob(_)
        | StoreError::Corrupt { .. }
        | StoreError::Failed { .. }
        | StoreError::Io { .. }) => ApiError::internal(error),
    }
}

/// A name whose needles were not read.
pub(super) fn read_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Busy { .. } | StoreError::Copying(_) | StoreError::Unavailable { .. } => {
            tracing::warn!(%error, "object not read");
            ApiError::unavailable("the object's store does not answer now", SOON)
        }
        StoreError::Corrupt { volume, key, reason } => {
            tracing::error!(%volume, %key, %reason, "damaged needle not served");
            let message = "the object is damaged and is not served";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "Corrupt", message)
        }
        // The name says it is there: whatever the reason, it is not the client's.
        error @ (StoreError::NotFound
        | StoreError::Conflict { .. }
        | StoreError::NoVolume(_)
        | StoreError::StaleEpoch { .. }
        | StoreError::NoEpoch { .. }
        | StoreError::NoJob(_)
        | StoreError::ReadOnly(_)
        | StoreError::VolumeFull(_)
        | StoreError::DiskFull(_)
        | StoreError::TooLarge { .. }
        | StoreError::Malformed(_)
        | StoreError::Failed { .. }
        | StoreError::Io { .. }) => ApiError::internal(error),
    }
}

fn suffix_error(error: &SuffixError) -> ApiError {
    let message = error.to_string();
    match error {
        // Such a suffix is part of a name, and nothing has that name.
        SuffixError::NotASuffix => no_such_object(),
        SuffixError::InvalidArgument { .. } => {
            ApiError::bad_request(message).with_code("InvalidArgument")
        }
        SuffixError::UnsupportedFormat { .. } => {
            ApiError::bad_request(message).with_code("NotImplemented")
        }
    }
}

pub(super) fn refused_picture(refusal: Refusal) -> ApiError {
    let message = refusal.to_string();
    match refusal {
        Refusal::Suffix(error) => suffix_error(&error),
        Refusal::NoPreset(_) => ApiError::not_found(message).with_code("NoSuchPreset"),
        Refusal::PresetsOnly => ApiError::forbidden(message).with_code("PresetsOnly"),
        Refusal::Size(_) => ApiError::forbidden(message).with_code("SizeNotAllowed"),
        Refusal::BrokenPreset { .. } => ApiError::internal(message),
    }
}

pub(super) fn image_error(error: ImageError) -> ApiError {
    let message = error.to_string();
    match error {
        ImageError::InvalidArgument(error) => suffix_error(&error),
        ImageError::NotAnImage | ImageError::Undecodable { .. } => {
            ApiError::unprocessable(message).with_code("Undecodable")
        }
        ImageError::UnsupportedSource { .. } => {
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedSource", message)
        }
        ImageError::TooLarge { .. } => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "ImageTooLarge", message)
        }
        ImageError::Busy => ApiError::too_many_requests(message, SOON),
        ImageError::Timeout | ImageError::Stopped => {
            ApiError::unavailable(message, SOON).with_code("Timeout")
        }
        ImageError::Internal { reason } => ApiError::internal(reason),
    }
}
