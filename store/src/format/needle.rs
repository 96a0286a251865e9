//! The needle: one blob's record in a volume.
//!
//! A record is `header | data | meta | trailer | padding`, and starts on a boundary
//! of 8 bytes. The header:
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 4 | magic | `4E 45 45 44` (`NEED`) |
//! | 4 | 1 | version | 1 |
//! | 5 | 1 | kind | 1 data, 2 tombstone, 3 abort |
//! | 6 | 2 | reserved | zero |
//! | 8 | 8 | key | |
//! | 16 | 4 | cookie | |
//! | 20 | 4 | data size | bytes |
//! | 24 | 4 | meta size | bytes |
//! | 28 | 4 | body checksum | CRC32 of the trailer, see [`super::checksum`] |
//! | 32 | 8 | appended | nanoseconds since 1970, rising within the volume |
//! | 40 | 4 | synced end | how far the volume was durable when this was written, in blocks of 8 bytes |
//! | 44 | 2 | batch index | place of this needle in its batch |
//! | 46 | 2 | batch length | needles in the batch, 1 for a lone one and for whatever has no data |
//! | 48 | 4 | header checksum | CRC32 of bytes 0 to 47, begun with the file's [`Salt`] and this offset |
//!
//! Padding is zero bytes up to the next boundary of 8. Nothing in a record is ever
//! changed in place:
//!
//! - a **tombstone** says that the needle of its key is deleted. It has no data. Where a whole
//!   name was removed, its meta says so: bucket, name, and the version of the removal, which hides
//!   every lower version of that name. Other tombstones have no meta;
//! - an **abort** says that the needle of its key never happened. Recovery writes one
//!   for each needle of a batch that a crash cut in two.
//!
//! `synced end` tells rot from a crash: whatever lies below the highest one in the
//! file had been acknowledged and is damaged when it cannot be read; what lies above
//! may be the torn end of an append that nobody was told of.

use bytes::{Buf, BufMut};

use super::checksum::trailer_bytes;
use super::{FormatError, NeedleOffset, Salt, align_up};
use crate::id::{Cookie, Key};

/// Size of a needle's header.
pub const HEADER_BYTES: usize = 52;

/// Most bytes of data in one needle. Larger objects are split by the proxy.
pub const MAX_DATA_BYTES: u32 = 16 << 20;

/// Most bytes of encoded meta in one needle.
pub const MAX_META_BYTES: u32 = 16 << 10;

/// Most needles in one batch.
pub const MAX_BATCH_LEN: u16 = 1024;

/// The first bytes of every record. Scans that lost their place look for it.
pub const MAGIC: [u8; 4] = *b"NEED";

const VERSION: u8 = 1;
const CHECKSUM_AT: usize = HEADER_BYTES - 4;
const WHAT: &str = "needle header";

const _: () = assert!(HEADER_BYTES == 4 + 1 + 1 + 2 + 8 + 4 + 4 + 4 + 4 + 8 + 4 + 2 + 2 + 4);
const _: () = assert!(record_bytes(MAX_DATA_BYTES, MAX_META_BYTES) <= u32::MAX as u64);

/// What a record does to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Stores a blob.
    Data,
    /// Deletes the blob of this key, for good: a key is used once.
    Tombstone,
    /// Takes back an earlier record of this key that was never acknowledged.
    Abort,
}

/// A needle's place in a batch that is stored whole or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPlace {
    /// Counted from 0.
    pub index: u16,
    /// How many needles the batch has; 1 for a lone needle.
    pub len: u16,
}

impl BatchPlace {
    /// The place of a needle that is no batch's.
    pub const ALONE: Self = Self { index: 0, len: 1 };
}

/// The fixed-size start of every record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedleHeader {
    /// What the record does.
    pub kind: Kind,
    /// The needle's key.
    pub key: Key,
    /// The needle's cookie; a tombstone repeats it.
    pub cookie: Cookie,
    /// Bytes of data.
    pub data_size: u32,
    /// Bytes of encoded meta.
    pub meta_size: u32,
    /// CRC32 of the trailer.
    pub body_crc: u32,
    /// Nanoseconds since 1970; rises within a volume, and is one for a whole batch.
    pub appended_ns: u64,
    /// How far the volume was known to be durable when this was written.
    pub synced_end: NeedleOffset,
    /// Place in the batch.
    pub batch: BatchPlace,
}

/// Bytes of a whole record with its padding.
pub const fn record_bytes(data_size: u32, meta_size: u32) -> u64 {
    align_up(HEADER_BYTES as u64 + data_size as u64 + meta_size as u64 + trailer_bytes(data_size))
}

