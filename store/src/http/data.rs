//! What proxies ask of a store, on the internal listener.
//!
//! | request | answer |
//! |---|---|
//! | `PUT /{vid}/{key}/{cookie}` | 201; the body is the data, `Content-Type` its type |
//! | `POST /{vid}` | 201; the body is a [`super::batch`], stored whole or not at all |
//! | `PUT /{vid}` | 201: an empty volume is there |
//! | `PUT /{vid}/copy` | 201: a replica to be filled is there |
//! | `DELETE /{vid}` | 204: the replica is gone |
//! | `PUT /{vid}/epoch` | 204: all that was accepted under an older epoch is over |
//! | `PUT /{vid}/confirmed` | 204; the body is a time in nanoseconds, see [`Store::confirm`] |
//! | `POST /{vid}/sync` | 202 with the [`crate::jobs::JobStatus`] of a job that fetches what is missing |
//! | `POST /{vid}/repair` | [`crate::sync::Synced`]: some needles were compared with other replicas' |
//! | `GET /{vid}/keys?first={key}` | a [`super::listing`] of the keys from there on |
//! | `POST /{vid}/records` | the [`super::records`] of the first of a JSON list of keys |
//! | `POST /{vid}/compact` | 202 with the [`crate::jobs::JobStatus`] of a new job |
//! | `PUT /{vid}/scrub-hold` | 204: its scrub rests for a while, see [`crate::scrub::SCRUB_HOLD`] |
//! | `GET`, `DELETE /jobs/{id}` | the [`crate::jobs::JobStatus`]; 204: the job was asked to stop |
//! | `GET`, `HEAD /{vid}/{key}/{cookie}` | the data, with ranges and conditions |
//! | `GET /parts/{part}/{part}/…` | small [`super::parts`] of needles |
//! | `DELETE /{vid}/{key}/{cookie}` | 204; the tombstone says what [`META_HEADER`] does |
//! | `GET /status` | [`crate::status::StoreStatus`] |
//!
//! What changes something says for which epoch of the volume ([`super::EPOCH_HEADER`]): an older one
//! than the replica knows is refused, a newer one written down first.
//!
//! A request that names another cluster ([`CLUSTER_HEADER`]) is refused with 421.

use std::fmt::Write as _;
use std::future::ready;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::StreamExt as _;
use hayrick_service::ApiError;
use hayrick_service::conditional::{ETag, Validators};
use hayrick_service::download::{Content, respond, respond_at_once};
use hayrick_service::listen::{App, Head, Short, Shortcut};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    CLUSTER_HEADER, ForEpoch, META_HEADER, api_error, batch, meta_of, meta_value, parts, pull,
    replica,
};
use crate::error::StoreError;
use crate::format::meta::Meta;
use crate::format::needle::MAX_DATA_BYTES;
use crate::id::{Cookie, Key, NeedleId, VolumeId};
use crate::memory::PeerMemory;
use crate::status::StoreStatus;
use crate::store::{NeedleReader, Store};
use crate::volume::NewNeedle;

/// Two quotes, a key, a dash and a checksum.
const MOST_ETAG_BYTES: usize = 2 + 16 + 1 + 8;

type Needle = Path<(VolumeId, Key, Cookie)>;

/// What answers on the internal listener.
pub fn app(store: Arc<Store>) -> App {
    let cluster = store.cluster().to_string();
    App::with_shortcut(router(Arc::clone(&store)), Cached { store, cluster })
}

fn router(store: Arc<Store>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/{vid}", post(put_batch))
        .route("/{vid}/{key}/{cookie}", get(read).head(read).put(put).delete(delete))
        .with_state(Arc::clone(&store))
        .merge(parts::serve::router(Arc::clone(&store)))
        .merge(pull::router(Arc::clone(&store)))
        .merge(replica::router(Arc::clone(&store)))
        .layer(from_fn_with_state(store, check_cluster))
}

/// An address may have been given to a store of another cluster since it was looked up.
async fn check_cluster(
    State(store): State<Arc<Store>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let asked = request.headers().get(CLUSTER_HEADER);
    let ours = store.cluster();
    if asked.is_some_and(|asked| asked != ours.to_string().as_str()) {
        let message = format!("this store is part of cluster {ours}: look up its address again");
        return ApiError::new(StatusCode::MISDIRECTED_REQUEST, "WrongCluster", message)
            .into_response();
    }
    next.run(request).await
}

/// GETs of small needles that the page cache holds: most of what a store is asked for.
struct Cached {
    store: Arc<Store>,
    cluster: String,
}

impl Shortcut for Cached {
    fn answer(&self, head: &Head<'_>) -> Option<Short> {
        let cluster = head.headers.get(CLUSTER_HEADER);
        if head.method != Method::GET || cluster.is_some_and(|asked| *asked != self.cluster) {
            return None;
        }
        if let Some(parts) = parts::serve::answer_at_once(&self.store, head.uri.path()) {
            return Some(parts.into());
        }
        let needle = self.store.open_cached_whole(needle_of(head.uri.path())?)?;
        let data = needle.stored().whole()?.clone();
        respond_at_once(head.headers, content(&needle), data).map(Short::Now)
    }
}

