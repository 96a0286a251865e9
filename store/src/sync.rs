//! Fetching from other replicas of a volume what this one lacks.
//!
//! Keys are used once and needles never change, so a replica is a set of needles and a set of
//! tombstones, and a tombstone beats its needle. Two replicas become equal when each takes from
//! the other what it lacks, in whatever order that is done, and however often.

use serde::{Deserialize, Serialize};

use crate::id::Key;

/// Most keys that are repaired in one call.
pub const MAX_REPAIR_KEYS: usize = 1024;

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
