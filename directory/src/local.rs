//! Stores that run in this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use hayrick_store::status::{StoreStatus, VolumeState, VolumeStatus};
use hayrick_store::{Meta, NeedleId, Store, StoreError, VolumeId};

use crate::names::Removal;
use crate::stores::{
    DiskReport, StoreAnswer, StoreFault, StoreId, StoreReport, Stores, VolumeReport,
};

/// The longest that the directory waits for a store.
const DEADLINE: Duration = Duration::from_secs(30);

/// Stores by their ids, called without a network between.
#[derive(Clone, Default)]
pub struct LocalStores {
    stores: Arc<BTreeMap<StoreId, Arc<Store>>>,
}

impl LocalStores {
    /// These stores and no others.
    pub fn new(stores: impl IntoIterator<Item = (StoreId, Arc<Store>)>) -> Self {
        Self { stores: Arc::new(stores.into_iter().collect()) }
    }

    /// The store with this id.
    pub fn get(&self, id: &StoreId) -> Option<&Arc<Store>> {
        self.stores.get(id)
    }

    /// All stores, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&StoreId, &Arc<Store>)> {
        self.stores.iter()
    }

    fn find(&self, id: &StoreId) -> Result<Arc<Store>, StoreFault> {
        let store = self.get(id).cloned();
        store.ok_or_else(|| StoreFault::Unavailable(format!("{id} is not part of this process")))
    }
}

impl Stores for LocalStores {
    fn ids(&self) -> Vec<StoreId> {
        self.stores.keys().cloned().collect()
    }

    fn create_volume(&self, store: &StoreId, volume: VolumeId) -> StoreAnswer<'_, ()> {
        let store = self.find(store);
        in_time(async move { store?.create_volume(volume).await.map_err(fault) }).boxed()
    }

    fn status(&self, store: &StoreId) -> StoreAnswer<'_, StoreReport> {
        let report = self.find(store).map(|store| report(&store.status()));
        async move { report }.boxed()
    }

    fn delete(
        &self,
        store: &StoreId,
        needle: NeedleId,
        removal: Option<&Removal>,
    ) -> StoreAnswer<'_, ()> {
        let store = self.find(store);
        let removed = removal.map(Meta::from).unwrap_or_default();
        let delete = async move {
            match store?.delete_removed(needle, removed).await {
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
        StoreError::DiskFull(_) => StoreFault::Full,
        error @ (StoreError::Busy { .. } | StoreError::Unavailable { .. }) => {
            StoreFault::Unavailable(error.to_string())
        }
        error @ (StoreError::NotFound
        | StoreError::Conflict { .. }
        | StoreError::ReadOnly(_)
        | StoreError::VolumeFull(_)
        | StoreError::TooLarge { .. }
        | StoreError::Malformed(_)
        | StoreError::Corrupt { .. }
        | StoreError::Failed { .. }
        | StoreError::Io { .. }) => StoreFault::Failed(error.to_string()),
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
