//! Needles on their way to a store: the body of `POST /{vid}`.
//!
//! Frames one after another, each a head of 20 bytes, then the meta, then the data:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | key |
//! | 8 | 4 | cookie |
//! | 12 | 4 | meta size, bytes |
//! | 16 | 4 | data size, bytes |
//!
//! Numbers are little-endian, and the meta is encoded as in a needle ([`crate::format::meta`]).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::format::FormatError;
use crate::format::meta::Meta;
use crate::format::needle::{MAX_BATCH_LEN, MAX_DATA_BYTES, MAX_META_BYTES};
use crate::id::{Cookie, Key};
use crate::volume::NewNeedle;

/// Media type of a batch.
pub const CONTENT_TYPE: &str = "application/x-hayrick-needles";

/// Most bytes of one batch.
pub const MAX_BATCH_BYTES: usize = 64 << 20;

const WHAT: &str = "needle batch";

/// The pieces of a batch, in order; the needles' data are not copied.
pub fn encode(needles: &[NewNeedle]) -> Result<Vec<Bytes>, FormatError> {
    let mut pieces = Vec::with_capacity(2 * needles.len());
    for needle in needles {
        let meta = needle.meta.to_bytes()?;
        let too_large = |_| FormatError::Field { what: "needle size" };
        let mut head = BytesMut::with_capacity(20 + meta.len());
        head.put_u64_le(needle.key.get());
        head.put_u32_le(needle.cookie.get());
        head.put_u32_le(u32::try_from(meta.len()).map_err(too_large)?);
        head.put_u32_le(u32::try_from(needle.data.len()).map_err(too_large)?);
        head.put_slice(&meta);
        pieces.extend([head.freeze(), needle.data.clone()]);
    }
    Ok(pieces)
}

/// Takes a batch apart. The needles' data share `body`'s memory.
pub fn decode(mut body: Bytes) -> Result<Vec<NewNeedle>, FormatError> {
    let mut needles = Vec::new();
    while body.has_remaining() {
        if needles.len() >= usize::from(MAX_BATCH_LEN) {
            return Err(FormatError::Field { what: "number of needles in a batch" });
        }
        needles.push(decode_one(&mut body)?);
    }
    Ok(needles)
}

fn decode_one(body: &mut Bytes) -> Result<NewNeedle, FormatError> {
    let short = |_| FormatError::Short { what: WHAT };
    let key = Key::new(body.try_get_u64_le().map_err(short)?);
    let cookie = Cookie::new(body.try_get_u32_le().map_err(short)?);
    let meta_size = body.try_get_u32_le().map_err(short)?;
    let data_size = body.try_get_u32_le().map_err(short)?;
    if meta_size > MAX_META_BYTES || data_size > MAX_DATA_BYTES {
        return Err(FormatError::Field { what: "needle size" });
    }
    if body.remaining() < meta_size as usize + data_size as usize {
        return Err(FormatError::Short { what: WHAT });
    }
    let meta = Meta::from_bytes(&body.split_to(meta_size as usize))?;
    let data = body.split_to(data_size as usize);
    Ok(NewNeedle { key, cookie, meta, data })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn round_trips(needles in proptest::collection::vec((any::<u64>(), any::<u32>(), "[a-z]{0,9}", proptest::collection::vec(any::<u8>(), 0..50)), 0..5)) {
            let needles: Vec<_> = needles.into_iter().map(|(key, cookie, name, data)| NewNeedle {
                key: Key::new(key), cookie: Cookie::new(cookie), meta: Meta { name, ..Meta::default() }, data: data.into(),
            }).collect();
            let bytes = Bytes::from(encode(&needles).unwrap().concat());
            for cut in 0..bytes.len() {
                let whole = decode(bytes.slice(..cut)).is_ok_and(|some| some == needles);
                prop_assert!(!whole);
            }
            prop_assert_eq!(decode(bytes).unwrap(), needles);
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(bytes.into());
        }
    }
}
