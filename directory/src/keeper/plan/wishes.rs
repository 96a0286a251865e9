//! What operators and the spread over racks and machines want of volumes that are otherwise well.

use std::collections::{BTreeMap, BTreeSet};

use hayrick_store::VolumeId;

use super::Facts;
use super::balance;
use super::case::Case;
use super::target::{Crowd, Targets};
use crate::{Order, OrderId, StoreId, Volume};

#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Which store a volume is to leave.
    pub(super) moves: BTreeMap<VolumeId, StoreId>,
    /// Moves that have begun, and are still wanted.
    begun: BTreeSet<(VolumeId, StoreId)>,
    /// Where to, if that was told.
    targets: BTreeMap<(VolumeId, StoreId), StoreId>,
    /// Which store is to get one more replica.
    pub(super) copies: BTreeMap<VolumeId, StoreId>,
    /// Volumes to be read whole.
    pub(super) repairs: BTreeSet<VolumeId>,
    /// Orders that have been carried out, or never can be.
    pub(super) done: Vec<OrderId>,
}

impl Wishes {
    pub(super) fn of(facts: Facts<'_>, targets: &mut Targets<'_>) -> Self {
        let mut wishes = Self::default();
        for (id, order) in &facts.map.orders {
            if is_done(facts, order) {
                wishes.done.push(id.clone());
            } else {
                wishes.add(order);
            }
        }
        for (&id, entry) in &facts.map.volumes {
            let volume = &entry.value;
            let leaves = |from: &&StoreId| {
                facts.map.is_draining(from) || is_better_elsewhere(facts, id, volume, from, targets)
            };
            if let Some(from) = &volume.moving {
                let is_ordered = wishes.targets.contains_key(&(id, from.clone()))
                    || facts.map.orders.contains_key(&Order::Rebalance.id());
                if is_ordered || leaves(&from) {
                    wishes.begun.insert((id, from.clone()));
                }
            }
            let draining = volume.replicas.iter().find(|store| facts.map.is_draining(store));
            if let Some(from) = draining.or_else(|| volume.replicas.iter().find(leaves)) {
                wishes.moves.entry(id).or_insert_with(|| from.clone());
            }
        }
        if facts.map.orders.contains_key(&Order::Rebalance.id()) {
            wishes.rebalance(facts, targets);
        }
        wishes
    }

    fn add(&mut self, order: &Order) {
        match order.clone() {
            Order::Move { volume, from, to } => {
                self.moves.insert(volume, from.clone());
                self.targets.insert((volume, from), to);
            }
            Order::Copy { volume, to } => drop(self.copies.insert(volume, to)),
            Order::Repair { volume } => drop(self.repairs.insert(volume)),
            Order::Pause | Order::Rebalance | Order::Drain { .. } => {}
        }
    }

    fn rebalance(&mut self, facts: Facts<'_>, targets: &Targets<'_>) {
        let moves = balance::moves(facts, targets);
        let idle = facts.map.volumes.values().all(|entry| entry.value.moving.is_none());
        if moves.is_empty() && idle {
            self.done.push(Order::Rebalance.id());
        }
        for (volume, from, to) in moves {
            if let std::collections::btree_map::Entry::Vacant(free) = self.moves.entry(volume) {
                free.insert(from.clone());
                self.targets.insert((volume, from), to);
            }
        }
    }

    /// Whether a move that has begun is still wanted. An order may have been taken back since.
    pub(super) fn wants(&self, case: &Case<'_>, from: &StoreId) -> bool {
        self.begun.contains(&(case.id, from.clone()))
    }

    /// Where a replica goes that leaves `from`: as it was ordered, or the best.
    pub(super) fn target_of(
        &self,
        case: &Case<'_>,
        from: &StoreId,
        kept: &[StoreId],
        targets: &mut Targets<'_>,
    ) -> Option<StoreId> {
        let begun = case.extras.iter().any(|(_, replica)| case.is_fresh(replica));
        match self.targets.get(&(case.id, from.clone())) {
            Some(to) if !begun || case.extra(to).is_some() => {
                targets.fits(case, to, case.size_bytes()).then(|| to.clone())
            }
            _ => targets.choose(case, kept).cloned(),
        }
    }
}

fn is_done(facts: Facts<'_>, order: &Order) -> bool {
    let map = facts.map;
    let Some(id) = order.volume() else {
        return match order {
            // Nobody is left to be emptied.
            Order::Drain { store } => {
                !map.stores.contains_key(store)
                    && !map.volumes.values().any(|entry| names(&entry.value, store))
            }
            _ => false,
        };
    };
    let Some(volume) = map.volumes.get(&id).map(|entry| &entry.value) else { return true };
    match order {
        Order::Move { from, to, .. } => {
            !names(volume, from) || (volume.replicas.contains(to) && volume.moving.is_none())
        }
        Order::Copy { to, .. } => volume.replicas.contains(to),
        Order::Repair { .. } => {
            volume.replicas.len() < 2 || facts.hints.repaired.contains(&order.id())
        }
        Order::Pause | Order::Rebalance | Order::Drain { .. } => false,
    }
}

fn names(volume: &Volume, store: &StoreId) -> bool {
    volume.replicas.contains(store) || volume.moving.as_ref() == Some(store)
}

/// Whether a replica shares its rack or its machine with another, and would with fewer elsewhere.
/// Each such move leaves fewer that share one, so there is an end to it.
fn is_better_elsewhere(
    facts: Facts<'_>,
    id: VolumeId,
    volume: &Volume,
    from: &StoreId,
    targets: &Targets<'_>,
) -> bool {
    let crowd = targets.crowd(from, &volume.replicas);
    if crowd == Crowd::default() {
        return false;
    }
    let kept: Vec<_> = volume.replicas.iter().filter(|store| *store != from).cloned().collect();
    let case = Case::new(facts, id, volume);
    facts.view.stores.keys().any(|store| {
        case.extra(store).is_none_or(|replica| case.is_fresh(replica))
            && targets.fits(&case, store, case.size_bytes())
            && targets.crowd(store, &kept) < crowd
    })
}
