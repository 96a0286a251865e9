//! The entries that no index file has yet, in hash tables.
//!
//! A hash table doubles when it is full, and then it is half empty: 17 bytes a slot are 39 bytes
//! an entry just after. So there are many tables of different sizes, up to twice the smallest,
//! which double one after the other. All of them together have 26 to 29 bytes an entry at any
//! time, and no put waits for the copying of more than a small part.

use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::format::index::Entry;
use crate::id::Key;

type Table = HashTable<(Key, Entry)>;

const TABLES: usize = 128;

/// Entries by key.
pub(super) struct Recent {
    tables: Box<[Table; TABLES]>,
    hash_builder: DefaultHashBuilder,
}

impl Default for Recent {
    fn default() -> Self {
        let tables = Box::new([const { Table::new() }; TABLES]);
        Self { tables, hash_builder: DefaultHashBuilder::default() }
    }
}

impl Recent {
    /// The entry of `key`.
    pub(super) fn get(&self, key: Key) -> Option<Entry> {
        let hash = self.hash_builder.hash_one(key);
        let table = self.tables.get(table_of(hash))?;
        table.find(hash, of(key)).map(|(_, entry)| *entry)
    }

    /// Puts `entry` in the place of the one that `key` has.
    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        let hash = self.hash_builder.hash_one(key);
        let rehash = |(key, _): &(Key, Entry)| self.hash_builder.hash_one(key);
        table_mut(&mut self.tables, hash).entry(hash, of(key), rehash).insert((key, entry));
    }

    /// Removes the entry of `key`.
    pub(super) fn remove(&mut self, key: Key) {
        let hash = self.hash_builder.hash_one(key);
        if let Ok(found) = table_mut(&mut self.tables, hash).find_entry(hash, of(key)) {
            found.remove();
        }
    }

    /// Keeps the entries for which `keep` is true, and no more memory than they need.
    pub(super) fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        for table in self.tables.iter_mut() {
            table.retain(|(_, entry)| keep(entry));
            table.shrink_to_fit(|(key, _)| self.hash_builder.hash_one(key));
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Entry)> {
        self.tables.iter().flatten().copied()
    }
}

/// What is true of the entry of `key`.
fn of(key: Key) -> impl Fn(&(Key, Entry)) -> bool {
    move |(found, _)| *found == key
}

#[expect(clippy::indexing_slicing, reason = "`table_of` is below `TABLES`")]
fn table_mut(tables: &mut [Table; TABLES], hash: u64) -> &mut Table {
    &mut tables[table_of(hash)]
}

/// The table of the keys with this hash: number `i` of `n` gets a share that goes with `n + i`,
/// so that all up to number `i` get one that goes with the square of `n + i`, less that of `n`.
/// Tables themselves go by the lowest and the highest bits of the hash.
fn table_of(hash: u64) -> usize {
    const SQUARE: usize = TABLES * TABLES;
    let [_, _, _, low, high, _, _, _] = hash.to_le_bytes();
    let part = usize::from(u16::from_le_bytes([low, high]));
    (SQUARE + ((3 * SQUARE * part) >> 16)).isqrt() - TABLES
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::format::NeedleOffset;

    fn entry(offset: u32) -> Entry {
        Entry { offset: NeedleOffset::from_blocks(offset), size_blocks: 1 }
    }

    #[test]
    fn tables_never_take_more_than_32_bytes_an_entry() {
        let mut recent = Recent::default();
        for number in 0..300_000_u32 {
            recent.insert(Key::new(number.into()), entry(number));
            let len = recent.len();
            let bytes: usize = recent.tables.iter().map(Table::allocation_size).sum();
            assert!(len < 2000 || bytes <= 32 * len, "{bytes} bytes for {len} entries");
        }
        recent.retain(|entry| entry.offset.blocks() < 100_000);
        let bytes: usize = recent.tables.iter().map(Table::allocation_size).sum();
        assert!(bytes <= 32 * 100_000, "{bytes} bytes after a checkpoint");
    }

    proptest! {
        #[test]
        fn entries_are_those_of_a_map(
            changes in proptest::collection::vec((0..200_u64, proptest::option::of(any::<u32>())), 0..500),
            kept_from: u32,
        ) {
            let (mut recent, mut model) = (Recent::default(), HashMap::new());
            for (key, offset) in changes {
                let key = Key::new(key);
                if let Some(offset) = offset {
                    recent.insert(key, entry(offset));
                    model.insert(key, entry(offset));
                } else {
                    recent.remove(key);
                    model.remove(&key);
                }
                prop_assert_eq!(recent.get(key), model.get(&key).copied());
            }
            let keep = |entry: &Entry| entry.offset.blocks() >= kept_from;
            recent.retain(keep);
            model.retain(|_, entry| keep(entry));
            prop_assert_eq!(recent.len(), model.len());
            prop_assert_eq!(recent.iter().collect::<HashMap<_, _>>(), model);
        }
    }
}
