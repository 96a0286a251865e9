//! Which volume takes the next needle.
//!
//! The choice is a draw weighted by free room, so that volumes fill alike and no
//! volume is hot for being first. A volume whose writes fail is left out for a while,
//! longer with each failure, and comes back with a small weight that grows again. A volume
//! on a store that the keeper calls ill is taken only where every other is out of choice: slow
//! or doubtful copies are better than no upload.
//!
//! Volumes that went out of choice are remembered for a while: who finds none is told whether
//! waiting may help.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use hayrick_store::VolumeId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long the first failure keeps a volume out of choice.
const COOL_OFF_MS: u64 = 2_000;
/// Failures beyond this many do not lengthen the cool-off: about two minutes.
const MAX_FAILURES: u32 = 7;
/// For each of these without a failure after the cool-off, one failure is forgotten.
const DECAY_MS: u64 = 30_000;
/// For so long after a volume went out of choice, it or one in its place may be expected.
const LATELY: Duration = Duration::from_secs(10);

/// How much a writable volume can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    /// On how many stores it is.
    pub(crate) copies: usize,
    /// Bytes that still go in, on the replica with the least.
    pub(crate) free_bytes: u64,
    /// Bytes that go into an empty one.
    pub(crate) limit_bytes: u64,
    /// Whether the keeper finds nothing wrong with its stores.
    pub(crate) is_well: bool,
}

/// Which volumes there are to choose from.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rooms: BTreeMap<VolumeId, Room>,
    /// What went out of choice lately: its room then, and when that was.
    lost: BTreeMap<VolumeId, (Room, Instant)>,
    failures: HashMap<VolumeId, Failures>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failures {
    count: u32,
    until_ms: u64,
}

impl Placement {
    /// Replaces all that is known of the volumes.
    pub(crate) fn set_rooms(&self, rooms: BTreeMap<VolumeId, Room>, now: Instant) {
        let mut state = self.state.lock();
        let before = std::mem::replace(&mut state.rooms, rooms);
        state.lose(before, now);
    }

    /// All volumes that may be chosen.
    pub(crate) fn volumes(&self) -> Vec<VolumeId> {
        self.state.lock().rooms.keys().copied().collect()
    }

    /// Takes a volume out of choice until the stores are asked again.
    pub(crate) fn remove(&self, volume: VolumeId, now: Instant) {
        let mut state = self.state.lock();
        if let Some(room) = state.rooms.remove(&volume) {
            state.lose([(volume, room)], now);
        }
    }

    /// Whether a volume that would take this went out of choice a moment ago.
    pub(crate) fn lost_lately(&self, copies: usize, size_bytes: u64, now: Instant) -> bool {
        let state = self.state.lock();
        state.lost.values().any(|(room, at)| room.fits(copies, size_bytes) && is_recent(*at, now))
    }

    /// A write to the volume failed.
    pub(crate) fn failed(&self, volume: VolumeId, now_ms: u64) {
        let mut state = self.state.lock();
        let before = state.failures.get(&volume).and_then(|failures| failures.decayed(now_ms));
        state.failures.insert(volume, Failures::another(before, now_ms));
        state.failures.retain(|_, failures| failures.decayed(now_ms).is_some());
    }

    /// Chooses a volume of `copies` replicas with room for `size_bytes`, and counts the
    /// room as taken; none of those in `but`. `draw` is uniformly random. Volumes that cool off
    /// are chosen only when there is no other. `None` if none has room.
    pub(crate) fn choose(
        &self,
        copies: usize,
        size_bytes: u64,
        but: &[VolumeId],
        now_ms: u64,
        draw: u64,
    ) -> Option<VolumeId> {
        let mut state = self.state.lock();
        let volume = state.choose(copies, size_bytes, but, now_ms, draw)?;
        let room = state.rooms.get_mut(&volume)?;
        room.free_bytes = room.free_bytes.saturating_sub(size_bytes);
        Some(volume)
    }
}

impl Room {
    fn fits(&self, copies: usize, size_bytes: u64) -> bool {
        copies > 0 && self.copies == copies && self.free_bytes >= size_bytes
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < LATELY
}

impl State {
    /// Remembers what went out of choice, and forgets what is back or went long ago.
    fn lose(&mut self, before: impl IntoIterator<Item = (VolumeId, Room)>, now: Instant) {
        self.lost.retain(|_, (_, at)| is_recent(*at, now));
        self.lost.extend(before.into_iter().map(|(volume, room)| (volume, (room, now))));
        self.lost.retain(|volume, _| !self.rooms.contains_key(volume));
    }

