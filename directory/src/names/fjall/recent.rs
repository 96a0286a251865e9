//! Rows that were read or written lately, as they are now.
//!
//! The database belongs to one process and has one writer, so what is here can be kept true: the
//! writer puts in each row that it wrote before anybody is answered. A reader may have looked before
//! the writer came and be late to tell; so it says which change it had seen last, and what it read
//! before a newer one is not taken.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::Row;

/// What an entry takes beside its key and row: the cache's own tables.
const ENTRY_BYTES: u64 = 128;
/// Changes are counted apart for so many parts of the keys.
const PARTS: usize = 64;

/// Rows by their keys in the database; the least used are forgotten.
pub(super) struct RecentRows {
    rows: Cache<Box<[u8]>, Arc<Row>, Weight>,
    /// Changes so far.
    parts: [Mutex<u64>; PARTS],
    hasher: RandomState,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<[u8]>, Arc<Row>> for Weight {
    fn weight(&self, key: &Box<[u8]>, row: &Arc<Row>) -> u64 {
        ENTRY_BYTES + key.len() as u64 + row.memory_bytes()
    }
}

/// The changes that a reader had seen when it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Before(u64);

impl RecentRows {
    /// Keeps rows in this much memory.
    pub(super) fn new(memory_bytes: u64) -> Self {
        let items = usize::try_from(memory_bytes / (2 * ENTRY_BYTES)).unwrap_or(usize::MAX);
        let rows = Cache::with_weighter(items, memory_bytes, Weight);
        Self { rows, parts: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }

    /// The row with this key, if it is here.
    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Row>> {
        self.rows.get(key)
    }

    /// To be asked for before a row is read from the database.
    pub(super) fn before(&self, key: &[u8]) -> Option<Before> {
        Some(Before(*self.part(key)?.lock()))
    }

    /// The database had this row, some time after `before` was asked for.
    pub(super) fn read(&self, key: &[u8], row: &Arc<Row>, before: Option<Before>) {
        let Some(changes) = self.part(key).map(Mutex::lock) else { return };
        if before == Some(Before(*changes)) {
            self.rows.insert(key.into(), Arc::clone(row));
        }
    }

    /// The database has this row now, or none, or it is not known what it has.
    pub(super) fn changed(&self, key: &[u8], row: Option<&Arc<Row>>) {
        let Some(mut changes) = self.part(key).map(Mutex::lock) else { return };
        *changes += 1;
        match row {
            Some(row) => self.rows.insert(key.into(), Arc::clone(row)),
            None => drop(self.rows.remove(key)),
        }
    }

    fn part(&self, key: &[u8]) -> Option<&Mutex<u64>> {
        let part = self.hasher.hash_one(key) % PARTS as u64;
        self.parts.get(usize::try_from(part).ok()?)
    }
}

impl Default for RecentRows {
    fn default() -> Self {
        Self::new(0)
    }
}

impl std::fmt::Debug for RecentRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecentRows").field("rows", &self.rows.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"photos\0tom.jpg";

    fn row(version: u64) -> Arc<Row> {
        Arc::new(Row { version, ..Row::default() })
    }

    fn version(recent: &RecentRows) -> Option<u64> {
        recent.get(KEY).map(|row| row.version)
    }

    #[test]
    fn what_was_read_before_a_change_does_not_undo_it() {
        let recent = RecentRows::new(1 << 20);
        let before = recent.before(KEY);
        recent.read(KEY, &row(1), before);
        assert_eq!(version(&recent), Some(1));
        let before = recent.before(KEY);
        recent.changed(KEY, Some(&row(2)));
        recent.read(KEY, &row(1), before);
        assert_eq!(version(&recent), Some(2));
        let before = recent.before(KEY);
        recent.changed(KEY, None);
        recent.read(KEY, &row(2), before);
        assert_eq!(version(&recent), None);
    }

    #[test]
    fn memory_is_bounded_and_may_be_none() {
        for memory_bytes in [0, 256 << 10] {
            let recent = RecentRows::new(memory_bytes);
            for number in 0..10_000_u32 {
                recent.changed(&number.to_le_bytes(), Some(&row(1)));
            }
            assert!(recent.rows.weight() <= memory_bytes, "{}", recent.rows.weight());
            assert_eq!(recent.rows.is_empty(), memory_bytes == 0);
        }
    }

    /// A writer that counts up, and readers that look at the truth and tell what they saw.
    #[test]
    fn readers_and_a_writer_at_once_never_leave_an_old_row() {
        let (recent, truth) = (RecentRows::new(1 << 20), Mutex::new(row(0)));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let before = recent.before(KEY);
                        let seen = Arc::clone(&truth.lock());
                        recent.read(KEY, &seen, before);
                    }
                });
            }
            for version in 1..=20_000 {
                *truth.lock() = row(version);
                recent.changed(KEY, Some(&row(version)));
                assert_eq!(self::version(&recent), Some(version));
            }
        });
        assert_eq!(version(&recent), Some(20_000));
    }
}
