//! Stores in memory, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::FutureExt;
use futures::future;
use hayrick_store::volume::{Held, KeyPage};
use hayrick_store::{Epoch, Key, NeedleId, VolumeId};
use parking_lot::Mutex;

use crate::{
    Bucket, Coordinator, DiskReport, Removal, ReplicaContent, StoreAnswer, StoreFault, StoreId,
    StoreReport, Stores, Volume, VolumeReport,
};

/// Stores that do what tests tell them to.
#[derive(Default)]
pub(crate) struct FakeStores {
    state: Mutex<BTreeMap<StoreId, FakeStore>>,
}

#[derive(Clone)]
pub(crate) struct FakeStore {
    /// Does not answer.
    pub(crate) down: bool,
    /// Answers that it has no room for a new volume.
    pub(crate) refuses_volumes: bool,
    /// Makes volumes that take no appends.
    pub(crate) makes_unwritable: bool,
    /// Cannot delete the needle with this key.
    pub(crate) keeps: Option<u64>,
    pub(crate) free_bytes: u64,
    pub(crate) volumes: BTreeMap<VolumeId, VolumeReport>,
    /// What it says that its replicas hold.
    pub(crate) contents: BTreeMap<VolumeId, ReplicaContent>,
    pub(crate) epochs: BTreeMap<VolumeId, Epoch>,
    pub(crate) deleted: BTreeSet<String>,
    /// What the tombstones say of removed names.
    pub(crate) removals: Vec<Removal>,
}

pub(crate) const LIMIT_BYTES: u64 = 1_000_000;

pub(crate) fn store(id: &str) -> StoreId {
    id.parse().unwrap()
}

impl FakeStores {
    pub(crate) fn new(ids: &[&str]) -> Arc<Self> {
        let fake = FakeStore {
            down: false,
            refuses_volumes: false,
            makes_unwritable: false,
            keeps: None,
            free_bytes: 100 << 30,
            volumes: BTreeMap::new(),
            contents: BTreeMap::new(),
            epochs: BTreeMap::new(),
            deleted: BTreeSet::new(),
            removals: Vec::new(),
        };
        let state = ids.iter().map(|id| (store(id), fake.clone())).collect();
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(crate) fn with<T>(&self, id: &str, edit: impl FnOnce(&mut FakeStore) -> T) -> T {
        edit(self.state.lock().get_mut(&store(id)).unwrap())
    }

    pub(crate) fn volumes(&self, id: &str) -> usize {
        self.with(id, |store| store.volumes.len())
    }

    /// Sets the file sizes of all volumes of a store.
    pub(crate) fn fill(&self, id: &str, file_bytes: u64) {
        self.with(id, |store| {
            for volume in store.volumes.values_mut() {
                volume.file_bytes = file_bytes;
            }
        });
    }

    fn ask<T: Send + 'static>(
        &self,
        id: &StoreId,
        answer: impl FnOnce(&mut FakeStore) -> Result<T, StoreFault>,
    ) -> StoreAnswer<'_, T> {
        let unavailable = || StoreFault::Unavailable("down".to_owned());
        let mut state = self.state.lock();
        let answer = match state.get_mut(id).filter(|store| !store.down) {
            Some(store) => answer(store),
            None => Err(unavailable()),
        };
        future::ready(answer).boxed()
    }
}

impl Stores for FakeStores {
    fn ids(&self) -> Vec<StoreId> {
        self.state.lock().keys().cloned().collect()
    }

    fn create_volume(&self, id: &StoreId, volume: VolumeId, epoch: Epoch) -> StoreAnswer<'_, ()> {
        self.ask(id, |store| {
            store.epochs.insert(volume, epoch);
            if store.refuses_volumes {
                return Err(StoreFault::Full);
            }
            let writable = !store.makes_unwritable;
            let limit_bytes = LIMIT_BYTES;
            let report =
                VolumeReport { volume, writable, live_bytes: 0, file_bytes: 0, limit_bytes };
            store.volumes.insert(volume, report);
            Ok(())
        })
    }

    /// It is told of deletions only, and has no needles.
    fn keys(&self, id: &StoreId, _: VolumeId, _: Epoch, _: Key) -> StoreAnswer<'_, KeyPage> {
        let none = KeyPage { live_bytes: 0, copying: false, more: false, keys: Vec::new() };
        self.ask(id, |_| Ok(none))
    }

    fn records(
        &self,
        id: &StoreId,
        _: VolumeId,
        _: Epoch,
        keys: Vec<Key>,
    ) -> StoreAnswer<'_, Vec<(Key, Held)>> {
        self.ask(id, |_| Ok(keys.into_iter().map(|key| (key, Held::Nothing)).collect()))
    }

    fn status(&self, id: &StoreId) -> StoreAnswer<'_, StoreReport> {
        self.ask(id, |store| {
            let (free_bytes, total_bytes) = (store.free_bytes, 200 << 30);
            let disks = vec![DiskReport { writable: true, free_bytes, total_bytes }];
            Ok(StoreReport { volumes: store.volumes.values().copied().collect(), disks })
        })
    }

    fn contents(&self, id: &StoreId) -> StoreAnswer<'_, BTreeMap<VolumeId, ReplicaContent>> {
        self.ask(id, |store| Ok(store.contents.clone()))
    }

    fn delete(
        &self,
        id: &StoreId,
        needle: NeedleId,
        epoch: Epoch,
        removal: Option<&Removal>,
    ) -> StoreAnswer<'_, ()> {
        let removal = removal.cloned();
        self.ask(id, |store| {
            if !store.volumes.contains_key(&needle.volume) {
                return Err(StoreFault::NoVolume(needle.volume));
            }
            let known = store.epochs.get(&needle.volume).copied().unwrap_or_default();
            if epoch < known {
                return Err(StoreFault::Stale(format!("it is at {known}")));
            }
            if store.keeps == Some(needle.key.get()) {
                return Err(StoreFault::Failed("injected".to_owned()));
            }
            store.deleted.insert(needle.to_string());
            store.removals.extend(removal);
            Ok(())
        })
    }
}

/// A volume on these stores, on the map and on the stores.
pub(crate) async fn publish(
    coordinator: &dyn Coordinator,
    stores: &FakeStores,
    ids: &[&str],
) -> VolumeId {
    let volume = coordinator.reserve_volume_id().await.unwrap();
    let replicas: Vec<_> = ids.iter().map(|id| store(id)).collect();
    for replica in &replicas {
        stores.create_volume(replica, volume, Epoch::new(1)).await.unwrap();
    }
    coordinator.publish_volume(volume, Volume::new(replicas)).await.unwrap();
    volume
}

/// A bucket of so many copies.
pub(crate) fn bucket(name: &str, copies: u8) -> Bucket {
    let (read, write) = (crate::Access::Public, crate::Access::Public);
    Bucket::new(name.parse().unwrap(), read, write, copies, 1)
}
