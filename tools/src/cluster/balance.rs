//! Which replicas to move so that stores are about equally full. Pure.

use std::collections::BTreeSet;

use hayrick_directory::StoreId;
use hayrick_store::VolumeId;

/// Two stores whose fill differs by no more than this are alike, in thousandths of their size.
const ALIKE: u64 = 50;
/// The most moves of one plan: afterwards things may be otherwise.
const MAX_MOVES: usize = 1_000;

/// A store that may give and take.
#[derive(Debug, Clone)]
pub struct Load {
    pub store: StoreId,
    pub used_bytes: u64,
    pub total_bytes: u64,
}

/// A volume that may be moved.
#[derive(Debug, Clone)]
pub struct Cargo {
    pub volume: VolumeId,
    pub replicas: Vec<StoreId>,
    pub bytes: u64,
}

/// How many of some stores share one's rack, and its machine.
pub type Crowd<'a> = dyn Fn(&StoreId, &[&StoreId]) -> (usize, usize) + 'a;

/// One move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub volume: VolumeId,
    pub from: StoreId,
    pub to: StoreId,
    pub bytes: u64,
}

/// From the fullest stores to the emptiest, until they are alike or nothing more can be moved.
/// No more copies share a rack or a machine than did, and a volume is moved once.
pub fn plan(mut loads: Vec<Load>, cargo: &[Cargo], crowd: &Crowd<'_>) -> Vec<Move> {
    let (mut moves, mut moved) = (Vec::new(), BTreeSet::new());
    while moves.len() < MAX_MOVES {
        loads.sort_by_key(|load| (fill(load.used_bytes, load.total_bytes), load.store.clone()));
        let found = loads.iter().enumerate().rev().find_map(|(giver, from)| {
            let takers = loads.iter().enumerate().take(giver);
            let mut far = takers.filter(|(_, to)| from.fill() > to.fill() + ALIKE);
            far.find_map(|(taker, to)| {
                let free = cargo.iter().filter(|cargo| !moved.contains(&cargo.volume));
                let fits = free.filter(|cargo| fits(cargo, from, to, crowd));
                fits.max_by_key(|cargo| cargo.bytes).map(|cargo| (giver, taker, cargo))
            })
        });
        let Some((giver, taker, cargo)) = found else { break };
        let store = |at: usize| loads.get(at).map(|load| load.store.clone());
        let (Some(from), Some(to)) = (store(giver), store(taker)) else { break };
        for (at, load) in loads.iter_mut().enumerate() {
            if at == giver {
                load.used_bytes = load.used_bytes.saturating_sub(cargo.bytes);
            } else if at == taker {
                load.used_bytes = load.used_bytes.saturating_add(cargo.bytes);
            }
        }
        moved.insert(cargo.volume);
        moves.push(Move { volume: cargo.volume, from, to, bytes: cargo.bytes });
    }
    moves
}

/// Whether a volume may go there, and leaves the one no emptier than the other.
fn fits(cargo: &Cargo, from: &Load, to: &Load, crowd: &Crowd<'_>) -> bool {
    let Cargo { replicas, bytes, .. } = cargo;
    let others: Vec<_> = replicas.iter().filter(|store| **store != from.store).collect();
    let after_from = fill(from.used_bytes.saturating_sub(*bytes), from.total_bytes);
    let after_to = fill(to.used_bytes.saturating_add(*bytes), to.total_bytes);
    *bytes > 0
        && replicas.contains(&from.store)
        && !replicas.contains(&to.store)
        && crowd(&to.store, &others) <= crowd(&from.store, &others)
        && after_to <= after_from
}

/// In thousandths.
fn fill(used: u64, total: u64) -> u64 {
    let share = u128::from(used) * 1_000 / u128::from(total.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl Load {
    fn fill(&self) -> u64 {
        fill(self.used_bytes, self.total_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store on the rack that its last digit names.
    fn load(number: u32, used_bytes: u64) -> Load {
        Load { store: format!("s{number}").parse().unwrap(), used_bytes, total_bytes: 1_000 }
    }

    fn cargo(volume: u32, stores: &[u32], bytes: u64) -> Cargo {
        let replicas = stores.iter().map(|number| format!("s{number}").parse().unwrap()).collect();
        Cargo { volume: VolumeId::new(volume).unwrap(), replicas, bytes }
    }

    fn planned(loads: &[Load], cargo: &[Cargo]) -> Vec<(u32, String, String)> {
        let rack = |store: &StoreId| store.as_str().chars().last();
        let crowd = |store: &StoreId, others: &[&StoreId]| {
            (others.iter().filter(|other| rack(other) == rack(store)).count(), 0)
        };
        let moves = plan(loads.to_vec(), cargo, &crowd);
        moves.iter().map(|m| (m.volume.get(), m.from.to_string(), m.to.to_string())).collect()
    }

    fn told(volume: u32, from: &str, to: &str) -> (u32, String, String) {
        (volume, from.to_owned(), to.to_owned())
    }

    #[test]
    fn the_fullest_gives_to_the_emptiest_until_they_are_alike() {
        let loads = [load(1, 900), load(2, 500), load(3, 100)];
        let all: Vec<_> = (1..=9).map(|volume| cargo(volume, &[1], 100)).collect();
        let moves = planned(&loads, &all);
        assert_eq!(moves.len(), 4, "{moves:?}");
        assert!(moves.iter().all(|(_, from, to)| from == "s1" && to == "s3"), "{moves:?}");
        let alike = [load(1, 540), load(2, 500), load(3, 495)];
        assert_eq!(planned(&alike, &[cargo(1, &[1], 10)]), []);
    }

    #[test]
    fn copies_stay_on_different_racks_and_stores() {
        // Store 13 shares its rack with 3.
        let loads = [load(1, 900), load(3, 40), load(13, 0), load(2, 400)];
        assert_eq!(planned(&loads, &[cargo(1, &[1, 3], 100)]), [told(1, "s1", "s2")]);
        assert_eq!(planned(&loads, &[cargo(1, &[1, 2, 3], 100)]), []);
        // Within its rack a replica may move.
        let loads = [load(3, 500), load(13, 0), load(2, 400)];
        assert_eq!(planned(&loads, &[cargo(1, &[3, 2], 100)]), [told(1, "s3", "s13")]);
    }

    #[test]
    fn what_is_too_large_to_help_stays() {
        let loads = [load(1, 600), load(2, 100)];
        assert_eq!(planned(&loads, &[cargo(1, &[1], 500)]), []);
        assert_eq!(
            planned(&loads, &[cargo(1, &[1], 500), cargo(2, &[1], 200)]),
            [told(2, "s1", "s2")]
        );
    }
}