    fn choose(
        &self,
        copies: usize,
        size: u64,
        but: &[VolumeId],
        now_ms: u64,
        draw: u64,
    ) -> Option<VolumeId> {
        let candidates: Vec<_> = self
            .rooms
            .iter()
            .filter(|(volume, room)| room.fits(copies, size) && !but.contains(volume))
            .map(|(&volume, room)| {
                let failures = self.failures.get(&volume).and_then(|f| f.decayed(now_ms));
                (volume, *room, failures)
            })
            .collect();
        let weighted = |is_well: bool| {
            let alike = candidates.iter().filter(move |(_, room, _)| room.is_well == is_well);
            alike.map(|&(volume, Room { free_bytes, .. }, failures)| {
                let whole = u128::from(free_bytes) + 1;
                (volume, failures.map_or(whole, |failures| failures.weight(free_bytes, now_ms)))
            })
        };
        pick(weighted(true), draw).or_else(|| pick(weighted(false), draw)).or_else(|| {
            // All cool off. The one that does so the least may have recovered.
            let until = |failures: Option<Failures>| failures.map_or(0, |f| f.until_ms);
            let soonest = candidates.iter().min_by_key(|(.., failures)| until(*failures));
            soonest.map(|(volume, ..)| *volume)
        })
    }
}

impl Failures {
    fn another(before: Option<Self>, now_ms: u64) -> Self {
        let count = before.map_or(1, |before| (before.count + 1).min(MAX_FAILURES));
        Self { count, until_ms: now_ms.saturating_add(COOL_OFF_MS << (count - 1)) }
    }

    /// What is left of the failures; `None` if they are forgotten.
    fn decayed(self, now_ms: u64) -> Option<Self> {
        let forgotten = now_ms.saturating_sub(self.until_ms) / DECAY_MS;
        let count = self.count.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX));
        (count > 0).then_some(Self { count, ..self })
    }

    fn weight(self, free_bytes: u64, now_ms: u64) -> u128 {
        if now_ms < self.until_ms { 0 } else { (u128::from(free_bytes) >> self.count) + 1 }
    }
}

