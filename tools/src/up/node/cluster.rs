//! A role of its own, in a cluster of many processes that agree through ZooKeeper.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hayrick_directory::zookeeper::{Registered, Registration, ZooKeeperCoordinator};
use hayrick_directory::{
    Background, ClusterMap, Coordinator as _, Directory, DirectoryClient, DirectoryHandle,
    HybridClock, Keeper, MemberDisk, Parts, StorePool, SystemClock, open_names,
};
use hayrick_proxy::Proxy;
use hayrick_service::client::{Client, ClientOptions};
use hayrick_store::Store;
use hayrick_store::config::StoreOptions;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::config::{ClusterConfig, Settings};
use crate::failure::Failure;
use crate::up::folder::DataFolder;
use crate::up::listeners::Apps;

/// Peers are near, and their kernels answer at once.
const PEER_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that hangs holds up whoever asked it for so long, until its health is known. A disk
/// that is only busy has synced by then.
const PEER_ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// A store of a cluster.
pub struct StoreNode {
    coordinator: Arc<ZooKeeperCoordinator>,
    store: Arc<Store>,
    registered: Registered,
    following: JoinHandle<()>,
}

/// A directory of a cluster.
pub struct DirectoryNode {
    /// Where volumes and names are.
    pub directory: Directory,
    background: Background,
    stop_background: CancellationToken,
    following: JoinHandle<()>,
    registered: Registered,
}

/// A proxy of a cluster.
pub struct ProxyNode {
    coordinator: Arc<ZooKeeperCoordinator>,
    proxy: Arc<Proxy>,
    following: JoinHandle<()>,
}

/// A keeper of a cluster, which leads or stands by.
pub struct KeeperNode {
    coordinator: Arc<ZooKeeperCoordinator>,
    keeper: Keeper,
    running: JoinHandle<()>,
    stop: CancellationToken,
    following: JoinHandle<()>,
}

impl StoreNode {
    /// Opens the volumes of the cluster, and then lets the cluster know.
    pub async fn open(
        settings: &Settings,
        folder: &DataFolder,
        internal: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let config = cluster(settings)?;
        let id = config.store.clone().ok_or_else(|| {
            missing("cluster.store", "name this store: one name in the cluster, for good")
        })?;
        let address = config.reached_at(internal)?;
        let coordinator = join(config, folder).await?;
        let cluster = coordinator.map().cluster_id;
        let options = store_options(settings);
        let opened = spawn_blocking(move || Store::open(cluster, options)).await;
        let opened = opened.map_err(|error| Failure::failed(format!("loading died: {error}")))?;
        let store = opened.map_err(|error| Failure::failed(error.to_string()))?;
        let disks = store.status().disks.into_iter();
        let disks = disks.map(|disk| MemberDisk { path: disk.path, total_bytes: disk.total_bytes });
        let (rack, host, disks) = (config.rack.clone(), config.host.clone(), disks.collect());
        let registration = Registration { store: id, rack, host, address, disks };
        let registered = coordinator.register(registration).await.map_err(refused)?;
        let following = tokio::spawn(leave_to_keeper(Arc::clone(&store), coordinator.subscribe()));
        Ok(Self { coordinator, store, registered, following })
    }

    /// The store's two interfaces.
    pub fn apps(&self) -> Apps {
        Apps {
            public: None,
            internal: Some(hayrick_store::http::data::app(Arc::clone(&self.store))),
            admin: hayrick_store::http::admin::router(Arc::clone(&self.store)).into(),
        }
    }

    /// What the cluster agrees on.
    pub fn map(&self) -> Arc<ClusterMap> {
        self.coordinator.map()
    }

    /// Leaves the cluster, syncs every volume and saves the indexes.
    pub async fn close(self) {
        leave(self.registered).await;
        self.following.abort();
        self.store.close().await;
    }
}

impl DirectoryNode {
    /// Opens the names, makes the volumes that are missing, and then lets the proxies know.
    pub async fn open(
        settings: &Settings,
        folder: &DataFolder,
        internal: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let config = cluster(settings)?;
        let address = config.reached_at(internal)?;
        let coordinator = join(config, folder).await?;
        let (stores, following) = follow(settings, &coordinator);
        let (path, map) = (folder.directory(), coordinator.map());
        let names = open_names(&path, &settings.directory, &map).await;
        let names = names.map_err(|error| Failure::failed(error.to_string()))?;
        let directory = Directory::new(Parts {
            coordinator: Arc::clone(&coordinator) as _,
            names,
            stores: Arc::new(stores),
            clock: HybridClock::new(SystemClock, 0),
            config: settings.directory.clone(),
        })
        .await
        .map_err(|error| Failure::failed(format!("directory: {error}")))?;
        let registered = coordinator.register_directory(address).await.map_err(refused)?;
        let stop_background = CancellationToken::new();
        let background = directory.spawn_background(&stop_background);
        Ok(Self { directory, background, stop_background, following, registered })
    }

    /// The directory's two interfaces.
    pub fn apps(&self) -> Apps {
        Apps {
            public: None,
            internal: Some(hayrick_directory::http::data::router(self.directory.clone()).into()),
            admin: hayrick_directory::http::admin::router(self.directory.clone()).into(),
        }
    }

    /// Leaves the cluster, and ends the background work.
    pub async fn close(self) {
        leave(self.registered).await;
        self.stop_background.cancel();
        self.background.finished().await;
        self.following.abort();
    }
}

