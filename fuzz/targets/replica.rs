//! Whatever another replica answers is keys and records, or an error.
#![no_main]

use bytes::Bytes;
use hayrick_store::http::{listing, records};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(page) = listing::decode(bytes.clone()) {
        assert_eq!(listing::encode(&page), bytes);
    }
    if let Ok(found) = records::decode(bytes) {
        let encoded: Vec<Bytes> =
            found.iter().flat_map(|(key, held)| records::encode(*key, held)).collect();
        assert_eq!(records::decode(encoded.concat().into()), Ok(found));
    }
});
