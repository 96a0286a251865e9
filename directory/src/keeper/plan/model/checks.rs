//! What must hold at any moment, and in the end.

use super::*;

impl World {
    /// All of the set are there, and have all that was acknowledged.
    pub(super) fn assert_whole(&self, volume: VolumeId) {
        for store in &self.map.volumes[&volume].value.replicas {
            assert!(self.stores[store].is_up, "{store} is away");
            let replica = &self.stores[store].replicas[&volume];
            assert!(replica.condition == Condition::Whole);
            for key in self.wanted(volume) {
                assert!(replica.needles.contains(&key), "{store} lacks {key} of {volume}");
            }
        }
    }

    /// One of the set has all that was acknowledged, and can be copied from.
    pub(super) fn assert_one_is_whole(&self, volume: VolumeId) {
        let Volume { replicas, joining, .. } = &self.map.volumes[&volume].value;
        let holds_all = |store: &&StoreId| {
            let replica = self.stores[*store].replicas.get(&volume);
            let replica = replica.filter(|replica| replica.condition == Condition::Whole);
            self.stores[*store].is_up
                && joining.as_ref() != Some(*store)
                && replica
                    .is_some_and(|own| self.wanted(volume).all(|key| own.needles.contains(&key)))
        };
        assert!(replicas.iter().any(|store| holds_all(&store)), "of volume {volume} none is whole");
    }

    /// Acknowledged, and nobody asked to delete it.
    pub(super) fn wanted(&self, volume: VolumeId) -> impl Iterator<Item = u64> + '_ {
        let deleting = move |key: &u64| {
            let under_way = |w: &&Write| w.is_delete && w.volume == volume && w.key == *key;
            self.writes.iter().find(under_way).is_some()
                || self.deleted.get(&volume).is_some_and(|keys| keys.contains(key))
        };
        let acked = self.acked.get(&volume).into_iter().flatten();
        acked.copied().filter(move |key| !deleting(key))
    }

    /// No needle is without a whole replica of the set, there or away.
    pub(super) fn assert_nothing_is_lost(&self) {
        for (&volume, entry) in &self.map.volumes {
            for key in self.wanted(volume) {
                let holds = |store: &StoreId| {
                    let replica = self.stores[store].replicas.get(&volume);
                    replica.is_some_and(|replica| replica.needles.contains(&key))
                };
                // Of a move, the old replica counts until it is over.
                let holders = entry.value.replicas.iter().chain(&entry.value.moving);
                assert!(holders.into_iter().any(holds), "needle {key} of volume {volume} is lost");
            }
        }
    }

    pub(super) fn assert_fully_replicated(&mut self, gone: Option<usize>) {
        let usable = |(store, _): &(&StoreId, _)| gone.map(id).as_ref() != Some(*store);
        let racks = self.stores.iter().filter(usable).map(|(_, store)| store.rack);
        let racks_in_all = racks.collect::<BTreeSet<_>>().len();
        for (&volume, entry) in &self.map.volumes {
            self.assert_whole(volume);
            let Volume { replicas, moving, epoch, .. } = &entry.value;
            assert_eq!(*moving, None);
            let copies = replicas.iter().map(|store| &self.stores[store].replicas[&volume]);
            let first = copies.clone().next().unwrap();
            for copy in copies {
                assert_eq!(copy.needles, first.needles);
                assert_eq!(copy.epoch, *epoch);
                let deleted = self.deleted.get(&volume).cloned().unwrap_or_default();
                assert!(copy.needles.is_disjoint(&deleted), "what was deleted is back");
            }
            let racks: BTreeSet<_> = replicas.iter().map(|store| self.stores[store].rack).collect();
            let possible = racks_in_all.min(replicas.len());
            assert!(racks.len() >= possible, "{replicas:?} share a rack");
        }
        let gone = gone.map(id);
        for (store, own) in self.stores.iter().filter(|(store, _)| Some(*store) != gone.as_ref()) {
            for volume in own.replicas.keys() {
                let in_set = self.map.volumes[volume].value.replicas.contains(store);
                assert!(in_set, "{store} still has volume {volume}");
            }
        }
    }
}
