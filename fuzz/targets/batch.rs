//! Any request body gives needles or an error.
#![no_main]

use bytes::Bytes;
use hayrick_store::http::batch;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(needles) = batch::decode(Bytes::copy_from_slice(bytes))
        && let Ok(encoded) = batch::encode(&needles)
    {
        assert_eq!(batch::decode(encoded.concat().into()), Ok(needles));
    }
});
