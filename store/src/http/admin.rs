//! What operators ask of a store, on the admin listener.
//!
//! | request | answer |
//! |---|---|
//! | `GET /store/status` | [`crate::status::StoreStatus`] |
//! | `POST /store/volumes/{vid}` | 201: an empty volume is there |
//! | `POST /store/volumes/{vid}/compact` | 202 with the [`JobStatus`] of a new job |
//! | `POST /store/volumes/{vid}/verify` | 202 with the [`JobStatus`] of a new job |
//! | `PUT /store/volumes/{vid}/read-only` | 204; the body is `true` or `false` |
//! | `GET /store/scrub` | [`ScrubStatus`] |
//! | `POST /store/scrub/now`, `?volume={vid}` | 202 with the [`ScrubStatus`]: a pass from the beginning |
//! | `POST /store/scrub/pause`, `POST /store/scrub/resume` | 200 with the [`ScrubStatus`] |
//! | `GET /store/jobs`, `GET /store/jobs/{id}` | [`JobStatus`], how far it has come |
//! | `DELETE /store/jobs/{id}` | 204: the job was asked to stop |

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use hayrick_service::ApiError;
use serde::Deserialize;

use super::api_error;
use crate::error::StoreError;
use crate::id::{Epoch, VolumeId};
use crate::jobs::{JobStatus, Task};
use crate::scrub::ScrubError;
use crate::status::{ScrubStatus, StoreStatus};
use crate::store::{Store, blocking};

type Shared = State<Arc<Store>>;

/// The routes of the admin listener.
pub fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/store/status", get(status))
        .route("/store/volumes/{vid}", post(create))
        .route("/store/volumes/{vid}/compact", post(compact))
        .route("/store/volumes/{vid}/verify", post(verify))
        .route("/store/volumes/{vid}/read-only", put(set_read_only))
        .route("/store/scrub", get(show_scrub))
        .route("/store/scrub/now", post(scrub_now))
        .route("/store/scrub/pause", post(|store: Shared| pause_scrub(store, true)))
        .route("/store/scrub/resume", post(|store: Shared| pause_scrub(store, false)))
        .route("/store/jobs", get(list_jobs))
        .route("/store/jobs/{id}", get(show_job).delete(cancel_job))
        .with_state(store)
}

async fn status(State(store): Shared) -> Json<StoreStatus> {
    Json(store.status())
}

async fn create(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
) -> Result<StatusCode, ApiError> {
    store.create_volume(volume, Epoch::NONE).await.map_err(api_error)?;
    Ok(StatusCode::CREATED)
}

async fn compact(
    store: Shared,
    volume: Path<VolumeId>,
) -> Result<(StatusCode, Json<JobStatus>), ApiError> {
    start(&store, Task::Compact, *volume)
}

async fn verify(
    store: Shared,
    volume: Path<VolumeId>,
) -> Result<(StatusCode, Json<JobStatus>), ApiError> {
    start(&store, Task::Verify, *volume)
}

fn start(
    store: &Arc<Store>,
    task: Task,
    volume: VolumeId,
) -> Result<(StatusCode, Json<JobStatus>), ApiError> {
    store.volume(volume).map_err(api_error)?;
    let started = store.jobs().start(store, task, volume);
    let job =
        started.map_err(|error| ApiError::conflict(error.to_string()).with_code("JobRunning"))?;
    Ok((StatusCode::ACCEPTED, Json(job)))
}

async fn set_read_only(
    State(store): Shared,
    Path(volume): Path<VolumeId>,
    Json(read_only): Json<bool>,
) -> Result<StatusCode, ApiError> {
    let volume = store.volume(volume).map_err(api_error)?;
    let done = blocking(move || volume.set_read_only(read_only)).await;
    done.and_then(|done| done).map_err(api_error)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScrubNow {
    volume: Option<VolumeId>,
}

async fn show_scrub(State(store): Shared) -> Json<ScrubStatus> {
    Json(store.scrub_status())
}

async fn scrub_now(
    State(store): Shared,
    Query(which): Query<ScrubNow>,
) -> Result<(StatusCode, Json<ScrubStatus>), ApiError> {
    match store.scrub_now(which.volume) {
        Ok(()) => Ok((StatusCode::ACCEPTED, Json(store.scrub_status()))),
        Err(error @ ScrubError::Paused) => {
            Err(ApiError::conflict(error.to_string()).with_code("ScrubPaused"))
        }
        Err(ScrubError::Store(error)) => Err(api_error(error)),
    }
}

async fn pause_scrub(State(store): Shared, paused: bool) -> Result<Json<ScrubStatus>, ApiError> {
    let work = {
        let store = Arc::clone(&store);
        move || store.pause_scrub(paused)
    };
    blocking(work).await.map_err(api_error)?.map_err(ApiError::internal)?;
    Ok(Json(store.scrub_status()))
}

async fn list_jobs(State(store): Shared) -> Json<Vec<JobStatus>> {
    Json(store.jobs().list())
}

async fn show_job(State(store): Shared, Path(id): Path<u64>) -> Result<Json<JobStatus>, ApiError> {
    store.jobs().get(id).map(Json).ok_or_else(|| no_such_job(id))
}

async fn cancel_job(State(store): Shared, Path(id): Path<u64>) -> Result<StatusCode, ApiError> {
    if store.jobs().cancel(id) { Ok(StatusCode::NO_CONTENT) } else { Err(no_such_job(id)) }
}

fn no_such_job(id: u64) -> ApiError {
    api_error(StoreError::NoJob(id))
}
