//! Mistakes that other stores of this kind made, each shown to be impossible here. The rest
//! of the list, with the tests that stand elsewhere, is in `docs/durability.md`.

use std::fs;
use std::sync::Arc;

use hayrick_store::disk::DataDir;
use hayrick_store::format::index::IndexHead;
use hayrick_store::format::superblock::Superblock;
use hayrick_store::format::{MAX_VOLUME_BYTES, NeedleOffset};
use hayrick_store::status::VolumeState;
use hayrick_store::storage::Disk;
use hayrick_store::storage::memory::{Call, MemoryDisk};
use hayrick_store::storage::os::OsDisk;
use hayrick_store::volume::{Volume, files};
use hayrick_store::{Key, Store, StoreError, index};
use rustix::io::Errno;
use uuid::Uuid;

use crate::client::{CLUSTER, Client, Got, open, options, runtime};
use crate::record::{E1, Name, Record, content, id, needle, vid};

fn open_both(disks: [&MemoryDisk; 2]) -> Arc<Store> {
    let disks = disks.map(|disk| DataDir::private("memory", Arc::new(disk.clone())));
    Store::open_on(CLUSTER, disks.into(), options()).unwrap()
}

#[test]
fn deletes_of_a_read_only_volume_never_touch_its_index() {
    let runtime = runtime();
    let disk = MemoryDisk::new();
    let mut client = Client::new(open(&disk, &options()).unwrap(), Record::new(false), &runtime);
    client.create_volume(1).unwrap();
    client.put(&[(1, 1), (1, 2), (1, 3)]).unwrap();
    client.checkpoint(1).unwrap();
    let name = files::index(vid(1), 1);
    let index = disk.bytes(&name).unwrap();
    client.store.volume(vid(1)).unwrap().set_read_only(true).unwrap();
    assert!(matches!(client.put(&[(1, 4)]), Err(StoreError::ReadOnly(_))));
    client.delete((1, 2)).unwrap();
    assert_eq!(disk.bytes(&name).unwrap(), index);
    let record = client.close();
    Client::new(open(&disk, &options()).unwrap(), record, &runtime).check("opened again");
}

/// A volume whose next record stands just before the end that offsets can name. The file is
/// sparse, and the index says that there is nothing in it.
fn nearly_full_volume(path: &std::path::Path, room: u64) -> Volume {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(path));
    Volume::create(&*disk, CLUSTER, vid(1)).unwrap();
    let name = files::volume(vid(1));
    let superblock = Superblock::from_bytes(&fs::read(path.join(&name)).unwrap()).unwrap();
    let end = MAX_VOLUME_BYTES - room;
    fs::File::options().write(true).open(path.join(name)).unwrap().set_len(end).unwrap();
    let head = IndexHead {
        covered_end: NeedleOffset::from_bytes(end).unwrap(),
        last_append_ns: 1,
        ..IndexHead::empty(&superblock)
    };
    let name = files::index(vid(1), 1);
    index::write_sealed(&*disk, &name, head, std::iter::empty(), &superblock).unwrap();
    Volume::open(&disk, CLUSTER, vid(1), options().volume).unwrap().0
}

