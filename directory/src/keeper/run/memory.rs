//! What the leader remembers from round to round, to plan with. It is lost with the lead: whoever
//! leads meanwhile may have undone it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hayrick_store::scrub::SCRUB_HOLD;
use hayrick_store::{Epoch, VolumeId};
use tokio::time::Instant;

use crate::keeper::plan::{Hints, Job, Step, Work};
use crate::{ClusterMap, Order, StoreId};

/// When needles that nobody could give are looked for again.
const MEND_AGAIN: Duration = Duration::from_hours(1);
/// Scrubs that are to go on resting are told so in time.
const HOLD_AGAIN: Duration = Duration::from_secs(SCRUB_HOLD.as_secs() / 2);

/// A volume's replica, by its store.
type Place = (VolumeId, StoreId);

#[derive(Default)]
pub(super) struct Memory {
    hints: Hints,
    mended: BTreeMap<Place, Instant>,
    held: BTreeMap<Place, Instant>,
}

impl Memory {
    /// What is remembered that is still of use with this map.
    pub(super) fn hints(&mut self, map: &ClusterMap, unlike: BTreeSet<VolumeId>) -> &Hints {
        self.mended.retain(|_, at| at.elapsed() < MEND_AGAIN);
        self.held.retain(|_, at| at.elapsed() < HOLD_AGAIN);
        let is_of_now = |volume: &VolumeId, epoch: Epoch| {
            map.volumes.get(volume).is_some_and(|entry| entry.value.epoch == epoch.get())
        };
        let hints = &mut self.hints;
        hints.mended = self.mended.keys().cloned().collect();
        hints.held = self.held.keys().cloned().collect();
        hints.unlike = unlike;
        hints.fenced.retain(|(volume, _, epoch)| is_of_now(volume, *epoch));
        hints.filled.retain(|(volume, _, epoch)| is_of_now(volume, *epoch));
        hints.repaired.retain(|order| map.orders.contains_key(order));
        hints
    }

    /// A step was taken to its end.
    pub(super) fn note(&mut self, job: Job) {
        let volume = job.volume;
        match job.step {
            Step::Fence { on, epoch } => {
                self.hints.fenced.extend(on.into_iter().map(|store| (volume, store, epoch)));
            }
            Step::Hold { on } => {
                let now = Instant::now();
                self.held.extend(on.into_iter().map(|store| ((volume, store), now)));
            }
            Step::Sync { fills, .. } => {
                let filled = fills.into_iter().map(|fill| (volume, fill.on, job.epoch));
                self.hints.filled.extend(filled);
                self.note_checked(volume, job.work);
            }
            Step::Create { .. } | Step::Change(_) | Step::Remove { .. } | Step::Compact { .. } => {}
        }
    }

    fn note_checked(&mut self, volume: VolumeId, work: Work) {
        match work {
            Work::Mend { on } => drop(self.mended.insert((volume, on), Instant::now())),
            Work::Repair => drop(self.hints.repaired.insert(Order::Repair { volume }.id())),
            _ => {}
        }
    }
}
