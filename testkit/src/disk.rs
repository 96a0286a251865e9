//! A small file system that a test can fill to the last byte.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Tries, while others write to it, to make it as small as what is on it.
const TRIES: usize = 100;

/// A file system in memory. Dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    ///
    /// # Panics
    /// The folder cannot be made.
    pub fn mount(path: &Path, mib: u32) -> Option<Self> {
        std::fs::create_dir_all(path).expect("the folder to mount on");
        let options = ["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(path).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }

    /// Makes it larger, or smaller.
    ///
    /// # Panics
    /// More than that is on it.
    pub fn resize(&self, mib: u32) {
        assert!(self.remount(&format!("{mib}m")), "not resized to {mib} MiB");
    }

    /// Takes away all the room that is left.
    ///
    /// # Panics
    /// The system refuses.
    pub fn fill(&self) {
        let filled = (0..TRIES).any(|_| {
            let stat = rustix::fs::statvfs(&self.0).expect("the room on the disk");
            let used = (stat.f_blocks - stat.f_bfree) * stat.f_frsize;
            self.remount(&used.max(stat.f_frsize).to_string())
        });
        assert!(filled, "{} not filled", self.0.display());
    }

    fn remount(&self, size: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,size={size}")]).arg(&self.0);
        mount.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may still have files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_filled_and_has_room_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(disk) = SmallDisk::mount(folder.path(), 4) else { return };
        let write = |name| std::fs::write(folder.path().join(name), vec![1; 1 << 20]);
        write("before").expect("there is room");
        disk.fill();
        let full = write("full").expect_err("there is none");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        disk.resize(8);
        write("after").expect("there is room again");
    }
}
