//! PostgreSQL servers that live as long as a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::process::Process;

/// What starting, and recovery after a crash, take on a machine under load.
const START_PATIENCE: Duration = Duration::from_mins(1);
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const INSTALL: &str = "PostgreSQL 15 is not installed, and these tests need a real one. Run \
    `make test-tools`, which installs it such that no server starts by itself.";
/// PostgreSQL refuses to run as root. The package makes this user.
const USER: &str = "postgres";

/// One server on a Unix socket, with its data in a temporary folder. Dropping it, and the end
/// of the test process, kill it.
pub struct Postgres {
    folder: TempDir,
    process: Option<Process>,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    pub fn start() -> Self {
        assert!(Path::new(PROGRAMS).join("initdb").exists(), "{INSTALL}");
        let folder = TempDir::new().expect("a temporary folder");
        if geteuid().is_root() {
            run(Command::new("chown").arg(USER).arg(folder.path()));
        }
        let mut this = Self { folder, process: None, databases: AtomicU32::new(0) };
        let mut initdb = unprivileged();
        initdb.push(format!("{PROGRAMS}/initdb"));
        let (program, arguments) = initdb.split_first().expect("a command");
        run(Command::new(program)
            .args(arguments)
            .args([
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C",
                "--username",
                USER,
            ])
            .arg("--pgdata")
            .arg(this.data()));
        this.restart();
        this
    }

    /// Where to connect to a new, empty database.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn database(&self) -> String {
        let name = format!("d{}", self.databases.fetch_add(1, Ordering::Relaxed));
        run(self.client("createdb").arg(&name));
        format!("host={} user={USER} dbname={name}", self.folder.path().display())
    }

    /// Starts the server again with the data it has, and waits until it serves.
    ///
    /// # Panics
    /// It is running, or does not start.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "the server is running");
        let began = Instant::now();
        loop {
            let process = self.spawn();
            // The processes of a server that was killed take a moment to notice; a new one
            // does not start beside them.
            while process.is_running() {
                if self.is_ready() {
                    self.process = Some(process);
                    return;
                }
                assert!(began.elapsed() < START_PATIENCE, "no start: {}", self.said());
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(began.elapsed() < START_PATIENCE, "no start: {}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills the server at once, as a crash would.
    ///
    /// # Panics
    /// It is not running.
    pub fn kill(&mut self) {
        self.process.take().expect("the server is running").kill_all();
    }

    /// Stops the server in its tracks: connections stay open, and nothing is answered.
    ///
    /// # Panics
    /// It is not running.
    pub fn freeze(&self) {
        self.running().signal_all(Signal::STOP);
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    /// It is not running.
    pub fn thaw(&self) {
        self.running().signal_all(Signal::CONT);
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the server is running")
    }

    /// Takes connections away from whoever has one, as an operator would.
    ///
    /// # Panics
    /// It cannot be asked.
    pub fn drop_connections(&self) {
        run(self.client("psql").args(["--quiet", "--output=/dev/null", "--dbname=postgres"]).args(
            [
                "--command",
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'd%'",
            ],
        ));
    }

    fn spawn(&self) -> Process {
        let socket = self.folder.path().display();
        let mut command = unprivileged();
        command.push(format!("{PROGRAMS}/postgres"));
        command.extend(["-D".to_owned(), self.data().display().to_string()]);
        for setting in [
            format!("unix_socket_directories={socket}"),
            "listen_addresses=".to_owned(),
            "max_connections=200".to_owned(),
            "shared_buffers=16MB".to_owned(),
        ] {
            command.extend(["-c".to_owned(), setting]);
        }
        Process::spawn(&self.log(), command)
    }

    fn is_ready(&self) -> bool {
        let mut command = self.client("pg_isready");
        command.arg("--quiet").status().is_ok_and(|status| status.success())
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(Path::new(PROGRAMS).join(program));
        command.arg("--host").arg(self.folder.path()).args(["--username", USER]);
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The file with what it said.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            // Frozen ones would not notice that the server is gone.
            process.kill_all();
        }
        // Its processes end soon after it; what they still write would keep the folder.
        for _ in 0..100 {
            if fs::remove_dir_all(self.data()).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a command begins with that must not run as root.
fn unprivileged() -> Vec<String> {
    if !geteuid().is_root() {
        return Vec::new();
    }
    ["setpriv", &format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]
        .map(str::to_owned)
        .into()
}

fn run(command: &mut Command) {
    let output = command.output().expect("a command");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}
