//! A volume against a plain map, on a disk that forgets, fails, fills up and rots.

mod compaction;
mod cuts;
mod faults;
mod needles;
mod pace;
mod replica;
mod rot;
mod scrub;
mod start;
mod writes;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;

use super::*;
use crate::format::meta::Meta;
use crate::storage::Disk;
use crate::storage::memory::{Call, Fault, MemoryDisk};

const CLUSTER: Uuid = Uuid::from_u128(77);

fn id() -> VolumeId {
    VolumeId::new(1).unwrap()
}

fn options() -> VolumeOptions {
    VolumeOptions { min_free_bytes: 0, ..VolumeOptions::default() }
}

fn open_with(disk: &MemoryDisk, options: VolumeOptions) -> Result<(Volume, OpenReport), OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Volume::open(&disk, CLUSTER, id(), options)
}

fn open(disk: &MemoryDisk) -> Volume {
    open_with(disk, options()).unwrap().0
}

fn new_volume() -> (MemoryDisk, Volume) {
    let disk = MemoryDisk::new();
    Volume::create(&disk, CLUSTER, id()).unwrap();
    let volume = open(&disk);
    (disk, volume)
}

fn cookie(key: u64) -> Cookie {
    Cookie::new(u32::try_from(key % 1000).unwrap() + 1)
}

fn needle(key: u64, data: &[u8]) -> NewNeedle {
    let meta = Meta { bucket: "b".into(), name: format!("n{key}"), ..Meta::default() };
    NewNeedle { key: Key::new(key), cookie: cookie(key), meta, data: Bytes::copy_from_slice(data) }
}

/// What belongs under `key`: sizes from nothing to a few hundred bytes, and a large one now and then.
fn content_for(key: u64) -> Vec<u8> {
    let len =
        if key.is_multiple_of(41) { 70_000 } else { usize::try_from(key * 37 % 300).unwrap() };
    let mut rng = StdRng::seed_from_u64(key);
    (0..len).map(|_| rng.random()).collect()
}

fn put(volume: &Volume, keys: &[u64]) -> Result<(), StoreError> {
    let needles = keys.iter().map(|&key| needle(key, &content_for(key))).collect();
    volume.put(needles)?.blocking_recv().unwrap()
}

/// Holds up the writer until the answer is dropped.
fn hold_writer(volume: &Volume) -> std::sync::mpsc::Sender<()> {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    volume.shared.counters.queued.fetch_add(1, Ordering::Relaxed);
    let work = Box::new(move |_: &mut Writer| held.recv().unwrap_or_default());
    volume.commands.send(Command::Exclusive(work)).unwrap();
    hold
}

fn delete(volume: &Volume, key: u64) -> Result<bool, StoreError> {
    volume.delete(Key::new(key), cookie(key))?.blocking_recv().unwrap()
}

fn get(volume: &Volume, key: u64) -> Result<Bytes, StoreError> {
    let found = volume.open_needle(Key::new(key), cookie(key))?;
    assert_eq!(found.meta().name, format!("n{key}"));
    found.read(&(0..found.size()))
}

fn assert_has(volume: &Volume, key: u64) {
    assert_eq!(get(volume, key).unwrap(), content_for(key), "needle {key}");
}

fn assert_gone(volume: &Volume, key: u64) {
    assert!(matches!(get(volume, key), Err(StoreError::NotFound)), "needle {key} is there");
}
