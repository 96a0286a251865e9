//! What the replicas of a volume hold, and which of it names hold.

use std::collections::{BTreeMap, HashSet};

use hayrick_store::volume::Held;
use hayrick_store::{Epoch, Key, NeedleId, VolumeId};

use super::Missing;
use crate::{
    BucketName, ObjectName, StoreFault, StoreId, Stores, SystemClock, Volume, WallClock as _,
    version_ms,
};

/// A listing of a volume.
pub(super) struct Holdings {
    volume: VolumeId,
    epoch: Epoch,
    /// When the listing began.
    listed_ms: u64,
    replicas: Vec<Replica>,
    keys: BTreeMap<Key, Entry>,
    /// Needles of names that not all replicas had.
    lacks: Vec<Missing>,
}

struct Replica {
    store: StoreId,
    /// Whether it told all of its keys.
    listed: bool,
}

#[derive(Default)]
struct Entry {
    /// By replica, one bit each: where it is alive.
    alive: u32,
    /// Where it is deleted.
    dead: u32,
    used: bool,
}

impl Holdings {
    /// Lists the keys of all replicas. One that does not answer is noted as silent.
    pub(super) async fn list(stores: &dyn Stores, id: VolumeId, volume: &Volume) -> Self {
        let replica = |store: &StoreId| Replica { store: store.clone(), listed: false };
        let mut this = Self {
            volume: id,
            epoch: Epoch::new(volume.epoch),
            listed_ms: SystemClock.now_ms(),
            replicas: volume.replicas.iter().map(replica).collect(),
            keys: BTreeMap::new(),
            lacks: Vec::new(),
        };
        for (at, store) in volume.replicas.iter().enumerate() {
            let listed = this.list_one(stores, at, store).await;
            if let Err(error) = &listed {
                tracing::warn!(volume = %id, %store, %error, "replica not listed");
            }
            if let Some(replica) = this.replicas.get_mut(at) {
                replica.listed = listed.is_ok();
            }
        }
        this
    }

    async fn list_one(
        &mut self,
        stores: &dyn Stores,
        at: usize,
        store: &StoreId,
    ) -> Result<(), StoreFault> {
        let mut first = Some(Key::new(0));
        while let Some(from) = first {
            let page = stores.keys(store, self.volume, self.epoch, from).await?;
            for (key, bytes) in &page.keys {
                let entry = self.keys.entry(*key).or_default();
                let bit = bit(at);
                if *bytes == 0 { entry.dead |= bit } else { entry.alive |= bit }
            }
            let last = page.keys.last().filter(|_| page.more);
            first = last.and_then(|(last, _)| last.get().checked_add(1)).map(Key::new);
        }
        Ok(())
    }

    /// How many keys are in memory.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many needles are alive on some replica.
    pub(super) fn needles(&self) -> u64 {
        let alive = self.keys.values().filter(|entry| entry.alive != 0).count();
        u64::try_from(alive).unwrap_or(u64::MAX)
    }

    /// Where its replicas are.
    pub(super) fn stores(&self) -> Vec<StoreId> {
        self.replicas.iter().map(|replica| replica.store.clone()).collect()
    }

    /// The stores that did not tell all of their keys.
    pub(super) fn silent(&self) -> Vec<StoreId> {
        let silent = self.replicas.iter().filter(|replica| !replica.listed);
        silent.map(|replica| replica.store.clone()).collect()
    }

    /// Notes that a name holds a needle, in a row of this version.
    pub(super) fn note_use(
        &mut self,
        needle: NeedleId,
        version: u64,
        bucket: &BucketName,
        name: &ObjectName,
    ) {
        let alive = match self.keys.get_mut(&needle.key) {
            Some(entry) => {
                entry.used = true;
                entry.alive
            }
            None => 0,
        };
        if version_ms(version) >= self.listed_ms {
            // Uploaded since then.
            return;
        }
        let lacks = |(at, replica): (usize, &Replica)| {
            (replica.listed && alive & bit(at) == 0).then(|| replica.store.clone())
        };
        let stores: Vec<StoreId> = self.replicas.iter().enumerate().filter_map(lacks).collect();
        if !stores.is_empty() {
            let (bucket, name) = (bucket.clone(), name.clone());
            self.lacks.push(Missing { needle, bucket, name, stores });
        }
    }

    /// Needles of names that some replica did not have when it was listed.
    pub(super) fn lacks(&self) -> &[Missing] {
        &self.lacks
    }

    /// Of these stores, those that do not have a needle now either.
    pub(super) async fn still_without(
        &self,
        stores: &dyn Stores,
        key: Key,
        lacking: &[StoreId],
    ) -> Vec<StoreId> {
        let mut without = Vec::new();
        for store in lacking {
            let page = stores.keys(store, self.volume, self.epoch, key).await;
            let has = |page: hayrick_store::volume::KeyPage| {
                page.keys.first().is_some_and(|&(first, bytes)| first == key && bytes > 0)
            };
            if page.is_ok_and(|page| !has(page)) {
                without.push(store.clone());
            }
        }
        without
    }

    /// By a store that has them, the needles that no name holds and that are not `queued`.
    /// What is deleted on some replica will be on all.
    pub(super) fn unused(&self, queued: &HashSet<Key>) -> Vec<(StoreId, Vec<Key>)> {
        let mut unused: Vec<(StoreId, Vec<Key>)> =
            self.replicas.iter().map(|replica| (replica.store.clone(), Vec::new())).collect();
        for (key, entry) in &self.keys {
            let loose = entry.alive != 0 && entry.dead == 0 && !entry.used;
            let at = usize::try_from(entry.alive.trailing_zeros()).unwrap_or(usize::MAX);
            if let Some((_, keys)) = unused.get_mut(at).filter(|_| loose && !queued.contains(key)) {
                keys.push(*key);
            }
        }
        unused
    }

    /// What a store holds under the first of these keys.
    pub(super) async fn records(
        &self,
        stores: &dyn Stores,
        store: &StoreId,
        keys: &[Key],
    ) -> Result<Vec<(Key, Held)>, StoreFault> {
        stores.records(store, self.volume, self.epoch, keys.to_vec()).await
    }
}

/// The bit of a replica. More replicas than bits there never are.
fn bit(at: usize) -> u32 {
    u32::try_from(at).ok().and_then(|at| 1_u32.checked_shl(at)).unwrap_or(0)
}
