//! Store, directory and proxy in a fresh folder, with the door on a real socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use hayrick_directory::{
    Access, BucketName, Directory, DirectoryConfig, DirectoryHandle, EmbeddedCoordinator,
    FjallConfig, FjallNames, HybridClock, Parts, StorePool, SystemClock,
};
use hayrick_proxy::http::Listing;
use hayrick_proxy::{Proxy, ProxyConfig, app};
use hayrick_service::Shutdown;
use hayrick_service::config::ByteSize;
use hayrick_service::error::ErrorBody;
use hayrick_service::listen::{App, ListenOptions, serve};
use hayrick_store::config::StoreConfig;
use hayrick_store::{Store, StoreHandle};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::net::TcpListener;

pub struct Rig {
    pub dir: TempDir,
    pub url: String,
    pub address: String,
    /// What answers there.
    pub app: App,
    pub directory: Directory,
    pub store: Arc<Store>,
    client: Client<HttpConnector, Body>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn error(&self) -> ErrorBody {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(ProxyConfig::default()).await
    }

    pub async fn with(config: ProxyConfig) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), config).await
    }

    /// With the store's data directory, `disk`, perhaps already in the folder.
    pub async fn in_folder(dir: TempDir, config: ProxyConfig) -> Self {
        Self::start(dir, config, FjallConfig::default()).await
    }

    /// With a directory that looks up every name in its database.
    pub async fn forgetful() -> Self {
        let names = FjallConfig { recent_bytes: 0, ..FjallConfig::default() };
        Self::start(tempfile::tempdir().unwrap(), ProxyConfig::default(), names).await
    }

    async fn start(dir: TempDir, config: ProxyConfig, names: FjallConfig) -> Self {
        let (directory, store) = open(dir.path(), names).await;
        let stores =
            StorePool::new([("local".parse().unwrap(), StoreHandle::Local(Arc::clone(&store)))]);
        let proxy = Proxy::start(
            DirectoryHandle::Local(directory.clone()),
            stores,
            config.check().unwrap(),
        )
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let options = ListenOptions::named("public");
        let app = app(proxy);
        tokio::spawn(serve(listener, app.clone(), options, Shutdown::new()));
        let rig = Self {
            app,
            dir,
            url: format!("http://{address}"),
            address,
            directory,
            store,
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        rig.bucket("photos", Access::Public, Access::Public).await;
        rig
    }

    pub async fn bucket(&self, name: &str, read: Access, write: Access) -> BucketName {
        let name: BucketName = name.parse().unwrap();
        self.directory.create_bucket(name.clone(), read, write, 1).await.unwrap();
        name
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let method: Method = method.parse().unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let mut request = Request::new(body.into());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}{path}", self.url).parse().unwrap();
        *request.headers_mut() = map;
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub async fn put(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send("PUT", path, &[], body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], Body::empty()).await
    }

    pub async fn list(&self, query: &str) -> Listing {
        let answer = self.get(&format!("/photos?{query}")).await;
        assert_eq!(answer.status, 200);
        answer.json()
    }

    /// All live needles of the store.
    pub fn live_needles(&self) -> u64 {
        self.store.status().volumes.iter().map(|volume| volume.live_needles).sum()
    }

    /// The files of all volumes.
    pub fn volume_files(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.dir.path().join("disk")).unwrap();
        let paths = files.map(|file| file.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "vol")).collect()
    }
}

async fn open(path: &Path, names: FjallConfig) -> (Directory, Arc<Store>) {
    let mut config = DirectoryConfig { names, ..DirectoryConfig::default() };
    config.growth.min_disk_free_bytes = 1 << 20;
    config.garbage.grace_ms = 0;
    config.garbage.interval_ms = 20;
    std::fs::create_dir_all(path.join("directory")).unwrap();
    let coordinator = EmbeddedCoordinator::open(path.join("directory/cluster.json")).unwrap();
    let names = FjallNames::open(&path.join("directory/names"), &config.names).unwrap();
    let cluster = hayrick_directory::Coordinator::map(&coordinator).cluster_id;
    let store_config = StoreConfig {
        disks: vec![path.join("disk")],
        min_free: ByteSize::mib(1),
        ..StoreConfig::default()
    };
    let store = Store::open(cluster, store_config.check().unwrap()).unwrap();
    let stores =
        StorePool::new([("local".parse().unwrap(), StoreHandle::Local(Arc::clone(&store)))]);
    let parts = Parts {
        coordinator: Arc::new(coordinator),
        names: Arc::new(names),
        stores: Arc::new(stores),
        clock: HybridClock::new(SystemClock, 0),
        config,
    };
    let directory = Directory::new(parts).await.unwrap();
    let _background = directory.spawn_background(&tokio_util::sync::CancellationToken::new());
    (directory, store)
}

/// Waits for something that happens in the background.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 20 s");
}

pub fn photo(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/photos").join(name);
    std::fs::read(path).unwrap()
}
