//! What stands on disk, format version 1: pure functions from structs to bytes and back.
//!
//! Nothing here opens a file, reads a clock or waits. The server, the command line
//! and a fuzzer call the same code, and any input bytes give a value or a
//! [`FormatError`], never a panic.
//!
//! - [`superblock`]: the first 4 KiB of a volume file;
//! - [`needle`]: one blob's record, with [`checksum`] for its trailer and
//!   [`meta`] for what it says of itself;
//! - [`index`]: the index file, a checksummed cache of what a volume says;
//! - [`epoch`]: the epoch file, which says what orders a replica obeys.
//!
//! All integers are little-endian. Reserved bytes are zero and checked, so that a
//! later version may give them a meaning.

pub mod checksum;
pub mod epoch;
pub mod index;
pub mod meta;
pub mod needle;
pub mod superblock;

use std::fmt;

/// Needles start at multiples of this many bytes.
pub const ALIGNMENT: u64 = 8;

/// The largest offset that [`NeedleOffset`] can name, and so the largest volume: 32 GiB less 8 bytes.
pub const MAX_VOLUME_BYTES: u64 = u32::MAX as u64 * ALIGNMENT;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Fewer bytes than the structure has.
    #[error("{what} is cut short")]
    Short {
        /// Which structure.
        what: &'static str,
    },
    /// The first bytes are not this structure's.
    #[error("no {what} here: the magic number does not match")]
    Magic {
        /// Which structure.
        what: &'static str,
    },
    /// Written by a newer Hayrick. Refused rather than misread.
    #[error("{what} has format version {got}; this Hayrick reads version {supported}: upgrade it")]
    Version {
        /// Which structure.
        what: &'static str,
        /// The version found.
        got: u16,
        /// The version this code reads.
        supported: u16,
    },
    /// A checksum does not match what it covers.
    #[error("checksum of {what} does not match")]
    Checksum {
        /// What the checksum covers.
        what: &'static str,
    },
    /// The checksum matches, but a field has a value that it cannot have.
    #[error("{what} has an impossible value")]
    Field {
        /// Which field.
        what: &'static str,
    },
}

/// A place in a volume file, counted in blocks of [`ALIGNMENT`] bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NeedleOffset(u32);

impl NeedleOffset {
    /// From blocks, as files carry it.
    pub const fn from_blocks(blocks: u32) -> Self {
        Self(blocks)
    }

    /// In blocks, as files carry it.
    pub const fn blocks(self) -> u32 {
        self.0
    }

    /// `None` where `bytes` is not aligned or lies beyond [`MAX_VOLUME_BYTES`]: an offset never wraps.
    pub const fn from_bytes(bytes: u64) -> Option<Self> {
        if !bytes.is_multiple_of(ALIGNMENT) || bytes > MAX_VOLUME_BYTES {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked against MAX_VOLUME_BYTES")]
        Some(Self((bytes / ALIGNMENT) as u32))
    }

    /// In bytes from the start of the volume file.
    pub const fn bytes(self) -> u64 {
        self.0 as u64 * ALIGNMENT
    }
}

impl fmt::Display for NeedleOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes().fmt(f)
    }
}

/// `bytes` rounded up to the next needle boundary.
pub const fn align_up(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// The checksum state that a file's identity starts all its header checksums from.
///
/// A header checksum begins with who the file is (replica and generation) and where
/// the header stands, so bytes that come from another file, another generation or
/// another offset do not pass: not a misdirected write, not a swapped block, and not
/// a volume file that somebody uploaded as an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(u32);

impl Salt {
    /// The salt of one generation of one replica.
    pub fn new(replica: &[u8; 16], generation: u64) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(replica);
        hasher.update(&generation.to_le_bytes());
        Self(hasher.finalize())
    }

    /// CRC32 (IEEE) of `bytes` as they stand at `position` of the file.
    pub fn crc(self, position: u64, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.0);
        hasher.update(&position.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_past_32_gib_is_refused_not_wrapped() {
        assert_eq!(NeedleOffset::from_bytes(MAX_VOLUME_BYTES).unwrap().blocks(), u32::MAX);
        assert_eq!(NeedleOffset::from_bytes(MAX_VOLUME_BYTES + 8), None);
        assert_eq!(NeedleOffset::from_bytes(1 << 40), None);
        assert_eq!(NeedleOffset::from_bytes(12), None);
    }

    #[test]
    fn the_salt_tells_files_generations_and_places_apart() {
        let here = Salt::new(&[1; 16], 1);
        assert_ne!(here.crc(8, b"x"), here.crc(16, b"x"));
        assert_ne!(here.crc(8, b"x"), Salt::new(&[1; 16], 2).crc(8, b"x"));
        assert_ne!(here.crc(8, b"x"), Salt::new(&[2; 16], 1).crc(8, b"x"));
    }
}
