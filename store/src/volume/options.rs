//! How a volume works.

use std::sync::Arc;
use std::time::Duration;

use crate::format::MAX_VOLUME_BYTES;
use crate::pace::DiskPace;

/// When an answer to an upload promises that it outlives a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// At once: the answer comes after the sync. The default.
    Sync,
    /// After at most this long: a power cut may lose what was answered since.
    Interval(Duration),
    /// When the operating system gets round to it: a power cut may lose it. The end of
    /// the process alone loses nothing.
    Os,
}

/// How a volume works.
#[derive(Debug, Clone)]
pub struct VolumeOptions {
    /// When uploads are answered.
    pub durability: Durability,
    /// The file grows no larger than this; at most 32 GiB.
    pub limit_bytes: u64,
    /// No new needles are taken when the disk has less room than this.
    pub min_free_bytes: u64,
    /// How long compaction keeps the tombstones of needles that are gone.
    pub tombstone_retention: Duration,
    /// Whether other stores may have replicas of the volume: then compaction keeps those
    /// tombstones too that nobody has confirmed. See [`Volume::confirm`](super::Volume::confirm).
    pub replicated: bool,
    /// How many commands may wait for the writer.
    pub queue_len: usize,
    /// The index is written to its file when the hash table has this many entries.
    pub checkpoint_entries: usize,
    /// How fast background work may go. The volumes of one disk share it.
    pub pace: Arc<DiskPace>,
}

impl Default for VolumeOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Sync,
            limit_bytes: MAX_VOLUME_BYTES,
            min_free_bytes: 1 << 30,
            tombstone_retention: Duration::from_hours(24),
            replicated: false,
            queue_len: 1024,
            checkpoint_entries: 1 << 18,
            pace: Arc::default(),
        }
    }
}
