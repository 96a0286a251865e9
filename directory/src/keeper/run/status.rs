//! What the keeper tells of itself and of what it sees.

use std::collections::BTreeSet;

use hayrick_store::VolumeId;
use serde::{Deserialize, Serialize};

use super::book::{JobReport, StuckVolume, WaitingJob};
use super::observe::Observer;
use crate::keeper::health::Health;
use crate::keeper::view::View;
use crate::{KeeperInfo, StoreId};

/// The keeper at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperStatus {
    /// Whether this keeper leads; one that stands by has no jobs.
    pub leads: bool,
    /// Since which term it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// The keeper that leads, as the cluster knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<KeeperInfo>,
    /// Whether nothing new is begun, by an operator's word.
    pub paused: bool,
    /// How the stores are, by id.
    pub stores: Vec<StoreHealth>,
    /// Jobs under way.
    pub running: Vec<JobReport>,
    /// Jobs that wait for those to end.
    pub waiting: Vec<WaitingJob>,
    /// Replicas that their stores are scrubbing.
    #[serde(default)]
    pub scrubs: Vec<ScrubReport>,
    /// Volumes that are not as they should be, where nothing can be done now.
    pub stuck: Vec<StuckVolume>,
    /// The last hundred jobs that are over, newest first.
    pub done: Vec<JobReport>,
}

/// What the keeper thinks of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreHealth {
    /// The store.
    pub store: StoreId,
    /// How it is.
    pub health: Health,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For how long it has been away, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_ms: Option<u64>,
    /// Data directories with replicas that have failed.
    #[serde(default)]
    pub failed_disks: BTreeSet<String>,
}

/// A replica that its store reads whole, to find what has rotted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubReport {
    /// The volume.
    pub volume: VolumeId,
    /// The store.
    pub store: StoreId,
    /// Bytes gone over.
    pub done_bytes: u64,
    /// Bytes to go over in all.
    pub total_bytes: u64,
}

/// How the stores are.
pub(super) fn health(observer: &Observer) -> Vec<StoreHealth> {
    let health = observer.judges().iter().map(|(store, judge)| StoreHealth {
        store: store.clone(),
        health: judge.health(),
        reason: judge.reason().map(str::to_owned),
        away_ms: judge.away_since().map(|since| millis(since.elapsed())),
        failed_disks: failed_disks(observer.view(), store),
    });
    health.collect()
}

fn failed_disks(view: &View, store: &StoreId) -> BTreeSet<String> {
    let seen = view.stores.get(store);
    let own = seen.and_then(|seen| seen.replicas.as_ref()).into_iter().flatten();
    let failed = own.filter(|(_, replica)| replica.is_failed());
    let failed = failed.map(|(_, replica)| replica.disk.clone());
    failed.chain(seen.and_then(|seen| seen.failed_disk.clone())).collect()
}

/// What is being scrubbed, on stores that answered.
pub(super) fn scrubs(view: &View) -> Vec<ScrubReport> {
    let replicas = view.stores.iter().flat_map(|(store, seen)| {
        seen.replicas.iter().flatten().map(move |(volume, replica)| (*volume, store, replica))
    });
    let scrubbed = replicas.filter_map(|(volume, store, replica)| {
        let pass = replica.scrub?;
        let (done_bytes, total_bytes) = (pass.done_bytes, pass.total_bytes);
        Some(ScrubReport { volume, store: store.clone(), done_bytes, total_bytes })
    });
    scrubbed.collect()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
