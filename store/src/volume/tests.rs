//! A volume against a plain map, on a disk that forgets, fails, fills up and rots.

mod pace;
mod scrub;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::*;
use crate::format::meta::Meta;
use crate::storage::Disk;
use crate::storage::memory::{Call, MemoryDisk};

const CLUSTER: Uuid = Uuid::from_u128(77);

fn id() -> VolumeId {
    VolumeId::new(1).unwrap()
}

fn options() -> VolumeOptions {
    VolumeOptions { min_free_bytes: 0, ..VolumeOptions::default() }
}

fn open_with(disk: &MemoryDisk, options: VolumeOptions) -> Result<(Volume, OpenReport), OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Volume::open(&disk, CLUSTER, id(), options)
}

fn open(disk: &MemoryDisk) -> Volume {
    open_with(disk, options()).unwrap().0
}

fn new_volume() -> (MemoryDisk, Volume) {
    let disk = MemoryDisk::new();
    Volume::create(&disk, CLUSTER, id()).unwrap();
    let volume = open(&disk);
    (disk, volume)
}

fn cookie(key: u64) -> Cookie {
    Cookie::new(u32::try_from(key % 1000).unwrap() + 1)
}

fn needle(key: u64, data: &[u8]) -> NewNeedle {
    let meta = Meta { bucket: "b".into(), name: format!("n{key}"), ..Meta::default() };
    NewNeedle { key: Key::new(key), cookie: cookie(key), meta, data: Bytes::copy_from_slice(data) }
}

/// What belongs under `key`: sizes from nothing to a few hundred bytes, and a large one now and then.
fn content_for(key: u64) -> Vec<u8> {
    let len =
        if key.is_multiple_of(41) { 70_000 } else { usize::try_from(key * 37 % 300).unwrap() };
    let mut rng = StdRng::seed_from_u64(key);
    (0..len).map(|_| rng.random()).collect()
}

fn put(volume: &Volume, keys: &[u64]) -> Result<(), StoreError> {
    let needles = keys.iter().map(|&key| needle(key, &content_for(key))).collect();
    volume.put(needles)?.blocking_recv().unwrap()
}

fn delete(volume: &Volume, key: u64) -> Result<bool, StoreError> {
    volume.delete(Key::new(key), cookie(key))?.blocking_recv().unwrap()
}

fn get(volume: &Volume, key: u64) -> Result<Bytes, StoreError> {
    let found = volume.open_needle(Key::new(key), cookie(key))?;
    assert_eq!(found.meta().name, format!("n{key}"));
    found.read(&(0..found.size()))
}

fn assert_has(volume: &Volume, key: u64) {
    assert_eq!(get(volume, key).unwrap(), content_for(key), "needle {key}");
}

fn assert_gone(volume: &Volume, key: u64) {
    assert!(matches!(get(volume, key), Err(StoreError::NotFound)), "needle {key} is there");
}

