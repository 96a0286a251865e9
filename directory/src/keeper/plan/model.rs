//! The plan, carried out on a cluster in memory to which anything may happen: stores go and
//! come back, one is wiped, leaders change, writes are on their way for as long as they like.
//! Whatever the history, once stores are well the plan ends with full replication, and no
//! acknowledged needle was ever without a whole replica of the set.

mod checks;
mod history;
mod scrubs;
mod writes;

use std::collections::{BTreeMap, BTreeSet};

use hayrick_service::config::ByteSize;
use hayrick_store::status::ScrubPass;
use uuid::Uuid;

use self::writes::Write;
use super::*;
use crate::Host;
use crate::coordinator::{KnownStore, Versioned};
use crate::keeper::view::{Condition, Replica, StoreView};

const STORES: usize = 6;
const RACKS: usize = 4;
const FREE: u64 = 1 << 30;
const PASS: ScrubPass = ScrubPass { started_ms: 0, done_bytes: 1, total_bytes: 2 };

#[derive(Debug, Clone)]
pub(super) struct ModelReplica {
    pub(super) condition: Condition,
    pub(super) epoch: u64,
    pub(super) needles: BTreeSet<u64>,
    pub(super) tombstones: BTreeSet<u64>,
    pub(super) damaged: bool,
    pub(super) garbage_bytes: u64,
    /// It was not scrubbed for a long time.
    pub(super) is_due: bool,
    /// Its scrub rests.
    pub(super) is_held: bool,
}

#[derive(Debug, Clone)]
pub(super) struct ModelStore {
    rack: usize,
    pub(super) is_up: bool,
    pub(super) is_lost: bool,
    pub(super) replicas: BTreeMap<VolumeId, ModelReplica>,
    /// What its scrub reads.
    pub(super) reading: Option<VolumeId>,
}

pub(super) struct World {
    pub(super) map: ClusterMap,
    pub(super) stores: BTreeMap<StoreId, ModelStore>,
    pub(super) hints: Hints,
    pub(super) config: KeeperConfig,
    /// The size of every volume file.
    pub(super) bytes: u64,
    writes: Vec<Write>,
    next_key: u64,
    acked: BTreeMap<VolumeId, BTreeSet<u64>>,
    /// Deletes that all replicas confirmed.
    deleted: BTreeMap<VolumeId, BTreeSet<u64>>,
}

pub(super) fn id(number: usize) -> StoreId {
    format!("s{number}").parse().unwrap()
}

pub(super) fn vid(number: u32) -> VolumeId {
    VolumeId::new(number).unwrap()
}

impl World {
    /// Volumes of so many replicas each, on stores beginning with that of their number.
    pub(super) fn new(copies: &[usize]) -> Self {
        let stores = (0..STORES).map(|number| {
            let rack = number % RACKS;
            let (replicas, reading) = (BTreeMap::new(), None);
            (id(number), ModelStore { rack, is_up: true, is_lost: false, replicas, reading })
        });
        let known = |number: usize| KnownStore {
            rack: format!("r{}", number % RACKS).parse().unwrap(),
            host: Host::from(&id(number)),
            since_ms: 0,
            member: None,
        };
        let mut map = ClusterMap::empty(Uuid::nil());
        map.stores = (0..STORES).map(|number| (id(number), known(number))).collect();
        let mut world = Self {
            map,
            stores: stores.collect(),
            hints: Hints::default(),
            config: KeeperConfig {
                min_free: ByteSize::new(0),
                compact_min_garbage: ByteSize::new(0),
                ..KeeperConfig::default()
            },
            bytes: 1_000,
            writes: Vec::new(),
            next_key: 1,
            acked: BTreeMap::new(),
            deleted: BTreeMap::new(),
        };
        for (number, copies) in copies.iter().enumerate() {
            let replicas: Vec<_> = (0..*copies).map(|at| id((number + at) % STORES)).collect();
            let volume = vid(u32::try_from(number).unwrap() + 1);
            for store in &replicas {
                world.replica(store, volume, 1, Condition::Whole);
            }
            let value = Volume::new(replicas);
            world.map.volumes.insert(volume, Versioned { revision: 1, value });
        }
        world
    }

    pub(super) fn replica(&mut self, on: &StoreId, v: VolumeId, epoch: u64, condition: Condition) {
        let replica = ModelReplica {
            condition,
            epoch,
            needles: BTreeSet::new(),
            tombstones: BTreeSet::new(),
            damaged: false,
            garbage_bytes: 0,
            is_due: false,
            is_held: false,
        };
        self.stores.get_mut(on).unwrap().replicas.insert(v, replica);
    }

    pub(super) fn volume(&self, number: u32) -> &Volume {
        &self.map.volumes[&vid(number)].value
    }

    pub(super) fn view(&self) -> View {
        let stores = self.stores.iter().map(|(id, store)| (id.clone(), self.seen(id, store)));
        View { stores: stores.collect() }
    }

    fn seen(&self, id: &StoreId, store: &ModelStore) -> StoreView {
        let known = &self.map.stores[id];
        if !store.is_up {
            return StoreView::silent(known, store.is_lost);
        }
        let replica = |volume: VolumeId, replica: &ModelReplica| Replica {
            condition: replica.condition,
            epoch: Epoch::new(replica.epoch),
            digest: Some(format!("{:?}", replica.needles)),
            live_needles: replica.needles.len() as u64,
            file_bytes: self.bytes,
            live_bytes: self.bytes - replica.garbage_bytes,
            garbage_bytes: replica.garbage_bytes,
            last_append_ns: 0,
            damaged: u64::from(replica.damaged),
            scrub: (store.reading == Some(volume)).then_some(PASS),
            is_scrub_ordered: false,
            disk: "/d".to_owned(),
            is_lost: store.is_lost,
        };
        let replicas = store.replicas.iter().map(|(v, own)| (*v, replica(*v, own))).collect();
        StoreView {
            rack: known.rack.clone(),
            host: known.host.clone(),
            is_well: true,
            is_draining: self.map.is_draining(id),
            is_lost: false,
            replicas: Some(replicas),
            free_bytes: FREE,
            total_bytes: FREE,
            failed_disk: None,
        }
    }

