//! Store, directory and proxy, open in this process.

use std::sync::Arc;

use hayrick_directory::{
    Background, Coordinator as _, Directory, DirectoryHandle, HybridClock, Parts, StoreId,
    StorePool, SystemClock, open_parts,
};
use hayrick_proxy::Proxy;
use hayrick_store::{Store, StoreHandle};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::failure::Failure;
use crate::up::folder::DataFolder;
use crate::up::listeners::Apps;

/// What the cluster map calls the only store of a single machine. It is kept there, so it
/// can never change.
pub const STORE_ID: &str = "local";

/// Everything that is open.
pub struct AllNode {
    /// Where volumes and names are.
    pub directory: Directory,
    store: Arc<Store>,
    proxy: Arc<Proxy>,
    background: Background,
    stop_background: CancellationToken,
}

impl AllNode {
    /// Opens the data folder: the cluster map first, as the stores' volumes must be of its
    /// cluster.
    pub async fn open(settings: &Settings, folder: &DataFolder) -> Result<Self, Failure> {
        let (coordinator, names) = open_parts(&folder.directory(), &settings.directory)
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
        let (cluster, options) = (coordinator.map().cluster_id, settings.store.clone());
        let opened = spawn_blocking(move || Store::open(cluster, options)).await;
        let store = opened
            .map_err(|error| Failure::failed(format!("loading died: {error}")))?
            .map_err(|error| Failure::failed(error.to_string()))?;
        let id: StoreId =
            STORE_ID.parse().map_err(|error| Failure::failed(format!("store id: {error}")))?;
        let stores = StorePool::new([(id, StoreHandle::Local(Arc::clone(&store)))]);
        let directory = Directory::new(Parts {
            coordinator: Arc::new(coordinator),
            names,
            stores: Arc::new(stores.clone()),
            clock: HybridClock::new(SystemClock, 0),
            config: settings.directory.clone(),
        })
        .await
        .map_err(|error| Failure::failed(format!("directory: {error}")))?;
        let proxy =
            Proxy::start(DirectoryHandle::Local(directory.clone()), stores, settings.proxy.clone())
                .await
                .map_err(|error| Failure::failed(format!("proxy: {error}")))?;
        let stop_background = CancellationToken::new();
        let background = directory.spawn_background(&stop_background);
        Ok(Self { directory, store, proxy, background, stop_background })
    }

    /// What answers on the three listeners.
    pub fn apps(&self) -> Apps {
        let admin = hayrick_store::http::admin::router(Arc::clone(&self.store));
        Apps {
            public: Some(hayrick_proxy::app(Arc::clone(&self.proxy))),
            internal: Some(hayrick_store::http::data::app(Arc::clone(&self.store))),
            admin: admin
                .merge(hayrick_directory::http::admin::router(self.directory.clone()))
                .into(),
        }
    }

    /// Ends all work, syncs every volume and saves the indexes. No request may be running.
    pub async fn close(self) {
        self.proxy.stop().await;
        self.stop_background.cancel();
        self.background.finished().await;
        drop(self.directory);
        self.store.close().await;
    }
}
