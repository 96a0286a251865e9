//! Filling a new database in bulk, where nobody reads yet and a crash means to begin again.

use std::path::Path;

use ::fjall::{OwnedWriteBatch as WriteBatch, PersistMode};

use super::{FjallConfig, LAST_VERSION, Tables, engine_error, keys};
use crate::names::{Garbage, NamesError, Row, row};
use crate::{BucketName, ObjectName};

/// Entries written together.
const BATCH_ENTRIES: usize = 1_024;

/// A database on its way. It is durable once it is [finished](Builder::finish).
pub(crate) struct Builder {
    tables: Tables,
    batch: WriteBatch,
    entries: usize,
}

impl Builder {
    /// Makes a database in the folder `path`, which must not be there.
    pub(crate) fn create(path: &Path, config: &FjallConfig) -> Result<Self, NamesError> {
        let tables = Tables::open(path, config)?;
        let batch = tables.database.batch();
        Ok(Self { tables, batch, entries: 0 })
    }

    /// Adds the row of a name that has none yet.
    pub(crate) fn put(
        &mut self,
        bucket: &BucketName,
        name: &ObjectName,
        row: &Row,
    ) -> Result<(), NamesError> {
        self.batch.insert(&self.tables.rows, keys::row(bucket, name), row::encode(row)?);
        self.added()
    }

    /// Queues a needle for deletion.
    pub(crate) fn queue(&mut self, garbage: &Garbage) -> Result<(), NamesError> {
        let value = row::encode_garbage(garbage.id.cookie, garbage.removal.as_deref())?;
        self.batch.insert(&self.tables.garbage, keys::garbage(garbage), value);
        self.added()
    }

    fn added(&mut self) -> Result<(), NamesError> {
        self.entries += 1;
        if self.entries.is_multiple_of(BATCH_ENTRIES) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), NamesError> {
        let batch = std::mem::replace(&mut self.batch, self.tables.database.batch());
        batch.commit().map_err(engine_error)
    }

    /// Makes everything durable. `last_version` is the highest version ever given out.
    pub(crate) fn finish(mut self, last_version: u64) -> Result<(), NamesError> {
        self.batch.insert(&self.tables.meta, LAST_VERSION, last_version.to_le_bytes());
        self.flush()?;
        self.tables.database.persist(PersistMode::SyncAll).map_err(engine_error)
    }
}
