//! Growth: asks the stores how they are, tells placement, and makes new volumes
//! before the writable ones are full.

mod spread;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future;
use hayrick_store::{Epoch, VolumeId};
use tokio::time::Instant;

use self::spread::spread;
use crate::backoff::Backoff;
use crate::config::GrowthConfig;
use crate::placement::{Placement, Room};
use crate::reports::LastReports;
use crate::{
    ClusterMap, Coordinator, DirectoryError, StoreId, StoreReport, Stores, SystemClock, Volume,
    WallClock as _,
};

/// A volume has room while at least one part in this many of it is free.
const ROOM_PART: u64 = 20;
/// The epoch of a new volume.
const FIRST_EPOCH: Epoch = Epoch::new(Volume::FIRST_EPOCH);
/// The most volumes made in one step, so that no mistake makes them without end.
const MAX_PER_STEP: usize = 16;

/// By store, what it reported; stores that did not answer are missing.
type Reports = BTreeMap<StoreId, StoreReport>;

/// Keeps enough writable volumes.
pub(crate) struct Grower {
    coordinator: Arc<dyn Coordinator>,
    stores: Arc<dyn Stores>,
    placement: Arc<Placement>,
    config: GrowthConfig,
    /// Stores on which making a volume failed.
    refused: Backoff<StoreId>,
    /// Set while volumes are needed and every store says that it is full.
    full: Arc<AtomicBool>,
    last_step: Option<Instant>,
    seen: Arc<LastReports>,
}

/// What to do about one number of copies.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// There are enough volumes.
    Enough,
    /// Make one here.
    Create(Vec<StoreId>),
    /// One is needed, but there are too few stores to take it.
    Stuck {
        /// Every store answered, there are enough of them, and too few have room.
        full: bool,
    },
}

impl Grower {
    pub(crate) fn new(
        coordinator: Arc<dyn Coordinator>,
        stores: Arc<dyn Stores>,
        placement: Arc<Placement>,
        full: Arc<AtomicBool>,
        config: GrowthConfig,
    ) -> Self {
        let refused = Backoff::new(Duration::from_secs(2), Duration::from_mins(5));
        Self {
            coordinator,
            stores,
            placement,
            config,
            refused,
            full,
            last_step: None,
            seen: Arc::default(),
        }
    }

    /// What the stores said last, now and later.
    pub(crate) fn seen(&self) -> Arc<LastReports> {
        Arc::clone(&self.seen)
    }

    /// How long ago the last step ended; `None` before the first.
    pub(crate) fn idle_for(&self) -> Option<Duration> {
        self.last_step.map(|last| last.elapsed())
    }

    /// Looks at all stores once, and makes the volumes that are missing.
    pub(crate) async fn step(&mut self) {
        let mut full = false;
        for _ in 0..MAX_PER_STEP {
            let reports = self.ask_stores().await;
            let map = self.coordinator.map();
            let rooms = rooms(&map, &reports);
            metrics::gauge!("hayrick_writable_volumes").set(to_f64(rooms.len()));
            self.placement.set_rooms(rooms.clone(), Instant::now());
            let plans = copies_in_use(&map).into_iter().map(|n| self.plan(n, &rooms, &reports));
            let plans: Vec<_> = plans.collect();
            full = plans.contains(&Plan::Stuck { full: true });
            let Some(stores) = plans.into_iter().find_map(Plan::into_stores) else { break };
            if let Err(error) = self.create(&stores).await {
                // The map refuses changes; asking again at once would not help.
                tracing::error!(%error, "no volume made");
                break;
            }
        }
        self.full.store(full, Ordering::Release);
        self.last_step = Some(Instant::now());
    }

