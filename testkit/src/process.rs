//! A server's process, which ends with the test's.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Ends the server when its own standard input ends: with the test process, however that dies.
const KEEPER: &str = r#""$@" </dev/null >>"$0" 2>&1 & echo $!; read -r _; kill -9 $! 2>/dev/null"#;

/// A server that is running. Dropping it, and the end of the test process, kill it.
pub(crate) struct Process {
    pid: Pid,
    keeper: Child,
    /// Its end is the signal to kill the server.
    life: Option<ChildStdin>,
}

impl Process {
    /// Runs a command, which logs to the file `log`.
    pub(crate) fn spawn<S: AsRef<OsStr>>(log: &Path, command: impl IntoIterator<Item = S>) -> Self {
        let mut keeper = Command::new("sh")
            .arg("-c")
            .arg(KEEPER)
            .arg(log)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let life = keeper.stdin.take();
        let mut pid = String::new();
        let output = keeper.stdout.take().expect("the shell's output");
        BufReader::new(output).read_line(&mut pid).expect("the server's process id");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
        Self { pid, keeper, life }
    }

    /// Whether the server runs, and is no zombie that the shell has not yet heard of.
    pub(crate) fn is_running(&self) -> bool {
        let stat = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        let stat = fs::read_to_string(stat).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("a signal to the server");
    }
}

impl Process {
    /// Kills the server and the processes that it has made.
    pub(crate) fn kill_all(self) {
        // Stopped, it makes no more of them. It may have ended already.
        let _ = kill_process(self.pid, Signal::STOP);
        let children = self.children();
        drop(self);
        for child in children {
            // It may have ended with the server.
            let _ = kill_process(child, Signal::KILL);
        }
    }

    /// Sends a signal to the server and to the processes that it has made.
    pub(crate) fn signal_all(&self, signal: Signal) {
        self.signal(signal);
        for child in self.children() {
            let _ = kill_process(child, signal);
        }
    }

    fn children(&self) -> Vec<Pid> {
        let pid = self.pid.as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let pid = |pid: &str| pid.parse().ok().and_then(Pid::from_raw);
        children.unwrap_or_default().split_whitespace().filter_map(pid).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.life.take());
        // The shell ends once the server is gone, so its port is free on return.
        let _ = self.keeper.wait();
    }
}
