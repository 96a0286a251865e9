//! Any index file is refused or can be asked for any key, also where its checksums are right.
#![no_main]

use hayrick_fuzz::{index_file, superblock};
use hayrick_store::Key;
use hayrick_store::format::index::IndexHead;
use hayrick_store::index::Sealed;
use hayrick_store::storage::Disk;
use hayrick_store::storage::memory::MemoryDisk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = IndexHead::from_bytes(bytes);
    let disk = MemoryDisk::new();
    for file in [bytes.to_vec(), index_file(bytes)] {
        disk.put("index", file);
        let Ok(file) = disk.open("index") else { return };
        let Ok(index) = Sealed::open(&*file, &superblock(), u64::MAX) else { continue };
        for key in [0, 1, 9, u64::MAX].map(Key::new) {
            let _ = index.get(key);
        }
        let entries: Vec<_> = index.clone().into_entries().collect();
        assert_eq!(index.head().map(|head| head.entries), Some(entries.len() as u64));
        let sorted = entries.is_sorted_by_key(|(key, _)| *key);
        for (key, entry) in entries.iter().take(300) {
            // What is sorted is found.
            assert!(!sorted || index.get(*key).is_some(), "{key} {entry:?}");
        }
    }
});