#[test]
fn what_is_put_is_read_and_what_is_deleted_is_gone() {
    let (disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    put(&volume, &[2, 41, 3]).unwrap();
    assert!(delete(&volume, 2).unwrap());
    assert!(!delete(&volume, 2).unwrap(), "a second delete finds nothing");
    for volume in [volume, open(&disk)] {
        for key in [1, 41, 3] {
            assert_has(&volume, key);
        }
        assert_gone(&volume, 2);
        assert_gone(&volume, 4);
        assert_eq!(volume.stats().totals.live_needles, 3);
    }
}

/// Written by an independent program from the tables in the format modules: every kind of
/// record, a batch, an empty needle, and one of two blocks.
#[test]
fn yesterdays_volume_still_opens() {
    let disk = MemoryDisk::new();
    disk.put(&files::volume(id()), include_bytes!("../../testdata/v1/volume.vol").to_vec());
    let (volume, report) = open_with(&disk, options()).unwrap();
    assert!(report.damage.is_empty() && report.cut_bytes == 0 && report.aborted == 0, "{report:?}");
    let read = |key: u64| {
        let found =
            volume.open_needle(Key::new(key), Cookie::new(u32::try_from(key).unwrap() + 10))?;
        assert_eq!(
            (found.meta().bucket.as_str(), found.meta().name.as_str()),
            ("b", &*format!("n{key}"))
        );
        found.read(&(0..found.size()))
    };
    let big: Vec<u8> =
        (0..70_001u32).map(|i| (i.wrapping_mul(i) + i / 251).to_le_bytes()[0]).collect();
    for (key, data) in [(1, &b"first"[..]), (2, b""), (3, &big), (6, b"last")] {
        assert_eq!(read(key).unwrap(), data, "needle {key}");
    }
    for key in [4, 5] {
        assert!(matches!(read(key), Err(StoreError::NotFound)), "needle {key}");
    }
    let stats = volume.stats();
    assert_eq!((stats.totals.live_needles, stats.totals.tombstones, stats.generation), (4, 1, 3));
    assert_eq!(volume.verify(&Progress::default()).unwrap().good_needles, 4);
}

#[test]
fn a_wrong_cookie_reads_and_deletes_nothing() {
    let (_disk, volume) = new_volume();
    put(&volume, &[1]).unwrap();
    let wrong = Cookie::new(9999);
    assert!(matches!(volume.open_needle(Key::new(1), wrong), Err(StoreError::NotFound)));
    assert!(matches!(volume.delete(Key::new(1), wrong), Err(StoreError::NotFound)));
    assert_has(&volume, 1);
}

#[test]
fn a_retry_changes_nothing_and_other_content_is_a_conflict() {
    let (_disk, volume) = new_volume();
    put(&volume, &[1, 2]).unwrap();
    let before = volume.stats().file_bytes;
    put(&volume, &[1, 2]).unwrap();
    put(&volume, &[2]).unwrap();
    assert_eq!(volume.stats().file_bytes, before);
    let other =
        volume.put(vec![needle(3, b"new"), needle(1, b"other")]).unwrap().blocking_recv().unwrap();
    assert!(matches!(other, Err(StoreError::Conflict { .. })));
    assert_gone(&volume, 3);
    assert_has(&volume, 1);
    delete(&volume, 1).unwrap();
    assert!(matches!(put(&volume, &[1]), Err(StoreError::Conflict { .. })), "a key is used once");
}

#[test]
fn a_put_that_comes_after_its_delete_is_refused() {
    let (disk, volume) = new_volume();
    assert!(!delete(&volume, 5).unwrap());
    assert!(matches!(put(&volume, &[5]), Err(StoreError::Conflict { .. })));
    let volume = open(&disk);
    assert!(matches!(put(&volume, &[5]), Err(StoreError::Conflict { .. })));
}

#[test]
fn any_range_of_a_large_needle_is_right_and_one_bad_block_hurts_no_other() {
    let (disk, volume) = new_volume();
    let data: Vec<u8> =
        (0..700_000u32).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]).collect();
    volume.put(vec![needle(1, &data)]).unwrap().blocking_recv().unwrap().unwrap();
    let stored = volume.open_needle(Key::new(1), cookie(1)).unwrap();
    for range in [0..0, 0..1, 65_535..65_537, 131_072..196_608, 699_999..700_000, 0..700_000, 5..5]
    {
        let expected =
            &data[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert_eq!(stored.read(&range).unwrap(), expected, "{range:?}");
    }
    // A byte in the middle of block 3 of the data.
    disk.flip(&files::volume(id()), SUPERBLOCK_BYTES + 52 + 3 * 65_536 + 77, 1);
    assert!(matches!(stored.read(&(200_000..200_001)), Err(StoreError::Corrupt { .. })));
    assert!(matches!(stored.read(&(0..700_000)), Err(StoreError::Corrupt { .. })));
    assert!(stored.read(&(0..196_608)).is_ok());
    assert!(stored.read(&(262_144..700_000)).is_ok());
    assert_eq!(volume.stats().failed_reads, 2);
}

