//! A disk that is really full.

use hayrick_proxy::ProxyConfig;
use hayrick_store::status::VolumeState;
use hayrick_testkit::SmallDisk;

use crate::rig::{Rig, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_507_reads_and_deletes_go_on_and_room_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk"), 40) else {
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

    disk.resize(200);
    eventually("room noticed", || states().iter().all(|state| *state == VolumeState::Writable))
        .await;
    let again = rig.put("/photos/again", data.clone()).await;
    assert_eq!(again.status, 201, "{again:?}");
}
