//! One server process of a cluster.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hayrick_testkit::{Host, free_port};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Opens the admin and internal listeners of all.
pub const TOKEN: &str = "only-for-tests";
const PATIENCE: Duration = Duration::from_mins(1);

/// A server. Dropping it kills the process.
pub struct Process {
    role: &'static str,
    folder: PathBuf,
    host: Host,
    ports: [u16; 3],
    child: Mutex<Child>,
    pub public: Option<String>,
    pub internal: Option<String>,
    pub admin: String,
}

/// A role with its configuration and its data on 127.0.0.1, on free ports.
pub fn hayrick(role: &str, config: &Path, data: &Path) -> Command {
    command(&Host::loopback(), &[], [0; 3], role, config, data)
}

fn command(
    host: &Host,
    environment: &[(&str, &str)],
    ports: [u16; 3],
    role: &str,
    config: &Path,
    data: &Path,
) -> Command {
    let program = env!("CARGO_BIN_EXE_hayrick");
    let mut command = host.command(program);
    command.env_clear().envs(environment.iter().copied()).arg(role);
    let listeners = ["PUBLIC", "INTERNAL", "ADMIN"].into_iter().zip(ports);
    for (listener, port) in listeners {
        let address = SocketAddr::from((host.address(), port)).to_string();
        command.env(format!("HAYRICK_{listener}__LISTEN"), address);
    }
    command
        .env("HAYRICK_PUBLIC__ALLOW_OPEN_BUCKETS", "true")
        .env("HAYRICK_INTERNAL__TOKEN", TOKEN)
        .env("HAYRICK_ADMIN__TOKEN", TOKEN)
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
    /// Starts a role in `folder` on 127.0.0.1 and waits until it serves.
    pub fn start(role: &'static str, folder: &Path, config: &str) -> Self {
        Self::start_on(&Host::loopback(), role, folder, config)
    }

    /// Starts a role in `folder` on a host and waits until it serves.
    pub fn start_on(host: &Host, role: &'static str, folder: &Path, config: &str) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("hayrick.toml"), config).unwrap();
        let ports = [(); 3].map(|()| free_port());
        let (child, ready) = spawn(host, &[], ports, role, folder);
        let text = |key: &str| ready[key].as_str().map(str::to_owned);
        Self {
            role,
            folder: folder.to_owned(),
            host: host.clone(),
            ports,
            child: Mutex::new(child),
            public: text("public"),
            internal: text("internal"),
            admin: text("admin").unwrap(),
        }
    }

    /// Where it keeps its configuration, data and log.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.lock().unwrap().id()
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

    /// Stops the process in its tracks: connections stay open, and nothing is answered.
    pub fn freeze(&self) {
        kill_process(Pid::from_child(&self.child.lock().unwrap()), Signal::STOP).unwrap();
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        kill_process(Pid::from_child(&self.child.lock().unwrap()), Signal::CONT).unwrap();
    }

    /// Starts it again at the addresses that it had.
    pub fn start_again(&mut self) {
        self.start_again_in(&[]);
    }

    /// Starts it again, in this environment.
    pub fn start_again_in(&mut self, environment: &[(&str, &str)]) {
        let (child, _) = spawn(&self.host, environment, self.ports, self.role, &self.folder);
        self.child = Mutex::new(child);
    }
}

fn spawn(
    host: &Host,
    environment: &[(&str, &str)],
    ports: [u16; 3],
    role: &str,
    folder: &Path,
) -> (Child, Value) {
    let ready = folder.join("ready.json");
    // One that a killed process left behind.
    let _ = std::fs::remove_file(&ready);
    let (config, data) = (folder.join("hayrick.toml"), folder.join("data"));
    let mut command = command(host, environment, ports, role, &config, &data);
    let log = || std::fs::read_to_string(folder.join("log")).unwrap();
    command.arg("--ready-file").arg(&ready).stdout(Stdio::null());
    let appended = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut child = command.stderr(appended).spawn().unwrap();
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
