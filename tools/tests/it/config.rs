//! `hayrick config`, and what a wrong configuration comes to.

use crate::rig::{Home, file, hayrick, run};

#[test]
fn what_is_printed_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let printed = run(["config", "print", "--listen", "127.0.0.1:9", "--data", "/d"]).ok();
    assert!(printed.contains("listen = \"127.0.0.1:9\"") && printed.contains("/d/disk"));
    let path = file(folder.path(), "hayrick.toml", &printed);
    let path = path.to_str().unwrap();
    run(["config", "check", "--config", path]).ok();
    assert_eq!(run(["config", "print", "--config", path]).ok(), printed);
    let json = run(["config", "print", "--json"]).json();
    assert_eq!(json["admin"]["listen"], "127.0.0.1:8082");
}

#[test]
fn secrets_are_hidden() {
    let mut command = hayrick();
    command.args(["config", "print"]).env("HAYRICK_ADMIN__TOKEN", "s3cret");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("<hidden>") && !text.contains("s3cret"), "{text}");
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "hayrick.toml", "[public]\nlistn = \"127.0.0.1:0\"\n");
    let path = path.to_str().unwrap();
    let told = run(["config", "check", "--config", path]).failed(2);
    assert!(told.contains("hayrick.toml:2") && told.contains("listn"), "{told}");
    let told = Home::new().args(&["--config", path]).refused().failed(2);
    assert!(told.contains("listn"), "{told}");
}

#[test]
fn an_unknown_variable_and_a_wrong_value_are_named() {
    let told = Home::new().with("HAYRICK_STORE__COLOUR", "red").refused().failed(2);
    assert!(told.contains("HAYRICK_STORE__COLOUR"), "{told}");
    let told = Home::new().with("HAYRICK_STORE__VOLUME_SIZE", "33GiB").refused().failed(2);
    assert!(told.contains("store.volume_size"), "{told}");
    let told = Home::new().args(&["--listen", "localhost"]).refused().failed(2);
    assert!(told.contains("IP:PORT"), "{told}");
}
