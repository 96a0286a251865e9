//! Rot: whatever happens to the bytes of a volume or index file, nothing wrong is served,
//! nothing else is lost, and what is lost is named.

use std::ops::Range;

use hayrick_store::StoreError;
use hayrick_store::format::index::IndexHead;
use hayrick_store::format::needle::{Kind, NeedleHeader};
use hayrick_store::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use hayrick_store::storage::Disk;
use hayrick_store::storage::memory::MemoryDisk;
use hayrick_store::volume::scanner::{Found, Scanner};
use hayrick_store::volume::{Damaged, Progress, VerifyReport, files, verify_file};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Runtime;

use crate::budget::Budget;
use crate::client::{Client, Got, open, options, runtime};
use crate::record::{Known, Name, Record, vid};

const BLOCK: usize = 4096;

/// A store's files while they were whole.
struct Whole {
    record: Record,
    volume: Vec<u8>,
    index: Vec<u8>,
    /// What the index file covers.
    covered_end: u64,
    records: Vec<(Range<u64>, NeedleHeader)>,
}

/// What happened to a file.
#[derive(Debug, Clone)]
enum Rot {
    Flip { at: usize, mask: u8 },
    Zero(Range<usize>),
    Noise(Range<usize>),
    Swap(usize, usize),
    Cut(usize),
}

fn volume_name() -> String {
    files::volume(vid(1))
}

fn index_name() -> String {
    files::index(vid(1), 1)
}

fn whole(runtime: &Runtime, rng: &mut StdRng) -> Whole {
    let disk = MemoryDisk::new();
    let mut client = Client::new(open(&disk, &options()).unwrap(), Record::new(false), runtime);
    client.create_volume(1).unwrap();
    let checkpoint_at = rng.random_range(0..40);
    for step in 0..40u64 {
        let batch: Vec<Name> = (0..rng.random_range(1..4)).map(|n| (1, step * 10 + n)).collect();
        client.put(&batch).unwrap();
        if rng.random_ratio(1, 4) {
            client.delete(batch[0]).unwrap();
        }
        if step == checkpoint_at {
            client.checkpoint(1).unwrap();
        }
    }
    let volume = disk.bytes(&volume_name()).unwrap();
    let index = disk.bytes(&index_name()).unwrap();
    let salt = Superblock::from_bytes(&volume).unwrap().salt();
    let file = disk.open(&volume_name()).unwrap();
    let records = Scanner::new(&*file, salt, SUPERBLOCK_BYTES as u64..volume.len() as u64)
        .map(|found| match found.unwrap() {
            Found::Record { offset, header } => {
                (offset.bytes()..offset.bytes() + header.record_bytes(), header)
            }
            Found::Damage(range) => panic!("{range:?} of a fresh volume"),
        })
        .collect();
    let covered_end = IndexHead::from_bytes(&index).unwrap().covered_end.bytes();
    Whole { record: client.record, volume, index, covered_end, records }
}

impl Rot {
    fn random(rng: &mut StdRng, len: usize) -> Self {
        let at = rng.random_range(0..len);
        let range = |rng: &mut StdRng| at..(at + rng.random_range(1..6000)).min(len);
        match rng.random_range(0..10) {
            0..5 => Self::Flip { at, mask: rng.random_range(1..=255) },
            5 | 6 => Self::Zero(range(rng)),
            7 => Self::Noise(range(rng)),
            8 => Self::Swap(at / BLOCK, rng.random_range(0..len.div_ceil(BLOCK))),
            _ => Self::Cut(at),
        }
    }

    fn apply(&self, bytes: &mut Vec<u8>, rng: &mut StdRng) {
        match self {
            Self::Flip { at, mask } if *at < bytes.len() => bytes[*at] ^= mask,
            Self::Zero(range) => clamp(bytes, range).fill(0),
            Self::Noise(range) => rng.fill(clamp(bytes, range)),
            Self::Swap(one, other) => {
                let before = bytes.clone();
                for (to, from) in [(one, other), (other, one)] {
                    let source = from * BLOCK..((from + 1) * BLOCK).min(before.len());
                    let source = before.get(source).unwrap_or_default();
                    let place = clamp(bytes, &(to * BLOCK..to * BLOCK + source.len()));
                    place.copy_from_slice(&source[..place.len()]);
                }
            }
            Self::Cut(at) => bytes.truncate(*at),
            Self::Flip { .. } => {}
        }
    }
}

