//! A small file system that is really full.

use hayrick_store::volume::Condition;
use hayrick_store::{Store, StoreError};

use super::device::Mount;
use super::{can_run, options_in, run, text};
use crate::client::{CLUSTER, Client, runtime};
use crate::record::{Name, Record, vid};

#[test]
fn a_full_file_system_refuses_puts_and_takes_deletes_and_reads() {
    if !can_run("the full file system", &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("mnt");
    let mount = Mount::new(&["-t", "tmpfs", "-o", "size=3m"], "tmpfs", &place);
    let runtime = runtime();
    let open = || Store::open(CLUSTER, options_in(&place)).unwrap();
    let mut client = Client::new(open(), Record::default(), &runtime);
    client.create_volume(1).unwrap();
    let large = |n: u64| -> Name { (1, 22 + 23 * n) };
    let full = (0..100).find(|n| client.put(&[large(*n)]).is_err()).unwrap();
    assert!((20..60).contains(&full), "{full} needles of 70,000 bytes in 3 MiB");
    assert!(matches!(client.put(&[(1, 1)]), Err(StoreError::DiskFull(_))));
    client.check("the disk is full");
    for n in 0..10 {
        client.delete(large(n)).unwrap();
    }
    assert!(matches!(client.compact(1), Err(StoreError::DiskFull(_))), "no room for a copy");
    client.check("after deletes");

    // The same after a start on the full disk.
    let record = client.close();
    let mut client = Client::new(open(), record, &runtime);
    client.check("opened on a full disk");
    assert!(matches!(client.put(&[large(200)]), Err(StoreError::DiskFull(_))));
    client.delete(large(11)).unwrap();

    run("mount", &["-o", "remount,size=64m", text(&mount.path)]);
    let volume = client.store.volume(vid(1)).unwrap();
    volume.recheck_space();
    assert_eq!(volume.stats().condition, Condition::Writable);
    client.put(&[large(200), large(201)]).unwrap();
    client.compact(1).unwrap();
    let record = client.close();
    Client::new(open(), record, &runtime).check("there is room again");
}
