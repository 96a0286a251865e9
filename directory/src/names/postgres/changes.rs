//! The changes that there are.

use std::collections::HashSet;
use std::sync::Arc;

use deadpool_postgres::Transaction;
use futures::future::{try_join, try_join3};
use hayrick_store::NeedleId;

use super::change::{Change, Outcome};
use super::fault::Fault;
use super::reads::decode_row;
use super::schema::SLOTS;
use crate::names::{
    Committed, Discard, Garbage, NamesError, Put, Removal, Remove, Row, row, rules,
};
use crate::{BucketName, ObjectName};

const LOCK_SLOT: &str = "UPDATE hayrick_slots SET last_version = GREATEST(last_version, $2) \
    WHERE slot = $1 RETURNING removed_version";
const LOCK_ALL_SLOTS: &str = "UPDATE hayrick_slots SET last_version = last_version";
const NOTE_REMOVAL: &str = "UPDATE hayrick_slots SET last_version = GREATEST(last_version, $2), \
    removed_version = GREATEST(removed_version, $2) WHERE slot = $1";
const IS_CLOSED: &str = "SELECT 1 FROM hayrick_closed_buckets WHERE bucket = $1";
const CLOSE: &str = "INSERT INTO hayrick_closed_buckets (bucket) VALUES ($1) \
    ON CONFLICT (bucket) DO NOTHING";
const REOPEN: &str = "DELETE FROM hayrick_closed_buckets WHERE bucket = $1";
const ANY_NAME: &str = "SELECT 1 FROM hayrick_names WHERE bucket = $1 LIMIT 1";
pub(super) const SELECT_ROW: &str =
    "SELECT content FROM hayrick_names WHERE bucket = $1 AND name = $2";
const WRITE_ROW: &str = "INSERT INTO hayrick_names (bucket, name, content) VALUES ($1, $2, $3) \
    ON CONFLICT (bucket, name) DO UPDATE SET content = excluded.content";
const DELETE_ROW: &str = "DELETE FROM hayrick_names WHERE bucket = $1 AND name = $2";
const QUEUE: &str = "INSERT INTO hayrick_garbage (volume, due_ms, needle_key, content) \
    SELECT q.volume, $1::BIGINT, q.needle_key, q.content \
    FROM unnest($2::BIGINT[], $3::BIGINT[], $4::BYTEA[]) AS q (volume, needle_key, content) \
    ON CONFLICT (volume, due_ms, needle_key) DO NOTHING RETURNING volume, needle_key";
pub(super) const UNQUEUE: &str = "DELETE FROM hayrick_garbage WHERE (volume, due_ms, needle_key) IN \
    (SELECT q.volume, q.due_ms, q.needle_key \
    FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[]) AS q (volume, due_ms, needle_key))";

/// Needles in one statement: bounds how long it gets.
const MAX_QUEUED_TOGETHER: usize = 1_000;

/// A put, with the row as it is written.
pub(super) struct PutRow {
    pub(super) put: Put,
    pub(super) value: Vec<u8>,
}

impl Change for PutRow {
    type Answer = Committed;

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        doubted: Option<&Committed>,
    ) -> Result<Outcome<Committed>, Fault> {
        let Put { bucket, name, row, due_ms, .. } = &self.put;
        let before = lock(transaction, bucket, name, row.version).await?;
        if before.is_closed {
            return Err(NamesError::BucketClosed.into());
        }
        let in_doubt = doubted.is_some();
        let effect = rules::put(&self.put, before.row, before.removed_version, in_doubt)?;
        if let (Committed::Unchanged, Some(doubted)) = (&effect.answer, doubted) {
            return Ok(Outcome::Nothing(doubted.clone()));
        }
        if !effect.writes_row {
            return Ok(Outcome::Nothing(effect.answer));
        }
        let write = transaction.prepare_cached(WRITE_ROW).await?;
        let (bucket, name) = key(bucket, name);
        transaction.execute(&write, &[&bucket, &name, &self.value]).await?;
        queue(transaction, effect.leaving, *due_ms, None).await?;
        Ok(Outcome::Commit(effect.answer))
    }
}

