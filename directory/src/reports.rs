//! What the stores said of themselves when they were last asked.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{StoreId, StoreReport};

/// What a store said last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReport {
    /// The store.
    pub store: StoreId,
    /// When it said so, in milliseconds since 1970.
    pub at_ms: u64,
    /// Whether it answered when it was asked the last time. Otherwise this is what it said
    /// before.
    pub answers: bool,
    /// What it said.
    #[serde(flatten)]
    pub report: StoreReport,
}

/// The last reports of all stores.
#[derive(Debug, Default)]
pub(crate) struct LastReports(Mutex<BTreeMap<StoreId, LastReport>>);

impl LastReports {
    /// Notes the reports of stores that were asked. Those of stores that are not among the
    /// `asked` ones any more are forgotten.
    pub(crate) fn note(
        &self,
        asked: &[StoreId],
        reports: &BTreeMap<StoreId, StoreReport>,
        now_ms: u64,
    ) {
        let mut known = self.0.lock();
        known.retain(|store, _| asked.contains(store));
        for last in known.values_mut() {
            last.answers = false;
        }
        for (store, report) in reports {
            let (store, report) = (store.clone(), report.clone());
            let last = LastReport { store: store.clone(), at_ms: now_ms, answers: true, report };
            known.insert(store, last);
        }
    }

    /// All of them, by store.
    pub(crate) fn all(&self) -> Vec<LastReport> {
        self.0.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_a_silent_store_is_kept_until_it_is_gone() {
        let [a, b]: [StoreId; 2] = ["a", "b"].map(|id| id.parse().unwrap());
        let report = StoreReport::default();
        let known = LastReports::default();
        let both = BTreeMap::from([(a.clone(), report.clone()), (b.clone(), report.clone())]);
        known.note(&[a.clone(), b.clone()], &both, 1);
        known.note(&[a.clone(), b.clone()], &BTreeMap::from([(b.clone(), report)]), 2);
        let told = |last: &LastReport| (last.at_ms, last.answers);
        assert_eq!(known.all().iter().map(told).collect::<Vec<_>>(), [(1, false), (2, true)]);
        known.note(std::slice::from_ref(&a), &BTreeMap::new(), 3);
        assert_eq!(known.all().iter().map(told).collect::<Vec<_>>(), [(1, false)]);
    }
}