fn clamp<'a>(bytes: &'a mut [u8], range: &Range<usize>) -> &'a mut [u8] {
    let end = range.end.min(bytes.len());
    &mut bytes[range.start.min(end)..end]
}

impl Whole {
    /// Whether the bytes of `range` are what they were.
    fn is_untouched(&self, now: &[u8], range: &Range<u64>) -> bool {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        now.get(range.clone()) == Some(&self.volume[range])
    }

    /// Whether a start can tell who the volume file is without its superblock.
    fn can_be_identified(&self, now: &[u8], index: &[u8]) -> bool {
        let looks_newer = now.get(..8) == Some(&self.volume[..8]) && now.get(8..10) > Some(&[1, 0]);
        let header_is_whole =
            |range: &Range<u64>| self.is_untouched(now, &(range.start..range.start + 52));
        !looks_newer
            && index.get(..BLOCK) == Some(&self.index[..BLOCK])
            && self
                .records
                .iter()
                .any(|(range, _)| header_is_whole(range) && range.end <= now.len() as u64)
    }

    /// Up to where a start can tell that everything was acknowledged.
    fn proven_end(&self, now: &[u8], index_is_whole: bool) -> u64 {
        let readable = self.records.iter().filter(|(range, _)| {
            self.is_untouched(now, &(range.start..range.start + 52))
                && range.end <= now.len() as u64
        });
        let proven = readable.map(|(_, header)| header.synced_end.bytes()).max().unwrap_or(0);
        let covers = index_is_whole && self.covered_end <= now.len() as u64;
        if covers { proven.max(self.covered_end) } else { proven }
    }

    /// The needles that must be found: whole themselves, and either known to have been
    /// acknowledged or of a batch that is whole.
    fn must_be_found(&self, now: &[u8], index_is_whole: bool) -> Vec<Name> {
        let proven_end = self.proven_end(now, index_is_whole);
        let whole_batch = |of: &NeedleHeader| {
            let mut batch =
                self.records.iter().filter(|(_, other)| other.appended_ns == of.appended_ns);
            batch.all(|(range, _)| self.is_untouched(now, range))
        };
        let found = self.records.iter().filter(|(range, header)| {
            header.kind == Kind::Data
                && self.is_untouched(now, range)
                && (range.end <= proven_end || whole_batch(header))
        });
        found.map(|(_, header)| (1, header.key.get())).collect()
    }

    fn place_of(&self, name: Name) -> &Range<u64> {
        let mut places = self.records.iter().filter(|(_, header)| header.kind == Kind::Data);
        &places.find(|(_, header)| header.key.get() == name.1).unwrap().0
    }
}

/// What was tried.
#[derive(Default)]
struct Tally {
    rots: u64,
    superblocks_hit: u64,
    unopened: u64,
    lost: u64,
}

#[test]
fn rot_is_never_served_and_costs_only_what_it_touches() {
    let runtime = runtime();
    let mut tally = Tally::default();
    let mut budget = Budget::seconds(6);
    budget.spend(|rng| {
        let whole = whole(&runtime, rng);
        for _ in 0..50 {
            rot(&whole, &runtime, rng, &mut tally);
        }
    });
    let Tally { rots, superblocks_hit, unopened, lost } = tally;
    budget.report(format!(
        "{rots} rots, {lost} needles lost, {superblocks_hit} superblocks hit, {unopened} for good"
    ));
}

