//! A directory's errors on the wire: to an answer, and back again in the client.

use std::time::Duration;

use axum::http::StatusCode;
use hayrick_service::ApiError;
use hayrick_service::client::{ClientError, StatusError};

use crate::{BucketName, DirectoryError};

const BUSY_RETRY: Duration = Duration::from_secs(1);
/// The grower asks the stores about as often.
const NO_VOLUME_RETRY: Duration = Duration::from_secs(2);

const NO_SUCH_BUCKET: &str = "NoSuchBucket";
const NO_SUCH_KEY: &str = "NoSuchKey";
const NO_SUCH_ORDER: &str = "NoSuchOrder";
const NO_SUCH_STORE: &str = "NoSuchStore";
const NO_SUCH_VOLUME: &str = "NoSuchVolume";
const BUCKET_EXISTS: &str = "BucketExists";
const BUCKET_NOT_EMPTY: &str = "BucketNotEmpty";
const NOT_ENOUGH_STORES: &str = "NotEnoughStores";
const TOO_LARGE: &str = "TooLarge";
const DISK_FULL: &str = "DiskFull";
const NO_WRITABLE_VOLUME: &str = "NoWritableVolume";
const NO_VOLUME_JUST_NOW: &str = "NoVolumeJustNow";

/// The one place where a directory's error becomes an answer.
pub fn api_error(error: DirectoryError) -> ApiError {
    let message = error.to_string();
    match error {
        DirectoryError::NoBucket(_) => ApiError::not_found(message).with_code(NO_SUCH_BUCKET),
        DirectoryError::NoAccessKey(_) => ApiError::not_found(message).with_code(NO_SUCH_KEY),
        DirectoryError::NoOrder(_) => ApiError::not_found(message).with_code(NO_SUCH_ORDER),
        DirectoryError::NoStore(_) => ApiError::not_found(message).with_code(NO_SUCH_STORE),
        DirectoryError::NoVolume(_) => ApiError::not_found(message).with_code(NO_SUCH_VOLUME),
        DirectoryError::BucketExists(_) => ApiError::conflict(message).with_code(BUCKET_EXISTS),
        DirectoryError::BucketNotEmpty(_) => {
            ApiError::conflict(message).with_code(BUCKET_NOT_EMPTY)
        }
        DirectoryError::Conflict(_) | DirectoryError::StaleVersion { .. } => {
            ApiError::conflict(message)
        }
        // The present version is the directory's own affair.
        DirectoryError::ConditionFailed { .. } => {
            ApiError::precondition_failed("the object is not in the state that was asked for")
        }
        DirectoryError::NotEnoughStores { .. } => {
            ApiError::bad_request(message).with_code(NOT_ENOUGH_STORES)
        }
        DirectoryError::BadRequest(_) => ApiError::bad_request(message),
        DirectoryError::TooLarge => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE, message)
        }
        DirectoryError::Full => ApiError::insufficient_storage(message).with_code(DISK_FULL),
        DirectoryError::NoWritableVolume { .. } => {
            ApiError::unavailable(message, NO_VOLUME_RETRY).with_code(NO_WRITABLE_VOLUME)
        }
        DirectoryError::NoVolumeJustNow { .. } => {
            ApiError::unavailable(message, NO_VOLUME_RETRY).with_code(NO_VOLUME_JUST_NOW)
        }
        DirectoryError::Busy => ApiError::unavailable(message, BUSY_RETRY).with_code("Busy"),
        // Where the servers of the cluster stand is no client's affair.
        DirectoryError::Unavailable(reason) => {
            tracing::warn!(%reason, "not done");
            let message = "the cluster cannot do this now, or it is unknown whether it did";
            ApiError::unavailable(message, BUSY_RETRY)
        }
        DirectoryError::Failed
        | DirectoryError::Corrupt(_)
        | DirectoryError::Io(_)
        | DirectoryError::Setup(_) => ApiError::internal(message),
    }
}

/// What a directory's answer means, when it was asked about `bucket` for `size_bytes`.
pub(crate) fn directory_error(
    error: &ClientError,
    bucket: &BucketName,
    size_bytes: u64,
) -> DirectoryError {
    let ClientError::Status(answer) = error else {
        return DirectoryError::Unavailable(error.to_string());
    };
    let StatusError { status, body, .. } = &**answer;
    match body.error.as_str() {
        NO_SUCH_BUCKET => DirectoryError::NoBucket(bucket.clone()),
        DISK_FULL => DirectoryError::Full,
        NO_WRITABLE_VOLUME => DirectoryError::NoWritableVolume { size_bytes },
        NO_VOLUME_JUST_NOW => DirectoryError::NoVolumeJustNow { size_bytes },
        TOO_LARGE => DirectoryError::TooLarge,
        _ => match *status {
            StatusCode::PRECONDITION_FAILED => DirectoryError::ConditionFailed { current: None },
            StatusCode::BAD_REQUEST => DirectoryError::BadRequest(body.message.clone().into()),
            StatusCode::CONFLICT => DirectoryError::Conflict(body.message.clone()),
            _ => DirectoryError::Unavailable(body.message.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_stays_inside() {
        let error = api_error(DirectoryError::Io("/secret/path: no space".to_owned()));
        assert_eq!(error.status, 500);
        assert!(!error.message.contains("secret"), "{}", error.message);
        let error = api_error(DirectoryError::ConditionFailed { current: Some(77) });
        assert_eq!(error.status, 412);
        assert!(!error.message.contains("77"), "{}", error.message);
    }

    #[test]
    fn retries_are_asked_for_where_they_help() {
        for error in [
            DirectoryError::Busy,
            DirectoryError::NoWritableVolume { size_bytes: 1 },
            DirectoryError::NoVolumeJustNow { size_bytes: 1 },
        ] {
            let error = api_error(error);
            assert_eq!(error.status, 503);
            assert!(error.retry_after.is_some());
        }
        assert_eq!(api_error(DirectoryError::Full).status, 507);
    }
}
