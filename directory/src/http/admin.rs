//! What operators ask of a directory, on the admin listener.
//!
//! | request | answer |
//! |---|---|
//! | `GET /directory/status` | [`DirectoryStatus`] |
//! | `GET /directory/buckets` | [`Bucket`]s, by name |
//! | `POST /directory/buckets` | 201 with the [`Bucket`] made from a [`NewBucket`] |
//! | `GET /directory/buckets/{name}` | [`Bucket`] |
//! | `PATCH /directory/buckets/{name}` | the [`Bucket`] after an [`AccessChange`] |
//! | `PUT /directory/buckets/{name}/images` | the [`Bucket`] after its [`ImagePolicy`] was replaced |
//! | `DELETE /directory/buckets/{name}` | 204: the bucket was empty and is gone |
//! | `GET /directory/buckets/{name}/keys` | [`KeyInfo`]s, without their secrets |
//! | `POST /directory/buckets/{name}/keys` | 201 with the [`AccessKey`], its secret for the only time |
//! | `DELETE /directory/keys/{id}` | 204: the key opens nothing from now on |
//! | `GET /directory/cluster` | [`ClusterStatus`]: stores, volumes, orders, the keeper |
//! | `POST /directory/fsck` | 202 with the [`FsckStatus`](crate::fsck::FsckStatus) of the comparison begun by an [`FsckRequest`](crate::fsck::FsckRequest) |
//! | `GET /directory/fsck` | the same as it is now |
//! | `DELETE /directory/fsck` | 204: it is stopped |
//! | `GET /directory/stores` | [`LastReport`]s: what each store said of itself |
//! | `DELETE /directory/stores/{id}` | 204: the store was gone and empty, and is struck from the map |
//! | `POST /directory/orders` | 201 with the [`NamedOrder`] made from an [`Order`](crate::Order) |
//! | `DELETE /directory/orders/{id}` | 204: the keeper does not follow it any more |
//! | `PUT /directory/volumes/{id}/state` | 204: the volume has the state of a [`StateChange`] |
//! | `POST /directory/volumes` | 201 with the [`NewVolume`] made from a [`VolumeRequest`] |

mod cluster;
mod fsck;

use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, StatusCode};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use hayrick_service::ApiError;
use hayrick_store::VolumeId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::cluster::{ClusterStatus, NamedOrder, StateChange, StoreEntry, VolumeEntry};
use super::api_error;
use crate::{
    Access, AccessKey, Bucket, BucketName, ClusterMap, Directory, ImagePolicy, LastReport, StoreId,
};

/// The directory at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryStatus {
    /// Names the cluster.
    pub cluster_id: Uuid,
    /// The stores that are part of it.
    pub stores: Vec<StoreId>,
    /// Volumes on the cluster map.
    pub volumes: usize,
    /// Those of them that the cluster lets be written.
    pub writable_volumes: usize,
    /// Buckets.
    pub buckets: usize,
    /// Replaced and deleted needles that the stores have not all deleted yet.
    pub garbage_needles: u64,
}

/// A bucket to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewBucket {
    /// Its name.
    pub name: BucketName,
    /// Who may read; private where it is not told.
    #[serde(default = "private")]
    pub read: Access,
    /// Who may write; private where it is not told.
    #[serde(default = "private")]
    pub write: Access,
    /// On how many stores each needle is kept; 1 where it is not told.
    #[serde(default = "one")]
    pub copies: u8,
}

/// Who may use a bucket from now on; what is left out stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessChange {
    /// Who may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Access>,
    /// Who may write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<Access>,
}

/// An access key as it is shown: without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// Names the key in tokens.
    pub id: String,
    /// The bucket it opens.
    pub bucket: BucketName,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
}

/// A volume to be made, beside those that the directory makes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeRequest {
    /// On how many stores; 1 where it is not told.
    #[serde(default = "one")]
    pub copies: u8,
}

/// A volume that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewVolume {
    /// Its id.
    pub volume: VolumeId,
    /// The stores that hold it.
    pub stores: Vec<StoreId>,
}

const fn private() -> Access {
    Access::Private
}

const fn one() -> u8 {
    1
}

/// The routes of the admin listener.
pub fn router(directory: Directory) -> Router {
    Router::new()
        .route("/directory/status", get(status))
        .route("/directory/buckets", get(list_buckets).post(create_bucket))
        .route(
            "/directory/buckets/{name}",
            get(show_bucket).patch(change_access).delete(remove_bucket),
        )
        .route("/directory/buckets/{name}/images", put(set_images))
        .route("/directory/buckets/{name}/keys", get(list_keys).post(create_key))
        .route("/directory/keys/{id}", delete(remove_key))
        .route("/directory/volumes", post(create_volume))
        .route("/directory/volumes/{id}/state", put(cluster::set_state))
        .route("/directory/cluster", get(cluster::show))
        .route("/directory/fsck", get(fsck::show).post(fsck::start).delete(fsck::stop))
        .route("/directory/stores", get(list_stores))
        .route("/directory/stores/{id}", delete(cluster::remove_store))
        .route("/directory/orders", post(cluster::put_order))
        .route("/directory/orders/{id}", delete(cluster::remove_order))
        .with_state(directory)
}

