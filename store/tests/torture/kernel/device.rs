//! Things that must be undone however a test ends: mounts, loop devices, processes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{run, text};

/// A mounted file system.
pub struct Mount {
    pub path: PathBuf,
}

impl Mount {
    pub fn new(args: &[&str], source: &str, path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        run("mount", &[args, &[source, text(path)]].concat());
        Self { path: path.to_owned() }
    }

    /// Of an image file.
    pub fn image(image: &Path, path: &Path) -> Self {
        Self::new(&["-o", "loop"], text(image), path)
    }

    /// Pulls the plug: nothing reaches the disk any more, and nothing in memory is flushed.
    pub fn cut_power(&self) {
        run("xfs_io", &["-x", "-c", "shutdown", text(&self.path)]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A process that was killed may hold on for a moment.
        for _ in 0..50 {
            let done = Command::new("umount").arg(&self.path).output();
            if done.is_ok_and(|output| output.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = Command::new("umount").arg("--lazy").arg(&self.path).status();
    }
}

/// A new file system in an image file of so many MiB.
pub fn make_image(image: &Path, mib: u64, mkfs: &[&str]) {
    std::fs::File::create(image).unwrap().set_len(mib << 20).unwrap();
    run(mkfs[0], &[&mkfs[1..], &[text(image)]].concat());
}

/// A process that ends with the test.
struct Daemon(Child);

impl Daemon {
    fn start(program: &str, args: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self(command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A block device whose every request goes through nbdkit.
pub struct Nbd {
    pub device: String,
    // In the order in which they have to go.
    _loop_device: LoopDevice,
    _fuse: FuseMount,
    _server: Daemon,
}

struct LoopDevice(String);

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

struct FuseMount {
    path: PathBuf,
    _process: Daemon,
}

impl Drop for FuseMount {
    fn drop(&mut self) {
        for _ in 0..50 {
            let done = Command::new("umount").arg(&self.path).output();
            if done.is_ok_and(|output| output.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Nbd {
    /// Starts nbdkit with these arguments, its socket in `dir`.
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        let socket = dir.join("nbd.sock");
        let server = Daemon::start("nbdkit", &[&["-f", "-U", text(&socket)], args].concat());
        wait_for(&socket);
        let path = dir.join("nbd");
        std::fs::create_dir(&path).unwrap();
        let uri = format!("nbd+unix:///?socket={}", text(&socket));
        let process = Daemon::start("nbdfuse", &[text(&path), &uri]);
        let fuse = FuseMount { path: path.clone(), _process: process };
        wait_for(&path.join("nbd"));
        let output =
            Command::new("losetup").args(["--find", "--show"]).arg(path.join("nbd")).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Self { _loop_device: LoopDevice(device.clone()), device, _fuse: fuse, _server: server }
    }
}

fn wait_for(path: &Path) {
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < Duration::from_secs(10), "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}
