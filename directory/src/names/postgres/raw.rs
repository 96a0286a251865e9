//! The shared engine's tables entry by entry.

use std::pin::pin;

use deadpool_postgres::{ClientWrapper, Transaction};
use futures::{FutureExt as _, TryStreamExt as _};
use hayrick_store::{Cookie, Key, NeedleId};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::change::{Change, Outcome};
use super::changes::{UNQUEUE, from_sql, to_sql};
use super::config::PostgresConfig;
use super::connection::Connections;
use super::fault::Fault;
use super::reads::{LastVersion, Read, volume_id};
use super::schema;
use crate::names::raw::{Edit, Entry, PAGE_BYTES, PAGE_ENTRIES, RawNames, Table};
use crate::names::{Answer, Garbage, NamesError, keys};

const ROWS: &str = "SELECT bucket, name, content FROM hayrick_names \
    WHERE (bucket, name) > ($1, $2) ORDER BY bucket, name LIMIT $3";
/// Keys of needles sort as the unsigned numbers that they are.
const GARBAGE: &str = "SELECT volume, due_ms, needle_key, content FROM hayrick_garbage \
    WHERE (volume, due_ms) >= ($1, $2) \
    AND (volume, due_ms, needle_key < 0, needle_key) > ($1, $2, $3::BIGINT < 0, $3) \
    ORDER BY volume, due_ms, needle_key < 0, needle_key LIMIT $4";
const CLOSED: &str = "SELECT bucket FROM hayrick_closed_buckets \
    WHERE bucket > $1 ORDER BY bucket LIMIT $2";
const WRITE_ROWS: &str = "INSERT INTO hayrick_names (bucket, name, content) \
    SELECT q.bucket, q.name, q.content \
    FROM unnest($1::BYTEA[], $2::BYTEA[], $3::BYTEA[]) AS q (bucket, name, content) \
    ON CONFLICT (bucket, name) DO UPDATE SET content = excluded.content";
const DELETE_ROWS: &str = "DELETE FROM hayrick_names WHERE (bucket, name) IN \
    (SELECT q.bucket, q.name FROM unnest($1::BYTEA[], $2::BYTEA[]) AS q (bucket, name))";
const WRITE_GARBAGE: &str = "INSERT INTO hayrick_garbage (volume, due_ms, needle_key, content) \
    SELECT q.volume, q.due_ms, q.needle_key, q.content \
    FROM unnest($1::BIGINT[], $2::BIGINT[], $3::BIGINT[], $4::BYTEA[]) \
    AS q (volume, due_ms, needle_key, content) \
    ON CONFLICT (volume, due_ms, needle_key) DO UPDATE SET content = excluded.content";
const WRITE_CLOSED: &str = "INSERT INTO hayrick_closed_buckets (bucket) \
    SELECT q.bucket FROM unnest($1::BYTEA[]) AS q (bucket) ON CONFLICT (bucket) DO NOTHING";
const DELETE_CLOSED: &str = "DELETE FROM hayrick_closed_buckets WHERE bucket IN \
    (SELECT q.bucket FROM unnest($1::BYTEA[]) AS q (bucket))";
const RAISE_VERSION: &str = "UPDATE hayrick_slots SET \
    last_version = GREATEST(last_version, $1), removed_version = GREATEST(removed_version, $1)";

/// The tables of a database, whether directories use them or not.
pub(crate) struct RawPostgres(Connections);

impl RawPostgres {
    /// Nothing is sent yet.
    pub(crate) fn new(config: &PostgresConfig) -> Result<Self, NamesError> {
        Connections::new(config).map(Self)
    }

    /// The cluster whose names are here, and whether all of them are; `None` if there are none.
    pub(crate) async fn owner(&self) -> Result<Option<(Uuid, bool)>, NamesError> {
        schema::owner_of(&self.0).await
    }

    /// Makes the tables for a copy of the names of `cluster`. No directory opens them until
    /// [`RawPostgres::finish`].
    pub(crate) async fn prepare(&self, cluster: Uuid) -> Result<(), NamesError> {
        schema::prepare(&self.0, cluster).await
    }

    /// Lets directories open the tables.
    pub(crate) async fn finish(&self) -> Result<(), NamesError> {
        self.0.change(&schema::Finish).await
    }
}

struct Page {
    table: Table,
    after: Option<Vec<u8>>,
}

impl Read for Page {
    type Answer = Vec<Entry>;

    async fn run(&self, client: &ClientWrapper) -> Result<Vec<Entry>, Fault> {
        let limit = i64::try_from(PAGE_ENTRIES).unwrap_or(i64::MAX);
        let after = self.after.as_deref();
        match self.table {
            Table::Rows => {
                // No bucket has an empty name.
                let (bucket, name) = after.map_or(Ok((&[][..], &[][..])), keys::parse_row)?;
                fill(client, ROWS, &[&bucket, &name, &limit], row).await
            }
            Table::Garbage => {
                let (volume, due, key) = match after.map(keys::parse_garbage).transpose()? {
                    Some((volume, due_ms, key)) => {
                        (i64::from(volume.get()), to_sql(due_ms), key.get().cast_signed())
                    }
                    None => (-1, 0, 0),
                };
                fill(client, GARBAGE, &[&volume, &due, &key, &limit], garbage).await
            }
            Table::ClosedBuckets => {
                fill(client, CLOSED, &[&after.unwrap_or_default(), &limit], closed).await
            }
        }
    }
}