pub(super) struct RemoveRow(pub(super) Remove);

impl Change for RemoveRow {
    type Answer = Option<Row>;

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        doubted: Option<&Option<Row>>,
    ) -> Result<Outcome<Option<Row>>, Fault> {
        let Remove { bucket, name, condition, due_ms, .. } = &self.0;
        let before = lock(transaction, bucket, name, 0).await?;
        if let Some(Some(removed)) = doubted {
            let version = self.0.of(removed).version;
            // Had it not been made, the slot would tell of an earlier removal.
            if before.removed_version == version {
                return Ok(Outcome::Nothing(Some(removed.clone())));
            }
            if before.removed_version > version {
                let reason = "a later removal hides what became of this one";
                return Err(NamesError::InDoubt(reason.to_owned()).into());
            }
        }
        condition.check(before.row.as_ref().map(|row| row.version))?;
        let Some(row) = before.row else { return Ok(Outcome::Nothing(None)) };
        let removal = Arc::new(self.0.of(&row));
        let delete = transaction.prepare_cached(DELETE_ROW).await?;
        let note = transaction.prepare_cached(NOTE_REMOVAL).await?;
        let (slot, version) = (slot(bucket, name), to_sql(removal.version));
        let (bucket, name) = key(bucket, name);
        try_join(
            transaction.execute(&delete, &[&bucket, &name]),
            transaction.execute(&note, &[&slot, &version]),
        )
        .await?;
        queue(transaction, row.needle_ids().collect(), *due_ms, Some(removal)).await?;
        Ok(Outcome::Commit(Some(row)))
    }
}

pub(super) struct DiscardNeedles(pub(super) Discard);

impl Change for DiscardNeedles {
    type Answer = Vec<Garbage>;

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        doubted: Option<&Vec<Garbage>>,
    ) -> Result<Outcome<Vec<Garbage>>, Fault> {
        let Discard { bucket, name, needles, due_ms } = &self.0;
        // Whoever discards may not know that its put was made after all. With the slot
        // locked, it was by now or never will be.
        let current = lock(transaction, bucket, name, 0).await?.row.unwrap_or_default();
        let leaving = rules::leaving(needles.iter().copied(), &current);
        let queued = queue(transaction, leaving, *due_ms, None).await?;
        Ok(Outcome::Commit(doubted.cloned().unwrap_or(queued)))
    }
}

pub(super) struct Settle(pub(super) Vec<Garbage>);

impl Change for Settle {
    type Answer = ();

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        _: Option<&()>,
    ) -> Result<Outcome<()>, Fault> {
        let unqueue = transaction.prepare_cached(UNQUEUE).await?;
        for done in self.0.chunks(MAX_QUEUED_TOGETHER) {
            let volumes: Vec<_> = done.iter().map(|entry| volume(&entry.id)).collect();
            let due: Vec<_> = done.iter().map(|entry| to_sql(entry.due_ms)).collect();
            let keys: Vec<_> = done.iter().map(|entry| entry.id.key.get().cast_signed()).collect();
            transaction.execute(&unqueue, &[&volumes, &due, &keys]).await?;
        }
        Ok(Outcome::Commit(()))
    }
}

pub(super) struct CloseBucket(pub(super) BucketName);

impl Change for CloseBucket {
    type Answer = ();

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        _: Option<&()>,
    ) -> Result<Outcome<()>, Fault> {
        let bucket = self.0.as_str().as_bytes();
        // No put is under way from here on, and the next one sees that the bucket is closed.
        transaction.execute(LOCK_ALL_SLOTS, &[]).await?;
        if transaction.query_opt(ANY_NAME, &[&bucket]).await?.is_some() {
            return Err(NamesError::BucketNotEmpty.into());
        }
        transaction.execute(CLOSE, &[&bucket]).await?;
        Ok(Outcome::Commit(()))
    }
}

pub(super) struct ReopenBucket(pub(super) BucketName);

