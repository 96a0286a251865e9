//! The scrub finds what has rotted, stands in nobody's way, and knows where it was.

use super::*;

/// Takes the current pass to its end.
pub(super) fn pass(volume: &Volume, step_bytes: u64) -> ScrubState {
    while !volume.scrub_step(step_bytes).unwrap().is_over {}
    volume.scrub_state()
}

fn offset(volume: &Volume, key: u64) -> usize {
    usize::try_from(volume.shared.locate(Key::new(key)).unwrap().entry.offset.bytes()).unwrap()
}

fn damaged_keys(state: &ScrubState) -> Vec<Option<u64>> {
    state.findings.iter().map(|finding| finding.damage.key.map(Key::get)).collect()
}

/// Twenty needles, of which 15 to 19 are deleted.
fn twenty() -> (MemoryDisk, Volume) {
    let (disk, volume) = new_volume();
    (0..20).for_each(|key| put(&volume, &[key]).unwrap());
    (15..20).for_each(|key| assert!(delete(&volume, key).unwrap()));
    (disk, volume)
}

fn position(volume: &Volume) -> u64 {
    volume.scrub_state().pass.map_or(0, |pass| pass.position)
}

#[test]
fn one_pass_names_every_flipped_byte_of_what_is_alive() {
    let (disk, volume) = twenty();
    let name = files::volume(id());
    let (first, last) = (offset(&volume, 0), offset(&volume, 14));
    assert!(pass(&volume, 300).findings.is_empty());
    for at in (first..last).step_by(13) {
        disk.flip(&name, at, 0x20);
        let report = volume.verify(&Progress::default()).unwrap();
        let state = pass(&volume, 300);
        assert_eq!(state.findings.len(), 1, "byte {at}");
        let finding = &state.findings[0];
        assert_eq!(Some(&finding.damage), report.damaged.first());
        assert_eq!(
            offset(&volume, finding.damage.key.unwrap().get()) as u64,
            finding.damage.offset
        );
        disk.flip(&name, at, 0x20);
    }
    assert!(pass(&volume, 300).findings.is_empty(), "healed");
}

/// Memory has the index, so nobody else would notice.
#[test]
fn a_rotten_index_file_is_found_and_written_again() {
    let (disk, volume) = new_volume();
    let far_apart = (0..700).map(|number| needle(number * (u64::MAX / 700), b"small"));
    volume.put(far_apart.collect()).unwrap().blocking_recv().unwrap().unwrap();
    volume.checkpoint().unwrap();
    let name = files::index(id(), 1);
    let good = disk.bytes(&name).unwrap();
    assert_eq!(good.len(), 3 * 4096);
    let problems = |volume: &Volume| {
        let mut problems = Vec::new();
        loop {
            let step = volume.scrub_step(4096).unwrap();
            if let Some(problem) = step.index_problem {
                problems.push(problem);
                volume.restore_index_file().unwrap();
            }
            if step.is_over {
                return problems;
            }
        }
    };
    assert!(problems(&volume).is_empty());
    let spoil: [&dyn Fn(); 6] = [
        &|| disk.flip(&name, 9, 1),
        &|| disk.flip(&name, 5000, 1),
        &|| disk.flip(&name, 9000, 1),
        &|| disk.put(&name, good[..9000].to_vec()),
        &|| disk.remove(&name).unwrap(),
        &|| disk.spoil(&name, 5000..5001),
    ];
    for (at, spoil) in spoil.iter().enumerate() {
        spoil();
        assert_eq!(problems(&volume).len(), 1, "case {at}");
        assert_eq!(disk.bytes(&name).unwrap(), good, "case {at}");
        assert!(problems(&volume).is_empty(), "case {at}: healed");
    }
    put(&volume, &[1000]).unwrap();
    assert!(problems(&volume).is_empty(), "what is not saved yet is no damage");
    drop(volume);
    assert_has(&open(&disk), 1000);
}

