//! Small file systems that are really full.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use hayrick_store::volume::{Condition, Progress};
use hayrick_store::{Store, StoreError};

use super::device::{Mount, make_image};
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

/// The space for the copy is set aside, but others fill up the rest while it is being made.
#[test]
fn a_file_system_that_fills_up_during_a_compaction_costs_nothing() {
    if !can_run("the file system that fills up", &["mkfs.ext4"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (image, place) = (dir.path().join("disk.img"), dir.path().join("mnt"));
    make_image(&image, 64, &["mkfs.ext4", "-qF", "-m", "0"]);
    let _mount = Mount::image(&image, &place);
    let runtime = runtime();
    let mut options = options_in(&place);
    options.background.compaction = 2 << 20;
    let open = || Store::open(CLUSTER, options.clone()).unwrap();
    let mut client = Client::new(open(), Record::default(), &runtime);
    client.create_volume(1).unwrap();
    let large = |n: u64| -> Name { (1, 22 + 23 * n) };
    (0..120).for_each(|n| client.put(&[large(n)]).unwrap());
    for n in 0..40 {
        client.delete(large(n)).unwrap();
    }

    let volume = client.store.volume(vid(1)).unwrap();
    let progress = Progress::default();
    let junk = place.join("junk");
    std::thread::scope(|scope| {
        let compaction = scope.spawn(|| volume.compact(&progress));
        while progress.bytes().0 == 0 && !compaction.is_finished() {
            std::thread::yield_now();
        }
        fill_up(&junk);
        // Clients go on meanwhile, as far as there is room.
        let refused = (200..400).find(|n| client.put(&[large(*n)]).is_err());
        assert!(refused.is_some(), "200 needles of 70,000 bytes on a full disk");
        client.delete(large(50)).unwrap();
        client.check("full, while it is compacted");
        match compaction.join().unwrap() {
            Ok(_) | Err(StoreError::DiskFull(_)) => {}
            Err(error) => panic!("{error}"),
        }
    });
    client.check("full, after the compaction");
    // What the compaction gave back is taken by others too, and deletes go on.
    fill_up(&place.join("more junk"));
    client.delete(large(51)).unwrap();
    client.verify("full, after the compaction");

    let record = client.close();
    let mut client = Client::new(open(), record, &runtime);
    client.check("opened on the full disk");
    fill_up(&place.join("junk of today"));
    client.delete(large(52)).unwrap();
    std::fs::remove_file(&junk).unwrap();
    std::fs::remove_file(place.join("more junk")).unwrap();
    let volume = client.store.volume(vid(1)).unwrap();
    volume.recheck_space();
    client.put(&[large(500), large(501)]).unwrap();
    client.compact(1).unwrap();
    let record = client.close();
    Client::new(open(), record, &runtime).check("there is room again");
}

/// Writes until nothing more fits.
fn fill_up(path: &Path) {
    let mut file = File::create(path).unwrap();
    for len in [1 << 20, 4096, 1] {
        while file.write_all(&vec![7; len]).is_ok() {}
    }
}