/// The needle that a path of three plain numbers names.
fn needle_of(path: &str) -> Option<NeedleId> {
    let mut parts = path.strip_prefix('/')?.split('/');
    let (volume, key, cookie) = (parts.next()?, parts.next()?, parts.next()?);
    let is_all = parts.next().is_none();
    let id = NeedleId::new(volume.parse().ok()?, key.parse().ok()?, cookie.parse().ok()?);
    is_all.then_some(id)
}

async fn status(State(store): State<Arc<Store>>) -> Json<StoreStatus> {
    Json(store.status())
}

async fn put(
    State(store): State<Arc<Store>>,
    Path((volume, key, cookie)): Needle,
    ForEpoch(epoch): ForEpoch,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    let (data, _memory) = collect(store.memory(), &headers, body, MAX_DATA_BYTES as usize).await?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let meta =
        Meta { content_type: content_type.unwrap_or_default().to_owned(), ..Meta::default() };
    let needle = NewNeedle { key, cookie, meta, data };
    store.put(volume, epoch, vec![needle]).await.map_err(api_error)?;
    Ok(StatusCode::CREATED.into_response())
}

async fn put_batch(
    State(store): State<Arc<Store>>,
    Path(volume): Path<VolumeId>,
    ForEpoch(epoch): ForEpoch,
    headers: HeaderMap,
    body: Body,
) -> Result<Response<Body>, ApiError> {
    let (body, _memory) = collect(store.memory(), &headers, body, batch::MAX_BATCH_BYTES).await?;
    let needles = batch::decode(body).map_err(|error| ApiError::bad_request(error.to_string()))?;
    store.put(volume, epoch, needles).await.map_err(api_error)?;
    Ok(StatusCode::CREATED.into_response())
}

/// Reads a body into memory that is set aside for it first.
async fn collect(
    memory: &PeerMemory,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<(Bytes, OwnedSemaphorePermit), ApiError> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let expected: usize = announced.unwrap_or(limit);
    if expected > limit {
        return Err(ApiError::too_large(limit as u64));
    }
    let memory = memory.set_aside(expected as u64).map_err(api_error)?;
    let mut pieces = body.into_data_stream();
    let mut data = Vec::with_capacity(announced.unwrap_or(0));
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| ApiError::from_body(&error))?;
        if data.len() + piece.len() > expected {
            return Err(ApiError::too_large(limit as u64));
        }
        data.extend_from_slice(&piece);
    }
    Ok((data.into(), memory))
}

async fn read(
    State(store): State<Arc<Store>>,
    Path((volume, key, cookie)): Needle,
    method: Method,
    headers: HeaderMap,
) -> Result<Response<Body>, ApiError> {
    let id = NeedleId::new(volume, key, cookie);
    let found = match method {
        Method::HEAD => store.stat_needle(id).await,
        _ => store.open_needle(id).await,
    };
    let needle = found.map_err(api_error)?;
    let content = content(&needle);
    let open = move |range| ready(Ok(needle.clone().stream(range).map(log_error)));
    respond(&method, &headers, content, open).await.map_err(api_error)
}

/// The head of the answer is gone by now, so this is where the error is handled.
fn log_error(piece: Result<Bytes, StoreError>) -> Result<Bytes, StoreError> {
    piece.inspect_err(|error| tracing::error!(%error, "answer cut short"))
}

fn content(needle: &NeedleReader) -> Content {
    let octets = HeaderValue::from_static("application/octet-stream");
    let content_type = match needle.meta().content_type {
        "" => octets,
        text => HeaderValue::from_str(text).unwrap_or(octets),
    };
    let header = needle.stored().header();
    // A needle never changes, so its checksum and key tell it from every other.
    let mut etag = String::with_capacity(MOST_ETAG_BYTES);
    // A String takes whatever is written to it.
    let _ = write!(etag, "\"{:x}-{:x}\"", header.key.get(), header.body_crc);
    // Room for those that the answer gets besides.
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(META_HEADER, meta_value(needle.stored().encoded_meta()));
    let last_modified = Some(needle.stored().appended_at());
    let validators = Validators { etag: etag.parse::<ETag>().ok(), last_modified };
    Content { content_type, size_bytes: needle.size(), validators, headers }
}

async fn delete(
    State(store): State<Arc<Store>>,
    Path((volume, key, cookie)): Needle,
    ForEpoch(epoch): ForEpoch,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let id = NeedleId::new(volume, key, cookie);
    let removed = meta_of(&headers).map_err(api_error)?;
    let existed = store.delete_removed(id, epoch, removed).await.map_err(api_error)?;
    if existed { Ok(StatusCode::NO_CONTENT) } else { Err(api_error(StoreError::NotFound)) }
}
