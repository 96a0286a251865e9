//! Stores in this process, each with a session and a socket of its own.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use hayrick_directory::keeper::KeeperStatus;
use hayrick_directory::zookeeper::{
    Registered, Registration, ZooKeeperConfig, ZooKeeperCoordinator,
};
use hayrick_directory::{Coordinator as _, Keeper, KeeperConfig, StoreId, StorePool, Volume};
use hayrick_service::Shutdown;
use hayrick_service::client::{Client, ClientOptions};
use hayrick_service::config::{ByteSize, Span};
use hayrick_service::listen::{ListenOptions, serve};
use hayrick_store::config::StoreConfig;
use hayrick_store::status::VolumeStatus;
use hayrick_store::{Cookie, Epoch, Key, Meta, NeedleId, NewNeedle, Store, StoreHandle, VolumeId};
use hayrick_testkit::ZooKeeper;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Long enough for a machine under load.
const PATIENCE: Duration = Duration::from_mins(2);

pub struct World {
    zookeeper: ZooKeeper,
    folder: TempDir,
    pub coordinator: Arc<ZooKeeperCoordinator>,
    machines: BTreeMap<StoreId, Machine>,
}

/// A store that runs.
struct Machine {
    store: Arc<Store>,
    shutdown: Shutdown,
    server: JoinHandle<()>,
    // The session ends with the coordinator, and the registration before.
    _registered: Registered,
    _coordinator: ZooKeeperCoordinator,
}

/// A keeper that leads or stands by.
pub struct Running {
    keeper: Keeper,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

pub fn id(store: &str) -> StoreId {
    store.parse().unwrap()
}

pub fn vid(volume: u32) -> VolumeId {
    VolumeId::new(volume).unwrap()
}

/// Quick in everything.
pub fn config() -> KeeperConfig {
    KeeperConfig {
        interval: Span::millis(100),
        grace: Span::millis(500),
        min_free: ByteSize::new(0),
        good_rounds: 2,
        differ: Span::millis(500),
        ..KeeperConfig::default()
    }
}

fn needle_id(volume: u32, key: u64) -> NeedleId {
    NeedleId::new(vid(volume), Key::new(key), Cookie::new(9))
}

fn needle(key: u64) -> NewNeedle {
    let data = Bytes::from(format!("{key} ").repeat(200));
    NewNeedle { key: Key::new(key), cookie: Cookie::new(9), meta: Meta::default(), data }
}

/// The key that a needle's bytes tell.
pub fn key(bytes: Vec<u8>) -> u64 {
    String::from_utf8(bytes).unwrap().split(' ').next().unwrap().parse().unwrap()
}

async fn join(zookeeper: &ZooKeeper) -> ZooKeeperCoordinator {
    let config = ZooKeeperConfig::new(format!("{}/hayrick", zookeeper.address()));
    let config = ZooKeeperConfig { session_timeout_ms: 2_000, ..config };
    ZooKeeperCoordinator::open(config, None).await.unwrap()
}

impl World {
    /// Stores `s1`, `s2` and so on, each in a rack of its own.
    pub async fn start(stores: usize) -> Self {
        let (zookeeper, folder) = (ZooKeeper::start(), tempfile::tempdir().unwrap());
        let coordinator = Arc::new(join(&zookeeper).await);
        let mut world = Self { zookeeper, folder, coordinator, machines: BTreeMap::new() };
        for number in 1..=stores {
            world.restart(&format!("s{number}")).await;
        }
        world
    }

    fn disk(&self, store: &str) -> PathBuf {
        self.folder.path().join(store)
    }

