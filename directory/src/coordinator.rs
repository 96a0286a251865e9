//! What all of a cluster must agree on, and how it is changed.
//!
//! Every entry carries a revision, and every change of an existing entry names the
//! revision it was made from: who lost a race is told so and looks again. The map
//! is handed out as one snapshot, so no reader ever sees half of a change. Both fit
//! a coordination service with versioned nodes as well as a file.

#[cfg(test)]
mod conformance;
mod embedded;
mod members;
mod orders;
mod rules;
pub mod zookeeper;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use hayrick_store::VolumeId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) use self::embedded::Amendment;
pub use self::embedded::{EmbeddedCoordinator, MapChanges};
pub use self::members::{DirectoryInfo, Illness, KeeperInfo, KnownStore, Member, MemberDisk};
pub use self::orders::{Order, OrderId};
use crate::{AccessKey, Bucket, BucketName, StoreId};

/// What all of a cluster agrees on, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterMap {
    /// Names the cluster; stores refuse volumes of another.
    pub cluster_id: Uuid,
    /// Every volume that may hold needles.
    pub volumes: BTreeMap<VolumeId, Versioned<Volume>>,
    /// The buckets.
    pub buckets: BTreeMap<BucketName, Versioned<Bucket>>,
    /// The access keys, by their id.
    pub access_keys: BTreeMap<String, AccessKey>,
    /// What operators have told the keeper.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub orders: BTreeMap<OrderId, Order>,
    /// Stores that the keeper found not to be well.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ill: BTreeMap<StoreId, Illness>,
    /// Every store that was ever seen, and whether it is there now. Empty where all
    /// stores are in one process: nobody comes or goes there.
    #[serde(skip)]
    pub stores: BTreeMap<StoreId, KnownStore>,
    /// The directories that are there now, by the boot ids of their processes. Empty where
    /// all is in one process.
    #[serde(skip)]
    pub directories: BTreeMap<Uuid, DirectoryInfo>,
    /// The keeper that leads, if any does.
    #[serde(skip)]
    pub keeper: Option<KeeperInfo>,
}

impl ClusterMap {
    /// A cluster without anything.
    pub(crate) fn empty(cluster_id: Uuid) -> Self {
        Self {
            cluster_id,
            volumes: BTreeMap::new(),
            buckets: BTreeMap::new(),
            access_keys: BTreeMap::new(),
            orders: BTreeMap::new(),
            ill: BTreeMap::new(),
            stores: BTreeMap::new(),
            directories: BTreeMap::new(),
            keeper: None,
        }
    }

    /// Whether a store is being emptied: it gets nothing new.
    pub fn is_draining(&self, store: &StoreId) -> bool {
        self.orders.contains_key(&Order::Drain { store: store.clone() }.id())
    }

    /// Whether the keeper finds nothing wrong with the stores of a volume.
    pub(crate) fn is_well(&self, volume: &Volume) -> bool {
        !volume.replicas.iter().any(|store| self.ill.contains_key(store))
    }
}

/// A value and the revision that a change of it has to name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versioned<T> {
    /// Rises with every change of the value.
    pub revision: u64,
    /// The value.
    pub value: T,
}

/// Where a volume is and what may be done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The stores that hold it; never empty.
    pub replicas: Vec<StoreId>,
    /// Rises with every change of `replicas`; a store refuses an older one.
    pub epoch: u64,
    /// What the cluster lets be done with it.
    pub state: VolumeState,
    /// The store whose replica the keeper is moving elsewhere. Until that is over the volume
    /// takes no new needles, whatever its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<StoreId>,
    /// The store that was taken into `replicas` last, until it is known to hold what the others
    /// took while they did not know of it. Others are not made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<StoreId>,
}

impl Volume {
    /// The epoch of a new volume.
    pub const FIRST_EPOCH: u64 = 1;

    /// A new volume on these stores, which takes needles.
    pub fn new(replicas: Vec<StoreId>) -> Self {
        let state = VolumeState::Writable;
        Self { replicas, epoch: Self::FIRST_EPOCH, state, moving: None, joining: None }
    }

    /// Whether the cluster lets needles be added; its stores may still refuse.
    pub fn takes_needles(&self) -> bool {
        self.state == VolumeState::Writable && self.moving.is_none()
    }
}

/// What the cluster lets be done with a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    /// Reads, deletes and, as far as its stores allow, appends.
    Writable,
    /// Reads and deletes.
    ReadOnly,
}

/// A change's outcome, once it is durable.
pub type Change<'a, T> = BoxFuture<'a, Result<T, CoordinatorError>>;

