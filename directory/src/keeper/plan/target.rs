//! Which store gets a replica.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::case::Case;
use crate::StoreId;
use crate::keeper::KeeperConfig;
use crate::keeper::view::{Condition, View};

/// How many replicas would be lost with a store's. A rack is worse than a machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crowd {
    in_rack: usize,
    on_host: usize,
}

/// The stores, and what this plan has put on them already.
pub(super) struct Targets<'a> {
    view: &'a View,
    min_free_bytes: u64,
    planned_bytes: BTreeMap<&'a StoreId, u64>,
}

impl<'a> Targets<'a> {
    pub(super) fn new(view: &'a View, config: &KeeperConfig) -> Self {
        let min_free_bytes = config.min_free.bytes();
        Self { view, min_free_bytes, planned_bytes: BTreeMap::new() }
    }

    /// The best store for one more replica beside those that are kept: one that has a copy
    /// begun, else one in a rack without a replica, else in the least crowded, and there on the least
    /// crowded machine; of those the one with the most room. A store that still has what a change left behind comes last.
    pub(super) fn choose(&mut self, case: &Case<'_>, keep: &[StoreId]) -> Option<&'a StoreId> {
        let bytes = case.size_bytes();
        let candidates = self.view.stores.keys().filter(|store| self.fits(case, store, bytes));
        let chosen = candidates.min_by_key(|store| {
            let extra = case.extra(store);
            let begun = extra.is_some_and(|replica| case.is_fresh(replica));
            let room = Reverse(self.room(store));
            (!begun, self.crowd(store, keep), extra.is_some(), room)
        })?;
        *self.planned_bytes.entry(chosen).or_default() += bytes;
        Some(chosen)
    }

    /// Whether a store can get a replica of the volume.
    pub(super) fn fits(&self, case: &Case<'_>, store: &StoreId, bytes: u64) -> bool {
        let planned = self.planned_bytes.get(store).copied().unwrap_or(0);
        let usable = case.extra(store).is_none_or(|replica| {
            matches!(replica.condition, Condition::Copying | Condition::Whole)
        });
        let seen = self.view.stores.get(store);
        usable
            && !case.volume.replicas.contains(store)
            && case.volume.moving.as_ref() != Some(store)
            && seen
                .is_some_and(|seen| seen.takes(bytes.saturating_add(planned), self.min_free_bytes))
    }

    /// How a store is placed beside `others`.
    pub(super) fn crowd(&self, store: &StoreId, others: &[StoreId]) -> Crowd {
        let Some(own) = self.view.stores.get(store) else { return Crowd::default() };
        let others = others.iter().filter(|other| *other != store);
        let others: Vec<_> = others.filter_map(|other| self.view.stores.get(other)).collect();
        Crowd {
            in_rack: others.iter().filter(|other| other.rack == own.rack).count(),
            on_host: others.iter().filter(|other| other.host == own.host).count(),
        }
    }

    fn room(&self, store: &StoreId) -> u64 {
        let free = self.view.stores.get(store).map_or(0, |seen| seen.free_bytes);
        free.saturating_sub(self.planned_bytes.get(store).copied().unwrap_or(0))
    }
}
