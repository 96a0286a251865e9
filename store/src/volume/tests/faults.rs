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