    /// Starts a store with what is on its disk.
    pub async fn restart(&mut self, name: &str) {
        let (min_free, disks) = (ByteSize::new(0), vec![self.disk(name)]);
        // The keeper compacts.
        let config = StoreConfig {
            disks,
            min_free,
            compact_at_garbage_ratio: 0.0,
            // After a step of 4 MiB a scrub rests for a minute.
            scrub_max_rate: ByteSize::kib(64),
            ..StoreConfig::default()
        };
        let cluster = self.coordinator.map().cluster_id;
        let store = Store::open(cluster, config.check().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (router, shutdown) =
            (hayrick_store::http::data::app(Arc::clone(&store)), Shutdown::new());
        let serving = serve(listener, router, ListenOptions::named("internal"), shutdown.clone());
        let server = tokio::spawn(serving);
        let coordinator = join(&self.zookeeper).await;
        let (rack, disks) = (format!("r-{name}").parse().unwrap(), Vec::new());
        let registration = Registration { store: id(name), rack, host: None, address, disks };
        let registered = coordinator.register(registration).await.unwrap();
        let machine =
            Machine { store, shutdown, server, _registered: registered, _coordinator: coordinator };
        self.machines.insert(id(name), machine);
        self.eventually("the store is seen", |world| !world.is_away(name)).await;
    }

    /// Ends a store; its data stays.
    pub async fn stop(&mut self, name: &str) {
        let Machine { store, shutdown, server, .. } = self.machines.remove(&id(name)).unwrap();
        shutdown.trigger();
        server.await.unwrap();
        store.close().await;
    }

    pub fn wipe(&self, name: &str) {
        std::fs::remove_dir_all(self.disk(name)).unwrap();
    }

    /// Overwrites the needles of a volume on a store's disk, which goes on running.
    pub fn spoil(&self, name: &str, volume: u32) {
        let path = self.disk(name).join(format!("{volume:010}.vol"));
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let size = file.metadata().unwrap().len();
        file.write_all_at(&vec![0xaa; usize::try_from(size - 4_096).unwrap()], 4_096).unwrap();
    }

    /// Keeps a store's scrub from finding anything.
    pub fn pause_scrub(&self, name: &str) {
        self.store(name).pause_scrub(true).unwrap();
    }

    /// Has a store read all that it has.
    pub fn scrub(&self, name: &str) {
        self.store(name).scrub_now(None).unwrap();
    }

    /// The stores that are scrubbing a volume now.
    pub fn scrubbing(&self, volume: u32) -> Vec<&str> {
        let replicas = self.machines.keys().filter(|store| {
            let own = self.find(store, volume).and_then(|own| own.scrub);
            own.is_some_and(|scrub| scrub.reading)
        });
        replicas.map(StoreId::as_str).collect()
    }

    /// What the map says of stores that are not well.
    pub fn is_ill(&self, name: &str) -> bool {
        self.coordinator.map().ill.contains_key(&id(name))
    }

    /// A keeper that stands for election.
    pub async fn keeper(&self, name: &str, config: KeeperConfig) -> Running {
        let coordinator = Arc::new(join(&self.zookeeper).await);
        let pool = StorePool::default();
        let http = Client::new(ClientOptions::default());
        tokio::spawn(pool.clone().follow(coordinator.subscribe(), http));
        let keeper = Keeper::new(Arc::clone(&coordinator) as _, pool, config).unwrap();
        let stop = CancellationToken::new();
        let candidacy = coordinator.campaign(name, None);
        let task = tokio::spawn(keeper.clone().run(candidacy, stop.clone()));
        Running { keeper, stop, task }
    }

    /// Makes a volume, as a directory does.
    pub async fn publish(&self, number: u32, stores: &[&str]) {
        let volume = self.coordinator.reserve_volume_id().await.unwrap();
        assert_eq!(volume, vid(number));
        let epoch = Epoch::new(Volume::FIRST_EPOCH);
        for store in stores {
            self.store(store).create_volume(volume, epoch).await.unwrap();
        }
        let replicas = stores.iter().map(|store| id(store)).collect();
        self.coordinator.publish_volume(volume, Volume::new(replicas)).await.unwrap();
    }

    fn store(&self, name: &str) -> &Arc<Store> {
        &self.machines[&id(name)].store
    }

    fn entry(&self, volume: u32) -> Volume {
        self.coordinator.map().volumes[&vid(volume)].value.clone()
    }

    pub fn replicas(&self, volume: u32) -> Vec<StoreId> {
        self.entry(volume).replicas
    }

    pub fn takes_needles(&self, volume: u32) -> bool {
        self.entry(volume).takes_needles()
    }

    /// Stores needles on all replicas, as a proxy does.
    pub async fn put_all(&self, volume: u32, keys: RangeInclusive<u64>) {
        let entry = self.entry(volume);
        for key in keys {
            for store in &entry.replicas {
                let store = &self.machines[store].store;
                store.put(vid(volume), Epoch::new(entry.epoch), vec![needle(key)]).await.unwrap();
            }
        }
    }

    /// Stores so many needles of 1 MiB on all replicas.
    pub async fn put_large(&self, volume: u32, keys: RangeInclusive<u64>) {
        let entry = self.entry(volume);
        for key in keys {
            for store in &entry.replicas {
                let needle = NewNeedle { data: vec![7; 1 << 20].into(), ..needle(key) };
                let store = &self.machines[store].store;
                store.put(vid(volume), Epoch::new(entry.epoch), vec![needle]).await.unwrap();
            }
        }
    }

    pub async fn put_on(&self, store: &str, volume: u32, key: u64) {
        let epoch = Epoch::new(self.entry(volume).epoch);
        self.store(store).put(vid(volume), epoch, vec![needle(key)]).await.unwrap();
    }

    pub async fn delete_on(&self, store: &str, volume: u32, key: u64) {
        let epoch = Epoch::new(self.entry(volume).epoch);
        assert!(self.store(store).delete(needle_id(volume, key), epoch).await.unwrap());
    }

    pub async fn delete(&self, volume: u32, key: u64) {
        for store in self.replicas(volume) {
            self.delete_on(store.as_str(), volume, key).await;
        }
    }

    pub async fn get(&self, store: &str, volume: u32, key: u64) -> Vec<u8> {
        let store = StoreHandle::Local(Arc::clone(self.store(store)));
        let size = needle(key).data.len() as u64;
        let read = store.read(needle_id(volume, key), 0..size).await.unwrap();
        read.try_collect::<Vec<_>>().await.unwrap().concat()
    }

    pub fn status(&self, store: &str, volume: u32) -> VolumeStatus {
        self.find(&id(store), volume).unwrap()
    }

    fn find(&self, store: &StoreId, volume: u32) -> Option<VolumeStatus> {
        let status = self.machines.get(store)?.store.status();
        status.volumes.into_iter().find(|own| own.volume == vid(volume))
    }

    pub fn volumes_on(&self, store: &str) -> usize {
        self.store(store).status().volumes.len()
    }

    pub fn is_away(&self, store: &str) -> bool {
        self.coordinator.map().stores.get(&id(store)).is_none_or(|known| known.member.is_none())
    }

    /// Whether all replicas of the set are there, at the map's epoch, whole, and hold the same.
    pub fn is_whole(&self, volume: u32) -> bool {
        use hayrick_store::status::VolumeState::Writable;
        let entry = self.entry(volume);
        let found = entry.replicas.iter().map(|store| self.find(store, volume));
        let Some(found) = found.collect::<Option<Vec<_>>>() else { return false };
        entry.joining.is_none()
            && found.iter().all(|own| own.state == Writable && own.epoch.get() == entry.epoch)
            && found.iter().all(|own| own.digest.is_some() && own.digest == found[0].digest)
    }

    /// Needles of a volume whose replicas hold the same.
    pub fn live(&self, volume: u32) -> u64 {
        assert!(self.is_whole(volume));
        self.find(&self.replicas(volume)[0], volume).unwrap().live_needles
    }

    pub async fn eventually(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let map = self.coordinator.map();
            panic!("never: {what}; volumes {:?}, orders {:?}", map.volumes, map.orders);
        }
    }
}

impl Running {
    pub fn status(&self) -> KeeperStatus {
        self.keeper.status()
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}
