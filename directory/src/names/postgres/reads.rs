//! The reads that there are, tried again as long as there is time.

use std::ops::RangeInclusive;
use std::pin::pin;

use deadpool_postgres::ClientWrapper;
use futures::TryStreamExt as _;
use hayrick_store::{Key, NeedleId, VolumeId};
use tokio_postgres::types::ToSql;

use super::changes::{SELECT_ROW, from_sql, to_sql};
use super::connection::Connections;
use super::fault::Fault;
use crate::names::list::{Listing, Step};
use crate::names::{
    Garbage, GarbageQueue, ListPage, ListQuery, MAX_LIST_LIMIT, NamesError, Row, row,
};
use crate::{BucketName, ObjectName};

const LIST: &str = "SELECT name, content FROM hayrick_names \
    WHERE bucket = $1 AND name >= $2 AND name < $3 ORDER BY name LIMIT $4";
const NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";
const NEXT_QUEUE: &str = "SELECT first.volume, first.due_ms, (SELECT max(last.due_ms) \
    FROM hayrick_garbage AS last WHERE last.volume = first.volume) \
    FROM hayrick_garbage AS first WHERE first.volume >= $1 \
    ORDER BY first.volume, first.due_ms LIMIT 1";
const DUE_IN: &str = "SELECT due_ms, needle_key, content FROM hayrick_garbage \
    WHERE volume = $1 AND due_ms BETWEEN $2 AND $3 ORDER BY due_ms, needle_key LIMIT $4";
/// Keys sort as the unsigned numbers that they are. The index does not have them in that order,
/// so the database reads and sorts all that are due at once.
const DUE_AT: &str = "SELECT due_ms, needle_key, content FROM hayrick_garbage \
    WHERE volume = $1 AND due_ms = $2 ORDER BY needle_key < 0, needle_key LIMIT $3";
const COUNT_GARBAGE: &str = "SELECT count(*) FROM hayrick_garbage";
const LAST_VERSION: &str = "SELECT max(last_version) FROM hayrick_slots";

/// Keys above it are negative numbers there.
const MAX_SQL_KEY: u64 = i64::MAX.cast_unsigned();
/// Above every name: UTF-8 has no such byte.
const END: &[u8] = &[0xFF];
/// Names asked for first after each common prefix, when there is a delimiter: the next one
/// may have most of them under it.
const FIRST_NAMES: usize = 8;

/// A read, which may be tried more than once.
pub(super) trait Read: Sync {
    type Answer: Send;

    fn run(
        &self,
        client: &ClientWrapper,
    ) -> impl Future<Output = Result<Self::Answer, Fault>> + Send;
}

impl Connections {
    /// Reads.
    pub(super) async fn read<R: Read>(&self, read: &R) -> Result<R::Answer, NamesError> {
        let mut attempts = self.begin()?;
        loop {
            let attempt = async {
                let mut lease = self.lease(&attempts).await?;
                let answer = attempts.within(read.run(lease.client()?)).await;
                if matches!(answer, Ok(_) | Err(Fault::Final(_))) {
                    lease.give_back();
                }
                answer
            };
            let error = match attempt.await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Passing(error)) => error,
            };
            tracing::debug!(%error, "names not read");
            if !attempts.pause().await {
                return Err(error);
            }
        }
    }
}

pub(super) struct GetRow {
    pub(super) bucket: BucketName,
    pub(super) name: ObjectName,
}

impl Read for GetRow {
    type Answer = Option<Row>;

    async fn run(&self, client: &ClientWrapper) -> Result<Option<Row>, Fault> {
        let select = client.prepare_cached(SELECT_ROW).await?;
        let (bucket, name) = (self.bucket.as_str().as_bytes(), self.name.as_str().as_bytes());
        let row = client.query_opt(&select, &[&bucket, &name]).await?;
        row.map(|row| decode_row(&row)).transpose()
    }
}

pub(super) struct ListBucket {
    pub(super) bucket: BucketName,
    pub(super) query: ListQuery,
}

impl Read for ListBucket {
    type Answer = ListPage;

    async fn run(&self, client: &ClientWrapper) -> Result<ListPage, Fault> {
        let mut listing = Listing::new(&self.query)?;
        let has_delimiter = self.query.delimiter.is_some();
        let first = if has_delimiter { FIRST_NAMES } else { self.query.limit + 1 };
        let mut names = first;
        while let Some((from, to)) = listing.range() {
            let to = to.unwrap_or_else(|| END.to_vec());
            match self.fill(client, &mut listing, &from, &to, names).await? {
                Filled::Full | Filled::End => break,
                Filled::Seek => names = first,
                Filled::More => names = (4 * names).min(MAX_LIST_LIMIT + 1),
            }
        }
        Ok(listing.finish())
    }
}

/// Why a statement's names came to an end.
enum Filled {
    Full,
    Seek,
    /// There were as many as were asked for.
    More,
    /// There were fewer.
    End,
}

