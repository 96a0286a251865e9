//! Which stores did not answer lately: a circuit breaker for each.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hayrick_directory::StoreId;
use parking_lot::RwLock;

/// So many failures in a row make a store ill.
const FAILURES: u32 = 3;

/// An ill store is asked last for this long; then one read finds out how it is.
const REST: Duration = Duration::from_secs(5);

/// Failures in a row, and when the last one was. Stores that are well are not in here.
#[derive(Default)]
pub(super) struct Health {
    failures: RwLock<HashMap<StoreId, (u32, Instant)>>,
}

impl Health {
    pub(super) fn is_ill(&self, store: &StoreId) -> bool {
        let failures = self.failures.read();
        failures.get(store).is_some_and(|(count, last)| *count >= FAILURES && last.elapsed() < REST)
    }

    pub(super) fn answered(&self, store: &StoreId) {
        // Nearly always there is nothing to strike out, and readers do not wait for each other.
        if self.failures.read().contains_key(store) {
            self.failures.write().remove(store);
        }
    }

    pub(super) fn failed(&self, store: &StoreId) {
        let mut failures = self.failures.write();
        let (count, last) = failures.entry(store.clone()).or_insert((0, Instant::now()));
        (*count, *last) = (count.saturating_add(1), Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_make_a_store_ill_and_one_answer_well() {
        let (health, store) = (Health::default(), "s1".parse::<StoreId>().unwrap());
        let other = "s2".parse::<StoreId>().unwrap();
        health.failed(&store);
        health.failed(&store);
        health.answered(&store);
        health.failed(&store);
        health.failed(&store);
        assert!(!health.is_ill(&store));
        health.failed(&store);
        assert!(health.is_ill(&store) && !health.is_ill(&other));
        health.answered(&store);
        assert!(!health.is_ill(&store));
    }
}
