//! How long does it take to find out where a needle is?
//!
//! Measured: `Index::get`, hit and miss, with all entries in the hash table (`recent_index`,
//! a volume that was just filled) or all from an index file (`sealed_index`, a volume
//! after a restart), at two sizes. Keys are asked for in random order, each as often as any
//! other, which is the worst order for the processor's caches.
//!
//! Not measured: the volume's lock around the index.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use hayrick_benches::{CLUSTER, Rounds, VOLUME, rng, scratch, settings};
use hayrick_store::Key;
use hayrick_store::format::NeedleOffset;
use hayrick_store::format::index::{Entry, IndexHead};
use hayrick_store::format::superblock::Superblock;
use hayrick_store::index::{Index, Sealed, write_sealed};
use hayrick_store::storage::os::OsDisk;
use rand::Rng as _;
use uuid::Uuid;

/// A record of 1 KiB of data, in blocks of 8 bytes.
const RECORD_BLOCKS: u32 = 143;

/// How `count` keys of one kind are drawn.
type Draw = fn(count: u64) -> Keys;

/// Keys that an index has, in rising order, and others that it has not.
struct Keys {
    present: Vec<Key>,
    absent: Vec<Key>,
}

/// An index and what it is asked for.
struct Case {
    index: Index,
    hits: Rounds<Key>,
    misses: Rounds<Key>,
}

/// Keys as leases give them out, less every third, which was deleted and compacted away.
/// Those are missed, so that a miss may fall anywhere in the index.
fn dense(count: u64) -> Keys {
    let present = (0..count).map(|number| Key::new(number / 2 * 3 + number % 2)).collect();
    let absent = (0..count / 2).map(|number| Key::new(number * 3 + 2)).collect();
    Keys { present, absent }
}

/// Any 64 bits, which is what a client that draws its own keys stores.
fn random(count: u64) -> Keys {
    let mut rng = rng();
    let mut draw = || (0..count).map(|_| Key::new(rng.random())).collect();
    let (mut present, absent): (Vec<_>, _) = (draw(), draw());
    present.sort_unstable();
    Keys { present, absent }
}

fn entries(keys: &[Key]) -> impl Iterator<Item = (Key, Entry)> {
    let offsets = (512..).step_by(RECORD_BLOCKS as usize).map(NeedleOffset::from_blocks);
    let entries = offsets.map(|offset| Entry { offset, size_blocks: RECORD_BLOCKS });
    keys.iter().copied().zip(entries)
}

fn recent(keys: &[Key]) -> Index {
    let mut index = Index::new(Sealed::default());
    entries(keys).for_each(|(key, entry)| index.insert(key, entry));
    index
}

fn sealed(keys: &[Key]) -> Index {
    let replica = Uuid::from_u128(1);
    let superblock =
        Superblock { cluster: CLUSTER, volume: VOLUME, replica, generation: 1, created_ms: 0 };
    let head = IndexHead {
        volume: VOLUME,
        replica,
        generation: 1,
        covered_end: NeedleOffset::from_blocks(u32::MAX),
        entries: 0,
        live_needles: keys.len() as u64,
        live_bytes: 0,
        tombstones: 0,
        last_append_ns: 0,
        digest: 0,
        digest_exact: true,
    };
    // The index outlives its file.
    let folder = scratch(env!("CARGO_TARGET_TMPDIR"));
    let disk = OsDisk::new(folder.path());
    let sealed = write_sealed(&disk, "index", head, entries(keys), &superblock);
    Index::new(sealed.expect("an index file"))
}

impl Case {
    fn new(keys: Keys, build: fn(&[Key]) -> Index) -> Self {
        let index = build(&keys.present);
        assert!(keys.present.iter().all(|key| index.get(*key).is_some()));
        assert!(keys.absent.iter().all(|key| index.get(*key).is_none()));
        Self { index, hits: Rounds::new(keys.present), misses: Rounds::new(keys.absent) }
    }
}

fn lookups(criterion: &mut Criterion, name: &str, build: fn(&[Key]) -> Index) {
    let mut group = criterion.benchmark_group(name);
    group.measurement_time(Duration::from_secs(1));
    for (kind, draw) in [("dense", dense as Draw), ("random", random)] {
        for count in [100_000, 1_000_000] {
            let mut case = None;
            let new_case = || Case::new(draw(count), build);
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
    lookups(criterion, "recent_index", recent);
    lookups(criterion, "sealed_index", sealed);
}

criterion_group!(name = benches; config = settings(); targets = index);
criterion_main!(benches);
