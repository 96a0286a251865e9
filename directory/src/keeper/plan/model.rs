//! The plan, carried out on a cluster in memory to which anything may happen: stores go and
//! come back, one is wiped, leaders change, writes are on their way for as long as they like.
//! Whatever the history, once stores are well the plan ends with full replication, and no
//! acknowledged needle was ever without a whole replica of the set.

use std::collections::{BTreeMap, BTreeSet};

use hayrick_service::config::ByteSize;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::coordinator::{KnownStore, Versioned};
use crate::keeper::view::{Condition, Replica, StoreView};

const STORES: usize = 6;
const RACKS: usize = 4;
const FREE: u64 = 1 << 30;

#[derive(Debug, Clone)]
pub(super) struct ModelReplica {
    pub(super) condition: Condition,
    pub(super) epoch: u64,
    pub(super) needles: BTreeSet<u64>,
    pub(super) tombstones: BTreeSet<u64>,
    pub(super) damaged: bool,
    pub(super) garbage_bytes: u64,
}

#[derive(Debug, Clone)]
pub(super) struct ModelStore {
    rack: usize,
    pub(super) is_up: bool,
    pub(super) is_lost: bool,
    pub(super) replicas: BTreeMap<VolumeId, ModelReplica>,
}

/// A write on its way: it goes to the replicas one after another, and counts once all took it.
#[derive(Debug, Clone)]
struct Write {
    volume: VolumeId,
    key: u64,
    is_delete: bool,
    epoch: u64,
    left: Vec<StoreId>,
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
            (
                id(number),
                ModelStore { rack, is_up: true, is_lost: false, replicas: BTreeMap::new() },
            )
        });
        let known = |number: usize| KnownStore {
            rack: format!("r{}", number % RACKS).parse().unwrap(),
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
        let (needles, tombstones) = (BTreeSet::new(), BTreeSet::new());
        let (damaged, garbage_bytes) = (false, 0);
        let replica =
            ModelReplica { condition, epoch, needles, tombstones, damaged, garbage_bytes };
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
        let rack = format!("r{}", store.rack).parse().unwrap();
        if !store.is_up {
            return StoreView::silent(rack, store.is_lost);
        }
        let replica = |replica: &ModelReplica| Replica {
            condition: replica.condition,
            epoch: Epoch::new(replica.epoch),
            digest: Some(format!("{:?}", replica.needles)),
            live_needles: replica.needles.len() as u64,
            file_bytes: self.bytes,
            live_bytes: self.bytes - replica.garbage_bytes,
            garbage_bytes: replica.garbage_bytes,
            last_append_ns: 0,
            damaged: u64::from(replica.damaged),
            disk: "/d".to_owned(),
            is_lost: store.is_lost,
        };
        let replicas = store.replicas.iter().map(|(v, own)| (*v, replica(own))).collect();
        StoreView {
            rack,
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
                self.stores.get_mut(on).unwrap().replicas.remove(&volume);
            }
            Step::Compact { on, through_ns, .. } => {
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

    /// All of the set are there, and have all that was acknowledged.
    fn assert_whole(&self, volume: VolumeId) {
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
    fn assert_one_is_whole(&self, volume: VolumeId) {
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
    fn wanted(&self, volume: VolumeId) -> impl Iterator<Item = u64> + '_ {
        let deleting = move |key: &u64| {
            let under_way = |w: &&Write| w.is_delete && w.volume == volume && w.key == *key;
            self.writes.iter().find(under_way).is_some()
                || self.deleted.get(&volume).is_some_and(|keys| keys.contains(key))
        };
        let acked = self.acked.get(&volume).into_iter().flatten();
        acked.copied().filter(move |key| !deleting(key))
    }

    /// No needle is without a whole replica of the set, there or away.
    fn assert_nothing_is_lost(&self) {
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

    fn begin(&mut self, number: usize, is_delete: bool) {
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
    fn deliver(&mut self, number: usize) {
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
        for _ in 0..400 {
            let plan = self.plan();
            plan.done.iter().for_each(|order| drop(self.map.orders.remove(order)));
            if plan.jobs.is_empty() && plan.done.is_empty() {
                assert!(plan.stuck.is_empty(), "{:?}", plan.stuck);
                return;
            }
            for job in &plan.jobs {
                self.take(job);
                self.assert_nothing_is_lost();
            }
        }
        panic!("no end to it: {:?}", self.plan().jobs);
    }

    fn assert_fully_replicated(&mut self, gone: Option<usize>) {
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

#[derive(Debug, Clone)]
enum Event {
    Put(usize),
    Delete(usize),
    Deliver(usize),
    /// Plans, and takes some of the steps.
    Steps(usize, usize),
    /// Another leads, and remembers nothing.
    NewLeader,
    Down(usize),
    Lost(usize),
    Up(usize),
    /// Only while all is well: it comes back empty, or never.
    Wipe(usize),
    Gone(usize),
    Damage(usize),
    Garbage(usize),
    Order(&'static str),
}

fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    let number = 0..STORES * 4;
    let orders = prop::sample::select(vec![
        "drain:s1",
        "move:1:s0:s4",
        "move:2:s1:s5",
        "copy:1:s5",
        "repair:2",
        "rebalance",
    ]);
    prop_oneof![
        4 => number.clone().prop_map(Put),
        2 => number.clone().prop_map(Delete),
        12 => number.clone().prop_map(Deliver),
        12 => (number.clone(), 1..4_usize).prop_map(|(at, count)| Steps(at, count)),
        2 => Just(NewLeader),
        2 => number.clone().prop_map(Down),
        3 => number.clone().prop_map(Lost),
        3 => number.clone().prop_map(Up),
        1 => number.clone().prop_map(Wipe),
        1 => number.clone().prop_map(Gone),
        1 => number.clone().prop_map(Damage),
        2 => number.clone().prop_map(Garbage),
        2 => orders.prop_map(Order),
    ]
}

/// Lets a history happen; answers which store is gone for good.
fn live(world: &mut World, events: &[Event]) -> Option<usize> {
    let mut gone = None;
    for event in events {
        match *event {
            Event::Put(number) => world.begin(number, false),
            Event::Delete(number) => world.begin(number, true),
            Event::Deliver(number) => world.deliver(number),
            Event::Steps(from, count) => {
                let plan = world.plan();
                let from = from % plan.jobs.len().max(1);
                for job in plan.jobs.iter().skip(from).take(count) {
                    world.take(job);
                }
            }
            Event::NewLeader => world.hints = Hints::default(),
            Event::Down(store) => world.stores.get_mut(&id(store % STORES)).unwrap().is_up = false,
            Event::Lost(store) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                store.is_lost = !store.is_up;
            }
            Event::Up(store) if gone != Some(store % STORES) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                (store.is_up, store.is_lost) = (true, false);
            }
            Event::Wipe(store) | Event::Gone(store) => {
                let number = store % STORES;
                let needed = world.holds_a_lone_replica(&id(number));
                if needed || gone.is_some() || !world.is_well() {
                    continue;
                }
                let store = world.stores.get_mut(&id(number)).unwrap();
                if matches!(event, Event::Wipe(_)) {
                    store.replicas.clear();
                } else {
                    (store.is_up, store.is_lost, gone) = (false, true, Some(number));
                }
            }
            Event::Damage(store) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                store.replicas.values_mut().for_each(|replica| replica.damaged = true);
            }
            Event::Garbage(store) => {
                let store = world.stores.get_mut(&id(store % STORES)).unwrap();
                store.replicas.values_mut().for_each(|replica| replica.garbage_bytes = 500);
            }
            Event::Order(order) => world.order(order),
            Event::Up(_) => {}
        }
        world.assert_nothing_is_lost();
    }
    gone
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happened_the_plan_ends_with_full_replication(
        events in prop::collection::vec(event(), 1..120),
        copies in prop::collection::vec(1..4_usize, 1..4),
    ) {
        let mut world = World::new(&copies);
        let gone = live(&mut world, &events);
        for (number, store) in world.stores.values_mut().enumerate() {
            store.is_up = gone != Some(number);
            store.is_lost = !store.is_up;
        }
        // An operator takes back what can never be.
        let largest = world.map.volumes.values().map(|entry| entry.value.replicas.len()).max();
        let crowded = largest.unwrap() + 1 >= STORES - 1 - usize::from(gone.is_some());
        let impossible = |order: &Order| match order {
            Order::Drain { .. } => crowded,
            Order::Move { to, .. } | Order::Copy { to, .. } => gone.map(id).as_ref() == Some(to),
            _ => false,
        };
        world.map.orders.retain(|_, order| !impossible(order));
        world.settle();
        // What is still on its way arrives, and deletes are tried until they are done.
        for _ in 0..200 {
            world.deliver(0);
        }
        prop_assert!(world.writes.is_empty());
        world.settle();
        world.assert_fully_replicated(gone);
    }
}
