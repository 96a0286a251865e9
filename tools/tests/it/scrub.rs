//! `hayrick scrub` against a running server.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use crate::rig::{Server, file, http};

/// Damages one byte of an object that lies in a volume, and gives the volume and the key.
fn damage(server: &Server) -> (u32, String) {
    let photo = file(server.home.folder.path(), "x", vec![7; 100_000]);
    server.run(["put", photo.to_str().unwrap(), "photos/a"]).ok();
    let found = [1, 2].into_iter().find_map(|volume| {
        let dump = server.run(["volume", "dump", &volume.to_string(), "--json"]).ok();
        let mut records = dump.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        Some((volume, records.find(|record| record["meta"]["name"] == "a")?))
    });
    let (volume, record) = found.unwrap();
    let path = Server::volume_file(&server.home, volume);
    let at = record["offset"].as_u64().unwrap() + 1000;
    File::options().write(true).open(path).unwrap().write_all_at(b"!", at).unwrap();
    (volume, record["key"].to_string())
}

#[test]
fn damage_is_named_by_a_pass_that_was_asked_for() {
    let server = Server::start();
    let healthy = server.run(["scrub", "now", "--wait"]).ok();
    assert!(healthy.contains("LAST PASS") && !healthy.contains("never"), "{healthy}");
    let (volume, key) = damage(&server);
    let other = (3 - volume).to_string();
    server.run(["scrub", "now", &other, "--wait"]).ok();

    let passed = server.run(["scrub", "now", &volume.to_string(), "--wait", "--json"]);
    let scrubs: Value = serde_json::from_slice(&passed.stdout).unwrap();
    let told = passed.failed(4);
    assert!(told.contains(&format!("volume {volume} is damaged in 1 places")), "{told}");
    assert_eq!((&scrubs[0]["volume"], &scrubs[1]), (&volume.into(), &Value::Null));
    assert_eq!(scrubs[0]["findings"][0]["key"].to_string(), key);

    let status = server.run(["scrub", "status"]).ok();
    for expected in ["WORK", "LAST PASS", "ago", "DAMAGE", &key] {
        assert!(status.contains(expected), "{expected} is missing in:\n{status}");
    }
    let all = server.run(["scrub", "now", "--wait"]).failed(4);
    assert!(all.contains(&format!("volume {volume} is")), "{all}");

    let volumes = &server.run(["status", "--json"]).json()["store"]["volumes"];
    let of = volumes.as_array().unwrap().iter().find(|of| of["volume"] == volume).unwrap();
    assert_eq!((&of["scrub"]["damaged"], of["scrub"]["last_pass_ms"].is_u64()), (&1.into(), true));
    // The gauges follow within seconds.
    let gauge = format!("hayrick_store_volume_scrub_damaged{{volume=\"{volume}\"}} 1");
    while !http("GET", &format!("{}/metrics", server.admin), &[]).1.contains(&gauge) {
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_pause_outlives_a_restart() {
    let server = Server::start();
    let work = |server: &Server| {
        server.run(["scrub", "status", "--json"]).json()["disks"][0]["work"].clone()
    };
    assert!(server.run(["scrub", "pause"]).ok().contains("hayrick scrub resume"));
    let told = server.run(["scrub", "now"]).failed(1);
    assert!(told.contains("hayrick scrub resume"), "{told}");
    let server = server.stop().1.start();
    assert_eq!(work(&server), "paused");
    server.run(["scrub", "resume"]).ok();
    assert_ne!(work(&server), "paused");
    assert!(server.run(["scrub", "now"]).ok().contains("hayrick scrub status"));
    assert!(server.run(["scrub", "now", "9"]).failed(3).contains("hayrick volume list"));
}
