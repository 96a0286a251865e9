//! Reads of the embedded engine. Synchronous: they may wait for the disk.

use std::ops::RangeInclusive;

use ::fjall::{Guard, Keyspace, Readable, Snapshot, UserValue};
use hayrick_store::{Key, NeedleId, VolumeId};

use super::{LAST_VERSION, Tables, engine_error, keys};
use crate::BucketName;
use crate::names::list::{self, Scan};
use crate::names::{Garbage, GarbageQueue, ListPage, ListQuery, NamesError, Row, row};

pub(super) struct Reader {
    tables: Tables,
}

impl Reader {
    pub(super) fn new(tables: Tables) -> Self {
        Self { tables }
    }

    pub(super) fn row(&self, key: &[u8]) -> Result<Option<Row>, NamesError> {
        let value = self.tables.rows.get(key).map_err(engine_error)?;
        value.map(|value| row::decode(&value)).transpose()
    }

    pub(super) fn list(
        &self,
        bucket: &BucketName,
        query: &ListQuery,
    ) -> Result<ListPage, NamesError> {
        let snapshot = self.tables.database.snapshot();
        list::list(&BucketScan { snapshot, rows: &self.tables.rows, bucket }, query)
    }

    pub(super) fn garbage_queues(&self) -> Result<Vec<GarbageQueue>, NamesError> {
        let garbage = &self.tables.garbage;
        let mut queues = Vec::new();
        // Two seeks per volume: to the ends of its part of the table.
        let mut next = Some(0);
        while let Some(entry) = next.and_then(|v| garbage.range(keys::garbage_start(v)..).next()) {
            let (volume, first_due_ms, _) = parse_key(entry)?;
            let last = garbage.range(keys::garbage_due(volume, &(0..=u64::MAX))).next_back();
            let last = last.map(parse_key).transpose()?;
            // `None` if they were all deleted just now.
            let last_due_ms = last.map_or(first_due_ms, |(_, due_ms, _)| due_ms);
            queues.push(GarbageQueue { volume, first_due_ms, last_due_ms });
            next = volume.get().checked_add(1);
        }
        Ok(queues)
    }

    pub(super) fn due_in(
        &self,
        volume: VolumeId,
        due_ms: &RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<Garbage>, NamesError> {
        let range = keys::garbage_due(volume, due_ms);
        self.tables.garbage.range(range).take(limit).map(decode_garbage).collect()
    }

    pub(super) fn count_garbage(&self) -> Result<u64, NamesError> {
        let count = self.tables.garbage.len().map_err(engine_error)?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    pub(super) fn last_version(&self) -> Result<u64, NamesError> {
        let Some(value) = self.tables.meta.get(LAST_VERSION).map_err(engine_error)? else {
            return Ok(0);
        };
        let bytes = <[u8; 8]>::try_from(value.as_ref());
        let damaged = |_| NamesError::Corrupt("the last version is malformed".to_owned());
        bytes.map(u64::from_le_bytes).map_err(damaged)
    }
}

fn parse_key(entry: Guard) -> Result<(VolumeId, u64, Key), NamesError> {
    keys::parse_garbage(&entry.key().map_err(engine_error)?)
}

fn decode_garbage(entry: Guard) -> Result<Garbage, NamesError> {
    let (key, value) = entry.into_inner().map_err(engine_error)?;
    let (volume, due_ms, key) = keys::parse_garbage(&key)?;
    let (cookie, removal) = row::decode_garbage(&value)?;
    Ok(Garbage { id: NeedleId { volume, key, cookie }, due_ms, removal })
}

struct BucketScan<'a> {
    snapshot: Snapshot,
    rows: &'a Keyspace,
    bucket: &'a BucketName,
}

impl Scan for BucketScan<'_> {
    type Entry = NameInKey;
    type Value = UserValue;

    fn scan(
        &self,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<(NameInKey, UserValue), NamesError>> {
        let prefix = keys::bucket_prefix(self.bucket);
        let key = |name: &[u8]| [prefix.as_slice(), name].concat();
        let end = to.map_or_else(|| keys::bucket_end(self.bucket), key);
        let prefix_bytes = prefix.len();
        self.snapshot.range(self.rows, key(from)..end).map(move |entry| {
            let (key, value) = entry.into_inner().map_err(engine_error)?;
            Ok((NameInKey { key, prefix_bytes }, value))
        })
    }
}

/// The name that a row's key ends with.
struct NameInKey {
    key: UserValue,
    prefix_bytes: usize,
}

impl AsRef<[u8]> for NameInKey {
    fn as_ref(&self) -> &[u8] {
        self.key.get(self.prefix_bytes..).unwrap_or_default()
    }
}
