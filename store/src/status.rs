//! What a store tells of itself, as JSON.

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, Key, VolumeId};
use crate::volume::{Damaged, Volume};

/// A store at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Its data directories, in the order of the configuration; those that fail come last.
    pub disks: Vec<DiskStatus>,
    /// Its volumes, by id; none of those on disks that fail.
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
    /// Whether there is more room than `min_free`, on a file system that can be written to, so
    /// that new volumes may be made.
    pub has_room: bool,
    /// Why the store goes on without it, and without the volumes in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
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
    /// The epoch that it knows; 0 if it was never told one, or has lost it.
    #[serde(default)]
    pub epoch: Epoch,
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
    /// When the last record was appended, in nanoseconds since 1970 by the replica's own clock.
    #[serde(default)]
    pub last_append_ns: u64,
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
    /// Why the superblock could not be used at the start, and had to be written again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superblock_problem: Option<String>,
    /// What its scrub knows; nothing for a volume that could not be opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<VolumeScrub>,
}

/// The scrub at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// What is being done, for each data directory in the order of the configuration.
    pub disks: Vec<DiskScrubStatus>,
    /// What is known, for each open volume, by id.
    pub volumes: Vec<VolumeScrub>,
}

/// The scrub of a data directory at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskScrubStatus {
    /// Where it is.
    pub path: String,
    /// What it does.
    pub work: DiskScrubWork,
    /// The volume that is being read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeId>,
    /// How fast it may be read now, when clients leave as much; 0 while nothing is.
    pub bytes_per_s: u64,
    /// Bytes gone over since the start.
    pub scrubbed_bytes: u64,
}

/// What the scrub of a data directory does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskScrubWork {
    /// Reads a volume.
    Running,
    /// Waits until a volume is due.
    Idle,
    /// Waits until an operator lets it go on.
    Paused,
    /// Waits until somebody asks for a pass: `scrub_pass` is 0.
    Off,
}

/// What the scrub knows of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeScrub {
    /// The volume.
    pub volume: VolumeId,
    /// When the last full pass was over, in milliseconds since 1970; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pass_ms: Option<u64>,
    /// How far the pass under way has come; absent when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<ScrubPass>,
    /// Whether it is being read now: a pass may be under way and wait.
    #[serde(default)]
    pub reading: bool,
    /// Whether somebody asked for a pass that is not over.
    pub asked: bool,
    /// How many damaged places there are, the unlisted ones too.
    pub damaged: u64,
    /// The damaged places, at most a thousand of them.
    pub findings: Vec<ScrubFinding>,
}

/// A pass under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubPass {
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// Bytes of the file gone over.
    pub done_bytes: u64,
    /// Bytes to go over in all.
    pub total_bytes: u64,
}

/// A damaged place in a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubFinding {
    /// Where it starts in the volume file, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size_bytes: u64,
    /// The needle that is damaged; absent where no live needle is known to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// What does not match.
    pub reason: String,
    /// When it was found, in milliseconds since 1970.
    pub first_seen_ms: u64,
}

impl VolumeScrub {
    pub(crate) fn of(volume: &Volume, reading: bool) -> Self {
        let state = volume.scrub_state();
        let findings = state.findings.into_iter().map(|finding| {
            let Damaged { offset, size_bytes, key, reason } = finding.damage;
            let first_seen_ms = finding.first_seen_ms;
            ScrubFinding { offset, size_bytes, key, reason, first_seen_ms }
        });
        let findings: Vec<_> = findings.collect();
        Self {
            volume: volume.id(),
            last_pass_ms: state.last_pass.map(|(_, ended_ms)| ended_ms),
            pass: state.pass.map(|pass| ScrubPass {
                started_ms: pass.started_ms,
                done_bytes: pass.position,
                total_bytes: pass.until,
            }),
            reading,
            asked: state.asked,
            damaged: findings.len() as u64 + state.more_findings,
            findings,
        }
    }
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
    /// Deletes and what other replicas hold, but no new needles, until all of that is here.
    Copying,
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
            Self::Copying => "copying",
            Self::Failed => "failed",
            Self::Unavailable => "unavailable",
        }
    }
}
