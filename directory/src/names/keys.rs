//! The keys of the tables as bytes. They sort as what they stand for.
#![expect(
    clippy::big_endian_bytes,
    reason = "the database sorts keys by their bytes, and only big-endian numbers sort so"
)]

use std::ops::RangeInclusive;

use hayrick_store::{Key, VolumeId};

use super::{Garbage, NamesError};
use crate::{BucketName, ObjectName};

/// No bucket name holds a zero byte, so none is the start of another's keys.
const END_OF_BUCKET: u8 = 0;

const GARBAGE_KEY_BYTES: usize = 20;

/// The key of a name's row.
pub(crate) fn row(bucket: &BucketName, name: &ObjectName) -> Vec<u8> {
    row_of(bucket.as_str().as_bytes(), name.as_str().as_bytes())
}

/// The key of a row, from the bytes of bucket and name.
pub(crate) fn row_of(bucket: &[u8], name: &[u8]) -> Vec<u8> {
    [bucket, &[END_OF_BUCKET], name].concat()
}

/// Takes the key of a row apart: bucket and name.
pub(crate) fn parse_row(key: &[u8]) -> Result<(&[u8], &[u8]), NamesError> {
    let end = key.iter().position(|&byte| byte == END_OF_BUCKET);
    let parts = end.and_then(|end| Some((key.get(..end)?, key.get(end + 1..)?)));
    parts.ok_or_else(|| NamesError::Corrupt("the key of a row is malformed".to_owned()))
}

/// What the keys of a bucket's rows start with.
pub(crate) fn bucket_prefix(bucket: &BucketName) -> Vec<u8> {
    [bucket.as_str().as_bytes(), &[END_OF_BUCKET]].concat()
}

/// What is above all keys of a bucket's rows.
pub(crate) fn bucket_end(bucket: &BucketName) -> Vec<u8> {
    [bucket.as_str().as_bytes(), &[END_OF_BUCKET + 1]].concat()
}

/// The key of a queued needle.
pub(crate) fn garbage(garbage: &Garbage) -> [u8; GARBAGE_KEY_BYTES] {
    garbage_key(garbage.id.volume.get(), garbage.due_ms, garbage.id.key.get())
}

/// The least key of a volume's queued needles. Takes a bare number, because a scan
/// also asks for the one after the last volume.
pub(crate) fn garbage_start(volume: u32) -> [u8; GARBAGE_KEY_BYTES] {
    garbage_key(volume, 0, 0)
}

/// The keys of a volume's needles that are due within this time.
pub(crate) fn garbage_due(
    volume: VolumeId,
    due_ms: &RangeInclusive<u64>,
) -> RangeInclusive<[u8; GARBAGE_KEY_BYTES]> {
    let volume = volume.get();
    garbage_key(volume, *due_ms.start(), 0)..=garbage_key(volume, *due_ms.end(), u64::MAX)
}

/// Takes a queued needle's key apart: volume, due time and needle key.
pub(crate) fn parse_garbage(key: &[u8]) -> Result<(VolumeId, u64, Key), NamesError> {
    let parts = || {
        let (volume, rest) = key.split_first_chunk::<4>()?;
        let (due_ms, rest) = rest.split_first_chunk::<8>()?;
        let key = <[u8; 8]>::try_from(rest).ok()?;
        let volume = VolumeId::new(u32::from_be_bytes(*volume))?;
        Some((volume, u64::from_be_bytes(*due_ms), Key::new(u64::from_be_bytes(key))))
    };
    parts().ok_or_else(|| NamesError::Corrupt("a garbage key is malformed".to_owned()))
}

fn garbage_key(volume: u32, due_ms: u64, key: u64) -> [u8; GARBAGE_KEY_BYTES] {
    let mut bytes = [0; GARBAGE_KEY_BYTES];
    let parts = [&volume.to_be_bytes()[..], &due_ms.to_be_bytes(), &key.to_be_bytes()];
    for (to, from) in bytes.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_keys() {
        let (bucket, name) = ("photos".parse().unwrap(), "cats/tom.jpg".parse().unwrap());
        assert_eq!(row(&bucket, &name), b"photos\0cats/tom.jpg");
        let parts = (&b"photos"[..], &b"cats/tom.jpg"[..]);
        assert_eq!(parse_row(b"photos\0cats/tom.jpg"), Ok(parts));
        assert!(parse_row(b"photos").is_err());
        let entry = Garbage { id: "1,2,3".parse().unwrap(), due_ms: 0x0102, removal: None };
        let key = garbage(&entry);
        assert_eq!(key, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(parse_garbage(&key).unwrap(), (entry.id.volume, 0x0102, entry.id.key));
    }

    #[test]
    fn malformed_garbage_keys_are_told_as_damage() {
        for key in [&[0_u8; 20][..], &[1; 19], &[1; 21], &[]] {
            assert!(parse_garbage(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn buckets_do_not_overlap() {
        let range = |name: &str| {
            let name = name.parse().unwrap();
            (bucket_prefix(&name), bucket_end(&name))
        };
        let (start, end) = range("abc");
        for other in ["abc-d", "abc.d", "abcd", "abb"] {
            let (other_start, other_end) = range(other);
            assert!(other_end <= start || end <= other_start, "{other}");
        }
    }
}
