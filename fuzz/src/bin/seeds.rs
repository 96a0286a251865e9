//! Writes the seeds that fuzzing starts from: the golden files, a batch and a volume.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hayrick_fuzz::{superblock, volume_id};
use hayrick_store::format::superblock::SUPERBLOCK_BYTES;
use hayrick_store::http::batch;
use hayrick_store::storage::Disk;
use hayrick_store::storage::memory::MemoryDisk;
use hayrick_store::volume::{Volume, VolumeOptions, files};
use hayrick_store::{Cookie, Key, Meta, NewNeedle};

fn main() -> io::Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = fuzz.join("../store/testdata/v1");
    for (target, file) in [
        ("superblock", "superblock.bin"),
        ("needle", "needle_header.bin"),
        ("meta", "meta.bin"),
        ("index", "index.bin"),
    ] {
        write(&fuzz.join("seeds").join(target), "golden", &fs::read(golden.join(file))?)?;
    }
    let encoded = batch::encode(&needles(1..4)).map_err(io::Error::other)?.concat();
    write(&fuzz.join("seeds/batch"), "three", &encoded)?;
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
