//! File systems that are mounted for reading only.

use std::fs::OpenOptions;
use std::io::Write;

use hayrick_store::config::StoreOptions;
use hayrick_store::status::VolumeState;
use hayrick_store::volume::files;
use hayrick_store::{Store, StoreError};

use super::device::{Mount, make_image};
use super::{can_run, options_in, text};
use crate::client::{CLUSTER, Client, runtime};
use crate::record::{E1, Record, needle, vid};

/// Such as after a device error, which makes ext4 remount itself so. What stands behind the
/// last record cannot be cut off there, and the index file cannot be written.
#[test]
fn a_store_on_a_read_only_file_system_serves_reads_and_its_other_disks_take_writes() {
    if !can_run("the read-only file system", &["mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (image, place) = (dir.path().join("disk.img"), dir.path().join("mnt"));
    make_image(&image, 32, &["mkfs.ext4", "-qF"]);
    let runtime = runtime();
    let record = {
        let _mount = Mount::image(&image, &place);
        let store = Store::open(CLUSTER, options_in(&place)).unwrap();
        let mut client = Client::new(store, Record::default(), &runtime);
        client.create_volume(1).unwrap();
        client.put(&[(1, 1), (1, 22), (1, 3)]).unwrap();
        client.delete((1, 3)).unwrap();
        let record = client.close();
        // The torn end of a write.
        let volume = place.join("store").join(files::volume(vid(1)));
        OpenOptions::new().append(true).open(volume).unwrap().write_all(&[7; 100]).unwrap();
        record
    };
    {
        let _mount = Mount::new(&["-o", "loop,ro"], text(&image), &place);
        let other = dir.path().join("other");
        let disks = vec![place.join("store"), other];
        let options = StoreOptions { disks, ..options_in(&place) };
        let store = Store::open(CLUSTER, options).unwrap();
        let mut client = Client::new(store, record.clone(), &runtime);
        client.check("read-only");
        let refused = runtime.block_on(client.store.put(vid(1), E1, vec![needle((1, 9))]));
        assert!(matches!(&refused, Err(StoreError::Failed { .. })), "{refused:?}");
        assert!(refused.unwrap_err().to_string().contains("read-only"), "it says why");
        let status = client.store.status();
        assert_eq!(status.volumes[0].state, VolumeState::Failed);
        assert!(!status.disks[0].has_room && status.disks[1].has_room, "{status:?}");
        // What is made anew comes where it can be written.
        client.create_volume(2).unwrap();
        client.put(&[(2, 1)]).unwrap();
        client.close();

        // With no other disk, no volume is made, and there is no room to be had.
        let alone = Store::open(CLUSTER, options_in(&place)).unwrap();
        let made = runtime.block_on(alone.create_volume(vid(3), E1));
        assert!(matches!(made, Err(StoreError::DiskFull(_))), "{made:?}");
        runtime.block_on(alone.close());
    }
    let _mount = Mount::image(&image, &place);
    let store = Store::open(CLUSTER, options_in(&place)).unwrap();
    let mut client = Client::new(store, record, &runtime);
    client.check_health("writable again");
    client.check("writable again");
    client.put(&[(1, 9)]).unwrap();
}
