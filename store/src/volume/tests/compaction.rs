//! Compaction keeps what lives, whatever happens meanwhile.

use super::*;

#[test]
fn compaction_keeps_what_lives_and_drops_what_does_not() {
    let (disk, volume) = new_volume();
    let keys: Vec<u64> = (0..200).collect();
    for chunk in keys.chunks(10) {
        put(&volume, chunk).unwrap();
    }
    for key in keys.iter().filter(|key| *key % 3 == 0) {
        delete(&volume, *key).unwrap();
    }
    let before = volume.stats();
    let slow_reader = volume.open_needle(Key::new(41), cookie(41)).unwrap();
    let done = volume.compact(&Progress::default()).unwrap();
    let after = volume.stats();
    assert!(done.after_bytes < done.before_bytes);
    assert_eq!(after.file_bytes, done.after_bytes);
    assert_eq!(after.totals.digest, before.totals.digest);
    assert_eq!((after.generation, after.garbage_bytes), (2, 0));
    assert_eq!(slow_reader.read(&(0..70_000)).unwrap(), content_for(41));
    put(&volume, &[1000]).unwrap();
    for volume in [volume, open(&disk)] {
        for &key in &keys {
            if key % 3 == 0 { assert_gone(&volume, key) } else { assert_has(&volume, key) }
        }
        assert_has(&volume, 1000);
        assert!(
            matches!(put(&volume, &[3]), Err(StoreError::Conflict { .. })),
            "its tombstone is kept"
        );
    }
    assert_eq!(disk.list().unwrap().len(), 2, "{:?}", disk.list());
}

/// Else a volume of young tombstones would be compacted again and again for nothing.
#[test]
fn kept_tombstones_are_no_garbage_however_long_the_names_that_they_carry() {
    let (disk, volume) = new_volume();
    for (key, length) in (0..50).zip((0..).step_by(10)) {
        put(&volume, &[key]).unwrap();
        let removed = Meta { name: "x".repeat(length), ..Meta::default() };
        let deleted = volume.delete_under(None, Key::new(key), cookie(key), &removed).unwrap();
        assert!(deleted.blocking_recv().unwrap().unwrap());
    }
    let before = volume.stats();
    assert!(before.garbage_bytes > 0);
    let done = volume.compact(&Progress::default()).unwrap();
    let kept = before.file_bytes - before.garbage_bytes;
    assert_eq!((done.after_bytes, volume.stats().garbage_bytes), (kept, 0));
    volume.checkpoint().unwrap();
    drop(volume);
    // As the index file says it, and as the records themselves do.
    let volume = open(&disk);
    assert_eq!((volume.stats().totals.tombstones, volume.stats().garbage_bytes), (50, 0));
    drop(volume);
    disk.remove(&files::index(id(), 2)).unwrap();
    assert_eq!(open(&disk).stats().garbage_bytes, 0);
    // Once all of them may go, they are what a compaction is for.
    let old = VolumeOptions { tombstone_retention: Duration::ZERO, ..options() };
    let volume = open_with(&disk, old).unwrap().0;
    let garbage = volume.stats().garbage_bytes;
    assert!(garbage > 50 * 64, "{garbage}");
    let done = volume.compact(&Progress::default()).unwrap();
    assert_eq!((done.before_bytes - done.after_bytes, volume.stats().garbage_bytes), (garbage, 0));
}

#[test]
fn compaction_drops_tombstones_that_are_old_enough() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2]).unwrap();
    delete(&volume, 1).unwrap();
    drop(volume);
    let now = VolumeOptions { tombstone_retention: Duration::ZERO, ..options() };
    let volume = open_with(&disk, now).unwrap().0;
    volume.compact(&Progress::default()).unwrap();
    assert_eq!(volume.stats().totals.tombstones, 0);
    assert_gone(&volume, 1);
    assert_has(&open(&disk), 2);
}

/// A replica that has not got a tombstone would give the needle back.
#[test]
fn a_tombstone_that_other_replicas_may_lack_is_kept_however_old_it_is() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2, 3]).unwrap();
    delete(&volume, 1).unwrap();
    let first = volume.stats().last_append_ns;
    delete(&volume, 2).unwrap();
    drop(volume);
    let options =
        || VolumeOptions { tombstone_retention: Duration::ZERO, replicated: true, ..options() };
    let volume = open_with(&disk, options()).unwrap().0;
    let compact = |volume: &Volume| {
        volume.compact(&Progress::default()).unwrap();
        volume.stats().totals.tombstones
    };
    assert_eq!(compact(&volume), 2);
    volume.confirm(first - 1);
    assert_eq!(compact(&volume), 2);
    volume.confirm(first);
    assert_eq!(compact(&volume), 1, "its own clock has said when");
    volume.confirm(u64::MAX);
    delete(&volume, 3).unwrap();
    assert_eq!(compact(&volume), 1, "what came after it is not confirmed");
    volume.confirm(u64::MAX);
    drop(volume);
    let volume = open_with(&disk, options()).unwrap().0;
    assert_eq!(compact(&volume), 1, "a restart forgets");
    volume.confirm(volume.stats().last_append_ns);
    assert_eq!(compact(&volume), 0);
    let aged = VolumeOptions { tombstone_retention: Duration::from_hours(1), ..options() };
    drop(volume);
    let volume = open_with(&disk, aged).unwrap().0;
    put(&volume, &[4]).unwrap();
    delete(&volume, 4).unwrap();
    volume.confirm(u64::MAX);
    assert_eq!(compact(&volume), 1, "confirmed, but too young");
}