/// Draws one by weight; `None` if all weights are zero.
fn pick(weighted: impl Iterator<Item = (VolumeId, u128)> + Clone, draw: u64) -> Option<VolumeId> {
    let total: u128 = weighted.clone().map(|(_, weight)| weight).sum();
    // Volumes hold gigabytes: the sum of all weights is far below 2^64.
    let mut left = total.saturating_mul(u128::from(draw)) >> u64::BITS;
    for (volume, weight) in weighted {
        match left.checked_sub(weight) {
            Some(rest) => left = rest,
            None => return Some(volume),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(volume: u32) -> VolumeId {
        VolumeId::new(volume).unwrap()
    }

    fn placement(rooms: &[(u32, usize, u64)]) -> Placement {
        let room = |&(volume, copies, free_bytes): &(u32, usize, u64)| {
            (id(volume), Room { copies, free_bytes, limit_bytes: 1_000_000, is_well: true })
        };
        let placement = Placement::default();
        placement.set_rooms(rooms.iter().map(room).collect(), Instant::now());
        placement
    }

    /// How often each volume is chosen by evenly spread draws of size 0.
    fn spread(placement: &Placement, copies: usize, now_ms: u64) -> BTreeMap<u32, usize> {
        let mut chosen = BTreeMap::new();
        for step in 0..1_000 {
            let draw = (u64::MAX / 1_000) * step;
            if let Some(volume) = placement.choose(copies, 0, &[], now_ms, draw) {
                *chosen.entry(volume.get()).or_default() += 1;
            }
        }
        chosen
    }

    #[test]
    fn volumes_are_chosen_by_their_room() {
        /// Volumes with their copies and room, the copies asked for, how often each of
        /// the volumes is chosen.
        type Case<'a> = (&'a [(u32, usize, u64)], usize, &'a [(u32, usize)]);
        let cases: [Case<'_>; 6] = [
            (&[], 1, &[]),
            (&[(1, 0, 9_999)], 0, &[]), // on no store: never
            (&[(1, 1, 9_999), (2, 2, 9_999)], 2, &[(2, 1_000)]),
            (&[(1, 1, 9_999), (2, 1, 9_999)], 1, &[(1, 500), (2, 500)]),
            (&[(1, 1, 29_999), (2, 1, 9_999)], 1, &[(1, 750), (2, 250)]),
            (&[(1, 1, 0), (2, 1, 0)], 1, &[(1, 500), (2, 500)]),
        ];
        for (rooms, copies, expected) in cases {
            let chosen = spread(&placement(rooms), copies, 0);
            let near = |(&volume, &times): (&u32, &usize)| {
                expected.iter().any(|&(v, t)| v == volume && times.abs_diff(t) <= 2)
            };
            assert!(
                chosen.len() == expected.len() && chosen.iter().all(near),
                "{rooms:?}: {chosen:?}, expected {expected:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_not_chosen_and_what_does_takes_room() {
        let placement = placement(&[(1, 1, 100), (2, 1, 50)]);
        for draw in [0, u64::MAX / 2, u64::MAX] {
            assert_eq!(placement.choose(1, 101, &[], 0, draw), None);
        }
        assert_eq!(placement.choose(1, 80, &[], 0, u64::MAX), Some(id(1)));
        assert_eq!(placement.choose(1, 80, &[], 0, u64::MAX), None);
        assert_eq!(placement.choose(1, 50, &[], 0, 0), Some(id(2)));
    }

    #[test]
    fn a_volume_that_was_passed_over_is_not_chosen_also_if_the_others_cool_off() {
        let placement = placement(&[(1, 1, 9_999), (2, 1, 9_999)]);
        placement.failed(id(2), 0);
        for draw in [0, u64::MAX / 2, u64::MAX] {
            assert_eq!(placement.choose(1, 5, &[id(1)], 1, draw), Some(id(2)));
            assert_eq!(placement.choose(1, 5, &[id(1), id(2)], 1, draw), None);
        }
    }

    #[test]
    fn a_failing_volume_is_left_out_and_comes_back_slowly() {
        let placement = placement(&[(1, 1, 9_999), (2, 1, 9_999)]);
        placement.failed(id(1), 1_000);
        assert_eq!(spread(&placement, 1, 1_001), BTreeMap::from([(2, 1_000)]));
        let back = spread(&placement, 1, 1_000 + COOL_OFF_MS);
        assert!((300..=350).contains(&back[&1]), "half the weight: {back:?}");
        let healed = spread(&placement, 1, 1_000 + COOL_OFF_MS + DECAY_MS);
        assert!((498..=502).contains(&healed[&1]), "{healed:?}");
    }

    #[test]
    fn a_volume_on_an_ill_store_is_the_last_to_be_chosen() {
        let placement = placement(&[(1, 1, 9_999), (2, 1, 10)]);
        placement.state.lock().rooms.get_mut(&id(1)).unwrap().is_well = false;
        assert_eq!(spread(&placement, 1, 0), BTreeMap::from([(2, 1_000)]));
        assert_eq!(
            placement.choose(1, 11, &[], 0, 0),
            Some(id(1)),
            "it does not fit into the other"
        );
        placement.failed(id(2), 0);
        assert_eq!(spread(&placement, 1, 1), BTreeMap::from([(1, 1_000)]));
    }

    #[test]
    fn each_failure_lengthens_the_cool_off_up_to_a_bound() {
        let mut failures = None;
        let mut lengths = Vec::new();
        for _ in 0..9 {
            let next = Failures::another(failures, 0);
            lengths.push(next.until_ms / 1_000);
            failures = Some(next);
        }
        assert_eq!(lengths, [2, 4, 8, 16, 32, 64, 128, 128, 128]);
    }

    #[test]
    fn when_all_cool_off_the_soonest_is_tried() {
        let placement = placement(&[(1, 1, 9_999), (2, 1, 9_999)]);
        placement.failed(id(2), 0);
        placement.failed(id(1), 500);
        assert_eq!(spread(&placement, 1, 501), BTreeMap::from([(2, 1_000)]));
    }

    #[test]
    fn what_went_out_of_choice_is_remembered_for_a_while() {
        let placement = placement(&[(1, 2, 1_000), (2, 2, 10), (3, 1, 50)]);
        let began = Instant::now();
        assert!(!placement.lost_lately(2, 0, began), "all are there");
        placement.set_rooms(BTreeMap::new(), began);
        placement.set_rooms(BTreeMap::new(), began + LATELY / 2);
        let soon = began + LATELY / 2;
        for (copies, size, expected) in
            [(2, 1_000, true), (2, 1_001, false), (1, 50, true), (1, 51, false), (3, 0, false)]
        {
            assert_eq!(placement.lost_lately(copies, size, soon), expected, "{copies} {size}");
        }
        assert!(!placement.lost_lately(2, 0, began + LATELY), "too long ago");
        let back = Room { copies: 2, free_bytes: 0, limit_bytes: 1_000, is_well: true };
        placement.set_rooms(BTreeMap::from([(id(1), back)]), soon);
        assert!(!placement.lost_lately(2, 1_000, soon), "it is back, and full");
        placement.remove(id(1), soon);
        assert!(placement.lost_lately(2, 0, soon));
        placement.set_rooms(BTreeMap::new(), soon + LATELY);
        assert!(placement.state.lock().lost.is_empty(), "forgotten, and takes no memory");
    }

    #[test]
    fn forgotten_failures_take_no_memory() {
        let placement = placement(&[]);
        for volume in 1..=100 {
            placement.failed(id(volume), u64::from(volume) * 10 * DECAY_MS);
        }
        assert!(placement.state.lock().failures.len() < 3);
    }
}
