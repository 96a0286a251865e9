//! Which moves make full stores less full, and empty ones fuller.

use std::collections::BTreeMap;

use hayrick_store::VolumeId;

use super::Facts;
use super::case::Case;
use super::target::Targets;
use crate::StoreId;

/// Stores whose shares of used room differ by less than this count as alike.
const TOLERANCE: f64 = 0.05;
/// Most moves that are wanted at one time: the stores are looked at again after each.
const MAX_MOVES: usize = 32;

/// How full a store is.
struct Load {
    used_bytes: u64,
    total_bytes: u64,
}

/// A volume, the store that it leaves, and where it goes.
pub(super) type Transfer = (VolumeId, StoreId, StoreId);

/// Moves from the fullest stores to the emptiest. Each makes the two more alike than they
/// were, so there is an end to it.
pub(super) fn moves(facts: Facts<'_>, targets: &Targets<'_>) -> Vec<Transfer> {
    let mut loads = loads(facts);
    let cases = facts.map.volumes.iter().map(|(&id, entry)| Case::new(facts, id, &entry.value));
    let mut cases: Vec<_> = cases.filter(|case| case.volume.moving.is_none()).collect();
    let mut transfers = Vec::new();
    while transfers.len() < MAX_MOVES {
        let Some((at, from, to)) = best(&cases, targets, &loads) else { break };
        let case = cases.swap_remove(at);
        let bytes = case.size_bytes();
        if let Some(load) = loads.get_mut(&from) {
            load.used_bytes = load.used_bytes.saturating_sub(bytes);
        }
        if let Some(load) = loads.get_mut(&to) {
            load.used_bytes = load.used_bytes.saturating_add(bytes);
        }
        transfers.push((case.id, from, to));
    }
    transfers
}

/// How full the stores will be when the moves of now are over.
fn loads(facts: Facts<'_>) -> BTreeMap<StoreId, Load> {
    let answering = facts.view.stores.iter().filter(|(_, seen)| seen.replicas.is_some());
    let load = |total_bytes| Load { used_bytes: 0, total_bytes };
    let mut loads: BTreeMap<_, _> =
        answering.map(|(store, seen)| (store.clone(), load(seen.total_bytes))).collect();
    for (&id, entry) in &facts.map.volumes {
        let case = Case::new(facts, id, &entry.value);
        let moving = entry.value.moving.as_ref();
        let stays = entry.value.replicas.iter().filter(|store| moving != Some(*store));
        let comes =
            case.extras.iter().filter(|(_, replica)| moving.is_some() && case.is_fresh(replica));
        for store in stays.chain(comes.map(|(store, _)| *store)) {
            if let Some(load) = loads.get_mut(store) {
                load.used_bytes = load.used_bytes.saturating_add(case.size_bytes());
            }
        }
    }
    loads
}

/// The largest volume whose move from a fuller store to an emptier one leaves the first no
/// emptier than the second.
fn best(
    cases: &[Case<'_>],
    targets: &Targets<'_>,
    loads: &BTreeMap<StoreId, Load>,
) -> Option<(usize, StoreId, StoreId)> {
    let mut order: Vec<_> = loads.iter().collect();
    order.sort_by(|a, b| a.1.share(0).total_cmp(&b.1.share(0)));
    for (from, full) in order.iter().rev() {
        for (to, empty) in &order {
            if full.share(0) - empty.share(0) <= TOLERANCE {
                break;
            }
            let fitting = cases.iter().enumerate().filter(|(_, case)| {
                let bytes = case.size_bytes();
                let kept: Vec<_> =
                    case.volume.replicas.iter().filter(|store| store != from).cloned().collect();
                bytes > 0
                    && kept.len() < case.volume.replicas.len()
                    && targets.fits(case, to, bytes)
                    && targets.crowd(to, &kept) <= targets.crowd(from, &kept)
                    && full.share_without(bytes) >= empty.share(bytes)
            });
            // A copy that was begun is not given up for another that is as good.
            let rank = |(_, case): &(usize, &Case<'_>)| {
                (case.size_bytes(), case.extra(to).is_some_and(|replica| case.is_fresh(replica)))
            };
            if let Some((at, _)) = fitting.max_by_key(rank) {
                return Some((at, (*from).clone(), (*to).clone()));
            }
        }
    }
    None
}

impl Load {
    /// The share that is used with so many bytes more.
    fn share(&self, more: u64) -> f64 {
        ratio(self.used_bytes.saturating_add(more), self.total_bytes)
    }

    fn share_without(&self, bytes: u64) -> f64 {
        ratio(self.used_bytes.saturating_sub(bytes), self.total_bytes)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of what disks hold")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}
