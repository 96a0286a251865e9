//! Disks that fail every call.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::process::Process;

/// What is asked of an open file. Sockets and logs are asked in other words.
const CALLS: &str = "pread64,preadv,preadv2,pwrite64,pwritev,fdatasync,fsync";

/// A disk on which every call fails for a process, until this is dropped.
pub struct DeadDisk(Child);

impl DeadDisk {
    /// All files that are in a folder now. `None` where the machine has no strace, or does not
    /// let it.
    pub fn of(process: &Process, folder: &Path) -> Option<Self> {
        let files = std::fs::read_dir(folder).unwrap();
        Self::attach(process, files.map(|file| file.unwrap().path()))
    }

    /// All files of a process. `None` as above.
    pub fn all_of(process: &Process) -> Option<Self> {
        Self::attach(process, [])
    }

    fn attach(process: &Process, only: impl IntoIterator<Item = PathBuf>) -> Option<Self> {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={CALLS}")]);
        strace.args(["-e", &format!("inject={CALLS}:error=EIO"), "-p", &process.id().to_string()]);
        for file in only {
            strace.arg("-P").arg(file);
        }
        let mut strace = strace.spawn().ok()?;
        // It ends at once if it may not attach.
        std::thread::sleep(Duration::from_secs(1));
        strace.try_wait().unwrap().is_none().then_some(Self(strace))
    }
}

impl Drop for DeadDisk {
    fn drop(&mut self) {
        // What it has attached to goes on.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