#[test]
fn waiting_puts_share_one_sync() {
    let (_disk, volume) = new_volume();
    let gate = volume.shared.upkeep.lock();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let work = Box::new(move |_: &mut Writer| held.recv().unwrap_or_default());
    volume.commands.send(Command::Exclusive(work)).unwrap();
    volume.shared.counters.queued.fetch_add(1, Ordering::Relaxed);
    let answers: Vec<_> =
        (0..100).map(|key| volume.put(vec![needle(key, b"x")]).unwrap()).collect();
    drop(hold);
    for answer in answers {
        answer.blocking_recv().unwrap().unwrap();
    }
    drop(gate);
    assert_eq!(volume.stats().syncs, 1);
    assert_eq!(volume.stats().queued, 0);
}

#[test]
fn a_full_queue_says_busy_at_once() {
    let disk = MemoryDisk::new();
    Volume::create(&disk, CLUSTER, id()).unwrap();
    let volume = open_with(&disk, VolumeOptions { queue_len: 2, ..options() }).unwrap().0;
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (began, begin) = std::sync::mpsc::channel::<()>();
    let work = move |_: &mut Writer| {
        began.send(()).unwrap();
        held.recv().unwrap_or_default();
    };
    volume.commands.send(Command::Exclusive(Box::new(work))).unwrap();
    begin.recv().unwrap();
    let results: Vec<_> = (0..3).map(|key| volume.put(vec![needle(key, b"x")])).collect();
    assert!(matches!(results[2], Err(StoreError::Busy { .. })));
    drop(hold);
    assert!(results.into_iter().flatten().all(|answer| answer.blocking_recv().unwrap().is_ok()));
}

#[test]
fn each_durability_mode_keeps_its_word() {
    let survives = |durability, wait: Duration| {
        let disk = MemoryDisk::new();
        Volume::create(&disk, CLUSTER, id()).unwrap();
        let volume = open_with(&disk, VolumeOptions { durability, ..options() }).unwrap().0;
        put(&volume, &[1]).unwrap();
        assert_has(&volume, 1);
        std::thread::sleep(wait);
        let crashes = |seed| get(&open(&disk.crash(&mut StdRng::seed_from_u64(seed))), 1).is_ok();
        let kept = (0..20).filter(|&seed| crashes(seed)).count();
        volume.close().unwrap();
        assert_has(&open(&disk.crash(&mut StdRng::seed_from_u64(0))), 1);
        kept
    };
    assert_eq!(survives(Durability::Sync, Duration::ZERO), 20);
    assert!(survives(Durability::Interval(Duration::from_mins(1)), Duration::ZERO) < 20);
    assert_eq!(
        survives(Durability::Interval(Duration::from_millis(20)), Duration::from_secs(1)),
        20
    );
    assert!(survives(Durability::Os, Duration::from_millis(100)) < 20);
}

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
    disk.set_capacity(Some(SUPERBLOCK_BYTES as u64 + 1000));
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

/// Trap 7 of the field: a volume was pushed past its end, and offsets wrapped.
#[test]
fn a_volume_refuses_what_would_pass_its_limit_and_still_takes_deletes() {
    let disk = MemoryDisk::new();
    Volume::create(&disk, CLUSTER, id()).unwrap();
    let limit_bytes = 400_000;
    let volume = open_with(&disk, VolumeOptions { limit_bytes, ..options() }).unwrap().0;
    let answers: Vec<_> =
        (0..20).map(|n| volume.put(vec![needle(41 * n, &content_for(41 * n))]).unwrap()).collect();
    let results: Vec<_> =
        answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect();
    let stored = results.iter().filter(|result| result.is_ok()).count();
    assert!((1..20).contains(&stored), "{stored}");
    assert!(results.iter().all(|result| matches!(result, Ok(()) | Err(StoreError::VolumeFull(_)))));
    assert!(volume.stats().file_bytes <= limit_bytes);
    for n in 0..20 {
        delete(&volume, 41 * n).unwrap();
    }
}

#[test]
fn a_checkpoint_spares_the_next_start_the_scan() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2, 3]).unwrap();
    delete(&volume, 2).unwrap();
    let totals = volume.stats().totals;
    volume.close().unwrap();
    let (volume, report) = open_with(&disk, options()).unwrap();
    assert_eq!(report, OpenReport::default());
    assert_eq!(volume.stats().totals, totals);
    assert_has(&volume, 1);
    assert_gone(&volume, 2);
    put(&volume, &[4]).unwrap();
    drop(volume);
    let (volume, report) = open_with(&disk, options()).unwrap();
    assert!(report.scanned_bytes > 0 && report.scanned_bytes < 500);
    for key in [1, 3, 4] {
        assert_has(&volume, key);
    }
}