    pub(super) fn plan(&mut self) -> Plan {
        self.hints.unlike = self.map.volumes.keys().copied().collect();
        let view = self.view();
        plan(Facts { map: &self.map, view: &view, hints: &self.hints, config: &self.config })
    }

    pub(super) fn order(&mut self, text: &str) {
        let order: Order = text.parse().unwrap();
        self.map.orders.insert(order.id(), order);
    }

    /// Carries out a step as stores and coordinator do.
    pub(super) fn take(&mut self, job: &Job) {
        let volume = job.volume;
        match &job.step {
            Step::Fence { on, epoch } => {
                for store in on {
                    if self.accept(store, volume, epoch.get()).is_some() {
                        self.hints.fenced.insert((volume, store.clone(), *epoch));
                    }
                }
            }
            Step::Create { on, epoch } => {
                let there = self.stores[on].replicas.contains_key(&volume);
                if self.stores[on].is_up && !there {
                    self.replica(on, volume, epoch.get(), Condition::Copying);
                }
            }
            Step::Sync { fills, epoch, check } => {
                for fill in fills {
                    self.sync(volume, fill, epoch.get(), *check, job);
                }
                if job.work == Work::Repair {
                    self.hints.repaired.insert(Order::Repair { volume }.id());
                }
            }
            Step::Change(next) => {
                let entry = self.map.volumes.get_mut(&volume).unwrap();
                assert_eq!(entry.revision, job.revision);
                let same_set = next.replicas == entry.value.replicas;
                assert!(next.epoch > entry.value.epoch || same_set, "an epoch of its own");
                *entry = Versioned { revision: job.revision + 1, value: next.clone() };
            }
            Step::Remove { on, epoch } => {
                let entry = &self.map.volumes[&volume].value;
                assert!(!entry.replicas.contains(on), "{on} is in the set");
                assert_eq!(epoch.get(), entry.epoch);
                let known = self.stores[on].replicas[&volume].epoch;
                assert!(epoch.get() > known, "the store would refuse");
                if self.stores[on].replicas[&volume].condition != Condition::Copying {
                    self.assert_one_is_whole(volume);
                }
                let store = self.stores.get_mut(on).unwrap();
                store.replicas.remove(&volume);
                store.reading.take_if(|reading| *reading == volume);
            }
            Step::Hold { on } => on.iter().for_each(|store| self.hold_scrub(store, volume)),
            Step::Compact { on, through_ns, held, .. } => {
                self.assert_no_scrub(volume, held);
                if let Some(replica) = self.replica_mut(on, volume) {
                    replica.garbage_bytes = 0;
                    if through_ns.is_some() {
                        replica.tombstones.clear();
                    }
                }
            }
        }
    }

    fn replica_mut(&mut self, on: &StoreId, volume: VolumeId) -> Option<&mut ModelReplica> {
        let store = self.stores.get_mut(on).filter(|store| store.is_up)?;
        store.replicas.get_mut(&volume)
    }

    /// The replica, if it is there and knows no newer epoch.
    fn accept(&mut self, on: &StoreId, volume: VolumeId, epoch: u64) -> Option<&mut ModelReplica> {
        let replica = self.replica_mut(on, volume).filter(|replica| replica.epoch <= epoch)?;
        replica.epoch = epoch;
        Some(replica)
    }

    fn sync(&mut self, volume: VolumeId, fill: &Fill, epoch: u64, check: bool, job: &Job) {
        let mut sources = Vec::new();
        for from in &fill.from {
            let Some(source) = self.replica_mut(from, volume) else { return };
            sources.push((source.needles.clone(), source.tombstones.clone()));
        }
        let Some(replica) = self.accept(&fill.on, volume, epoch) else { return };
        for (needles, tombstones) in sources {
            replica.tombstones.extend(tombstones);
            replica.needles.extend(needles);
        }
        let gone = replica.tombstones.clone();
        replica.needles.retain(|key| !gone.contains(key));
        replica.damaged &= !check;
        if replica.condition == Condition::Copying {
            replica.condition = Condition::Whole;
        }
        self.hints.filled.insert((volume, fill.on.clone(), job.epoch));
    }

    fn is_well(&mut self) -> bool {
        let plan = self.plan();
        plan.jobs.is_empty()
            && plan.stuck.is_empty()
            && self.stores.values().all(|store| store.is_up)
    }

    /// A volume of one replica that goes is lost, and nothing can be done about it.
    fn holds_a_lone_replica(&self, store: &StoreId) -> bool {
        self.map.volumes.values().any(|entry| entry.value.replicas == [store.clone()])
    }

    /// Plans and takes steps until there are none.
    pub(super) fn settle(&mut self) {
        for round in 0..600 {
            self.scrub_some(round);
            let plan = self.plan();
            plan.done.iter().for_each(|order| drop(self.map.orders.remove(order)));
            if plan.jobs.is_empty() && plan.done.is_empty() && self.is_all_scrubbed() {
                assert!(plan.stuck.is_empty(), "{:?}", plan.stuck);
                return;
            }
            for job in &plan.jobs {
                self.take(job);
                self.assert_nothing_is_lost();
            }
            self.assert_one_is_scrubbed();
        }
        panic!("no end to it: {:?}", self.plan().jobs);
    }
}
