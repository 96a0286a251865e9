//! The embedded engine's tables entry by entry.

use std::ops::Bound;
use std::path::Path;

use ::fjall::{Keyspace, PersistMode};
use futures::FutureExt as _;

use super::reader::Reader;
use super::{FjallConfig, LAST_VERSION, Tables, engine_error};
use crate::names::raw::{Edit, Entry, PAGE_BYTES, PAGE_ENTRIES, RawNames, Table};
use crate::names::{Answer, NamesError};

/// A database that no directory has open. It keeps no closed buckets: a process forgets them.
pub(crate) struct RawFjall(Tables);

impl RawFjall {
    /// Opens the database in the folder `path`, or makes one.
    pub(crate) fn open(path: &Path, config: &FjallConfig) -> Result<Self, NamesError> {
        Tables::open(path, config).map(Self)
    }

    /// Runs work on a thread where it may wait for the disk.
    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tables) -> Result<T, NamesError> + Send + 'static,
    ) -> Answer<'_, T> {
        let tables = self.0.clone();
        async move {
            let done = tokio::task::spawn_blocking(move || work(&tables)).await;
            done.unwrap_or_else(|error| Err(NamesError::Io(error.to_string())))
        }
        .boxed()
    }
}

impl Tables {
    fn raw(&self, table: Table) -> Option<&Keyspace> {
        match table {
            Table::Rows => Some(&self.rows),
            Table::Garbage => Some(&self.garbage),
            Table::ClosedBuckets => None,
        }
    }

    fn page(&self, table: Table, after: Option<Vec<u8>>) -> Result<Vec<Entry>, NamesError> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        let Some(keyspace) = self.raw(table) else { return Ok(page) };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for entry in keyspace.range((from, Bound::Unbounded)).take(PAGE_ENTRIES) {
            let (key, value) = entry.into_inner().map_err(engine_error)?;
            bytes += key.len() + value.len();
            page.push(Entry { key: key.to_vec(), value: value.to_vec() });
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(page)
    }

    fn write(&self, table: Table, edits: Vec<Edit>) -> Result<(), NamesError> {
        let Some(keyspace) = self.raw(table) else { return Ok(()) };
        let mut batch = self.database.batch();
        for Edit { key, value } in edits {
            match value {
                Some(value) => batch.insert(keyspace, key, value),
                None => batch.remove(keyspace, key),
            }
        }
        batch.commit().map_err(engine_error)
    }

    fn raise_version(&self, version: u64) -> Result<(), NamesError> {
        let version = version.max(Reader::new(self.clone()).last_version()?);
        self.meta.insert(LAST_VERSION, version.to_le_bytes()).map_err(engine_error)
    }
}

impl RawNames for RawFjall {
    fn tables(&self) -> &'static [Table] {
        &[Table::Rows, Table::Garbage]
    }

    fn page(&self, table: Table, after: Option<Vec<u8>>) -> Answer<'_, Vec<Entry>> {
        self.run(move |tables| tables.page(table, after))
    }

    fn write(&self, table: Table, edits: Vec<Edit>) -> Answer<'_, ()> {
        self.run(move |tables| tables.write(table, edits))
    }

    fn last_version(&self) -> Answer<'_, u64> {
        self.run(|tables| Reader::new(tables.clone()).last_version())
    }

    fn raise_version(&self, version: u64) -> Answer<'_, ()> {
        self.run(move |tables| tables.raise_version(version))
    }

    fn sync(&self) -> Answer<'_, ()> {
        self.run(|tables| tables.database.persist(PersistMode::SyncAll).map_err(engine_error))
    }
}