impl NeedleHeader {
    /// Bytes of the whole record with its padding.
    pub const fn record_bytes(&self) -> u64 {
        record_bytes(self.data_size, self.meta_size)
    }

    /// The header as it stands at `offset` of the file with this `salt`.
    pub fn to_bytes(&self, salt: Salt, offset: NeedleOffset) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (fields, mut checksum) = bytes.split_at_mut(CHECKSUM_AT);
        let mut out = &mut *fields;
        out.put_slice(&MAGIC);
        out.put_u8(VERSION);
        out.put_u8(self.kind.to_byte());
        out.put_u16_le(0);
        out.put_u64_le(self.key.get());
        out.put_u32_le(self.cookie.get());
        out.put_u32_le(self.data_size);
        out.put_u32_le(self.meta_size);
        out.put_u32_le(self.body_crc);
        out.put_u64_le(self.appended_ns);
        out.put_u32_le(self.synced_end.blocks());
        out.put_u16_le(self.batch.index);
        out.put_u16_le(self.batch.len);
        checksum.put_u32_le(salt.crc(offset.bytes(), fields));
        bytes
    }

    /// Reads a header that stands at `offset` of the file with this `salt`.
    ///
    /// Bytes after the header are ignored. Every size in the result is within the
    /// format's limits, so a caller may allocate by it.
    pub fn from_bytes(bytes: &[u8], salt: Salt, offset: NeedleOffset) -> Result<Self, FormatError> {
        let header =
            bytes.first_chunk::<HEADER_BYTES>().ok_or(FormatError::Short { what: WHAT })?;
        let (fields, mut checksum) = header.split_at(CHECKSUM_AT);
        let mut left = fields;
        if left.get_u32_le() != u32::from_le_bytes(MAGIC) {
            return Err(FormatError::Magic { what: WHAT });
        }
        if checksum.get_u32_le() != salt.crc(offset.bytes(), fields) {
            return Err(FormatError::Checksum { what: WHAT });
        }
        let version = left.get_u8();
        if version != VERSION {
            let (got, supported) = (u16::from(version), u16::from(VERSION));
            return Err(FormatError::Version { what: WHAT, got, supported });
        }
        let kind =
            Kind::from_byte(left.get_u8()).ok_or(FormatError::Field { what: "needle kind" })?;
        if left.get_u16_le() != 0 {
            return Err(FormatError::Field { what: "needle reserved bytes" });
        }
        let header = Self {
            kind,
            key: Key::new(left.get_u64_le()),
            cookie: Cookie::new(left.get_u32_le()),
            data_size: left.get_u32_le(),
            meta_size: left.get_u32_le(),
            body_crc: left.get_u32_le(),
            appended_ns: left.get_u64_le(),
            synced_end: NeedleOffset::from_blocks(left.get_u32_le()),
            batch: BatchPlace { index: left.get_u16_le(), len: left.get_u16_le() },
        };
        header.check_limits()
    }

    fn check_limits(self) -> Result<Self, FormatError> {
        let sizes_fit = match self.kind {
            Kind::Data => self.data_size <= MAX_DATA_BYTES && self.meta_size <= MAX_META_BYTES,
            Kind::Tombstone => self.data_size == 0 && self.meta_size <= MAX_META_BYTES,
            Kind::Abort => self.data_size == 0 && self.meta_size == 0,
        };
        if !sizes_fit {
            return Err(FormatError::Field { what: "needle size" });
        }
        if self.batch.index >= self.batch.len || self.batch.len > MAX_BATCH_LEN {
            return Err(FormatError::Field { what: "needle batch" });
        }
        if self.kind != Kind::Data && self.batch != BatchPlace::ALONE {
            return Err(FormatError::Field { what: "needle batch" });
        }
        Ok(self)
    }
}

