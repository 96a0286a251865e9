//! The stores of the cluster, wherever they run.

mod follow;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use hayrick_store::status::{StoreStatus, VolumeState, VolumeStatus};
use hayrick_store::volume::{Held, KeyPage};
use hayrick_store::{Epoch, Key, Meta, NeedleId, StoreError, StoreHandle, VolumeId};
use parking_lot::RwLock;

use crate::names::Removal;
use crate::stores::{
    DiskReport, ReplicaContent, StoreAnswer, StoreFault, StoreId, StoreReport, Stores, VolumeReport,
};

/// The longest that the directory waits for a store.
const DEADLINE: Duration = Duration::from_secs(30);

type Handles = Arc<BTreeMap<StoreId, StoreHandle>>;

/// Stores by their ids. Clones share them, and see when they are replaced.
#[derive(Clone, Default)]
pub struct StorePool {
    stores: Arc<RwLock<Handles>>,
}

impl StorePool {
    /// These stores and no others.
    pub fn new(stores: impl IntoIterator<Item = (StoreId, StoreHandle)>) -> Self {
        let pool = Self::default();
        pool.replace(stores);
        pool
    }

    /// From now on these stores and no others.
    pub fn replace(&self, stores: impl IntoIterator<Item = (StoreId, StoreHandle)>) {
        *self.stores.write() = Arc::new(stores.into_iter().collect());
    }

    /// The store with this id, if it is part of the cluster now.
    pub fn get(&self, id: &StoreId) -> Option<StoreHandle> {
        self.stores.read().get(id).cloned()
    }

    fn find(&self, id: &StoreId) -> Result<StoreHandle, StoreFault> {
        let missing = || StoreFault::Unavailable(format!("{id} is not part of the cluster now"));
        self.get(id).ok_or_else(missing)
    }
}

impl Stores for StorePool {
    fn ids(&self) -> Vec<StoreId> {
        self.stores.read().keys().cloned().collect()
    }

    fn create_volume(
        &self,
        store: &StoreId,
        volume: VolumeId,
        epoch: Epoch,
    ) -> StoreAnswer<'_, ()> {
        let store = self.find(store);
        in_time(async move { store?.create_volume(volume, epoch).await.map_err(fault) }).boxed()
    }

    fn keys(
        &self,
        store: &StoreId,
        volume: VolumeId,
        epoch: Epoch,
        first: Key,
    ) -> StoreAnswer<'_, KeyPage> {
        let store = self.find(store);
        in_time(async move { store?.keys(volume, epoch, first).await.map_err(fault) }).boxed()
    }

    fn records(
        &self,
        store: &StoreId,
        volume: VolumeId,
        epoch: Epoch,
        keys: Vec<Key>,
    ) -> StoreAnswer<'_, Vec<(Key, Held)>> {
        let store = self.find(store);
        in_time(async move { store?.records(volume, epoch, &keys).await.map_err(fault) }).boxed()
    }

    fn status(&self, store: &StoreId) -> StoreAnswer<'_, StoreReport> {
        let store = self.find(store);
        in_time(async move { Ok(report(&store?.status().await.map_err(fault)?)) }).boxed()
    }

    fn contents(&self, store: &StoreId) -> StoreAnswer<'_, BTreeMap<VolumeId, ReplicaContent>> {
        let store = self.find(store);
        in_time(async move {
            let status = store?.status().await.map_err(fault)?;
            Ok(status.volumes.iter().map(|volume| (volume.volume, content(volume))).collect())
        })
        .boxed()
    }

    fn delete(
        &self,
        store: &StoreId,
        needle: NeedleId,
        epoch: Epoch,
        removal: Option<&Removal>,
    ) -> StoreAnswer<'_, ()> {
        let store = self.find(store);
        let removed = removal.map(Meta::from).unwrap_or_default();
        let delete = async move {
            match store?.delete(needle, epoch, removed).await {
                // Gone, or another needle's key by now: either way not there any more.
                Ok(_) | Err(StoreError::NotFound) => Ok(()),
                Err(error) => Err(fault(error)),
            }
        };
        in_time(delete).boxed()
    }
}

/// What a tombstone says of a removal.
impl From<&Removal> for Meta {
    fn from(removal: &Removal) -> Self {
        let Removal { bucket, name, version } = removal;
        let (bucket, name) = (bucket.to_string(), name.to_string());
        Self { bucket, name, version: *version, ..Self::default() }
    }
}

async fn in_time<T>(call: impl Future<Output = Result<T, StoreFault>>) -> Result<T, StoreFault> {
    let late = || StoreFault::Unavailable(format!("no answer within {DEADLINE:?}"));
    tokio::time::timeout(DEADLINE, call).await.unwrap_or_else(|_| Err(late()))
}

fn fault(error: StoreError) -> StoreFault {
    match error {
        StoreError::NoVolume(volume) => StoreFault::NoVolume(volume),
        error @ StoreError::StaleEpoch { .. } => StoreFault::Stale(error.to_string()),
        StoreError::DiskFull(_) => StoreFault::Full,
        error @ (StoreError::Busy { .. }
        | StoreError::Copying(_)
        | StoreError::Unavailable { .. }) => StoreFault::Unavailable(error.to_string()),
        error @ (StoreError::NotFound
        | StoreError::Conflict { .. }
        | StoreError::ReadOnly(_)
        | StoreError::NoEpoch { .. }
        | StoreError::NoJob(_)
        | StoreError::VolumeFull(_)
        | StoreError::TooLarge { .. }
        | StoreError::Malformed(_)
        | StoreError::Corrupt { .. }
        | StoreError::Failed { .. }
        | StoreError::Io { .. }) => StoreFault::Failed(error.to_string()),
    }
}

fn content(status: &VolumeStatus) -> ReplicaContent {
    ReplicaContent {
        digest: status.digest.clone(),
        live_needles: status.live_needles,
        last_append_ns: status.last_append_ns,
    }
}

fn report(status: &StoreStatus) -> StoreReport {
    let volume = |volume: &VolumeStatus| VolumeReport {
        volume: volume.volume,
        writable: volume.state == VolumeState::Writable,
        live_bytes: volume.live_bytes,
        file_bytes: volume.file_bytes,
        limit_bytes: volume.limit_bytes,
    };
    let disks = status.disks.iter().map(|disk| DiskReport {
        writable: disk.has_room,
        free_bytes: disk.free_bytes,
        total_bytes: disk.total_bytes,
    });
    StoreReport { volumes: status.volumes.iter().map(volume).collect(), disks: disks.collect() }
}
