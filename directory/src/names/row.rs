//! How rows and garbage are written, whatever the engine.
//!
//! A value is one format byte and then postcard's encoding of the struct of that
//! format. A new field means a new format; the old ones stay readable for good.

use std::borrow::Cow;
use std::sync::Arc;

use hayrick_store::{Cookie, Key, NeedleId, VolumeId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{MAX_ROW_BYTES, NamesError, NeedleRef, Removal, Row};

const FORMAT: u8 = 1;
/// Of a queued needle that is deleted because its name was removed.
const WITH_REMOVAL: u8 = 2;

#[derive(Serialize, Deserialize)]
struct RowV1<'a> {
    version: u64,
    size_bytes: u64,
    modified_ms: u64,
    content_type: Cow<'a, str>,
    user: Cow<'a, [(String, String)]>,
    needles: Vec<NeedleV1>,
}

#[derive(Serialize, Deserialize)]
struct NeedleV1 {
    volume: VolumeId,
    key: Key,
    cookie: Cookie,
    size_bytes: u32,
}

/// Encodes a row.
pub(super) fn encode(row: &Row) -> Result<Vec<u8>, NamesError> {
    let needle = |needle: &NeedleRef| NeedleV1 {
        volume: needle.id.volume,
        key: needle.id.key,
        cookie: needle.id.cookie,
        size_bytes: needle.size_bytes,
    };
    let value = to_bytes(
        FORMAT,
        &RowV1 {
            version: row.version,
            size_bytes: row.size_bytes,
            modified_ms: row.modified_ms,
            content_type: Cow::Borrowed(&*row.content_type),
            user: Cow::Borrowed(&row.user),
            needles: row.needles.iter().map(needle).collect(),
        },
    )?;
    if value.len() > MAX_ROW_BYTES {
        return Err(NamesError::RowTooLarge { size_bytes: value.len() });
    }
    Ok(value)
}

/// Decodes a row. Any bytes give a row or an error.
pub(super) fn decode(value: &[u8]) -> Result<Row, NamesError> {
    let row: RowV1<'static> = from_bytes(FORMAT, value)?;
    let needle = |needle: NeedleV1| NeedleRef {
        id: NeedleId { volume: needle.volume, key: needle.key, cookie: needle.cookie },
        size_bytes: needle.size_bytes,
    };
    Ok(Row {
        version: row.version,
        size_bytes: row.size_bytes,
        content_type: row.content_type.into(),
        user: row.user.into_owned(),
        modified_ms: row.modified_ms,
        needles: row.needles.into_iter().map(needle).collect(),
    })
}

/// Encodes what a queued needle's key does not tell: its cookie, and the removal that it is
/// deleted for.
pub(super) fn encode_garbage(
    cookie: Cookie,
    removal: Option<&Removal>,
) -> Result<Vec<u8>, NamesError> {
    match removal {
        None => to_bytes(FORMAT, &cookie),
        Some(removal) => to_bytes(WITH_REMOVAL, &(cookie, removal)),
    }
}

/// The cookie of a queued needle, and the removal that it is deleted for.
pub(super) fn decode_garbage(value: &[u8]) -> Result<(Cookie, Option<Arc<Removal>>), NamesError> {
    if value.first() == Some(&WITH_REMOVAL) {
        let (cookie, removal) = from_bytes(WITH_REMOVAL, value)?;
        return Ok((cookie, Some(Arc::new(removal))));
    }
    Ok((from_bytes(FORMAT, value)?, None))
}

pub(crate) fn to_bytes<T: Serialize>(format: u8, value: &T) -> Result<Vec<u8>, NamesError> {
    // Plain data always encodes; an error here would be ours, not the disk's.
    postcard::to_extend(value, vec![format]).map_err(|error| NamesError::Io(error.to_string()))
}