impl Change for ReopenBucket {
    type Answer = ();

    async fn apply(
        &self,
        transaction: &Transaction<'_>,
        _: Option<&()>,
    ) -> Result<Outcome<()>, Fault> {
        transaction.execute(REOPEN, &[&self.0.as_str().as_bytes()]).await?;
        Ok(Outcome::Commit(()))
    }
}

/// What there is before a change of a name.
struct Before {
    removed_version: u64,
    is_closed: bool,
    row: Option<Row>,
}

/// Locks the slot of a name until the transaction ends, notes the version `version` there,
/// and looks at what there is.
async fn lock(
    transaction: &Transaction<'_>,
    bucket: &BucketName,
    name: &ObjectName,
    version: u64,
) -> Result<Before, Fault> {
    let lock = transaction.prepare_cached(LOCK_SLOT).await?;
    let is_closed = transaction.prepare_cached(IS_CLOSED).await?;
    let select = transaction.prepare_cached(SELECT_ROW).await?;
    let (slot, version) = (slot(bucket, name), to_sql(version));
    let (bucket, name) = key(bucket, name);
    // Sent together and carried out in this order: what is read is read under the lock.
    let (locked, closed, row) = try_join3(
        transaction.query_one(&lock, &[&slot, &version]),
        transaction.query_opt(&is_closed, &[&bucket]),
        transaction.query_opt(&select, &[&bucket, &name]),
    )
    .await?;
    Ok(Before {
        removed_version: from_sql(locked.try_get(0)?),
        is_closed: closed.is_some(),
        row: row.map(|row| decode_row(&row)).transpose()?,
    })
}

/// Queues needles for deletion; answers those that were not queued before.
async fn queue(
    transaction: &Transaction<'_>,
    needles: Vec<NeedleId>,
    due_ms: u64,
    removal: Option<Arc<Removal>>,
) -> Result<Vec<Garbage>, Fault> {
    let mut queued = Vec::new();
    if needles.is_empty() {
        return Ok(queued);
    }
    let insert = transaction.prepare_cached(QUEUE).await?;
    for needles in needles.chunks(MAX_QUEUED_TOGETHER) {
        let volumes: Vec<_> = needles.iter().map(volume).collect();
        let keys: Vec<_> = needles.iter().map(|id| id.key.get().cast_signed()).collect();
        let content = |id: &NeedleId| row::encode_garbage(id.cookie, removal.as_deref());
        let contents = needles.iter().map(content).collect::<Result<Vec<_>, _>>()?;
        let due = to_sql(due_ms);
        let rows = transaction.query(&insert, &[&due, &volumes, &keys, &contents]).await?;
        let mut fresh = HashSet::new();
        for row in rows {
            fresh.insert((row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?));
        }
        // In the order in which they were given.
        let new =
            needles.iter().filter(|id| fresh.remove(&(volume(id), id.key.get().cast_signed())));
        queued.extend(new.map(|&id| Garbage { id, due_ms, removal: removal.clone() }));
    }
    Ok(queued)
}

fn key<'a>(bucket: &'a BucketName, name: &'a ObjectName) -> (&'a [u8], &'a [u8]) {
    (bucket.as_str().as_bytes(), name.as_str().as_bytes())
}

/// The slot of a name. Every process, of whatever version, must find the same.
fn slot(bucket: &BucketName, name: &ObjectName) -> i64 {
    let mut hash = crc32fast::Hasher::new();
    hash.update(bucket.as_str().as_bytes());
    hash.update(&[0]);
    hash.update(name.as_str().as_bytes());
    i64::from(hash.finalize() % SLOTS)
}

fn volume(id: &NeedleId) -> i64 {
    i64::from(id.volume.get())
}

/// SQL has no unsigned numbers. Times and versions stay below the limit for millions of years.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn from_sql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_of_a_name_never_changes() {
        let slot = |name: &str| slot(&"photos".parse().unwrap(), &name.parse().unwrap());
        assert_eq!([slot("cats/tom.jpg"), slot("a")], [2325, 1897]);
    }
}
