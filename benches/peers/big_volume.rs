//! Writes a volume file and its index file, of any size and fast, and prints the paths of needles
//! that can be read.
//!
//! The files are real ones, by the store's own formats. All needles are of one size and stand one
//! behind the other. Where only the index matters, most records need not be there: the index
//! file tells of them, and in the volume file there is a hole.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Parser;
use hayrick_benches::record::{APPENDED_NS, encode};
use hayrick_benches::{needle, rng};
use hayrick_store::format::NeedleOffset;
use hayrick_store::format::index::{Entry, IndexHead};
use hayrick_store::format::needle::Kind;
use hayrick_store::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use hayrick_store::index::write_sealed;
use hayrick_store::storage::os::OsDisk;
use hayrick_store::{Key, Meta, NewNeedle, VolumeId};
use rand::RngCore as _;
use uuid::Uuid;

/// A volume file and its index file, with needles of keys from 1 on
#[derive(Parser)]
struct Args {
    /// Data directory of a store that does not run
    folder: PathBuf,
    /// Id of the volume, which must be new
    volume: VolumeId,
    /// Needles that the index file tells of
    #[arg(long)]
    needles: u64,
    /// How many of them are there, evenly spread; the others are a hole
    #[arg(long)]
    real: u64,
    /// Every so many needles, one is deleted by a tombstone at the end; 0 for none
    #[arg(long, default_value = "0")]
    delete_every: u64,
    /// Bytes of data of each needle
    #[arg(long, default_value = "1024")]
    data_bytes: usize,
}

/// Where records are, by number: first the needles, then the tombstones.
struct Layout {
    needles: u64,
    delete_every: u64,
    needle_bytes: u64,
    tombstone_bytes: u64,
}

/// Writes records in the order of their offsets.
struct Records {
    file: BufWriter<File>,
    position: u64,
    superblock: Superblock,
    record: Vec<u8>,
}

impl Layout {
    fn new(args: &Args) -> Self {
        let size = |kind, needle: &NewNeedle| {
            let salt = superblock(args.volume, Uuid::nil()).salt();
            encode(kind, needle, salt, NeedleOffset::default(), &mut Vec::new()).record_bytes()
        };
        Self {
            needles: args.needles,
            delete_every: args.delete_every,
            needle_bytes: size(Kind::Data, &needle(1, vec![0; args.data_bytes].into())),
            tombstone_bytes: size(Kind::Tombstone, &tombstone(1)),
        }
    }

    fn is_deleted(&self, number: u64) -> bool {
        self.delete_every > 0 && number.is_multiple_of(self.delete_every)
    }

    fn tombstones(&self) -> u64 {
        self.needles.checked_div(self.delete_every).unwrap_or(0)
    }

    fn needle_at(&self, number: u64) -> u64 {
        SUPERBLOCK_BYTES as u64 + (number - 1) * self.needle_bytes
    }

    /// Of the needle `number`, which must be deleted.
    fn tombstone_at(&self, number: u64) -> u64 {
        let before = number / self.delete_every - 1;
        self.needle_at(self.needles + 1) + before * self.tombstone_bytes
    }

    fn covered_end(&self) -> u64 {
        self.needle_at(self.needles + 1) + self.tombstones() * self.tombstone_bytes
    }

    fn entry(&self, number: u64) -> (Key, Entry) {
        let entry = if self.is_deleted(number) {
            Entry::tombstone(offset(self.tombstone_at(number)))
        } else {
            Entry::of_record(offset(self.needle_at(number)), self.needle_bytes)
        };
        (Key::new(number), entry)
    }

    fn head(&self, superblock: &Superblock) -> IndexHead {
        let live_needles = self.needles - self.tombstones();
        IndexHead {
            covered_end: offset(self.covered_end()),
            live_needles,
            live_bytes: live_needles * self.needle_bytes,
            tombstones: self.tombstones(),
            tombstone_bytes: self.tombstones() * self.tombstone_bytes,
            newest_tombstone_ns: if self.tombstones() > 0 { APPENDED_NS } else { 0 },
            last_append_ns: APPENDED_NS,
            // Records in a hole have no digest.
            digest_exact: false,
            ..IndexHead::empty(superblock)
        }
    }
}

impl Records {
    fn create(path: &Path, superblock: Superblock) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        file.write_all(&superblock.to_bytes())?;
        Ok(Self { file, position: SUPERBLOCK_BYTES as u64, superblock, record: Vec::new() })
    }

    fn write(&mut self, kind: Kind, needle: &NewNeedle, at: u64) -> io::Result<()> {
        if at != self.position {
            self.file.seek(SeekFrom::Start(at))?;
        }
        self.record.clear();
        encode(kind, needle, self.superblock.salt(), offset(at), &mut self.record);
        self.file.write_all(&self.record)?;
        self.position = at + self.record.len() as u64;
        Ok(())
    }

    /// Makes the file at least `end` long, and durable.
    fn finish(self, end: u64) -> io::Result<()> {
        let file = self.file.into_inner()?;
        file.set_len(end.max(self.position))?;
        file.sync_all()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let layout = Layout::new(&args);
    let superblock = superblock(args.volume, cluster(&args.folder)?);
    let path = args.folder.join(format!("{:010}.vol", args.volume.get()));
    write_records(&args, &layout, Records::create(&path, superblock.clone())?)?;
    let name = format!("{:010}.{}.idx", args.volume.get(), superblock.generation);
    let entries = (1..=args.needles).map(|number| layout.entry(number));
    let disk = OsDisk::new(&args.folder);
    write_sealed(&disk, &name, layout.head(&superblock), entries, &superblock)?;
    Ok(())
}

fn write_records(args: &Args, layout: &Layout, mut records: Records) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let (mut rng, mut data) = (rng(), vec![0; args.data_bytes]);
    let step = args.needles.checked_div(args.real).unwrap_or(0).max(1);
    for number in (1..=args.needles).step_by(usize::try_from(step).expect("a small step")) {
        rng.fill_bytes(&mut data);
        let needle = needle(number, Bytes::copy_from_slice(&data));
        records.write(Kind::Data, &needle, layout.needle_at(number))?;
        if !layout.is_deleted(number) {
            writeln!(out, "/{}/{}/{}", args.volume, needle.key, needle.cookie)?;
        }
    }
    for number in (1..=args.needles).filter(|&number| layout.is_deleted(number)) {
        records.write(Kind::Tombstone, &tombstone(number), layout.tombstone_at(number))?;
    }
    records.finish(layout.covered_end())?;
    out.flush()
}

fn tombstone(number: u64) -> NewNeedle {
    NewNeedle { meta: Meta::default(), ..needle(number, Bytes::new()) }
}

fn superblock(volume: VolumeId, cluster: Uuid) -> Superblock {
    let replica = Uuid::from_u128(u128::from(volume.get()));
    Superblock { cluster, volume, replica, generation: 1, created_ms: APPENDED_NS / 1_000_000 }
}

/// The cluster that a data directory belongs to.
fn cluster(folder: &Path) -> Result<Uuid, Box<dyn Error>> {
    let identity: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("hayrick-disk.json"))?)?;
    let cluster = identity.get("cluster").and_then(|cluster| cluster.as_str());
    Ok(cluster.ok_or("no cluster in hayrick-disk.json")?.parse()?)
}

fn offset(bytes: u64) -> NeedleOffset {
    NeedleOffset::from_bytes(bytes).expect("a volume of at most 32 GiB")
}