pub(crate) fn from_bytes<T: DeserializeOwned>(
    supported: u8,
    value: &[u8],
) -> Result<T, NamesError> {
    let corrupt = |reason: &str| NamesError::Corrupt(format!("a value {reason}"));
    let (format, content) = value.split_first().ok_or_else(|| corrupt("is empty"))?;
    match *format {
        format if format == supported => {}
        0 => return Err(corrupt("has format 0")),
        found => return Err(NamesError::NewerFormat { found, supported }),
    }
    match postcard::take_from_bytes(content) {
        Ok((decoded, [])) => Ok(decoded),
        Ok(_) => Err(corrupt("has bytes left over")),
        Err(error) => Err(corrupt(&format!("does not decode: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;

    /// A row as version 1 wrote it; every later version must read it.
    const GOLDEN_ROW: &[u8] = include_bytes!("testdata/row-v1.bin");
    const GOLDEN_GARBAGE: &[u8] = &[1, 0xEF, 0xFD, 0xB6, 0xF5, 0x0D];

    fn needle(text: &str, size_bytes: u32) -> NeedleRef {
        NeedleRef { id: text.parse().unwrap(), size_bytes }
    }

    fn golden() -> Row {
        Row {
            version: (1_767_225_600_000 << 16) | 7,
            size_bytes: 8_388_609,
            content_type: "image/jpeg".into(),
            user: vec![("taken".to_owned(), "Zürich".to_owned())],
            modified_ms: 1_767_225_600_000,
            needles: smallvec![
                needle("1,65537,3735928559", 8_388_608),
                needle("4294967295,18446744073709551615,0", 1),
            ],
        }
    }

    #[test]
    fn the_golden_row_is_read_and_written() {
        assert_eq!(decode(GOLDEN_ROW).unwrap(), golden());
        assert_eq!(encode(&golden()).unwrap(), GOLDEN_ROW);
    }

    #[test]
    fn the_golden_garbage_is_read_and_written() {
        let cookie = Cookie::new(0xDEAD_BEEF);
        assert_eq!(decode_garbage(GOLDEN_GARBAGE).unwrap(), (cookie, None));
        assert_eq!(encode_garbage(cookie, None).unwrap(), GOLDEN_GARBAGE);
        let removal =
            Removal { bucket: "abc".parse().unwrap(), name: "d/e".parse().unwrap(), version: 300 };
        let golden = b"\x02\xEF\xFD\xB6\xF5\x0D\x03abc\x03d/e\xAC\x02";
        assert_eq!(encode_garbage(cookie, Some(&removal)).unwrap(), golden);
        assert_eq!(decode_garbage(golden).unwrap(), (cookie, Some(Arc::new(removal))));
    }

    #[test]
    fn every_shorter_and_longer_value_is_refused() {
        for length in 0..GOLDEN_ROW.len() {
            assert!(decode(&GOLDEN_ROW[..length]).is_err(), "cut to {length} bytes");
        }
        assert!(decode(&[GOLDEN_ROW, &[0]].concat()).is_err());
    }

    #[test]
    fn other_formats_are_told_apart() {
        let mut newer = GOLDEN_ROW.to_vec();
        newer[0] = 2;
        assert_eq!(decode(&newer), Err(NamesError::NewerFormat { found: 2, supported: 1 }));
        newer[0] = 0;
        assert!(matches!(decode(&newer), Err(NamesError::Corrupt(_))));
    }

    #[test]
    fn a_row_beyond_the_limit_is_refused() {
        let row = Row { content_type: "x".repeat(MAX_ROW_BYTES).into(), ..golden() };
        assert!(matches!(encode(&row), Err(NamesError::RowTooLarge { .. })));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_row_or_an_error(bytes: Vec<u8>) {
            let _ = decode(&[&[FORMAT], bytes.as_slice()].concat());
        }

        #[test]
        fn rows_round_trip(version: u64, size_bytes: u64, text: String, keys: Vec<(u64, u32, u32)>) {
            let needle = |&(key, cookie, size_bytes): &(u64, u32, u32)| NeedleRef {
                id: NeedleId {
                    volume: VolumeId::new(cookie | 1).unwrap(),
                    key: Key::new(key),
                    cookie: Cookie::new(cookie),
                },
                size_bytes,
            };
            let row = Row {
                version,
                size_bytes,
                content_type: text.clone().into(),
                user: vec![(text, String::new())],
                modified_ms: version,
                needles: keys.iter().map(needle).collect(),
            };
            prop_assert_eq!(decode(&encode(&row).unwrap()).unwrap(), row);
        }
    }
}
