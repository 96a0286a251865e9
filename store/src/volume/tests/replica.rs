//! Epochs, copies and removals of one replica.

use super::*;

const E1: Epoch = Epoch::new(1);
const E2: Epoch = Epoch::new(2);
const E3: Epoch = Epoch::new(3);

fn replica(copying: bool) -> (MemoryDisk, Volume) {
    let disk = MemoryDisk::new();
    Volume::create_replica(&disk, CLUSTER, id(), NewReplica { epoch: E1, copying }).unwrap();
    let volume = open(&disk);
    (disk, volume)
}

fn put_under(volume: &Volume, epoch: Epoch, key: u64) -> Result<(), StoreError> {
    let needles = vec![needle(key, &content_for(key))];
    volume.put_under(Some(epoch), needles)?.blocking_recv().unwrap()
}

fn delete_under(volume: &Volume, epoch: Epoch, key: u64) -> Result<bool, StoreError> {
    let removed = Meta::default();
    let answer = volume.delete_under(Some(epoch), Key::new(key), cookie(key), &removed)?;
    answer.blocking_recv().unwrap()
}

fn is_stale<T>(answer: &Result<T, StoreError>, known: Epoch) -> bool {
    matches!(answer, Err(StoreError::StaleEpoch { known: told, .. }) if *told == known)
}

fn files_of(disk: &MemoryDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().filter(|name| files::is_of(name, id())).collect()
}

#[test]
fn older_orders_are_refused_also_after_a_restart() {
    let (disk, volume) = replica(false);
    put_under(&volume, E1, 1).unwrap();
    volume.fence().raise(E2).unwrap();
    for volume in [volume, open(&disk), open(&disk.crash(&mut StdRng::seed_from_u64(1)))] {
        assert_eq!(volume.epoch(), E2);
        assert!(is_stale(&put_under(&volume, E1, 2), E2));
        assert!(is_stale(&delete_under(&volume, Epoch::NONE, 1), E2));
        assert!(is_stale(&volume.fence().raise(E1), E2), "it only rises");
        assert_has(&volume, 1);
        assert_gone(&volume, 2);
        volume.fence().admit(E2).unwrap();
    }
    let volume = open(&disk);
    put_under(&volume, E2, 2).unwrap();
    assert!(delete_under(&volume, E2, 2).unwrap());
    put(&volume, &[3]).expect("who has the volume to himself needs no epoch");
}

#[test]
fn a_volume_that_was_never_told_an_epoch_obeys_any() {
    let (disk, volume) = new_volume();
    assert_eq!((volume.epoch(), disk.list().unwrap().len()), (Epoch::NONE, 2));
    put_under(&volume, Epoch::NONE, 1).unwrap();
    volume.fence().admit(E1).unwrap();
    assert!(is_stale(&put_under(&volume, Epoch::NONE, 2), E1));
    drop(volume);
    assert_eq!(open(&disk).epoch(), E1);
}

#[test]
fn a_newer_epoch_is_obeyed_for_good_or_not_at_all_wherever_the_power_is_cut() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut outcomes = [0, 0];
    for cut in 0.. {
        let (disk, volume) = replica(false);
        disk.cut_after(cut);
        let raised = volume.fence().raise(E3);
        assert_eq!(raised.is_ok(), volume.epoch() == E3);
        let was_cut = disk.is_cut();
        for _ in 0..4 {
            let found = open(&disk.crash(&mut rng)).epoch();
            assert!(found == E3 || (found == E1 && raised.is_err()), "cut {cut}: {found}");
            outcomes[usize::from(found == E3)] += 1;
        }
        if !was_cut {
            break;
        }
    }
    assert!(outcomes.iter().all(|times| *times > 0), "{outcomes:?}");
}

