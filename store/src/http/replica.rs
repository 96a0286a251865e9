//! What the keeper and repairing proxies ask of one replica; listed in [`super::data`].

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use hayrick_service::ApiError;

use super::{ForEpoch, api_error};
use crate::error::StoreError;
use crate::id::VolumeId;
use crate::jobs::JobStatus;
use crate::store::Store;
use crate::sync::{RepairRequest, SyncRequest, Synced};

type Shared = State<Arc<Store>>;

pub(super) fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/{vid}", put(create_volume).delete(remove_volume))
        .route("/{vid}/copy", put(create_copy))
        .route("/{vid}/epoch", put(fence))
        .route("/{vid}/confirmed", put(confirm))
        .route("/{vid}/sync", post(start_sync))
        .route("/{vid}/repair", post(repair_keys))
        .route("/{vid}/compact", post(start_compaction))
        .route("/{vid}/scrub-hold", put(hold_scrub))
        .route("/jobs/{id}", get(show_job).delete(cancel_job))
        .with_state(store)
}

async fn create_volume(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
) -> Result<StatusCode, ApiError> {
    store.create_volume(volume, epoch).await.map_err(api_error)?;
    Ok(StatusCode::CREATED)
}

async fn create_copy(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
) -> Result<StatusCode, ApiError> {
    store.create_copy(volume, epoch).await.map_err(api_error)?;
    Ok(StatusCode::CREATED)
}

async fn remove_volume(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
) -> Result<StatusCode, ApiError> {
    store.remove_volume(volume, epoch).await.map_err(api_error)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn fence(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
) -> Result<StatusCode, ApiError> {
    store.fence(volume, epoch).await.map_err(api_error)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn confirm(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
    Json(through_ns): Json<u64>,
) -> Result<StatusCode, ApiError> {
    store.confirm(volume, epoch, through_ns).await.map_err(api_error)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn start_sync(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
    Json(SyncRequest { sources, check }): Json<SyncRequest>,
) -> Result<(StatusCode, Json<JobStatus>), ApiError> {
    let job = store.start_sync(volume, epoch, sources, check).await.map_err(api_error)?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}

async fn repair_keys(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
    Json(RepairRequest { keys, sources }): Json<RepairRequest>,
) -> Result<Json<Synced>, ApiError> {
    let done = store.repair_keys(volume, epoch, keys, sources).await.map_err(api_error)?;
    Ok(Json(done))
}

async fn start_compaction(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
) -> Result<(StatusCode, Json<JobStatus>), ApiError> {
    let job = store.start_compaction(volume).map_err(api_error)?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}

async fn hold_scrub(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
) -> Result<StatusCode, ApiError> {
    store.hold_scrub(volume).map_err(api_error)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn show_job(State(store): Shared, Path(id): Path<u64>) -> Result<Json<JobStatus>, ApiError> {
    store.jobs().get(id).map(Json).ok_or_else(|| api_error(StoreError::NoJob(id)))
}

async fn cancel_job(State(store): Shared, Path(id): Path<u64>) -> Result<StatusCode, ApiError> {
    if store.jobs().cancel(id) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(api_error(StoreError::NoJob(id)))
    }
}
