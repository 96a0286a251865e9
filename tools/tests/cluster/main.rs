//! A cluster of real processes: ZooKeeper, three stores on three racks, two proxies and a
//! directory, some of which die.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail by panic and say what it did"
)]

mod chaos;
mod dead_disk;
mod degraded;
mod dev;
mod keeper;
mod operator;
mod process;
mod reach;
mod recovery;
mod repair;

use std::time::{Duration, Instant};

use hayrick_service::auth::Secret;
use hayrick_service::client::{Client, ClientError, ClientOptions};
use hayrick_store::NeedleId;
use hayrick_store::status::StoreStatus;
use hayrick_testkit::ZooKeeper;
use http_body_util::BodyExt as _;
use serde_json::json;

use process::{Process, TOKEN, hayrick};

struct Cluster {
    zookeeper: ZooKeeper,
    folder: tempfile::TempDir,
    stores: Vec<Process>,
    directory: Process,
    proxies: Vec<Process>,
    http: Client,
}

impl Cluster {
    /// With a bucket, `photos`, of two copies.
    async fn start() -> Self {
        Self::with("").await
    }

    /// With these settings of the directory.
    async fn with(settings: &str) -> Self {
        let (zookeeper, folder) = (ZooKeeper::start(), tempfile::tempdir().unwrap());
        let role = |role: &'static str, name: &str, more: &str| {
            let connect = format!("[cluster]\nzookeeper.connect = \"{}\"\n", zookeeper.address());
            Process::start(role, &folder.path().join(name), &(connect + more))
        };
        let store = |number: u32| {
            let more = format!("store = \"s{number}\"\nrack = \"r{number}\"\n");
            role("store", &format!("s{number}"), &more)
        };
        let stores: Vec<_> = (1..=3).map(store).collect();
        let directory = role("directory", "d1", settings);
        let proxies = vec![role("proxy", "p1", ""), role("proxy", "p2", "")];
        let token = Some(Secret::new(TOKEN));
        let http = Client::new(ClientOptions { token, ..ClientOptions::default() });
        let bucket = json!({"name": "photos", "read": "public", "write": "public", "copies": 2});
        let url = format!("{}/directory/buckets", directory.admin);
        http.post(url).json(&bucket).send().await.unwrap();
        let this = Self { zookeeper, folder, stores, directory, proxies, http };
        this.see_the_bucket().await;
        this
    }

    async fn see_the_bucket(&self) {
        for proxy in 0..2 {
            let url = format!("{}/photos", self.door(proxy));
            eventually(async || self.http.get(&url).send().await.is_ok()).await;
        }
    }

    fn door(&self, proxy: usize) -> &str {
        self.proxies[proxy].public.as_ref().unwrap()
    }

    async fn put(&self, proxy: usize, name: &str, body: Vec<u8>) -> Result<NeedleId, ClientError> {
        let call = self.http.put(format!("{}/photos/{name}", self.door(proxy))).body(body);
        let needle = call.send().await?.headers()["x-hayrick-needle"].to_str().unwrap().to_owned();
        Ok(needle.parse().unwrap())
    }

    async fn delete(&self, proxy: usize, name: &str) -> Result<(), ClientError> {
        let url = format!("{}/photos/{name}", self.door(proxy));
        self.http.delete(url).send().await.map(drop)
    }

    async fn get(&self, proxy: usize, name: &str) -> Result<Vec<u8>, ClientError> {
        let answer = self.http.get(format!("{}/photos/{name}", self.door(proxy))).send().await?;
        Ok(answer.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    async fn live_needles(&self) -> u64 {
        let mut live = 0;
        for store in &self.stores {
            let url = format!("{}/store/status", store.admin);
            let status: StoreStatus = self.http.get(url).send_json().await.unwrap();
            live += status.volumes.iter().map(|volume| volume.live_needles).sum::<u64>();
        }
        live
    }
}

fn bytes(number: usize) -> Vec<u8> {
    format!("object {number}. ").into_bytes().repeat(number % 50 + 1)
}

async fn eventually(holds: impl AsyncFn() -> bool) {
    within(Duration::from_mins(1), holds).await;
}

async fn within(patience: Duration, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < patience, "not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_dies_costs_no_read_and_uploads_go_on() {
    let mut cluster = Cluster::start().await;
    let large = vec![7; 20 << 20];
    cluster.put(0, "large", large.clone()).await.unwrap();
    for number in 0..30 {
        cluster.put(number % 2, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    assert_eq!(cluster.live_needles().await, 2 * (30 + 3), "two copies of everything");

    cluster.stores[0].kill();
    for number in 0..30 {
        let name = format!("n{number}");
        assert_eq!(cluster.get(number % 2, &name).await.unwrap(), bytes(number), "{name}");
    }
    assert!(cluster.get(1, "large").await.unwrap() == large);
    for number in 30..40 {
        // Until the directory has noticed, a place may be on the store that died.
        let name = format!("n{number}");
        eventually(async || cluster.put(0, &name, bytes(number)).await.is_ok()).await;
    }

    cluster.stores[0].start_again();
    for number in 0..40 {
        let name = format!("n{number}");
        assert_eq!(cluster.get(number % 2, &name).await.unwrap(), bytes(number), "{name}");
    }
    cluster.delete(0, "large").await.unwrap();
    assert_eq!(cluster.get(1, "large").await.unwrap_err().status().unwrap(), 404);
    // What failed uploads left behind goes, and so does what was deleted.
    eventually(async || cluster.live_needles().await == 2 * 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_zookeeper_reads_and_writes_go_on() {
    let mut cluster = Cluster::start().await;
    for number in 0..10 {
        cluster.put(number % 2, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    cluster.zookeeper.kill();
    // Longer than ZooKeeper keeps a session that it does not hear from.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for number in 10..20 {
        cluster.put(number % 2, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    for number in 0..20 {
        let name = format!("n{number}");
        assert_eq!(cluster.get(number % 2, &name).await.unwrap(), bytes(number), "{name}");
    }
    cluster.zookeeper.restart();
    let url = format!("{}/directory/buckets", cluster.directory.admin);
    let bucket = json!({"name": "later", "copies": 3});
    eventually(async || cluster.http.post(&url).json(&bucket).send().await.is_ok()).await;
    assert_eq!(cluster.get(0, "n7").await.unwrap(), bytes(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_zookeeper_volumes_never_written_to_take_all_that_keys_are_leased_for() {
    let mut cluster = Cluster::with("[directory]\nlease_keys = 60\n").await;
    // Another process, to which both volumes are new.
    cluster.directory.stop();
    cluster.directory.start_again();
    cluster.zookeeper.kill();
    let mut stored = 0;
    let refused = loop {
        match cluster.put(stored % 2, &format!("n{stored}"), bytes(stored)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(stored, 2 * 60, "two leases, to the last key");
    let ClientError::Status(answer) = refused else { panic!("{refused}") };
    assert!(answer.status == 503 && answer.retry_after.is_some(), "{answer}");
    cluster.zookeeper.restart();
    eventually(async || cluster.put(0, "later", bytes(1)).await.is_ok()).await;
    for number in 0..stored {
        let name = format!("n{number}");
        assert_eq!(cluster.get(number % 2, &name).await.unwrap(), bytes(number), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_directory_uploads_are_told_to_come_back() {
    let mut cluster = Cluster::start().await;
    cluster.put(0, "a", bytes(1)).await.unwrap();
    cluster.directory.kill();
    let refused = cluster.put(0, "b", bytes(2)).await.unwrap_err();
    let ClientError::Status(answer) = refused else { panic!("{refused}") };
    assert!(answer.status == 503 && answer.retry_after.is_some(), "{answer}");
    cluster.directory.start_again();
    eventually(async || cluster.put(1, "b", bytes(2)).await.is_ok()).await;
    assert_eq!(cluster.get(0, "a").await.unwrap(), bytes(1));
}

#[test]
fn what_a_role_needs_and_lacks_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let zookeeper = "[cluster]\nzookeeper.connect = \"127.0.0.1:1\"\n";
    for (role, config, named) in
        [("store", "", "cluster.zookeeper.connect"), ("store", zookeeper, "cluster.store")]
    {
        let path = folder.path().join("hayrick.toml");
        std::fs::write(&path, config).unwrap();
        let output = hayrick(role, &path, &folder.path().join("data")).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && told.contains(named), "{role}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_of_another_cluster_is_refused() {
    let cluster = Cluster::start().await;
    let other = ZooKeeper::start();
    let folder = cluster.folder.path().join("s1");
    cluster.stores[0].stop();
    let config =
        format!("[cluster]\nzookeeper.connect = \"{}\"\nstore = \"s1\"\n", other.address());
    let path = folder.join("other.toml");
    std::fs::write(&path, config).unwrap();
    let output = hayrick("store", &path, &folder.join("data")).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("expected cluster"), "{told}");
}

#[test]
fn the_example_configurations_are_good() {
    for name in ["store", "directory", "proxy", "keeper"] {
        let path = format!("{}/../deploy/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_hayrick"));
        let output = check.env_clear().args(["config", "check", "--config", &path]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
