//! The engine of many machines: the names in a database that speaks PostgreSQL's protocol.
//!
//! | table | primary key | holds |
//! |---|---|---|
//! | `hayrick_names` | bucket, name | [a row](super::Row), encoded as in every engine |
//! | `hayrick_garbage` | volume, due time, needle key | the needle's cookie; the removal it is deleted for |
//! | `hayrick_slots` | slot: a hash of bucket and name | the highest version of a change, and of a removal |
//! | `hayrick_closed_buckets` | bucket | |
//! | `hayrick_schema` | 1 | the format of these tables, and whose they are |
//!
//! Names and buckets are `BYTEA`, which sorts by bytes whatever the locale. Any number of
//! processes use the tables at once, so nothing is kept in memory that a promise stands on:
//!
//! - Every change of a name first writes the row of the name's slot. Changes of one name thus
//!   come one after another, and a put sees the removal before it. Names that share a slot
//!   wait for one another too; there are enough slots that few do.
//! - Closing a bucket writes all slots, so no put is under way when it looks for names.
//!
//! Only SQL is used that CockroachDB and YugabyteDB take as well. Durability is that of the
//! server's settings: PostgreSQL's `fsync` and `synchronous_commit` must be on, as they are by
//! default.

mod change;
mod changes;
mod config;
mod connection;
mod fault;
mod raw;
mod reads;
mod schema;

use std::ops::RangeInclusive;

use futures::FutureExt as _;
use hayrick_store::VolumeId;
use uuid::Uuid;

use self::changes::{CloseBucket, DiscardNeedles, PutRow, RemoveRow, ReopenBucket, Settle};
pub use self::config::PostgresConfig;
use self::connection::Connections;
pub(crate) use self::raw::RawPostgres;
use self::reads::{CountGarbage, DueIn, GetRow, LastVersion, ListBucket, Now, Queues};
use super::{
    Answer, Committed, Discard, Garbage, GarbageQueue, ListPage, ListQuery, Names, NamesError, Put,
    Remove, Row, row,
};
use crate::{BucketName, ObjectName};

/// The names in a database that speaks PostgreSQL's protocol. Several, in any processes, may
/// be open on the same database.
pub struct PostgresNames {
    connections: Connections,
}

impl PostgresNames {
    /// Connects to the database, and makes the tables of the cluster `cluster_id` where there
    /// are none. A cluster that `has_volumes` has names already: then the tables must be there.
    pub async fn open(
        config: &PostgresConfig,
        cluster_id: Uuid,
        has_volumes: bool,
    ) -> Result<Self, NamesError> {
        let connections = Connections::new(config)?;
        schema::open(&connections, cluster_id, has_volumes).await?;
        Ok(Self { connections })
    }
}

impl Names for PostgresNames {
    fn get(&self, bucket: &BucketName, name: &ObjectName) -> Answer<'_, Option<Row>> {
        let read = GetRow { bucket: bucket.clone(), name: name.clone() };
        async move { self.connections.read(&read).await }.boxed()
    }

    fn put(&self, put: Put) -> Answer<'_, Committed> {
        async move {
            let value = row::encode(&put.row)?;
            self.connections.change(&PutRow { put, value }).await
        }
        .boxed()
    }

    fn remove(&self, remove: Remove) -> Answer<'_, Option<Row>> {
        async move { self.connections.change(&RemoveRow(remove)).await }.boxed()
    }

    fn discard(&self, discard: Discard) -> Answer<'_, Vec<Garbage>> {
        async move { self.connections.change(&DiscardNeedles(discard)).await }.boxed()
    }

    fn list(&self, bucket: &BucketName, query: ListQuery) -> Answer<'_, ListPage> {
        let read = ListBucket { bucket: bucket.clone(), query };
        async move { self.connections.read(&read).await }.boxed()
    }

    fn now_ms(&self) -> Answer<'_, u64> {
        async move { self.connections.read(&Now).await }.boxed()
    }

    fn garbage_queues(&self) -> Answer<'_, Vec<GarbageQueue>> {
        async move { self.connections.read(&Queues).await }.boxed()
    }

    fn due_in(
        &self,
        volume: VolumeId,
        due_ms: RangeInclusive<u64>,
        limit: usize,
    ) -> Answer<'_, Vec<Garbage>> {
        async move { self.connections.read(&DueIn { volume, due_ms, limit }).await }.boxed()
    }

    fn settle(&self, done: Vec<Garbage>) -> Answer<'_, ()> {
        async move { self.connections.change(&Settle(done)).await }.boxed()
    }

    fn garbage_len(&self) -> Answer<'_, u64> {
        async move { self.connections.read(&CountGarbage).await }.boxed()
    }

    fn close_bucket(&self, bucket: &BucketName) -> Answer<'_, ()> {
        let change = CloseBucket(bucket.clone());
        async move { self.connections.change(&change).await }.boxed()
    }

    fn reopen_bucket(&self, bucket: &BucketName) -> Answer<'_, ()> {
        let change = ReopenBucket(bucket.clone());
        async move { self.connections.change(&change).await }.boxed()
    }

    fn last_version(&self) -> Answer<'_, u64> {
        async move { self.connections.read(&LastVersion).await }.boxed()
    }
}

#[cfg(test)]
mod tests;
