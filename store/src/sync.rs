//! Fetching from other replicas of a volume what this one lacks.
//!
//! Keys are used once and needles never change, so a replica is a set of needles and a set of
//! tombstones, and a tombstone beats its needle. Two replicas become equal when each takes from
//! the other what it lacks, in whatever order that is done, and however often.

mod run;

use std::sync::Arc;

use metrics::counter;
use serde::{Deserialize, Serialize};

use self::run::{Sync, SyncError};
use crate::client::StoreClient;
use crate::error::StoreError;
use crate::id::{Epoch, Key, VolumeId};
use crate::jobs::{JobOutcome, JobStatus, StartError, Task};
use crate::store::{Store, obey};
use crate::volume::{Progress, Volume};

/// Most keys that are repaired in one call.
pub const MAX_REPAIR_KEYS: usize = 1024;

/// Most sources of one sync.
const MAX_SOURCES: usize = 16;

/// The body of a request to sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncRequest {
    /// Where to fetch from, one after another.
    pub sources: Vec<Peer>,
    /// Whether to read all of the own needles.
    pub check: bool,
}

/// The body of a request to repair a few needles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RepairRequest {
    /// Which needles.
    pub keys: Vec<Key>,
    /// Where to fetch from, one after another.
    pub sources: Vec<Peer>,
}

/// A store to fetch from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// What errors call it.
    pub name: String,
    /// `http://host:port` of its internal listener.
    pub url: String,
}

/// What a sync did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synced {
    /// Needles that were missing and are here now.
    pub needles: u64,
    /// Tombstones that were missing and are here now.
    pub tombstones: u64,
    /// Needles that were damaged here and are whole again.
    pub repaired: u64,
    /// Bytes of the records of all of these.
    pub bytes: u64,
    /// Needles that are missing or damaged here, and that no source could give.
    pub unreadable: u64,
}

/// A sync as it was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SyncOrder {
    epoch: Epoch,
    sources: Vec<Peer>,
    check: bool,
}

impl SyncOrder {
    /// Does it, and tells how it ended.
    pub(crate) async fn carry_out(
        self,
        store: &Store,
        volume: Arc<Volume>,
        progress: Progress,
    ) -> JobOutcome {
        let Self { epoch, sources, check } = self;
        let id = volume.id();
        let sync = Sync::new(volume, epoch, store.clients(sources), progress);
        let synced = sync.everything(check).await;
        note("sync", id, &synced);
        match synced {
            Ok(done) => JobOutcome::Synced(done),
            Err(error) => JobOutcome::Failed(error.to_string()),
        }
    }
}

impl Store {
    /// See [`StoreHandle::start_sync`](crate::StoreHandle::start_sync).
    pub async fn start_sync(
        self: &Arc<Self>,
        id: VolumeId,
        epoch: Epoch,
        sources: Vec<Peer>,
        check: bool,
    ) -> Result<JobStatus, StoreError> {
        check_sources(&sources)?;
        let volume = self.volume(id)?;
        obey(&volume, epoch).await?;
        let order = SyncOrder { epoch, sources, check };
        Ok(self.jobs().start_sync(self, volume, order)?)
    }

    /// See [`StoreHandle::repair_keys`](crate::StoreHandle::repair_keys).
    pub async fn repair_keys(
        self: &Arc<Self>,
        id: VolumeId,
        epoch: Epoch,
        keys: Vec<Key>,
        sources: Vec<Peer>,
    ) -> Result<Synced, StoreError> {
        check_sources(&sources)?;
        if keys.len() > MAX_REPAIR_KEYS {
            let message = format!("at most {MAX_REPAIR_KEYS} keys are repaired at a time");
            return Err(StoreError::Malformed(message));
        }
        let volume = self.volume(id)?;
        obey(&volume, epoch).await?;
        let busy = |_| StoreError::Busy { what: "a repair to end" };
        let _turn = self.repairs().try_acquire().map_err(busy)?;
        let sync = Sync::new(volume, epoch, self.clients(sources), Progress::default());
        let synced = sync.only(keys).await;
        note("repair", id, &synced);
        synced.map_err(StoreError::from)
    }

    /// See [`StoreHandle::start_compaction`](crate::StoreHandle::start_compaction).
    pub fn start_compaction(self: &Arc<Self>, id: VolumeId) -> Result<JobStatus, StoreError> {
        self.volume(id)?;
        Ok(self.jobs().start(self, Task::Compact, id)?)
    }

    fn clients(&self, sources: Vec<Peer>) -> Vec<StoreClient> {
        let client =
            |Peer { name, url }| StoreClient::new(name, url, self.cluster(), self.peers().clone());
        sources.into_iter().map(client).collect()
    }
}

fn check_sources(sources: &[Peer]) -> Result<(), StoreError> {
    match sources.len() {
        1..=MAX_SOURCES => Ok(()),
        count => {
            Err(StoreError::Malformed(format!("name 1 to {MAX_SOURCES} sources, not {count}")))
        }
    }
}

/// Counts and logs what came of a sync.
fn note(kind: &'static str, volume: VolumeId, synced: &Result<Synced, SyncError>) {
    let outcome = if synced.is_ok() { "done" } else { "failed" };
    counter!("hayrick_store_syncs_total", "kind" => kind, "outcome" => outcome).increment(1);
    let done = match synced {
        Ok(done) => done,
        Err(error) => return tracing::warn!(%volume, %error, "{kind} not finished"),
    };
    let Synced { needles, tombstones, repaired, bytes, unreadable } = *done;
    let taken = [
        ("hayrick_store_synced_needles_total", needles),
        ("hayrick_store_synced_tombstones_total", tombstones),
        ("hayrick_store_synced_repairs_total", repaired),
        ("hayrick_store_synced_bytes_total", bytes),
        ("hayrick_store_synced_unreadable_total", unreadable),
    ];
    for (name, count) in taken {
        counter!(name).increment(count);
    }
    if needles + tombstones + repaired + unreadable > 0 {
        tracing::info!(%volume, needles, tombstones, repaired, bytes, unreadable, "{kind} done");
    }
}

impl From<StartError> for StoreError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Running { .. } => Self::Busy { what: "the volume's job to end" },
            StartError::TooMany { .. } => Self::Busy { what: "a job to end" },
        }
    }
}
