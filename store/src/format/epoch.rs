//! The epoch file: which set of replicas a replica was last told of.
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `89 48 41 59 45 50 4F 0A` (`\x89HAYEPO\n`) |
//! | 8 | 2 | version | 1; a reader refuses any other |
//! | 10 | 2 | reserved | zero |
//! | 12 | 4 | volume | volume id |
//! | 16 | 8 | epoch | |
//! | 24 | 4 | reserved | zero |
//! | 28 | 4 | checksum | CRC32 of bytes 0 to 27 |
//!
//! It names no replica and no generation: the epoch is the volume's, and outlives compactions.

use bytes::{Buf, BufMut};

use super::FormatError;
use crate::id::{Epoch, VolumeId};

/// Size of the file.
pub const EPOCH_FILE_BYTES: usize = 32;

const MAGIC: [u8; 8] = *b"\x89HAYEPO\n";
const VERSION: u16 = 1;
const CHECKSUM_AT: usize = EPOCH_FILE_BYTES - 4;
const WHAT: &str = "epoch file";

const _: () = assert!(EPOCH_FILE_BYTES == 8 + 2 + 2 + 4 + 8 + 4 + 4);

/// The file's content.
pub fn to_bytes(volume: VolumeId, epoch: Epoch) -> [u8; EPOCH_FILE_BYTES] {
    let mut bytes = [0; EPOCH_FILE_BYTES];
    let mut out = &mut bytes[..];
    out.put_slice(&MAGIC);
    out.put_u16_le(VERSION);
    out.put_u16_le(0);
    out.put_u32_le(volume.get());
    out.put_u64_le(epoch.get());
    out.put_u32_le(0);
    let (head, mut checksum) = bytes.split_at_mut(CHECKSUM_AT);
    checksum.put_u32_le(crc32fast::hash(head));
    bytes
}

/// The epoch in the epoch file of `volume`.
///
/// # Errors
/// Anything but what [`to_bytes`] gave for that volume.
pub fn from_bytes(bytes: &[u8], volume: VolumeId) -> Result<Epoch, FormatError> {
    let short = || FormatError::Short { what: WHAT };
    let bytes: &[u8; EPOCH_FILE_BYTES] = bytes.try_into().map_err(|_| short())?;
    let (head, mut checksum) = bytes.split_at(CHECKSUM_AT);
    let mut fields = head.strip_prefix(&MAGIC).ok_or(FormatError::Magic { what: WHAT })?;
    let version = fields.get_u16_le();
    if version != VERSION {
        return Err(FormatError::Version { what: WHAT, got: version, supported: VERSION });
    }
    if crc32fast::hash(head) != checksum.get_u32_le() {
        return Err(FormatError::Checksum { what: WHAT });
    }
    let reserved = fields.get_u16_le();
    let found = fields.get_u32_le();
    let epoch = Epoch::new(fields.get_u64_le());
    if reserved != 0 || fields.get_u32_le() != 0 || found != volume.get() {
        return Err(FormatError::Field { what: WHAT });
    }
    Ok(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: VolumeId = VolumeId::new(7).unwrap();

    #[test]
    fn an_epoch_comes_back_and_no_other_bytes_pass() {
        for epoch in [0, 1, u64::MAX].map(Epoch::new) {
            let bytes = to_bytes(VOLUME, epoch);
            assert_eq!(from_bytes(&bytes, VOLUME), Ok(epoch));
            for at in 0..bytes.len() {
                assert!(from_bytes(&bytes[..at], VOLUME).is_err(), "cut at {at}");
                for bit in 0..8 {
                    let mut rotten = bytes;
                    rotten[at] ^= 1 << bit;
                    assert!(from_bytes(&rotten, VOLUME).is_err(), "bit {bit} of byte {at}");
                }
            }
            assert!(from_bytes(&[&bytes[..], &[0]].concat(), VOLUME).is_err(), "longer");
            assert!(from_bytes(&bytes, VolumeId::new(8).unwrap()).is_err(), "another volume's");
        }
    }

    #[test]
    fn a_newer_version_and_reserved_bytes_are_refused() {
        for (at, is_version) in [(8, true), (10, false), (24, false)] {
            let mut bytes = to_bytes(VOLUME, Epoch::new(5));
            bytes[at] += 1;
            let crc = crc32fast::hash(&bytes[..CHECKSUM_AT]);
            bytes[CHECKSUM_AT..].copy_from_slice(&crc.to_le_bytes());
            let refused = from_bytes(&bytes, VOLUME).unwrap_err();
            assert_eq!(matches!(refused, FormatError::Version { got: 2, .. }), is_version);
        }
    }

    #[test]
    fn the_golden_file_stays_readable() {
        let golden = include_bytes!("../../testdata/v1/epoch.bin");
        let epoch = Epoch::new(0x0102_0304_0506_0708);
        assert_eq!(from_bytes(golden, VOLUME), Ok(epoch));
        assert_eq!(&to_bytes(VOLUME, epoch), golden);
    }
}
