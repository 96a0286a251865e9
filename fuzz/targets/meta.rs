//! Any bytes give a meta or an error, and what was read once is written and read again.
#![no_main]

use hayrick_store::Meta;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(meta) = Meta::from_bytes(bytes)
        && let Ok(written) = meta.to_bytes()
    {
        assert_eq!(Meta::from_bytes(&written), Ok(meta));
    }
});
