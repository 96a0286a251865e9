//! Failing calls, bad sectors and full disks.

use super::*;

/// Trap 6 of the field: the index kept offsets of a group whose sync had failed.
#[test]
fn a_failed_sync_shows_nothing_and_stops_writes_until_reopened() {
    let (disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    disk.fail_next(Call::Sync, 0, io::ErrorKind::Other);
    assert!(matches!(put(&volume, &[2]), Err(StoreError::Failed { .. })));
    assert_gone(&volume, 2);
    assert!(matches!(put(&volume, &[3]), Err(StoreError::Failed { .. })));
    assert!(matches!(delete(&volume, 1), Err(StoreError::Failed { .. })));
    assert_has(&volume, 1);
    drop(volume);
    let volume = open(&disk);
    assert_has(&volume, 1);
    put(&volume, &[3]).unwrap();
    assert_has(&volume, 3);
}

/// Trap 1 and b7 of the field: one EIO deleted a replica, or took a whole volume offline.
#[test]
fn a_bad_sector_costs_the_needles_on_it_and_nothing_else() {
    let (disk, volume) = new_volume();
    for key in 1..=8 {
        put(&volume, &[41 * key]).unwrap();
    }
    let name = files::volume(id());
    let before = disk.bytes(&name).unwrap();
    let at = volume.shared.locate(Key::new(41)).unwrap().entry.offset.bytes();
    let bad = at + 30_000..at + 30_512;
    disk.spoil(&name, bad.clone());
    for _ in 0..2 {
        assert!(matches!(get(&volume, 41), Err(StoreError::Io { .. })), "an error for that needle");
        put(&volume, &[1]).unwrap();
    }
    assert!(get(&volume, 41).is_err());
    assert!(matches!(put(&volume, &[2]), Err(StoreError::Failed { .. })), "quarantined");
    (2..=8).for_each(|key| assert_has(&volume, 41 * key));
    let report = volume.verify(&Progress::default()).unwrap();
    assert_eq!(
        report.damaged.iter().map(|damage| damage.key).collect::<Vec<_>>(),
        [Some(Key::new(41))]
    );
    assert!(matches!(volume.compact(&Progress::default()), Err(StoreError::Failed { .. })));
    drop(volume);

    // A start on the bad disk: what can be read is served, nothing is cut or taken back.
    let last = before.len() as u64 - 30_000;
    for spoiled in [bad, at..at + 8, last..last + 8] {
        disk.spoil(&name, 0..0);
        disk.spoil(&name, spoiled);
        let volume = open(&disk);
        let readable = (1..=8).filter(|key| get(&volume, 41 * key).is_ok()).count();
        assert_eq!(readable, 7);
        assert!(disk.bytes(&name).unwrap().starts_with(&before), "an error never destroys");
    }
    disk.spoil(&name, 0..0);
    (1..=8).for_each(|key| assert_has(&open(&disk), 41 * key));
}

/// Trap 14 of the field: writes acknowledged on a full disk, and lost.
#[test]
fn a_full_disk_is_said_at_once_deletes_go_on_and_room_is_noticed() {
    let (disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    // The volume and its index file, and a little more.
    disk.set_capacity(Some(2 * SUPERBLOCK_BYTES as u64 + 1000));
    let volume = {
        drop(volume);
        open(&disk)
    };
    assert!(matches!(put(&volume, &[41]), Err(StoreError::DiskFull(_))));
    assert!(matches!(put(&volume, &[2]), Err(StoreError::DiskFull(_))), "read-only now");
    assert_eq!(volume.stats().condition, Condition::DiskFull);
    assert_has(&volume, 1);
    assert!(delete(&volume, 1).unwrap());
    disk.set_capacity(None);
    volume.recheck_space();
    put(&volume, &[41]).unwrap();
    assert_has(&volume, 41);
    assert_has(&open(&disk), 41);
}

#[test]
fn a_write_cut_short_leaves_nothing_behind() {
    for (call, kind) in
        [(Call::Write, io::ErrorKind::StorageFull), (Call::Write, io::ErrorKind::Other)]
    {
        let (disk, volume) = new_volume();
        put(&volume, &[1]).unwrap();
        let before = disk.bytes(&files::volume(id())).unwrap();
        disk.fail_next(call, 0, kind);
        assert!(put(&volume, &[2, 3, 4]).is_err());
        assert_eq!(disk.bytes(&files::volume(id())).unwrap(), before);
    }
}

#[test]
fn a_volume_on_a_read_only_disk_serves_reads_and_is_left_as_it_is() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2, 3]).unwrap();
    delete(&volume, 2).unwrap();
    for (saved, torn) in [(false, ""), (false, "torn"), (true, ""), (true, "torn")] {
        if saved {
            volume.checkpoint().unwrap();
        }
        let name = files::volume(id());
        let whole = disk.bytes(&name).unwrap();
        disk.put(&name, [&*whole, torn.as_bytes()].concat());
        let before: Vec<_> =
            disk.list().unwrap().into_iter().map(|name| disk.bytes(&name)).collect();
        disk.set_read_only(true);
        let volume = open(&disk);
        assert_has(&volume, 1);
        assert_gone(&volume, 2);
        assert!(matches!(put(&volume, &[4]), Err(StoreError::Failed { .. })));
        assert!(matches!(delete(&volume, 1), Err(StoreError::Failed { .. })));
        assert!(matches!(volume.compact(&Progress::default()), Err(StoreError::Failed { .. })));
        assert!(!volume.wants_checkpoint());
        while !volume.scrub_step(1 << 20).unwrap().is_over {}
        drop(volume);
        let after: Vec<_> =
            disk.list().unwrap().into_iter().map(|name| disk.bytes(&name)).collect();
        assert_eq!(before, after);
        disk.set_read_only(false);
        disk.put(&name, whole);
    }
    put(&open(&disk), &[4]).unwrap();
    assert_has(&open(&disk), 4);
}