/// A page of entries. What is too much is thrown away as it arrives: rows may be large.
async fn fill(
    client: &ClientWrapper,
    query: &str,
    values: &[&(dyn ToSql + Sync)],
    entry: fn(&tokio_postgres::Row) -> Result<Entry, Fault>,
) -> Result<Vec<Entry>, Fault> {
    let query = client.prepare_cached(query).await?;
    let mut rows = pin!(client.query_raw(&query, values.iter().copied()).await?);
    let (mut page, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let entry = entry(&row)?;
        bytes += entry.key.len() + entry.value.len();
        page.push(entry);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

fn row(found: &tokio_postgres::Row) -> Result<Entry, Fault> {
    let (bucket, name): (&[u8], &[u8]) = (found.try_get(0)?, found.try_get(1)?);
    Ok(Entry { key: keys::row_of(bucket, name), value: found.try_get(2)? })
}

fn garbage(found: &tokio_postgres::Row) -> Result<Entry, Fault> {
    let volume = volume_id(found.try_get(0)?)?;
    let key = Key::new(found.try_get::<_, i64>(2)?.cast_unsigned());
    let id = NeedleId { volume, key, cookie: Cookie::new(0) };
    let entry = Garbage { id, due_ms: from_sql(found.try_get(1)?), removal: None };
    Ok(Entry { key: keys::garbage(&entry).to_vec(), value: found.try_get(3)? })
}

fn closed(found: &tokio_postgres::Row) -> Result<Entry, Fault> {
    Ok(Entry { key: found.try_get(0)?, value: Vec::new() })
}

struct Write {
    table: Table,
    edits: Vec<Edit>,
}

impl Write {
    fn split(&self) -> Columns<'_> {
        let mut columns = Columns::default();
        for Edit { key, value } in &self.edits {
            match value {
                Some(value) => {
                    columns.set.push(key);
                    columns.values.push(value);
                }
                None => columns.gone.push(key),
            }
        }
        columns
    }
}

impl Change for Write {
    type Answer = ();

    async fn apply(&self, transaction: &Transaction<'_>, _: Option<&()>) -> Made {
        let Columns { set, values, gone } = self.split();
        match self.table {
            Table::Rows => {
                let (buckets, names) = row_columns(&set)?;
                transaction.execute(WRITE_ROWS, &[&buckets, &names, &values]).await?;
                let (buckets, names) = row_columns(&gone)?;
                transaction.execute(DELETE_ROWS, &[&buckets, &names]).await?;
            }
            Table::Garbage => {
                let [volumes, due, needles] = garbage_columns(&set)?;
                let columns: [&(dyn ToSql + Sync); 4] = [&volumes, &due, &needles, &values];
                transaction.execute(WRITE_GARBAGE, &columns).await?;
                let [volumes, due, needles] = garbage_columns(&gone)?;
                transaction.execute(UNQUEUE, &[&volumes, &due, &needles]).await?;
            }
            Table::ClosedBuckets => {
                transaction.execute(WRITE_CLOSED, &[&set]).await?;
                transaction.execute(DELETE_CLOSED, &[&gone]).await?;
            }
        }
        Ok(Outcome::Commit(()))
    }
}

type Made = Result<Outcome<()>, Fault>;
type Bytes<'a> = Vec<&'a [u8]>;

/// What statements take: keys and values of entries to set, and keys of those to remove.
#[derive(Default)]
struct Columns<'a> {
    set: Bytes<'a>,
    values: Bytes<'a>,
    gone: Bytes<'a>,
}

/// Buckets and names.
fn row_columns<'a>(keys: &[&'a [u8]]) -> Result<(Bytes<'a>, Bytes<'a>), NamesError> {
    keys.iter().map(|key| keys::parse_row(key)).collect()
}

/// Volumes, due times and keys of needles.
fn garbage_columns(entries: &[&[u8]]) -> Result<[Vec<i64>; 3], NamesError> {
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for key in entries {
        let (volume, due_ms, key) = keys::parse_garbage(key)?;
        let values = [i64::from(volume.get()), to_sql(due_ms), key.get().cast_signed()];
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }
    Ok(columns)
}

/// The embedded engine does not keep which names were removed. So every name counts as removed
/// up to this version: a put that was begun before takes a higher one.
struct RaiseVersion(u64);

impl Change for RaiseVersion {
    type Answer = ();

    async fn apply(&self, transaction: &Transaction<'_>, _: Option<&()>) -> Made {
        transaction.execute(RAISE_VERSION, &[&to_sql(self.0)]).await?;
        Ok(Outcome::Commit(()))
    }
}

impl RawNames for RawPostgres {
    fn tables(&self) -> &'static [Table] {
        &Table::ALL
    }

    fn page(&self, table: Table, after: Option<Vec<u8>>) -> Answer<'_, Vec<Entry>> {
        async move { self.0.read(&Page { table, after }).await }.boxed()
    }

    fn write(&self, table: Table, edits: Vec<Edit>) -> Answer<'_, ()> {
        async move { self.0.change(&Write { table, edits }).await }.boxed()
    }

    fn last_version(&self) -> Answer<'_, u64> {
        async move { self.0.read(&LastVersion).await }.boxed()
    }

    fn raise_version(&self, version: u64) -> Answer<'_, ()> {
        async move { self.0.change(&RaiseVersion(version)).await }.boxed()
    }

    fn sync(&self) -> Answer<'_, ()> {
        // Every write was a transaction of its own.
        std::future::ready(Ok(())).boxed()
    }
}
