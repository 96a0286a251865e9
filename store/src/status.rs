//! What a store tells of itself, as JSON.

use serde::{Deserialize, Serialize};

use crate::id::VolumeId;

/// A store at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Its data directories, in the order of the configuration.
    pub disks: Vec<DiskStatus>,
    /// Its volumes, by id.
    pub volumes: Vec<VolumeStatus>,
}

/// A data directory at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Where it is.
    pub path: String,
    /// Size of its file system.
    pub total_bytes: u64,
    /// Room on its file system.
    pub free_bytes: u64,
    /// Volumes on it.
    pub volumes: usize,
    /// Whether there is more room than `min_free`, so that new volumes may be made.
    pub has_room: bool,
}

/// A volume at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Its id.
    pub volume: VolumeId,
    /// The data directory it is in.
    pub disk: String,
    /// What it takes.
    pub state: VolumeState,
    /// Why, where the state needs a reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Size of the file up to its last record.
    pub file_bytes: u64,
    /// The file grows no larger than this.
    pub limit_bytes: u64,
    /// Bytes of the records of live needles.
    pub live_bytes: u64,
    /// Live needles.
    pub live_needles: u64,
    /// Bytes that a compaction would give back.
    pub garbage_bytes: u64,
    /// Deleted keys whose tombstones are still kept.
    pub tombstones: u64,
    /// Order-independent digest of the live needles, as 32 hex digits; absent while it is not exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// One more at each compaction.
    pub generation: u64,
    /// Uploads and deletes that wait.
    pub queue_depth: u64,
    /// Needles stored since the start.
    pub puts: u64,
    /// Needles deleted since the start.
    pub deletes: u64,
    /// Syncs since the start.
    pub syncs: u64,
    /// Reads since the start that met damage or an I/O error.
    pub failed_reads: u64,
    /// Stretches of the file that were acknowledged once and could not be read at the start.
    pub damaged_ranges: usize,
}

/// What a volume takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VolumeState {
    /// Everything.
    Writable,
    /// Deletes, but no new needles: it is full.
    Full,
    /// Deletes, but no new needles, by an operator's word.
    ReadOnly,
    /// Deletes, but no new needles, until the disk has room again.
    DiskFull,
    /// Reads only, after a failed write or sync.
    Failed,
    /// Nothing: it could not be opened.
    Unavailable,
}

impl VolumeState {
    /// The word in JSON, tables and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Writable => "writable",
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::DiskFull => "disk-full",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
        }
    }
}
