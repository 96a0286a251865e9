//! The name database: which needles make up which object.

#[cfg(test)]
pub(crate) mod conformance;
mod content_type;
mod cursor;
pub(crate) mod fjall;
mod keys;
mod list;
pub(crate) mod postgres;
pub(crate) mod raw;
mod removals;
pub(crate) mod row;
mod rules;

use std::ops::RangeInclusive;
use std::sync::Arc;

use futures::future::BoxFuture;
use hayrick_store::{NeedleId, VolumeId};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

pub use self::content_type::ContentType;
use crate::{BucketName, ObjectName};

/// The most entries one page of a listing holds.
pub const MAX_LIST_LIMIT: usize = 1_000;
/// The most bytes one row may take in the database, about 50,000 needles.
pub const MAX_ROW_BYTES: usize = 1 << 20;

/// What is known of an object without asking a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its version, from the hybrid logical clock; unique among the name's versions.
    pub version: u64,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its media type.
    pub content_type: ContentType,
    /// What the uploader wants to be told again.
    pub user: Vec<(String, String)>,
    /// When it was stored, in milliseconds since 1970.
    pub modified_ms: u64,
    /// The needles that hold it, in order.
    pub needles: NeedleRefs,
}

/// The needles of an object. Most have one, which takes no memory beside the row.
pub type NeedleRefs = SmallVec<[NeedleRef; 1]>;

/// One needle of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeedleRef {
    /// Which needle.
    pub id: NeedleId,
    /// How many bytes of the object it holds.
    pub size_bytes: u32,
}

/// What must hold of the present row for a change to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// There is no row.
    IfAbsent,
    /// There is a row, of whatever version.
    IfPresent,
    /// There is a row, and its version is one of these.
    IfMatch(Vec<u64>),
    /// There is no row of a higher version. For a removal over a network: should a directory
    /// that hung carry it out at last, what was put since stays.
    UpTo(u64),
}

/// Sets the row of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// The bucket.
    pub bucket: BucketName,
    /// The name.
    pub name: ObjectName,
    /// The row to be.
    pub row: Row,
    /// What must hold of the row it replaces.
    pub condition: Condition,
    /// When the replaced needles may be deleted, in milliseconds since 1970.
    pub due_ms: u64,
}

/// What came of a put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Committed {
    /// The name is new.
    Created,
    /// The name has this very row already: the put was made before.
    Unchanged,
    /// The name had this row, whose needles are now queued for deletion.
    Replaced(Row),
    /// An earlier attempt may have made the put, and the name was put or removed by a higher
    /// version since: it is unknown whether the put was there for a moment, but it is not there
    /// now and never will be.
    Superseded,
}

/// Removes the row of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remove {
    /// The bucket.
    pub bucket: BucketName,
    /// The name.
    pub name: ObjectName,
    /// What must hold of the row.
    pub condition: Condition,
    /// The version of this removal, above that of every row it may remove.
    pub version: u64,
    /// When the row's needles may be deleted, in milliseconds since 1970.
    pub due_ms: u64,
}

/// Queues needles for deletion that were stored for a name and not committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    /// The bucket of the upload.
    pub bucket: BucketName,
    /// The name of the upload.
    pub name: ObjectName,
    /// The needles. Those that the name's row turns out to hold are left alone.
    pub needles: Vec<NeedleId>,
    /// When they may be deleted, in milliseconds since 1970.
    pub due_ms: u64,
}

/// A needle that is to be deleted from every replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// Which needle.
    pub id: NeedleId,
    /// When it may be deleted, in milliseconds since 1970 by [`Names::now_ms`].
    pub due_ms: u64,
    /// The removal of a name that it is deleted for; `None` where only the needle goes,
    /// because another took its place or it was never committed.
    pub removal: Option<Arc<Removal>>,
}

