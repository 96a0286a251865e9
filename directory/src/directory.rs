//! The directory as the proxy sees it.

mod admin;
mod background;
mod fsck;
mod open;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hayrick_store::{NeedleId, VolumeId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

pub use self::background::Background;
pub(crate) use self::open::{CLUSTER_MAP, NAMES, sync_folder};
pub use self::open::{Parts, open_files, open_names, open_parts};
use crate::config::DirectoryConfig;
use crate::fsck::FsckJob;
use crate::garbage::clock::{QueueClock, millis};
use crate::garbage::{self, Reaper};
use crate::grow::Grower;
use crate::keys::KeyAllocator;
use crate::placement::Placement;
use crate::reports::{LastReport, LastReports};
use crate::{
    Bucket, BucketName, Committed, Condition, Coordinator, DirectoryError, Discard, Garbage,
    HybridClock, ListPage, ListQuery, Names, NamesError, ObjectName, Put, Remove, Row, StoreId,
    Stores, Volume,
};

/// How long a removal waits for the stores before it leaves the rest to the reaper;
/// the reaper starts no sooner.
const REMOVE_DEADLINE: Duration = Duration::from_secs(5);
/// How many needles a removal deletes itself; those of very large objects are left to
/// the reaper.
const REMOVE_AT_ONCE: usize = 64;
/// An upload that finds no volume has the stores asked again, but no more often.
const MIN_STEP_GAP: Duration = Duration::from_millis(250);
/// How long uploads wait for the keys of one volume before they take another that has some. A
/// lease is a few writes of the coordinator, of some milliseconds each.
const LEASE_PATIENCE: Duration = Duration::from_millis(500);

/// Where volumes and names are. Cheap to clone; clones share everything.
///
/// Needs a tokio runtime. [`Directory::spawn_background`] must run beside it: it makes
/// volumes and deletes garbage.
#[derive(Clone)]
pub struct Directory {
    shared: Arc<Shared>,
}

struct Shared {
    coordinator: Arc<dyn Coordinator>,
    names: Arc<dyn Names>,
    stores: Arc<dyn Stores>,
    clock: HybridClock,
    /// By which queued needles are due.
    queue_clock: Arc<QueueClock>,
    /// When it was put together.
    opened: Instant,
    placement: Arc<Placement>,
    keys: KeyAllocator,
    reports: Arc<LastReports>,
    grower: Mutex<Grower>,
    /// Has the grower look at the stores before its time.
    grow_soon: Notify,
    /// Volumes are needed and every store is full.
    full: Arc<AtomicBool>,
    fsck: FsckJob,
    /// Held while buckets are made or removed.
    bucket_admin: Mutex<()>,
    config: DirectoryConfig,
}

/// Where a new needle goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its volume, key and cookie. Never given out before.
    pub id: NeedleId,
    /// The stores that must all take it; never empty.
    pub replicas: Vec<StoreId>,
    /// The volume's epoch.
    pub epoch: u64,
}

/// Where several new needles go: into one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchAssignment {
    /// Their volume, keys and cookies.
    pub ids: Vec<NeedleId>,
    /// The stores that must all take them; never empty.
    pub replicas: Vec<StoreId>,
    /// The volume's epoch.
    pub epoch: u64,
}

impl Directory {
    /// Finds a place for a new needle of `size_bytes`. The needle must not be stored
    /// anywhere else, and not if any of the replicas does not take it.
    pub async fn assign(
        &self,
        bucket: &Bucket,
        size_bytes: u64,
    ) -> Result<Assignment, DirectoryError> {
        let BatchAssignment { ids, replicas, epoch } =
            self.assign_many(bucket, 1, size_bytes).await?;
        let id = ids.first().copied().ok_or(DirectoryError::NoWritableVolume { size_bytes })?;
        Ok(Assignment { id, replicas, epoch })
    }

    /// Finds a place in one volume for `count` new needles of `size_bytes` in all.
    pub async fn assign_many(
        &self,
        bucket: &Bucket,
        count: usize,
        size_bytes: u64,
    ) -> Result<BatchAssignment, DirectoryError> {
        let copies = usize::from(bucket.copies);
        let (mut grown, mut patience) = (false, LEASE_PATIENCE);
        let (mut keyless, mut refusal) = (Vec::new(), None);
        loop {
            if let Some((volume, entry)) = self.choose(copies, size_bytes, &keyless) {
                match self.shared.keys.take(volume, count, patience).await {
                    Ok(ids) => {
                        let Volume { replicas, epoch, .. } = entry;
                        return Ok(BatchAssignment { ids, replicas, epoch });
                    }
                    // Another volume may have keys.
                    Err(error) => {
                        keyless.push(volume);
                        refusal = Some(error);
                    }
                }
            } else if let Some(error) = refusal.take() {
                // No volume has keys at hand: they are waited for, and that once.
                if patience == Duration::MAX {
                    return Err(error);
                }
                patience = Duration::MAX;
                keyless.clear();
            } else if grown {
                return Err(self.no_volume(copies, size_bytes));
            } else {
                self.grow_now().await;
                grown = true;
            }
        }
    }

