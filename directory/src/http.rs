//! The directory's HTTP interface: [`admin`] for operators.

pub mod admin;

use std::time::Duration;

use axum::http::StatusCode;
use hayrick_service::ApiError;

use crate::DirectoryError;

const BUSY_RETRY: Duration = Duration::from_secs(1);
/// The grower asks the stores about as often.
const NO_VOLUME_RETRY: Duration = Duration::from_secs(2);

/// The one place where a directory's error becomes an answer.
#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` takes")]
pub fn api_error(error: DirectoryError) -> ApiError {
    let message = error.to_string();
    match error {
        DirectoryError::NoBucket(_) => ApiError::not_found(message).with_code("NoSuchBucket"),
        DirectoryError::NoAccessKey(_) => ApiError::not_found(message).with_code("NoSuchKey"),
        DirectoryError::NoVolume(_) => ApiError::not_found(message).with_code("NoSuchVolume"),
        DirectoryError::BucketExists(_) => ApiError::conflict(message).with_code("BucketExists"),
        DirectoryError::BucketNotEmpty(_) => {
            ApiError::conflict(message).with_code("BucketNotEmpty")
        }
        DirectoryError::Conflict(_) | DirectoryError::StaleVersion { .. } => {
            ApiError::conflict(message)
        }
        // The present version is the directory's own affair.
        DirectoryError::ConditionFailed { .. } => {
            ApiError::precondition_failed("the object is not in the state that was asked for")
        }
        DirectoryError::NotEnoughStores { .. } => {
            ApiError::bad_request(message).with_code("NotEnoughStores")
        }
        DirectoryError::BadRequest(_) => ApiError::bad_request(message),
        DirectoryError::TooLarge { .. } => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message)
        }
        DirectoryError::Full => ApiError::insufficient_storage(message).with_code("DiskFull"),
        DirectoryError::NoWritableVolume { .. } => {
            ApiError::unavailable(message, NO_VOLUME_RETRY).with_code("NoWritableVolume")
        }
        DirectoryError::Busy => ApiError::unavailable(message, BUSY_RETRY).with_code("Busy"),
        // Where the coordination service stands is no client's affair.
        DirectoryError::Unavailable(_) => {
            let message = "the cluster map cannot be changed now, or it is unknown whether it was";
            ApiError::unavailable(message, BUSY_RETRY).with_code("CoordinatorUnavailable")
        }
        DirectoryError::Failed
        | DirectoryError::Corrupt(_)
        | DirectoryError::Io(_)
        | DirectoryError::Setup(_) => ApiError::internal(message),
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
        for error in [DirectoryError::Busy, DirectoryError::NoWritableVolume { size_bytes: 1 }] {
            let error = api_error(error);
            assert_eq!(error.status, 503);
            assert!(error.retry_after.is_some());
        }
        assert_eq!(api_error(DirectoryError::Full).status, 507);
    }
}
