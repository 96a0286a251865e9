//! A volume opens over any bytes behind its superblock, gives out nothing wrong, takes new
//! needles and can be compacted.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use hayrick_fuzz::{superblock, volume_file, volume_id};
use hayrick_store::storage::Disk;
use hayrick_store::storage::memory::MemoryDisk;
use hayrick_store::volume::{Progress, Volume, VolumeOptions, files, verify_file};
use hayrick_store::{Cookie, Key, Meta, NewNeedle, StoreError};

/// Not a key that the seeds have.
const KEY: Key = Key::new(0xfeed_beef);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let memory = MemoryDisk::new();
    memory.put(&files::volume(volume_id()), volume_file(bytes));
    let disk: Arc<dyn Disk> = Arc::new(memory);
    let file = disk.open(&files::volume(volume_id())).expect("it was put there");
    verify_file(&*file, None, &Progress::default()).expect("its superblock is good");
    let open = || {
        let options = VolumeOptions { min_free_bytes: 0, ..VolumeOptions::default() };
        Volume::open(&disk, superblock().cluster, volume_id(), options).expect("it opens").0
    };
    let volume = open();
    let data = Bytes::from_static(b"fresh");
    let needle = NewNeedle { key: KEY, cookie: Cookie::new(1), meta: Meta::default(), data };
    let put = volume.put(vec![needle]).expect("the queue is empty");
    match put.blocking_recv().expect("the writer answers") {
        // The bytes may hold that key, or a tombstone of it.
        Ok(()) => check(&volume),
        Err(error) => assert!(matches!(error, StoreError::Conflict { .. }), "{error}"),
    }
    let before = volume.stats().totals;
    volume.verify(&Progress::default()).expect("it can be read");
    drop(volume);
    let volume = open();
    assert_eq!(volume.stats().totals, before, "a second start finds what the first one did");
    volume.compact(&Progress::default()).expect("it can be compacted");
});

fn check(volume: &Volume) {
    let found = volume.open_needle(KEY, Cookie::new(1)).expect("it was acknowledged");
    assert_eq!(found.read(&(0..5)).expect("it is whole"), &b"fresh"[..]);
}
