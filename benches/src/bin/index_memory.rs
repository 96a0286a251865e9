//! What does a needle cost in the index, and how long do reading and writing it take?
//!
//! `cargo run --release -p hayrick-benches --bin index_memory [NEEDLES]`, of 50 million by default.
//!
//! Bytes per needle are the growth of the process's resident memory (`VmRSS`) by what was loaded,
//! not sizes of structs. The sealed part is written to index files in the temporary folder
//! (`TMPDIR`) and loaded from there, once the page cache has them. Volumes are filled up to what
//! a volume can hold, so most kinds need several; there are no volume files, only their indexes.

#![forbid(unsafe_code)]
#![expect(clippy::expect_used, reason = "without its files there is nothing to measure")]
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(clippy::cast_precision_loss, reason = "counts below 2^52")]

use std::io;
use std::time::{Duration, Instant};

use hayrick_benches::index::{Keys, Needles, Sizes, seal, superblock};
use hayrick_benches::rng;
use hayrick_store::Key;
use hayrick_store::format::NeedleOffset;
use hayrick_store::format::index::Entry;
use hayrick_store::index::{Index, Sealed, merge};
use hayrick_store::storage::Disk as _;
use hayrick_store::storage::os::OsDisk;
use rand::Rng as _;
use rand::rngs::StdRng;

struct Case {
    name: &'static str,
    needles: Needles,
}

const CASES: [Case; 9] = [
    case("dense, 1 KiB", Keys::Dense, Sizes::Constant(1024), true),
    case("dense, a third deleted, 1 KiB", Keys::DenseWithGaps, Sizes::Constant(1024), true),
    case("dense, photos", Keys::Dense, Sizes::Photos, true),
    case("strided, 200 bytes", Keys::Strided(1 << 20), Sizes::Constant(200), true),
    case("random, 200 bytes", Keys::Random, Sizes::Constant(200), false),
    case("random, 1 KiB", Keys::Random, Sizes::Constant(1024), false),
    case("random, photos", Keys::Random, Sizes::Photos, false),
    case("equal high bits, 200 bytes", Keys::EqualHighBits, Sizes::Constant(200), false),
    case("clustered, 200 bytes", Keys::Clustered, Sizes::Constant(200), false),
];

const fn case(name: &'static str, keys: Keys, sizes: Sizes, in_order: bool) -> Case {
    Case { name, needles: Needles { keys, sizes, in_order } }
}

/// Bytes that the process holds in memory.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line VmRSS");
    let kib = line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok());
    kib.expect("a number of KiB") * 1024
}

/// For how long this thread has had a processor.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let spent = stat.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(spent.expect("a number of nanoseconds"))
}

fn sealed_line(case: &Case, needles: u64, rng: &mut StdRng) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = OsDisk::new(folder.path());
    let mut names = Vec::new();
    let mut written = 0;
    while written < needles {
        let entries = case.needles.volume(rng, written * 2 + 1, needles - written);
        written += entries.len() as u64;
        let name = format!("index-{}", names.len());
        drop(seal(&disk, &name, entries.into_iter()));
        names.push(name);
    }
    // Each was dropped from the page cache when it had been loaded.
    for name in &names {
        io::copy(&mut std::fs::File::open(folder.path().join(name))?, &mut io::sink())?;
    }
    let (resident, cpu, start) = (resident_bytes(), cpu_time(), Instant::now());
    let open = |name: &String| Sealed::open(&*disk.open(name)?, &superblock(), u64::MAX);
    let loaded: Result<Vec<_>, _> = names.iter().map(open).collect();
    let loaded = loaded.expect("files that were written just now");
    let (elapsed, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    let growth = resident_bytes() - resident;
    println!(
        "{:32}{written:>12}{:>9}{:>13.2}{:>12.0}{:>12.0}",
        case.name,
        loaded.len(),
        growth as f64 / written as f64,
        elapsed.as_secs_f64() * 1e3,
        cpu.as_secs_f64() * 1e3,
    );
    Ok(())
}

/// The most and the fewest bytes per needle from the first to the second number of needles.
fn recent_line(from: u64, to: u64) {
    const LOOKS: u64 = 200;
    let before = resident_bytes();
    let mut index = Index::default();
    let mut rng = rng();
    let mut insert = |_| {
        let entry = Entry { offset: NeedleOffset::from_blocks(rng.random()), size_blocks: 9 };
        index.insert(Key::new(rng.random()), entry);
    };
    (0..from).for_each(&mut insert);
    let costs = (0..LOOKS).map(|look| {
        let count = from + (to - from) * (look + 1) / LOOKS;
        (from + (to - from) * look / LOOKS..count).for_each(&mut insert);
        (resident_bytes() - before) as f64 / count as f64
    });
    let (least, most) = costs
        .fold((f64::MAX, 0.0), |(least, most): (f64, f64), cost| (least.min(cost), most.max(cost)));
    println!("{:32}{from:>12}{to:>12}{least:>10.2}{most:>10.2}", "recent, random");
}

/// What it costs to write `recent` new entries into an index that has `old` ones.
fn checkpoint_line(old: u64, recent: u64) -> io::Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = OsDisk::new(folder.path());
    let (keys, sizes) = (Keys::DenseWithGaps, Sizes::Constant(200));
    let needles = Needles { keys, sizes, in_order: true };
    let mut entries = needles.volume(&mut rng(), 0, old + recent);
    let new = entries.split_off(usize::try_from(old).expect("a count in memory"));
    let mut index = Index::new(seal(&disk, "old", entries.into_iter()));
    for (key, entry) in new {
        index.insert(key, entry);
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        let cpu = cpu_time();
        let (recent, sealed) = index.snapshot();
        drop(seal(&disk, "new", merge(recent, sealed)));
        times.push(cpu_time().saturating_sub(cpu).as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("{old:>12}{recent:>12}{:>10.0}", times.get(2).expect("five of them"));
    Ok(())
}

fn main() -> io::Result<()> {
    let needles = match std::env::args().nth(1) {
        Some(count) => count.parse().expect("a number of needles"),
        None => 50_000_000,
    };
    // First, while the allocator has nothing to give again.
    println!("{:32}{:>12}{:>12}{:>10}{:>10}", "recent", "from", "to", "least", "most");
    recent_line(1_000_000, 2_000_000);
    recent_line(7_000_000, 16_000_000);
    println!(
        "\n{:32}{:>12}{:>9}{:>13}{:>12}{:>12}",
        "sealed", "needles", "volumes", "bytes/needle", "load ms", "cpu ms"
    );
    let mut rng = rng();
    CASES.iter().try_for_each(|case| sealed_line(case, needles, &mut rng))?;
    println!("\n{:>12}{:>12}{:>10}", "sealed", "recent", "cpu ms");
    checkpoint_line(0, 1_000_000)?;
    checkpoint_line(4_000_000, 1_000_000)
}
