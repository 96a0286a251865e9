//! Parts of a cluster that are away, or ill, and what goes on without them.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue};
use hayrick_service::auth::Secret;
use hayrick_service::client::{Client, ClientError, ClientOptions};
use hayrick_store::NeedleId;
use hayrick_testkit::Postgres;
use serde_json::json;

use super::dead_disk::DeadDisk;
use super::process::{Process, TOKEN};
use super::{Cluster, bytes, eventually};

pub fn names_in(postgres: &Postgres) -> String {
    format!("[directory.postgres]\nurl = \"{}\"\n", postgres.database())
}

impl Cluster {
    /// A directory beside the first one.
    pub fn another_directory(&self, settings: &str) -> Process {
        let connect = format!("[cluster]\nzookeeper.connect = \"{}\"\n", self.zookeeper.address());
        Process::start("directory", &self.folder.path().join("d2"), &(connect + settings))
    }

    /// What a server says that it counts or measures under a name; 0 if it does not yet.
    async fn metric(&self, process: &Process, name: &str) -> f64 {
        let answer = self.http.get(format!("{}/metrics", process.admin)).send_bytes(1 << 20).await;
        let text = String::from_utf8(answer.unwrap().to_vec()).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }

    async fn reaps(&self, directory: &Process) -> bool {
        self.metric(directory, "hayrick_reaper_active").await > 0.0
    }

    /// Whether a proxy serves a name from memory.
    async fn is_remembered(&self, proxy: usize, name: &str) -> Result<bool, ClientError> {
        let url = format!("{}/photos/{name}", self.door(proxy));
        let answer = self.http.get(url).send().await?;
        Ok(answer.headers().contains_key("x-hayrick-degraded"))
    }

    /// The volume file of each store that has a replica of a needle, with the store's place.
    fn replicas(&self, needle: NeedleId) -> Vec<(usize, PathBuf)> {
        let name = format!("data/disk/{:010}.vol", needle.volume.get());
        let files = self.stores.iter().map(|store| store.folder().join(&name)).enumerate();
        files.filter(|(_, file)| file.exists()).collect()
    }

    async fn repairs(&self, outcome: &str) -> f64 {
        let name = format!("hayrick_proxy_read_repairs_total{{outcome=\"{outcome}\"}}");
        self.metric(&self.proxies[0], &name).await
    }
}

