//! What a replica has, page by page: the answer to `GET /{vid}/keys`.
//!
//! A head of 16 bytes, and then 12 bytes for each key, in rising order:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | bytes of the records of all live needles of the replica |
//! | 8 | 4 | 1 if the replica is still being filled, else 0 |
//! | 12 | 4 | 1 if more keys follow, else 0 |
//! | 16 + 12 x i | 8 | key |
//! | 24 + 12 x i | 4 | size of the needle's record, bytes; 0 for a tombstone |
//!
//! Numbers are little-endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::format::FormatError;
use crate::id::Key;
use crate::volume::KeyPage;

/// Media type of a page.
pub const CONTENT_TYPE: &str = "application/x-hayrick-keys";

/// Most keys of one page.
pub const MAX_KEYS: usize = 16 << 10;

const HEAD_BYTES: usize = 16;
const ENTRY_BYTES: usize = 12;
const WHAT: &str = "page of keys";

/// Most bytes of one page.
pub const MAX_BYTES: usize = HEAD_BYTES + MAX_KEYS * ENTRY_BYTES;

/// The page's bytes.
pub fn encode(page: &KeyPage) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES + page.keys.len() * ENTRY_BYTES);
    out.put_u64_le(page.live_bytes);
    out.put_u32_le(page.copying.into());
    out.put_u32_le(page.more.into());
    for (key, record_bytes) in &page.keys {
        out.put_u64_le(key.get());
        out.put_u32_le(*record_bytes);
    }
    out.freeze()
}

/// The page that [`encode`] was given.
///
/// # Errors
/// Anything else: wrong lengths, flags that are neither, keys that do not rise.
pub fn decode(mut bytes: Bytes) -> Result<KeyPage, FormatError> {
    let is_whole = bytes.len() >= HEAD_BYTES
        && bytes.len() <= MAX_BYTES
        && (bytes.len() - HEAD_BYTES).is_multiple_of(ENTRY_BYTES);
    if !is_whole {
        return Err(FormatError::Short { what: WHAT });
    }
    let live_bytes = bytes.get_u64_le();
    let (copying, more) = (flag(bytes.get_u32_le())?, flag(bytes.get_u32_le())?);
    let mut keys: Vec<(Key, u32)> = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    while bytes.has_remaining() {
        let key = Key::new(bytes.get_u64_le());
        if keys.last().is_some_and(|(last, _)| *last >= key) {
            return Err(FormatError::Field { what: WHAT });
        }
        keys.push((key, bytes.get_u32_le()));
    }
    if more && keys.is_empty() {
        return Err(FormatError::Field { what: WHAT });
    }
    Ok(KeyPage { live_bytes, copying, more, keys })
}

fn flag(value: u32) -> Result<bool, FormatError> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(FormatError::Field { what: WHAT }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(keys in proptest::collection::btree_map(any::<u64>(), any::<u32>(), 0..20), copying: bool, live_bytes: u64) {
            let more = copying && !keys.is_empty();
            let keys: Vec<_> = keys.into_iter().map(|(key, size)| (Key::new(key), size)).collect();
            let page = KeyPage { live_bytes, copying, more, keys };
            let bytes = encode(&page);
            for cut in 0..bytes.len() {
                prop_assert_ne!(decode(bytes.slice(..cut)).ok(), Some(page.clone()));
            }
            prop_assert_eq!(decode(bytes).unwrap(), page);
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(bytes.into());
        }
    }

    #[test]
    fn keys_that_do_not_rise_and_impossible_flags_are_refused() {
        let page = |keys: &[u64], more| KeyPage {
            live_bytes: 1,
            copying: false,
            more,
            keys: keys.iter().map(|key| (Key::new(*key), 8)).collect(),
        };
        assert!(decode(encode(&page(&[1, 2], true))).is_ok());
        for bad in [page(&[2, 1], false), page(&[1, 1], false), page(&[], true)] {
            assert!(decode(encode(&bad)).is_err(), "{bad:?}");
        }
        let mut bytes = encode(&page(&[1], false)).to_vec();
        bytes[8] = 2;
        assert!(decode(bytes.into()).is_err());
    }
}