#[test]
fn without_a_readable_epoch_file_nothing_is_obeyed_until_the_volume_is_fenced() {
    let (disk, volume) = replica(false);
    put_under(&volume, E1, 1).unwrap();
    drop(volume);
    let name = files::epoch(id());
    let good = disk.bytes(&name).unwrap();
    let cut = (0..good.len()).map(|len| good[..len].to_vec());
    let flipped = (0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        bytes
    });
    for bytes in cut.chain(flipped) {
        disk.put(&name, bytes);
        let volume = open(&disk);
        let refused = |answer| matches!(answer, Err(StoreError::NoEpoch { .. }));
        assert!(refused(put_under(&volume, Epoch::new(u64::MAX), 2)));
        assert!(refused(delete_under(&volume, E1, 1).map(drop)));
        assert!(refused(volume.fence().admit(E3)), "who writes may not know the map");
        assert!(refused(volume.remove(E3)));
        assert!(volume.stats().no_epoch.is_some());
        assert_has(&volume, 1);
        volume.fence().raise(E1).unwrap();
        assert_eq!(put_under(&volume, E1, 1).map_err(|error| error.to_string()), Ok(()));
        drop(volume);
        assert_eq!(open(&disk).epoch(), E1);
    }
}

#[test]
fn what_waits_behind_a_newer_order_is_refused() {
    let (_disk, volume) = replica(false);
    let hold = hold_writer(&volume);
    let waiting = volume.put_under(Some(E1), vec![needle(1, b"x")]).unwrap();
    volume.fence().raise(E2).unwrap();
    drop(hold);
    assert!(is_stale(&waiting.blocking_recv().unwrap(), E2));
    assert_gone(&volume, 1);
}

#[test]
fn a_fence_waits_for_what_was_accepted_before() {
    let (_disk, volume) = replica(false);
    let hold = hold_writer(&volume);
    let mut before = volume.put_under(Some(E1), vec![needle(1, b"x")]).unwrap();
    std::thread::scope(|scope| {
        let fence = scope.spawn(|| {
            volume.settle().unwrap();
            before.try_recv()
        });
        while volume.stats().queued < 2 && !fence.is_finished() {
            std::thread::yield_now();
        }
        drop(hold);
        assert!(matches!(fence.join().unwrap(), Ok(Ok(()))), "it is over when the fence stands");
    });
}

#[test]
fn a_replica_that_is_being_filled_takes_no_needles_and_says_nothing_is_missing() {
    let (disk, volume) = replica(true);
    drop(volume);
    let volume = open(&disk);
    let copying = |answer| matches!(answer, Err(StoreError::Copying(_)));
    assert!(copying(put_under(&volume, E1, 1)));
    assert!(copying(get(&volume, 1).map(drop)));
    assert!(!delete_under(&volume, E1, 2).unwrap(), "the tombstone is kept");
    assert_gone(&volume, 2);
    volume.set_read_only(true).unwrap();
    volume.set_read_only(false).unwrap();
    assert!(copying(put_under(&volume, E1, 1)), "no operator's word fills it");
    assert!(is_stale(&volume.finish_copy(Epoch::NONE), E1));
    volume.finish_copy(E1).unwrap();
    for volume in [volume, open(&disk.crash(&mut StdRng::seed_from_u64(3)))] {
        assert_gone(&volume, 1);
        put_under(&volume, E1, 1).unwrap();
        assert!(matches!(put_under(&volume, E1, 2), Err(StoreError::Conflict { .. })));
    }
}

#[test]
fn a_copy_is_marked_and_knows_its_epoch_from_the_first_moment_on() {
    let mut rng = StdRng::seed_from_u64(4);
    for cut in 0.. {
        let disk = MemoryDisk::new();
        // Left over from a volume that somebody took away.
        disk.put(&files::read_only(id()), Vec::new());
        disk.put(&files::index(id(), 9), vec![1; 5000]);
        disk.cut_after(cut);
        let new = NewReplica { epoch: E2, copying: true };
        let created = Volume::create_replica(&disk, CLUSTER, id(), new);
        let was_cut = disk.is_cut();
        for _ in 0..6 {
            let disk = disk.crash(&mut rng);
            if !disk.list().unwrap().contains(&files::volume(id())) {
                assert!(created.is_err(), "cut {cut}");
                Volume::create_replica(&disk, CLUSTER, id(), new).unwrap();
            }
            let stats = open(&disk).stats();
            let expected = (E2, true, Condition::Writable);
            assert_eq!((stats.epoch, stats.copying, stats.condition), expected, "cut {cut}");
        }
        if !was_cut {
            break;
        }
    }
}