/// The keeper of the [`ClusterMap`], of the volume id counter and of key leases.
///
/// A change is durable, and on this process's map, when its future is done, and once
/// begun it is carried through even if the future is dropped. Ids and keys are never given out twice, whatever
/// crashes; those given out and not used are lost, which costs nothing.
pub trait Coordinator: Send + Sync + 'static {
    /// The map as it is now. Never waits.
    fn map(&self) -> Arc<ClusterMap>;

    /// What this process registers by, if it does: a number of its own, drawn at its start.
    fn boot_id(&self) -> Option<Uuid> {
        None
    }

    /// Tells of every new map. A slow reader misses those between, never the last.
    fn subscribe(&self) -> watch::Receiver<Arc<ClusterMap>>;

    /// Takes the next volume id. Nobody gets it again.
    fn reserve_volume_id(&self) -> Change<'_, VolumeId>;

    /// Puts a volume with a reserved id on the map: from now on it may hold needles.
    fn publish_volume(&self, id: VolumeId, volume: Volume) -> Change<'_, ()>;

    /// Changes a volume that still has the revision `expected`; answers the new one.
    fn update_volume(&self, id: VolumeId, expected: u64, volume: Volume) -> Change<'_, u64>;

    /// Takes the next `count` keys of a volume on the map. Nobody gets them again.
    fn lease_keys(&self, volume: VolumeId, count: u64) -> Change<'_, Range<u64>>;

    /// Makes a bucket.
    fn create_bucket(&self, bucket: Bucket) -> Change<'_, ()>;

    /// Changes a bucket that still has the revision `expected`; answers the new one.
    fn update_bucket(&self, expected: u64, bucket: Bucket) -> Change<'_, u64>;

    /// Removes a bucket that still has the revision `expected`, and its access keys.
    fn remove_bucket(&self, name: &BucketName, expected: u64) -> Change<'_, ()>;

    /// Adds an access key to a bucket that exists.
    fn add_access_key(&self, key: AccessKey) -> Change<'_, ()>;

    /// Removes an access key.
    fn remove_access_key(&self, id: &str) -> Change<'_, ()>;

    /// Tells the keeper something. An order that stands already is a success.
    fn put_order(&self, order: Order) -> Change<'_, ()>;

    /// Takes an order back, or strikes one that is done.
    fn remove_order(&self, id: &OrderId) -> Change<'_, ()>;

    /// Lets all know that a store is not well. What was said of it first stays.
    fn mark_ill(&self, store: &StoreId, illness: Illness) -> Change<'_, ()>;

    /// Lets all know that a store is well. One that was not called ill is a success.
    fn mark_well(&self, store: &StoreId) -> Change<'_, ()>;

    /// Strikes a store that is gone for good from the map.
    ///
    /// # Errors
    /// [`CoordinatorError::InUse`] while it is there, or a volume is on it.
    fn remove_store(&self, id: &StoreId) -> Change<'_, ()>;
}

/// Why the coordinator did not do what it was asked. Nothing was changed, except
/// where said otherwise.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The entry has changed since it was read: look again.
    #[error("{what} was changed by another (revision {actual}, expected {expected})")]
    Conflict {
        /// The entry.
        what: String,
        /// The revision named by the change.
        expected: u64,
        /// The revision it has.
        actual: u64,
    },
    /// There is such an entry already.
    #[error("{0} exists already")]
    Exists(String),
    /// There is no such entry.
    #[error("{0} does not exist")]
    Missing(String),
    /// The entry is needed, by whom the text says.
    #[error("{what} is in use: {reason}")]
    InUse {
        /// The entry.
        what: String,
        /// By whom, and what to do about it.
        reason: String,
    },
    /// The change would break a rule of the map: our bug.
    #[error("not a valid change: {0}")]
    Invalid(&'static str),
    /// All ids or keys have been given out.
    #[error("no {0} are left")]
    Exhausted(&'static str),
    /// Another process has the file open.
    #[error("{} is in use by another process: stop that one first", .0.display())]
    Locked(PathBuf),
    /// The file is not what was written.
    #[error(
        "cluster map {} is damaged ({reason}); nothing was changed. Put back a copy of it from \
         a backup: an old one serves, as stores refuse keys that were used since",
        .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "cluster map {} has format {found}, this version reads up to {supported}: install the \
         version that wrote it",
        .path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The newest format known here.
        supported: u32,
    },
    /// An earlier change may or may not have reached the disk, so none is taken
    /// until a restart has read what is there.
    #[error("the cluster map refuses changes after a failed write, until a restart")]
    Failed,
    /// The coordination service does not answer. Try again later; readers go on with
    /// the last map.
    #[error("ZooKeeper at {servers} is not to be reached ({reason}): nothing was changed")]
    Unavailable {
        /// Where it was looked for.
        servers: String,
        /// What was met last.
        reason: String,
    },
    /// The connection broke while the change was under way, and it was not found out in
    /// time whether it was made: look again.
    #[error("it is not known whether {0} was changed: look again")]
    InDoubt(String),
    /// The coordination service refuses this process.
    #[error(
        "ZooKeeper refuses access to {0}: set the user and password that the cluster was made with"
    )]
    Denied(String),
    /// This is another cluster than the one known here: a wrong address, or a
    /// coordination service that has lost its data.
    #[error(
        "{place} holds {}, expected cluster {expected}: correct the address, or restore ZooKeeper's data",
        .found.map_or_else(|| "no cluster".to_owned(), |found| format!("cluster {found}"))
    )]
    WrongCluster {
        /// Where it was looked for.
        place: String,
        /// The cluster that is there.
        found: Option<Uuid>,
        /// The cluster known here.
        expected: Uuid,
    },
    /// Another live process has this store's id.
    #[error(
        "store {store} is running already at {address}: stop that process, or give this one \
         another store id"
    )]
    StoreTaken {
        /// The store.
        store: StoreId,
        /// The address of the other process.
        address: String,
    },
    /// An entry in the coordination service is not what was written. Correct it there.
    #[error("{node} in ZooKeeper is damaged ({reason}): correct it")]
    Damaged {
        /// The node.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The coordination service does not take the change, whoever asks.
    #[error("ZooKeeper refuses to change {what}: {reason}")]
    Refused {
        /// What was to be changed.
        what: String,
        /// Its reason.
        reason: String,
    },
    /// The settings make no sense.
    #[error("{0}")]
    Setup(String),
    /// Writing failed. The map is as before.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
