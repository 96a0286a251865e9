//! How fast does a volume hand out needles that the page cache has?
//!
//! Measured: finding a needle by key and cookie in a real volume file, reading its record
//! and checking every byte, in random order over 64 MiB of needles, more than the
//! processor's caches hold; one thread. The index is sealed, as after a restart. A needle
//! too large to be read when it is opened is read in pieces, as the server sends it.
//!
//! Not measured: a disk (the file was written just before), the step from async tasks to
//! the threads that read, and HTTP; `http_get` has the last two.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hayrick_benches::{Rounds, cookie, needle, new_volume, rng, scratch, settings};
use hayrick_store::volume::Durability;
use hayrick_store::volume::{Volume, VolumeOptions, WHOLE_READ_BYTES};
use hayrick_store::{Key, NewNeedle, StoreError};
use rand::RngCore as _;
use tempfile::TempDir;

const SIZES: [(&str, usize); 3] = [("1KiB", 1 << 10), ("64KiB", 64 << 10), ("1MiB", 1 << 20)];

/// Bytes of data in the volume.
const VOLUME_BYTES: usize = 64 << 20;

/// Bytes of data stored in one batch.
const BATCH_BYTES: usize = 1 << 20;

struct Case {
    volume: Volume,
    keys: Rounds<u64>,
    _folder: TempDir,
}

impl Case {
    fn new(needle_bytes: usize) -> Self {
        let folder = scratch(env!("CARGO_TARGET_TMPDIR"));
        let options = VolumeOptions { durability: Durability::Os, ..VolumeOptions::default() };
        let volume = new_volume(folder.path(), options);
        let count = (VOLUME_BYTES / needle_bytes) as u64;
        let needles: Vec<_> = needles(count, needle_bytes).collect();
        for batch in needles.chunks(BATCH_BYTES / needle_bytes) {
            let answer = volume.put(batch.to_vec()).expect("room in the queue");
            answer.blocking_recv().expect("an answer").expect("room in the volume");
        }
        volume.checkpoint().expect("an index file");
        Self { volume, keys: Rounds::new(0..count), _folder: folder }
    }
}

fn needles(count: u64, needle_bytes: usize) -> impl Iterator<Item = NewNeedle> {
    let mut rng = rng();
    (0..count).map(move |key| {
        let mut data = vec![0; needle_bytes];
        rng.fill_bytes(&mut data);
        needle(key, Bytes::from(data))
    })
}

/// Reads a needle to its end and tells how many bytes it has.
fn read(volume: &Volume, key: u64) -> Result<u64, StoreError> {
    let needle = volume.open_needle(Key::new(key), cookie(key))?;
    let mut bytes = 0;
    while bytes < needle.size() {
        bytes += needle.read(&(bytes..bytes + WHOLE_READ_BYTES))?.len() as u64;
    }
    Ok(bytes)
}

fn volume_read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("volume_read");
    for (name, size) in SIZES {
        let mut case = None;
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let Case { volume, keys, .. } = case.get_or_insert_with(|| Case::new(size));
            bencher.iter(|| {
                let key = keys.next().expect("rounds do not end");
                assert_eq!(read(volume, key).expect("an intact needle"), size as u64);
            });
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = settings(); targets = volume_read);
criterion_main!(benches);