#[test]
fn a_volume_that_is_there_is_never_made_anew() {
    let (disk, volume) = replica(false);
    put_under(&volume, E1, 1).unwrap();
    drop(volume);
    let again = Volume::create(&disk, CLUSTER, id());
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_has(&open(&disk), 1);
}

#[test]
fn only_a_newer_order_removes_and_not_while_something_else_has_the_volume() {
    let (disk, volume) = replica(false);
    put_under(&volume, E1, 1).unwrap();
    assert!(is_stale(&volume.remove(E1), E1));
    assert!(is_stale(&volume.remove(Epoch::NONE), E1));
    let upkeep = volume.shared.upkeep.lock();
    assert!(matches!(volume.remove(E2), Err(StoreError::Busy { .. })));
    drop(upkeep);
    assert_has(&volume, 1);
    put_under(&volume, E1, 41).unwrap();
    let reader = volume.open_needle(Key::new(41), cookie(41)).unwrap();
    volume.remove(E2).unwrap();
    assert_eq!(reader.read(&(0..70_000)).unwrap(), content_for(41), "who reads goes on");
    assert_eq!(files_of(&disk), Vec::<String>::new());
    assert!(put_under(&volume, E2, 2).is_err());
    volume.fence().raise(E3).unwrap_err();
    volume.save_scrub().unwrap();
    assert_eq!(files_of(&disk), Vec::<String>::new(), "nothing comes back");
}

#[test]
fn a_removal_is_whole_or_has_not_happened_wherever_the_power_is_cut() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut outcomes = [0, 0];
    for cut in 0.. {
        let (disk, volume) = replica(true);
        volume.checkpoint().unwrap();
        assert!(!delete_under(&volume, E1, 1).unwrap());
        volume.set_read_only(true).unwrap();
        volume.save_scrub().unwrap();
        disk.cut_after(cut);
        let removed = volume.remove(E2);
        let was_cut = disk.is_cut();
        drop(volume);
        let mut images: Vec<_> = (0..6).map(|_| disk.crash(&mut rng)).collect();
        disk.restore_power();
        images.push(disk);
        for disk in images {
            clear_removed(&disk, &disk.list().unwrap());
            let is_there = disk.list().unwrap().contains(&files::volume(id()));
            outcomes[usize::from(is_there)] += 1;
            if is_there {
                assert!(removed.is_err(), "cut {cut}: it is back");
                let stats = open(&disk).stats();
                assert_eq!((stats.epoch, stats.copying), (E1, true), "cut {cut}");
                assert_eq!(stats.totals.tombstones, 1, "cut {cut}");
            } else {
                assert_eq!(files_of(&disk), Vec::<String>::new(), "cut {cut}");
            }
        }
        if !was_cut {
            removed.unwrap();
            break;
        }
    }
    assert!(outcomes.iter().all(|times| *times > 0), "{outcomes:?}");
}

#[test]
fn a_volume_that_cannot_be_opened_is_removed_by_a_newer_order_too() {
    let (disk, volume) = replica(false);
    drop(volume);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    disk.put(&files::volume(id()), b"rot".to_vec());
    assert!(is_stale(&remove_broken(&shared, id(), E1), E1));
    assert!(disk.bytes(&files::volume(id())).is_some());
    remove_broken(&shared, id(), E2).unwrap();
    assert_eq!(files_of(&disk), Vec::<String>::new());
}

#[test]
fn while_nobody_can_tell_whether_a_replica_is_whole_nothing_is_said_to_be_missing() {
    let (disk, volume) = replica(true);
    drop(volume);
    // The volume file and its index file come first.
    disk.fail_next(Call::Open, 2, rustix::io::Errno::IO);
    let volume = open(&disk);
    assert!(disk.stop_failing());
    assert!(matches!(get(&volume, 1), Err(StoreError::Failed { .. })));
    assert!(matches!(put_under(&volume, E1, 1), Err(StoreError::Failed { .. })));
    drop(volume);
    assert!(open(&disk).is_copying());
}