/// A batch is half there, and the record that takes it back does not fit on the disk.
#[test]
fn a_start_on_a_full_disk_that_cannot_take_back_torn_records_serves_reads() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2]).unwrap();
    let torn = burst_with_torn_first(&disk, &volume, 3, 4);
    drop(volume);
    let full = |extra| {
        let used: u64 =
            torn.list().unwrap().iter().map(|name| torn.bytes(name).unwrap().len() as u64).sum();
        torn.set_capacity(Some(used + extra));
    };
    full(0);
    let (volume, report) = open_with(&torn, options()).unwrap();
    assert!(report.aborted > 0, "{report:?}");
    for key in [1, 2, 4] {
        assert_has(&volume, key);
    }
    assert!(get(&volume, 3).is_err(), "never acknowledged, and torn");
    assert!(matches!(put(&volume, &[5]), Err(StoreError::Failed { .. } | StoreError::DiskFull(_))));
    drop(volume);
    torn.set_capacity(None);
    let volume = open(&torn);
    put(&volume, &[3, 5]).unwrap();
    drop(volume);
    (1..=5).for_each(|key| assert_has(&open(&torn), key));
}

/// Two puts in one write, of which the first is torn and the second is whole.
fn burst_with_torn_first(
    disk: &MemoryDisk,
    volume: &Volume,
    first: u64,
    second: u64,
) -> MemoryDisk {
    let held = disk.hold_syncs();
    let blocker = volume.put(vec![needle(900, b"")]).unwrap();
    while !held.any_waits() {
        std::thread::yield_now();
    }
    let answers =
        [first, second].map(|key| volume.put(vec![needle(key, &content_for(key))]).unwrap());
    drop(held);
    blocker.blocking_recv().unwrap().unwrap();
    for answer in answers {
        answer.blocking_recv().unwrap().unwrap();
    }
    let at = volume.shared.locate(Key::new(first)).unwrap().entry.offset.bytes();
    let torn = MemoryDisk::new();
    for name in disk.list().unwrap() {
        torn.put(&name, disk.bytes(&name).unwrap());
    }
    torn.flip(&files::volume(id()), usize::try_from(at).unwrap() + 60, 1);
    torn
}

#[test]
fn a_start_on_a_full_disk_where_no_index_file_can_be_written_serves_reads_and_takes_deletes() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2, 3]).unwrap();
    volume.close().unwrap();
    disk.flip(&files::index(id(), 1), 5000, 1);
    let used: u64 =
        disk.list().unwrap().iter().map(|name| disk.bytes(name).unwrap().len() as u64).sum();
    // Room for a tombstone, and for no index file.
    disk.set_capacity(Some(used + 200));
    let (volume, report) = open_with(&disk, options()).unwrap();
    assert!(report.index_problem.is_some());
    (1..=3).for_each(|key| assert_has(&volume, key));
    assert!(delete(&volume, 1).unwrap());
    assert!(volume.checkpoint().is_err(), "the disk is full");
    assert_has(&volume, 2);
    assert!(delete(&volume, 2).unwrap(), "a checkpoint that failed is no harm");
    assert!(volume.close().is_err());
    for _ in 0..2 {
        let volume = open(&disk);
        assert_gone(&volume, 1);
        assert_gone(&volume, 2);
        assert_has(&volume, 3);
        disk.set_capacity(None);
    }
}
