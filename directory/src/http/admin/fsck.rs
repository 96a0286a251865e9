//! Comparing names and volumes, asked for by operators.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use hayrick_service::ApiError;

use crate::Directory;
use crate::fsck::{FsckRequest, FsckStatus};
use crate::http::api_error;

pub(super) async fn start(
    State(directory): State<Directory>,
    Json(request): Json<FsckRequest>,
) -> Result<(StatusCode, Json<FsckStatus>), ApiError> {
    let delete_orphans = request.delete_orphans;
    let begun = directory.start_fsck(request).map_err(api_error)?;
    tracing::info!(volumes = begun.volumes, delete_orphans, "volumes compared with the names");
    Ok((StatusCode::ACCEPTED, Json(begun)))
}

pub(super) async fn show(State(directory): State<Directory>) -> Json<FsckStatus> {
    Json(directory.fsck_status())
}

pub(super) async fn stop(State(directory): State<Directory>) -> StatusCode {
    directory.stop_fsck();
    StatusCode::NO_CONTENT
}