#[test]
fn step_sizes_make_no_difference() {
    let (disk, volume) = new_volume();
    let large = vec![5; 3 << 20];
    put(&volume, &[1]).unwrap();
    volume.put(vec![needle(2, &large)]).unwrap().blocking_recv().unwrap().unwrap();
    (3..60).for_each(|key| put(&volume, &[key]).unwrap());
    for at in [offset(&volume, 2) + 20, offset(&volume, 41) + 60_000, offset(&volume, 50) + 3] {
        disk.flip(&files::volume(id()), at, 1);
    }
    let expected = volume.verify(&Progress::default()).unwrap().damaged;
    assert_eq!(expected.len(), 3);
    for step_bytes in [1, 100, 5000, 1 << 20, 1 << 40] {
        let found: Vec<_> =
            pass(&volume, step_bytes).findings.into_iter().map(|found| found.damage).collect();
        assert_eq!(found, expected, "steps of {step_bytes}");
    }
}

/// A long stretch without headers is hopped over in steps, and no record behind it is overlooked.
#[test]
fn a_zeroed_stretch_longer_than_a_step_is_one_finding() {
    let (disk, volume) = new_volume();
    let large = vec![5; 9 << 20];
    for key in 100..105 {
        volume.put(vec![needle(key, &large)]).unwrap().blocking_recv().unwrap().unwrap();
        assert!(delete(&volume, key).unwrap());
    }
    (0..5).for_each(|key| put(&volume, &[key]).unwrap());
    let mut bytes = disk.bytes(&files::volume(id())).unwrap();
    let dead = SUPERBLOCK_BYTES..offset(&volume, 0) - 64;
    bytes[dead.clone()].fill(0);
    drop(volume);
    disk.put(&files::volume(id()), bytes);
    let volume = open(&disk);
    (0..5).for_each(|key| assert_has(&volume, key));
    let state = pass(&volume, 1 << 20);
    assert_eq!(damaged_keys(&state), [None]);
    let damage = &state.findings[0].damage;
    assert!(damage.offset == dead.start as u64 && damage.size_bytes >= dead.len() as u64);
    assert!(damage.offset + damage.size_bytes <= offset(&volume, 0) as u64);
}

#[test]
fn what_is_deleted_may_rot_but_the_chain_of_headers_may_not() {
    let (disk, volume) = twenty();
    let name = files::volume(id());
    let dead = offset(&volume, 14) + content_for(14).len() + 100;
    let bytes = disk.bytes(&name).unwrap();
    let at = (dead..bytes.len()).find(|at| bytes[*at..].starts_with(b"NEED")).unwrap();
    disk.flip(&name, at + 60, 1);
    assert!(pass(&volume, 300).findings.is_empty(), "a deleted needle's data");
    disk.flip(&name, at + 5, 1);
    assert_eq!(damaged_keys(&pass(&volume, 300)), [None], "its header");
}

#[test]
fn a_rotten_superblock_is_found_before_the_next_start_finds_it() {
    let (disk, volume) = twenty();
    disk.flip(&files::volume(id()), 40, 1);
    let state = pass(&volume, 300);
    assert_eq!((damaged_keys(&state), state.findings[0].damage.offset), (vec![None], 0));
}

#[test]
fn a_finding_is_news_once_and_goes_when_the_needle_is_healed_or_deleted() {
    let (disk, volume) = twenty();
    for key in [3, 5] {
        disk.flip(&files::volume(id()), offset(&volume, key) + 55, 1);
    }
    let mut news = Vec::new();
    for _ in 0..10 {
        news.extend(volume.scrub_step(1 << 20).unwrap().found.into_iter().map(|found| found.key));
    }
    assert_eq!(news, [Some(Key::new(3)), Some(Key::new(5))]);
    put(&volume, &[3]).unwrap();
    assert!(delete(&volume, 5).unwrap());
    assert!(volume.scrub_state().findings.is_empty());
    assert!(pass(&volume, 300).findings.is_empty());
}