#[test]
fn a_damaged_or_missing_index_file_is_made_again() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2, 3]).unwrap();
    delete(&volume, 2).unwrap();
    let totals = volume.stats().totals;
    volume.close().unwrap();
    let name = files::index(id(), 1);
    for at in [0, 9, 100, 4096, 4100, 8191] {
        disk.flip(&name, at, 0x10);
        let (volume, report) = open_with(&disk, options()).unwrap();
        assert!(report.index_problem.is_some(), "byte {at}");
        assert_eq!(volume.stats().totals, totals);
        disk.flip(&name, at, 0x10);
    }
    disk.remove(&name).unwrap();
    assert_eq!(open(&disk).stats().totals, totals);
}

#[test]
fn files_of_another_cluster_or_volume_are_refused() {
    let (disk, volume) = new_volume();
    drop(volume);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let other = Volume::open(&shared, Uuid::from_u128(78), id(), options());
    assert!(matches!(other, Err(OpenError::OtherCluster { .. })));
    let two = VolumeId::new(2).unwrap();
    disk.put(&files::volume(two), disk.bytes(&files::volume(id())).unwrap());
    assert!(matches!(
        Volume::open(&shared, CLUSTER, two, options()),
        Err(OpenError::OtherVolume { .. })
    ));
}

#[test]
fn a_torn_tail_is_cut_by_itself_at_every_length() {
    let (disk, volume) = new_volume();
    put(&volume, &[1, 2]).unwrap();
    let kept = volume.stats().file_bytes;
    put(&volume, &[3]).unwrap();
    drop(volume);
    let name = files::volume(id());
    let whole = disk.bytes(&name).unwrap();
    for len in usize::try_from(kept).unwrap()..whole.len() {
        let torn = MemoryDisk::new();
        torn.put(&name, whole[..len].to_vec());
        let (volume, report) = open_with(&torn, options()).unwrap();
        assert_eq!(report.cut_bytes, len as u64 - kept);
        assert_has(&volume, 1);
        assert_has(&volume, 2);
        assert_gone(&volume, 3);
        put(&volume, &[3]).unwrap();
        assert_has(&open(&torn), 3);
    }
}

#[test]
fn every_flipped_byte_is_survived_and_never_served() {
    let (disk, volume) = new_volume();
    let keys = [1, 2, 3, 4, 5];
    for key in keys {
        put(&volume, &[key]).unwrap();
    }
    delete(&volume, 5).unwrap();
    // Proof that everything before it was acknowledged.
    put(&volume, &[6]).unwrap();
    drop(volume);
    let name = files::volume(id());
    let len = disk.bytes(&name).unwrap().len();
    for at in SUPERBLOCK_BYTES..len {
        disk.flip(&name, at, 0x55);
        let copy = MemoryDisk::new();
        copy.put(&name, disk.bytes(&name).unwrap());
        let volume = open(&copy);
        let mut lost = 0;
        for key in [1, 2, 3, 4, 6] {
            match get(&volume, key) {
                Ok(data) => assert_eq!(data, content_for(key)),
                Err(StoreError::NotFound | StoreError::Corrupt { .. }) => lost += 1,
                Err(error) => panic!("byte {at}: {error}"),
            }
        }
        assert!(lost <= 1, "byte {at} cost {lost} needles");
        let report = volume.verify(&Progress::default()).unwrap();
        assert_eq!(report.good_needles + lost, 5 + u64::from(get(&volume, 5).is_ok()), "byte {at}");
        disk.flip(&name, at, 0x55);
    }
}

