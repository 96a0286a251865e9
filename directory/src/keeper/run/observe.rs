//! Asks all stores how they are, and remembers what takes more than one look to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future;
use hayrick_store::status::StoreStatus;
use hayrick_store::{StoreError, StoreHandle, VolumeId};
use tokio::time::Instant;

use super::probe::Probe;
use crate::backoff::Backoff;
use crate::keeper::KeeperConfig;
use crate::keeper::health::{Health, Judge, Round, usual};
use crate::keeper::view::{Replica, StoreView, View, lasts};
use crate::{ClusterMap, KnownStore, StoreId, StorePool};

/// The longest that replicas which will not become alike are left alone.
const MAX_COMPARE_PAUSE: Duration = Duration::from_hours(1);

/// How a store answered.
struct Answer {
    status: Result<StoreStatus, StoreError>,
    took: Duration,
    /// Why a needle could not be read.
    fault: Option<String>,
}

/// What was seen, in this round and before.
pub(super) struct Observer {
    config: Arc<KeeperConfig>,
    judges: BTreeMap<StoreId, Judge>,
    view: View,
    failed_since: BTreeMap<(VolumeId, StoreId), Instant>,
    unlike_since: BTreeMap<VolumeId, Instant>,
    compared: Backoff<VolumeId>,
}

impl Observer {
    pub(super) fn new(config: Arc<KeeperConfig>) -> Self {
        let compared = Backoff::new(config.interval.duration() * 2, MAX_COMPARE_PAUSE);
        Self {
            config,
            judges: BTreeMap::new(),
            view: View::default(),
            failed_since: BTreeMap::new(),
            unlike_since: BTreeMap::new(),
            compared,
        }
    }

    /// One round. Stores that do not answer cost it no more than their client's timeout.
    pub(super) async fn look(&mut self, map: &ClusterMap, stores: &StorePool) {
        let asked = map.stores.keys().map(|id| async {
            let probe = Probe::choose(map, self.view.stores.get(id));
            (id.clone(), ask(id, stores.get(id), probe).await)
        });
        let answers: BTreeMap<_, _> = future::join_all(asked).await.into_iter().collect();
        self.judges.retain(|id, _| map.stores.contains_key(id));
        self.judge(&answers);
        let before = std::mem::take(&mut self.view);
        let seen = map.stores.iter().filter_map(|(id, known)| {
            Some((id.clone(), self.store_view(map, id, known, answers.get(id)?)))
        });
        self.view = View { stores: seen.collect() };
        self.note_failed_disks(map);
        self.note_failed();
        self.note_unlike(map, &before);
    }

    fn judge(&mut self, answers: &BTreeMap<StoreId, Answer>) {
        for (id, answer) in answers {
            let others =
                answers.iter().filter(|(other, answer)| *other != id && answer.status.is_ok());
            let usual = usual(others.map(|(_, answer)| answer.took).collect());
            let round = match (&answer.status, &answer.fault) {
                (Ok(_), None) => Round::Answered(answer.took),
                (Ok(_), Some(fault)) => Round::Faulty(fault.clone()),
                (Err(error), _) => Round::Silent(error.to_string()),
            };
            let judge = self.judges.entry(id.clone()).or_default();
            let before = judge.health();
            judge.note(round, usual, &self.config);
            let (health, reason) = (judge.health(), judge.reason().unwrap_or_default());
            match health {
                _ if health == before => {}
                Health::Well => tracing::info!(store = %id, "store is well again"),
                Health::Ill => tracing::warn!(store = %id, reason, "store is ill"),
                Health::Away => tracing::warn!(store = %id, reason, "store is away"),
            }
        }
    }

    fn store_view(
        &self,
        map: &ClusterMap,
        id: &StoreId,
        known: &KnownStore,
        answer: &Answer,
    ) -> StoreView {
        let judge = self.judges.get(id);
        let Ok(status) = &answer.status else {
            let away_since = judge.and_then(Judge::away_since);
            let is_lost = lasts(away_since, self.config.grace.duration());
            return StoreView::silent(known, is_lost);
        };
        StoreView {
            is_well: judge.is_some_and(|judge| judge.health() == Health::Well),
            is_draining: map.is_draining(id),
            ..StoreView::answering(known, status)
        }
    }

