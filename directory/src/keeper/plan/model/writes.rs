//! Clients' writes, which are on their way for as long as they like.

use super::*;

/// A write on its way: it goes to the replicas one after another, and counts once all took it.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) volume: VolumeId,
    pub(super) key: u64,
    pub(super) is_delete: bool,
    epoch: u64,
    left: Vec<StoreId>,
}

impl World {
    pub(super) fn begin(&mut self, number: usize, is_delete: bool) {
        let volume = vid(u32::try_from(number % self.map.volumes.len()).unwrap() + 1);
        let entry = &self.map.volumes[&volume].value;
        let wanted: Vec<_> = self.wanted(volume).collect();
        let key = if is_delete {
            let Some(key) = wanted.first() else { return };
            *key
        } else if entry.takes_needles() {
            self.next_key
        } else {
            return;
        };
        let (epoch, left) = (entry.epoch, entry.replicas.clone());
        self.next_key += 1;
        self.writes.push(Write { volume, key, is_delete, epoch, left });
    }

    /// One write reaches one more replica, or is refused.
    pub(super) fn deliver(&mut self, number: usize) {
        if self.writes.is_empty() {
            return;
        }
        let at = number % self.writes.len();
        let mut write = self.writes.remove(at);
        let on = write.left.remove(0);
        let accepted = self.accept(&on, write.volume, write.epoch);
        let accepted = accepted.filter(|own| write.is_delete || own.condition == Condition::Whole);
        match accepted {
            Some(replica) if write.is_delete => {
                replica.needles.remove(&write.key);
                replica.tombstones.insert(write.key);
            }
            Some(replica) => drop(replica.needles.insert(write.key)),
            // The client is told; a delete stays in the queue.
            None if write.is_delete => {
                let entry = &self.map.volumes[&write.volume].value;
                (write.epoch, write.left) = (entry.epoch, entry.replicas.clone());
                self.writes.push(write);
                return;
            }
            None => return,
        }
        if !write.left.is_empty() {
            return self.writes.push(write);
        }
        let book = if write.is_delete { &mut self.deleted } else { &mut self.acked };
        book.entry(write.volume).or_default().insert(write.key);
    }
}
