//! What the directory asks of stores, so that it needs no store to be tested.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use futures::future::BoxFuture;
use hayrick_store::volume::{Held, KeyPage};
use hayrick_store::{Epoch, Key, NeedleId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::bucket::{NameError, text_conversions};
use crate::names::Removal;

/// The name of a store, unique in the cluster: 1 to 64 characters of letters,
/// digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StoreId(Arc<str>);

/// Where stores fail together: copies of a volume go to different racks. The name has
/// the form of a [`StoreId`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rack(Arc<str>);

/// The machine that a store runs on. Stores of one machine fail together too, and copies of a
/// volume go to different machines where there are not racks enough. The name has the form of a
/// [`StoreId`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Host(Arc<str>);

/// The stores of the cluster, as the directory talks to them.
///
/// Every call has an end: an implementation answers
/// [`Unavailable`](StoreFault::Unavailable) after a deadline of its own.
pub trait Stores: Send + Sync + 'static {
    /// The stores that are part of the cluster now, reachable or not.
    fn ids(&self) -> Vec<StoreId>;

    /// Makes an empty volume. Making one that is there already is a success.
    fn create_volume(&self, store: &StoreId, volume: VolumeId, epoch: Epoch)
    -> StoreAnswer<'_, ()>;

    /// A page of the keys of a replica, from `first` on.
    fn keys(
        &self,
        store: &StoreId,
        volume: VolumeId,
        epoch: Epoch,
        first: Key,
    ) -> StoreAnswer<'_, KeyPage>;

    /// What a replica holds under the first of `keys`, at least one of them.
    fn records(
        &self,
        store: &StoreId,
        volume: VolumeId,
        epoch: Epoch,
        keys: Vec<Key>,
    ) -> StoreAnswer<'_, Vec<(Key, Held)>>;

    /// Asks a store how it is.
    fn status(&self, store: &StoreId) -> StoreAnswer<'_, StoreReport>;

    /// What each of a store's replicas holds, in short.
    fn contents(&self, store: &StoreId) -> StoreAnswer<'_, BTreeMap<VolumeId, ReplicaContent>>;

    /// Deletes a needle, durably, and keeps with that which name was removed, if one was.
    /// Deleting one that is gone is a success.
    fn delete(
        &self,
        store: &StoreId,
        needle: NeedleId,
        epoch: Epoch,
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
    /// The store knows a newer epoch of the volume than the caller. Look at the cluster map
    /// again, and try later.
    #[error("the cluster map is older than what the store was told: {0}")]
    Stale(String),
    /// No room on the store's disks. Look for another store.
    #[error("the store's disks are full")]
    Full,
    /// The store tried and failed.
    #[error("store failed: {0}")]
    Failed(String),
}

/// How a store is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// Its volumes, in any order.
    pub volumes: Vec<VolumeReport>,
    /// Its disks, in any order.
    pub disks: Vec<DiskReport>,
}

/// How one replica of a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

/// What a replica holds, in short. Of two that hold the same, digest and needles are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaContent {
    /// Of its live needles, whatever their order; `None` while that is not known exactly.
    pub digest: Option<String>,
    /// How many they are.
    pub live_needles: u64,
    /// When it was appended to last, by its own clock.
    pub last_append_ns: u64,
}

/// How one disk of a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl Rack {
    /// The rack's name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Host {
    /// The host's name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&StoreId> for Host {
    /// Where no machine was named, each store counts as one.
    fn from(store: &StoreId) -> Self {
        Self(Arc::clone(&store.0))
    }
}

impl FromStr for StoreId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked("a store id", text).map(Self)
    }
}

impl FromStr for Rack {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked("a rack", text).map(Self)
    }
}

impl FromStr for Host {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked("a host", text).map(Self)
    }
}

fn checked(kind: &'static str, text: &str) -> Result<Arc<str>, NameError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !(1..=64).contains(&text.len()) || !text.bytes().all(allowed) {
        return Err(NameError::new(
            kind,
            "it needs 1 to 64 letters, digits, `.`, `_` or `-`",
            text,
        ));
    }
    if matches!(text, "." | "..") {
        return Err(NameError::new(kind, "it would mean a folder", text));
    }
    Ok(text.into())
}

text_conversions!(StoreId);
text_conversions!(Rack);
text_conversions!(Host);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_ids_and_racks() {
        for good in ["a", "store-1.rack_2", "...", &"x".repeat(64)] {
            assert_eq!(good.parse::<StoreId>().unwrap().to_string(), good);
            assert_eq!(good.parse::<Rack>().unwrap().to_string(), good);
            assert_eq!(good.parse::<Host>().unwrap().to_string(), good);
        }
        for bad in ["", ".", "..", "a/b", "a b", "\u{e9}", &"x".repeat(65)] {
            assert!(bad.parse::<StoreId>().is_err() && bad.parse::<Rack>().is_err(), "{bad}");
        }
    }
}
