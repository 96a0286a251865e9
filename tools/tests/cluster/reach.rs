//! How soon a change of the cluster map is everywhere.

use std::time::{Duration, Instant};

use hayrick_testkit::Postgres;
use serde_json::json;

use super::Cluster;
use super::degraded::names_in;
use super::process::Process;

/// What is to be printed is far below; a machine that does other work is given time.
const BOUND: Duration = Duration::from_secs(20);
const CHANGES: usize = 20;

impl Cluster {
    async fn knows_bucket(&self, directory: &Process, name: &str) -> bool {
        let url = format!("{}/directory/buckets", directory.admin);
        let answer = self.http.get(url).send_bytes(1 << 20).await.unwrap();
        String::from_utf8(answer.to_vec()).unwrap().contains(&format!("\"{name}\""))
    }

    async fn serves_bucket(&self, proxy: usize, name: &str) -> bool {
        self.http.get(format!("{}/{name}", self.door(proxy))).send().await.is_ok()
    }
}

async fn until(holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < BOUND, "the change is not everywhere after {BOUND:?}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_map_is_soon_on_every_directory_and_proxy() {
    let postgres = Postgres::start();
    let settings = names_in(&postgres);
    let cluster = Cluster::with(&settings).await;
    let other = cluster.another_directory(&settings);
    let mut times = Vec::new();
    for number in 0..CHANGES {
        let name = format!("reach-{number}");
        let began = Instant::now();
        let url = format!("{}/directory/buckets", cluster.directory.admin);
        let bucket = json!({"name": name, "read": "public", "write": "public", "copies": 2});
        cluster.http.post(url).json(&bucket).send().await.unwrap();
        tokio::join!(
            until(async || cluster.knows_bucket(&other, &name).await),
            until(async || cluster.serves_bucket(0, &name).await),
            until(async || cluster.serves_bucket(1, &name).await),
        );
        times.push(began.elapsed());
    }
    times.sort();
    println!(
        "a new bucket was known to 2 directories and 2 proxies after {:?} in the middle, {:?} at most",
        times[CHANGES / 2],
        times[CHANGES - 1]
    );
}