/// Damage keeps nothing from being compared: the copy holds what the original does.
#[test]
fn the_digest_stays_exact_when_a_needle_with_a_rotten_header_is_compacted() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2, 3]).unwrap();
    delete(&volume, 3).unwrap();
    let before = volume.stats().totals;
    let header_of_2 = {
        let located = volume.shared.locate(Key::new(2)).unwrap();
        usize::try_from(located.entry.offset.bytes()).unwrap()
    };
    disk.flip(&files::volume(id()), header_of_2 + 9, 1);
    disk.evict();
    let done = volume.compact(&Progress::default()).unwrap();
    assert_eq!(done.damaged_needles, 1);
    for volume in [volume, open(&disk)] {
        let after = volume.stats().totals;
        assert_eq!((after.digest, after.digest_exact), (before.digest, true));
        assert!(matches!(get(&volume, 2), Err(StoreError::Corrupt { .. })));
    }
    let volume = open(&disk);
    put(&volume, &[2]).expect("the same needle heals it");
    assert_has(&volume, 2);
    drop(volume);
    let after = open(&disk).stats().totals;
    assert_eq!((after.digest, after.digest_exact), (before.digest, true));
}

/// Trap 2 of the field: compaction on a full disk left cut data in place of the volume.
#[test]
fn compaction_without_room_changes_nothing() {
    let (disk, volume) = new_volume();
    put(&volume, &(0..100).collect::<Vec<_>>()).unwrap();
    let before = disk.list().unwrap();
    let used: u64 = before.iter().map(|name| disk.bytes(name).unwrap().len() as u64).sum();
    for spare in [0, 1000, used / 2, used] {
        disk.set_capacity(Some(used + spare));
        assert!(matches!(volume.compact(&Progress::default()), Err(StoreError::DiskFull(_))));
        assert_eq!(disk.list().unwrap(), before);
    }
    disk.set_capacity(None);
    for call in [Call::Write, Call::Sync, Call::Create, Call::SetLen, Call::Allocate] {
        for skip in 0..8 {
            disk.fail_next(call, skip, io::ErrorKind::Other);
            let _ = volume.compact(&Progress::default());
            (0..100).for_each(|key| assert_has(&volume, key));
        }
    }
}

/// The last good copy must not go for one that the device has not kept.
#[test]
fn a_copy_that_the_disk_has_not_kept_never_replaces_the_original() {
    let (disk, volume) = new_volume();
    for key in 1..60 {
        put(&volume, &[key]).unwrap();
    }
    delete(&volume, 7).unwrap();
    let writes = {
        let before = disk.calls(Call::Write);
        volume.compact(&Progress::default()).unwrap();
        disk.calls(Call::Write) - before
    };
    assert!(writes >= 3, "the superblock, the needles and the index");
    for skip in 0..writes {
        let before = disk.bytes(&files::volume(id())).unwrap();
        let generation = volume.stats().generation;
        disk.fail_next(Call::Write, skip, Fault::WrongBit);
        let error = volume.compact(&Progress::default()).unwrap_err().to_string();
        assert!(disk.stop_failing(), "write {skip} of {writes} was not made");
        assert!(error.contains("copy does not read back") || error.contains("index"), "{error}");
        assert_eq!(volume.stats().generation, generation);
        assert_eq!(disk.bytes(&files::volume(id())).unwrap(), before, "write {skip}");
        for volume in [&volume, &open(&disk)] {
            (1..60).filter(|key| *key != 7).for_each(|key| assert_has(volume, key));
            assert_gone(volume, 7);
        }
    }
    put(&volume, &[100]).unwrap();
    volume.compact(&Progress::default()).unwrap();
    assert_has(&open(&disk), 100);
}

