//! A store in a fresh folder behind real sockets.

use std::path::Path;
use std::sync::Arc;

use hayrick_service::Shutdown;
use hayrick_service::client::{Client, ClientOptions};
use hayrick_service::config::ByteSize;
use hayrick_service::listen::{App, ListenOptions, serve};
use hayrick_store::config::StoreConfig;
use hayrick_store::http::{admin, data};
use hayrick_store::{Epoch, Store, VolumeId};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub const CLUSTER: Uuid = Uuid::from_u128(7);

/// The epoch of a new volume.
pub const E1: Epoch = Epoch::new(1);

pub fn vid(id: u32) -> VolumeId {
    VolumeId::new(id).unwrap()
}

/// A configuration with `disks` data directories in `dir`.
pub fn config(dir: &Path, disks: usize) -> StoreConfig {
    StoreConfig {
        disks: (0..disks).map(|number| dir.join(format!("disk{number}"))).collect(),
        min_free: ByteSize::mib(1),
        ..StoreConfig::default()
    }
}

pub fn open(config: &StoreConfig) -> Arc<Store> {
    Store::open(CLUSTER, config.check().unwrap()).unwrap()
}

pub struct Rig {
    pub store: Arc<Store>,
    pub client: Client,
    pub data: String,
    pub admin: String,
    shutdown: Shutdown,
    servers: Vec<JoinHandle<()>>,
}

impl Rig {
    pub async fn start(store: Arc<Store>) -> Self {
        let shutdown = Shutdown::new();
        let client = Client::new(ClientOptions::default());
        let (data, internal) = listen(data::app(Arc::clone(&store)), "internal", &shutdown).await;
        let (admin, operators) =
            listen(admin::router(Arc::clone(&store)).into(), "admin", &shutdown).await;
        Self { store, client, data, admin, shutdown, servers: vec![internal, operators] }
    }

    /// Nobody has the store any more afterwards, unless the test has.
    pub async fn stop(self) {
        self.shutdown.trigger();
        for server in self.servers {
            server.await.unwrap();
        }
        self.store.close().await;
    }
}

async fn listen(app: App, name: &'static str, shutdown: &Shutdown) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = serve(listener, app, ListenOptions::named(name), shutdown.clone());
    (url, tokio::spawn(serving))
}
