//! The queue, the group, the limit of the volume, and when a write is answered.

use super::*;

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

/// Else one half waits for the other's sync all the time.
#[test]
fn writers_that_come_again_together_share_each_sync() {
    const WRITERS: u64 = 8;
    const PUTS: u64 = 40;
    let (disk, volume) = new_volume();
    disk.slow_syncs(Duration::from_millis(4));
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let volume = &volume;
            scope.spawn(move || {
                for number in 0..PUTS {
                    put(volume, &[writer * PUTS + number]).unwrap();
                }
            });
        }
    });
    let syncs = volume.stats().syncs;
    assert!(WRITERS * PUTS / syncs >= WRITERS * 3 / 4, "{syncs} syncs");
    let before = std::time::Instant::now();
    (1_000..1_010).for_each(|key| put(&volume, &[key]).unwrap());
    assert_eq!(volume.stats().syncs, syncs + 10);
    let one = before.elapsed() / 10;
    assert!(one < Duration::from_millis(20), "{one:?}: a writer alone waits for nobody");
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
