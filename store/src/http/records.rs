//! Records on their way from one replica to another: the answer to `POST /{vid}/records`.
//!
//! One frame for each key, each a head of 32 bytes, then the meta, then the data:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | key |
//! | 8 | 4 | 1 needle, 2 tombstone, 3 neither is there, 4 it is there but cannot be read |
//! | 12 | 4 | cookie |
//! | 16 | 4 | meta size, bytes |
//! | 20 | 4 | data size, bytes; 0 but for a needle |
//! | 24 | 4 | the record's body checksum, see [`crate::format::needle`] |
//! | 28 | 4 | CRC32 of bytes 0 to 27 |
//!
//! Numbers are little-endian, and the meta is encoded as in a needle ([`crate::format::meta`]).
//! The sender has verified the record, and its checksum comes along: what arrives is what was
//! stored, whatever the network did to it.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::format::FormatError;
use crate::format::needle::{Kind, MAX_DATA_BYTES, MAX_META_BYTES};
use crate::id::{Cookie, Key};
use crate::pace::Pacer;
use crate::volume::{Held, Prepared};

/// Media type of an answer.
pub const CONTENT_TYPE: &str = "application/x-hayrick-records";

/// Most keys in one question.
pub const MAX_KEYS: usize = 1024;

/// An answer has as many records as fit into this, at most, and one if that is larger.
pub const ANSWER_BYTES: u32 = 4 << 20;

/// How many bytes of records are moved in one step: what may be moved in a quarter of a second.
pub(crate) fn step_bytes(pacer: &Pacer) -> u64 {
    (pacer.rate() / 4).clamp(64 << 10, ANSWER_BYTES.into())
}

/// Most bytes of one answer.
pub const MAX_BYTES: usize = ANSWER_BYTES as usize
    + MAX_DATA_BYTES as usize
    + MAX_META_BYTES as usize
    + (MAX_KEYS + 1) * HEAD_BYTES;

const HEAD_BYTES: usize = 32;
const CHECKSUM_AT: usize = HEAD_BYTES - 4;
const WHAT: &str = "record of another replica";

const NEEDLE: u32 = 1;
const TOMBSTONE: u32 = 2;
const ABSENT: u32 = 3;
const UNREADABLE: u32 = 4;

/// The frame of one key, in pieces; the needle's data are not copied.
pub fn encode(key: Key, held: &Held) -> Vec<Bytes> {
    let (kind, record) = match held {
        Held::Record(record) if record.kind() == Kind::Data => (NEEDLE, Some(record)),
        Held::Record(record) => (TOMBSTONE, Some(record)),
        Held::Nothing => (ABSENT, None),
        Held::Unreadable => (UNREADABLE, None),
    };
    let meta = record.map_or(&[][..], Prepared::meta);
    let mut head = BytesMut::with_capacity(HEAD_BYTES + meta.len());
    head.put_u64_le(key.get());
    head.put_u32_le(kind);
    head.put_u32_le(record.map_or(0, |record| record.cookie.get()));
    head.put_u32_le(record.map_or(0, Prepared::meta_size));
    head.put_u32_le(record.map_or(0, Prepared::data_size));
    head.put_u32_le(record.map_or(0, Prepared::body_crc));
    head.put_u32_le(crc32fast::hash(&head));
    head.put_slice(meta);
    let data = record.map(|record| record.blob().clone()).filter(|data| !data.is_empty());
    std::iter::once(head.freeze()).chain(data).collect()
}

/// Takes an answer apart, and checks every byte. The needles' data share `body`'s memory.
pub fn decode(mut body: Bytes) -> Result<Vec<(Key, Held)>, FormatError> {
    let mut records = Vec::new();
    while body.has_remaining() {
        if records.len() >= MAX_KEYS {
            return Err(FormatError::Field { what: WHAT });
        }
        records.push(decode_one(&mut body)?);
    }
    Ok(records)
}

fn decode_one(body: &mut Bytes) -> Result<(Key, Held), FormatError> {
    let short = || FormatError::Short { what: WHAT };
    if body.len() < HEAD_BYTES {
        return Err(short());
    }
    let mut head = body.split_to(HEAD_BYTES);
    if crc32fast::hash(&head.slice(..CHECKSUM_AT)) != head.slice(CHECKSUM_AT..).get_u32_le() {
        return Err(FormatError::Checksum { what: WHAT });
    }
    let key = Key::new(head.get_u64_le());
    let kind = head.get_u32_le();
    let cookie = Cookie::new(head.get_u32_le());
    let (meta_size, data_size) = (head.get_u32_le(), head.get_u32_le());
    let body_crc = head.get_u32_le();
    let kind = match kind {
        NEEDLE => Kind::Data,
        TOMBSTONE if data_size == 0 => Kind::Tombstone,
        ABSENT if (meta_size, data_size) == (0, 0) => return Ok((key, Held::Nothing)),
        UNREADABLE if (meta_size, data_size) == (0, 0) => return Ok((key, Held::Unreadable)),
        _ => return Err(FormatError::Field { what: WHAT }),
    };
    if meta_size > MAX_META_BYTES || data_size > MAX_DATA_BYTES {
        return Err(FormatError::Field { what: WHAT });
    }
    if body.len() < meta_size as usize + data_size as usize {
        return Err(short());
    }
    let meta = body.split_to(meta_size as usize).to_vec();
    let data = body.split_to(data_size as usize);
    let record = Prepared::received(kind, key, cookie, meta, data, body_crc)?;
    Ok((key, Held::Record(record)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::meta::Meta;
    use crate::volume::NewNeedle;

    fn held(kind: u8, key: Key, name: String, data: Vec<u8>) -> Held {
        let (cookie, meta) = (Cookie::new(7), Meta { name, ..Meta::default() });
        match kind {
            0 => Held::Nothing,
            1 => Held::Unreadable,
            2 => Held::Record(Prepared::tombstone(key, cookie, &meta).unwrap()),
            _ => {
                let needle = NewNeedle { key, cookie, meta, data: data.into() };
                Held::Record(Prepared::data(needle).unwrap())
            }
        }
    }

    fn encode_all(records: &[(Key, Held)]) -> Vec<u8> {
        records.iter().flat_map(|(key, held)| encode(*key, held)).collect::<Vec<_>>().concat()
    }

    proptest! {
        #[test]
        fn round_trips_and_no_flipped_bit_passes(
            records in proptest::collection::vec((any::<u64>(), 0..4u8, "[a-z]{0,9}", proptest::collection::vec(any::<u8>(), 0..50)), 0..4),
            at: proptest::sample::Index, bit in 0..8u8,
        ) {
            let records: Vec<_> = records.into_iter().map(|(key, kind, name, data)| {
                (Key::new(key), held(kind, Key::new(key), name, data))
            }).collect();
            let bytes = encode_all(&records);
            prop_assert_eq!(&decode(bytes.clone().into()).unwrap(), &records);
            for cut in 0..bytes.len() {
                let whole = decode(bytes[..cut].to_vec().into()).is_ok_and(|some| some == records);
                prop_assert!(!whole);
            }
            if !bytes.is_empty() {
                let mut rotten = bytes.clone();
                rotten[at.index(bytes.len())] ^= 1 << bit;
                prop_assert!(decode(rotten.into()).is_err());
            }
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(bytes.into());
        }
    }
}
