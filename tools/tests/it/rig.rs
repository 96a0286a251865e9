//! Starts servers and runs commands.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_mins(1);

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    /// Standard output of a command that worked.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}", self.stderr);
        String::from_utf8(self.stdout).unwrap()
    }

    /// The same as JSON.
    pub fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// Standard error of a command that failed with this code.
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        self.stderr
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let code = output.status.code().expect("not killed");
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self { code, stdout: output.stdout, stderr }
    }
}

/// The binary in an environment that holds no settings.
pub fn hayrick() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hayrick"));
    command.env_clear();
    // Machines that run tests may have little room.
    command.env("HAYRICK_STORE__MIN_FREE", "1MiB");
    command.env("HAYRICK_DIRECTORY__GROWTH__MIN_DISK_FREE_BYTES", "1");
    command.env("HAYRICK_DIRECTORY__NAMES__MIN_FREE_BYTES", "1");
    command
}

pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    hayrick().args(args).stdin(Stdio::null()).output().unwrap().into()
}

/// A folder for a server's data, and how the server is started in it.
pub struct Home {
    pub folder: TempDir,
    pub env: Vec<(&'static str, String)>,
    pub args: Vec<String>,
}

/// A running server. Dropped, it is killed.
pub struct Server {
    pub home: Home,
    pub public: String,
    pub internal: String,
    pub admin: String,
    pub pid: u32,
    child: Child,
}

impl Home {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), env: Vec::new(), args: Vec::new() }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `hayrick up` here, on any ports unless the arguments name others.
    fn command(&self) -> Command {
        let mut command = hayrick();
        command.arg("up").arg("--data").arg(self.path("data"));
        command.arg("--ready-file").arg(self.path("ready.json"));
        for flag in ["--listen", "--store-listen", "--admin-listen"] {
            if !self.args.iter().any(|arg| arg == flag) {
                command.args([flag, "127.0.0.1:0"]);
            }
        }
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// Starts a server that is expected to refuse.
    pub fn refused(&self) -> Ran {
        self.command().output().unwrap().into()
    }

    pub fn start(self) -> Server {
        let mut command = self.command();
        command.stdout(File::create(self.path("stdout")).unwrap());
        command.stderr(File::create(self.path("stderr")).unwrap());
        let mut child = command.spawn().unwrap();
        let ready = wait_for(&mut child, &self);
        let text = |key: &str| ready[key].as_str().unwrap().to_owned();
        Server {
            public: text("public"),
            internal: text("internal"),
            admin: text("admin"),
            pid: u32::try_from(ready["pid"].as_u64().unwrap()).unwrap(),
            home: self,
            child,
        }
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }
}

fn wait_for(child: &mut Child, home: &Home) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Ok(text) = std::fs::read(home.path("ready.json")) {
            return serde_json::from_slice(&text).unwrap();
        }
        if let Some(status) = child.try_wait().unwrap() {
            panic!("the server ended with {status}: {}", home.read("stderr"));
        }
        assert!(Instant::now() < deadline, "not ready: {}", home.read("stderr"));
        sleep(Duration::from_millis(10));
    }
}

impl Server {
    pub fn start() -> Self {
        Home::new().start()
    }

    /// Runs a command against this server.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.command(args).output().unwrap().into()
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = hayrick();
        command.env("HAYRICK_ADMIN", &self.admin).env("HAYRICK_URL", &self.public);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Stops it as an operator does, and gives how it ended and its folder.
    pub fn stop(mut self) -> (ExitStatus, Home) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let deadline = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "does not stop: {}", self.home.read("stderr"));
            sleep(Duration::from_millis(10));
        };
        (status, std::mem::replace(&mut self.home, Home::new()))
    }

    /// Kills it at once, and gives its folder.
    pub fn kill(mut self) -> Home {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let home = std::mem::replace(&mut self.home, Home::new());
        // It tells of a server that is gone.
        std::fs::remove_file(home.path("ready.json")).unwrap();
        home
    }

    /// A volume file of the default disk.
    pub fn volume_file(home: &Home, volume: u32) -> PathBuf {
        home.path("data/disk").join(format!("{volume:010}.vol"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a file and gives its path.
pub fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// What a HTTP request is answered: status and body.
pub fn http(method: &str, url: &str, headers: &[(&str, &str)]) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let headers: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let headers = headers.concat();
    write!(
        stream,
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