    /// A volume that takes needles, and none of those in `but`.
    fn choose(
        &self,
        copies: usize,
        size_bytes: u64,
        but: &[VolumeId],
    ) -> Option<(VolumeId, Volume)> {
        let Shared { placement, coordinator, .. } = &*self.shared;
        loop {
            let (now_ms, draw) = (self.steady_ms(), rand::random());
            let volume = placement.choose(copies, size_bytes, but, now_ms, draw)?;
            let map = coordinator.map();
            let entry = map.volumes.get(&volume).map(|entry| &entry.value);
            if let Some(entry) = entry.filter(|entry| entry.takes_needles()) {
                return Some((volume, entry.clone()));
            }
            // It was closed since the stores were asked.
            placement.remove(volume, Instant::now());
        }
    }

    fn no_volume(&self, copies: usize, size_bytes: u64) -> DirectoryError {
        if self.shared.full.load(Ordering::Acquire) {
            DirectoryError::Full
        } else if self.shared.placement.lost_lately(copies, size_bytes, Instant::now()) {
            DirectoryError::NoVolumeJustNow { size_bytes }
        } else {
            DirectoryError::NoWritableVolume { size_bytes }
        }
    }

    /// A write to the volume failed on some replica: it is left out for a while, and
    /// the stores are asked how they are.
    pub fn report_failed_write(&self, volume: VolumeId) {
        self.shared.placement.failed(volume, self.steady_ms());
        self.shared.grow_soon.notify_one();
    }

    /// Milliseconds by a clock that does not jump.
    fn steady_ms(&self) -> u64 {
        millis(self.shared.opened.elapsed())
    }

    /// The stores that hold a volume; empty if it is not on the map.
    pub fn replicas(&self, volume: VolumeId) -> Vec<StoreId> {
        let map = self.shared.coordinator.map();
        map.volumes.get(&volume).map(|entry| entry.value.replicas.clone()).unwrap_or_default()
    }

    /// A version above all that were given out before.
    pub fn next_version(&self) -> u64 {
        self.shared.clock.next()
    }

    /// Takes note of a version that another clock gave out.
    pub(crate) fn observe_version(&self, version: u64) {
        self.shared.clock.observe(version);
    }

    /// Gives a name its row, once its needles are on all replicas. Durable on return;
    /// the needles of the row it replaces are queued for deletion with it.
    ///
    /// After [`DirectoryError::Failed`], and if this future is dropped, it is unknown
    /// whether the row was set: [`Directory::discard`] finds out.
    pub async fn commit(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        row: Row,
        condition: Condition,
    ) -> Result<Committed, DirectoryError> {
        let map = self.shared.coordinator.map();
        if !map.buckets.contains_key(bucket) {
            return Err(DirectoryError::NoBucket(bucket.clone()));
        }
        if let Some(lost) = row.needle_ids().find(|id| !map.volumes.contains_key(&id.volume)) {
            return Err(DirectoryError::NoVolume(lost.volume));
        }
        let due_ms = self.after_grace_ms();
        let (bucket, name) = (bucket.clone(), name.clone());
        let put = Put { bucket: bucket.clone(), name, row, condition, due_ms };
        self.shared.names.put(put).await.map_err(|error| match error {
            NamesError::BucketClosed => DirectoryError::NoBucket(bucket),
            error => error.into(),
        })
    }

    /// The row of a name.
    pub async fn lookup(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
    ) -> Result<Option<Row>, DirectoryError> {
        Ok(self.shared.names.get(bucket, name).await?)
    }

    /// The row that a name has now, if that is known without waiting.
    pub fn lookup_recent(&self, bucket: &BucketName, name: &ObjectName) -> Option<Arc<Row>> {
        self.shared.names.get_recent(bucket, name)
    }

    /// Removes the row of a name and deletes its needles on every store that can be
    /// reached; the rest is queued. Answers the row; `None` if there was none.
    pub async fn remove(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        condition: Condition,
    ) -> Result<Option<Row>, DirectoryError> {
        let version = self.next_version();
        let due_ms = self.after_deadline_ms();
        let (bucket, name) = (bucket.clone(), name.clone());
        let remove = Remove { bucket, name, condition, version, due_ms };
        let removed = self.shared.names.remove(remove.clone()).await?;
        if let Some(row) = &removed {
            let removal = Some(Arc::new(remove.of(row)));
            let garbage = |id| Garbage { id, due_ms, removal: removal.clone() };
            self.delete_now(row.needle_ids().take(REMOVE_AT_ONCE).map(garbage).collect()).await;
        }
        Ok(removed)
    }

