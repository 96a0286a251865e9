//! The first keys of pages, to find the page of a key by.

use crate::id::Key;

/// Keys that are compared in one go: a line of the processor's cache.
const FAN: usize = 8;

/// Keys in rising order, and above them every eighth of them, and so on: to find the place of
/// a key takes a line of the processor's cache a level, of which 100,000 keys need six, however
/// the keys are spread.
pub(super) struct FirstKeys {
    /// From the keys themselves up to a single line.
    levels: Vec<Vec<Key>>,
}

impl FirstKeys {
    /// Of `keys`, which rise.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        let mut levels = vec![keys];
        while let Some(below) = levels.last().filter(|below| below.len() > FAN) {
            levels.push(below.iter().step_by(FAN).copied().collect());
        }
        Self { levels }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    /// The one with this number.
    pub(super) fn get(&self, number: usize) -> Option<Key> {
        self.levels.first()?.get(number).copied()
    }

    /// The number of the last one that is not above `key`.
    pub(super) fn last_up_to(&self, key: Key) -> Option<usize> {
        self.levels.iter().rev().try_fold(0, |line, level| {
            let start = line * FAN;
            let end = level.len().min(start + FAN);
            let up_to = level.get(start..end)?.iter().filter(|first| **first <= key).count();
            (start + up_to).checked_sub(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_one_is_found(
            keys in proptest::collection::btree_set(0..5000_u64, 0..1000),
            asked in proptest::collection::vec(0..5000_u64, 100),
        ) {
            let keys: Vec<_> = keys.into_iter().map(Key::new).collect();
            let first_keys = FirstKeys::new(keys.clone());
            prop_assert_eq!(first_keys.len(), keys.len());
            for key in asked.into_iter().map(Key::new).chain(keys.iter().copied()) {
                let expected = keys.partition_point(|first| *first <= key).checked_sub(1);
                prop_assert_eq!(first_keys.last_up_to(key), expected);
            }
        }
    }
}