async fn status(State(directory): State<Directory>) -> Result<Json<DirectoryStatus>, ApiError> {
    let map = directory.map();
    Ok(Json(DirectoryStatus {
        cluster_id: map.cluster_id,
        stores: directory.stores(),
        volumes: map.volumes.len(),
        writable_volumes: writable_volumes(&map),
        buckets: map.buckets.len(),
        garbage_needles: directory.garbage_len().await.map_err(api_error)?,
    }))
}

fn writable_volumes(map: &ClusterMap) -> usize {
    map.volumes.values().filter(|volume| volume.value.takes_needles()).count()
}

async fn list_stores(State(directory): State<Directory>) -> Json<Vec<LastReport>> {
    Json(directory.reports())
}

async fn list_buckets(State(directory): State<Directory>) -> Json<Vec<Bucket>> {
    Json(directory.buckets())
}

async fn create_bucket(
    State(directory): State<Directory>,
    Json(new): Json<NewBucket>,
) -> Result<(StatusCode, Json<Bucket>), ApiError> {
    let NewBucket { name, read, write, copies } = new;
    let copies = positive(copies)?;
    let bucket = directory.create_bucket(name, read, write, copies).await.map_err(api_error)?;
    tracing::info!(bucket = %bucket.name, ?read, ?write, copies, "bucket created");
    Ok((StatusCode::CREATED, Json(bucket)))
}

async fn show_bucket(
    State(directory): State<Directory>,
    Path(name): Path<BucketName>,
) -> Result<Json<Bucket>, ApiError> {
    find(&directory, &name).map(Json)
}

async fn change_access(
    State(directory): State<Directory>,
    Path(name): Path<BucketName>,
    Json(change): Json<AccessChange>,
) -> Result<Json<Bucket>, ApiError> {
    let bucket = find(&directory, &name)?;
    let read = change.read.unwrap_or(bucket.read);
    let write = change.write.unwrap_or(bucket.write);
    let bucket = directory.set_access(&name, read, write).await.map_err(api_error)?;
    tracing::info!(bucket = %name, ?read, ?write, "bucket changed");
    Ok(Json(bucket))
}

async fn set_images(
    State(directory): State<Directory>,
    Path(name): Path<BucketName>,
    Json(images): Json<ImagePolicy>,
) -> Result<Json<Bucket>, ApiError> {
    images.check().map_err(|error| ApiError::bad_request(error.to_string()))?;
    let bucket = directory.set_images(&name, images).await.map_err(api_error)?;
    tracing::info!(bucket = %name, images = ?bucket.images, "what may be made of its pictures has changed");
    Ok(Json(bucket))
}

fn find(directory: &Directory, name: &BucketName) -> Result<Bucket, ApiError> {
    let missing = || api_error(crate::DirectoryError::NoBucket(name.clone()));
    directory.bucket(name).ok_or_else(missing)
}

async fn remove_bucket(
    State(directory): State<Directory>,
    Path(name): Path<BucketName>,
) -> Result<StatusCode, ApiError> {
    directory.remove_bucket(&name).await.map_err(api_error)?;
    tracing::info!(bucket = %name, "bucket removed");
    Ok(StatusCode::NO_CONTENT)
}

async fn list_keys(
    State(directory): State<Directory>,
    Path(bucket): Path<BucketName>,
) -> Result<Json<Vec<KeyInfo>>, ApiError> {
    let keys = directory.access_keys(&bucket).map_err(api_error)?;
    Ok(Json(keys.into_iter().map(KeyInfo::from).collect()))
}

async fn create_key(
    State(directory): State<Directory>,
    Path(bucket): Path<BucketName>,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<AccessKey>), ApiError> {
    let key = directory.create_access_key(&bucket).await.map_err(api_error)?;
    tracing::info!(%bucket, key_id = %key.id, "access key created");
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(key)))
}

async fn remove_key(
    State(directory): State<Directory>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    directory.remove_access_key(&id).await.map_err(api_error)?;
    tracing::info!(key_id = %id, "access key removed");
    Ok(StatusCode::NO_CONTENT)
}

async fn create_volume(
    State(directory): State<Directory>,
    Json(VolumeRequest { copies }): Json<VolumeRequest>,
) -> Result<(StatusCode, Json<NewVolume>), ApiError> {
    let copies = positive(copies)?;
    let volume = directory.create_volume(copies).await.map_err(api_error)?;
    Ok((StatusCode::CREATED, Json(NewVolume { volume, stores: directory.replicas(volume) })))
}

fn positive(copies: u8) -> Result<u8, ApiError> {
    if copies == 0 { Err(ApiError::bad_request("copies must be at least 1")) } else { Ok(copies) }
}

impl From<AccessKey> for KeyInfo {
    fn from(key: AccessKey) -> Self {
        let AccessKey { id, secret: _, bucket, created_ms } = key;
        Self { id, bucket, created_ms }
    }
}

#[cfg(test)]
mod tests;