    /// Deletes what is queued on every store that can be reached in time.
    async fn delete_now(&self, queued: Vec<Garbage>) {
        // What is not done by then is in the queue.
        drop(tokio::time::timeout(REMOVE_DEADLINE, self.delete_queued(queued)).await);
    }

    async fn delete_queued(&self, queued: Vec<Garbage>) {
        let map = self.shared.coordinator.map();
        let mut deleted = Vec::new();
        for same_volume in queued.chunk_by(|a, b| a.id.volume == b.id.volume) {
            let volume = same_volume.first().and_then(|first| map.volumes.get(&first.id.volume));
            if let Some(volume) = volume {
                let stores = &*self.shared.stores;
                deleted.extend(garbage::delete_all(stores, &volume.value, same_volume).await);
            }
        }
        if !deleted.is_empty() {
            // Nobody waits for this: a needle left in the queue is deleted once more.
            let names = Arc::clone(&self.shared.names);
            tokio::spawn(async move { names.settle(deleted).await });
        }
    }

    /// Deletes the needles of an upload that was not committed: those that are `stored` on
    /// all replicas on every store that can be reached, so that no rebuild of the names takes
    /// them for an upload that was; the rest, and what is `unsure` to be stored, is queued.
    /// Needles that turn out to be committed to the name are left alone, so this may be called
    /// whenever the outcome of a commit is not known; no commit of them may follow. Durable
    /// on return.
    pub async fn discard(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        stored: Vec<NeedleId>,
        unsure: Vec<NeedleId>,
    ) -> Result<(), DirectoryError> {
        let discard = |needles, due_ms| {
            let (bucket, name) = (bucket.clone(), name.clone());
            self.shared.names.discard(Discard { bucket, name, needles, due_ms })
        };
        if !unsure.is_empty() {
            // A replica that was given up may still be storing its needle.
            discard(unsure, self.after_grace_ms()).await?;
        }
        if !stored.is_empty() {
            let mut queued = discard(stored, self.after_deadline_ms()).await?;
            // The last one says that the upload was whole.
            queued.reverse();
            queued.truncate(REMOVE_AT_ONCE);
            self.delete_now(queued).await;
        }
        Ok(())
    }

    /// One page of a bucket's objects.
    pub async fn list(
        &self,
        bucket: &BucketName,
        query: ListQuery,
    ) -> Result<ListPage, DirectoryError> {
        if !self.shared.coordinator.map().buckets.contains_key(bucket) {
            return Err(DirectoryError::NoBucket(bucket.clone()));
        }
        Ok(self.shared.names.list(bucket, query).await?)
    }

    /// When the reaper takes over what is deleted at once.
    fn after_deadline_ms(&self) -> u64 {
        self.shared.queue_clock.after(REMOVE_DEADLINE)
    }

    fn after_grace_ms(&self) -> u64 {
        self.shared.queue_clock.after(self.shared.config.garbage.grace())
    }

    /// How many needles wait to be deleted.
    pub async fn garbage_len(&self) -> Result<u64, DirectoryError> {
        Ok(self.shared.names.garbage_len().await?)
    }

    /// What each store said of itself when it was last asked; it is asked every few seconds.
    pub fn reports(&self) -> Vec<LastReport> {
        self.shared.reports.all()
    }

    /// Has the stores asked and volumes made, unless that was done just now.
    async fn grow_now(&self) {
        let mut grower = self.shared.grower.lock().await;
        if grower.idle_for().is_none_or(|idle| idle >= MIN_STEP_GAP) {
            grower.step().await;
        }
    }

    /// Leases keys for the volumes that may be written to next.
    async fn lease_ahead(&self) {
        let Shared { keys, placement, .. } = &*self.shared;
        keys.stock_up(placement.volumes()).await;
        if let Some(fewest) = keys.fewest(placement.volumes()) {
            metrics::gauge!("hayrick_leased_keys_fewest")
                .set(f64::from(u32::try_from(fewest).unwrap_or(u32::MAX)));
        }
    }

    fn reaper(&self) -> Reaper {
        let shared = &self.shared;
        Reaper::new(
            Arc::clone(&shared.names),
            Arc::clone(&shared.coordinator),
            Arc::clone(&shared.stores),
            Arc::clone(&shared.queue_clock),
            REMOVE_DEADLINE.max(shared.config.garbage.grace()),
            &shared.config.garbage,
        )
    }
}

#[cfg(test)]
mod tests;
