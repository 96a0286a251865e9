//! A store's errors on the wire: to an answer, and back again in the client.

use std::fmt::Display;
use std::time::Duration;

use axum::http::StatusCode;
use hayrick_service::ApiError;
use hayrick_service::client::ClientError;

use crate::error::StoreError;
use crate::format::needle::MAX_DATA_BYTES;
use crate::http::{EPOCH_HEADER, epoch_of};
use crate::id::{Epoch, Key, VolumeId};

const NO_SUCH_NEEDLE: &str = "NoSuchNeedle";
const NO_SUCH_VOLUME: &str = "NoSuchVolume";
const KEY_TAKEN: &str = "KeyTaken";
const READ_ONLY: &str = "ReadOnly";
const STALE_EPOCH: &str = "StaleEpoch";
const COPYING: &str = "Copying";
const NO_SUCH_JOB: &str = "NoSuchJob";
const VOLUME_FULL: &str = "VolumeFull";
const DISK_FULL: &str = "DiskFull";
const BUSY: &str = "Busy";
const UNAVAILABLE: &str = "Unavailable";
const TOO_LARGE: &str = "TooLarge";
const CORRUPT: &str = "Corrupt";

/// The one place where a store's error becomes an answer.
pub(crate) fn api_error(error: StoreError) -> ApiError {
    let message = error.to_string();
    match error {
        StoreError::NotFound => ApiError::not_found(message).with_code(NO_SUCH_NEEDLE),
        StoreError::NoVolume(_) => ApiError::not_found(message).with_code(NO_SUCH_VOLUME),
        StoreError::Conflict { .. } => ApiError::conflict(message).with_code(KEY_TAKEN),
        StoreError::ReadOnly(_) => ApiError::conflict(message).with_code(READ_ONLY),
        StoreError::StaleEpoch { known, .. } => ApiError::conflict(message)
            .with_code(STALE_EPOCH)
            .with_header(EPOCH_HEADER, known.get().into()),
        StoreError::NoJob(_) => ApiError::not_found(message).with_code(NO_SUCH_JOB),
        StoreError::Copying(_) => {
            ApiError::unavailable(message, Duration::from_secs(5)).with_code(COPYING)
        }
        StoreError::VolumeFull(_) => ApiError::insufficient_storage(message).with_code(VOLUME_FULL),
        StoreError::DiskFull(_) => ApiError::insufficient_storage(message).with_code(DISK_FULL),
        StoreError::Busy { .. } => {
            ApiError::unavailable(message, Duration::from_secs(1)).with_code(BUSY)
        }
        StoreError::Unavailable { .. } => {
            ApiError::unavailable(message, Duration::from_secs(5)).with_code(UNAVAILABLE)
        }
        StoreError::TooLarge { .. } => {
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE, message)
        }
        StoreError::Malformed(_) => ApiError::bad_request(message),
        StoreError::Corrupt { volume, key, reason } => {
            tracing::error!(%volume, %key, %reason, "damaged needle not served");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, CORRUPT, "the needle is damaged")
        }
        StoreError::NoEpoch { .. } | StoreError::Failed { .. } | StoreError::Io { .. } => {
            ApiError::internal(message)
        }
    }
}

/// What a store was asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    pub volume: VolumeId,
    pub key: Key,
    pub epoch: Epoch,
}