    /// Volumes that a store with a failed disk does not tell of are not missing: they may be
    /// there, and come back with the disk.
    fn note_failed_disks(&mut self, map: &ClusterMap) {
        for (&volume, entry) in &map.volumes {
            for store in &entry.value.replicas {
                if let Some(seen) = self.view.stores.get_mut(store) {
                    seen.expect(volume);
                }
            }
        }
    }

    /// A replica that failed gets as long as a store that is away.
    fn note_failed(&mut self) {
        let mut failed = BTreeMap::new();
        for (store, seen) in &mut self.view.stores {
            for (&volume, replica) in seen.replicas.iter_mut().flatten() {
                if replica.is_failed() {
                    let at = (volume, store.clone());
                    let since = self.failed_since.get(&at).copied().unwrap_or_else(Instant::now);
                    replica.is_lost = lasts(Some(since), self.config.grace.duration());
                    failed.insert(at, since);
                }
            }
        }
        self.failed_since = failed;
    }

    /// Replicas that differ are to be compared once they stand still, or do not come together
    /// by themselves: what is being written reaches one replica before the other.
    fn note_unlike(&mut self, map: &ClusterMap, before: &View) {
        let mut unlike = BTreeMap::new();
        for (&volume, entry) in &map.volumes {
            let replicas = replicas(&self.view, &entry.value.replicas, volume);
            let Some((_, first)) = replicas.first() else { continue };
            if replicas.iter().all(|(_, other)| first.equals(other)) {
                self.compared.succeeded(&volume);
                continue;
            }
            let still = replicas.iter().all(|(store, replica)| {
                let before = before.stores.get(*store).and_then(|seen| seen.replicas.as_ref());
                let before = before.and_then(|own| own.get(&volume));
                before.is_some_and(|before| replica.stands_still(before))
            });
            let long_ago = Instant::now().checked_sub(self.config.differ.duration());
            let since = self.unlike_since.get(&volume).copied().unwrap_or_else(Instant::now);
            unlike.insert(volume, if still { long_ago.unwrap_or(since) } else { since });
        }
        self.unlike_since = unlike;
    }

    /// Volumes whose replicas are to be compared now.
    pub(super) fn unlike(&self) -> BTreeSet<VolumeId> {
        let limit = self.config.differ.duration();
        let due = self
            .unlike_since
            .iter()
            .filter(|(volume, since)| lasts(Some(**since), limit) && !self.compared.waits(volume));
        due.map(|(volume, _)| *volume).collect()
    }

    /// The replicas of a volume have been compared; if they still differ, they are left alone
    /// for longer each time.
    pub(super) fn compared(&mut self, volume: VolumeId) {
        self.compared.failed(volume);
    }

    pub(super) fn view(&self) -> &View {
        &self.view
    }

    pub(super) fn config(&self) -> &KeeperConfig {
        &self.config
    }

    pub(super) fn judges(&self) -> &BTreeMap<StoreId, Judge> {
        &self.judges
    }
}

/// Asks a store how it is, and for a needle.
async fn ask(id: &StoreId, store: Option<StoreHandle>, probe: Option<Probe>) -> Answer {
    let began = Instant::now();
    let Some(store) = store else {
        let reason = "nobody knows its address".to_owned();
        let status = Err(StoreError::Unavailable { store: id.to_string(), reason });
        return Answer { status, took: Duration::ZERO, fault: None };
    };
    let (status, took) = (store.status().await, began.elapsed());
    let fault = match probe.filter(|_| status.is_ok()) {
        Some(probe) => probe.read(&store).await.err(),
        None => None,
    };
    Answer { status, took, fault }
}

/// The replicas of a set that answered.
fn replicas<'a>(
    view: &'a View,
    set: &'a [StoreId],
    volume: VolumeId,
) -> Vec<(&'a StoreId, &'a Replica)> {
    let replica = |store: &'a StoreId| {
        let own = view.stores.get(store)?.replicas.as_ref()?;
        Some((store, own.get(&volume)?))
    };
    set.iter().filter_map(replica).collect()
}
