//! The superblock: the first 4 KiB of a volume file, written once and never changed.
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `89 48 41 59 56 4F 4C 0A` (`\x89HAYVOL\n`) |
//! | 8 | 2 | version | 1; a reader refuses a newer one |
//! | 10 | 2 | reserved | zero |
//! | 12 | 4 | volume | volume id |
//! | 16 | 16 | cluster | UUID of the cluster; a file of another cluster is refused |
//! | 32 | 16 | replica | UUID of this replica of the volume |
//! | 48 | 8 | generation | 1 at creation, one more at each compaction |
//! | 56 | 8 | created | milliseconds since 1970, of this generation; 0 where that was lost |
//! | 64 | 4028 | reserved | zero |
//! | 4092 | 4 | checksum | CRC32 (IEEE) of bytes 0 to 4091 |
//!
//! It fills a whole page so that no append ever rewrites the sector it stands in.
//! The magic begins with a byte above 127 and ends with a newline, so a transfer
//! that mangles text shows at once.

use bytes::{Buf, BufMut};
use uuid::Uuid;

use super::{FormatError, Salt};
use crate::id::VolumeId;

/// Size of the superblock, and so the offset of the first needle.
pub const SUPERBLOCK_BYTES: usize = 4096;

/// The format version that this code writes, and the newest that it reads.
pub const FORMAT_VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"\x89HAYVOL\n";
const CHECKSUM_AT: usize = SUPERBLOCK_BYTES - 4;
const WHAT: &str = "superblock";

/// Who a volume file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// The cluster that gave out the volume id.
    pub cluster: Uuid,
    /// The volume's id.
    pub volume: VolumeId,
    /// This replica of the volume.
    pub replica: Uuid,
    /// How many files this replica has been written to: one more at each compaction.
    pub generation: u64,
    /// When this generation was made, in milliseconds since 1970.
    pub created_ms: u64,
}

impl Superblock {
    /// The salt of this file's header checksums.
    pub fn salt(&self) -> Salt {
        Salt::new(self.replica.as_bytes(), self.generation)
    }

    /// The bytes at the start of the volume file.
    pub fn to_bytes(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = [0; SUPERBLOCK_BYTES];
        let (fields, mut checksum) = bytes.split_at_mut(CHECKSUM_AT);
        let mut out = &mut *fields;
        out.put_slice(&MAGIC);
        out.put_u16_le(FORMAT_VERSION);
        out.put_u16_le(0);
        out.put_u32_le(self.volume.get());
        out.put_slice(self.cluster.as_bytes());
        out.put_slice(self.replica.as_bytes());
        out.put_u64_le(self.generation);
        out.put_u64_le(self.created_ms);
        checksum.put_u32_le(crc32fast::hash(fields));
        bytes
    }

    /// Reads what [`Superblock::to_bytes`] wrote. Bytes beyond the superblock are ignored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let block =
            bytes.first_chunk::<SUPERBLOCK_BYTES>().ok_or(FormatError::Short { what: WHAT })?;
        let (fields, mut checksum) = block.split_at(CHECKSUM_AT);
        let mut fields_left = fields;
        if fields_left.get_u64_le() != u64::from_le_bytes(MAGIC) {
            return Err(FormatError::Magic { what: WHAT });
        }
        let version = fields_left.get_u16_le();
        // Before the checksum: a newer version may keep it elsewhere.
        if version > FORMAT_VERSION && !is_rotten_version(block) {
            return Err(FormatError::Version {
                what: WHAT,
                got: version,
                supported: FORMAT_VERSION,
            });
        }
        if checksum.get_u32_le() != crc32fast::hash(fields) {
            return Err(FormatError::Checksum { what: WHAT });
        }
        if version == 0 || fields_left.get_u16_le() != 0 {
            return Err(FormatError::Field { what: "superblock version" });
        }
        let volume = VolumeId::new(fields_left.get_u32_le())
            .ok_or(FormatError::Field { what: "superblock volume id" })?;
        let cluster = uuid(&mut fields_left);
        let replica = uuid(&mut fields_left);
        let generation = fields_left.get_u64_le();
        let created_ms = fields_left.get_u64_le();
        if fields_left.iter().any(|&byte| byte != 0) {
            return Err(FormatError::Field { what: "superblock reserved bytes" });
        }
        Ok(Self { cluster, volume, replica, generation, created_ms })
    }
}

/// Whether everything but the version fits our own.
fn is_rotten_version(block: &[u8; SUPERBLOCK_BYTES]) -> bool {
    let mut block = *block;
    let version = block.iter_mut().skip(MAGIC.len());
    version.zip(FORMAT_VERSION.to_le_bytes()).for_each(|(byte, ours)| *byte = ours);
    let (fields, mut checksum) = block.split_at(CHECKSUM_AT);
    checksum.get_u32_le() == crc32fast::hash(fields)
}

fn uuid(fields: &mut &[u8]) -> Uuid {
    let mut bytes = [0; 16];
    fields.copy_to_slice(&mut bytes);
    Uuid::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Superblock {
        Superblock {
            cluster: Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
            volume: VolumeId::new(7).unwrap(),
            replica: Uuid::from_u128(0xfedc_ba98_7654_3210_0123_4567_89ab_cdef),
            generation: 3,
            created_ms: 1_700_000_000_123,
        }
    }

    #[test]
    fn round_trips() {
        assert_eq!(Superblock::from_bytes(&sample().to_bytes()), Ok(sample()));
    }

    #[test]
    fn yesterdays_file_still_opens() {
        let golden = include_bytes!("../../testdata/v1/superblock.bin");
        assert_eq!(Superblock::from_bytes(golden), Ok(sample()));
        assert_eq!(&sample().to_bytes(), golden);
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let good = sample().to_bytes();
        for at in 0..SUPERBLOCK_BYTES {
            let mut bad = good;
            bad[at] ^= 0x41;
            assert!(Superblock::from_bytes(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn every_cut_is_found() {
        let good = sample().to_bytes();
        for len in 0..SUPERBLOCK_BYTES {
            assert_eq!(
                Superblock::from_bytes(&good[..len]),
                Err(FormatError::Short { what: WHAT })
            );
        }
    }

    #[test]
    fn only_known_versions_are_read() {
        for (version, readable) in [(0u16, false), (1, true), (2, false), (u16::MAX, false)] {
            let mut bytes = sample().to_bytes();
            bytes[8..10].copy_from_slice(&version.to_le_bytes());
            let sum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
            bytes[CHECKSUM_AT..].copy_from_slice(&sum.to_le_bytes());
            let read = Superblock::from_bytes(&bytes);
            assert_eq!(read.is_ok(), readable, "version {version}");
            if version > FORMAT_VERSION {
                assert!(matches!(read, Err(FormatError::Version { .. })));
            }
        }
    }
}
