//! `verify` and `dump` on volume files, without a server.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Home, Ran, Server, file, run};

fn verify(path: &Path) -> Ran {
    run(["volume", "verify", "--json", "--file", path.to_str().unwrap()])
}

fn dump(path: &Path, more: &[&str]) -> Ran {
    run(["volume", "dump", "--file", path.to_str().unwrap()].iter().chain(more))
}

fn records(ran: &Ran) -> Vec<Value> {
    let text = String::from_utf8(ran.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A stopped server's folder with three objects, one of them deleted.
fn filled() -> Home {
    let server = Server::start();
    let photo = file(server.home.folder.path(), "x", vec![7; 100_000]);
    for name in ["photos/a", "photos/käse", "photos/c"] {
        server.run(["put", photo.to_str().unwrap(), name]).ok();
    }
    server.run(["rm", "photos/c"]).ok();
    let running = server.run(["volume", "dump", "1", "--json"]);
    assert_eq!(running.code, 0, "a running server's volumes can be listed: {}", running.stderr);
    server.stop().1
}

/// The volume file that holds the object, and its record.
fn find(home: &Home, name: &str) -> (std::path::PathBuf, Value) {
    let files = [1, 2].map(|volume| Server::volume_file(home, volume));
    let mut found = files.into_iter().flat_map(|path| {
        let records = records(&dump(&path, &["--json"]));
        records.into_iter().map(move |record| (path.clone(), record))
    });
    found.find(|(_, record)| record["meta"]["name"] == name).unwrap()
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn healthy_files_are_listed_and_verified() {
    let home = filled();
    let mut good = 0;
    for volume in [1, 2] {
        let path = Server::volume_file(&home, volume);
        let report = verify(&path).json();
        assert_eq!(report["volume"], volume);
        good += report["good_needles"].as_u64().unwrap();
        let text = dump(&path, &[]).ok();
        assert!(text.contains(&format!("volume {volume}, generation 1")), "{text}");
    }
    assert_eq!(good, 2);
    let (path, record) = find(&home, "käse");
    assert_eq!((&record["record"], &record["size_bytes"]), (&"needle".into(), &100_000.into()));
    assert!(dump(&path, &["--check"]).ok().contains("photos/käse"));
}

#[test]
fn a_flipped_byte_is_found_and_named() {
    let home = filled();
    let (path, record) = find(&home, "a");
    let (offset, key) = (record["offset"].as_u64().unwrap(), record["key"].to_string());
    // In the data: the listing sees it only when it checks.
    flip(&path, offset + 1000);
    assert_eq!(dump(&path, &[]).code, 0);
    let listed = dump(&path, &["--check", "--json"]);
    assert_eq!(listed.code, 4);
    assert!(records(&listed).iter().any(|record| record["damage"].is_string()));
    let ran = verify(&path);
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap();
    let told = ran.failed(4);
    assert!(told.contains("damaged"), "{told}");
    let damaged = &report["damaged"][0];
    assert_eq!(damaged["offset"], offset);
    assert_eq!(damaged["key"].to_string(), key);
    let text =
        String::from_utf8(run(["volume", "verify", "--file", path.to_str().unwrap()]).stdout);
    let text = text.unwrap();
    assert!(text.contains(&offset.to_string()) && text.contains(&key), "{text}");
}

/// Nothing in the file itself proves that its last record was acknowledged; the index does.
#[test]
fn a_flipped_byte_in_the_last_record_is_found_too() {
    let home = filled();
    let (path, record) = find(&home, "käse");
    let offset = record["offset"].as_u64().unwrap();
    flip(&path, fs::metadata(&path).unwrap().len() - 20);
    flip(&path, offset + 1000);
    let with_index = verify(&path);
    let report: Value = serde_json::from_slice(&with_index.stdout).unwrap();
    with_index.failed(4);
    assert_eq!(report["damaged"][0]["key"], record["key"]);
    for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
        let index = entry.unwrap().path();
        if index.extension().is_some_and(|extension| extension == "idx") {
            fs::remove_file(index).unwrap();
        }
    }
    let without = verify(&path);
    let report: Value = serde_json::from_slice(&without.stdout).unwrap();
    without.failed(4);
    assert!(
        report["damaged"].as_array().unwrap().iter().any(|d| d["offset"] == offset),
        "{report}"
    );
}

#[test]
fn a_flipped_header_hides_one_record_and_no_other() {
    let home = filled();
    let (path, record) = find(&home, "a");
    let offset = record["offset"].as_u64().unwrap();
    let before = records(&dump(&path, &["--json"])).len();
    flip(&path, offset);
    let listed = dump(&path, &["--json"]);
    assert_eq!(listed.code, 4);
    let after = records(&listed);
    assert_eq!(after.len(), before);
    let damage = after.iter().find(|record| record["record"] == "damage").unwrap();
    assert_eq!(damage["offset"], offset);
    assert!(String::from_utf8(dump(&path, &[]).stdout).unwrap().contains("UNREADABLE"));
}

#[test]
fn what_is_no_volume_file_is_told_so() {
    let home = Home::new();
    let path = file(home.folder.path(), "x.vol", "no volume");
    for ran in [verify(&path), dump(&path, &[])] {
        let told = ran.failed(4);
        assert!(told.contains("superblock"), "{told}");
    }
    verify(&home.path("missing.vol")).failed(3);
    run(["volume", "verify"]).failed(2);
    run(["volume", "verify", "1", "--file", "x"]).failed(2);
}
