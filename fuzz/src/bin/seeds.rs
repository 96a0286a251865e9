//! Writes the seeds that fuzzing starts from: the golden files, a batch, what replicas tell each
//! other, a volume, and small pictures.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hayrick_fuzz::{superblock, volume_id};
use hayrick_images::{Scratch, Settings, Suffix, transform};
use hayrick_store::format::superblock::SUPERBLOCK_BYTES;
use hayrick_store::http::{batch, listing, records};
use hayrick_store::storage::Disk;
use hayrick_store::storage::memory::MemoryDisk;
use hayrick_store::volume::{Held, KeyPage, Prepared, Volume, VolumeOptions, files};
use hayrick_store::{Cookie, Key, Meta, NewNeedle, StoreError};

fn main() -> io::Result<()> {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = fuzz.join("../store/testdata");
    for (target, file) in [
        ("superblock", "v1/superblock.bin"),
        ("needle", "v1/needle_header.bin"),
        ("meta", "v1/meta.bin"),
        ("index", "v2/index.bin"),
        ("epoch", "v1/epoch.bin"),
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
    write(&fuzz.join("seeds/index"), "small", &index)?;
    pictures(fuzz)
}

/// One small picture of each kind, as it is and behind two bytes that say what to make of it.
fn pictures(fuzz: &Path) -> io::Result<()> {
    let photo = fs::read(fuzz.join("../testdata/photos/chelsea.png"))?;
    let mut files = Vec::new();
    let make = |text: &str| {
        let suffix = Suffix::parse(text).map_err(io::Error::other)?;
        let output =
            transform(&photo, &suffix, &Settings::default(), &mut Scratch::default(), &|| true);
        Ok::<_, io::Error>((text.replace('.', "_"), output.map_err(io::Error::other)?.bytes))
    };
    for text in
        ["16w.jpg", "16w_progressive.jpg", "16w.png", "16w_progressive.png", "16w.webp", "16w.gif"]
    {
        files.push(make(text)?);
    }
    files.push(("animation".to_owned(), ANIMATION.to_vec()));
    files.push(("bmp".to_owned(), BMP.to_vec()));
    files.push(("tiff".to_owned(), TIFF.to_vec()));
    // Large enough to be decoded small, with chroma at half and at full resolution.
    for text in ["64w_50q.jpg", "64w_95q.jpg", "96w_60q.jpg"] {
        files.push(make(text)?);
    }
    for (number, (name, file)) in (0u8..).zip(&files) {
        write(&fuzz.join("seeds/probe"), name, file)?;
        write(&fuzz.join("seeds/picture"), name, &[&[number, number], &file[..]].concat())?;
    }
    let suffix = b"\x80\x07\0\0\x38\x04\0\0672w_378h__1e_1c_50p_85q_0o_progressive_!web-cover.webp";
    write(&fuzz.join("seeds/suffix"), "all", suffix)
}

/// Two frames of 2 by 2 pixels, the second of which goes again.
const ANIMATION: &[u8] = b"GIF89a\x02\0\x02\0\x80\0\0\xff\0\0\0\0\xff\
    !\xff\x0bNETSCAPE2.0\x03\x01\0\0\0\
    !\xf9\x04\x04\x0a\0\0\0,\0\0\0\0\x02\0\x02\0\0\x02\x03\x44\x02\x05\0\
    !\xf9\x04\x09\x0a\0\0\0,\0\0\0\0\x02\0\x02\0\0\x02\x03\x44\x02\x05\0;";
/// One by one pixel of 24 bits.
const BMP: &[u8] = b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18\0\
    \0\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\x20\x30\0";
/// One by one pixel of 8 bits, gray.
const TIFF: &[u8] = b"II*\0\x0a\0\0\0\x7f\0\x08\0\
    \0\x01\x03\0\x01\0\0\0\x01\0\0\0\x01\x01\x03\0\x01\0\0\0\x01\0\0\0\
    \x02\x01\x03\0\x01\0\0\0\x08\0\0\0\x03\x01\x03\0\x01\0\0\0\x01\0\0\0\
    \x06\x01\x03\0\x01\0\0\0\x01\0\0\0\x11\x01\x04\0\x01\0\0\0\x08\0\0\0\
    \x16\x01\x03\0\x01\0\0\0\x01\0\0\0\x17\x01\x04\0\x01\0\0\0\x01\0\0\0\0\0\0\0";

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
