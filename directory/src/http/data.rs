//! What proxies ask of a directory, on the internal listener.
//!
//! Buckets, access keys and the places of volumes are not asked for: a proxy has them from the
//! coordinator, and goes on with the last it has when that is gone.
//!
//! | request | answer |
//! |---|---|
//! | `POST /directory/assign` | [`BatchAssignment`] |
//! | `POST /directory/failed-write` | 204: the volume is left out for a while |
//! | `POST /directory/commit` | what came of it |
//! | `POST /directory/lookup` | for each name the [`Row`], or `null`; where rows are large, of the first names only |
//! | `POST /directory/remove` | the [`Row`] that was there, or `null` |
//! | `POST /directory/discard` | 204: queued for deletion |
//! | `POST /directory/list` | [`ListPage`] |

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use futures::stream::{self, StreamExt as _};
use hayrick_service::ApiError;

use super::api_error;
use super::wire::{
    Assign, Commit, CommitAnswer, DiscardNeedles, FailedWrite, List, Object, RemoveRow,
};
use crate::{BatchAssignment, Condition, Directory, DirectoryError, ListPage, Row};

/// Rows are 1 MiB at most, and JSON takes a few times the room of the database's form.
const MAX_BODY_BYTES: usize = 8 << 20;

/// Names that are looked up at the same time for one request.
const MAX_LOOKUPS: usize = 64;
/// With so many bytes of rows an answer ends.
const ROWS_BYTES: u64 = 4 << 20;

type Server = State<Directory>;
type Answer<T> = Result<Json<T>, ApiError>;

/// The routes of the internal listener.
pub fn router(directory: Directory) -> Router {
    Router::new()
        .route("/directory/assign", post(assign))
        .route("/directory/failed-write", post(failed_write))
        .route("/directory/commit", post(commit))
        .route("/directory/lookup", post(lookup))
        .route("/directory/remove", post(remove))
        .route("/directory/discard", post(discard))
        .route("/directory/list", post(list))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(directory)
}

async fn assign(State(directory): Server, Json(body): Json<Assign>) -> Answer<BatchAssignment> {
    let Assign { bucket, count, size_bytes } = body;
    let known = directory.bucket(&bucket).ok_or(DirectoryError::NoBucket(bucket));
    let known = known.map_err(api_error)?;
    let assigned = directory.assign_many(&known, count, size_bytes).await;
    Ok(Json(assigned.map_err(api_error)?))
}

async fn failed_write(State(directory): Server, Json(body): Json<FailedWrite>) -> StatusCode {
    directory.report_failed_write(body.volume);
    StatusCode::NO_CONTENT
}

async fn commit(State(directory): Server, Json(body): Json<Commit>) -> Answer<CommitAnswer> {
    let Commit { object: Object { bucket, name }, row, condition } = body;
    // The version is of the proxy's clock; removals made here must be above it.
    directory.observe_version(row.version);
    let committed = directory.commit(&bucket, &name, row, condition).await;
    Ok(Json(CommitAnswer::of(committed).map_err(api_error)?))
}

async fn lookup(
    State(directory): Server,
    Json(objects): Json<Vec<Object>>,
) -> Answer<Vec<Option<Row>>> {
    let lookup = |Object { bucket, name }| {
        let directory = directory.clone();
        async move { directory.lookup(&bucket, &name).await }
    };
    let (mut rows, mut bytes) = (Vec::with_capacity(objects.len()), 0);
    let mut lookups = stream::iter(objects.into_iter().map(lookup)).buffered(MAX_LOOKUPS);
    while bytes < ROWS_BYTES
        && let Some(row) = lookups.next().await
    {
        let row = row.map_err(api_error)?;
        bytes += row.as_ref().map_or(0, Row::memory_bytes);
        rows.push(row);
    }
    Ok(Json(rows))
}

async fn remove(State(directory): Server, Json(body): Json<RemoveRow>) -> Answer<Option<Row>> {
    let RemoveRow { object: Object { bucket, name }, condition } = body;
    if let Condition::UpTo(version) = condition {
        // What is put after this removal must be above what it may remove.
        directory.observe_version(version);
    }
    Ok(Json(directory.remove(&bucket, &name, condition).await.map_err(api_error)?))
}

async fn discard(
    State(directory): Server,
    Json(body): Json<DiscardNeedles>,
) -> Result<StatusCode, ApiError> {
    let DiscardNeedles { object: Object { bucket, name }, stored, unsure } = body;
    directory.discard(&bucket, &name, stored, unsure).await.map_err(api_error)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list(State(directory): Server, Json(body): Json<List>) -> Answer<ListPage> {
    Ok(Json(directory.list(&body.bucket, body.query).await.map_err(api_error)?))
}
