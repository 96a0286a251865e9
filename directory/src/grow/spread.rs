//! On which stores the copies of a volume lie.

use crate::{Host, Rack, StoreId};

/// A store, with its rack and machine as far as known.
pub(super) type Candidate<'a> = (&'a StoreId, Option<(&'a Rack, &'a Host)>);

/// Chooses up to `copies` of the candidates, which come best first: on as many racks as there
/// are, then on as many machines, and the better store where both are alike. A store that is not known
/// counts as standing with the others of that kind.
pub(super) fn spread(candidates: &[Candidate<'_>], copies: usize) -> Vec<StoreId> {
    let mut left: Vec<_> = candidates.iter().collect();
    let mut chosen: Vec<&Candidate<'_>> = Vec::with_capacity(copies);
    while chosen.len() < copies {
        let crowd = |(_, place): &Candidate<'_>| {
            let others = || chosen.iter().map(|(_, other)| *other);
            let rack = |place: Option<(&Rack, &Host)>| place.map(|(rack, _)| rack.clone());
            let host = |place: Option<(&Rack, &Host)>| place.map(|(_, host)| host.clone());
            let in_rack = others().filter(|other| rack(*other) == rack(*place)).count();
            let on_host = others().filter(|other| host(*other) == host(*place)).count();
            (in_rack, on_host)
        };
        // Of several that are least, `min_by_key` takes the first, which is the best.
        let Some((at, _)) = left.iter().enumerate().min_by_key(|(_, store)| crowd(store)) else {
            break;
        };
        chosen.push(left.remove(at));
    }
    chosen.into_iter().map(|(store, _)| (*store).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores by their names: a letter for the rack, and with that a number for the machine.
    fn chosen(stores: &str, copies: usize) -> String {
        let stores: Vec<(StoreId, Rack, Host)> = stores
            .split(' ')
            .map(|id| (id.parse().unwrap(), id[..1].parse().unwrap(), id[..2].parse().unwrap()))
            .collect();
        let candidates: Vec<_> =
            stores.iter().map(|(id, rack, host)| (id, Some((rack, host)))).collect();
        let chosen: Vec<_> = spread(&candidates, copies).iter().map(ToString::to_string).collect();
        chosen.join(" ")
    }

    #[test]
    fn racks_come_before_room() {
        assert_eq!(chosen("a1 a2 a3 b1 c1", 3), "a1 b1 c1");
        assert_eq!(chosen("a1 a2 b1", 2), "a1 b1");
    }

    #[test]
    fn too_few_racks_share_evenly() {
        assert_eq!(chosen("a1 a2 a3 b1 b2", 4), "a1 b1 a2 b2");
        assert_eq!(chosen("a1 a2 a3", 2), "a1 a2");
    }

    #[test]
    fn machines_come_after_racks_and_before_room() {
        assert_eq!(chosen("a1x a1y a2x", 2), "a1x a2x");
        assert_eq!(chosen("a1x a1y a1z b1x b1y b2x", 3), "a1x b1x b2x");
        assert_eq!(chosen("a1x a1y a2x", 3), "a1x a2x a1y", "and stores after those");
    }

    #[test]
    fn there_may_be_too_few() {
        assert_eq!(chosen("a1 b1", 3), "a1 b1");
        assert_eq!(spread(&[], 3), []);
    }
}