#[test]
fn a_volume_file_uploaded_as_an_object_is_never_taken_for_needles() {
    let (disk, volume) = new_volume();
    for key in 10..20 {
        put(&volume, &[key]).unwrap();
    }
    let image = disk.bytes(&files::volume(id())).unwrap();
    volume.put(vec![needle(1, &image)]).unwrap().blocking_recv().unwrap().unwrap();
    put(&volume, &[2]).unwrap();
    let at =
        usize::try_from(volume.shared.locate(Key::new(1)).unwrap().entry.offset.bytes()).unwrap();
    drop(volume);
    disk.flip(&files::volume(id()), at + 10, 1);
    let volume = open(&disk);
    assert_eq!(volume.stats().totals.live_needles, 11);
    assert_gone(&volume, 1);
    assert_has(&volume, 2);
}

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

/// Trap 2 of the field: compaction on a full disk left cut data in place of the volume.
#[test]
fn compaction_without_room_changes_nothing() {
    let (disk, volume) = new_volume();
    put(&volume, &(0..100).collect::<Vec<_>>()).unwrap();
    let used = disk.bytes(&files::volume(id())).unwrap().len() as u64;
    for spare in [0, 1000, used / 2, used] {
        disk.set_capacity(Some(used + spare));
        assert!(matches!(volume.compact(&Progress::default()), Err(StoreError::DiskFull(_))));
        assert_eq!(disk.list().unwrap(), [files::volume(id())]);
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

#[test]
fn the_digest_depends_on_content_not_on_order() {
    let (_d1, one) = new_volume();
    let (_d2, two) = new_volume();
    put(&one, &[1, 2, 3]).unwrap();
    delete(&one, 2).unwrap();
    for key in [3, 4, 1] {
        put(&two, &[key]).unwrap();
    }
    assert_ne!(one.stats().totals.digest, two.stats().totals.digest);
    delete(&two, 4).unwrap();
    two.compact(&Progress::default()).unwrap();
    assert_eq!(one.stats().totals.digest, two.stats().totals.digest);
}

#[derive(Debug, Clone)]
enum Step {
    Put(Vec<u64>),
    /// Batches that wait together, and so share one write and one sync.
    Burst(Vec<Vec<u64>>),
    Delete(u64),
    Compact,
    Checkpoint,
    Scrub,
    Reopen,
}

fn batch() -> impl Strategy<Value = Vec<u64>> {
    proptest::collection::btree_set(0..60u64, 1..5).prop_map(|keys| keys.into_iter().collect())
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => batch().prop_map(Step::Put),
        3 => proptest::collection::vec(batch(), 2..5).prop_map(Step::Burst),
        3 => (0..60u64).prop_map(Step::Delete),
        1 => Just(Step::Compact),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Scrub),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..25)
}

/// Puts all batches while the writer is held up, so that they go in as one group.
fn burst(volume: &Volume, batches: &[Vec<u64>]) -> Vec<Result<(), StoreError>> {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    volume.shared.counters.queued.fetch_add(1, Ordering::Relaxed);
    let work = Box::new(move |_: &mut Writer| held.recv().unwrap_or_default());
    volume.commands.send(Command::Exclusive(work)).unwrap();
    let needles =
        |keys: &Vec<u64>| keys.iter().map(|&key| needle(key, &content_for(key))).collect();
    let answers: Vec<_> = batches.iter().map(|keys| volume.put(needles(keys))).collect();
    drop(hold);
    answers
        .into_iter()
        .map(|answer| answer.and_then(|answer| answer.blocking_recv().unwrap()))
        .collect()
}

/// What a client knows of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Stored,
    Deleted,
    /// The last answer about it was an error.
    Unsure,
}

fn note_put(
    keys: &[u64],
    result: &Result<(), StoreError>,
    known: &mut BTreeMap<u64, Known>,
    doubtful: &mut Vec<Vec<u64>>,
) {
    match result {
        Ok(()) => known.extend(keys.iter().map(|&key| (key, Known::Stored))),
        Err(StoreError::Conflict { .. }) => {}
        Err(_) => {
            let batch: Vec<_> =
                keys.iter().copied().filter(|key| !known.contains_key(key)).collect();
            known.extend(batch.iter().map(|&key| (key, Known::Unsure)));
            doubtful.push(batch);
        }
    }
}

