//! Where each key's newest record is: small hash tables over a sealed, sorted file.
//!
//! What was appended since the last checkpoint is in hash tables; everything older
//! is in the index file, sorted by key and packed, of which memory holds a copy: no lookup waits
//! for a disk. Cookies, sizes of data and types stay on disk, in the needles.

mod first_keys;
mod pages;
mod recent;
mod sealed;
mod write;

pub use sealed::{SealError, Sealed};
pub use write::write_sealed;

use recent::Recent;

use crate::format::index::{Entry, IndexHead};
use crate::id::Key;

/// The newest record of every key of a volume.
#[derive(Default)]
pub struct Index {
    recent: Recent,
    sealed: Sealed,
}

impl Index {
    /// An index of what `sealed` tells.
    pub fn new(sealed: Sealed) -> Self {
        Self { recent: Recent::default(), sealed }
    }

    /// The newest record of `key`, which may be a tombstone.
    pub fn get(&self, key: Key) -> Option<Entry> {
        self.recent.get(key).or_else(|| self.sealed.get(key))
    }

    /// Notes a newer record of `key`.
    pub fn insert(&mut self, key: Key, entry: Entry) {
        self.recent.insert(key, entry);
    }

    /// Forgets an aborted record. Only what no checkpoint has covered can be aborted.
    pub fn forget(&mut self, key: Key) {
        self.recent.remove(key);
    }

    /// Entries that only the hash tables have.
    pub fn recent_len(&self) -> usize {
        self.recent.len()
    }

    /// The head of the index file that the sealed part was read from.
    pub fn sealed_head(&self) -> Option<&IndexHead> {
        self.sealed.head()
    }

    /// A copy of the hash tables and a handle on the sealed part, for a checkpoint to merge.
    pub fn snapshot(&self) -> (Vec<(Key, Entry)>, Sealed) {
        let mut recent: Vec<_> = self.recent.iter().collect();
        recent.sort_unstable_by_key(|(key, _)| *key);
        (recent, self.sealed.clone())
    }

    /// Like [`Index::snapshot`], of the keys from `first` on, and in no order.
    pub fn snapshot_from(&self, first: Key) -> (Vec<(Key, Entry)>, Sealed) {
        let recent = self.recent.iter().filter(|(key, _)| *key >= first);
        (recent.collect(), self.sealed.clone())
    }

    /// Puts a newer sealed part in place and drops from the hash tables what it covers.
    pub fn reseal(&mut self, sealed: Sealed) {
        let covered = sealed.covered_end();
        self.recent.retain(|entry| entry.offset >= covered);
        self.sealed = sealed;
    }

    /// All entries, sorted by key.
    pub fn entries(&self) -> impl Iterator<Item = (Key, Entry)> {
        let (recent, sealed) = self.snapshot();
        merge(recent, sealed)
    }
}

/// Both parts as one, sorted by key; where both know a key, `recent` is right.
pub fn merge(recent: Vec<(Key, Entry)>, sealed: Sealed) -> impl Iterator<Item = (Key, Entry)> {
    merge_sorted(recent.into_iter(), sealed.into_entries())
}

/// Like [`merge`], of the keys from `first` on; `recent` need not be sorted.
pub fn merge_from(
    mut recent: Vec<(Key, Entry)>,
    sealed: Sealed,
    first: Key,
) -> impl Iterator<Item = (Key, Entry)> {
    recent.sort_unstable_by_key(|(key, _)| *key);
    merge_sorted(recent.into_iter(), sealed.into_entries_of(first))
}

fn merge_sorted(
    recent: impl Iterator<Item = (Key, Entry)>,
    sealed: impl Iterator<Item = (Key, Entry)>,
) -> impl Iterator<Item = (Key, Entry)> {
    let (mut recent, mut sealed) = (recent.peekable(), sealed.peekable());
    std::iter::from_fn(move || match (recent.peek(), sealed.peek()) {
        (Some((new, _)), Some((old, _))) if old < new => sealed.next(),
        (Some((new, _)), Some((old, _))) => {
            if old == new {
                sealed.next();
            }
            recent.next()
        }
        (Some(_), None) => recent.next(),
        (None, _) => sealed.next(),
    })
}
