//! Any epoch file is read as it was written, or not at all.
#![no_main]

use hayrick_fuzz::volume_id;
use hayrick_store::format::epoch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(found) = epoch::from_bytes(bytes, volume_id()) {
        assert_eq!(epoch::to_bytes(volume_id(), found), bytes);
    }
});