fn comes_back(error: &ClientError) -> bool {
    matches!(error, ClientError::Status(answer)
        if answer.status == 503 && answer.retry_after.is_some())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_directories_one_may_hang() {
    let postgres = Postgres::start();
    let settings = names_in(&postgres);
    let cluster = Cluster::with(&settings).await;
    let other = cluster.another_directory(&settings);
    let both = [&cluster.directory, &other];
    let reapers = async || [cluster.reaps(both[0]).await, cluster.reaps(both[1]).await];
    eventually(async || reapers().await.iter().filter(|reaps| **reaps).count() == 1).await;
    for number in 0..10 {
        cluster.put(number % 2, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    let reaper = usize::from(reapers().await[1]);
    let (frozen, well) = (both[reaper], both[1 - reaper]);
    frozen.freeze();
    let began = Instant::now();
    for number in 0..60 {
        let name = format!("n{}", number % 20);
        cluster.put(number % 2, &name, bytes(number)).await.unwrap();
        assert_eq!(cluster.get(1 - number % 2, &name).await.unwrap(), bytes(number));
    }
    // Each proxy waits for it once; 180 requests that did would take most of an hour.
    assert!(began.elapsed() < Duration::from_mins(2), "{:?}", began.elapsed());
    eventually(async || cluster.reaps(well).await).await;
    eventually(async || cluster.live_needles().await == 2 * 20).await;
    frozen.thaw();
    eventually(async || {
        let reapers = reapers().await;
        reapers[0] != reapers[1]
    })
    .await;
    assert_eq!(cluster.get(0, "n7").await.unwrap(), bytes(47));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_postgres_seen_names_are_served_and_uploads_told_to_come_back() {
    let mut postgres = Postgres::start();
    let cluster = Cluster::with(&names_in(&postgres)).await;
    for number in 0..10 {
        cluster.put(0, &format!("n{number}"), bytes(number)).await.unwrap();
        cluster.get(1, &format!("n{number}")).await.unwrap();
    }
    postgres.kill();
    let began = Instant::now();
    for number in 0..10 {
        for proxy in 0..2 {
            let name = format!("n{number}");
            assert_eq!(cluster.get(proxy, &name).await.unwrap(), bytes(number));
            assert!(cluster.is_remembered(proxy, &name).await.unwrap());
        }
    }
    // Each proxy waits for the directory once, and not for each of 20 requests.
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    let refused = cluster.put(0, "n1", bytes(1)).await.unwrap_err();
    assert!(comes_back(&refused), "{refused}");
    let unknown = cluster.get(0, "unseen").await.unwrap_err();
    assert!(comes_back(&unknown), "{unknown}");
    postgres.restart();
    eventually(async || cluster.put(0, "n1", bytes(100)).await.is_ok()).await;
    // Until it has found out, the other proxy remembers needles that are gone.
    eventually(async || matches!(cluster.is_remembered(1, "n1").await, Ok(false))).await;
    assert_eq!(cluster.get(1, "n1").await.unwrap(), bytes(100));
    assert_eq!(cluster.get(0, "unseen").await.unwrap_err().status().unwrap(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_replica_is_repaired_by_reading() {
    let cluster = Cluster::start().await;
    // The first of its volume, so it is known where it stands.
    let needle = cluster.put(0, "a", bytes(49)).await.unwrap();
    let replicas = cluster.replicas(needle);
    let [(_, damaged), (whole, _)] = &replicas[..] else { panic!("{replicas:?}") };
    let file = std::fs::File::options().write(true).open(damaged).unwrap();
    file.write_all_at(b"rotten", 4096 + 100).unwrap();
    eventually(async || {
        assert_eq!(cluster.get(0, "a").await.unwrap(), bytes(49));
        cluster.repairs("done").await > 0.0
    })
    .await;
    cluster.stores[*whole].kill();
    assert_eq!(cluster.get(0, "a").await.unwrap(), bytes(49), "from the one that was damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_has_deleted_is_not_brought_back_by_reading() {
    let cluster = Cluster::start().await;
    let needle = cluster.put(0, "a", bytes(49)).await.unwrap();
    let (deleted, _) = cluster.replicas(needle)[0];
    let NeedleId { volume, key, cookie } = needle;
    let store = cluster.stores[deleted].internal.as_ref().unwrap();
    let url = format!("{store}/{volume}/{key}/{cookie}");
    let (epoch, first) = (HeaderName::from_static("x-hayrick-epoch"), HeaderValue::from(1));
    cluster.http.delete(&url).header(epoch, first).send().await.unwrap();
    eventually(async || {
        assert_eq!(cluster.get(0, "a").await.unwrap(), bytes(49));
        cluster.repairs("unneeded").await > 0.0
    })
    .await;
    let gone = cluster.http.get(&url).send().await.unwrap_err();
    assert_eq!(gone.status().unwrap(), 404);
    assert!(cluster.repairs("done").await < 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_dies_takes_nothing_with_it_but_its_own_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let disk = |name: &str| folder.path().join(name);
    let config = |disks: &[PathBuf]| format!("[store]\ndisks = {disks:?}\n");
    let mut server = Process::start("up", folder.path(), &config(&[disk("a")]));
    // New volumes are made on the disk that is told last.
    server.stop();
    let both = config(&[disk("a"), disk("b")]);
    std::fs::write(folder.path().join("hayrick.toml"), both).unwrap();
    server.start_again();
    let token = Some(Secret::new(TOKEN));
    let http = Client::new(ClientOptions { token, ..ClientOptions::default() });
    let volumes = format!("{}/directory/volumes", server.admin);
    for _ in 0..2 {
        http.post(&volumes).json(&json!({"copies": 1})).send().await.unwrap();
    }
    let door = server.public.clone().unwrap();
    let url = |number: usize| format!("{door}/photos/n{number}");
    let put = async |number: usize| {
        let answer = http.put(url(number)).body(bytes(number)).send().await.unwrap();
        let needle: NeedleId =
            answer.headers()["x-hayrick-needle"].to_str().unwrap().parse().unwrap();
        let file = format!("{:010}.vol", needle.volume.get());
        (number, disk("a").join(file).exists())
    };
    let get = async |number: usize| {
        let answer = http.get(url(number)).send_bytes(1 << 20).await;
        answer.map(|body| assert_eq!(body, bytes(number)))
    };
    let mut objects = Vec::new();
    for number in 0..40 {
        objects.push(put(number).await);
    }
    let on_a = objects.iter().filter(|(_, on_a)| *on_a).count();
    assert!((1..40).contains(&on_a), "{on_a} of 40 are on the disk that dies");

    let Some(dead) = DeadDisk::of(&server, &disk("a")) else {
        println!("not tested: a dying disk, which takes strace");
        return;
    };
    for number in 40..60 {
        let stored = put(number).await;
        assert!(!stored.1, "{number} was stored on the dead disk");
        objects.push(stored);
    }
    for &(number, on_a) in &objects {
        match get(number).await {
            Ok(()) => assert!(!on_a, "{number} was read from the dead disk"),
            Err(ClientError::Status(error)) => {
                assert!(on_a && error.status.is_server_error(), "{number}: {error}");
            }
            Err(error) => panic!("{number}: {error}"),
        }
    }
    drop(dead);
    server.kill();
    server.start_again();
    for (number, _) in objects {
        get(number).await.unwrap();
    }
}