    async fn ask_stores(&self) -> Reports {
        let ids = self.stores.ids();
        let asked = ids.iter().map(|store| async move {
            let answer = self.stores.status(store).await;
            (store.clone(), answer)
        });
        let mut reports = Reports::new();
        for (store, answer) in future::join_all(asked).await {
            match answer {
                Ok(report) => drop(reports.insert(store, report)),
                Err(error) => tracing::warn!(%store, %error, "store did not report"),
            }
        }
        self.seen.note(&ids, &reports, SystemClock.now_ms());
        reports
    }

    fn plan(&self, copies: usize, rooms: &BTreeMap<VolumeId, Room>, reports: &Reports) -> Plan {
        let fits = |room: &&Room| room.copies == copies && room.is_well;
        let own: Vec<_> = rooms.values().filter(fits).collect();
        if is_enough(&own, &self.config) {
            return Plan::Enough;
        }
        self.place(copies, reports)
    }

    /// Where a new volume goes: on different racks and machines, and there on the stores that will
    /// have the most room.
    fn place(&self, copies: usize, reports: &Reports) -> Plan {
        let map = self.coordinator.map();
        let mut candidates: Vec<_> =
            reports.iter().filter(|(store, _)| !map.is_draining(store)).collect();
        let all_answered = self.stores.ids().len() == reports.len();
        let are_enough = candidates.len() >= copies;
        let least = self.config.min_disk_free_bytes.max(1);
        candidates.retain(|(_, report)| free_bytes(report) >= least);
        let full = all_answered && are_enough && candidates.len() < copies;
        let waits = |store: &StoreId| self.refused.waits(store) || map.ill.contains_key(store);
        candidates.retain(|(store, _)| !waits(store));
        candidates.sort_by_key(|(_, report)| Reverse(unpromised_bytes(report)));
        let place = |id| map.stores.get(id).map(|known| (&known.rack, &known.host));
        let candidates: Vec<_> = candidates.into_iter().map(|(id, _)| (id, place(id))).collect();
        let chosen = spread(&candidates, copies);
        if chosen.len() == copies { Plan::Create(chosen) } else { Plan::Stuck { full } }
    }

    /// Makes a volume whether one is needed or not.
    pub(crate) async fn create_one(&mut self, copies: usize) -> Result<VolumeId, DirectoryError> {
        let reports = self.ask_stores().await;
        match self.place(copies, &reports) {
            Plan::Create(stores) => {
                let made = self.create(&stores).await?;
                made.ok_or(DirectoryError::NoWritableVolume { size_bytes: 0 })
            }
            Plan::Stuck { full: true } => Err(DirectoryError::Full),
            Plan::Stuck { full: false } | Plan::Enough => {
                Err(DirectoryError::NoWritableVolume { size_bytes: 0 })
            }
        }
    }

    /// Makes a volume with a fresh id: on the stores first, then on the map. A crash
    /// between leaves an id that nobody uses, never one with two contents.
    /// `None` if a store did not take it; the log says why.
    async fn create(&mut self, replicas: &[StoreId]) -> Result<Option<VolumeId>, DirectoryError> {
        let volume = self.coordinator.reserve_volume_id().await?;
        let made =
            replicas.iter().map(|store| self.stores.create_volume(store, volume, FIRST_EPOCH));
        let mut all_made = true;
        for (store, made) in replicas.iter().zip(future::join_all(made).await) {
            if let Err(error) = made {
                tracing::warn!(%store, %volume, %error, "volume not made");
                self.refused.failed(store.clone());
                all_made = false;
            }
        }
        if all_made && self.is_writable(volume, replicas).await {
            self.coordinator.publish_volume(volume, Volume::new(replicas.to_vec())).await?;
            metrics::counter!("hayrick_volumes_created_total").increment(1);
            tracing::info!(%volume, ?replicas, "volume made");
            return Ok(Some(volume));
        }
        Ok(None)
    }