#[test]
fn a_restart_goes_on_where_the_scrub_was_and_remembers() {
    let (disk, volume) = twenty();
    disk.flip(&files::volume(id()), offset(&volume, 2) + 55, 1);
    pass(&volume, 300);
    while position(&volume) < volume.stats().file_bytes / 2 {
        volume.scrub_step(300).unwrap();
    }
    volume.save_scrub().unwrap();
    let before = volume.scrub_state();
    drop(volume);
    let volume = open(&disk.crash(&mut StdRng::seed_from_u64(1)));
    drop(volume);
    let volume = open(&disk);
    assert_eq!(volume.scrub_state().to_bytes().unwrap(), before.to_bytes().unwrap());
    assert!(volume.scrub_step(300).unwrap().found.is_empty(), "known already");
    assert_eq!(pass(&volume, 300).findings[0].first_seen_ms, before.findings[0].first_seen_ms);
}

#[test]
fn a_torn_or_missing_scrub_file_only_begins_the_pass_anew() {
    let (disk, volume) = twenty();
    volume.scrub_step(300).unwrap();
    volume.save_scrub().unwrap();
    drop(volume);
    let name = files::scrub(id());
    let whole = disk.bytes(&name).unwrap();
    for len in 0..whole.len() {
        disk.put(&name, whole[..len].to_vec());
        let state = open(&disk).scrub_state();
        assert!(state.pass.is_none() && state.last_pass.is_none(), "cut at {len}");
    }
    disk.remove(&name).unwrap();
    let volume = open(&disk);
    assert_eq!(volume.scrub_state().pass, None);
    assert!(pass(&volume, 300).findings.is_empty());
}

/// The scrub had read needles that a power cut then took away, because nobody was promised them.
#[test]
fn a_scrub_file_that_is_ahead_of_its_volume_is_put_right() {
    let disk = MemoryDisk::new();
    Volume::create(&disk, CLUSTER, id()).unwrap();
    let durability = Durability::Os;
    let volume = open_with(&disk, VolumeOptions { durability, ..options() }).unwrap().0;
    (0..20).for_each(|key| put(&volume, &[key]).unwrap());
    while position(&volume) < offset(&volume, 18) as u64 {
        volume.scrub_step(1).unwrap();
    }
    volume.save_scrub().unwrap();
    disk.sync().unwrap();
    for seed in 0..50 {
        let disk = disk.crash(&mut StdRng::seed_from_u64(seed));
        let volume = open(&disk);
        (30..33).for_each(|key| put(&volume, &[key]).unwrap());
        // The pass goes on somewhere in the file; the next one sees all of it.
        let whole = volume.verify(&Progress::default()).unwrap().damaged;
        for state in [pass(&volume, 300), pass(&volume, 300)] {
            for finding in &state.findings {
                assert!(whole.contains(&finding.damage), "seed {seed}: {finding:?}");
            }
        }
        assert_eq!(volume.scrub_state().findings.len(), whole.len(), "seed {seed}");
    }
}

#[test]
fn a_pass_goes_on_through_a_compaction() {
    let (disk, volume) = new_volume();
    (0..200).for_each(|key| put(&volume, &[key]).unwrap());
    for key in [10, 90, 150] {
        disk.flip(&files::volume(id()), offset(&volume, key) + 55, 1);
    }
    while position(&volume) < offset(&volume, 100) as u64 {
        volume.scrub_step(300).unwrap();
    }
    // What is before the place and what is behind it gets shorter.
    (0..200).filter(|key| key % 3 == 0 && *key != 90 && *key != 150).for_each(|key| {
        assert!(delete(&volume, key).unwrap());
    });
    let before = position(&volume);
    volume.compact(&Progress::default()).unwrap();
    let after = position(&volume);
    assert!(after < before);
    assert!(
        (offset(&volume, 98)..=offset(&volume, 104)).contains(&usize::try_from(after).unwrap())
    );
    let state = pass(&volume, 300);
    assert_eq!(damaged_keys(&state), [Some(10), Some(90), Some(150)]);
    for finding in &state.findings {
        assert_eq!(
            finding.damage.offset,
            offset(&volume, finding.damage.key.unwrap().get()) as u64
        );
    }
    drop(volume);
    open(&disk);
}

