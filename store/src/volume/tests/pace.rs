//! Compaction that keeps to a pace.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::*;
use crate::pace::DiskPace;

const KEYS: u64 = 120;
const LARGE: u64 = 10_000;

/// About 8 MiB in needles of 70 KB, and two that are streamed.
fn filled(rate: u64) -> (MemoryDisk, Arc<Volume>) {
    let disk = MemoryDisk::new();
    Volume::create(&disk, CLUSTER, id()).unwrap();
    let pace = Arc::new(DiskPace::new(Duration::from_secs(1), rate, 0, 0));
    let volume = open_with(&disk, VolumeOptions { pace, ..options() }).unwrap().0;
    for key in 0..KEYS {
        put(&volume, &[41 * key]).unwrap();
    }
    for key in [LARGE, LARGE + 1] {
        put_large(&volume, key);
    }
    (disk, Arc::new(volume))
}

fn large(key: u64) -> Vec<u8> {
    (0..600_000u64).map(|at| (at * 31 + key).to_le_bytes()[0]).collect()
}

fn put_large(volume: &Volume, key: u64) {
    volume.put(vec![needle(key, &large(key))]).unwrap().blocking_recv().unwrap().unwrap();
}

/// Reads a needle bit by bit until told to stop, and then to its end.
fn stream_slowly(volume: &Volume, key: u64, stop: &AtomicBool) {
    let stored = volume.open_needle(Key::new(key), cookie(key)).unwrap();
    let expected = large(key);
    for (at, piece) in expected.chunks(10_000).enumerate() {
        let start = at as u64 * 10_000;
        assert_eq!(stored.read(&(start..start + piece.len() as u64)).unwrap(), piece);
        while !stop.load(Ordering::Relaxed) && at < 30 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn paced_compaction_loses_nothing_under_puts_deletes_reads_and_slow_streams() {
    let (disk, volume) = filled(16 << 20);
    let stop = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    let begun = Instant::now();
    let last = std::thread::scope(|scope| {
        let (volume, stop, written) = (&*volume, &stop, &written);
        scope.spawn(|| stream_slowly(volume, LARGE, stop));
        scope.spawn(|| {
            // Deleted while it is streamed: who has begun may finish.
            let stream = volume.open_needle(Key::new(LARGE + 1), cookie(LARGE + 1)).unwrap();
            assert!(delete(volume, LARGE + 1).unwrap());
            while !stop.load(Ordering::Relaxed) {
                assert!(stream.read(&(0..600_000)).is_ok());
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                (KEYS / 2..KEYS).for_each(|key| assert_has(volume, 41 * key));
            }
        });
        let writer = scope.spawn(|| {
            let mut next = 0;
            while !stop.load(Ordering::Relaxed) {
                put(volume, &[20_001 + next]).unwrap();
                if next < KEYS / 2 {
                    assert!(delete(volume, 41 * next).unwrap());
                } else {
                    assert!(delete(volume, 20_001 + next - KEYS / 2).unwrap());
                }
                next += 1;
                written.store(next, Ordering::Relaxed);
            }
            next
        });
        while volume.stats().generation < 3 || written.load(Ordering::Relaxed) <= KEYS {
            volume.compact(&Progress::default()).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    assert!(begun.elapsed() > Duration::from_millis(300), "nothing was paced");
    let reopened = open(&disk);
    for volume in [&*volume, &reopened] {
        (KEYS / 2..KEYS).for_each(|key| assert_has(volume, 41 * key));
        (0..KEYS / 2).for_each(|key| assert_gone(volume, 41 * key));
        (0..last).for_each(|n| {
            assert!(get(volume, 20_001 + n).is_ok() == (n + KEYS / 2 >= last), "needle {n}");
        });
        assert_gone(volume, LARGE + 1);
        assert_eq!(get(volume, LARGE).unwrap(), large(LARGE));
        assert!(volume.verify(&Progress::default()).unwrap().damaged.is_empty());
    }
    assert_eq!(volume.stats().totals, reopened.stats().totals);
}

#[test]
fn a_resting_compaction_can_be_cancelled_and_leaves_nothing() {
    let (disk, volume) = filled(64 << 10);
    let before = disk.list().unwrap();
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let compaction = scope.spawn(|| volume.compact(&progress));
        while progress.bytes().0 == 0 {
            std::thread::yield_now();
        }
        progress.cancel();
        assert!(matches!(compaction.join().unwrap(), Err(StoreError::Busy { .. })));
    });
    assert_eq!(disk.list().unwrap(), before);
    (0..KEYS).for_each(|key| assert_has(&volume, 41 * key));
}

/// Clients append more in a second than may be copied in one.
#[test]
fn what_clients_append_does_not_outrun_a_slow_compaction() {
    let (_disk, volume) = filled(8 << 20);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut key = 30_000;
            while !stop.load(Ordering::Relaxed) {
                put_large(&volume, key);
                assert!(delete(&volume, key).unwrap());
                key += 1;
            }
        });
        let compacted = volume.compact(&Progress::default());
        stop.store(true, Ordering::Relaxed);
        compacted.unwrap();
    });
    (0..KEYS).for_each(|key| assert_has(&volume, 41 * key));
}

#[test]
fn a_verification_is_of_the_file_that_is_there_in_the_end() {
    let (disk, volume) = filled(0);
    drop(volume);
    let pace = Arc::new(DiskPace::new(Duration::from_secs(1), 0, 16 << 20, 0));
    let volume = open_with(&disk, VolumeOptions { pace, ..options() }).unwrap().0;
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let verification = scope.spawn(|| volume.verify(&progress));
        while progress.bytes().0 < 2 << 20 {
            std::thread::yield_now();
        }
        delete(&volume, 0).unwrap();
        volume.compact(&Progress::default()).unwrap();
        let report = verification.join().unwrap().unwrap();
        assert!(report.damaged.is_empty(), "{report:?}");
        assert_eq!(report.good_needles, volume.stats().totals.live_needles);
        assert_eq!(report.file_bytes, volume.stats().file_bytes);
    });
}

/// A verification may take hours, and a volume full of garbage cannot wait that long.
#[test]
fn a_resting_verification_holds_up_no_compaction_and_can_be_cancelled() {
    let (disk, volume) = filled(0);
    drop(volume);
    let pace = Arc::new(DiskPace::new(Duration::from_secs(1), 0, 64 << 10, 0));
    let volume = open_with(&disk, VolumeOptions { pace, ..options() }).unwrap().0;
    let progress = Progress::default();
    std::thread::scope(|scope| {
        let verification = scope.spawn(|| volume.verify(&progress));
        while progress.bytes().0 < 1 << 20 {
            std::thread::yield_now();
        }
        volume.compact(&Progress::default()).unwrap();
        volume.checkpoint().unwrap();
        progress.cancel();
        assert!(matches!(verification.join().unwrap(), Err(VerifyError::Cancelled)));
    });
}
