//! Nothing listens beyond loopback unless told to, and then only with credentials.

use crate::rig::{Home, Server, http};

const ANYWHERE: &str = "0.0.0.0:0";

#[test]
fn inner_listeners_beyond_loopback_need_a_token() {
    for (flag, section) in [("--store-listen", "internal"), ("--admin-listen", "admin")] {
        let home = Home::new().args(&[flag, ANYWHERE]);
        let told = home.refused().failed(2);
        assert!(told.contains(&format!("{section}.token")), "{told}");
        assert!(!home.path("data").exists(), "nothing was done");
    }
}

#[test]
fn a_token_opens_the_admin_listener_and_nothing_else_does() {
    let home = Home::new().args(&["--admin-listen", ANYWHERE]);
    let server = home.with("HAYRICK_ADMIN__TOKEN", "s3cret").start();
    let told = server.run(["status"]).failed(6);
    assert!(told.contains("--token"), "{told}");
    server.run(["status", "--token", "wrong"]).failed(6);
    server.run(["status", "--token", "s3cret"]).ok();
    assert_eq!(http("GET", &format!("{}/healthz", server.admin), &[]).0, 200);
    for path in ["metrics", "readyz", "store/status", "nowhere"] {
        assert_eq!(http("GET", &format!("{}/{path}", server.admin), &[]).0, 401, "{path}");
    }
}

#[test]
fn a_token_guards_the_store() {
    let server = Home::new().with("HAYRICK_INTERNAL__TOKEN", "s3cret").start();
    let url = format!("{}/status", server.internal);
    assert_eq!(http("GET", &url, &[]).0, 401);
    assert_eq!(http("GET", &url, &[("Authorization", "Bearer s3cret")]).0, 200);
}

#[test]
fn open_buckets_stay_on_this_machine() {
    let (_, home) = Server::start().stop();
    let home = home.args(&["--listen", ANYWHERE]);
    let told = home.refused().failed(2);
    assert!(told.contains("bucket photos"), "{told}");
    assert!(told.contains("hayrick bucket set photos --write private"), "{told}");
    let (status, mut home) = home.with("HAYRICK_PUBLIC__ALLOW_OPEN_BUCKETS", "true").start().stop();
    assert!(status.success());
    (home.env, home.args) = (Vec::new(), Vec::new());
    let server = home.start();
    server.run(["bucket", "set", "photos", "--write", "private"]).ok();
    let (_, home) = server.stop();
    home.args(&["--listen", ANYWHERE]).start();
}

#[test]
fn the_first_bucket_is_closed_where_others_could_reach_it() {
    let server = Home::new().args(&["--listen", ANYWHERE]).start();
    let bucket = server.run(["bucket", "show", "photos", "--json"]).json();
    assert_eq!((&bucket["read"], &bucket["write"]), (&"private".into(), &"private".into()));
    let told = server.home.read("stdout");
    assert!(told.contains("hayrick key create photos"), "{told}");
}
