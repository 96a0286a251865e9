//! Objects on several stores behind sockets, some of them ill, and a directory behind another.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use hayrick_directory::{
    Access, Bucket, Condition, Coordinator as _, Directory, DirectoryClient, DirectoryConfig,
    DirectoryHandle, EmbeddedCoordinator, FjallNames, HybridClock, NeedleRef, Parts, Row, StoreId,
    StorePool, SystemClock, Volume,
};
use hayrick_proxy::http::Listing;
use hayrick_proxy::{Proxy, ProxyConfig};
use hayrick_service::Shutdown;
use hayrick_service::client::{Client, ClientError, ClientOptions};
use hayrick_service::config::ByteSize;
use hayrick_service::listen::{App, ListenOptions, serve};
use hayrick_store::config::StoreConfig;
use hayrick_store::{Epoch, NeedleId, Store, StoreClient, StoreHandle};
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub struct Cluster {
    dir: TempDir,
    pub stores: BTreeMap<StoreId, Arc<Store>>,
    pool: StorePool,
    coordinator: Arc<EmbeddedCoordinator>,
    pub directory: Directory,
    late: Late,
    removals: Arc<Removals>,
    /// How often the directory was asked for a place.
    asked_for_places: Arc<AtomicUsize>,
    /// How often it was told that a write failed.
    told_of_failures: Arc<AtomicUsize>,
    /// Whether the directory answers all with 503.
    pub away: Arc<AtomicBool>,
    pub url: String,
    pub http: Client,
    /// Ends the stores' listeners.
    shutdown: Shutdown,
}

impl Cluster {
    /// With `count` stores and a bucket of `copies` copies.
    pub async fn new(count: usize, copies: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = DirectoryConfig::default();
        config.growth.min_disk_free_bytes = 1 << 20;
        config.garbage.grace_ms = 0;
        let coordinator = EmbeddedCoordinator::open(dir.path().join("cluster.json")).unwrap();
        let coordinator = Arc::new(coordinator);
        let names = FjallNames::open(&dir.path().join("names"), &config.names).unwrap();
        let cluster = coordinator.map().cluster_id;
        let (shutdown, pool, mut stores) = (Shutdown::new(), StorePool::default(), BTreeMap::new());
        let mut handles = Vec::new();
        for number in 0..count {
            let disk = dir.path().join(format!("s{number}"));
            let config = StoreConfig {
                disks: vec![disk],
                min_free: ByteSize::mib(1),
                ..StoreConfig::default()
            };
            let store = Store::open(cluster, config.check().unwrap()).unwrap();
            let url = listen(hayrick_store::http::data::app(Arc::clone(&store)), &shutdown).await;
            let id: StoreId = format!("s{number}").parse().unwrap();
            let http = Client::new(ClientOptions::default());
            let client = StoreClient::new(id.as_str(), url, cluster, http);
            handles.push((id.clone(), StoreHandle::Remote(client)));
            stores.insert(id, store);
        }
        pool.replace(handles);
        let directory = Directory::new(Parts {
            coordinator: Arc::clone(&coordinator) as _,
            names: Arc::new(names),
            stores: Arc::new(pool.clone()),
            clock: HybridClock::new(SystemClock, 0),
            config,
        })
        .await
        .unwrap();
        let _background = directory.spawn_background(&CancellationToken::new());
        let bucket = "photos".parse().unwrap();
        directory.create_bucket(bucket, Access::Public, Access::Public, copies).await.unwrap();
        let options = ProxyConfig::default().check().unwrap();
        let late = Late::default();
        let routes = hayrick_directory::http::data::router(directory.clone());
        let routes = routes.layer(from_fn_with_state(late.clone(), commit_late));
        let removals = Arc::<Removals>::default();
        let routes = routes.layer(from_fn_with_state(removals.clone(), remove_late));
        let [asked_for_places, told_of_failures] = [(); 2].map(|()| Arc::<AtomicUsize>::default());
        let count = Count { path: "/directory/assign", calls: asked_for_places.clone() };
        let routes = routes.layer(from_fn_with_state(count, count_calls));
        let count = Count { path: "/directory/failed-write", calls: told_of_failures.clone() };
        let routes = routes.layer(from_fn_with_state(count, count_calls));
        let away = Arc::<AtomicBool>::default();
        let routes = routes.layer(from_fn_with_state(away.clone(), or_away));
        // The first of two directories does not answer.
        let servers = vec![nobody(), listen(routes, &Shutdown::new()).await];
        let clock = HybridClock::new(SystemClock, 0);
        let http = Client::new(ClientOptions::default());
        let far = DirectoryClient::new(servers, http, Arc::clone(&coordinator) as _, clock);
        let proxy =
            Proxy::start(DirectoryHandle::Remote(far), pool.clone(), options).await.unwrap();
        let url = listen(hayrick_proxy::app(proxy), &Shutdown::new()).await;
        let http = Client::new(ClientOptions::default());
        Self {
            dir,
            stores,
            pool,
            coordinator,
            directory,
            late,
            removals,
            asked_for_places,
            told_of_failures,
            away,
            url,
            http,
            shutdown,
        }
    }