/// The end of a name. Its tombstones tell of it, so that a lost name database is rebuilt
/// without it: it hides every version of the name that is not above its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// The bucket.
    pub bucket: BucketName,
    /// The name.
    pub name: ObjectName,
    /// The highest version that is hidden.
    pub version: u64,
}

/// What is queued for deletion in a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GarbageQueue {
    /// Which volume.
    pub volume: VolumeId,
    /// When the needle that is due first is due.
    pub first_due_ms: u64,
    /// When the needle that is due last is due.
    pub last_due_ms: u64,
}

/// Which part of a bucket to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListQuery {
    /// Only names that start with this.
    pub prefix: String,
    /// Names that hold this after the prefix are told as one common prefix, which
    /// ends with it.
    pub delimiter: Option<String>,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// The most entries, names and common prefixes together: 1 to 1,000.
    pub limit: usize,
}

/// One page of a listing. It may be shorter than asked for; only a missing cursor
/// means the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListPage {
    /// The objects, in the order of their names' bytes.
    pub objects: Vec<(ObjectName, Row)>,
    /// The common prefixes, in the same order.
    pub prefixes: Vec<String>,
    /// Where the next page starts; `None` on the last page.
    pub cursor: Option<String>,
}

/// What an operation on the names comes to.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, NamesError>>;

/// A database of names and of the needles that wait to be deleted.
///
/// Changes are durable when their future is done, and each is atomic with what it
/// queues for deletion. A change whose future is dropped may be made or not. An error
/// other than [`NamesError::Failed`] and [`NamesError::InDoubt`] means that nothing was
/// changed.
pub trait Names: Send + Sync + 'static {
    /// The row of a name.
    fn get(&self, bucket: &BucketName, name: &ObjectName) -> Answer<'_, Option<Row>>;

    /// The row that a name has now, if this engine knows it without waiting.
    fn get_recent(&self, _bucket: &BucketName, _name: &ObjectName) -> Option<Arc<Row>> {
        None
    }

    /// Sets the row of a name. A row of the same version and content as the present
    /// one changes nothing and succeeds, so that a put may be repeated.
    fn put(&self, put: Put) -> Answer<'_, Committed>;

    /// Removes the row of a name; answers the row that was there.
    fn remove(&self, remove: Remove) -> Answer<'_, Option<Row>>;

    /// Queues needles for deletion; answers what was queued.
    fn discard(&self, discard: Discard) -> Answer<'_, Vec<Garbage>>;

    /// Lists a bucket.
    fn list(&self, bucket: &BucketName, query: ListQuery) -> Answer<'_, ListPage>;

    /// The time, in milliseconds since 1970, by a clock that all processes on this database
    /// share. It may jump in either direction.
    fn now_ms(&self) -> Answer<'_, u64>;

    /// The volumes that have needles queued for deletion.
    fn garbage_queues(&self) -> Answer<'_, Vec<GarbageQueue>>;

    /// The first `limit` needles of a volume that are due within this time, in the order of
    /// their due times, and of their keys where these are the same.
    fn due_in(
        &self,
        volume: VolumeId,
        due_ms: RangeInclusive<u64>,
        limit: usize,
    ) -> Answer<'_, Vec<Garbage>>;

    /// Strikes needles off the queue: every replica has confirmed their deletion.
    fn settle(&self, done: Vec<Garbage>) -> Answer<'_, ()>;

    /// How many needles are queued, due or not.
    fn garbage_len(&self) -> Answer<'_, u64>;

    /// Refuses puts into the bucket from now on, if it is empty.
    fn close_bucket(&self, bucket: &BucketName) -> Answer<'_, ()>;

    /// Takes puts into the bucket again.
    fn reopen_bucket(&self, bucket: &BucketName) -> Answer<'_, ()>;

    /// The highest version ever put or removed here.
    fn last_version(&self) -> Answer<'_, u64>;
}

