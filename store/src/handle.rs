//! A store, wherever it runs.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};

use crate::client::StoreClient;
use crate::error::StoreError;
use crate::format::meta::Meta;
use crate::id::{NeedleId, VolumeId};
use crate::status::StoreStatus;
use crate::store::Store;
use crate::volume::NewNeedle;

/// Verified bytes of a needle.
pub type NeedleBytes = BoxStream<'static, Result<Bytes, StoreError>>;

/// A store in this process or on another machine; who asks need not know which.
#[derive(Clone)]
pub enum StoreHandle {
    /// In this process.
    Local(Arc<Store>),
    /// Behind a network.
    Remote(StoreClient),
}

impl StoreHandle {
    /// Stores needles in one volume: all of them or none, durable when this returns.
    /// A repeated put of the same needles succeeds.
    pub async fn put(&self, volume: VolumeId, needles: Vec<NewNeedle>) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.put(volume, needles).await,
            Self::Remote(store) => store.put(volume, &needles).await,
        }
    }

    /// The bytes of `range` of a needle, which must lie within it and not be empty.
    pub async fn read(&self, id: NeedleId, range: Range<u64>) -> Result<NeedleBytes, StoreError> {
        match self {
            Self::Local(store) => {
                let needle = store.open_needle(id).await?;
                if range.end > needle.size() {
                    let message = format!("needle {id} has {} bytes", needle.size());
                    return Err(StoreError::Malformed(message));
                }
                Ok(needle.stream(range).boxed())
            }
            Self::Remote(store) => Ok(store.read(id, range).await?.boxed()),
        }
    }

    /// Deletes a needle, durably, and tells whether there was one. The tombstone says what is
    /// in `removed`: the name that was removed, if one was.
    pub async fn delete(&self, id: NeedleId, removed: Meta) -> Result<bool, StoreError> {
        match self {
            Self::Local(store) => store.delete_removed(id, removed).await,
            Self::Remote(store) => store.delete(id, &removed).await,
        }
    }

    /// Makes an empty volume. One that is there already is a success.
    pub async fn create_volume(&self, volume: VolumeId) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.create_volume(volume).await,
            Self::Remote(store) => store.create_volume(volume).await,
        }
    }

    /// The store at this moment.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        match self {
            Self::Local(store) => Ok(store.status()),
            Self::Remote(store) => store.status().await,
        }
    }
}