    pub async fn put(&self, name: &str, body: Vec<u8>) -> Result<NeedleId, String> {
        let call = self.http.put(format!("{}/photos/{name}", self.url)).body(body);
        let answer = call.send().await.map_err(|error| error.to_string())?;
        let text = answer.headers()["x-hayrick-needle"].to_str().unwrap().to_owned();
        Ok(text.parse().unwrap())
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, String> {
        let call = self.http.get(format!("{}/photos/{name}", self.url));
        let answer = call.send().await.map_err(|error| error.to_string())?;
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok(body.to_bytes().to_vec())
    }

    /// Lets a store take connections and say nothing, as long as what this returns is there.
    async fn hang(&self, store: &str) -> TcpListener {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let hung: StoreId = store.parse().unwrap();
        let http = Client::new(ClientOptions { timeout: None, ..ClientOptions::default() });
        let client = StoreClient::new(store, url, self.stores.get(&hung).unwrap().cluster(), http);
        let handle = |id: &StoreId| {
            if *id == hung {
                StoreHandle::Remote(client.clone())
            } else {
                self.pool.get(id).unwrap()
            }
        };
        self.pool.replace(self.stores.keys().map(|id| (id.clone(), handle(id))));
        silent
    }

    /// Overwrites bytes in the volume file of one replica.
    fn damage(&self, store: &str, needle: NeedleId, offset: u64) {
        let name = format!("{store}/{:010}.vol", needle.volume.get());
        let file = OpenOptions::new().write(true).open(self.dir.path().join(name)).unwrap();
        file.write_all_at(b"rotten", offset).unwrap();
    }
}

/// Whether commits are answered before they are made.
type Late = Arc<AtomicBool>;

/// A directory that hangs: the proxy has long been told that nobody answers when the commit is
/// made after all.
async fn commit_late(State(late): State<Late>, request: Request, next: Next) -> Response {
    if !late.load(Ordering::Relaxed) || request.uri().path() != "/directory/commit" {
        return next.run(request).await;
    }
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(next.run(request).await.status().is_success());
    });
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

/// Removals that a frozen directory carries out when it goes on.
#[derive(Default)]
struct Removals {
    frozen: AtomicBool,
    thawed: Notify,
    made: Notify,
}

async fn remove_late(
    State(removals): State<Arc<Removals>>,
    request: Request,
    next: Next,
) -> Response {
    let frozen = removals.frozen.load(Ordering::Relaxed);
    if !frozen || request.uri().path() != "/directory/remove" {
        return next.run(request).await;
    }
    tokio::spawn(async move {
        removals.thawed.notified().await;
        next.run(request).await;
        removals.made.notify_one();
    });
    StatusCode::GATEWAY_TIMEOUT.into_response()
}

#[derive(Clone)]
struct Count {
    path: &'static str,
    calls: Arc<AtomicUsize>,
}

async fn count_calls(State(count): State<Count>, request: Request, next: Next) -> Response {
    if request.uri().path() == count.path {
        count.calls.fetch_add(1, Ordering::Relaxed);
    }
    next.run(request).await
}

async fn or_away(State(away): State<Arc<AtomicBool>>, request: Request, next: Next) -> Response {
    if away.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    next.run(request).await
}

async fn listen(app: impl Into<App>, shutdown: &Shutdown) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, app.into(), ListenOptions::named("test"), shutdown.clone()));
    url
}

