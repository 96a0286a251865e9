//! What a put must be above: the removals made while it was on its way.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Names that share a slot are taken for one another, which costs a put a new version.
const SLOTS: usize = 4_096;

/// The highest versions of removals, by a hash of the name.
///
/// A removed name has no row that a late put could be compared with; without this, an upload
/// that began before a removal and ended after it would get a row that the removal's
/// tombstones hide. Which names were removed before the database was opened is not on disk, and
/// need not be: all may have been, up to the highest version there was. An upload that outlives a
/// restart of the directory takes a new version for that.
#[derive(Debug)]
pub(crate) struct Removals(Vec<u64>);

impl Removals {
    /// As if every name had been removed at this version, the highest ever put or removed.
    pub(crate) fn all_up_to(last_version: u64) -> Self {
        Self(vec![last_version; SLOTS])
    }

    /// Notes a removal.
    pub(crate) fn note(&mut self, row_key: &[u8], version: u64) {
        if let Some(slot) = self.0.get_mut(slot(row_key)) {
            *slot = version.max(*slot);
        }
    }

    /// The version that a put of this name must be above.
    pub(crate) fn floor(&self, row_key: &[u8]) -> u64 {
        self.0.get(slot(row_key)).copied().unwrap_or_default()
    }
}

fn slot(row_key: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    row_key.hash(&mut hasher);
    usize::try_from(hasher.finish() % SLOTS as u64).unwrap_or_default()
}
