//! A directory, wherever it runs.

use std::sync::Arc;
use std::time::Duration;

use hayrick_store::{Epoch, NeedleId, VolumeId};

use crate::client::DirectoryClient;
use crate::{
    AccessKey, Assignment, BatchAssignment, Bucket, BucketName, ClusterMap, Committed, Condition,
    Directory, DirectoryError, ListPage, ListQuery, ObjectName, Row, StoreId, Volume,
};

/// A directory in this process or on another machine; who asks need not know which.
#[derive(Clone)]
pub enum DirectoryHandle {
    /// In this process.
    Local(Directory),
    /// Behind a network.
    Remote(DirectoryClient),
}

impl DirectoryHandle {
    /// The map as it is now.
    pub fn map(&self) -> Arc<ClusterMap> {
        match self {
            Self::Local(directory) => directory.map(),
            Self::Remote(directory) => directory.map(),
        }
    }

    /// A bucket by its name.
    pub fn bucket(&self, name: &BucketName) -> Option<Bucket> {
        self.map().buckets.get(name).map(|entry| entry.value.clone())
    }

    /// An access key by its id.
    pub fn access_key(&self, id: &str) -> Option<AccessKey> {
        self.map().access_keys.get(id).cloned()
    }

    /// A volume, if it is on the map.
    pub fn volume(&self, volume: VolumeId) -> Option<Volume> {
        self.map().volumes.get(&volume).map(|entry| entry.value.clone())
    }

    /// The stores that hold a volume; empty if it is not on the map.
    pub fn replicas(&self, volume: VolumeId) -> Vec<StoreId> {
        self.volume(volume).map(|volume| volume.replicas).unwrap_or_default()
    }

    /// Where the internal listener of a store is, as `host:port`; `None` if it is not there
    /// now, or is in this process.
    pub fn store_address(&self, store: &StoreId) -> Option<String> {
        let map = self.map();
        let member = map.stores.get(store)?.member.as_ref()?;
        Some(member.address.clone())
    }

    /// Waits until the map shows an epoch of a volume, or a newer one; at most for `limit`.
    pub async fn reach_epoch(&self, volume: VolumeId, epoch: Epoch, limit: Duration) {
        let mut maps = match self {
            Self::Local(directory) => directory.subscribe(),
            Self::Remote(directory) => directory.subscribe(),
        };
        let reached = maps.wait_for(|map| {
            map.volumes.get(&volume).is_some_and(|entry| entry.value.epoch >= epoch.get())
        });
        // Whoever waits tries again, with the map as it is then.
        drop(tokio::time::timeout(limit, reached).await);
    }

    /// A version above all that were given out before.
    pub fn next_version(&self) -> u64 {
        match self {
            Self::Local(directory) => directory.next_version(),
            Self::Remote(directory) => directory.next_version(),
        }
    }

    /// See [`Directory::assign`].
    pub async fn assign(
        &self,
        bucket: &Bucket,
        size_bytes: u64,
    ) -> Result<Assignment, DirectoryError> {
        let BatchAssignment { ids, replicas, epoch } = match self {
            Self::Local(directory) => directory.assign_many(bucket, 1, size_bytes).await?,
            Self::Remote(directory) => directory.assign_many(bucket, 1, size_bytes).await?,
        };
        let id = ids.first().copied().ok_or(DirectoryError::NoWritableVolume { size_bytes })?;
        Ok(Assignment { id, replicas, epoch })
    }

    /// See [`Directory::report_failed_write`].
    pub fn report_failed_write(&self, volume: VolumeId) {
        match self {
            Self::Local(directory) => directory.report_failed_write(volume),
            Self::Remote(directory) => directory.report_failed_write(volume),
        }
    }

    /// See [`Directory::commit`]. After [`DirectoryError::Unavailable`] too it is unknown
    /// whether the row was set.
    pub async fn commit(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        row: Row,
        condition: Condition,
    ) -> Result<Committed, DirectoryError> {
        match self {
            Self::Local(directory) => directory.commit(bucket, name, row, condition).await,
            Self::Remote(directory) => directory.commit(bucket, name, row, condition).await,
        }
    }

    /// See [`Directory::lookup`].
    pub async fn lookup(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
    ) -> Result<Option<Row>, DirectoryError> {
        match self {
            Self::Local(directory) => directory.lookup(bucket, name).await,
            Self::Remote(directory) => directory.lookup(bucket, name).await,
        }
    }

    /// See [`Directory::lookup_recent`]; one behind a network is never known without waiting.
    pub fn lookup_recent(&self, bucket: &BucketName, name: &ObjectName) -> Option<Arc<Row>> {
        match self {
            Self::Local(directory) => directory.lookup_recent(bucket, name),
            Self::Remote(_) => None,
        }
    }

    /// See [`Directory::remove`].
    pub async fn remove(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        condition: Condition,
    ) -> Result<Option<Row>, DirectoryError> {
        match self {
            Self::Local(directory) => directory.remove(bucket, name, condition).await,
            Self::Remote(directory) => directory.remove(bucket, name, condition).await,
        }
    }

    /// See [`Directory::discard`].
    pub async fn discard(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        stored: Vec<NeedleId>,
        unsure: Vec<NeedleId>,
    ) -> Result<(), DirectoryError> {
        match self {
            Self::Local(directory) => directory.discard(bucket, name, stored, unsure).await,
            Self::Remote(directory) => directory.discard(bucket, name, stored, unsure).await,
        }
    }

    /// See [`Directory::list`].
    pub async fn list(
        &self,
        bucket: &BucketName,
        query: ListQuery,
    ) -> Result<ListPage, DirectoryError> {
        match self {
            Self::Local(directory) => directory.list(bucket, query).await,
            Self::Remote(directory) => directory.list(bucket, query).await,
        }
    }
}
