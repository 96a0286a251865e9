//! Why a store did not do what it was asked.

use std::io;
use std::sync::Arc;

use crate::id::{Epoch, Key, VolumeId};

/// The one error of this crate's edge. Each variant calls for another reaction of the caller.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No such needle, or it is deleted, or the cookie is wrong: a guesser learns nothing.
    #[error("no such needle")]
    NotFound,
    /// The key already holds other content, or was deleted. Use another key.
    #[error("key {key} of volume {volume} is taken: a key is used once")]
    Conflict {
        /// The volume asked.
        volume: VolumeId,
        /// The key in question.
        key: Key,
    },
    /// This store does not have the volume. Ask the directory where it is.
    #[error("volume {0} is not on this store")]
    NoVolume(VolumeId),
    /// The volume takes no new needles by an operator's word; reads and deletes go on.
    #[error("volume {0} is read-only")]
    ReadOnly(VolumeId),
    /// The order is older than what this replica was told since. Look at the cluster map again.
    #[error(
        "volume {volume} is at epoch {known} here, the request at {asked}: look at the cluster map again"
    )]
    StaleEpoch {
        /// The volume asked.
        volume: VolumeId,
        /// The epoch of the request.
        asked: Epoch,
        /// The epoch that the replica knows.
        known: Epoch,
    },
    /// The replica's own epoch is lost, so it obeys no order until it is fenced anew by somebody
    /// who knows the cluster map. Use another volume.
    #[error(
        "the epoch file of volume {volume} cannot be used ({reason}): the keeper sets it right; where there is none, remove the file and restart the store"
    )]
    NoEpoch {
        /// The volume asked.
        volume: VolumeId,
        /// What is wrong with the file.
        reason: Arc<str>,
    },
    /// The replica is still being filled: it takes no new needles, and what it does not have
    /// may exist. Use another volume; read another replica.
    #[error("volume {0} is still being copied to this store")]
    Copying(VolumeId),
    /// The store knows no job of this number.
    #[error("there is no job {0}; see `hayrick volume jobs`")]
    NoJob(u64),
    /// The needle does not fit in what is left of the volume. Use another volume.
    #[error("volume {0} is full")]
    VolumeFull(VolumeId),
    /// The disk has no room for it. Use a volume on another disk.
    #[error("the disk of volume {0} is full: free some space or add a disk")]
    DiskFull(VolumeId),
    /// Too much is waiting already. Try again later, or elsewhere.
    #[error("too many requests are waiting for {what}")]
    Busy {
        /// What is short.
        what: &'static str,
    },
    /// Larger than a needle may be. Split it.
    #[error("a needle takes at most {limit} bytes")]
    TooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// The request makes no sense; repeating it will not help.
    #[error("{0}")]
    Malformed(String),
    /// The needle is there, but damaged. It is never served; read another replica.
    #[error("needle {key} of volume {volume} is damaged: {reason}")]
    Corrupt {
        /// The volume asked.
        volume: VolumeId,
        /// The needle's key.
        key: Key,
        /// What does not match, and where.
        reason: Arc<str>,
    },
    /// A write or sync of this volume failed, so it refuses writes until it is opened again.
    #[error("volume {volume} refuses writes: {reason}; restart the store to recover it")]
    Failed {
        /// The volume asked.
        volume: VolumeId,
        /// What went wrong when.
        reason: Arc<str>,
    },
    /// The system failed a call. What was asked may be tried on another replica.
    #[error("volume {volume}: {source}")]
    Io {
        /// The volume asked.
        volume: VolumeId,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The store did not answer, or is stopping.
    #[error("store {store} is of no help now: {reason}")]
    Unavailable {
        /// Which store.
        store: String,
        /// Why.
        reason: String,
    },
}

impl StoreError {
    pub(crate) fn io(volume: VolumeId, source: io::Error) -> Self {
        Self::Io { volume, source: Arc::new(source) }
    }
}
