//! The name database that all directories share is lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hayrick_testkit::Postgres;

use super::*;

fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayrick"));
    command.env_clear().args(words).output().unwrap()
}

fn told(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Names that were overwritten, deleted and stored again come back in the right state, from the
/// volumes of all stores, into a new database.
#[tokio::test(flavor = "multi_thread")]
async fn names_lost_with_postgresql_are_rebuilt_from_the_volumes_of_all_stores() {
    let postgres = Postgres::start();
    let (lost, new) = (postgres.database(), postgres.database());
    let mut cluster = Cluster::with(&format!("[directory.postgres]\nurl = \"{lost}\"\n")).await;
    for number in 0..30 {
        cluster.put(number % 2, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    cluster.put(0, "large", vec![7; 20 << 20]).await.unwrap();
    for number in 0..10 {
        cluster.put(0, &format!("n{number}"), bytes(number + 100)).await.unwrap();
    }
    for number in 5..15 {
        let url = format!("{}/photos/n{number}", cluster.door(1));
        cluster.http.delete(url).send().await.unwrap();
    }
    cluster.put(1, "n14", bytes(200)).await.unwrap();
    cluster.directory.stop();
    cluster.stores.iter().for_each(Process::stop);

    let rescue = cluster.folder.path().join("rescue");
    let config = cluster.directory.folder().join("hayrick.toml");
    let disks: Vec<_> =
        cluster.stores.iter().map(|store| store.folder().join("data/disk")).collect();
    let rebuild = |disks: &[PathBuf], more: &[&str]| {
        let place = ["--config", text(&config), "--data", text(&rescue), "--json"];
        let mut words = [&["names", "rebuild"], &place[..], more].concat();
        words.extend(disks.iter().flat_map(|disk| ["--disk", text(disk)]));
        run(&words)
    };
    // With two copies on three stores, the one with the fewest volumes lacks some.
    let volumes = |disk: &&PathBuf| {
        let files = std::fs::read_dir(disk).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|extension| extension == "vol")).count()
    };
    let fewest = disks.iter().min_by_key(volumes).unwrap();
    let part = rebuild(std::slice::from_ref(fewest), &["--apply"]);
    assert_eq!(part.status.code(), Some(4), "{}", String::from_utf8_lossy(&part.stderr));
    assert!(String::from_utf8_lossy(&part.stderr).contains("missing"));
    let looked = told(&rebuild(&disks, &[]));
    let applied = told(&rebuild(&disks, &["--apply"]));
    assert_eq!((&looked["applied"], &applied["applied"]), (&json!(false), &json!(true)));
    assert_eq!((&looked["names"], &applied["names"]), (&json!(22), &json!(22)));
    assert_eq!(applied["names_in"], text(&rescue));
    let copy = ["names", "copy", "--json", "--from", text(&rescue), "--to", &new];
    let copied = told(&run(&[&copy[..], &["--apply", "--final"]].concat()));
    assert_eq!(copied["in_place"], true);

    cluster.stores.iter_mut().for_each(Process::start_again);
    cluster.directory.start_again_in(&[("HAYRICK_DIRECTORY__POSTGRES__URL", &new)]);
    for number in 0..30 {
        let expected = match number {
            0..5 => Some(bytes(number + 100)),
            14 => Some(bytes(200)),
            5..15 => None,
            _ => Some(bytes(number)),
        };
        let name = format!("n{number}");
        // Proxies find the directory again by themselves.
        eventually(async || match cluster.get(number % 2, &name).await {
            Ok(content) => Some(content) == expected,
            Err(error) => expected.is_none() && error.status().is_some_and(|code| code == 404),
        })
        .await;
    }
    assert!(cluster.get(0, "large").await.unwrap() == vec![7; 20 << 20]);
    cluster.put(0, "later", bytes(1)).await.unwrap();
}
