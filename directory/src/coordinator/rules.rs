//! What every engine checks of a change, and how errors name the entries.

use hayrick_store::VolumeId;

use super::{ClusterMap, CoordinatorError, OrderId, Volume};
use crate::{Bucket, BucketName, StoreId};

/// Keys are dense from here on. 0 stays free for whoever looks for a key by mistake.
pub(super) const FIRST_KEY: u64 = 1;

/// A replica that missed a change of the replicas is known by its older epoch.
pub(super) fn check_epoch(present: &Volume, next: &Volume) -> Result<(), CoordinatorError> {
    let replicas_changed = present.replicas != next.replicas;
    if next.epoch < present.epoch || (replicas_changed && next.epoch == present.epoch) {
        return Err(CoordinatorError::Invalid("the epoch must rise with the replicas"));
    }
    Ok(())
}

/// A volume without stores would take any upload and keep none.
pub(super) fn check_replicas(volume: &Volume) -> Result<(), CoordinatorError> {
    let repeated = |(at, id)| volume.replicas.iter().skip(at + 1).any(|other| other == id);
    if volume.replicas.is_empty() {
        Err(CoordinatorError::Invalid("a volume needs a store"))
    } else if volume.replicas.iter().enumerate().any(repeated) {
        Err(CoordinatorError::Invalid("a volume is on a store once"))
    } else {
        Ok(())
    }
}

pub(super) fn check_copies(bucket: &Bucket) -> Result<(), CoordinatorError> {
    if bucket.copies == 0 {
        Err(CoordinatorError::Invalid("a bucket keeps at least one copy"))
    } else {
        Ok(())
    }
}

/// What is struck from the map is forgotten: a volume on it would count as never stored.
pub(super) fn check_unused(map: &ClusterMap, store: &StoreId) -> Result<(), CoordinatorError> {
    let known =
        map.stores.get(store).ok_or_else(|| CoordinatorError::Missing(store_name(store)))?;
    let in_use = |reason: String| CoordinatorError::InUse { what: store_name(store), reason };
    if known.member.is_some() {
        return Err(in_use("it is running; stop it first".to_owned()));
    }
    let on_it =
        |volume: &Volume| volume.replicas.contains(store) || volume.moving.as_ref() == Some(store);
    match map.volumes.iter().find(|(_, volume)| on_it(&volume.value)) {
        Some((id, _)) => Err(in_use(format!("volume {id} is on it; drain the store first"))),
        None => Ok(()),
    }
}

pub(super) fn store_name(id: &StoreId) -> String {
    format!("store {id}")
}

pub(super) fn illness_name(id: &StoreId) -> String {
    format!("what is wrong with store {id}")
}

pub(super) fn order_name(id: &OrderId) -> String {
    format!("order {id}")
}

pub(super) fn volume_name(id: VolumeId) -> String {
    format!("volume {id}")
}

pub(super) fn bucket_name(name: &BucketName) -> String {
    format!("bucket {name}")
}

pub(super) fn access_key_name(id: &str) -> String {
    format!("access key {id}")
}
