//! How long does one client wait for an object over HTTP?
//!
//! Measured: GET on loopback, from before the request is made until the last byte of the
//! body, by one client on one connection that is kept open; of a needle by volume, key and
//! cookie from a store, and of the same object by name through a proxy that runs in the
//! store's process. 256 objects of each size, in random order, from the page cache.
//!
//! The time is of the whole process: client and server share it, and much of it is threads
//! waking each other, so it says little of what a busy server can do. Logs and metrics are
//! off. Not measured: many clients, TLS, a network, private buckets.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hayrick_benches::{Rounds, rng, scratch, settings};
use hayrick_directory::{
    Access, Coordinator, Directory, DirectoryConfig, DirectoryHandle, HybridClock, Parts,
    StorePool, SystemClock, open_files,
};
use hayrick_proxy::http::NEEDLE_HEADER;
use hayrick_proxy::{Proxy, ProxyConfig};
use hayrick_service::Shutdown;
use hayrick_service::listen::{App, ListenOptions, serve};
use hayrick_store::config::StoreConfig;
use hayrick_store::{NeedleId, Store, StoreHandle};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rand::RngCore as _;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

const SIZES: [(&str, usize); 2] = [("1KiB", 1 << 10), ("64KiB", 64 << 10)];

/// Objects of each size.
const OBJECTS: usize = 256;

/// A store with a proxy before it, each on a socket of its own.
struct Servers {
    internal: SocketAddr,
    public: SocketAddr,
}

/// Paths to the same objects on both sockets.
struct Paths {
    store: Vec<Uri>,
    proxy: Vec<Uri>,
}

struct Rig {
    runtime: Runtime,
    servers: Servers,
    paths: [Paths; SIZES.len()],
    _folder: TempDir,
}

/// One connection to one server.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
}

impl Servers {
    async fn start(folder: &Path) -> Self {
        let config = DirectoryConfig::default();
        let opened = open_files(&folder.join("directory"), &config.names);
        let (coordinator, names) = opened.expect("a directory's files");
        let store_config = StoreConfig { disks: vec![folder.join("disk")], ..Default::default() };
        let options = store_config.check().expect("a good configuration");
        let store = Store::open(coordinator.map().cluster_id, options).expect("an empty store");
        let id = "local".parse().expect("a store's id");
        let stores = StorePool::new([(id, StoreHandle::Local(Arc::clone(&store)))]);
        let parts = Parts {
            coordinator: Arc::new(coordinator),
            names: Arc::new(names),
            stores: Arc::new(stores.clone()),
            clock: HybridClock::new(SystemClock, 0),
            config,
        };
        let directory = Directory::new(parts).await.expect("a directory with volumes");
        let bucket = "photos".parse().expect("a bucket's name");
        let made = directory.create_bucket(bucket, Access::Public, Access::Public, 1).await;
        made.expect("a bucket");
        let options = ProxyConfig::default().check().expect("a good configuration");
        let proxy = Proxy::start(DirectoryHandle::Local(directory), stores, options).await;
        let proxy = proxy.expect("a proxy");
        let internal = listen(hayrick_store::http::data::app(store), "internal").await;
        let public = listen(hayrick_proxy::app(proxy), "public").await;
        Self { internal, public }
    }
}

async fn listen(app: App, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    tokio::spawn(serve(listener, app, ListenOptions::named(name), Shutdown::new()));
    address
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("a server that listens");
        stream.set_nodelay(true).expect("a TCP socket");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        Self { sender, address: address.to_string() }
    }

    async fn send(&mut self, method: Method, path: Uri, body: Bytes) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(path).header(HOST, &self.address);
        let request = request.body(Full::new(body)).expect("a good request");
        self.sender.ready().await.expect("an open connection");
        let answer = self.sender.send_request(request).await.expect("an answer");
        assert!(answer.status().is_success(), "{answer:?}");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("a whole body");
        Response::from_parts(head, body.to_bytes())
    }

    async fn get(&mut self, path: Uri) -> Bytes {
        self.send(Method::GET, path, Bytes::new()).await.into_body()
    }
}

/// Stores objects of one size through the proxy.
async fn upload(proxy: &mut Connection, (size_name, size): (&str, usize)) -> Paths {
    let mut paths = Paths { store: Vec::new(), proxy: Vec::new() };
    let mut rng = rng();
    for number in 0..OBJECTS {
        let mut data = vec![0; size];
        rng.fill_bytes(&mut data);
        let path: Uri = format!("/photos/{size_name}/{number}").parse().expect("a path");
        let answer = proxy.send(Method::PUT, path.clone(), Bytes::from(data)).await;
        let id = answer.headers().get(NEEDLE_HEADER).and_then(|value| value.to_str().ok());
        let id: NeedleId = id.and_then(|id| id.parse().ok()).expect("a needle's id");
        let NeedleId { volume, key, cookie } = id;
        paths.store.push(format!("/{volume}/{key}/{cookie}").parse().expect("a path"));
        paths.proxy.push(path);
    }
    paths
}

impl Rig {
    fn start() -> Self {
        let folder = scratch(env!("CARGO_TARGET_TMPDIR"));
        let runtime = Builder::new_multi_thread().enable_all().build().expect("a tokio runtime");
        let (servers, paths) = runtime.block_on(async {
            let servers = Servers::start(folder.path()).await;
            let mut proxy = Connection::open(servers.public).await;
            let [small, large] = SIZES;
            let paths = [upload(&mut proxy, small).await, upload(&mut proxy, large).await];
            (servers, paths)
        });
        Self { runtime, servers, paths, _folder: folder }
    }
}

fn http_get(criterion: &mut Criterion) {
    let rig = Rig::start();
    let mut group = criterion.benchmark_group("http_get");
    group.measurement_time(Duration::from_secs(4));
    for ((size_name, size), paths) in SIZES.into_iter().zip(&rig.paths) {
        let targets = [
            ("store", rig.servers.internal, &paths.store),
            ("proxy", rig.servers.public, &paths.proxy),
        ];
        for (name, address, paths) in targets {
            let mut paths = Rounds::new(paths.iter().cloned());
            let mut connection = rig.runtime.block_on(Connection::open(address));
            group.bench_function(BenchmarkId::new(name, size_name), |bencher| {
                bencher.iter_custom(|count| {
                    rig.runtime.block_on(get_all(&mut connection, &mut paths, count, size))
                });
            });
        }
    }
    group.finish();
}

/// How long it takes to get `count` objects, one after another.
async fn get_all(
    connection: &mut Connection,
    paths: &mut Rounds<Uri>,
    count: u64,
    size: usize,
) -> Duration {
    let start = Instant::now();
    for _ in 0..count {
        let path = paths.next().expect("rounds do not end");
        assert_eq!(connection.get(path).await.len(), size);
    }
    start.elapsed()
}

criterion_group!(name = benches; config = settings(); targets = http_get);
criterion_main!(benches);
