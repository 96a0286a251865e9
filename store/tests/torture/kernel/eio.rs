//! Block devices that fail: writes for a while, as if nothing had been, or reads.

use std::fs;
use std::sync::Arc;

use hayrick_store::config::StoreOptions;
use hayrick_store::{Store, StoreError};

use super::device::{Mount, Nbd, make_image};
use super::{can_run, options_in, text};
use crate::client::{CLUSTER, Client, Got, runtime};
use crate::record::Record;

/// The kernel reports a failed sync once and calls the pages clean. A batch of which that
/// happened is never claimed; and if the client repeats it after a restart, it is on disk.
#[test]
fn a_device_that_loses_a_sync_and_forgets_is_not_believed() {
    if !can_run("the failing device", &["nbdkit", "nbdfuse", "mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (image, flag) = (dir.path().join("disk.img"), dir.path().join("fail"));
    // Without a journal, the file system itself survives the error, and no remount helps us.
    make_image(&image, 64, &["mkfs.ext4", "-qF", "-O", "^has_journal"]);
    let on = format!("error-file={}", text(&flag));
    let args = ["--filter=error", "file", text(&image), "error=EIO", "error-pwrite-rate=100%", &on];
    let nbd = Nbd::start(dir.path(), &args);
    let place = dir.path().join("mnt");
    let runtime = runtime();
    let open = || Store::open(CLUSTER, options_in(&place)).unwrap();

    let mount = Mount::new(&["-o", "errors=continue"], &nbd.device, &place);
    let mut client = Client::new(open(), Record::default(), &runtime);
    client.create_volume(1).unwrap();
    client.put(&[(1, 1), (1, 22)]).unwrap();
    fs::write(&flag, "").unwrap();
    assert!(matches!(client.put(&[(1, 2), (1, 45)]), Err(StoreError::Failed { .. })));
    assert!(matches!(client.get((1, 2)), Got::Gone), "never claimed");
    fs::remove_file(&flag).unwrap();
    // The next sync would succeed.
    assert!(matches!(client.put(&[(1, 3)]), Err(StoreError::Failed { .. })));
    client.check("after the failed sync");

    // A restart of the process, with the page cache as it is.
    let record = client.close();
    let mut client = Client::new(open(), record, &runtime);
    client.check("after a restart");
    client.put(&[(1, 2), (1, 45)]).unwrap();
    client.put(&[(1, 3)]).unwrap();
    let record = client.record.clone();
    drop(client);

    // What is only in memory is gone now.
    drop(mount);
    fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    let _mount = Mount::new(&[], &nbd.device, &place);
    let client = Client::new(open(), record, &runtime);
    client.check_health("from the disk");
    client.check("from the disk");
    client.verify("from the disk");
}

/// Where the index file was mapped, a lookup on a failing device ended the whole process; and a
/// store that was started again with it served nothing from its other disks.
#[test]
fn a_device_that_fails_every_read_stops_no_lookup_and_no_other_disk() {
    if !can_run("the unreadable device", &["nbdkit", "nbdfuse", "mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (image, flag) = (dir.path().join("disk.img"), dir.path().join("fail"));
    make_image(&image, 64, &["mkfs.ext4", "-qF"]);
    let on = format!("error-file={}", text(&flag));
    let args = ["--filter=error", "file", text(&image), "error=EIO", "error-pread-rate=100%", &on];
    let nbd = Nbd::start(dir.path(), &args);
    let place = dir.path().join("mnt");
    let runtime = runtime();
    let _mount = Mount::new(&["-o", "errors=continue"], &nbd.device, &place);
    let open = || Store::open(CLUSTER, options_in(&place)).unwrap();
    let mut client = Client::new(open(), Record::default(), &runtime);
    client.create_volume(1).unwrap();
    client.put(&[(1, 1), (1, 22)]).unwrap();
    let client = Client::new(open_again(client, open), Record::default(), &runtime);

    fs::write(&flag, "").unwrap();
    fs::write("/proc/sys/vm/drop_caches", "1").unwrap();
    assert!(matches!(client.get((1, 2)), Got::Gone), "the index answers this one alone");
    assert!(matches!(client.get((1, 1)), Got::Error(StoreError::Io { .. })));
    fs::remove_file(&flag).unwrap();
    assert!(matches!(client.get((1, 1)), Got::Right));
    client.close();

    fs::write(&flag, "").unwrap();
    fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    assert!(Store::open(CLUSTER, options_in(&place)).is_err(), "the only disk fails");
    let disks = vec![place.join("store"), dir.path().join("other")];
    let both = Store::open(CLUSTER, StoreOptions { disks, ..options_in(&place) }).unwrap();
    let mut client = Client::new(both, Record::default(), &runtime);
    assert!(matches!(client.get((1, 1)), Got::Error(StoreError::Failed { .. })));
    client.create_volume(2).unwrap();
    client.put(&[(2, 1)]).unwrap();
    fs::remove_file(&flag).unwrap();
}

/// So that all entries are in the index file.
fn open_again(client: Client<'_>, open: impl Fn() -> Arc<Store>) -> Arc<Store> {
    client.close();
    open()
}
