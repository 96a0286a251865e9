//! A needle's trailer: one CRC32 (IEEE) per 64 KiB block of data, then one for the meta.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 x blocks | CRC32 of each 64 KiB block of data, the last one maybe shorter |
//! | 4 x blocks | 4 | CRC32 of the meta bytes |
//!
//! One checksum per block means that a Range is verified by reading only the blocks
//! it touches. The needle's header carries the CRC32 of the trailer (`body_crc`), so
//! the header vouches for the trailer and the trailer for every byte.

use std::ops::Range;

use super::FormatError;

/// Bytes of data under one checksum.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// The checksums of one needle, as they stand on disk after its meta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer(Vec<u8>);

/// How many bytes the trailer of `data_size` bytes of data has.
pub const fn trailer_bytes(data_size: u32) -> u64 {
    (data_size as u64).div_ceil(BLOCK_BYTES as u64) * 4 + 4
}

impl Trailer {
    /// Checksums `data` and `meta`.
    pub fn of(data: &[u8], meta: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(data.len().div_ceil(BLOCK_BYTES) * 4 + 4);
        for block in data.chunks(BLOCK_BYTES) {
            bytes.extend_from_slice(&crc32fast::hash(block).to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(meta).to_le_bytes());
        Self(bytes)
    }

    /// Takes a trailer read from disk, if it is the one that a header with `body_crc` vouches for.
    pub fn from_bytes(bytes: &[u8], data_size: u32, body_crc: u32) -> Result<Self, FormatError> {
        if bytes.len() as u64 != trailer_bytes(data_size) {
            return Err(FormatError::Short { what: "needle trailer" });
        }
        if crc32fast::hash(bytes) != body_crc {
            return Err(FormatError::Checksum { what: "needle trailer" });
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The bytes on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The checksum of the checksums, which the header carries.
    pub fn body_crc(&self) -> u32 {
        crc32fast::hash(&self.0)
    }

    /// Checks the meta bytes.
    pub fn verify_meta(&self, meta: &[u8]) -> Result<(), FormatError> {
        match self.0.last_chunk::<4>() {
            Some(&crc) if u32::from_le_bytes(crc) == crc32fast::hash(meta) => Ok(()),
            _ => Err(FormatError::Checksum { what: "needle meta" }),
        }
    }

    /// Checks whole blocks of data, the first of which is block number `first_block`.
    ///
    /// `data` must start on a block boundary and end on one, or at the end of the needle's data.
    pub fn verify_blocks(&self, first_block: usize, data: &[u8]) -> Result<(), FormatError> {
        let wrong = FormatError::Checksum { what: "needle data" };
        let mut sums = self.0.chunks_exact(4).skip(first_block);
        for block in data.chunks(BLOCK_BYTES) {
            if sums.next() != Some(&crc32fast::hash(block).to_le_bytes()) {
                return Err(wrong);
            }
        }
        Ok(())
    }
}

/// The whole blocks that cover `range` of `data_size` bytes of data, in bytes.
pub fn covering_blocks(range: &Range<u64>, data_size: u32) -> Range<u64> {
    let block = BLOCK_BYTES as u64;
    let end = range.end.next_multiple_of(block).min(u64::from(data_size));
    range.start / block * block..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_has_its_own_checksum() {
        let mut data = vec![7; BLOCK_BYTES * 2 + 100];
        let trailer = Trailer::of(&data, b"meta");
        assert_eq!(
            trailer.as_bytes().len() as u64,
            trailer_bytes(u32::try_from(data.len()).unwrap())
        );
        data[BLOCK_BYTES + 5] ^= 1;
        assert!(trailer.verify_blocks(0, &data[..BLOCK_BYTES]).is_ok());
        assert!(trailer.verify_blocks(1, &data[BLOCK_BYTES..]).is_err());
        assert!(trailer.verify_blocks(2, &data[BLOCK_BYTES * 2..]).is_ok());
        assert!(trailer.verify_meta(b"meta").is_ok());
        assert!(trailer.verify_meta(b"mete").is_err());
    }

    #[test]
    fn blocks_past_the_last_one_do_not_pass() {
        let trailer = Trailer::of(&[1; 10], b"");
        // The fourth byte group is the meta's checksum: it must not vouch for data.
        assert!(trailer.verify_blocks(2, b"x").is_err());
    }

    #[test]
    fn a_range_is_covered_by_whole_blocks() {
        let block = BLOCK_BYTES as u64;
        let size = u32::try_from(BLOCK_BYTES).unwrap() * 2 + 10;
        assert_eq!(covering_blocks(&(0..1), size), 0..block);
        assert_eq!(covering_blocks(&(block - 1..block + 1), size), 0..2 * block);
        assert_eq!(covering_blocks(&(2 * block..2 * block + 10), size), 2 * block..2 * block + 10);
    }
}