fn rot(whole: &Whole, runtime: &Runtime, rng: &mut StdRng, tally: &mut Tally) {
    let (mut volume, mut index) = (whole.volume.clone(), whole.index.clone());
    let mut rots = Vec::new();
    for _ in 0..rng.random_range(1..4) {
        let file = if rng.random_ratio(3, 4) { &mut volume } else { &mut index };
        if !file.is_empty() {
            let rot = Rot::random(rng, file.len());
            rot.apply(file, rng);
            rots.push(rot);
        }
    }
    tally.rots += rots.len() as u64;
    let when = format!("{rots:?}");
    let disk = MemoryDisk::new();
    disk.put(&volume_name(), volume.clone());
    disk.put(&index_name(), index.clone());
    let superblock_hit = !whole.is_untouched(&volume, &(0..SUPERBLOCK_BYTES as u64));
    let index_file = disk.open(&index_name()).ok().filter(|_| superblock_hit);
    let volume_file = disk.open(&volume_name()).unwrap();
    let offline = verify_file(&*volume_file, index_file.as_deref(), &Progress::default());
    let client = Client::new(open(&disk, &options()).unwrap(), whole.record.clone(), runtime);
    tally.superblocks_hit += u64::from(superblock_hit);
    if client.store.volume(vid(1)).is_err() {
        tally.unopened += 1;
        assert!(superblock_hit && !whole.can_be_identified(&volume, &index), "{when}");
        assert!(offline.is_err(), "{when}");
        assert_eq!(disk.bytes(&volume_name()).unwrap(), volume, "an error never destroys");
        return;
    }
    let lost = check_served(whole, &client, &when);
    tally.lost += lost.len() as u64;
    for name in whole.must_be_found(&volume, index == whole.index) {
        assert!(!lost.contains(&name), "{when}: {name:?} was not touched and is lost");
    }
    check_named(whole, &volume, &lost, &offline.unwrap(), &when);
    goes_on(client, &lost, &when);
}

/// Whatever is served is right. Gives the needles that are not served.
fn check_served(whole: &Whole, client: &Client<'_>, when: &str) -> Vec<Name> {
    let mut lost = Vec::new();
    for (name, known) in whole.record.needles() {
        match (known, client.get(name)) {
            // Of a deleted one, the tombstone may be what is lost. The bytes are right, as always.
            (Known::Stored, Got::Right)
            | (Known::Deleted, Got::Gone | Got::Right | Got::Error(StoreError::Corrupt { .. })) => {
            }
            (Known::Stored, Got::Gone | Got::Error(StoreError::Corrupt { .. })) => lost.push(name),
            (known, got) => panic!("{when}: {name:?} is {known:?}, but reads {got:?}"),
        }
    }
    lost
}

/// A verification of the file alone names what is lost: where, and whose where that can be read.
fn check_named(whole: &Whole, now: &[u8], lost: &[Name], report: &VerifyReport, when: &str) {
    for name in lost {
        let place = whole.place_of(*name);
        let overlaps = |damage: &&Damaged| {
            damage.offset < place.end && place.start < damage.offset + damage.size_bytes
        };
        let mut named = report.damaged.iter().filter(overlaps);
        let header_is_whole = whole.is_untouched(now, &(place.start..place.start + 52));
        let fits = place.end <= now.len() as u64;
        let by_key = named.clone().any(|damage| damage.key.is_some_and(|key| key.get() == name.1));
        let beyond_the_end = place.start + 52 > now.len() as u64;
        assert!(
            beyond_the_end || named.next().is_some(),
            "{when}: {name:?} at {place:?} is lost but not named: {report:?}"
        );
        assert!(
            !(header_is_whole && fits) || by_key,
            "{when}: {name:?} at {place:?} has no key in {report:?}"
        );
    }
}

/// The volume goes on: new needles, a compaction, and nothing more is lost by it.
fn goes_on(mut client: Client<'_>, lost: &[Name], when: &str) {
    client.put(&[(1, 900), (1, 901)]).unwrap();
    let good: Vec<Name> = client
        .record
        .needles()
        .filter(|(name, known)| *known == Known::Stored && !lost.contains(name))
        .map(|(name, _)| name)
        .collect();
    client.compact(1).unwrap_or_else(|error| panic!("{when}: {error}"));
    for name in good {
        assert!(matches!(client.get(name), Got::Right), "{when}: {name:?} after compaction");
    }
    // Whoever has another copy can put it back.
    let back = lost.first().map(|name| (*name, client.put(&[*name])));
    if let Some((name, Ok(()))) = back {
        assert!(matches!(client.get(name), Got::Right), "{when}: {name:?} put back");
    }
}

/// The same rots again and again would prove little.
#[test]
fn every_kind_of_rot_changes_bytes() {
    let mut rng = StdRng::seed_from_u64(1);
    let changed = (0..1000).filter(|_| {
        let before: Vec<u8> = (0..20_000u32).map(|at| at.to_le_bytes()[1] | 1).collect();
        let mut after = before.clone();
        Rot::random(&mut rng, before.len()).apply(&mut after, &mut rng);
        before != after
    });
    assert!(changed.count() > 900);
}
