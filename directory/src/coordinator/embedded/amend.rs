//! The map completed with what was found on disks, where no server uses it: after the map or
//! the names were lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use hayrick_store::VolumeId;
use serde::Serialize;
use uuid::Uuid;

use super::state::State;
use super::{EmbeddedCoordinator, file, lock};
use crate::coordinator::{ClusterMap, CoordinatorError, Volume};
use crate::{Access, Bucket, BucketName, StoreId};

/// What was found.
#[derive(Debug)]
pub(crate) struct Amendment {
    /// The cluster of the volumes; `None` if there are none.
    pub(crate) cluster: Option<Uuid>,
    /// The volumes and the highest key seen in each.
    pub(crate) volumes: BTreeMap<VolumeId, u64>,
    /// How many keys above that may have been given out.
    pub(crate) lease_keys: u64,
    /// Which store has the volumes.
    pub(crate) store: StoreId,
    /// Buckets that hold names.
    pub(crate) buckets: BTreeSet<BucketName>,
    /// Now, in milliseconds since 1970.
    pub(crate) now_ms: u64,
}

/// What the map lacked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct MapChanges {
    /// There was no map: access rules and keys of all buckets are lost.
    pub new_map: bool,
    /// Volumes put on the map.
    pub volumes: Vec<VolumeId>,
    /// Buckets made again, open to nobody without a key.
    pub buckets: Vec<BucketName>,
}

impl EmbeddedCoordinator {
    /// The map kept in the file `path`, looked at without taking it into use; `None` if there
    /// is none.
    pub(crate) fn peek(path: &Path) -> Result<Option<Arc<ClusterMap>>, CoordinatorError> {
        Ok(file::read(path)?.map(|state| state.map))
    }

    /// Adds to the map in the file `path` what it lacks, durably if `apply`.
    pub(crate) fn amend(
        path: &Path,
        found: &Amendment,
        apply: bool,
    ) -> Result<MapChanges, CoordinatorError> {
        let _lock = if apply { Some(lock(path)?) } else { None };
        let before = file::read(path)?;
        let mut changes = MapChanges { new_map: before.is_none(), ..MapChanges::default() };
        let mut state = before.unwrap_or_else(State::new_cluster);
        if let (true, Some(cluster)) = (changes.new_map, found.cluster) {
            state.begin_as(cluster);
        }
        state.amend(found, &mut changes)?;
        if apply {
            file::write(path, &state).map_err(file::WriteError::into_inner)?;
        }
        Ok(changes)
    }
}

impl State {
    fn amend(
        &mut self,
        found: &Amendment,
        changes: &mut MapChanges,
    ) -> Result<(), CoordinatorError> {
        for (&id, &highest_key) in &found.volumes {
            self.last_volume_id = self.last_volume_id.max(id.get());
            if !self.map.volumes.contains_key(&id) {
                let replicas = vec![found.store.clone()];
                self.publish_volume(id, Volume::new(replicas))?;
                changes.volumes.push(id);
            }
            // Keys of needles that are gone or damaged were used too.
            let next = highest_key.saturating_add(found.lease_keys).saturating_add(1);
            let known = self.next_keys.get(&id).copied().unwrap_or_default();
            if known <= highest_key {
                self.next_keys.insert(id, next);
            }
        }
        for name in &found.buckets {
            if !self.map.buckets.contains_key(name) {
                let (read, write) = (Access::Private, Access::Private);
                let (name, created_ms) = (name.clone(), found.now_ms);
                changes.buckets.push(name.clone());
                self.create_bucket(Bucket::new(name, read, write, 1, created_ms))?;
            }
        }
        Ok(())
    }
}
