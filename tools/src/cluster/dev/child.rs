//! A process of the cluster, which ends with this one.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::failure::Failure;
use crate::output::Output;

const POLL: Duration = Duration::from_millis(50);
/// How long a process may take until it serves. A JVM on a busy machine is slow.
const START_PATIENCE: Duration = Duration::from_mins(2);
/// How long it may take to sync and leave.
const STOP_PATIENCE: Duration = Duration::from_secs(60);
/// Has a process end with its parent, however that dies. It is part of every Linux.
const WITH_PARENT: [&str; 3] = ["/usr/bin/setpriv", "--pdeathsig", "TERM"];

/// A process and its folder.
pub struct Child {
    /// Also the name of its folder.
    pub name: String,
    /// What it says, of all its runs.
    pub log: PathBuf,
    process: std::process::Child,
    ready_file: PathBuf,
    /// Its end has been told.
    mourned: bool,
}

/// Where a process is reached.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ready {
    /// Its public door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    /// Where other servers ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<String>,
    /// Where operators ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
}

impl Child {
    /// Starts a program that logs into `folder`, and writes a ready file if it `tells`.
    pub fn spawn(
        name: &str,
        folder: &Path,
        program: &Path,
        mut args: Vec<String>,
        tells: bool,
    ) -> Result<Self, Failure> {
        let (log, ready_file) = (folder.join("log"), folder.join("ready.json"));
        if let Err(error) = fs::remove_file(&ready_file)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(Failure::file("remove", &ready_file)(error));
        }
        if tells {
            args.extend(["--ready-file".to_owned(), ready_file.display().to_string()]);
        }
        let open = File::options().create(true).append(true).open(&log);
        let open = open.and_then(|file| Ok([file.try_clone()?, file]));
        let [out, err] = open.map_err(Failure::file("open", &log))?;
        let [setpriv, flag, signal] = WITH_PARENT;
        let mut command = if Path::new(setpriv).exists() {
            let mut command = Command::new(setpriv);
            command.args([flag, signal]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(args).stdin(Stdio::null()).stdout(out).stderr(err);
        // Ctrl-C is for this process, which stops the others in order.
        command.process_group(0);
        let process = command.spawn().map_err(Failure::file("start", program))?;
        Ok(Self { name: name.to_owned(), log, process, ready_file, mourned: false })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until it serves.
    pub async fn wait_until_ready(&mut self) -> Result<Ready, Failure> {
        let path = self.ready_file.clone();
        let read = async || match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).ok(),
            Err(_) => None,
        };
        self.wait_for(read).await
    }

    /// Waits for a sign of life.
    pub async fn wait_for<T>(&mut self, sign: impl AsyncFn() -> Option<T>) -> Result<T, Failure> {
        let began = Instant::now();
        loop {
            if let Some(sign) = sign().await {
                return Ok(sign);
            }
            if let Some(status) = self.ended() {
                return Err(Failure::failed(self.epitaph(status)));
            }
            if began.elapsed() > START_PATIENCE {
                let message = format!("{} does not serve; see {}", self.name, self.log.display());
                return Err(Failure::failed(message));
            }
            sleep(POLL).await;
        }
    }

    /// Tells of its end, once.
    pub fn has_died(&mut self) -> Option<String> {
        let status = self.ended()?;
        let told = std::mem::replace(&mut self.mourned, true);
        (!told).then(|| self.epitaph(status))
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        // A process that cannot be asked is none of ours; it never happens.
        self.process.try_wait().ok().flatten()
    }

    fn epitaph(&self, status: ExitStatus) -> String {
        format!("{} has ended ({status}); its last words are in {}", self.name, self.log.display())
    }

    /// Has it stop, and kills it if it does not.
    pub async fn stop(mut self, output: Output) {
        if self.ended().is_some() {
            return;
        }
        // It may end between the two.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let began = Instant::now();
        while self.ended().is_none() {
            if began.elapsed() > STOP_PATIENCE {
                output.note(format_args!("{} does not stop, it is killed", self.name));
                return;
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