/// What the answer of the store called `store` means.
pub(crate) fn store_error(error: ClientError, store: &str, subject: Subject) -> StoreError {
    let ClientError::Status(answer) = error else { return unavailable(store, &error) };
    let Subject { volume, key, epoch: asked } = subject;
    match answer.body.error.as_str() {
        NO_SUCH_NEEDLE => StoreError::NotFound,
        NO_SUCH_VOLUME => StoreError::NoVolume(volume),
        KEY_TAKEN => StoreError::Conflict { volume, key },
        READ_ONLY => StoreError::ReadOnly(volume),
        STALE_EPOCH => match epoch_of(&answer.headers) {
            Ok(known) => StoreError::StaleEpoch { volume, asked, known },
            Err(_) => unavailable(store, &answer),
        },
        COPYING => StoreError::Copying(volume),
        VOLUME_FULL => StoreError::VolumeFull(volume),
        DISK_FULL => StoreError::DiskFull(volume),
        BUSY => StoreError::Busy { what: "the store" },
        TOO_LARGE => StoreError::TooLarge { limit: MAX_DATA_BYTES.into() },
        CORRUPT => {
            StoreError::Corrupt { volume, key, reason: format!("so says store {store}").into() }
        }
        _ if answer.status == StatusCode::BAD_REQUEST => StoreError::Malformed(answer.body.message),
        // It failed, or is not the store that it was taken for.
        _ => unavailable(store, &answer),
    }
}

/// What the answer to a question about job `id` means.
pub(crate) fn job_error(error: &ClientError, store: &str, id: u64) -> StoreError {
    match error {
        ClientError::Status(answer) if answer.body.error == NO_SUCH_JOB => StoreError::NoJob(id),
        error => unavailable(store, error),
    }
}

/// No answer, or none that tells what became of the request.
pub(crate) fn unavailable(store: &str, reason: &dyn Display) -> StoreError {
    StoreError::Unavailable { store: store.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use hayrick_service::client::StatusError;
    use hayrick_service::error::ErrorBody;

    use super::*;

    const ASKED: Epoch = Epoch::new(3);

    /// The answer to an error, as a client sees it.
    fn there_and_back(error: StoreError) -> StoreError {
        let answer = api_error(error);
        let body = ErrorBody {
            error: answer.code.to_owned(),
            message: answer.message.clone().into_owned(),
            request_id: String::new(),
        };
        let (url, status) = ("http://store".to_owned(), answer.status);
        let headers = answer.into_response().headers().clone();
        let answer = StatusError { url, status, body, retry_after: None, headers };
        let subject = Subject { volume: VolumeId::new(7).unwrap(), key: Key::new(5), epoch: ASKED };
        store_error(ClientError::Status(Box::new(answer)), "s1", subject)
    }

    #[test]
    fn what_calls_for_a_reaction_arrives_as_itself() {
        let (volume, key) = (VolumeId::new(7).unwrap(), Key::new(5));
        let kinds = [
            StoreError::NotFound,
            StoreError::NoVolume(volume),
            StoreError::Conflict { volume, key },
            StoreError::ReadOnly(volume),
            StoreError::StaleEpoch { volume, asked: ASKED, known: Epoch::new(8) },
            StoreError::Copying(volume),
            StoreError::VolumeFull(volume),
            StoreError::DiskFull(volume),
            StoreError::Busy { what: "uploads" },
            StoreError::TooLarge { limit: MAX_DATA_BYTES.into() },
            StoreError::Corrupt { volume, key, reason: "bits".into() },
            StoreError::Malformed("no".to_owned()),
            unavailable("s1", &"no"),
        ];
        for error in kinds {
            let came = there_and_back(error.clone());
            assert_eq!(std::mem::discriminant(&came), std::mem::discriminant(&error), "{error}");
        }
    }

    #[test]
    fn an_older_epoch_is_told_the_newer_one() {
        let volume = VolumeId::new(7).unwrap();
        let known = Epoch::new(u64::MAX);
        let came = there_and_back(StoreError::StaleEpoch { volume, asked: ASKED, known });
        let right =
            matches!(came, StoreError::StaleEpoch { asked: ASKED, known: k, .. } if k == known);
        assert!(right, "{came}");
    }

    #[test]
    fn a_failed_volume_is_one_that_gives_no_answer() {
        let volume = VolumeId::new(7).unwrap();
        let came = there_and_back(StoreError::Failed { volume, reason: "sync".into() });
        assert!(matches!(came, StoreError::Unavailable { .. }), "{came}");
    }
}
