//! What readers and the writer of a volume share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::VolumeOptions;
use super::digest::Totals;
use super::fence::Fence;
use super::scrub::ScrubState;
use crate::error::StoreError;
use crate::format::index::{Entry, IndexHead};
use crate::format::needle::record_bytes;
use crate::format::superblock::Superblock;
use crate::format::{NeedleOffset, Salt};
use crate::id::{Epoch, Key, VolumeId};
use crate::index::Index;
use crate::storage::{Disk, File};

/// An open volume, as seen by all who work on it.
pub(super) struct Shared {
    pub id: VolumeId,
    pub disk: Arc<dyn Disk>,
    pub options: VolumeOptions,
    /// Held for moments only: never while anything is read, written or synced.
    pub live: RwLock<Live>,
    pub condition: Mutex<Condition>,
    /// Held for the whole of a checkpoint or compaction, so that there is one at a time.
    pub upkeep: Mutex<()>,
    pub counters: Counters,
    /// Which orders are obeyed.
    pub fence: Fence,
    /// All other replicas have the tombstones up to this time, in nanoseconds since 1970.
    pub confirmed_ns: AtomicU64,
    /// Whether the volume is still being filled: what it does not have may exist.
    pub copying: AtomicBool,
    /// The device failed to read some of the file when it was opened: what the index does not
    /// know may still be there.
    pub index_has_gaps: bool,
    /// Locked before `live`, and for moments only.
    pub scrub: Mutex<ScrubState>,
}

/// One generation of the volume file and what is published of it.
pub(super) struct Live {
    pub file: Arc<dyn File>,
    pub superblock: Superblock,
    pub salt: Salt,
    pub index: Index,
    pub totals: Totals,
    /// Where the next record goes.
    pub end: NeedleOffset,
    /// When the last record was appended, in nanoseconds since 1970.
    pub last_append_ns: u64,
}

/// Whether a volume takes writes, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Takes everything.
    Writable,
    /// An operator said so: takes deletes, no new needles.
    ReadOnly,
    /// The disk has no room: takes deletes, no new needles, until there is room again.
    DiskFull,
    /// A write or sync failed: takes nothing until opened again.
    Failed(Arc<str>),
}

#[derive(Default)]
pub(super) struct Counters {
    pub queued: AtomicU64,
    pub puts: AtomicU64,
    pub deletes: AtomicU64,
    pub syncs: AtomicU64,
    pub failed_reads: AtomicU64,
    /// Reads that the device failed.
    pub device_errors: AtomicU64,
}

/// Where a record was when it was looked up. The file stays readable though compaction replace it.
pub(super) struct Located {
    pub file: Arc<dyn File>,
    pub salt: Salt,
    pub entry: Entry,
}

impl Shared {
    /// The newest record of `key`, tombstones included.
    pub fn locate(&self, key: Key) -> Option<Located> {
        let live = self.live.read();
        let entry = live.index.get(key)?;
        Some(Located { file: Arc::clone(&live.file), salt: live.salt, entry })
    }

    /// The record of `key`, if it is live. A needle is only said to be missing where the whole
    /// file could be looked at.
    pub fn locate_live(&self, key: Key) -> Result<Located, StoreError> {
        match self.locate(key) {
            Some(located) if !located.entry.is_tombstone() => Ok(located),
            None if self.index_has_gaps => {
                Err(self.failed(&"the device failed to read some of it at the start".into()))
            }
            None if self.copying.load(Ordering::Acquire) => Err(StoreError::Copying(self.id)),
            _ => Err(StoreError::NotFound),
        }
    }

    /// Whether an order of `epoch` is obeyed; without one it comes from somebody who has the
    /// volume to himself.
    pub fn obey(&self, epoch: Option<Epoch>) -> Result<(), StoreError> {
        epoch.map_or(Ok(()), |epoch| self.fence.check(epoch).map(drop))
    }

    /// Whether new needles are taken.
    pub fn check_puts(&self) -> Result<(), StoreError> {
        match &*self.condition.lock() {
            Condition::Writable if self.copying.load(Ordering::Acquire) => {
                Err(StoreError::Copying(self.id))
            }
            Condition::Writable => Ok(()),
            Condition::ReadOnly => Err(StoreError::ReadOnly(self.id)),
            Condition::DiskFull => Err(StoreError::DiskFull(self.id)),
            Condition::Failed(reason) => Err(self.failed(reason)),
        }
    }

    /// Whether needles of other replicas are taken.
    pub fn check_copies(&self) -> Result<(), StoreError> {
        match &*self.condition.lock() {
            Condition::Writable | Condition::ReadOnly => Ok(()),
            Condition::DiskFull => Err(StoreError::DiskFull(self.id)),
            Condition::Failed(reason) => Err(self.failed(reason)),
        }
    }

    /// Whether tombstones are taken.
    pub fn check_deletes(&self) -> Result<(), StoreError> {
        match &*self.condition.lock() {
            Condition::Failed(reason) => Err(self.failed(reason)),
            Condition::Writable | Condition::ReadOnly | Condition::DiskFull => Ok(()),
        }
    }

    fn failed(&self, reason: &Arc<str>) -> StoreError {
        StoreError::Failed { volume: self.id, reason: Arc::clone(reason) }
    }

    pub fn count(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }
}

impl Live {
    /// Whether the index file has an exact digest, if there is one.
    pub fn is_digest_saved(&self) -> bool {
        let is_saved_exact = self.index.sealed_head().is_none_or(|head| head.digest_exact);
        is_saved_exact || !self.totals.digest_exact
    }

    /// The head of an index file that covers everything published.
    pub fn index_head(&self) -> IndexHead {
        IndexHead {
            volume: self.superblock.volume,
            replica: self.superblock.replica,
            generation: self.superblock.generation,
            covered_end: self.end,
            entries: 0,
            pages: 0,
            live_needles: self.totals.live_needles,
            live_bytes: self.totals.live_bytes,
            tombstones: self.totals.tombstones,
            tombstone_bytes: self.totals.tombstone_bytes,
            newest_tombstone_ns: self.totals.newest_tombstone_ns,
            last_append_ns: self.last_append_ns,
            digest: self.totals.digest,
            digest_exact: self.totals.digest_exact,
        }
    }
}

/// A tombstone that says nothing of the name that it removed.
const BARE_TOMBSTONE_BYTES: u64 = record_bytes(0, 0);

impl From<&IndexHead> for Totals {
    fn from(head: &IndexHead) -> Self {
        Self {
            live_needles: head.live_needles,
            live_bytes: head.live_bytes,
            tombstones: head.tombstones,
            tombstone_bytes: head
                .tombstone_bytes
                .max(head.tombstones.saturating_mul(BARE_TOMBSTONE_BYTES)),
            // Where it was not counted yet, none is younger than the last record.
            newest_tombstone_ns: if head.tombstone_bytes > 0 {
                head.newest_tombstone_ns
            } else {
                head.last_append_ns
            },
            digest: head.digest,
            digest_exact: head.digest_exact,
        }
    }
}
