//! The map with its counters, and every change of them, in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use hayrick_store::VolumeId;
use uuid::Uuid;

use crate::coordinator::rules::{
    FIRST_KEY, access_key_name, bucket_name, check_copies, check_epoch, check_replicas,
    check_unused, order_name, volume_name,
};
use crate::coordinator::{
    ClusterMap, CoordinatorError, Illness, Order, OrderId, Versioned, Volume,
};
use crate::{AccessKey, Bucket, BucketName, StoreId};

/// All that the file holds.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) map: Arc<ClusterMap>,
    /// The highest volume id given out; 0 before the first.
    pub(super) last_volume_id: u32,
    /// By volume, the first key never leased.
    pub(super) next_keys: BTreeMap<VolumeId, u64>,
}

impl State {
    pub(super) fn new_cluster() -> Self {
        let map = ClusterMap::empty(Uuid::new_v4());
        Self { map: Arc::new(map), last_volume_id: 0, next_keys: BTreeMap::new() }
    }

    /// Makes a cluster that has nothing yet the one with this id.
    pub(super) fn begin_as(&mut self, cluster: Uuid) {
        self.edit().cluster_id = cluster;
    }

    pub(super) fn reserve_volume_id(&mut self) -> Result<VolumeId, CoordinatorError> {
        let id = self.last_volume_id.checked_add(1).and_then(VolumeId::new);
        let id = id.ok_or(CoordinatorError::Exhausted("volume ids"))?;
        self.last_volume_id = id.get();
        Ok(id)
    }

    pub(super) fn publish_volume(
        &mut self,
        id: VolumeId,
        volume: Volume,
    ) -> Result<(), CoordinatorError> {
        check_replicas(&volume)?;
        if id.get() > self.last_volume_id {
            return Err(CoordinatorError::Invalid("the volume's id was never reserved"));
        }
        insert(&mut self.edit().volumes, id, volume, || volume_name(id))
    }

    pub(super) fn update_volume(
        &mut self,
        id: VolumeId,
        expected: u64,
        volume: Volume,
    ) -> Result<u64, CoordinatorError> {
        check_replicas(&volume)?;
        let entry = existing(&mut self.edit().volumes, &id, expected, || volume_name(id))?;
        check_epoch(&entry.value, &volume)?;
        Ok(entry.replace(volume))
    }

    pub(super) fn lease_keys(
        &mut self,
        volume: VolumeId,
        count: u64,
    ) -> Result<Range<u64>, CoordinatorError> {
        if !self.map.volumes.contains_key(&volume) {
            return Err(CoordinatorError::Missing(volume_name(volume)));
        }
        let next = self.next_keys.entry(volume).or_insert(FIRST_KEY);
        let end = next.checked_add(count).ok_or(CoordinatorError::Exhausted("keys"))?;
        let range = *next..end;
        *next = end;
        Ok(range)
    }

    pub(super) fn create_bucket(&mut self, bucket: Bucket) -> Result<(), CoordinatorError> {
        check_copies(&bucket)?;
        let name = bucket.name.clone();
        insert(&mut self.edit().buckets, name.clone(), bucket, || bucket_name(&name))
    }

    pub(super) fn update_bucket(
        &mut self,
        expected: u64,
        bucket: Bucket,
    ) -> Result<u64, CoordinatorError> {
        check_copies(&bucket)?;
        let what = || bucket_name(&bucket.name);
        let entry = existing(&mut self.edit().buckets, &bucket.name, expected, what)?;
        Ok(entry.replace(bucket))
    }

    pub(super) fn remove_bucket(
        &mut self,
        name: &BucketName,
        expected: u64,
    ) -> Result<(), CoordinatorError> {
        let map = self.edit();
        existing(&mut map.buckets, name, expected, || bucket_name(name))?;
        map.buckets.remove(name);
        map.access_keys.retain(|_, key| key.bucket != *name);
        Ok(())
    }

    pub(super) fn add_access_key(&mut self, key: AccessKey) -> Result<(), CoordinatorError> {
        let map = self.edit();
        if !map.buckets.contains_key(&key.bucket) {
            return Err(CoordinatorError::Missing(bucket_name(&key.bucket)));
        }
        match map.access_keys.entry(key.id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(key);
                Ok(())
            }
            Entry::Occupied(_) => Err(CoordinatorError::Exists(access_key_name(&key.id))),
        }
    }

    pub(super) fn remove_access_key(&mut self, id: &str) -> Result<(), CoordinatorError> {
        let removed = self.edit().access_keys.remove(id);
        removed.map(drop).ok_or_else(|| CoordinatorError::Missing(access_key_name(id)))
    }

    pub(super) fn put_order(&mut self, order: Order) {
        self.edit().orders.insert(order.id(), order);
    }

    pub(super) fn remove_order(&mut self, id: &OrderId) -> Result<(), CoordinatorError> {
        let removed = self.edit().orders.remove(id);
        removed.map(drop).ok_or_else(|| CoordinatorError::Missing(order_name(id)))
    }

    pub(super) fn mark_ill(&mut self, id: StoreId, illness: Illness) {
        self.edit().ill.entry(id).or_insert(illness);
    }

    pub(super) fn mark_well(&mut self, id: &StoreId) {
        self.edit().ill.remove(id);
    }

    pub(super) fn remove_store(&mut self, id: &StoreId) -> Result<(), CoordinatorError> {
        check_unused(&self.map, id)?;
        self.edit().stores.remove(id);
        Ok(())
    }

    /// A map of its own, so that snapshots handed out before stay as they are.
    fn edit(&mut self) -> &mut ClusterMap {
        Arc::make_mut(&mut self.map)
    }
}

impl<T> Versioned<T> {
    fn replace(&mut self, value: T) -> u64 {
        self.value = value;
        self.revision = self.revision.saturating_add(1);
        self.revision
    }
}

fn insert<K: Ord, T>(
    entries: &mut BTreeMap<K, Versioned<T>>,
    key: K,
    value: T,
    what: impl FnOnce() -> String,
) -> Result<(), CoordinatorError> {
    match entries.entry(key) {
        Entry::Vacant(vacant) => {
            vacant.insert(Versioned { revision: 1, value });
            Ok(())
        }
        Entry::Occupied(_) => Err(CoordinatorError::Exists(what())),
    }
}

fn existing<'a, K: Ord, T>(
    entries: &'a mut BTreeMap<K, Versioned<T>>,
    key: &K,
    expected: u64,
    what: impl Fn() -> String,
) -> Result<&'a mut Versioned<T>, CoordinatorError> {
    let entry = entries.get_mut(key).ok_or_else(|| CoordinatorError::Missing(what()))?;
    if entry.revision == expected {
        Ok(entry)
    } else {
        Err(CoordinatorError::Conflict { what: what(), expected, actual: entry.revision })
    }
}