#[test]
fn concurrent_puts_at_the_end_of_a_32_gib_volume_never_wrap_an_offset() {
    let dir = tempfile::tempdir().unwrap();
    // Four MiB of it are kept for tombstones.
    let volume = nearly_full_volume(dir.path(), (5 << 20) - 8);
    let large = |n: u64| (1, 22 + 23 * n);
    let answers: Vec<_> = (0..40).map(|n| volume.put(vec![needle(large(n))]).unwrap()).collect();
    let stored: Vec<bool> = answers
        .into_iter()
        .map(|answer| match answer.blocking_recv().unwrap() {
            Ok(()) => true,
            Err(StoreError::VolumeFull(_)) => false,
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert!(stored.contains(&true) && stored.contains(&false), "{stored:?}");
    let check = |volume: &Volume| {
        for (n, stored) in (0..).zip(&stored) {
            let NeedleParts { key, cookie } = parts(large(n));
            match volume.open_needle(key, cookie) {
                Ok(found) => {
                    assert!(*stored && found.read(&(0..70_000)).unwrap() == content(large(n)));
                }
                Err(error) => assert!(!stored && matches!(error, StoreError::NotFound), "{error}"),
            }
        }
    };
    check(&volume);
    assert!(volume.stats().file_bytes <= MAX_VOLUME_BYTES);
    let NeedleParts { key, cookie } = parts((1, 3));
    assert!(volume.delete(key, cookie).unwrap().blocking_recv().unwrap().is_ok());
    volume.close().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(dir.path()));
    check(&Volume::open(&disk, CLUSTER, vid(1), options().volume).unwrap().0);
}

struct NeedleParts {
    key: Key,
    cookie: hayrick_store::Cookie,
}

fn parts(name: Name) -> NeedleParts {
    let id = id(name);
    NeedleParts { key: id.key, cookie: id.cookie }
}

#[test]
fn one_volume_on_two_disks_is_refused_not_guessed() {
    let runtime = runtime();
    let (one, other) = (MemoryDisk::new(), MemoryDisk::new());
    for disk in [&one, &other] {
        let store = open(disk, &options()).unwrap();
        let mut client = Client::new(store, Record::new(false), &runtime);
        client.create_volume(1).unwrap();
        client.put(&[(1, 1)]).unwrap();
    }
    let before = [&one, &other].map(|disk| disk.bytes(&files::volume(vid(1))).unwrap());
    let store = open_both([&one, &other]);
    let status = store.status();
    assert_eq!(status.volumes[0].state, VolumeState::Unavailable);
    assert!(runtime.block_on(store.put(vid(1), E1, vec![needle((1, 2))])).is_err());
    assert!(runtime.block_on(store.create_volume(vid(1), E1)).is_err());
    let after = [&one, &other].map(|disk| disk.bytes(&files::volume(vid(1))).unwrap());
    assert_eq!(before, after);
}

#[test]
fn a_disk_that_cannot_be_read_at_the_start_costs_only_its_own_volumes() {
    let runtime = runtime();
    let (dead, well) = (MemoryDisk::new(), MemoryDisk::new());
    let mut client = Client::new(open_both([&dead, &well]), Record::new(false), &runtime);
    well.set_capacity(Some(0));
    client.create_volume(1).unwrap();
    well.set_capacity(None);
    dead.set_capacity(Some(1 << 30));
    client.create_volume(2).unwrap();
    client.put(&[(1, 1)]).unwrap();
    client.put(&[(2, 1)]).unwrap();
    let record = client.close();

    dead.fail_from(Call::List, 0, Errno::IO);
    let mut client = Client::new(open_both([&dead, &well]), record, &runtime);
    client.put(&[(2, 2)]).unwrap();
    assert!(matches!(client.get((2, 1)), Got::Right));
    // It is not said to be gone, for it may be there.
    let Got::Error(error @ StoreError::Failed { .. }) = client.get((1, 1)) else {
        panic!("a needle on a disk that cannot be read")
    };
    assert!(error.to_string().contains("cannot be read"), "{error}");
    let status = client.store.status();
    assert!(status.disks[0].problem.is_none() && status.disks[1].problem.is_some(), "{status:?}");
    client.create_volume(3).unwrap();
    client.put(&[(3, 1)]).unwrap();
    let copied = runtime.block_on(client.store.create_copy(vid(1), E1));
    assert!(matches!(copied, Err(StoreError::Failed { .. })), "two replicas would be too many");
    let record = client.close();

    assert!(open(&dead, &options()).is_none(), "a store without any disk is none");
    dead.stop_failing();
    Client::new(open_both([&dead, &well]), record, &runtime).check("the disk is back");
}

#[test]
fn a_disk_of_another_cluster_is_refused() {
    let disk = MemoryDisk::new();
    let runtime = runtime();
    let store = open(&disk, &options()).unwrap();
    Client::new(store, Record::new(false), &runtime).create_volume(1).unwrap();
    let disks = vec![DataDir::private("memory", Arc::new(disk.clone()))];
    let foreign = Store::open_on(Uuid::from_u128(5), disks, options()).unwrap();
    assert_eq!(foreign.status().volumes[0].state, VolumeState::Unavailable);
    assert!(runtime.block_on(foreign.create_volume(vid(1), E1)).is_err());
}

/// Keys as a clock gives them, millions apart, and keys one after another.
#[test]
fn sparse_keys_cost_at_most_9_bytes_a_needle() {
    let bytes_of_index = |stride: u64| {
        let runtime = runtime();
        let disk = MemoryDisk::new();
        let store = open(&disk, &options()).unwrap();
        let mut client = Client::new(store, Record::new(false), &runtime);
        client.create_volume(1).unwrap();
        for first in 0..10 {
            let batch: Vec<Name> = (0..102).map(|n| (1, (first * 102 + n) * stride)).collect();
            client.put(&batch).unwrap();
        }
        client.checkpoint(1).unwrap();
        assert_eq!(client.store.volume(vid(1)).unwrap().stats().unsaved_entries, 0);
        disk.bytes(&files::index(vid(1), 1)).unwrap().len()
    };
    let head_and_last_page = 2 * 4096;
    let (dense, sparse) = (bytes_of_index(1), bytes_of_index(4_200_000 * 23));
    assert!(dense <= head_and_last_page + 1020 * 6, "{dense}");
    assert!(sparse <= head_and_last_page + 1020 * 9, "{sparse}");
}

#[test]
fn asking_about_a_needle_reads_no_data() {
    let runtime = runtime();
    let disk = MemoryDisk::new();
    let mut client = Client::new(open(&disk, &options()).unwrap(), Record::new(false), &runtime);
    client.create_volume(1).unwrap();
    client.put(&[(1, 22)]).unwrap();
    disk.spoil(&files::volume(vid(1)), 4096 + 1000..4096 + 60_000);
    let found = runtime.block_on(client.store.stat_needle(id((1, 22)))).unwrap();
    assert_eq!(found.size(), 70_000);
    assert!(matches!(client.get((1, 22)), Got::Error(StoreError::Io { .. })));
}

#[test]
fn a_slow_disk_holds_up_no_other_volume_and_no_reader() {
    let runtime = runtime();
    let (slow, quick) = (MemoryDisk::new(), MemoryDisk::new());
    let mut client = Client::new(open_both([&slow, &quick]), Record::new(false), &runtime);
    quick.set_capacity(Some(0));
    client.create_volume(1).unwrap();
    quick.set_capacity(None);
    slow.set_capacity(Some(1 << 30));
    client.create_volume(2).unwrap();
    client.put(&[(1, 1)]).unwrap();
    let held = slow.hold_syncs();
    let waiting = client.store.volume(vid(1)).unwrap().put(vec![needle((1, 2))]).unwrap();
    while !held.any_waits() {
        std::thread::yield_now();
    }
    client.put(&[(2, 1), (2, 2)]).unwrap();
    client.check("while a disk is slow");
    assert!(matches!(client.get((1, 2)), Got::Gone), "not shown before its sync");
    drop(held);
    waiting.blocking_recv().unwrap().unwrap();
    assert!(matches!(client.get((1, 2)), Got::Right));
}

#[test]
fn a_burst_longer_than_the_queue_costs_no_later_write() {
    let runtime = runtime();
    let disk = MemoryDisk::new();
    let mut options = options();
    options.volume.queue_len = 4;
    let mut client = Client::new(open(&disk, &options).unwrap(), Record::new(false), &runtime);
    client.create_volume(1).unwrap();
    let volume = client.store.volume(vid(1)).unwrap();
    let held = disk.hold_syncs();
    let answers: Vec<_> = (0..100).map(|key| volume.put(vec![needle((1, key))])).collect();
    drop(held);
    for (key, answer) in (0..).zip(answers) {
        let answer = answer.and_then(|answer| answer.blocking_recv().unwrap());
        assert!(matches!(answer, Ok(()) | Err(StoreError::Busy { .. })));
        client.record.note_put(&[(1, key)], &answer);
        assert_eq!(matches!(client.get((1, key)), Got::Right), answer.is_ok());
    }
    client.put(&[(1, 200), (1, 201)]).unwrap();
    let record = client.close();
    Client::new(open(&disk, &options).unwrap(), record, &runtime).check("opened again");
}
