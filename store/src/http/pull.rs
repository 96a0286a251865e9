//! What other replicas of a volume ask of this one; listed in [`super::data`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use hayrick_service::ApiError;
use serde::Deserialize;

use super::data::Server;
use super::{ForEpoch, api_error, listing, records};
use crate::error::StoreError;
use crate::id::{Epoch, Key, VolumeId};
use crate::store::{Store, blocking};
use crate::volume::Volume;

/// Who asks gets an answer before its own patience ends.
const MAX_REST: Duration = Duration::from_secs(20);

pub(super) fn router(server: Server) -> Router {
    Router::new()
        .route("/{vid}/keys", get(list_keys))
        .route("/{vid}/records", post(give_records))
        .with_state(server)
}

/// A page begins with this key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    first: Key,
}

async fn list_keys(
    State(server): State<Server>,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
    Query(From { first }): Query<From>,
) -> Result<impl IntoResponse, ApiError> {
    let volume = source(&server.store, volume, epoch).map_err(api_error)?;
    let page = blocking(move || volume.keys(first, listing::MAX_KEYS)).await;
    let bytes = listing::encode(&page.map_err(api_error)?);
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(listing::CONTENT_TYPE))], bytes))
}

/// The records of the first of these keys, as many as fit into an answer.
async fn give_records(
    State(server): State<Server>,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
    Json(keys): Json<Vec<Key>>,
) -> Result<Response, ApiError> {
    let volume = source(&server.store, volume, epoch).map_err(api_error)?;
    if keys.len() > records::MAX_KEYS {
        return Err(ApiError::bad_request(format!("at most {} keys", records::MAX_KEYS)));
    }
    let (count, bytes) = volume.fitting(&keys, records::step_bytes(&volume.pace().sync));
    let memory = server.set_memory_aside(bytes).map_err(api_error)?;
    let pace = Arc::clone(volume.pace());
    let read = blocking(move || read_records(&volume, keys.get(..count).unwrap_or(&keys))).await;
    let pieces = read.and_then(|read| read).map_err(api_error)?;
    tokio::time::sleep(pace.sync.delay(bytes).min(MAX_REST)).await;
    let pieces = stream::iter(pieces.into_iter().map(move |piece| {
        let _until_sent = &memory;
        Ok::<_, StoreError>(piece)
    }));
    let kind = [(CONTENT_TYPE, HeaderValue::from_static(records::CONTENT_TYPE))];
    Ok((kind, Body::from_stream(pieces)).into_response())
}

fn read_records(volume: &Volume, keys: &[Key]) -> Result<Vec<Bytes>, StoreError> {
    let _step = volume.pace().sync.begin();
    let mut pieces = Vec::new();
    for key in keys {
        pieces.extend(records::encode(*key, &volume.held(*key)?));
    }
    Ok(pieces)
}

/// A replica that was told of a newer epoch is no source for whoever was not. Who knows more
/// than the replica may read it: it is told when the map says so.
fn source(store: &Store, volume: VolumeId, epoch: Epoch) -> Result<Arc<Volume>, StoreError> {
    let volume = store.volume(volume)?;
    volume.fence().check(epoch)?;
    Ok(volume)
}
