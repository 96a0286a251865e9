//! The real kernel: killed processes, file systems whose power goes, disks that reorder,
//! fill up and fail, and system calls that return errors.
//!
//! Most of it needs root and tools that `make torture` installs. A test that lacks
//! something says so and passes.

mod child;
mod device;
mod eio;
mod full;
mod kill;
mod power;
mod read_only;
mod replay;
mod syscalls;

use std::path::Path;
use std::process::Command;

use hayrick_store::Store;
use hayrick_store::config::StoreOptions;

use crate::client::{CLUSTER, Client, options, runtime};
use crate::record::Record;

/// Whether root and these tools are there; else says what is not.
fn can_run(test: &str, tools: &[&str]) -> bool {
    let mut missing: Vec<&str> = tools.iter().copied().filter(|tool| !is_there(tool)).collect();
    if !rustix::process::geteuid().is_root() {
        missing.push("root");
    }
    if !missing.is_empty() {
        println!("skipped {test}: without {}; `make torture` installs tools", missing.join(", "));
    }
    missing.is_empty()
}

fn is_there(tool: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {tool}")]).output();
    found.is_ok_and(|output| output.status.success())
}

/// `quick` rounds in an ordinary test run, `long` ones where time was given.
fn rounds(quick: u64, long: u64) -> u64 {
    if std::env::var_os("HAYRICK_TORTURE_SECONDS").is_some() { long } else { quick }
}

/// Runs a command that must succeed.
fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn options_in(dir: &Path) -> StoreOptions {
    StoreOptions { disks: vec![dir.join("store")], ..options() }
}

/// Opens what a child left behind, checks its record, goes on with it and closes it.
fn check_left_behind(dir: &Path, record: Record, when: &str) -> Record {
    let runtime = runtime();
    let store = Store::open(CLUSTER, options_in(dir)).unwrap();
    let mut client = Client::new(store, record, &runtime);
    client.check_health(when);
    client.check(when);
    let key = 10_000_000 + u64::from(rand::random::<u32>());
    for volume in client.record.volumes.clone() {
        client.put(&[(volume, key)]).unwrap();
    }
    client.verify(when);
    for volume in client.record.volumes.clone() {
        client.compact(volume).unwrap();
    }
    client.check(when);
    client.close()
}

/// Begins anew before a small disk is full, and before checking everything takes longer than all
/// else.
fn keep_small(place: &Path, record: Record) -> Record {
    if record.needles().count() < 4000 {
        return record;
    }
    std::fs::remove_dir_all(place.join("store")).unwrap();
    Record::default()
}