/// Why the name database did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamesError {
    /// The condition does not hold.
    #[error("the condition does not hold, the present version is {current:?}")]
    ConditionFailed {
        /// The present version; `None` if there is no row.
        current: Option<u64>,
    },
    /// The condition holds, but the present row, or the last removal that may have been of
    /// this name, has a version that is not below the new one: take a new version and try again.
    #[error("the present version {current} is not below the new one")]
    StaleVersion {
        /// The present version, or the removal's.
        current: u64,
    },
    /// The bucket is being removed.
    #[error("the bucket is closed")]
    BucketClosed,
    /// The bucket holds objects.
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    /// The listing cannot be made as asked.
    #[error("bad list query: {0}")]
    BadQuery(&'static str),
    /// The row is larger than [`MAX_ROW_BYTES`].
    #[error("the row takes {size_bytes} bytes, {MAX_ROW_BYTES} are allowed")]
    RowTooLarge {
        /// Its size in the database.
        size_bytes: usize,
    },
    /// Too many changes are waiting. Try later.
    #[error("too many changes are waiting")]
    Busy,
    /// There is hardly room on the database's disk left; removals are still taken.
    #[error("the disk of the name database is full")]
    DiskFull,
    /// Writing failed, so whether this change was made is known only after a restart.
    /// Until then the database answers reads and refuses changes.
    #[error("the name database refuses changes after a failed write, until a restart")]
    Failed,
    /// The database cannot be reached, or does not answer in time. It is tried again with
    /// the next change or read.
    #[error("the name database is not available: {0}")]
    Unavailable(String),
    /// The connection broke while the change was being made, and what came of it could not
    /// be found out: it was made or not.
    #[error("it is unknown whether the name database made the change: {0}")]
    InDoubt(String),
    /// What was read is not what was written.
    #[error("the name database is damaged: {0}")]
    Corrupt(String),
    /// A row was written by a newer version of this program.
    #[error("a row has format {found}, this version reads up to {supported}")]
    NewerFormat {
        /// The format it has.
        found: u8,
        /// The newest format known here.
        supported: u8,
    },
    /// Another process has the database open.
    #[error("the name database is in use by another process")]
    Locked,
    /// The database cannot be used as it is configured or laid out.
    #[error("name database: {0}")]
    Setup(String),
    /// Reading failed, or the database refused what it never should.
    #[error("name database: {0}")]
    Io(String),
}

impl Remove {
    /// The removal as the tombstones of `row`, the row that it removes, tell it.
    pub(crate) fn of(&self, row: &Row) -> Removal {
        // The row may have been put after this removal took its version.
        let version = self.version.max(row.version);
        Removal { bucket: self.bucket.clone(), name: self.name.clone(), version }
    }
}

impl Condition {
    /// Whether it holds of a row with the version `current`.
    pub(crate) fn check(&self, current: Option<u64>) -> Result<(), NamesError> {
        let holds = match (self, current) {
            (Self::None, _) | (Self::IfAbsent, None) | (Self::IfPresent, Some(_)) => true,
            (Self::IfMatch(versions), Some(version)) => versions.contains(&version),
            (Self::UpTo(highest), current) => current.is_none_or(|version| version <= *highest),
            (Self::IfAbsent, Some(_)) | (Self::IfPresent | Self::IfMatch(_), None) => false,
        };
        if holds { Ok(()) } else { Err(NamesError::ConditionFailed { current }) }
    }
}

impl Row {
    /// The ids of its needles, in order.
    pub fn needle_ids(&self) -> impl Iterator<Item = NeedleId> {
        self.needles.iter().map(|needle| needle.id)
    }

    /// About how much memory it takes.
    pub fn memory_bytes(&self) -> u64 {
        let user = self.user.iter().map(|(key, value)| key.len() + value.len() + 48);
        let content_type = self.content_type.heap_bytes();
        let needles = if self.needles.spilled() { size_of_val(&*self.needles) } else { 0 };
        (size_of::<Self>() + content_type + needles + user.sum::<usize>()) as u64
    }
}