impl ListBucket {
    /// Gives the listing the next names, as many as it takes. What it does not take is thrown
    /// away as it arrives: rows may be large, and are not collected.
    async fn fill(
        &self,
        client: &ClientWrapper,
        listing: &mut Listing<'_>,
        from: &[u8],
        to: &[u8],
        names: usize,
    ) -> Result<Filled, Fault> {
        let select = client.prepare_cached(LIST).await?;
        let limit = i64::try_from(names).unwrap_or(i64::MAX);
        let bucket = self.bucket.as_str().as_bytes();
        let values: [&(dyn ToSql + Sync); 4] = [&bucket, &from, &to, &limit];
        let mut rows = pin!(client.query_raw(&select, values).await?);
        let mut count = 0;
        while let Some(row) = rows.try_next().await? {
            match listing.push(row.try_get(0)?, row.try_get(1)?)? {
                Step::Next => count += 1,
                Step::Seek => return Ok(Filled::Seek),
                Step::Full => return Ok(Filled::Full),
            }
        }
        Ok(if count == names { Filled::More } else { Filled::End })
    }
}

/// The server's clock, which all processes on it share.
pub(super) struct Now;

impl Read for Now {
    type Answer = u64;

    async fn run(&self, client: &ClientWrapper) -> Result<u64, Fault> {
        let now = client.prepare_cached(NOW).await?;
        Ok(from_sql(client.query_one(&now, &[]).await?.try_get(0)?))
    }
}

pub(super) struct Queues;

impl Read for Queues {
    type Answer = Vec<GarbageQueue>;

    async fn run(&self, client: &ClientWrapper) -> Result<Vec<GarbageQueue>, Fault> {
        let next = client.prepare_cached(NEXT_QUEUE).await?;
        let (mut queues, mut from) = (Vec::new(), 0_i64);
        // Two seeks per volume: to the ends of its part of the index.
        while let Some(row) = client.query_opt(&next, &[&from]).await? {
            let volume: i64 = row.try_get(0)?;
            queues.push(GarbageQueue {
                volume: volume_id(volume)?,
                first_due_ms: from_sql(row.try_get(1)?),
                last_due_ms: from_sql(row.try_get(2)?),
            });
            from = volume.saturating_add(1);
        }
        Ok(queues)
    }
}

pub(super) struct DueIn {
    pub(super) volume: VolumeId,
    pub(super) due_ms: RangeInclusive<u64>,
    pub(super) limit: usize,
}

impl Read for DueIn {
    type Answer = Vec<Garbage>;

    async fn run(&self, client: &ClientWrapper) -> Result<Vec<Garbage>, Fault> {
        let volume = i64::from(self.volume.get());
        let (from, to) = (to_sql(*self.due_ms.start()), to_sql(*self.due_ms.end()));
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let select = client.prepare_cached(DUE_IN).await?;
        let rows = client.query(&select, &[&volume, &from, &to, &limit]).await?;
        let mut due = self.decode(&rows)?;
        if due.len() == self.limit {
            self.complete_last(client, &mut due).await?;
        }
        due.sort_by_key(|garbage| (garbage.due_ms, garbage.id.key));
        Ok(due)
    }
}

impl DueIn {
    /// In the index, keys above 2^63 come first among those that are due at once, and so may
    /// stand where a lower one that the limit has cut off belongs.
    async fn complete_last(
        &self,
        client: &ClientWrapper,
        due: &mut Vec<Garbage>,
    ) -> Result<(), Fault> {
        let Some(last_ms) = due.last().map(|garbage| garbage.due_ms) else { return Ok(()) };
        let before = due.partition_point(|garbage| garbage.due_ms < last_ms);
        let Some(first) = due.get(before).filter(|first| first.id.key.get() > MAX_SQL_KEY) else {
            return Ok(());
        };
        let (volume, last) = (i64::from(first.id.volume.get()), to_sql(last_ms));
        let limit = i64::try_from(due.len() - before).unwrap_or(i64::MAX);
        let select = client.prepare_cached(DUE_AT).await?;
        let rows = client.query(&select, &[&volume, &last, &limit]).await?;
        due.truncate(before);
        due.extend(self.decode(&rows)?);
        Ok(())
    }

    fn decode(&self, rows: &[tokio_postgres::Row]) -> Result<Vec<Garbage>, Fault> {
        let decode = |row: &tokio_postgres::Row| {
            let (cookie, removal) = row::decode_garbage(row.try_get(2)?)?;
            let key = Key::new(row.try_get::<_, i64>(1)?.cast_unsigned());
            let id = NeedleId { volume: self.volume, key, cookie };
            Ok(Garbage { id, due_ms: from_sql(row.try_get(0)?), removal })
        };
        rows.iter().map(decode).collect()
    }
}

pub(super) struct CountGarbage;

impl Read for CountGarbage {
    type Answer = u64;

    async fn run(&self, client: &ClientWrapper) -> Result<u64, Fault> {
        let count = client.prepare_cached(COUNT_GARBAGE).await?;
        Ok(from_sql(client.query_one(&count, &[]).await?.try_get(0)?))
    }
}

pub(super) struct LastVersion;

impl Read for LastVersion {
    type Answer = u64;

    async fn run(&self, client: &ClientWrapper) -> Result<u64, Fault> {
        let highest: Option<i64> = client.query_one(LAST_VERSION, &[]).await?.try_get(0)?;
        Ok(from_sql(highest.unwrap_or_default()))
    }
}

/// The row in the only column.
pub(super) fn decode_row(found: &tokio_postgres::Row) -> Result<Row, Fault> {
    Ok(row::decode(found.try_get(0)?)?)
}

pub(super) fn volume_id(number: i64) -> Result<VolumeId, NamesError> {
    let id = u32::try_from(number).ok().and_then(VolumeId::new);
    id.ok_or_else(|| NamesError::Corrupt(format!("garbage of a volume {number}")))
}
