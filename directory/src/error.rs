//! What can go wrong in the directory, by what its caller does about it.

use std::borrow::Cow;

use hayrick_store::VolumeId;

use crate::{BucketName, CoordinatorError, NamesError, OrderId, StoreId};

/// Why the directory did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no such bucket: 404.
    #[error("bucket {0} does not exist")]
    NoBucket(BucketName),
    /// There is such a bucket already: 409.
    #[error("bucket {0} exists already")]
    BucketExists(BucketName),
    /// The bucket holds objects and is not removed: 409.
    #[error("bucket {0} is not empty")]
    BucketNotEmpty(BucketName),
    /// There is no such access key: 404.
    #[error("access key {0} does not exist")]
    NoAccessKey(String),
    /// There is no such order: 404.
    #[error("order {0} does not exist")]
    NoOrder(OrderId),
    /// There is no such store: 404.
    #[error("store {0} is not on the cluster map")]
    NoStore(StoreId),
    /// There is no such volume: 404 when asked for by hand; in a row, a cluster map
    /// that is older than the row.
    #[error("volume {0} is not on the cluster map")]
    NoVolume(VolumeId),
    /// More copies are asked for than there are stores to hold them: 400.
    #[error("{copies} copies need as many stores, there are {stores}")]
    NotEnoughStores {
        /// The copies asked for.
        copies: u8,
        /// The stores there are.
        stores: usize,
    },
    /// No volume takes a needle of this size now, though stores have room, or may have
    /// it when they answer again: 503, try later.
    #[error("no writable volume for {size_bytes} bytes")]
    NoWritableVolume {
        /// The size asked for.
        size_bytes: u64,
    },
    /// The same, since a moment ago: the volumes that there were may be back at any moment, or
    /// others in their place. 503, and trying again for some seconds mostly helps.
    #[error("no writable volume for {size_bytes} bytes just now")]
    NoVolumeJustNow {
        /// The size asked for.
        size_bytes: u64,
    },
    /// The disks are full, those of the stores or that of the names: 507.
    #[error("the disks are full")]
    Full,
    /// The condition on the present row does not hold: 412.
    #[error("the condition does not hold, the present version is {current:?}")]
    ConditionFailed {
        /// The present version; `None` if there is no such object.
        current: Option<u64>,
    },
    /// The present version is not below the new one: commit again with
    /// [`Directory::next_version`](crate::Directory::next_version).
    #[error("the present version {current} is not below the new one")]
    StaleVersion {
        /// The present version.
        current: u64,
    },
    /// Malformed listing, bucket or other request: 400.
    #[error("{0}")]
    BadRequest(Cow<'static, str>),
    /// The object takes more needles or metadata than a row holds: 413.
    #[error("the object has too many needles or too much metadata for one row")]
    TooLarge,
    /// Too many changes are waiting: 503, try later.
    #[error("the directory is busy")]
    Busy,
    /// No directory answers, or what the cluster agrees on cannot be changed now: 503, try
    /// later. It is unknown whether a change was made.
    #[error("{0}")]
    Unavailable(String),
    /// Another changed the same thing at the same time: look again and retry.
    #[error("{0}")]
    Conflict(String),
    /// An earlier write failed; changes are refused until a restart, reads go on. Of
    /// the change that met this first it is unknown whether it was made: 500.
    #[error("the directory refuses changes after a failed write, until a restart")]
    Failed,
    /// What is stored is not what was written: 500, and a person must look.
    #[error("{0}")]
    Corrupt(String),
    /// Reading or writing failed, and nothing was changed: 500.
    #[error("{0}")]
    Io(String),
    /// The directory cannot be opened as it is configured or laid out.
    #[error("{0}")]
    Setup(String),
}

impl From<NamesError> for DirectoryError {
    fn from(error: NamesError) -> Self {
        match error {
            NamesError::ConditionFailed { current } => Self::ConditionFailed { current },
            NamesError::StaleVersion { current } => Self::StaleVersion { current },
            NamesError::BucketClosed => Self::Conflict("the bucket is being removed".to_owned()),
            NamesError::BucketNotEmpty => Self::Conflict("the bucket is not empty".to_owned()),
            NamesError::BadQuery(reason) => Self::BadRequest(reason.into()),
            NamesError::RowTooLarge { .. } => Self::TooLarge,
            NamesError::Busy => Self::Busy,
            NamesError::DiskFull => Self::Full,
            NamesError::Failed => Self::Failed,
            error @ (NamesError::Corrupt(_) | NamesError::NewerFormat { .. }) => {
                Self::Corrupt(error.to_string())
            }
            error @ (NamesError::Unavailable(_) | NamesError::InDoubt(_)) => {
                Self::Unavailable(error.to_string())
            }
            error @ (NamesError::Locked | NamesError::Setup(_)) => Self::Setup(error.to_string()),
            error @ NamesError::Io(_) => Self::Io(error.to_string()),
        }
    }
}

impl From<CoordinatorError> for DirectoryError {
    fn from(error: CoordinatorError) -> Self {
        let text = error.to_string();
        match error {
            CoordinatorError::Conflict { .. }
            | CoordinatorError::Exists(_)
            | CoordinatorError::InUse { .. }
            | CoordinatorError::Missing(_) => Self::Conflict(text),
            CoordinatorError::Invalid(reason) => Self::BadRequest(reason.into()),
            CoordinatorError::Exhausted(_) => Self::Full,
            CoordinatorError::Failed => Self::Failed,
            CoordinatorError::Unavailable { .. } | CoordinatorError::InDoubt(_) => {
                Self::Unavailable(text)
            }
            CoordinatorError::Corrupt { .. } | CoordinatorError::Damaged { .. } => {
                Self::Corrupt(text)
            }
            CoordinatorError::Locked(_)
            | CoordinatorError::NewerFormat { .. }
            | CoordinatorError::Denied(_)
            | CoordinatorError::WrongCluster { .. }
            | CoordinatorError::StoreTaken { .. }
            | CoordinatorError::Refused { .. }
            | CoordinatorError::Setup(_) => Self::Setup(text),
            CoordinatorError::Io { .. } => Self::Io(text),
        }
    }
}

impl From<getrandom::Error> for DirectoryError {
    fn from(error: getrandom::Error) -> Self {
        Self::Io(format!("no random numbers: {error}"))
    }
}
