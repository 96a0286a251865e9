//! Stores scrub by themselves, one replica after another, and let those rest that are held.

use super::*;

impl World {
    pub(super) fn hold_scrub(&mut self, on: &StoreId, volume: VolumeId) {
        let Some(store) = self.stores.get_mut(on).filter(|store| store.is_up) else { return };
        if let Some(replica) = store.replicas.get_mut(&volume) {
            replica.is_held = true;
            store.reading.take_if(|reading| *reading == volume);
            self.hints.held.insert((volume, on.clone()));
        }
    }

    /// The keeper forgets that scrubs are held before the stores do.
    pub(in crate::keeper::plan) fn lapse(&mut self) {
        self.hints.held.clear();
        let replicas = self.stores.values_mut().flat_map(|store| store.replicas.values_mut());
        replicas.for_each(|replica| replica.is_held = false);
    }

    /// A store is through with what it reads, or begins to read what is due.
    pub(in crate::keeper::plan) fn scrub(&mut self, on: &StoreId) {
        let Some(store) = self.stores.get_mut(on).filter(|store| store.is_up) else { return };
        if let Some(replica) =
            store.reading.take().and_then(|volume| store.replicas.get_mut(&volume))
        {
            replica.is_due = false;
            return;
        }
        let next = store.replicas.iter().find(|(_, replica)| replica.is_due && !replica.is_held);
        store.reading = next.map(|(volume, _)| *volume);
    }

    /// Stores take turns, and every now and then holds end.
    pub(super) fn scrub_some(&mut self, round: usize) {
        if round % 12 == 11 {
            self.lapse();
        }
        let stores: Vec<_> = self.stores.keys().cloned().collect();
        let Some(store) = stores.get(round % stores.len()) else { return };
        self.scrub(store);
    }

    pub(super) fn is_all_scrubbed(&self) -> bool {
        let up = self.stores.values().filter(|store| store.is_up);
        up.flat_map(|store| store.replicas.values()).all(|replica| !replica.is_due)
    }

    /// Of a volume that is well, one replica is read at a time.
    pub(super) fn assert_one_is_scrubbed(&mut self) {
        let plan = self.plan();
        for (volume, entry) in &self.map.volumes {
            let is_well = !plan.stuck.contains_key(volume)
                && plan.jobs.iter().all(|job| job.volume != *volume);
            let replicas = entry.value.replicas.iter();
            let reading = replicas.filter(|store| self.stores[*store].reading == Some(*volume));
            let reading: Vec<_> = reading.collect();
            assert!(!is_well || reading.len() <= 1, "{reading:?} scrub volume {volume} at once");
        }
    }

    /// While one replica is compacted none is read.
    pub(super) fn assert_no_scrub(&self, volume: VolumeId, held: &[StoreId]) {
        for on in &self.map.volumes[&volume].value.replicas {
            assert!(held.contains(on), "{on} does not go on resting");
            let store = &self.stores[on];
            assert!(store.reading != Some(volume), "{on} scrubs volume {volume}");
        }
    }
}
