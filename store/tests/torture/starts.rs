//! What the next start finds after a process that ended badly, case by case. Each of these
//! was a bug once.

use std::sync::Arc;

use hayrick_store::storage::Disk;
use hayrick_store::storage::memory::{Call, MemoryDisk};
use hayrick_store::volume::{Answer, Condition, Progress, Volume, files};
use hayrick_store::{StoreError, VolumeId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustix::io::Errno;

use crate::client::{CLUSTER, options};
use crate::record::{Name, content, id, needle, vid};

fn volume_id() -> VolumeId {
    vid(1)
}

fn new_disk() -> MemoryDisk {
    let disk = MemoryDisk::new();
    Volume::create(&disk, CLUSTER, volume_id()).unwrap();
    disk
}

fn open(disk: &MemoryDisk) -> Volume {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Volume::open(&disk, CLUSTER, volume_id(), options().volume).unwrap().0
}

fn wait<T>(answer: Result<Answer<T>, StoreError>) -> Result<T, StoreError> {
    answer.and_then(|answer| answer.blocking_recv().unwrap())
}

fn put(volume: &Volume, keys: &[u64]) -> Result<(), StoreError> {
    wait(volume.put(keys.iter().map(|key| needle((1, *key))).collect()))
}

fn get(volume: &Volume, key: u64) -> Result<(), StoreError> {
    let name: Name = (1, key);
    let found = volume.open_needle(id(name).key, id(name).cookie)?;
    assert!(found.read(&(0..found.size()))? == content(name), "wrong bytes of needle {key}");
    Ok(())
}

fn crashes(disk: &MemoryDisk) -> impl Iterator<Item = Volume> {
    (0..20).map(|seed| open(&disk.crash(&mut StdRng::seed_from_u64(seed))))
}

/// A killed process may have renamed a file and not synced the folder. Whoever comes after
/// it must do so before anything is put into that file.
#[test]
fn a_rename_by_a_killed_process_is_made_durable_before_it_is_built_upon() {
    let steps = {
        let disk = new_disk();
        let volume = open(&disk);
        put(&volume, &[1]).unwrap();
        let before = disk.steps();
        volume.compact(&Progress::default()).unwrap();
        disk.steps() - before
    };
    for killed_at in 0..=steps {
        let disk = new_disk();
        let volume = open(&disk);
        put(&volume, &[1]).unwrap();
        disk.cut_after(killed_at);
        let _ = volume.compact(&Progress::default());
        drop(volume);
        disk.restore_power();
        put(&open(&disk), &[2]).unwrap();
        for volume in crashes(&disk) {
            get(&volume, 1).unwrap();
            get(&volume, 2).unwrap();
        }
    }
}

#[test]
fn a_volume_made_by_a_killed_process_is_durable_before_it_takes_needles() {
    for killed_at in 0..8 {
        let disk = MemoryDisk::new();
        disk.cut_after(killed_at);
        let _ = Volume::create(&disk, CLUSTER, volume_id());
        disk.restore_power();
        if disk.bytes(&files::volume(volume_id())).is_some() {
            put(&open(&disk), &[1]).unwrap();
            crashes(&disk).for_each(|volume| get(&volume, 1).unwrap());
        }
    }
}

/// After a failed sync the kernel calls the pages clean, and the next sync succeeds. A start
/// that finds the records in memory must not take them for written.
#[test]
fn a_start_after_a_failed_sync_does_not_believe_the_page_cache() {
    for evicted in [false, true] {
        let disk = new_disk();
        let volume = open(&disk);
        put(&volume, &[1]).unwrap();
        disk.fail_next(Call::Sync, 0, Errno::IO);
        assert!(matches!(put(&volume, &[2, 3]), Err(StoreError::Failed { .. })));
        drop(volume);
        if evicted {
            disk.evict();
        }
        // The client tries again after the restart, and is told that all is well.
        put(&open(&disk), &[2, 3]).unwrap();
        disk.evict();
        for volume in crashes(&disk) {
            (1..=3).for_each(|key| get(&volume, key).unwrap());
        }
    }
}

#[test]
fn a_sync_or_a_removal_that_fails_at_the_start_costs_no_reads() {
    for call in [Call::Sync, Call::SyncNames, Call::List, Call::Write, Call::Remove] {
        let disk = new_disk();
        let volume = open(&disk);
        put(&volume, &[1]).unwrap();
        disk.cut_after(3);
        let _ = volume.compact(&Progress::default());
        drop(volume);
        disk.restore_power();
        disk.fail_from(call, 0, Errno::IO);
        let volume = open(&disk);
        get(&volume, 1).unwrap();
        if call != Call::Remove {
            assert!(matches!(volume.stats().condition, Condition::Failed(_)), "{call:?}");
            assert!(matches!(put(&volume, &[2]), Err(StoreError::Failed { .. })), "{call:?}");
        }
        disk.stop_failing();
        drop(volume);
        put(&open(&disk), &[2]).unwrap();
        get(&open(&disk), 1).unwrap();
    }
}

/// The volume file with one byte of the body of `key`'s record changed.
fn torn(disk: &MemoryDisk, key: u64) -> MemoryDisk {
    let name = files::volume(volume_id());
    let mut bytes = disk.bytes(&name).unwrap();
    let content = content((1, key));
    let at = bytes.windows(content.len()).rposition(|part| part == content).unwrap();
    bytes[at] ^= 1;
    let after = MemoryDisk::new();
    after.put(&name, bytes);
    after
}

/// A put and its delete in one write, of which the put is torn and the tombstone is whole.
#[test]
fn a_tombstone_behind_a_torn_put_is_not_taken_back_with_it() {
    let disk = new_disk();
    let volume = open(&disk);
    let held = disk.hold_syncs();
    let first = volume.put(vec![needle((1, 9))]);
    while !held.any_waits() {
        std::thread::yield_now();
    }
    let stored = volume.put(vec![needle((1, 5))]);
    let deleted = volume.delete(id((1, 5)).key, id((1, 5)).cookie);
    drop(held);
    wait(first).unwrap();
    wait(stored).unwrap();
    wait(deleted).unwrap();
    drop(volume);

    let disk = torn(&disk, 5);
    let volume = open(&disk);
    assert!(matches!(get(&volume, 5), Err(StoreError::NotFound)));
    let again = put(&volume, &[5]);
    drop(volume);
    let volume = open(&disk);
    match again {
        Ok(()) => get(&volume, 5).unwrap(),
        Err(error) => assert!(matches!(error, StoreError::Conflict { .. }), "{error}"),
    }
}

/// A damaged needle was put again, and that write was torn: it is still known as damaged, and
/// the numbers still add up, so that the volume can be compacted.
#[test]
fn a_torn_repair_leaves_the_damaged_needle_known() {
    for checkpoint in [false, true] {
        let disk = new_disk();
        let volume = open(&disk);
        put(&volume, &[5]).unwrap();
        put(&volume, &[6]).unwrap();
        if checkpoint {
            volume.checkpoint().unwrap();
        }
        let name = files::volume(volume_id());
        let content = content((1, 5));
        let bytes = disk.bytes(&name).unwrap();
        let at = bytes.windows(content.len()).position(|part| part == content).unwrap();
        disk.flip(&name, at, 1);
        let held = disk.hold_syncs();
        let first = volume.put(vec![needle((1, 9))]);
        while !held.any_waits() {
            std::thread::yield_now();
        }
        let repair = volume.put(vec![needle((1, 5))]);
        let after = volume.put(vec![needle((1, 7))]);
        drop(held);
        for answer in [first, repair, after] {
            wait(answer).unwrap();
        }
        drop(volume);
        let index = files::index(volume_id(), 1);
        let torn = torn(&disk, 5);
        if checkpoint {
            torn.put(&index, disk.bytes(&index).unwrap());
        }
        for _ in 0..3 {
            let volume = open(&torn);
            assert!(matches!(get(&volume, 5), Err(StoreError::Corrupt { .. })), "{checkpoint}");
            for key in [6, 7, 9] {
                get(&volume, key).unwrap();
            }
            assert_eq!(volume.stats().totals.live_needles, 4);
        }
        let volume = open(&torn);
        assert_eq!(volume.compact(&Progress::default()).unwrap().damaged_needles, 1);
        put(&volume, &[5]).unwrap();
        drop(volume);
        (5..8).for_each(|key| get(&open(&torn), key).unwrap());
    }
}
