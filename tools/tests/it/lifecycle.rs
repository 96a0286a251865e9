//! From the first start to the clean stop.

use crate::rig::{Home, Server, http};

#[test]
fn a_newcomer_is_told_where_things_are_and_what_to_do_next() {
    let server = Server::start();
    let told = server.home.read("stdout");
    for expected in [
        &server.public,
        &server.internal,
        &server.admin,
        &format!("curl -T photo.jpg {}/photos/cats/tom.jpg\n", server.public),
        &format!("{}/photos/cats/tom.jpg@400w.webp\n", server.public),
        &format!("hayrick status --admin {}", server.admin),
    ] {
        assert!(told.contains(expected.as_str()), "{expected} is missing in:\n{told}");
    }
    let bucket = server.run(["bucket", "show", "photos", "--json"]).json();
    assert_eq!((&bucket["read"], &bucket["write"]), (&"public".into(), &"public".into()));
}

#[test]
fn it_answers_probes_and_serves_metrics() {
    let server = Server::start();
    for base in [&server.admin, &server.internal] {
        assert_eq!(http("GET", &format!("{base}/healthz"), &[]), (200, "ok\n".to_owned()));
        assert_eq!(http("GET", &format!("{base}/readyz"), &[]).0, 200);
        let (status, metrics) = http("GET", &format!("{base}/metrics"), &[]);
        assert_eq!(status, 200);
        assert!(metrics.contains("hayrick_build_info"), "{metrics}");
    }
    let (status, body) = http("GET", &format!("{}/status", server.internal), &[]);
    assert_eq!(status, 200, "{body}");
}

#[test]
fn sigterm_stops_it_cleanly_and_all_is_there_again() {
    let server = Server::start();
    server.run(["bucket", "create", "cats"]).ok();
    server.run(["bucket", "rm", "photos"]).ok();
    let (status, home) = server.stop();
    assert!(status.success(), "{status}");
    assert!(!home.path("ready.json").exists());
    assert!(home.read("stderr").contains("stopped"));
    let server = home.start();
    let buckets = server.run(["bucket", "list", "--json"]).json();
    assert_eq!(buckets.as_array().unwrap().len(), 1, "photos is made once only: {buckets}");
    assert_eq!(buckets[0]["name"], "cats");
}

#[test]
fn one_folder_is_served_by_one_process() {
    let server = Server::start();
    let mut second = Home::new();
    second.args = vec!["--data".to_owned(), server.home.path("data").display().to_string()];
    let refused = second.refused();
    assert_eq!(refused.code, 2, "--data is given twice: {}", refused.stderr);
    let refused = crate::rig::run([
        "up",
        "--listen=127.0.0.1:0",
        "--store-listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--data",
        server.home.path("data").to_str().unwrap(),
    ]);
    let told = refused.failed(1);
    assert!(told.contains(&format!("in use by process {}", server.pid)), "{told}");
    assert!(told.contains("--data"), "{told}");
}

#[test]
fn an_address_in_use_is_named_with_the_flag_that_changes_it() {
    let server = Server::start();
    let address = server.admin.strip_prefix("http://").unwrap();
    let told = Home::new().args(&["--admin-listen", address]).refused().failed(1);
    assert!(told.contains(address) && told.contains("--admin-listen"), "{told}");
}

#[test]
fn the_greeting_is_json_when_asked() {
    let server = Home::new().args(&["--json"]).start();
    let told: serde_json::Value = serde_json::from_str(&server.home.read("stdout")).unwrap();
    assert_eq!(told["public"], server.public.as_str());
}
