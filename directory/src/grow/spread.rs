//! On which stores the copies of a volume lie.

use std::collections::HashMap;

use crate::{Rack, StoreId};

/// Chooses up to `copies` of the candidates, which come best first: on as many racks as there
/// are, and the better store where racks are alike. A store whose rack is not known counts
/// as standing with the others of that kind.
pub(super) fn spread(candidates: &[(&StoreId, Option<&Rack>)], copies: usize) -> Vec<StoreId> {
    let mut left: Vec<_> = candidates.iter().collect();
    let mut chosen = Vec::with_capacity(copies);
    let mut in_rack: HashMap<Option<&Rack>, usize> = HashMap::new();
    while chosen.len() < copies {
        let crowd = |(_, rack): &(&StoreId, Option<&Rack>)| in_rack.get(rack).copied().unwrap_or(0);
        // Of several that are least, `min_by_key` takes the first, which is the best.
        let Some((at, _)) = left.iter().enumerate().min_by_key(|(_, store)| crowd(store)) else {
            break;
        };
        let (store, rack) = left.remove(at);
        *in_rack.entry(*rack).or_default() += 1;
        chosen.push((*store).clone());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores by their names, a letter for the rack first.
    fn chosen(stores: &str, copies: usize) -> String {
        let stores: Vec<(StoreId, Option<Rack>)> = stores
            .split(' ')
            .map(|id| (id.parse().unwrap(), id.get(..1).map(|rack| rack.parse().unwrap())))
            .collect();
        let candidates: Vec<_> = stores.iter().map(|(id, rack)| (id, rack.as_ref())).collect();
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
    fn there_may_be_too_few() {
        assert_eq!(chosen("a1 b1", 3), "a1 b1");
        assert_eq!(spread(&[], 3), []);
    }
}