#[test]
fn a_pass_whose_last_needle_is_gone_after_a_compaction_begins_anew() {
    let (_disk, volume) = new_volume();
    (0..50).for_each(|key| put(&volume, &[key]).unwrap());
    while position(&volume) < offset(&volume, 30) as u64 {
        volume.scrub_step(1).unwrap();
    }
    (20..40).for_each(|key| assert!(delete(&volume, key).unwrap()));
    volume.compact(&Progress::default()).unwrap();
    assert_eq!(position(&volume), 0);
    assert!(pass(&volume, 300).findings.is_empty());
}

#[test]
fn a_pass_ends_although_clients_append_faster_than_it_reads() {
    let (_disk, volume) = twenty();
    let mut next = 1000;
    while !volume.scrub_step(100).unwrap().is_over {
        put(&volume, &[next, next + 1]).unwrap();
        next += 2;
        assert!(next < 2000);
    }
}

#[test]
fn somebody_who_asks_gets_a_pass_from_the_beginning() {
    let (_disk, volume) = twenty();
    volume.scrub_step(300).unwrap();
    volume.ask_for_scrub();
    assert!(volume.scrub_turn().asked && position(&volume) == 0);
    pass(&volume, 300);
    let turn = volume.scrub_turn();
    assert!(!turn.asked && !turn.is_under_way && turn.last_began_ms.is_some());
}

#[test]
fn a_bad_sector_is_a_finding_counts_once_and_destroys_nothing() {
    let (disk, volume) = new_volume();
    (1..=8).for_each(|n| put(&volume, &[41 * n]).unwrap());
    let name = files::volume(id());
    let before = disk.bytes(&name).unwrap();
    let at = offset(&volume, 82) as u64;
    disk.spoil(&name, at + 30_000..at + 30_512);
    for _ in 0..5 {
        let state = pass(&volume, 1 << 20);
        assert_eq!(damaged_keys(&state), [Some(82)]);
        assert!(state.findings[0].damage.reason.contains("os error"), "{state:?}");
    }
    put(&volume, &[1]).unwrap();
    // Three bad needles are too many for a device that is to keep more.
    for key in [123, 164] {
        disk.spoil(&name, offset(&volume, key) as u64 + 8..offset(&volume, key) as u64 + 9);
        pass(&volume, 1 << 20);
    }
    assert!(matches!(put(&volume, &[2]), Err(StoreError::Failed { .. })));
    assert!(disk.bytes(&name).unwrap().starts_with(&before));
    assert_has(&volume, 41);
}

#[test]
fn reads_writes_checkpoints_and_compactions_go_on_beside_a_scrub() {
    let (disk, volume) = new_volume();
    (0..300).for_each(|key| put(&volume, &[key]).unwrap());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut passes = 0;
            // When all is quiet again, a pass comes to its end.
            while !stop.load(Ordering::Relaxed) || passes == 0 {
                let step = volume.scrub_step(2000).unwrap();
                assert!(step.found.is_empty(), "{:?}", step.found);
                passes += u32::from(step.is_over);
            }
        });
        for round in 0..10 {
            for key in 0..30 {
                put(&volume, &[1000 + round * 30 + key]).unwrap();
                assert!(delete(&volume, round * 30 + key).unwrap());
                assert_has(&volume, 1000 + round * 30 + key);
            }
            volume.compact(&Progress::default()).unwrap();
            volume.checkpoint().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    (1000..1300).for_each(|key| assert_has(&open(&disk), key));
}
