//! A disk that is really full.

use std::path::{Path, PathBuf};
use std::process::Command;

use hayrick_proxy::ProxyConfig;
use hayrick_store::status::VolumeState;

use crate::rig::{Rig, eventually};

/// A small file system of its own, gone when the test is over.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"])
            .arg(path)
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }

    fn grow(&self) {
        let options = ["-o", "remount,size=200m"];
        assert!(Command::new("mount").args(options).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the store may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_507_reads_and_deletes_go_on_and_room_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk")) else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let rig = Rig::in_folder(dir, ProxyConfig::default()).await;
    let data = vec![5; 1 << 20];
    let mut stored = 0;
    let refused = loop {
        let answer = rig.put(&format!("/photos/{stored}"), data.clone()).await;
        if answer.status != 201 {
            break answer;
        }
        stored += 1;
        assert!(stored < 40, "more than the disk holds");
    };
    assert_eq!((refused.status, refused.error().error.as_str()), (507, "DiskFull"));
    assert!(stored > 5, "{stored} MiB stored on 40");
    let states =
        || rig.store.status().volumes.into_iter().map(|volume| volume.state).collect::<Vec<_>>();
    assert!(states().contains(&VolumeState::DiskFull), "{:?}", states());
    for number in 0..stored {
        assert_eq!(rig.get(&format!("/photos/{number}")).await.body, data);
    }
    assert_eq!(rig.delete("/photos/0").await.status, 204);
    assert_eq!(
        rig.get(&format!("/photos/{stored}")).await.status,
        404,
        "nothing half written is visible"
    );

    disk.grow();
    eventually("room noticed", || states().iter().all(|state| *state == VolumeState::Writable))
        .await;
    let again = rig.put("/photos/again", data.clone()).await;
    assert_eq!(again.status, 201, "{again:?}");
}
