//! One server process of a cluster.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const ANY_PORT: &str = "127.0.0.1:0";
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server. Dropping it kills the process.
pub struct Process {
    role: &'static str,
    folder: PathBuf,
    child: Mutex<Child>,
    pub public: Option<String>,
    pub internal: Option<String>,
    pub admin: String,
}

/// A role with its configuration and its data here, on free ports.
pub fn hayrick(role: &str, config: &Path, data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayrick"));
    command
        .env_clear()
        .arg(role)
        .env("HAYRICK_PUBLIC__LISTEN", ANY_PORT)
        .env("HAYRICK_INTERNAL__LISTEN", ANY_PORT)
        .env("HAYRICK_ADMIN__LISTEN", ANY_PORT)
        .arg("--config")
        .arg(config)
        .arg("--data")
        .arg(data)
        .env("HAYRICK_STORE__MIN_FREE", "1MiB")
        .env("HAYRICK_DIRECTORY__GROWTH__MIN_DISK_FREE_BYTES", "1")
        .env("HAYRICK_DIRECTORY__NAMES__MIN_FREE_BYTES", "1")
        .env("HAYRICK_DIRECTORY__GARBAGE__GRACE_MS", "500")
        .env("HAYRICK_LOG", "info,hayrick::access=off")
        .stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a role in `folder` and waits until it serves.
    pub fn start(role: &'static str, folder: &Path, config: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("hayrick.toml"), config).unwrap();
        let (child, ready) = spawn(role, folder, None);
        let text = |key: &str| ready[key].as_str().map(str::to_owned);
        Self {
            role,
            folder: folder.to_owned(),
            child: Mutex::new(child),
            public: text("public"),
            internal: text("internal"),
            admin: text("admin").unwrap(),
        }
    }

    /// Ends the process at once.
    pub fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Ends the process as an operator does.
    pub fn stop(&self) {
        let mut child = self.child.lock().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success(), "{}", self.role);
    }

    /// Starts it again at the internal address that it had.
    pub fn start_again(&mut self) {
        let address =
            self.internal.as_ref().map(|url| url.trim_start_matches("http://").to_owned());
        let (child, ready) = spawn(self.role, &self.folder, address.as_deref());
        self.child = Mutex::new(child);
        ready["admin"].as_str().unwrap().clone_into(&mut self.admin);
    }
}

fn spawn(role: &str, folder: &Path, internal: Option<&str>) -> (Child, Value) {
    let ready = folder.join("ready.json");
    // One that a killed process left behind.
    let _ = std::fs::remove_file(&ready);
    let mut command = hayrick(role, &folder.join("hayrick.toml"), &folder.join("data"));
    if let Some(address) = internal {
        command.env("HAYRICK_INTERNAL__LISTEN", address);
    }
    let log = || std::fs::read_to_string(folder.join("log")).unwrap();
    command.arg("--ready-file").arg(&ready).stdout(Stdio::null());
    let mut child = command.stderr(File::create(folder.join("log")).unwrap()).spawn().unwrap();
    let began = Instant::now();
    loop {
        if let Ok(text) = std::fs::read(&ready) {
            return (child, serde_json::from_slice(&text).unwrap());
        }
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{role} ended with {status}: {}", log());
        }
        assert!(began.elapsed() < PATIENCE, "{role} is not ready: {}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}