    /// Asks whether a volume just made takes appends. One that does not would be
    /// missed at once and made again, without end.
    async fn is_writable(&mut self, volume: VolumeId, replicas: &[StoreId]) -> bool {
        let asked = replicas.iter().map(|store| self.stores.status(store));
        let mut all_writable = true;
        for (store, answer) in replicas.iter().zip(future::join_all(asked).await) {
            let writable = answer.is_ok_and(|report| {
                report.volumes.iter().any(|own| own.volume == volume && own.writable)
            });
            if writable {
                self.refused.succeeded(store);
            } else {
                tracing::warn!(%store, %volume, "new volume is not writable");
                self.refused.failed(store.clone());
                all_writable = false;
            }
        }
        all_writable
    }
}

impl Plan {
    fn into_stores(self) -> Option<Vec<StoreId>> {
        match self {
            Self::Create(stores) => Some(stores),
            Self::Enough | Self::Stuck { .. } => None,
        }
    }
}

/// The volumes that may take needles: writable on the map and on all their stores.
/// A store that did not answer makes its volumes unwritable, never writable.
fn rooms(map: &ClusterMap, reports: &Reports) -> BTreeMap<VolumeId, Room> {
    let by_volume: BTreeMap<(&StoreId, VolumeId), _> = reports
        .iter()
        .flat_map(|(store, report)| report.volumes.iter().map(move |v| ((store, v.volume), v)))
        .collect();
    let room = |id: VolumeId, volume: &Volume| {
        let mut room: Option<Room> = None;
        for store in &volume.replicas {
            let report = by_volume.get(&(store, id)).filter(|report| report.writable)?;
            let free_bytes = report.limit_bytes.saturating_sub(report.file_bytes);
            let least = room.map_or((u64::MAX, u64::MAX), |r| (r.free_bytes, r.limit_bytes));
            room = Some(Room {
                copies: volume.replicas.len(),
                free_bytes: free_bytes.min(least.0),
                limit_bytes: report.limit_bytes.min(least.1),
                is_well: map.is_well(volume),
            });
        }
        room
    };
    map.volumes
        .iter()
        .filter(|(_, volume)| takes_needles(map, &volume.value))
        .filter_map(|(&id, volume)| Some((id, room(id, &volume.value)?)))
        .collect()
}

/// What is added to a store that is being emptied would have to be moved again.
fn takes_needles(map: &ClusterMap, volume: &Volume) -> bool {
    volume.takes_needles() && !volume.replicas.iter().any(|store| map.is_draining(store))
}

fn is_enough(rooms: &[&Room], config: &GrowthConfig) -> bool {
    let has_room = |room: &&&Room| room.free_bytes > room.limit_bytes / ROOM_PART;
    let total = |bytes: fn(&Room) -> u64| rooms.iter().map(|room| u128::from(bytes(room))).sum();
    let (free, limit): (u128, u128) = (total(|r| r.free_bytes), total(|r| r.limit_bytes));
    rooms.iter().filter(has_room).count() >= config.min_writable_volumes
        && free * 100 >= limit * u128::from(config.min_free_percent)
}

fn copies_in_use(map: &ClusterMap) -> BTreeSet<usize> {
    map.buckets.values().map(|bucket| usize::from(bucket.value.copies)).collect()
}

/// The room on the store's roomiest disk: a volume lies on one disk.
fn free_bytes(report: &StoreReport) -> u64 {
    let writable = report.disks.iter().filter(|disk| disk.writable);
    writable.map(|disk| disk.free_bytes).max().unwrap_or(0)
}

/// The room that is left once the volumes are full that take needles now. Stores whose disks are as
/// empty, or the same, take turns by it.
fn unpromised_bytes(report: &StoreReport) -> i128 {
    let filling = report.volumes.iter().filter(|volume| volume.writable);
    let promised = filling.map(|v| i128::from(v.limit_bytes.saturating_sub(v.file_bytes)));
    i128::from(free_bytes(report)) - promised.sum::<i128>()
}

fn to_f64(volumes: usize) -> f64 {
    f64::from(u32::try_from(volumes).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