impl ProxyNode {
    /// Starts the image threads; everything else is asked for when it is needed.
    pub async fn open(settings: &Settings, folder: &DataFolder) -> Result<Self, Failure> {
        let config = cluster(settings)?;
        let servers = config.directories.iter().map(|address| format!("http://{address}"));
        let coordinator = join(config, folder).await?;
        let (stores, following) = follow(settings, &coordinator);
        let clock = HybridClock::new(SystemClock, 0);
        let known = Arc::clone(&coordinator) as _;
        let directory = DirectoryClient::new(servers.collect(), peers(settings), known, clock);
        let directory = DirectoryHandle::Remote(directory);
        let proxy = Proxy::start(directory, stores, settings.proxy.clone())
            .await
            .map_err(|error| Failure::failed(format!("proxy: {error}")))?;
        Ok(Self { coordinator, proxy, following })
    }

    /// The public door.
    pub fn apps(&self) -> Apps {
        Apps {
            public: Some(hayrick_proxy::app(Arc::clone(&self.proxy))),
            internal: None,
            admin: axum::Router::new().into(),
        }
    }

    /// What the cluster agrees on.
    pub fn map(&self) -> Arc<ClusterMap> {
        self.coordinator.map()
    }

    /// Ends the image threads.
    pub async fn close(self) {
        self.proxy.stop().await;
        self.following.abort();
    }
}

async fn leave(registered: Registered) {
    if let Err(error) = registered.leave().await {
        tracing::warn!(%error, "not signed off: the cluster finds out when the session ends");
    }
}

impl KeeperNode {
    /// Stands for election. `admin` is where its admin listener ended up.
    pub async fn open(
        settings: &Settings,
        folder: &DataFolder,
        admin: SocketAddr,
    ) -> Result<Self, Failure> {
        let coordinator = join(cluster(settings)?, folder).await?;
        let (stores, following) = follow(settings, &coordinator);
        let config = settings.keeper.clone();
        let known = (!admin.ip().is_unspecified()).then(|| admin.to_string());
        let address = config.address.clone().or(known);
        let name = config.name.clone().unwrap_or_else(|| admin.to_string());
        let keeper = Keeper::new(Arc::clone(&coordinator) as _, stores, config)
            .map_err(|error| Failure::failed(format!("keeper: {error}")))?;
        let candidacy = coordinator.campaign(name, address);
        let stop = CancellationToken::new();
        let running = tokio::spawn(keeper.clone().run(candidacy, stop.clone()));
        Ok(Self { coordinator, keeper, running, stop, following })
    }

    /// The keeper's interface for operators.
    pub fn apps(&self) -> Apps {
        let admin = hayrick_directory::keeper::http::router(self.keeper.clone()).into();
        Apps { public: None, internal: None, admin }
    }

    /// What the cluster agrees on.
    pub fn map(&self) -> Arc<ClusterMap> {
        self.coordinator.map()
    }

    /// Gives the lead to another. Jobs that stores are at go on.
    pub async fn close(self) {
        self.stop.cancel();
        if let Err(error) = self.running.await {
            tracing::error!(%error, "the keeper died");
        }
        self.following.abort();
    }
}

fn cluster(settings: &Settings) -> Result<&ClusterConfig, Failure> {
    settings.cluster.as_ref().ok_or_else(|| {
        missing("cluster.zookeeper.connect", "a role of its own needs ZooKeeper, as HOST:PORT")
    })
}

fn missing(key: &str, advice: &str) -> Failure {
    Failure::usage(format!("{key} is not set")).hint(advice)
}

/// Joins the cluster that the data folder is part of, or is part of one from now on.
async fn join(
    config: &ClusterConfig,
    folder: &DataFolder,
) -> Result<Arc<ZooKeeperCoordinator>, Failure> {
    let known = folder.cluster();
    let joined = ZooKeeperCoordinator::open(config.zookeeper.clone(), known).await;
    let coordinator = joined.map_err(refused)?;
    folder.set_cluster(coordinator.map().cluster_id)?;
    Ok(Arc::new(coordinator))
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` takes")]
fn refused(error: hayrick_directory::CoordinatorError) -> Failure {
    Failure::failed(format!("cluster: {error}"))
}

/// The cluster's stores, as they come and go.
fn follow(settings: &Settings, coordinator: &ZooKeeperCoordinator) -> (StorePool, JoinHandle<()>) {
    let stores = StorePool::default();
    let following = stores.clone().follow(coordinator.subscribe(), peers(settings));
    (stores, tokio::spawn(following))
}

/// How other servers of the cluster are asked: one token opens all internal listeners.
fn peers(settings: &Settings) -> Client {
    let timeout = Some(PEER_ANSWER_TIMEOUT);
    Client::new(ClientOptions { timeout, ..peer_options(settings) })
}

/// How a store works that is one of several.
fn store_options(settings: &Settings) -> StoreOptions {
    let mut options = StoreOptions { peers: peer_options(settings), ..settings.store.clone() };
    options.volume.replicated = true;
    options
}

/// While there is a keeper, it says when volumes are compacted: never all replicas at once.
async fn leave_to_keeper(store: Arc<Store>, mut maps: watch::Receiver<Arc<ClusterMap>>) {
    loop {
        let there_is_one = maps.borrow_and_update().keeper.is_some();
        store.leave_to_keeper(there_is_one);
        if maps.changed().await.is_err() {
            return;
        }
    }
}

/// How stores ask each other: with more patience, as replicas are read at a measured pace.
fn peer_options(settings: &Settings) -> ClientOptions {
    let token = settings.internal.token.clone();
    ClientOptions { token, connect_timeout: PEER_CONNECT_TIMEOUT, ..ClientOptions::default() }
}
