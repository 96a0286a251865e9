//! The first keys of pages, to find the page of a key by.

use std::cmp::Ordering;

use crate::id::Key;

/// Keys that are compared in one go: a line of the processor's cache.
const FAN: usize = 8;

/// Keys in rising order, and above them every eighth of them, and so on: to find the place of
/// a key takes a line of the processor's cache a level, of which 100,000 keys need six, however
/// the keys are spread. Where they are spread evenly, as those that the directory gives out and
/// random ones are, most are found in the line where they are expected, or in the next.
pub(super) struct FirstKeys {
    /// From the keys themselves up to a single line.
    levels: Vec<Vec<Key>>,
    /// Lines for each step between keys, in parts of 2^64.
    lines_per_key: u64,
}

impl FirstKeys {
    /// Of `keys`, which rise.
    pub(super) fn new(keys: Vec<Key>) -> Self {
        let span = match keys.as_slice() {
            [first, .., last] => last.get() - first.get(),
            _ => u64::MAX,
        };
        let lines = (keys.len() / FAN) as u128;
        let lines_per_key = (lines << u64::BITS).div_ceil(u128::from(span.max(1)));
        let lines_per_key = u64::try_from(lines_per_key).unwrap_or(u64::MAX);
        let mut levels = vec![keys];
        while let Some(below) = levels.last().filter(|below| below.len() > FAN) {
            levels.push(below.iter().step_by(FAN).copied().collect());
        }
        Self { levels, lines_per_key }
    }

    fn keys(&self) -> &[Key] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys().len()
    }

    /// The one with this number.
    pub(super) fn get(&self, number: usize) -> Option<Key> {
        self.keys().get(number).copied()
    }

    /// The number of the last one that is not above `key`.
    pub(super) fn last_up_to(&self, key: Key) -> Option<usize> {
        let line = self.expected_line(key);
        let next = match self.side(line, key) {
            Ordering::Equal => return last_in(self.keys(), line, key),
            Ordering::Less => line.wrapping_sub(1),
            Ordering::Greater => line + 1,
        };
        if self.side(next, key) == Ordering::Equal {
            return last_in(self.keys(), next, key);
        }
        let mut levels = self.levels.iter().rev();
        levels.try_fold(0, |line, level| last_in(level, line, key))
    }

    /// The line that `key` is in if all are spread evenly.
    fn expected_line(&self, key: Key) -> usize {
        let first = self.get(0).map_or(0, Key::get);
        let above = u128::from(key.get().saturating_sub(first));
        let line = (above * u128::from(self.lines_per_key)) >> u64::BITS;
        usize::try_from(line).unwrap_or(usize::MAX).min(self.len().saturating_sub(1) / FAN)
    }

    /// Whether the last one up to `key` is before this line, in it, or behind it.
    fn side(&self, line: usize, key: Key) -> Ordering {
        let start = line.saturating_mul(FAN);
        if self.get(start).is_none_or(|first| key < first) {
            Ordering::Less
        } else if self.get(start + FAN).is_some_and(|next| next <= key) {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }
}

/// The number of the last one of this line of a level that is not above `key`.
fn last_in(level: &[Key], line: usize, key: Key) -> Option<usize> {
    let start = line * FAN;
    let end = level.len().min(start + FAN);
    let up_to = level.get(start..end)?.iter().filter(|first| **first <= key).count();
    (start + up_to).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Spreads numbers below 5000 in several ways: dense, over all keys, ever further apart, dense
    /// with one far away, and dense with all high bits set.
    fn spread(way: u64, number: u64) -> u64 {
        match way {
            1 => number * (u64::MAX / 5000),
            2 => number.pow(5),
            3 if number == 4999 => u64::MAX,
            4 => u64::MAX - 5000 + number,
            _ => number,
        }
    }

    proptest! {
        #[test]
        fn the_last_one_is_found(
            way in 0..5_u64,
            keys in proptest::collection::btree_set(0..5000_u64, 0..1000),
            asked in proptest::collection::vec(0..5000_u64, 100),
        ) {
            let spread = |number| spread(way, number);
            let keys: Vec<_> = keys.into_iter().map(spread).map(Key::new).collect();
            let asked = asked.into_iter().map(spread);
            let first_keys = FirstKeys::new(keys.clone());
            prop_assert_eq!(first_keys.len(), keys.len());
            for key in asked.chain([0, u64::MAX]).map(Key::new).chain(keys.iter().copied()) {
                let expected = keys.partition_point(|first| *first <= key).checked_sub(1);
                prop_assert_eq!(first_keys.last_up_to(key), expected);
            }
        }
    }
}
