//! Any bytes give a needle header or an error, also where the checksum is right.
#![no_main]

use hayrick_fuzz::{seal, superblock};
use hayrick_store::format::NeedleOffset;
use hayrick_store::format::needle::{HEADER_BYTES, NeedleHeader};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (salt, offset) = (superblock().salt(), NeedleOffset::from_blocks(512));
    let _ = NeedleHeader::from_bytes(bytes, salt, offset);
    let Some(mut header) = bytes.first_chunk::<HEADER_BYTES>().copied() else { return };
    seal(&mut header, salt, offset.bytes());
    if let Ok(read) = NeedleHeader::from_bytes(&header, salt, offset) {
        assert!(read.record_bytes() < 32 << 20);
        assert_eq!(read.to_bytes(salt, offset), header);
    }
});
