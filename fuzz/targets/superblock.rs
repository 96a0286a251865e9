//! Any bytes give a superblock or an error, and a superblock gives the same bytes back.
#![no_main]

use hayrick_store::format::superblock::{SUPERBLOCK_BYTES, Superblock};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(superblock) = Superblock::from_bytes(bytes) {
        assert_eq!(superblock.to_bytes(), bytes[..SUPERBLOCK_BYTES]);
    }
});
