//! A store, wherever it runs.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _};

use crate::client::StoreClient;
use crate::error::StoreError;
use crate::format::meta::Meta;
use crate::http::{listing, records};
use crate::id::{Epoch, Key, NeedleId, VolumeId};
use crate::jobs::JobStatus;
use crate::probe;
use crate::status::StoreStatus;
use crate::store::{Store, blocking};
use crate::sync::{Peer, Synced};
use crate::volume::{Held, KeyPage, NewNeedle};

/// Verified bytes of a needle.
pub type NeedleBytes = BoxStream<'static, Result<Bytes, StoreError>>;

/// A store in this process or on another machine; who asks need not know which.
#[derive(Clone)]
pub enum StoreHandle {
    /// In this process.
    Local(Arc<Store>),
    /// Behind a network.
    Remote(StoreClient),
}

impl StoreHandle {
    /// Stores needles in one volume: all of them or none, durable when this returns.
    /// A repeated put of the same needles succeeds.
    ///
    /// # Errors
    /// [`StoreError::StaleEpoch`] if the replica was told a newer epoch; a newer one than it
    /// knows is written down first. So it is with everything that takes an epoch.
    pub async fn put(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        needles: Vec<NewNeedle>,
    ) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.put(volume, epoch, needles).await,
            Self::Remote(store) => store.put(volume, epoch, &needles).await,
        }
    }

    /// The bytes of `range` of a needle, which must lie within it and not be empty.
    pub async fn read(&self, id: NeedleId, range: Range<u64>) -> Result<NeedleBytes, StoreError> {
        match self {
            Self::Local(store) => {
                let needle = store.open_needle(id).await?;
                if range.end > needle.size() {
                    let message = format!("needle {id} has {} bytes", needle.size());
                    return Err(StoreError::Malformed(message));
                }
                Ok(needle.stream(range).boxed())
            }
            Self::Remote(store) => Ok(store.read(id, range).await?.boxed()),
        }
    }

    /// Deletes a needle, durably, and tells whether there was one. The tombstone says what is
    /// in `removed`: the name that was removed, if one was.
    pub async fn delete(
        &self,
        id: NeedleId,
        epoch: Epoch,
        removed: Meta,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Local(store) => store.delete_removed(id, epoch, removed).await,
            Self::Remote(store) => store.delete(id, epoch, &removed).await,
        }
    }

    /// Makes an empty volume. One that is there already is a success.
    pub async fn create_volume(&self, volume: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.create_volume(volume, epoch).await,
            Self::Remote(store) => store.create_volume(volume, epoch).await,
        }
    }

    /// Makes an empty replica that is to be filled by [`StoreHandle::start_sync`]: until that
    /// is over it takes no clients' needles ([`StoreError::Copying`]). One that is there
    /// already is a success, and left as it is.
    pub async fn create_copy(&self, volume: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.create_copy(volume, epoch).await,
            Self::Remote(store) => store.create_copy(volume, epoch).await,
        }
    }

    /// Removes a replica and its files for good. The epoch must be newer than the one that the
    /// replica knows, so that no old order removes one that is in use. One that is not there
    /// is a success.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while a compaction has it; try again later.
    pub async fn remove_volume(&self, volume: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.remove_volume(volume, epoch).await,
            Self::Remote(store) => store.remove_volume(volume, epoch).await,
        }
    }

    /// Tells a replica its epoch, durably. When this returns, every write that it accepted
    /// under an older one is on disk, or has failed.
    pub async fn fence(&self, volume: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.fence(volume, epoch).await,
            Self::Remote(store) => store.fence(volume, epoch).await,
        }
    }

    /// Tells a replica that all others have its tombstones up to `through_ns`, which is a
    /// former `last_append_ns` of its status. It forgets that when it is restarted.
    pub async fn confirm(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        through_ns: u64,
    ) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.confirm(volume, epoch, through_ns).await,
            Self::Remote(store) => store.confirm(volume, epoch, through_ns).await,
        }
    }

    /// A page of a replica's keys, from `first` on.
    ///
    /// # Errors
    /// [`StoreError::StaleEpoch`] if the replica was told a newer epoch.
    pub async fn keys(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        first: Key,
    ) -> Result<KeyPage, StoreError> {
        match self {
            Self::Local(store) => {
                let volume = store.volume(volume)?;
                blocking(move || volume.keys(first, listing::MAX_KEYS)).await
            }
            Self::Remote(store) => store.keys(volume, epoch, first).await,
        }
    }

    /// What a replica holds under the first of `keys`: as many as fit into an answer, and at
    /// least one.
    ///
    /// # Errors
    /// [`StoreError::StaleEpoch`] if the replica was told a newer epoch.
    pub async fn records(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        keys: &[Key],
    ) -> Result<Vec<(Key, Held)>, StoreError> {
        match self {
            Self::Local(store) => {
                let volume = store.volume(volume)?;
                let (count, _) = volume.fitting(keys, records::ANSWER_BYTES.into());
                let keys: Vec<Key> = keys.iter().copied().take(count).collect();
                let held = move |key| Ok((key, volume.held(key)?));
                blocking(move || keys.into_iter().map(held).collect()).await?
            }
            Self::Remote(store) => store.records(volume, epoch, keys).await,
        }
    }

    /// Starts a job in which a replica fetches from `sources`, one after another, what it
    /// lacks: needles, tombstones, and needles whose damage it knows of; with `check` it reads
    /// all of its needles to find more of that. Asked for the same again, it gives the job
    /// that is under way.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if as many syncs run as may, or another one of this volume.
    pub async fn start_sync(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        sources: Vec<Peer>,
        check: bool,
    ) -> Result<JobStatus, StoreError> {
        match self {
            Self::Local(store) => store.start_sync(volume, epoch, sources, check).await,
            Self::Remote(store) => store.start_sync(volume, epoch, sources, check).await,
        }
    }

    /// Has a replica compare some of its needles with those of `sources`, and fetch what it
    /// lacks or what is damaged. Done on return; at most [`MAX_REPAIR_KEYS`](crate::sync::MAX_REPAIR_KEYS).
    pub async fn repair_keys(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        keys: Vec<Key>,
        sources: Vec<Peer>,
    ) -> Result<Synced, StoreError> {
        match self {
            Self::Local(store) => store.repair_keys(volume, epoch, keys, sources).await,
            Self::Remote(store) => store.repair_keys(volume, epoch, keys, sources).await,
        }
    }

    /// Has a replica read one live needle to its end and verify it: the next one from the key
    /// `first` on. False if it has none there.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if the needle cannot be read.
    pub async fn probe(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        first: Key,
    ) -> Result<bool, StoreError> {
        match self {
            Self::Local(store) => probe::local(store, volume, first).await,
            Self::Remote(store) => probe::remote(store, volume, epoch, first).await,
        }
    }

    /// Starts a compaction.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if as many jobs run as may, or another one of this volume.
    pub async fn start_compaction(&self, volume: VolumeId) -> Result<JobStatus, StoreError> {
        match self {
            Self::Local(store) => store.start_compaction(volume),
            Self::Remote(store) => store.start_compaction(volume).await,
        }
    }

    /// Has a replica's scrub rest for [`SCRUB_HOLD`](crate::scrub::SCRUB_HOLD), while another replica
    /// is read or this one compacted. A pass under way waits where it is; one that an operator asked
    /// for goes on.
    pub async fn hold_scrub(&self, volume: VolumeId) -> Result<(), StoreError> {
        match self {
            Self::Local(store) => store.hold_scrub(volume),
            Self::Remote(store) => store.hold_scrub(volume).await,
        }
    }

    /// A job as it is now. A store counts its jobs from 1 at each start, so look at the
    /// volume and the time too.
    ///
    /// # Errors
    /// [`StoreError::NoJob`] if it is forgotten, or was another process's.
    pub async fn job(&self, id: u64) -> Result<JobStatus, StoreError> {
        match self {
            Self::Local(store) => store.jobs().get(id).ok_or(StoreError::NoJob(id)),
            Self::Remote(store) => store.job(id).await,
        }
    }

    /// Asks a job to stop at its next step.
    ///
    /// # Errors
    /// [`StoreError::NoJob`] as for [`StoreHandle::job`].
    pub async fn cancel_job(&self, id: u64) -> Result<(), StoreError> {
        match self {
            Self::Local(store) if store.jobs().cancel(id) => Ok(()),
            Self::Local(_) => Err(StoreError::NoJob(id)),
            Self::Remote(store) => store.cancel_job(id).await,
        }
    }

    /// The store at this moment.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        match self {
            Self::Local(store) => Ok(store.status()),
            Self::Remote(store) => store.status().await,
        }
    }
}
