//! One volume: its entry on the map beside what its stores say of it.

use hayrick_store::{Epoch, VolumeId};

use super::{Facts, Fill};
use crate::keeper::view::{Condition, Replica};
use crate::{StoreId, Volume};

/// A store and its replica of the volume.
type Held<'a> = (&'a StoreId, &'a Replica);

pub(super) struct Case<'a> {
    pub(super) facts: Facts<'a>,
    pub(super) id: VolumeId,
    pub(super) volume: &'a Volume,
    /// Of the set: those that answer, and have it.
    pub(super) here: Vec<Held<'a>>,
    /// Of the set: stores that answer, and do not have it.
    pub(super) missing: Vec<&'a StoreId>,
    /// Of the set: stores that may come back, and replicas that may work again.
    pub(super) away: Vec<&'a StoreId>,
    /// Of the set: to be replaced.
    pub(super) lost: Vec<&'a StoreId>,
    /// Replicas on stores that are not in the set.
    pub(super) extras: Vec<Held<'a>>,
}

impl<'a> Case<'a> {
    pub(super) fn new(facts: Facts<'a>, id: VolumeId, volume: &'a Volume) -> Self {
        let mut case = Self {
            facts,
            id,
            volume,
            here: Vec::new(),
            missing: Vec::new(),
            away: Vec::new(),
            lost: Vec::new(),
            extras: Vec::new(),
        };
        volume.replicas.iter().for_each(|store| case.sort_in(store));
        for (store, seen) in &facts.view.stores {
            if let Some(replica) = seen.replicas.as_ref().and_then(|own| own.get(&id))
                && !volume.replicas.contains(store)
            {
                case.extras.push((store, replica));
            }
        }
        case
    }

    /// Finds out how a replica of the set is.
    fn sort_in(&mut self, store: &'a StoreId) {
        let Some(seen) = self.facts.view.stores.get(store) else {
            // Struck from the map though a volume names it: it is not coming back.
            return self.lost.push(store);
        };
        match seen.replicas.as_ref().map(|own| own.get(&self.id)) {
            None if seen.is_lost => self.lost.push(store),
            None => self.away.push(store),
            // It would have to be moved away again.
            Some(None) if seen.is_draining => self.lost.push(store),
            Some(None) => self.missing.push(store),
            Some(Some(replica)) => {
                self.here.push((store, replica));
                if replica.is_failed() {
                    if replica.is_lost { &mut self.lost } else { &mut self.away }.push(store);
                }
            }
        }
    }

    pub(super) fn epoch(&self) -> Epoch {
        Epoch::new(self.volume.epoch)
    }

    /// Those of the set that have all they ever took.
    pub(super) fn whole(&self) -> impl Iterator<Item = Held<'a>> + '_ {
        self.here.iter().copied().filter(|(_, replica)| replica.is_whole())
    }

    /// Those of them that hold all that the set ever acknowledged.
    fn proven(&self) -> impl Iterator<Item = Held<'a>> + '_ {
        self.whole().filter(|(store, _)| self.volume.joining.as_ref() != Some(*store))
    }

    /// Whether a replica holds the same needles as one that has all.
    pub(super) fn is_like_the_set(&self, replica: &Replica) -> bool {
        self.proven().any(|(_, source)| source.equals(replica))
    }

    /// Where others fetch from: whole replicas, or else what still can be read. Volumes begin
    /// with different ones, so that all stores share the load; stores that are not well come
    /// last.
    pub(super) fn sources(&self) -> Vec<&'a StoreId> {
        let mut sources: Vec<_> = self.proven().map(|(store, _)| store).collect();
        if sources.is_empty() {
            let failed = |(_, replica): &&Held<'_>| replica.condition == Condition::Failed;
            sources = self.here.iter().filter(failed).map(|(store, _)| *store).collect();
        }
        if !sources.is_empty() {
            let first = self.id.get() as usize % sources.len();
            sources.rotate_left(first);
        }
        sources.sort_by_key(|store| !self.is_well(store));
        sources
    }

    fn is_well(&self, store: &StoreId) -> bool {
        self.facts.view.stores.get(store).is_some_and(|seen| seen.is_well)
    }

    /// What one replica fetches from all sources but itself.
    pub(super) fn fill(&self, on: &StoreId) -> Fill {
        let from = self.sources().into_iter().filter(|store| *store != on).cloned();
        Fill { on: on.clone(), from: from.collect() }
    }

    /// Every whole replica from all others.
    pub(super) fn fill_all(&self) -> Vec<Fill> {
        self.whole().map(|(store, _)| self.fill(store)).collect()
    }

    pub(super) fn extra(&self, store: &StoreId) -> Option<&'a Replica> {
        self.extras.iter().find(|(id, _)| *id == store).map(|(_, replica)| *replica)
    }

    /// A copy that is being made for the set. What is left behind never has so high an epoch.
    pub(super) fn is_fresh(&self, replica: &Replica) -> bool {
        replica.epoch > self.epoch()
            && matches!(replica.condition, Condition::Copying | Condition::Whole)
    }

    /// An epoch that no replica knows yet.
    pub(super) fn next_epoch(&self) -> Epoch {
        let extras = self.extras.iter().map(|(_, replica)| replica.epoch);
        let highest = extras.max().unwrap_or_default().max(self.epoch());
        Epoch::new(highest.get().saturating_add(1))
    }

    /// Whether all of the set are there, whole, and hold the same needles.
    pub(super) fn is_alike(&self) -> bool {
        let mut whole = self.whole().map(|(_, replica)| replica);
        let Some(first) = whole.next() else { return false };
        // A lone replica has nothing to be compared with.
        self.whole().count() == self.volume.replicas.len()
            && whole.all(|other| first.equals(other) || self.is_reconciled(first, other))
    }

    /// Replicas that no digest can be had of count as alike once they have been made so.
    fn is_reconciled(&self, one: &Replica, other: &Replica) -> bool {
        (one.digest.is_none() || other.digest.is_none())
            && one.live_needles == other.live_needles
            && self.whole().all(|(store, _)| self.is_filled(store))
    }

    /// Whether all writes that a replica accepted under older epochs are over.
    pub(super) fn is_fenced(&self, store: &StoreId) -> bool {
        self.facts.hints.fenced.contains(&(self.id, store.clone(), self.epoch()))
    }

    /// Whether a replica was filled to the end since the volume has its epoch.
    pub(super) fn is_filled(&self, store: &StoreId) -> bool {
        self.facts.hints.filled.contains(&(self.id, store.clone(), self.epoch()))
    }

    /// Whether a replica's scrub was told to rest. It may not have got there yet.
    pub(super) fn was_told_to_rest(&self, store: &StoreId) -> bool {
        self.facts.hints.held.contains(&(self.id, store.clone()))
    }

    /// Those of the set whose scrub is to rest and was not told so, or has forgotten it in a restart.
    pub(super) fn not_held(&self, is_to: impl Fn(&StoreId) -> bool) -> Vec<StoreId> {
        let rests = |own: &Replica| own.scrub.is_none() || own.is_scrub_ordered;
        let here = self.here.iter().filter(|(store, own)| {
            let held = self.was_told_to_rest(store) && rests(own);
            is_to(store) && !held
        });
        here.map(|(store, _)| (*store).clone()).collect()
    }

    /// The room that a copy needs, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        self.here.iter().map(|(_, replica)| replica.live_bytes).max().unwrap_or(0)
    }
}