impl Kind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Data => 1,
            Self::Tombstone => 2,
            Self::Abort => 3,
        }
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Data),
            2 => Some(Self::Tombstone),
            3 => Some(Self::Abort),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFSET: NeedleOffset = NeedleOffset::from_blocks(512);

    fn salt() -> Salt {
        Salt::new(&[9; 16], 1)
    }

    fn sample() -> NeedleHeader {
        NeedleHeader {
            kind: Kind::Data,
            key: Key::new(0x0102_0304_0506_0708),
            cookie: Cookie::new(0xdead_beef),
            data_size: 1000,
            meta_size: 42,
            body_crc: 0x1234_5678,
            appended_ns: 1_700_000_000_000_000_001,
            synced_end: NeedleOffset::from_blocks(512),
            batch: BatchPlace { index: 1, len: 3 },
        }
    }

    /// A checksum made right again, so that the checks behind it are reached.
    fn resealed(mut bytes: [u8; HEADER_BYTES]) -> [u8; HEADER_BYTES] {
        let sum = salt().crc(OFFSET.bytes(), &bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    #[test]
    fn yesterdays_file_still_opens() {
        let golden = include_bytes!("../../testdata/v1/needle_header.bin");
        assert_eq!(NeedleHeader::from_bytes(golden, salt(), OFFSET), Ok(sample()));
        assert_eq!(&sample().to_bytes(salt(), OFFSET), golden);
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let good = sample().to_bytes(salt(), OFFSET);
        for at in 0..HEADER_BYTES {
            for flip in [1u8, 0x80, 0xff] {
                let mut bad = good;
                bad[at] ^= flip;
                assert!(NeedleHeader::from_bytes(&bad, salt(), OFFSET).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn every_cut_is_found() {
        let good = sample().to_bytes(salt(), OFFSET);
        for len in 0..HEADER_BYTES {
            let cut = NeedleHeader::from_bytes(&good[..len], salt(), OFFSET);
            assert_eq!(cut, Err(FormatError::Short { what: WHAT }));
        }
    }

    #[test]
    fn a_header_from_elsewhere_does_not_pass() {
        let good = sample().to_bytes(salt(), OFFSET);
        let moved = NeedleOffset::from_blocks(OFFSET.blocks() + 1);
        assert!(NeedleHeader::from_bytes(&good, salt(), moved).is_err());
        assert!(NeedleHeader::from_bytes(&good, Salt::new(&[9; 16], 2), OFFSET).is_err());
    }

    #[test]
    fn impossible_fields_are_refused_though_the_checksum_matches() {
        let good = sample().to_bytes(salt(), OFFSET);
        // (offset of the field, bytes put there)
        let cases: &[(usize, &[u8])] = &[
            (4, &[2]),                                 // a newer version
            (5, &[0]),                                 // no kind
            (5, &[4]),                                 // an unknown kind
            (5, &[2]),                                 // a tombstone with data
            (6, &[1]),                                 // reserved
            (20, &(MAX_DATA_BYTES + 1).to_le_bytes()), // data too large
            (24, &(MAX_META_BYTES + 1).to_le_bytes()), // meta too large
            (44, &[3, 0]),                             // index past the batch
            (46, &[0, 0]),                             // an empty batch
            (46, &(MAX_BATCH_LEN + 1).to_le_bytes()),  // a batch too long
        ];
        for (at, value) in cases {
            let mut bad = good;
            bad[*at..*at + value.len()].copy_from_slice(value);
            assert!(
                NeedleHeader::from_bytes(&resealed(bad), salt(), OFFSET).is_err(),
                "field at {at}"
            );
        }
    }

    #[test]
    fn only_needles_are_in_batches() {
        for kind in [Kind::Tombstone, Kind::Abort] {
            let alone = NeedleHeader {
                kind,
                data_size: 0,
                meta_size: 0,
                batch: BatchPlace::ALONE,
                ..sample()
            };
            let batched = NeedleHeader { batch: sample().batch, ..alone };
            let read = |header: NeedleHeader| {
                NeedleHeader::from_bytes(&header.to_bytes(salt(), OFFSET), salt(), OFFSET)
            };
            assert_eq!(read(alone), Ok(alone));
            assert_eq!(read(batched), Err(FormatError::Field { what: "needle batch" }));
        }
    }

    proptest! {
        #[test]
        fn round_trips(key: u64, cookie: u32, data_size in 0..=MAX_DATA_BYTES, meta_size in 0..=MAX_META_BYTES,
                       body_crc: u32, appended_ns: u64, synced: u32, index in 0..MAX_BATCH_LEN, more in 1..10u16) {
            let len = index.saturating_add(more).min(MAX_BATCH_LEN);
            let header = NeedleHeader {
                kind: Kind::Data, key: Key::new(key), cookie: Cookie::new(cookie), data_size, meta_size, body_crc,
                appended_ns, synced_end: NeedleOffset::from_blocks(synced), batch: BatchPlace { index, len },
            };
            let bytes = header.to_bytes(salt(), OFFSET);
            prop_assert_eq!(NeedleHeader::from_bytes(&bytes, salt(), OFFSET), Ok(header));
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut bytes = bytes;
            let _ = NeedleHeader::from_bytes(&bytes, salt(), OFFSET);
            if let Some(block) = bytes.first_chunk_mut::<HEADER_BYTES>() {
                block[..4].copy_from_slice(&MAGIC);
                let _ = NeedleHeader::from_bytes(&resealed(*block), salt(), OFFSET);
            }
        }
    }
}
