//! How long does it take to find out where a needle is?
//!
//! Measured: `Index::get`, hit and miss, with all entries in the hash tables (`recent_index`,
//! a volume that was just filled) or all from an index file (`sealed_index`, a volume
//! after a restart). Keys are asked for in random order, each as often as any other, which
//! is the worst order for the processor's caches.
//!
//! Not measured: the volume's lock around the index.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hayrick_benches::index::{Keys, Needles, Sizes, seal};
use hayrick_benches::{Rounds, rng, scratch, settings};
use hayrick_store::Key;
use hayrick_store::format::index::Entry;
use hayrick_store::index::{Index, Sealed};
use hayrick_store::storage::os::OsDisk;
use rand::Rng as _;
use rand::seq::IndexedRandom as _;

/// So many keys are asked for in turns: many more than the processor's caches have lines for.
const QUERIES: usize = 2_000_000;

const KINDS: [(&str, Keys); 3] =
    [("dense", Keys::DenseWithGaps), ("random", Keys::Random), ("clustered", Keys::Clustered)];

/// An index and what it is asked for.
struct Case {
    index: Index,
    hits: Rounds<Key>,
    misses: Rounds<Key>,
}

fn recent(entries: Vec<(Key, Entry)>) -> Index {
    let mut index = Index::new(Sealed::default());
    for (key, entry) in entries {
        index.insert(key, entry);
    }
    index
}

fn sealed(entries: Vec<(Key, Entry)>) -> Index {
    // The index outlives its file.
    let folder = scratch(env!("CARGO_TARGET_TMPDIR"));
    let disk = OsDisk::new(folder.path());
    Index::new(seal(&disk, "index", entries.into_iter()))
}

impl Case {
    /// A volume of objects of 200 bytes: of those a volume holds the most.
    fn new(keys: Keys, count: u64, build: fn(Vec<(Key, Entry)>) -> Index) -> Self {
        let mut rng = rng();
        let in_order = matches!(keys, Keys::DenseWithGaps);
        let needles = Needles { keys, sizes: Sizes::Constant(200), in_order };
        let entries = needles.volume(&mut rng, 0, count);
        let hits: Vec<_> =
            entries.choose_multiple(&mut rng, QUERIES).map(|(key, _)| *key).collect();
        let last = entries.last().expect("a needle").0.get();
        let index = build(entries);
        assert!(hits.iter().all(|key| index.get(*key).is_some()));
        let drawn = (0..QUERIES).map(|_| Key::new(rng.random_range(0..=last)));
        // Those that were deleted from a dense volume, so that a miss falls anywhere.
        let misses: Vec<_> = drawn.filter(|key| index.get(*key).is_none()).collect();
        Self { index, hits: Rounds::new(hits), misses: Rounds::new(misses) }
    }
}

fn lookups(
    criterion: &mut Criterion,
    name: &str,
    counts: [u64; 2],
    build: fn(Vec<(Key, Entry)>) -> Index,
) {
    let mut group = criterion.benchmark_group(name);
    group.measurement_time(Duration::from_secs(1));
    for (kind, keys) in KINDS {
        for count in counts {
            let mut case = None;
            let new_case = || Case::new(keys, count, build);
            group.bench_function(BenchmarkId::new(format!("{kind}_hit"), count), |bencher| {
                let Case { index, hits, .. } = case.get_or_insert_with(new_case);
                bencher.iter(|| index.get(hits.next()?));
            });
            group.bench_function(BenchmarkId::new(format!("{kind}_miss"), count), |bencher| {
                let Case { index, misses, .. } = case.get_or_insert_with(new_case);
                bencher.iter(|| index.get(misses.next()?));
            });
        }
    }
    group.finish();
}

fn index(criterion: &mut Criterion) {
    lookups(criterion, "recent_index", [100_000, 1_000_000], recent);
    lookups(criterion, "sealed_index", [1_000_000, 50_000_000], sealed);
}

criterion_group!(name = benches; config = settings(); targets = index);
criterion_main!(benches);
