//! Commands that the admin listener answers.

use serde_json::Value;

use crate::rig::{Server, file, run};

#[test]
fn one_screen_shows_the_server() {
    let server = Server::start();
    let text = server.run(["status"]).ok();
    for expected in ["DISK", "GiB", "VOLUME", "writable", "waiting to be deleted"] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
    }
    let json = server.run(["status", "--json"]).json();
    assert_eq!(json["directory"]["stores"][0], "local");
    assert_eq!(json["store"]["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(json["directory"]["volumes"], 2);
}

#[test]
fn volumes_are_made_shown_and_closed() {
    let server = Server::start();
    let made = server.run(["volume", "create", "--json"]).json();
    let volume = made["volume"].to_string();
    let list = server.run(["volume", "list", "--json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 3);
    assert!(server.run(["volume", "list"]).ok().lines().count() == 4);
    let state =
        |command: &str| server.run(["volume", command, &volume, "--json"]).json()["state"].clone();
    assert_eq!(state("set-readonly"), "read-only");
    assert_eq!(state("show"), "read-only");
    assert_eq!(state("set-writable"), "writable");
    assert!(server.run(["volume", "show", &volume]).ok().contains("generation"));
}

#[test]
fn jobs_are_watched_and_listed() {
    let server = Server::start();
    let report = server.run(["volume", "verify", "1", "--json"]).json();
    assert_eq!((&report["volume"], report["damaged"].as_array().unwrap().len()), (&1.into(), 0));
    let done = server.run(["volume", "compact", "1"]).ok();
    assert!(done.contains("volume 1: 4.0 KiB → 4.0 KiB"), "{done}");
    let job = server.run(["volume", "verify", "2", "--detach", "--json"]).json();
    assert_eq!(job["kind"], "verify");
    let jobs = server.run(["volume", "jobs", "--json"]).json();
    let kinds: Vec<&Value> = jobs.as_array().unwrap().iter().map(|job| &job["kind"]).collect();
    assert_eq!(kinds, ["verify", "compact", "verify"]);
    server.run(["volume", "cancel", "3"]).ok();
    assert!(server.run(["volume", "cancel", "99"]).failed(3).contains("volume jobs"));
}

#[test]
fn buckets_live_and_die() {
    let server = Server::start();
    let made = server.run(["bucket", "create", "cats", "--read", "public", "--json"]).json();
    assert_eq!((&made["read"], &made["write"]), (&"public".into(), &"private".into()));
    assert!(server.run(["bucket", "create", "cats"]).failed(1).contains("exists"));
    server.run(["bucket", "create", "Cats"]).failed(2);
    server.run(["bucket", "set", "cats"]).failed(2);
    server.run(["bucket", "set", "cats", "--write", "public"]).ok();
    let shown = server.run(["bucket", "show", "cats"]).ok();
    assert!(shown.contains("write") && !shown.contains("private"), "{shown}");
    assert!(server.run(["bucket", "list"]).ok().contains("photos"));
    let photo = file(server.home.folder.path(), "tom.jpg", "not really");
    server.run(["put", photo.to_str().unwrap(), "cats/tom.jpg"]).ok();
    let told = server.run(["bucket", "rm", "cats"]).failed(1);
    assert!(told.contains("hayrick ls cats"), "{told}");
    server.run(["rm", "cats/tom.jpg"]).ok();
    server.run(["bucket", "rm", "cats"]).ok();
    server.run(["bucket", "show", "cats"]).failed(3);
}

#[test]
fn keys_are_made_listed_and_removed() {
    let server = Server::start();
    server.run(["bucket", "create", "dogs"]).ok();
    let made = server.run(["key", "create", "photos"]);
    assert!(made.stderr.contains("not shown again"));
    let key = made.ok();
    let (id, secret) = key.trim().split_once(':').unwrap();
    let listed = server.run(["key", "list", "photos"]).ok();
    assert!(listed.contains(id) && !listed.contains(secret), "{listed}");
    let told = server.run(["key", "rm", "dogs", id]).failed(3);
    assert!(told.contains("hayrick key list dogs"), "{told}");
    server.run(["key", "rm", "photos", id]).ok();
    assert_eq!(server.run(["key", "list", "photos", "--json"]).json(), serde_json::json!([]));
    server.run(["key", "create", "birds"]).failed(3);
}

#[test]
fn errors_name_the_next_step() {
    let told = run(["status", "--admin", "http://127.0.0.1:1"]).failed(5);
    assert!(told.contains("`hayrick up`") && told.contains("--admin"), "{told}");
    let told = run(["status", "--json", "--admin", "http://127.0.0.1:1"]).failed(5);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["exit_code"], 5);
    run(["status", "--admin", "ftp://x"]).failed(2);
    let server = Server::start();
    let told = server.run(["volume", "show", "77"]).failed(3);
    assert!(told.contains("hayrick volume list"), "{told}");
    server.run(["volume", "verify", "77"]).failed(3);
    server.run(["volume", "show", "zero"]).failed(2);
}
