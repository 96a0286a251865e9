//! Processes that are killed while they take ids and keys.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;
use crate::coordinator::conformance::volume;

const PLACE: &str = "HAYRICK_KILL_TEST_PLACE";
const ROUNDS: usize = 3;

/// Not a test of its own: the process that is killed.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let coordinator = open(&ZooKeeperConfig::new(place.into_string().unwrap())).await;
    let volume = VolumeId::new(1).unwrap();
    let takers = (0..4).map(|_| take_for_ever(&coordinator, volume));
    futures::future::join_all(takers).await;
}

async fn take_for_ever(coordinator: &ZooKeeperCoordinator, volume: VolumeId) {
    loop {
        let keys = coordinator.lease_keys(volume, 3).await.unwrap();
        let id = coordinator.reserve_volume_id().await.unwrap();
        // One write, past the test harness, which would hold it back.
        let line = format!("\ntook {} {} {id}\n", keys.start, keys.end);
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

fn start_child(config: &ZooKeeperConfig) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["coordinator::zookeeper::tests::kill::child", "--exact", "--nocapture"])
        .env(PLACE, &config.connect)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The whole lines that a child wrote, until it was killed after so many of them.
fn kill_after(mut child: Child, lines: usize) -> Vec<(u64, u64, u64)> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut taken = Vec::new();
    for line in output.lines().map_while(Result::ok) {
        let Some(numbers) = line.strip_prefix("took ") else { continue };
        let numbers: Vec<u64> = numbers.split(' ').map_while(|text| text.parse().ok()).collect();
        // The last line may be cut.
        if let [start, end, id] = *numbers {
            taken.push((start, end, id));
        }
        if taken.len() == lines {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_nothing_is_given_out_twice() {
    let config = fresh();
    let coordinator = open(&config).await;
    let id = coordinator.reserve_volume_id().await.unwrap();
    coordinator.publish_volume(id, volume(&["a"])).await.unwrap();
    let (mut keys, mut ids) = (HashSet::new(), HashSet::from([1]));
    for round in 1..=ROUNDS {
        let children = [start_child(&config), start_child(&config)];
        let readers =
            children.map(|child| std::thread::spawn(move || kill_after(child, 20 * round)));
        while readers.iter().any(|reader| !reader.is_finished()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for reader in readers {
            let taken = reader.join().unwrap();
            assert!(taken.len() >= 20 * round, "a child ended by itself");
            for (start, end, id) in taken {
                assert_eq!(end - start, 3);
                assert!((start..end).all(|key| keys.insert(key)), "a key came twice");
                assert!(ids.insert(id), "an id came twice");
            }
        }
    }
    let next = coordinator.lease_keys(id, 1).await.unwrap().start;
    assert!(keys.iter().all(|key| *key < next), "a range was given back");
}
