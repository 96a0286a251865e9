//! What proxies and directories say to each other, as JSON.

use hayrick_store::{NeedleId, VolumeId};
use serde::{Deserialize, Serialize};

use crate::{BucketName, Committed, Condition, DirectoryError, ListQuery, ObjectName, Row};

/// Asks for places in one volume.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Assign {
    pub(crate) bucket: BucketName,
    /// How many needles.
    pub(crate) count: usize,
    /// How large they are in all.
    pub(crate) size_bytes: u64,
}

/// Tells of a write that failed on some replica.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FailedWrite {
    pub(crate) volume: VolumeId,
}

/// Names an object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Object {
    pub(crate) bucket: BucketName,
    pub(crate) name: ObjectName,
}

/// Gives a name its row.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Commit {
    pub(crate) object: Object,
    pub(crate) row: Row,
    pub(crate) condition: Condition,
}

/// What came of a [`Commit`]. A stale version is told here, as the next one must be above it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CommitAnswer {
    Done(Committed),
    Stale { current: u64 },
}

/// Removes the row of a name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemoveRow {
    pub(crate) object: Object,
    pub(crate) condition: Condition,
}

/// Queues needles of an upload that was not committed for deletion.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DiscardNeedles {
    pub(crate) object: Object,
    /// On all replicas.
    pub(crate) stored: Vec<NeedleId>,
    /// Perhaps on some.
    pub(crate) unsure: Vec<NeedleId>,
}

/// Asks for a page of a bucket.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct List {
    pub(crate) bucket: BucketName,
    pub(crate) query: ListQuery,
}

impl CommitAnswer {
    pub(crate) fn of(committed: Result<Committed, DirectoryError>) -> Result<Self, DirectoryError> {
        match committed {
            Ok(committed) => Ok(Self::Done(committed)),
            Err(DirectoryError::StaleVersion { current }) => Ok(Self::Stale { current }),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn into_result(self) -> Result<Committed, DirectoryError> {
        match self {
            Self::Done(committed) => Ok(committed),
            Self::Stale { current } => Err(DirectoryError::StaleVersion { current }),
        }
    }
}