/// Runs `steps` until the power goes, and tells what was acknowledged and which batches were in doubt.
fn run(disk: &MemoryDisk, steps: &[Step]) -> (BTreeMap<u64, Known>, Vec<Vec<u64>>) {
    let mut known = BTreeMap::new();
    let mut doubtful = Vec::new();
    let Ok((mut volume, _)) = open_with(disk, options()) else { return (known, doubtful) };
    for step in steps {
        match step {
            Step::Put(keys) => note_put(keys, &put(&volume, keys), &mut known, &mut doubtful),
            Step::Burst(batches) => {
                for (keys, result) in batches.iter().zip(burst(&volume, batches)) {
                    note_put(keys, &result, &mut known, &mut doubtful);
                }
            }
            Step::Delete(key) => match delete(&volume, *key) {
                Ok(_) => _ = known.insert(*key, Known::Deleted),
                Err(_) if known.get(key) != Some(&Known::Deleted) => {
                    _ = known.insert(*key, Known::Unsure);
                }
                Err(_) => {}
            },
            Step::Compact => drop(volume.compact(&Progress::default())),
            Step::Checkpoint => drop(volume.checkpoint()),
            Step::Scrub => {
                assert!(
                    volume.scrub_step(500).is_ok_and(|step| step.found.is_empty()) || disk.is_cut()
                );
                drop(volume.save_scrub());
            }
            Step::Reopen => {
                drop(volume);
                match open_with(disk, options()) {
                    Ok((reopened, _)) => volume = reopened,
                    Err(_) => return (known, doubtful),
                }
            }
        }
    }
    (known, doubtful)
}

fn check(volume: &Volume, known: &BTreeMap<u64, Known>, doubtful: &[Vec<u64>]) {
    for (&key, &state) in known {
        match state {
            Known::Stored => assert_has(volume, key),
            Known::Deleted => assert_gone(volume, key),
            Known::Unsure => match get(volume, key) {
                Ok(data) => assert_eq!(data, content_for(key)),
                Err(error) => assert!(matches!(error, StoreError::NotFound), "{error}"),
            },
        }
    }
    for batch in doubtful {
        let untouched: Vec<_> = batch.iter().filter(|key| known[*key] == Known::Unsure).collect();
        let there = untouched.iter().filter(|key| get(volume, ***key).is_ok()).count();
        assert!(there == 0 || there == untouched.len(), "half a batch: {batch:?}");
    }
}

/// As many histories as `PROPTEST_CASES` says, else what fits into an ordinary test run.
fn crash_cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { 150 };
    ProptestConfig { cases, ..config }
}

proptest! {
    #![proptest_config(crash_cases())]

    /// Any history, the power cut at any step, any of what the disk may then hold: what was
    /// acknowledged is there, what was deleted is gone, batches are whole or absent, and
    /// the volume takes writes again without a hand.
    #[test]
    fn a_power_cut_anywhere_loses_nothing_acknowledged(steps in steps(), cut in 0..1000u64, seed: u64) {
        let dry = MemoryDisk::new();
        Volume::create(&dry, CLUSTER, id()).unwrap();
        run(&dry, &steps);
        let total = dry.steps();

        let disk = MemoryDisk::new();
        Volume::create(&disk, CLUSTER, id()).unwrap();
        disk.cut_after(cut % total);
        let (known, doubtful) = run(&disk, &steps);
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..4 {
            let after = disk.crash(&mut rng);
            let volume = open(&after);
            check(&volume, &known, &doubtful);
            put(&volume, &[500, 501]).unwrap();
            let totals = volume.stats().totals;
            drop(volume);
            // A second crash at once changes nothing that the first start decided.
            let volume = open(&after.crash(&mut rng));
            check(&volume, &known, &doubtful);
            assert_has(&volume, 500);
            prop_assert_eq!(volume.stats().totals, totals);
            volume.compact(&Progress::default()).unwrap();
            check(&volume, &known, &doubtful);
            prop_assert!(volume.verify(&Progress::default()).unwrap().damaged.is_empty());
            prop_assert!(scrub::pass(&volume, 700).findings.is_empty());
        }
    }
}
