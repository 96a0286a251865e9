//! The names moved between engines, with the real binary and a real PostgreSQL server.

use hayrick_testkit::Postgres;
use serde_json::Value;

use crate::rig::{Home, Ran, Server, file, hayrick, http};

fn copy(from: &str, to: &str, more: &[&str]) -> Ran {
    let mut command = hayrick();
    // Passwords have no place on the command line.
    command.env("HAYRICK_NAMES_FROM", from).env("HAYRICK_NAMES_TO", to);
    command.args(["names", "copy", "--json"]).args(more).output().unwrap().into()
}

fn get(server: &Server, name: &str) -> (u16, String) {
    http("GET", &format!("{}/photos/{name}", server.public), &[])
}

fn missing(answer: &Value) -> u64 {
    answer["differences"][0]["missing"].as_u64().unwrap()
}

#[test]
fn the_names_of_a_server_move_to_postgresql() {
    let postgres = Postgres::start();
    let url = postgres.database();
    let server = Server::start();
    let photo = file(server.home.folder.path(), "photo", "a photo");
    for name in ["photos/a", "photos/b", "photos/gone"] {
        server.run(["put", photo.to_str().unwrap(), name]).ok();
    }
    server.run(["rm", "photos/gone"]).ok();
    let data = server.home.path("data").display().to_string();
    let in_use = copy(&data, &url, &["--apply", "--final"]).failed(1);
    assert!(in_use.contains("in use"), "{in_use}");

    let (_, home) = server.stop();
    let looked = copy(&data, &url, &[]).json();
    assert_eq!((missing(&looked), &looked["applied"]), (2, &Value::Bool(false)));
    let bulk = copy(&data, &url, &["--apply"]).json();
    assert_eq!((missing(&bulk), &bulk["in_place"]), (2, &Value::Bool(false)));
    let home = home.with("HAYRICK_DIRECTORY__POSTGRES__URL", &url);
    let refused = home.refused().failed(1);
    assert!(refused.contains("--final"), "{refused}");
    let last = copy(&data, &url, &["--apply", "--final"]).json();
    assert_eq!((missing(&last), &last["in_place"]), (0, &Value::Bool(true)));

    let server = home.start();
    assert_eq!(get(&server, "a"), (200, "a photo".to_owned()));
    assert_eq!(get(&server, "b"), (200, "a photo".to_owned()));
    assert_eq!(get(&server, "gone").0, 404);
    let photo = file(server.home.folder.path(), "photo", "another");
    server.run(["put", photo.to_str().unwrap(), "photos/c"]).ok();
    let (_, home) = server.stop();

    let into_names = copy(&url, &data, &["--apply", "--final"]).failed(1);
    assert!(into_names.contains("already"), "{into_names}");
    std::fs::rename(home.path("data/directory/names"), home.path("old")).unwrap();
    copy(&url, &data, &["--apply", "--final"]).ok();
    let server = Home { env: Vec::new(), ..home }.start();
    assert_eq!(get(&server, "c"), (200, "another".to_owned()));
    assert_eq!(get(&server, "gone").0, 404);
}

#[test]
fn a_folder_that_tells_no_cluster_is_no_source() {
    let home = Home::new();
    let folder = home.folder.path().display().to_string();
    let refused = copy(&folder, "postgres://u@127.0.0.1:1/d", &[]).failed(3);
    assert!(refused.contains("hayrick.json"), "{refused}");
    let nowhere = copy("postgres://u@h/d?sslmode=require", &folder, &[]).failed(2);
    assert!(nowhere.contains("encrypted"), "{nowhere}");
}
