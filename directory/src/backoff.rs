//! Leaving alone for a while what failed, for longer with each failure.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// What is left alone, and until when.
#[derive(Debug)]
pub(crate) struct Backoff<K> {
    min: Duration,
    max: Duration,
    entries: HashMap<K, (u32, Instant)>,
}

impl<K: Eq + Hash> Backoff<K> {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, entries: HashMap::new() }
    }

    /// Whether it is to be left alone now.
    pub(crate) fn waits(&self, what: &K) -> bool {
        self.entries.get(what).is_some_and(|(_, until)| Instant::now() < *until)
    }

    /// It failed: doubles the wait, drawn from its upper half so that what failed
    /// together is not tried together.
    pub(crate) fn failed(&mut self, what: K) {
        let (failures, until) = self.entries.entry(what).or_insert((0, Instant::now()));
        let wait = self.min.saturating_mul(1 << (*failures).min(30)).min(self.max);
        *failures = failures.saturating_add(1);
        *until = Instant::now() + wait.mul_f64(rand::random_range(0.5..=1.0));
    }

    /// It succeeded.
    pub(crate) fn succeeded(&mut self, what: &K) {
        self.entries.remove(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_end_with_a_success() {
        let (min, max) = (Duration::from_secs(10), Duration::from_mins(1));
        let mut backoff = Backoff::new(min, max);
        assert!(!backoff.waits(&1));
        for expected in [10, 20, 40, 60, 60] {
            backoff.failed(1);
            let wait = (backoff.entries[&1].1 - Instant::now()).as_secs_f64();
            let bounds = f64::from(expected) * 0.49..=f64::from(expected);
            assert!(bounds.contains(&wait), "{wait} s, expected about {expected}");
            assert!(backoff.waits(&1) && !backoff.waits(&2));
        }
        backoff.succeeded(&1);
        assert!(!backoff.waits(&1));
    }
}