/// So large that what was copied is proved while the rest is still being copied.
#[test]
fn a_large_copy_is_proved_piece_by_piece() {
    const NEEDLES: u64 = 40;
    let data = |key| vec![u8::try_from(key).unwrap(); 1 << 20];
    let (disk, volume) = new_volume();
    for key in 0..NEEDLES {
        let needle = needle(key, &data(key));
        volume.put(vec![needle]).unwrap().blocking_recv().unwrap().unwrap();
    }
    delete(&volume, 3).unwrap();
    let files = || {
        let mut names = disk.list().unwrap();
        names.sort();
        names
    };
    let files_before = files();
    let check = |volume: &Volume| {
        assert_gone(volume, 3);
        for key in (0..NEEDLES).filter(|key| *key != 3) {
            assert_eq!(get(volume, key).unwrap(), data(key));
        }
    };
    let wrong_bits = (2..NEEDLES).step_by(7).map(|skip| (Call::Write, skip, Fault::WrongBit));
    let failed_syncs = (0..3).map(|skip| (Call::Sync, skip, io::ErrorKind::Other.into()));
    for (call, skip, fault) in wrong_bits.chain(failed_syncs) {
        let before = volume.stats();
        disk.fail_next(call, skip, fault);
        let error = volume.compact(&Progress::default()).unwrap_err().to_string();
        assert!(disk.stop_failing(), "{call:?} {skip} was not made");
        assert_eq!(error.contains("read back"), call == Call::Write, "{error}");
        assert_eq!(volume.stats().generation, before.generation);
        assert_eq!(files(), files_before);
        check(&volume);
    }
    let cancelled = Progress::default();
    cancelled.cancel();
    assert!(matches!(volume.compact(&cancelled), Err(StoreError::Busy { .. })));
    let progress = Progress::default();
    let before = volume.stats().totals;
    let done = volume.compact(&progress).unwrap();
    assert_eq!((done.live_needles, done.damaged_needles), (NEEDLES - 1, 0));
    assert_eq!(volume.stats().totals, before);
    assert!(done.before_bytes - done.after_bytes > 1 << 20);
    let (advanced, expected) = progress.bytes();
    assert!(advanced >= expected && advanced < expected + (1 << 20), "{advanced} of {expected}");
    check(&volume);
    check(&open(&disk));
}

#[test]
fn needles_put_while_an_empty_volume_is_compacted_are_found() {
    let (_disk, volume) = new_volume();
    let begun = crate::volume::compaction::begin(&volume.shared, &Progress::default());
    let compaction = begun.unwrap();
    put(&volume, &[1, 2]).unwrap();
    delete(&volume, 2).unwrap();
    volume.exclusive(move |writer| compaction.finish(writer)).unwrap().unwrap();
    assert_has(&volume, 1);
    assert_gone(&volume, 2);
}

/// Whatever the pace is, as clients' writes wait for it.
#[test]
fn the_last_round_rests_for_nobody() {
    let (_disk, volume) = new_volume();
    let begun = crate::volume::compaction::begin(&volume.shared, &Progress::default());
    let compaction = begun.unwrap();
    for key in 0..3 {
        let needle = needle(key, &vec![7; 1 << 20]);
        volume.put(vec![needle]).unwrap().blocking_recv().unwrap().unwrap();
    }
    volume.shared.options.pace.compaction.set_limit(64 << 10);
    let before = std::time::Instant::now();
    volume.exclusive(move |writer| compaction.finish(writer)).unwrap().unwrap();
    assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
    assert_eq!(volume.stats().generation, 2);
}

#[test]
fn compaction_keeps_a_damaged_needle_as_it_is_and_goes_on() {
    let (disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    put(&volume, &[2]).unwrap();
    put(&volume, &[3]).unwrap();
    let offset = |key| volume.shared.locate(Key::new(key)).unwrap().entry.offset.bytes();
    let (body, header) = (offset(1) + 60, offset(2) + 9);
    for at in [body, header] {
        disk.flip(&files::volume(id()), usize::try_from(at).unwrap(), 1);
    }
    let done = volume.compact(&Progress::default()).unwrap();
    assert_eq!(done.damaged_needles, 2);
    for key in [1, 2] {
        assert!(matches!(get(&volume, key), Err(StoreError::Corrupt { .. })), "never a 404");
    }
    assert_has(&volume, 3);
    // The same needle put again heals it.
    put(&volume, &[1, 2]).unwrap();
    for volume in [volume, open(&disk)] {
        (1..=3).for_each(|key| assert_has(&volume, key));
        assert_eq!(volume.stats().totals.live_needles, 3);
    }
}

#[test]
fn everything_goes_on_while_compaction_runs() {
    let (disk, volume) = new_volume();
    let volume = Arc::new(volume);
    put(&volume, &(0..500).collect::<Vec<_>>()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (volume, stop) = (Arc::clone(&volume), Arc::clone(&stop));
        move || {
            let mut next = 1000;
            while !stop.load(Ordering::Relaxed) {
                put(&volume, &[next]).unwrap();
                delete(&volume, next - 1000).unwrap();
                assert_has(&volume, next);
                assert_gone(&volume, next - 1000);
                next += 1;
            }
            next
        }
    });
    for _ in 0..10 {
        volume.compact(&Progress::default()).unwrap();
        volume.checkpoint().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let next = writer.join().unwrap();
    assert!(next > 1000, "the writer got nowhere");
    let reopened = open(&disk);
    for volume in [&*volume, &reopened] {
        (1000..next)
            .filter(|&key| key >= 2000 || next - 1000 <= key)
            .for_each(|key| assert_has(volume, key));
        (0..next - 1000).for_each(|key| assert_gone(volume, key));
    }
    assert_eq!(volume.stats().totals, reopened.stats().totals);
}
