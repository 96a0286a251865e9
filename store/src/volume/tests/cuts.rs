//! Any history, with the power cut anywhere.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

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
    let hold = hold_writer(volume);
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
