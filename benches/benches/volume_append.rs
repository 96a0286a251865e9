//! How many small needles a second does a volume take?
//!
//! Measured: puts of 1 KiB into one volume on the disk that holds cargo's target folder,
//! from the call until the answer, by one task or by 32 that each wait for their answer
//! before the next put. `sync` answers when the needle is on disk, and then the disk is most
//! of what is measured; `os` leaves that to the operating system. One iteration is one put
//! of every writer, so the time is what each of them waits and elements are puts. How many
//! puts shared a sync is printed for the writers that had company.
//!
//! Not measured: HTTP, names, and the checkpoints that a store makes now and then.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hayrick_benches::{needle, new_volume, rng, scratch, settings};
use hayrick_store::volume::Durability;
use hayrick_store::volume::{Volume, VolumeOptions};
use rand::RngCore as _;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const NEEDLE_BYTES: usize = 1 << 10;

struct Case {
    runtime: Runtime,
    writer: Writer,
    _folder: TempDir,
}

/// What a writing task has. Clones write to the same volume.
#[derive(Clone)]
struct Writer {
    volume: Arc<Volume>,
    next_key: Arc<AtomicU64>,
    data: Bytes,
}

impl Case {
    fn new(durability: Durability) -> Self {
        let folder = scratch(env!("CARGO_TARGET_TMPDIR"));
        let options = VolumeOptions { durability, ..VolumeOptions::default() };
        let mut data = vec![0; NEEDLE_BYTES];
        rng().fill_bytes(&mut data);
        let writer = Writer {
            volume: Arc::new(new_volume(folder.path(), options)),
            next_key: Arc::default(),
            data: data.into(),
        };
        let runtime = Builder::new_multi_thread().build().expect("a tokio runtime");
        Self { runtime, writer, _folder: folder }
    }

    /// How long it takes until each of `writers` has put `rounds` needles.
    fn run(&self, writers: u64, rounds: u64) -> Duration {
        self.runtime.block_on(async {
            let mut tasks = JoinSet::new();
            let start = Instant::now();
            for _ in 0..writers {
                tasks.spawn(self.writer.clone().put(rounds));
            }
            tasks.join_all().await;
            start.elapsed()
        })
    }
}

impl Writer {
    async fn put(self, count: u64) {
        for _ in 0..count {
            let key = self.next_key.fetch_add(1, Ordering::Relaxed);
            let answer = self.volume.put(vec![needle(key, self.data.clone())]);
            let answer = answer.expect("room in the queue").await;
            answer.expect("an answer").expect("room in the volume");
        }
    }
}

fn volume_append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("volume_append");
    // The time of a sync varies: few samples, and long ones.
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    for (name, durability) in [("sync", Durability::Sync), ("os", Durability::Os)] {
        for writers in [1, 32] {
            let mut case = None;
            group.throughput(Throughput::Elements(writers));
            group.bench_function(BenchmarkId::new(name, writers), |bencher| {
                let case = case.get_or_insert_with(|| Case::new(durability));
                bencher.iter_custom(|rounds| case.run(writers, rounds));
            });
            if writers > 1 && durability == Durability::Sync {
                case.iter().for_each(print_puts_per_sync);
            }
        }
    }
    group.finish();
}

fn print_puts_per_sync(case: &Case) {
    let stats = case.writer.volume.stats();
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
    let ratio = stats.puts as f64 / stats.syncs.max(1) as f64;
    eprintln!("volume_append: {ratio:.1} puts per sync ({} / {})\n", stats.puts, stats.syncs);
}

criterion_group!(name = benches; config = settings(); targets = volume_append);
criterion_main!(benches);
