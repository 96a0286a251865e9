//! What the directory asks of stores, so that it needs no store to be tested.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use futures::future::BoxFuture;
use hayrick_store::{NeedleId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::bucket::NameError;
use crate::names::Removal;

/// The name of a store, unique in the cluster: 1 to 64 characters of letters,
/// digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId(Arc<str>);

/// The stores of the cluster, as the directory talks to them.
///
/// Every call has an end: an implementation answers
/// [`Unavailable`](StoreFault::Unavailable) after a deadline of its own.
pub trait Stores: Send + Sync + 'static {
    /// The stores that are part of the cluster now, reachable or not.
    fn ids(&self) -> Vec<StoreId>;

    /// Makes an empty volume. Making one that is there already is a success.
    fn create_volume(&self, store: &StoreId, volume: VolumeId) -> StoreAnswer<'_, ()>;

    /// Asks a store how it is.
    fn status(&self, store: &StoreId) -> StoreAnswer<'_, StoreReport>;

    /// Deletes a needle, durably, and keeps with that which name was removed, if one was.
    /// Deleting one that is gone is a success.
    fn delete(
        &self,
        store: &StoreId,
        needle: NeedleId,
        removal: Option<&Removal>,
    ) -> StoreAnswer<'_, ()>;
}

/// What a call to a store comes to.
pub type StoreAnswer<'a, T> = BoxFuture<'a, Result<T, StoreFault>>;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// The store is not one of the cluster's, or was not reached in time. Try later.
    #[error("store not reached: {0}")]
    Unavailable(String),
    /// The store answered that it has no such volume. The cluster map and the
    /// store disagree: nothing may be concluded about the volume's needles.
    #[error("the store has no volume {0}")]
    NoVolume(VolumeId),
    /// No room on the store's disks. Look for another store.
    #[error("the store's disks are full")]
    Full,
    /// The store tried and failed.
    #[error("store failed: {0}")]
    Failed(String),
}

/// How a store is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// Its volumes, in any order.
    pub volumes: Vec<VolumeReport>,
    /// Its disks, in any order.
    pub disks: Vec<DiskReport>,
}

/// How one replica of a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeReport {
    /// Which volume.
    pub volume: VolumeId,
    /// Whether it takes appends now.
    pub writable: bool,
    /// Bytes of needles that are not deleted.
    pub live_bytes: u64,
    /// Bytes of the volume file.
    pub file_bytes: u64,
    /// The size at which the file takes no more appends.
    pub limit_bytes: u64,
}

/// How one disk of a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskReport {
    /// Whether new volumes may be made on it.
    pub writable: bool,
    /// Bytes that are free.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

impl StoreId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            let reason = "it needs 1 to 64 letters, digits, `.`, `_` or `-`";
            Err(NameError::new("a store id", reason, text))
        }
    }
}

impl TryFrom<String> for StoreId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<StoreId> for String {
    fn from(id: StoreId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
