//! What operators and the spread over racks want of volumes that are otherwise well.

use std::collections::{BTreeMap, BTreeSet};

use hayrick_store::VolumeId;

use super::Facts;
use super::balance;
use super::case::Case;
use super::target::Targets;
use crate::{ClusterMap, Order, OrderId, StoreId, Volume};

#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Which store a volume is to leave.
    pub(super) moves: BTreeMap<VolumeId, StoreId>,
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
            let leaving = leaves_a_draining_store(facts.map, &entry.value)
                .or_else(|| leaves_a_crowded_rack(facts, id, &entry.value, targets));
            if let Some(from) = leaving {
                wishes.moves.entry(id).or_insert(from);
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

fn leaves_a_draining_store(map: &ClusterMap, volume: &Volume) -> Option<StoreId> {
    volume.replicas.iter().find(|store| map.is_draining(store)).cloned()
}

/// A replica that shares its rack leaves for one without any, once there is such a rack.
fn leaves_a_crowded_rack(
    facts: Facts<'_>,
    id: VolumeId,
    volume: &Volume,
    targets: &Targets<'_>,
) -> Option<StoreId> {
    let crowded = |store: &&StoreId| targets.crowd(store, &volume.replicas) > 0;
    let from = volume.replicas.iter().find(crowded)?;
    let kept: Vec<_> = volume.replicas.iter().filter(|store| *store != from).cloned().collect();
    let case = Case::new(facts, id, volume);
    let empty_rack = |store: &StoreId| {
        case.extra(store).is_none_or(|replica| case.is_fresh(replica))
            && targets.fits(&case, store, case.size_bytes())
            && targets.crowd(store, &kept) == 0
    };
    facts.view.stores.keys().any(empty_rack).then(|| from.clone())
}
