//! Writes the seeds that fuzzing starts from: the golden files, a batch, what replicas tell each other, and a volume.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hayrick_fuzz::{superblock, volume_id};
use hayrick_store::format::superblock::SUPERBLOCK_BYTES;
use hayrick_store::http::{batch, listing, records};
use hayrick_store::storage::Disk;
use hayrick_store::storage::memory::MemoryDisk;
use hayrick_store::volume::{Held, KeyPage, Prepared, Volume, VolumeOptions, files};
use hayrick_store::{Cookie, Key, Meta, NewNeedle, StoreError};

fn main() -> io::Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = fuzz.join("../store/testdata/v1");
    for (target, file) in [
        ("superblock", "superblock.bin"),
        ("needle", "needle_header.bin"),
        ("meta", "meta.bin"),
        ("index", "index.bin"),
        ("epoch", "epoch.bin"),
    ] {
        write(&fuzz.join("seeds").join(target), "golden", &fs::read(golden.join(file))?)?;
    }
    let encoded = batch::encode(&needles(1..4)).map_err(io::Error::other)?.concat();
    write(&fuzz.join("seeds/batch"), "three", &encoded)?;
    let (page, answer) = replica()?;
    write(&fuzz.join("seeds/replica"), "page", &page)?;
    write(&fuzz.join("seeds/replica"), "answer", &answer)?;
    let (volume, index) = volume()?;
    write(&fuzz.join("seeds/volume"), "small", &volume)?;
    write(&fuzz.join("seeds/index"), "small", &index)
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(name), bytes)
}

fn needles(keys: std::ops::Range<u64>) -> Vec<NewNeedle> {
    let needle = |key| NewNeedle {
        key: Key::new(key),
        cookie: Cookie::new(9),
        meta: Meta { bucket: "b".into(), name: format!("n{key}"), ..Meta::default() },
        data: Bytes::from(vec![u8::try_from(key).unwrap_or(0); 20]),
    };
    keys.map(needle).collect()
}

/// A page of keys, and an answer with each kind of frame.
fn replica() -> io::Result<(Vec<u8>, Vec<u8>)> {
    let keys = (1..4).map(|key| (Key::new(key), 96)).collect();
    let page = KeyPage { live_bytes: 288, copying: false, more: true, keys };
    let mut held: Vec<_> = needles(1..2)
        .into_iter()
        .map(|needle| Ok((needle.key, Held::Record(Prepared::data(needle)?))))
        .collect::<Result<_, StoreError>>()
        .map_err(io::Error::other)?;
    let tombstone = Prepared::bare_tombstone(Key::new(2), Cookie::new(9));
    held.push((Key::new(2), Held::Record(tombstone)));
    held.extend([(Key::new(3), Held::Nothing), (Key::new(4), Held::Unreadable)]);
    let answer = held.iter().flat_map(|(key, held)| records::encode(*key, held));
    Ok((listing::encode(&page).to_vec(), answer.collect::<Vec<_>>().concat()))
}

/// The records of a volume with puts, a batch and a delete, and its index file.
fn volume() -> io::Result<(Vec<u8>, Vec<u8>)> {
    let memory = MemoryDisk::new();
    memory.put(&files::volume(volume_id()), superblock().to_bytes().to_vec());
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let open = Volume::open(&disk, superblock().cluster, volume_id(), VolumeOptions::default());
    let (volume, _) = open.map_err(io::Error::other)?;
    for keys in [1..2, 2..5, 5..6] {
        let answer = volume.put(needles(keys)).map_err(io::Error::other)?;
        answer.blocking_recv().map_err(io::Error::other)?.map_err(io::Error::other)?;
    }
    let answer = volume.delete(Key::new(3), Cookie::new(9)).map_err(io::Error::other)?;
    answer.blocking_recv().map_err(io::Error::other)?.map_err(io::Error::other)?;
    volume.close().map_err(io::Error::other)?;
    let bytes = |name: &str| memory.bytes(name).unwrap_or_default();
    let records = bytes(&files::volume(volume_id())).split_off(SUPERBLOCK_BYTES);
    Ok((records, bytes(&files::index(volume_id(), 1))))
}