/// The URL of a port that was free a moment ago.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn bytes(size: u32) -> Vec<u8> {
    (0..size).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[2]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_on_every_replica() {
    let cluster = Cluster::new(3, 3).await;
    let needle = cluster.put("a", bytes(5_000)).await.unwrap();
    for store in cluster.stores.values() {
        let found = store.open_needle(needle).await.unwrap();
        assert_eq!(found.read(0..5_000).await.unwrap(), bytes(5_000));
    }
    let digests = cluster.stores.values().map(|store| {
        let status = store.status();
        status.volumes.into_iter().find(|own| own.volume == needle.volume).unwrap().digest
    });
    let digests: std::collections::BTreeSet<_> = digests.collect();
    assert!(digests.len() == 1 && !digests.contains(&None), "{digests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_needle_that_a_replica_lacks_is_read_from_another() {
    let cluster = Cluster::new(3, 3).await;
    let needle = cluster.put("a", bytes(5_000)).await.unwrap();
    cluster.stores[&"s0".parse().unwrap()].delete(needle, Epoch::new(1)).await.unwrap();
    cluster.damage("s1", needle, 4096 + 100);
    for _ in 0..20 {
        assert_eq!(cluster.get("a").await.unwrap(), bytes(5_000));
    }
    cluster.stores[&"s2".parse().unwrap()].delete(needle, Epoch::new(1)).await.unwrap();
    let error = cluster.get("a").await.unwrap_err();
    assert!(error.contains("damaged"), "damage is graver than a gap: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_goes_on_from_another_replica() {
    let cluster = Cluster::new(2, 2).await;
    let needle = cluster.put("large", bytes(6_000_000)).await.unwrap();
    // Each replica has another part of it damaged, far behind the first piece.
    cluster.damage("s0", needle, 4096 + 2_500_000);
    for _ in 0..8 {
        assert!(cluster.get("large").await.unwrap() == bytes(6_000_000));
    }
    cluster.damage("s1", needle, 4096 + 2_600_000);
    let broken = cluster.get("large").await;
    assert!(broken.is_err(), "both are damaged: cut, and never short or wrong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_holds_up_no_read() {
    let cluster = Cluster::new(2, 2).await;
    cluster.put("a", bytes(5_000)).await.unwrap();
    let _silent = cluster.hang("s0").await;
    // Without a second replica asked, half of these would never end.
    for _ in 0..20 {
        assert_eq!(cluster.get("a").await.unwrap(), bytes(5_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_move_to_other_stores_and_leave_nothing_behind() {
    let cluster = Cluster::new(4, 2).await;
    for number in 0..20 {
        cluster.put(&format!("before{number}"), bytes(1_000)).await.unwrap();
    }
    let all: Vec<_> =
        cluster.stores.keys().map(|id| (id.clone(), cluster.pool.get(id).unwrap())).collect();
    cluster.pool.replace(all.iter().filter(|(id, _)| id.as_str() != "s1").cloned());
    let mut stored = 0;
    while stored < 20 {
        match cluster.put(&format!("after{stored}"), bytes(1_000)).await {
            Ok(_) => stored += 1,
            // Until the directory has found out, which other tests measure.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    for number in 0..20 {
        assert_eq!(cluster.get(&format!("before{number}")).await.unwrap(), bytes(1_000));
        assert_eq!(cluster.get(&format!("after{number}")).await.unwrap(), bytes(1_000));
    }
    // Once the store is back, what it had taken of failed uploads goes.
    cluster.pool.replace(all);
    let live = || {
        let statuses = cluster.stores.values().map(|store| store.status());
        statuses.flat_map(|status| status.volumes).map(|volume| volume.live_needles).sum::<u64>()
    };
    crate::rig::eventually("two copies of each object, and no more", || live() == 2 * 40).await;
    // What was never stored is still to be asked for.
    let began = Instant::now();
    while cluster.directory.garbage_len().await.unwrap() > 0 {
        assert!(began.elapsed() < Duration::from_secs(20), "garbage is left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waits_while_every_volume_has_just_gone() {
    let cluster = Cluster::new(2, 2).await;
    let needle = cluster.put("a", bytes(100)).await.unwrap();
    let all = ["s0", "s1"].map(|id| {
        let id: StoreId = id.parse().unwrap();
        let handle = cluster.pool.get(&id).unwrap();
        (id, handle)
    });
    // It is still known, and does not answer.
    let http = Client::new(ClientOptions::default());
    let gone = StoreClient::new("s1", nobody(), cluster.coordinator.map().cluster_id, http);
    cluster.pool.replace([all[0].clone(), (all[1].0.clone(), StoreHandle::Remote(gone))]);
    let bucket = cluster.directory.bucket(&"photos".parse().unwrap()).unwrap();
    // The next upload finds no volume at its first try.
    cluster.directory.report_failed_write(needle.volume);
    while cluster.directory.assign(&bucket, 100).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let asked = cluster.asked_for_places.load(Ordering::Relaxed);
    let put = cluster.put("b", bytes(200));
    let return_of_the_store = async {
        let asked_twice = || cluster.asked_for_places.load(Ordering::Relaxed) >= asked + 2;
        crate::rig::eventually("the upload asks again", asked_twice).await;
        cluster.pool.replace(all.clone());
    };
    let (stored, ()) = tokio::join!(put, return_of_the_store);
    stored.unwrap();
    assert_eq!(cluster.get("b").await.unwrap(), bytes(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_refused_at_once_where_there_never_was_a_volume() {
    let cluster = Cluster::new(2, 1).await;
    let one: StoreId = "s0".parse().unwrap();
    cluster.pool.replace([(one.clone(), cluster.pool.get(&one).unwrap())]);
    let photos = cluster.directory.bucket(&"photos".parse().unwrap()).unwrap();
    let pairs = Bucket { name: "pairs".parse().unwrap(), copies: 2, ..photos };
    cluster.coordinator.create_bucket(pairs).await.unwrap();
    let refused = cluster.http.put(format!("{}/pairs/a", cluster.url)).body("a").send().await;
    let Err(ClientError::Status(answer)) = refused else { panic!("{refused:?}") };
    assert!(answer.status == 503 && answer.retry_after.is_some(), "{answer}");
    assert_eq!(cluster.asked_for_places.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_is_told_of_before_an_upload_gives_it_up() {
    let cluster = Cluster::new(2, 2).await;
    cluster.put("a", bytes(100)).await.unwrap();
    let _silent = cluster.hang("s0").await;
    let told = async {
        while cluster.told_of_failures.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // This client is never told that the store does not answer, so the upload does not end.
    tokio::select! {
        stored = cluster.put("b", bytes(100)) => panic!("{stored:?}"),
        () = told => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_meets_a_newer_epoch_waits_for_the_map() {
    let cluster = Cluster::new(2, 2).await;
    let volumes = cluster.coordinator.map().volumes.clone();
    for (id, volume) in &volumes {
        for store in &volume.value.replicas {
            let store = cluster.pool.get(store).unwrap();
            store.fence(*id, Epoch::new(volume.value.epoch + 1)).await.unwrap();
        }
    }
    let put = cluster.put("a", bytes(100));
    let follow = async {
        // So that it is refused before, most of the time.
        tokio::time::sleep(Duration::from_millis(100)).await;
        for (id, volume) in volumes {
            let next = Volume { epoch: volume.value.epoch + 1, ..volume.value };
            cluster.coordinator.update_volume(id, volume.revision, next).await.unwrap();
        }
    };
    let (stored, ()) = tokio::join!(put, follow);
    stored.unwrap();
    assert_eq!(cluster.get("a").await.unwrap(), bytes(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_far_away_answers_like_one_that_is_near() {
    let cluster = Cluster::new(1, 1).await;
    let url = |name: &str| format!("{}/photos/{name}", cluster.url);
    let put = |name: &str, header: &'static str, value: &str| {
        let call = cluster.http.put(url(name)).body(bytes(10));
        let value = HeaderValue::from_str(value).unwrap();
        call.header(HeaderName::from_static(header), value).send()
    };
    let status = |answer: Result<_, ClientError>| match answer {
        Ok::<Response, _>(answer) => answer.status().as_u16(),
        Err(error) => error.status().unwrap().as_u16(),
    };
    assert_eq!(status(put("a", "if-none-match", "*").await), 201);
    assert_eq!(status(put("a", "if-none-match", "*").await), 412);
    let head = cluster.http.head(url("a")).send().await.unwrap();
    let etag = head.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(status(put("a", "if-match", &etag).await), 200);
    assert_eq!(status(put("a", "if-match", &etag).await), 412);
    assert_eq!(status(put("b/c", "content-type", "x/y").await), 201);
    assert_eq!(status(put("b/c", "content-type", "x/z").await), 200, "newer than the one before");
    let listing = cluster.http.get(format!("{}/photos?delimiter=/", cluster.url)).send_json();
    let listing: Listing = listing.await.unwrap();
    assert_eq!((listing.objects.len(), listing.prefixes), (1, vec!["b/".to_owned()]));
    assert_eq!(status(cluster.http.delete(url("a")).send().await), 204);
    assert_eq!(status(cluster.http.delete(url("a")).send().await), 404);
    assert_eq!(status(cluster.http.get(url("a")).send().await), 404);
    let elsewhere = cluster.http.put(format!("{}/nobucket/a", cluster.url)).body("x");
    assert_eq!(status(elsewhere.send().await), 404);
    // Both versions of b/c were stored, one is left.
    let live = || {
        let statuses = cluster.stores.values().map(|store| store.status());
        statuses.flat_map(|status| status.volumes).map(|volume| volume.live_needles).sum::<u64>()
    };
    crate::rig::eventually("one needle left", || live() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_made_late_finds_its_needles() {
    let cluster = Cluster::new(1, 1).await;
    cluster.put("a", bytes(100)).await.unwrap();
    cluster.late.store(true, Ordering::Relaxed);
    let refused = cluster.put("a", bytes(200)).await.unwrap_err();
    assert!(refused.contains("503"), "{refused}");
    assert_eq!(cluster.get("a").await.unwrap(), bytes(100));
    let committed = async || cluster.get("a").await.unwrap() == bytes(200);
    while !committed().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_is_made_late_spares_what_was_put_since() {
    let cluster = Cluster::new(1, 1).await;
    let delete = async || cluster.http.delete(format!("{}/photos/a", cluster.url)).send().await;
    cluster.put("a", bytes(100)).await.unwrap();
    cluster.removals.frozen.store(true, Ordering::Relaxed);
    assert_eq!(delete().await.unwrap_err().status().unwrap(), 503);
    cluster.removals.frozen.store(false, Ordering::Relaxed);
    delete().await.unwrap();
    cluster.put("a", bytes(200)).await.unwrap();
    cluster.removals.thawed.notify_one();
    cluster.removals.made.notified().await;
    assert_eq!(cluster.get("a").await.unwrap(), bytes(200));
    // What another proxy put whose clock is ahead is removed all the same.
    let (bucket, name) = ("photos".parse().unwrap(), "b".parse().unwrap());
    let version = cluster.directory.next_version() + (3_600_000 << 16);
    let row = Row { version, ..Row::default() };
    cluster.directory.commit(&bucket, &name, row, Condition::None).await.unwrap();
    let url = format!("{}/photos/b", cluster.url);
    assert_eq!(cluster.http.delete(&url).send().await.unwrap().status(), 204);
    assert_eq!(cluster.http.delete(&url).send().await.unwrap_err().status().unwrap(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_replaces_what_was_put_by_a_clock_that_is_ahead() {
    let cluster = Cluster::new(1, 1).await;
    let needle = cluster.put("a", bytes(100)).await.unwrap();
    // Another proxy, an hour ahead, puts the same.
    let version = cluster.directory.next_version() + (3_600_000 << 16);
    let needles = vec![NeedleRef { id: needle, size_bytes: 100 }];
    let row = Row { version, size_bytes: 100, needles: needles.into(), ..Row::default() };
    let (bucket, name) = ("photos".parse().unwrap(), "a".parse().unwrap());
    cluster.directory.commit(&bucket, &name, row, Condition::None).await.unwrap();
    cluster.put("a", bytes(200)).await.unwrap();
    assert_eq!(cluster.get("a").await.unwrap(), bytes(200));
    let row = cluster.directory.lookup(&bucket, &name).await.unwrap().unwrap();
    assert!(row.version > version);
}
