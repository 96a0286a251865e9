//! The `hayrick` process and the requests it is sent.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use hayrick_service::client::{Client, ClientError, ClientOptions};
use hayrick_store::jobs::{JobOutcome, JobStatus};
use hayrick_store::status::StoreStatus;
use serde::Deserialize;

/// A running server. Dropping it kills the process.
pub struct Server {
    folder: PathBuf,
    process: Mutex<Child>,
    addresses: Addresses,
    client: Client,
}

#[derive(Deserialize)]
struct Addresses {
    public: String,
    admin: String,
}

impl Server {
    /// Starts `hayrick up` on free ports with its data in `folder`.
    pub async fn start(folder: &Path) -> Self {
        let ready_file = folder.join("ready.json");
        let _ = std::fs::remove_file(&ready_file);
        let free = "127.0.0.1:0";
        let process = Command::new(env!("CARGO_BIN_EXE_hayrick"))
            .args(["up", "--listen", free, "--store-listen", free, "--admin-listen", free])
            .arg("--data")
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready_file)
            .env("HAYRICK_DIRECTORY__GARBAGE__GRACE_MS", "0")
            .env("HAYRICK_LOG", "warn,hayrick::access=off")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let addresses = wait_for(&ready_file).await;
        let client = Client::new(ClientOptions::default());
        Self { folder: folder.to_owned(), process: Mutex::new(process), addresses, client }
    }

    /// Ends the process at once, as `kill -9` does.
    pub fn kill(&self) {
        self.process.lock().unwrap().kill().unwrap();
        self.process.lock().unwrap().wait().unwrap();
    }

    /// Starts again on the folder of a process that was killed.
    pub async fn start_again(self) -> Self {
        let folder = self.folder.clone();
        drop(self);
        Self::start(&folder).await
    }

    /// Asks the process to leave, and checks that it does so cleanly.
    pub async fn stop(self) {
        let pid = self.process.lock().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            if let Some(status) = self.process.lock().unwrap().try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(Instant::now() < deadline, "it does not stop");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn url(&self, name: &str) -> String {
        format!("{}/photos/{name}", self.addresses.public)
    }

    pub async fn put_body(&self, name: &str, body: impl Into<Body>) -> Result<(), ClientError> {
        self.client.put(self.url(name)).timeout(None).body(body).send().await.map(drop)
    }

    pub async fn get(&self, name: &str) -> Result<Bytes, ClientError> {
        self.client.get(self.url(name)).send_bytes(1 << 30).await
    }

    pub async fn delete(&self, name: &str) -> Result<(), ClientError> {
        self.client.delete(self.url(name)).send().await.map(drop)
    }

    async fn status(&self) -> StoreStatus {
        self.client.get(format!("{}/store/status", self.addresses.admin)).send_json().await.unwrap()
    }

    /// Bytes of all volume files.
    pub async fn volume_bytes(&self) -> u64 {
        self.status().await.volumes.iter().map(|volume| volume.file_bytes).sum()
    }

    pub async fn compact_all(&self) {
        for outcome in self.run_everywhere("compact").await {
            assert!(matches!(outcome, JobOutcome::Compacted(_)), "{outcome:?}");
        }
    }

    pub async fn verify_all(&self) {
        for outcome in self.run_everywhere("verify").await {
            let JobOutcome::Verified(report) = outcome else { panic!("{outcome:?}") };
            assert!(report.damaged.is_empty(), "{report:?}");
        }
    }

    async fn run_everywhere(&self, kind: &str) -> Vec<JobOutcome> {
        let mut outcomes = Vec::new();
        for volume in self.status().await.volumes {
            let url = format!("{}/store/volumes/{}/{kind}", self.addresses.admin, volume.volume);
            let job: JobStatus = self.client.post(url).send_json().await.unwrap();
            outcomes.push(self.outcome(job.id).await);
        }
        outcomes
    }

    async fn outcome(&self, job: u64) -> JobOutcome {
        let url = format!("{}/store/jobs/{job}", self.addresses.admin);
        loop {
            let job: JobStatus = self.client.get(url.clone()).send_json().await.unwrap();
            match job.outcome {
                Some(outcome) => return outcome,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// The most memory that the process has had.
    pub fn peak_memory_bytes(&self) -> u64 {
        let pid = self.process.lock().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let process = self.process.get_mut().unwrap();
        let _ = process.kill();
        let _ = process.wait();
    }
}

async fn wait_for(ready_file: &Path) -> Addresses {
    for _ in 0..1500 {
        if let Ok(bytes) = std::fs::read(ready_file) {
            return serde_json::from_slice(&bytes).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server is not up within 30 s");
}
