//! `hayrick cluster dev`, with all of its processes.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::*;

/// A running cluster. Dropped, it is killed, and its processes with it.
struct Dev {
    child: Child,
    ready: Value,
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayrick"));
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        // Machines that run tests may have little room.
        .env("HAYRICK_STORE__MIN_FREE", "1MiB")
        .env("HAYRICK_DIRECTORY__GROWTH__MIN_DISK_FREE_BYTES", "1")
        .env("HAYRICK_DIRECTORY__NAMES__MIN_FREE_BYTES", "1")
        .args(["cluster", "dev", "--stores", "3", "--port", "0", "--data"])
        .arg(folder.join("cluster"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Dev {
    fn start(folder: &Path) -> Self {
        let path = folder.join("ready.json");
        let _ = std::fs::remove_file(&path);
        let mut child = command(folder).arg("--ready-file").arg(&path).spawn().unwrap();
        let began = Instant::now();
        loop {
            if let Ok(text) = std::fs::read(&path) {
                return Self { child, ready: serde_json::from_slice(&text).unwrap() };
            }
            if child.try_wait().unwrap().is_some() {
                let told = child.wait_with_output().unwrap();
                panic!("ended: {}", String::from_utf8_lossy(&told.stderr));
            }
            assert!(began.elapsed() < Duration::from_mins(3), "not up");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn process(&self, name: &str) -> &Value {
        let processes = self.ready["processes"].as_array().unwrap();
        processes.iter().find(|process| process["name"] == name).unwrap()
    }

    fn pid(&self, name: &str) -> Pid {
        Pid::from_raw(i32::try_from(self.process(name)["pid"].as_i64().unwrap()).unwrap()).unwrap()
    }

    fn url(&self, name: &str) -> String {
        format!("{}/photos/{name}", self.process("proxy")["public"].as_str().unwrap())
    }

    /// Stops it as an operator does; gives what it has told.
    fn stop(mut self) -> [String; 2] {
        let pids: Vec<_> = ["zookeeper", "store-3", "proxy"].map(|name| self.pid(name)).into();
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
        for pid in pids {
            assert!(rustix::process::test_kill_process(pid).is_err(), "still there");
        }
        let mut told = [String::new(), String::new()];
        use std::io::Read as _;
        self.child.stdout.take().unwrap().read_to_string(&mut told[0]).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut told[1]).unwrap();
        told
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn get(http: &Client, url: &str) -> Vec<u8> {
    let answer = http.get(url).send().await.unwrap();
    answer.into_body().collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_to_try_out_loses_a_store_and_goes_on_after_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let http = Client::new(ClientOptions::default());
    let dev = Dev::start(folder.path());
    for number in 0..10 {
        let url = dev.url(&number.to_string());
        eventually(async || http.put(&url).body(bytes(number)).send().await.is_ok()).await;
    }
    kill_process(dev.pid("store-2"), Signal::KILL).unwrap();
    for number in 0..10 {
        assert_eq!(get(&http, &dev.url(&number.to_string())).await, bytes(number));
    }
    // So that it has time to notice; it looks several times a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let [answer, notes] = dev.stop();
    assert!(answer.contains("curl -T photo.jpg"), "{answer}");
    assert!(notes.contains("store-2 has ended") && notes.contains("store-2/log"), "{notes}");

    let dev = Dev::start(folder.path());
    for number in 0..10 {
        assert_eq!(get(&http, &dev.url(&number.to_string())).await, bytes(number));
    }
    let taken = command(folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&taken.stderr);
    assert!(taken.status.code() == Some(1) && told.contains("in use by process"), "{told}");
}

#[test]
fn without_java_it_tells_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let told = command(folder.path()).env("PATH", "/nowhere").output().unwrap();
    let text = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.code() == Some(2) && text.contains("apt install"), "{text}");
}
