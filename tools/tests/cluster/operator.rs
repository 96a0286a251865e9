//! What operators ask of a cluster, and tell it.

use std::process::Command;

use hayrick_store::http::EPOCH_HEADER;
use serde_json::Value;

use super::*;

struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }

    fn worked(&self) {
        assert_eq!(self.code, 0, "{}", self.stderr);
    }

    fn failed(&self, code: i32, words: &str) {
        assert!(self.code == code && self.stderr.contains(words), "{}: {}", self.code, self.stderr);
    }
}

impl Cluster {
    fn run(&self, words: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hayrick"));
        command.env_clear().env("HAYRICK_ADMIN_TOKEN", TOKEN);
        command.env("HAYRICK_ADMIN", &self.directory.admin);
        let output = command.args(words.split_whitespace()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        Ran { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    fn status(&self) -> Value {
        self.run("cluster status --json").json()
    }

    /// A volume, a store that has it, and one that has not.
    fn volume(&self) -> (u64, String, String) {
        let status = self.status();
        let volume = &status["volumes"][0];
        let replicas: Vec<_> = volume["replicas"].as_array().unwrap().iter().collect();
        let all = ["s1", "s2", "s3"].into_iter();
        let other = all.map(Value::from).find(|store| !replicas.contains(&store)).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (volume["volume"].as_u64().unwrap(), text(replicas[0]), text(&other))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_seen_on_one_screen() {
    let cluster = Cluster::start().await;
    cluster.put(0, "a", bytes(1)).await.unwrap();
    // Stores are asked every other second.
    eventually(async || cluster.status()["reports"].as_array().unwrap().len() == 3).await;
    let status = cluster.status();
    assert_eq!((&status["under_replicated"], &status["buckets"]), (&json!(0), &json!(1)));
    let screen = cluster.run("cluster status --volumes").stdout;
    for seen in ["3 of 3 are there", "writable", "none leads", "RACK", "r2", "s2", "VOLUME"] {
        assert!(screen.contains(seen), "{seen}: {screen}");
    }
    assert_eq!(cluster.run("store list --json").json().as_array().unwrap().len(), 3);
    assert!(cluster.run("rebalance").stdout.contains("nothing to do"));

    let (_, gone, _) = cluster.volume();
    let number: usize = gone.trim_start_matches('s').parse().unwrap();
    cluster.stores[number - 1].kill();
    let is_gone = |store: &Value| store["store"] == *gone && store["alive"] == false;
    let seen = async || {
        let status = cluster.status();
        let stores = status["stores"].as_array().unwrap().clone();
        stores.iter().any(is_gone) && status["under_replicated"] != 0
    };
    eventually(seen).await;
    let screen = cluster.run("cluster status").stdout;
    assert!(screen.contains("under-replicated") && screen.contains("gone"), "{screen}");
    cluster.run(&format!("store remove {gone}")).failed(1, "in use");
    cluster.run("store remove s9").failed(3, "s9");
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_planned_given_and_taken_back() {
    let cluster = Cluster::start().await;
    cluster.put(0, "a", bytes(1)).await.unwrap();
    let (volume, from, to) = cluster.volume();
    let relocate = format!("volume move {volume} {from} {to}");
    let plan = cluster.run(&format!("{relocate} --json")).json();
    let id = format!("move:{volume}:{from}:{to}");
    assert_eq!((&plan["given"], &plan["steps"][0]["id"]), (&json!(false), &json!(id)));
    assert_eq!(cluster.status()["orders"], json!([]), "a plan changes nothing");

    cluster.run(&format!("{relocate} --yes")).failed(1, "no keeper leads");
    let given = cluster.run("keeper status --json").json();
    assert_eq!(given["orders"][0]["id"], id);
    cluster.run(&format!("keeper cancel {id}")).worked();
    cluster.run(&format!("keeper cancel {id}")).failed(3, "keeper status");
    assert_eq!(cluster.run("keeper pause --json").json()["id"], "pause");
    assert!(cluster.run("keeper status").stdout.contains("hayrick keeper resume"));
    cluster.run("keeper resume").worked();

    cluster.run(&format!("store drain {from} --yes --no-wait")).worked();
    assert!(cluster.run("store list").stdout.contains("draining"));
    cluster.run(&format!("volume copy {volume} {from}")).failed(1, "already");
    cluster.run(&format!("store undrain {from}")).worked();
    assert!(!cluster.run("store list").stdout.contains("draining"));
    assert_eq!(cluster.status()["orders"], json!([]));

    cluster.run(&format!("volume move {volume} {to} {from}")).failed(1, "no replica on");
    cluster.run("volume repair 999").failed(3, "no volume 999");
    cluster.run("store drain s9").failed(3, "store list");
    let words = format!("store list --admin {}", cluster.proxies[0].admin);
    cluster.run(&words).failed(1, "is no directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_closed_in_the_whole_cluster() {
    let cluster = Cluster::start().await;
    cluster.put(0, "a", bytes(1)).await.unwrap();
    let volumes = cluster.status()["volumes"].as_array().unwrap().len();
    for volume in 1..=volumes {
        cluster.run(&format!("volume set-readonly {volume}")).worked();
    }
    assert!(cluster.run("cluster status").stdout.contains("read-only"));
    // The directory makes new ones for what comes.
    eventually(async || cluster.put(0, "b", bytes(2)).await.is_ok()).await;
    assert!(cluster.status()["volumes"].as_array().unwrap().len() > volumes);
    assert_eq!(cluster.status()["volumes"][0]["state"], "read-only");
    cluster.run("volume set-readonly 1 --off").worked();
    assert_eq!(cluster.status()["volumes"][0]["state"], "writable");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_volumes_are_compared() {
    let cluster = Cluster::start().await;
    let needle = cluster.put(0, "a", bytes(1)).await.unwrap();
    let status = cluster.run("volume fsck --json").json();
    let orphans = |status: &Value| -> u64 {
        let findings = status["findings"].as_array().unwrap();
        findings.iter().map(|found| found["orphans"].as_u64().unwrap()).sum()
    };
    assert_eq!((orphans(&status), &status["running"]), (0, &json!(false)));
    assert_eq!(status["findings"].as_array().unwrap().len(), status["volumes"]);

    let volume = &cluster.status()["volumes"][usize::try_from(needle.volume.get()).unwrap() - 1];
    let lost = volume["replicas"][0].as_str().unwrap();
    let number: usize = lost.trim_start_matches('s').parse().unwrap();
    let store = cluster.stores[number - 1].internal.as_ref().unwrap();
    let (id, key, cookie) = (needle.volume, needle.key, needle.cookie);
    let delete = cluster.http.delete(format!("{store}/{id}/{key}/{cookie}"));
    delete.header(EPOCH_HEADER, "1".parse().unwrap()).send().await.unwrap();
    let found = cluster.run(&format!("volume fsck {id}"));
    found.failed(4, &format!("volume repair {id}"));
    assert!(
        found.stdout.contains(&format!("{lost} lacks {needle} of photos/a")),
        "{}",
        found.stdout
    );
    cluster.run("volume fsck 999").failed(3, "999");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_moves_while_one_waits() {
    let cluster = Cluster::start().await;
    for number in 0..10 {
        cluster.put(0, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    let connect = cluster.zookeeper.address();
    let config = format!(
        "[cluster]\nzookeeper.connect = \"{connect}\"\n\
         [keeper]\ninterval = \"100ms\"\nmin_free = \"1MiB\"\n"
    );
    let _keeper = Process::start("keeper", &cluster.folder.path().join("k1"), &config);
    eventually(async || cluster.status()["keeper_status"]["leads"] == true).await;
    let (volume, from, to) = cluster.volume();
    let moved = cluster.run(&format!("volume move {volume} {from} {to} --yes --json")).json();
    assert_eq!(moved["done"], true);
    let volumes = cluster.status()["volumes"].as_array().unwrap().clone();
    let entry = volumes.iter().find(|entry| entry["volume"] == volume).unwrap();
    let replicas = entry["replicas"].as_array().unwrap();
    assert!(replicas.contains(&json!(to)) && !replicas.contains(&json!(from)), "{entry}");
    for number in 0..10 {
        let name = format!("n{number}");
        eventually(async || cluster.get(0, &name).await.is_ok_and(|b| b == bytes(number))).await;
    }
    let screen = cluster.run("keeper status").stdout;
    assert!(screen.contains("term") && screen.contains("orders   none"), "{screen}");
}
