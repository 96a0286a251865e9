//! Indexes of volumes of any kind, without the volumes.

use hayrick_store::Key;
use hayrick_store::format::index::{Entry, IndexHead};
use hayrick_store::format::needle::record_bytes;
use hayrick_store::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use hayrick_store::format::{ALIGNMENT, NeedleOffset};
use hayrick_store::index::{Sealed, write_sealed};
use hayrick_store::storage::Disk;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use uuid::Uuid;

use crate::{CLUSTER, VOLUME};

/// Bytes of meta of an object with a name of ordinary length.
const META_BYTES: u32 = 72;

/// How keys are chosen, rising.
#[derive(Clone, Copy)]
pub enum Keys {
    /// One after the other, as the directory leases them.
    Dense,
    /// The same, of which every third was deleted.
    DenseWithGaps,
    /// At one distance.
    Strided(u64),
    /// Any 64 bits.
    Random,
    /// Any 40 bits below the same 24.
    EqualHighBits,
    /// A hundred one after the other, anywhere.
    Clustered,
}

/// How many bytes of data a needle has.
#[derive(Clone, Copy)]
pub enum Sizes {
    /// So many bytes.
    Constant(u64),
    /// Log-normal round 64 KiB.
    Photos,
}

/// What needles a volume has.
#[derive(Clone, Copy)]
pub struct Needles {
    /// How their keys are chosen.
    pub keys: Keys,
    /// How large they are.
    pub sizes: Sizes,
    /// Whether they were appended in the order of their keys.
    pub in_order: bool,
}

impl Keys {
    /// `count` keys of a volume whose own keys begin at `first`.
    fn draw(self, rng: &mut StdRng, first: u64, count: u64) -> Box<dyn Iterator<Item = u64>> {
        let mut rng = StdRng::from_rng(rng);
        match self {
            Self::Dense => Box::new(first..first + count),
            Self::DenseWithGaps => {
                Box::new((0..count).map(move |number| first + number / 2 * 3 + number % 2))
            }
            Self::Strided(step) => Box::new((0..count).map(move |number| number * step)),
            Self::Random => Box::new(spread(rng, u64::MAX, count)),
            Self::EqualHighBits => {
                Box::new(spread(rng, (1 << 40) - 1, count).map(|low| 0x00BE_AC4E << 40 | low))
            }
            Self::Clustered => {
                let seed = rng.random();
                let starts = spread(StdRng::seed_from_u64(seed), u64::MAX - 100, count / 100);
                Box::new(starts.flat_map(|start| start..start + 100))
            }
        }
    }
}

/// `count` rising numbers up to `most`, spread as if drawn at random and sorted.
fn spread(mut rng: StdRng, most: u64, count: u64) -> impl Iterator<Item = u64> {
    let mut last = 0;
    (0..count).map(move |number| {
        last += lowest(count - number, most - last, rng.random()).clamp(1, most - last);
        last
    })
}

/// The lowest of `count` random numbers up to `most`, as `draw`, which is evenly below one, has it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "53 of 64 random bits are as good, and it is below `most`"
)]
fn lowest(count: u64, most: u64, draw: f64) -> u64 {
    (most as f64 * (1.0 - draw.powf(1.0 / count as f64))) as u64
}

impl Sizes {
    fn draw(self, rng: &mut StdRng) -> u32 {
        let data = match self {
            Self::Constant(bytes) => bytes,
            Self::Photos => {
                let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
                let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "clamped"
                )]
                let bytes = (65536.0 * normal.exp()).clamp(100.0, 8e6) as u64;
                bytes
            }
        };
        let data = u32::try_from(data).expect("below 32 MiB");
        u32::try_from(record_bytes(data, META_BYTES) / ALIGNMENT).expect("below 32 MiB")
    }
}

impl Needles {
    /// As many needles as a volume holds, and at most `most`.
    pub fn volume(&self, rng: &mut StdRng, first: u64, most: u64) -> Vec<(Key, Entry)> {
        let mut entries = Vec::new();
        let mut next = NeedleOffset::from_bytes(SUPERBLOCK_BYTES as u64).expect("aligned").blocks();
        while (entries.len() as u64) < most {
            let size_blocks = self.sizes.draw(rng);
            let Some(end) = next.checked_add(size_blocks) else { break };
            let offset = NeedleOffset::from_blocks(next);
            entries.push((Key::new(0), Entry { offset, size_blocks }));
            next = end;
        }
        if !self.in_order {
            entries.shuffle(rng);
        }
        let keys = self.keys.draw(rng, first, entries.len() as u64);
        entries.iter_mut().zip(keys).for_each(|((key, _), drawn)| *key = Key::new(drawn));
        entries.dedup_by_key(|(key, _)| *key);
        entries
    }
}

/// The superblock of every volume here.
pub fn superblock() -> Superblock {
    let replica = Uuid::from_u128(1);
    Superblock { cluster: CLUSTER, volume: VOLUME, replica, generation: 1, created_ms: 0 }
}

/// The head of every index file here.
fn head() -> IndexHead {
    let covered_end = NeedleOffset::from_blocks(u32::MAX);
    IndexHead { covered_end, ..IndexHead::empty(&superblock()) }
}

/// Writes an index file and loads it.
pub fn seal(disk: &dyn Disk, name: &str, entries: impl Iterator<Item = (Key, Entry)>) -> Sealed {
    write_sealed(disk, name, head(), entries, &superblock()).expect("an index file")
}
