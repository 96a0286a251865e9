//! The index file: what a volume holds, sorted by key, as far as the volume was durable.
//!
//! It is a cache. A missing, stale, torn or corrupt index file is dropped and made
//! again from the volume, so nothing here is ever the only copy of anything. The
//! first block of 4 KiB is the head:
//!
//! | offset | size | field | meaning |
//! |---|---|---|---|
//! | 0 | 8 | magic | `89 48 41 59 49 44 58 0A` (`\x89HAYIDX\n`) |
//! | 8 | 2 | version | 2; a reader drops any other |
//! | 10 | 2 | digest exact | 1 if the digest was kept exactly, else 0 |
//! | 12 | 4 | volume | volume id |
//! | 16 | 16 | replica | UUID of the replica |
//! | 32 | 8 | generation | the volume file's; an index of another generation is dropped |
//! | 40 | 4 | covered end | what the index tells of, in blocks of 8 bytes |
//! | 44 | 4 | reserved | zero |
//! | 48 | 8 | entries | number of entries |
//! | 56 | 8 | live needles | |
//! | 64 | 8 | live bytes | of whole records |
//! | 72 | 8 | tombstones | |
//! | 80 | 8 | last append | nanoseconds since 1970 of the last record covered |
//! | 88 | 16 | digest | order-independent digest of the live needles |
//! | 104 | 8 | tombstone bytes | of whole records; 0 in files of writers that did not count them |
//! | 112 | 8 | newest tombstone | when it was appended, in nanoseconds since 1970; 0 as above |
//! | 120 | 8 | pages | number of pages |
//! | 128 | 3964 | reserved | zero |
//! | 4092 | 4 | checksum | CRC32 of bytes 0 to 4091, begun with the file's [`Salt`] and offset 0 |
//!
//! Then come [pages](page) of 4 KiB with the entries: keys rise strictly through the whole file.
//! A lookup touches one page, and one flipped bit costs one checksum.

mod bits;
pub mod page;

use bytes::{Buf, BufMut};
use uuid::Uuid;

use super::superblock::{SUPERBLOCK_BYTES, Superblock};
use super::{FormatError, NeedleOffset, Salt};
use crate::id::VolumeId;

/// Size of the head and of every page of entries.
pub const BLOCK_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"\x89HAYIDX\n";
const VERSION: u16 = 2;
const CHECKSUM_AT: usize = BLOCK_BYTES - 4;
const WHAT: &str = "index head";

/// Where the newest record of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Where the record starts.
    pub offset: NeedleOffset,
    /// The record's size in blocks of 8 bytes; 0 if the key is deleted and `offset` is its tombstone's.
    pub size_blocks: u32,
}

/// What an index file says of the volume as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexHead {
    /// The volume.
    pub volume: VolumeId,
    /// The replica.
    pub replica: Uuid,
    /// The generation of the volume file that the index belongs to.
    pub generation: u64,
    /// The index tells of every record below this offset, and of none above.
    pub covered_end: NeedleOffset,
    /// Number of entries in the file.
    pub entries: u64,
    /// Number of pages that they take.
    pub pages: u64,
    /// Needles that are not deleted.
    pub live_needles: u64,
    /// Bytes of their records.
    pub live_bytes: u64,
    /// Keys that are deleted and whose tombstones are still kept.
    pub tombstones: u64,
    /// Bytes of the tombstones' records; 0 where the file's writer did not count them yet.
    pub tombstone_bytes: u64,
    /// When the newest of them was appended, in nanoseconds since 1970; 0 as above.
    pub newest_tombstone_ns: u64,
    /// When the last record covered was appended, in nanoseconds since 1970.
    pub last_append_ns: u64,
    /// Sum over the live needles; see `volume::digest`.
    pub digest: u128,
    /// Whether `digest` was kept exactly.
    pub digest_exact: bool,
}

impl Entry {
    /// The entry of a live needle whose record has `record_bytes`, a multiple of 8 below 32 MiB.
    pub fn of_record(offset: NeedleOffset, record_bytes: u64) -> Self {
        let size_blocks = u32::try_from(record_bytes / super::ALIGNMENT).unwrap_or(u32::MAX);
        Self { offset, size_blocks }
    }

    /// The entry of a key whose tombstone stands at `offset`.
    pub const fn tombstone(offset: NeedleOffset) -> Self {
        Self { offset, size_blocks: 0 }
    }

    /// Bytes of the record; 0 for a tombstone.
    pub fn record_bytes(self) -> u64 {
        u64::from(self.size_blocks) * super::ALIGNMENT
    }

    /// Whether the key is deleted.
    pub const fn is_tombstone(self) -> bool {
        self.size_blocks == 0
    }
}

impl IndexHead {
    /// The head of the index file of a volume file in which no record is yet.
    pub fn empty(superblock: &Superblock) -> Self {
        Self {
            volume: superblock.volume,
            replica: superblock.replica,
            generation: superblock.generation,
            covered_end: NeedleOffset::from_bytes(SUPERBLOCK_BYTES as u64).unwrap_or_default(),
            entries: 0,
            pages: 0,
            live_needles: 0,
            live_bytes: 0,
            tombstones: 0,
            tombstone_bytes: 0,
            newest_tombstone_ns: 0,
            last_append_ns: 0,
            digest: 0,
            digest_exact: true,
        }
    }

    /// The salt of the file's checksums: the volume file's own.
    pub fn salt(&self) -> Salt {
        Salt::new(self.replica.as_bytes(), self.generation)
    }

    /// How long the whole file is.
    pub const fn file_bytes(&self) -> u64 {
        file_bytes(self.pages)
    }

    /// The first block of the file.
    pub fn to_bytes(&self) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        let mut out = &mut block[..];
        out.put_slice(&MAGIC);
        out.put_u16_le(VERSION);
        out.put_u16_le(u16::from(self.digest_exact));
        out.put_u32_le(self.volume.get());
        out.put_slice(self.replica.as_bytes());
        out.put_u64_le(self.generation);
        out.put_u32_le(self.covered_end.blocks());
        out.put_u32_le(0);
        out.put_u64_le(self.entries);
        out.put_u64_le(self.live_needles);
        out.put_u64_le(self.live_bytes);
        out.put_u64_le(self.tombstones);
        out.put_u64_le(self.last_append_ns);
        out.put_u128_le(self.digest);
        out.put_u64_le(self.tombstone_bytes);
        out.put_u64_le(self.newest_tombstone_ns);
        out.put_u64_le(self.pages);
        seal_block(&mut block, self.salt(), 0);
        block
    }

    /// Reads what [`IndexHead::to_bytes`] wrote. Bytes after the first block are ignored.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FormatError> {
        let block = bytes.first_chunk::<BLOCK_BYTES>().ok_or(FormatError::Short { what: WHAT })?;
        let mut left = &block[..CHECKSUM_AT];
        if left.get_u64_le() != u64::from_le_bytes(MAGIC) {
            return Err(FormatError::Magic { what: WHAT });
        }
        let version = left.get_u16_le();
        if version != VERSION {
            return Err(FormatError::Version { what: WHAT, got: version, supported: VERSION });
        }
        let exact = left.get_u16_le();
        let volume = VolumeId::new(left.get_u32_le());
        let mut replica = [0; 16];
        left.copy_to_slice(&mut replica);
        let generation = left.get_u64_le();
        let covered_end = NeedleOffset::from_blocks(left.get_u32_le());
        let reserved = left.get_u32_le();
        let head = Self {
            volume: volume.ok_or(FormatError::Field { what: "index volume id" })?,
            replica: Uuid::from_bytes(replica),
            generation,
            covered_end,
            entries: left.get_u64_le(),
            live_needles: left.get_u64_le(),
            live_bytes: left.get_u64_le(),
            tombstones: left.get_u64_le(),
            last_append_ns: left.get_u64_le(),
            digest: left.get_u128_le(),
            tombstone_bytes: left.get_u64_le(),
            newest_tombstone_ns: left.get_u64_le(),
            pages: left.get_u64_le(),
            digest_exact: exact == 1,
        };
        check_block(block, head.salt(), 0)?;
        if exact > 1 || reserved != 0 || left.iter().any(|&byte| byte != 0) {
            return Err(FormatError::Field { what: "index reserved bytes" });
        }
        Ok(head)
    }
}

/// How long an index file with so many entries may be at most.
pub const fn most_file_bytes(entries: u64) -> u64 {
    file_bytes(entries.div_ceil(page::MIN_ENTRIES_PER_PAGE as u64))
}

const fn file_bytes(pages: u64) -> u64 {
    pages.saturating_add(1).saturating_mul(BLOCK_BYTES as u64)
}

/// Checks the block at `position` of an index file.
pub fn check_block(block: &[u8], salt: Salt, position: u64) -> Result<(), FormatError> {
    let what = "index block";
    let block = block.first_chunk::<BLOCK_BYTES>().ok_or(FormatError::Short { what })?;
    let (fields, mut checksum) = block.split_at(CHECKSUM_AT);
    if checksum.get_u32_le() == salt.crc(position, fields) {
        Ok(())
    } else {
        Err(FormatError::Checksum { what })
    }
}

fn seal_block(block: &mut [u8; BLOCK_BYTES], salt: Salt, position: u64) {
    let (fields, mut checksum) = block.split_at_mut(CHECKSUM_AT);
    checksum.put_u32_le(salt.crc(position, fields));
}

#[cfg(test)]
mod tests {
    use super::page::{Page, PageBuilder};
    use super::*;
    use crate::id::Key;

    fn sample() -> IndexHead {
        IndexHead {
            volume: VolumeId::new(7).unwrap(),
            replica: Uuid::from_u128(0xfedc_ba98_7654_3210_0123_4567_89ab_cdef),
            generation: 3,
            covered_end: NeedleOffset::from_blocks(123_456),
            entries: 3,
            pages: 1,
            live_needles: 2,
            live_bytes: 4096,
            tombstones: 1,
            tombstone_bytes: 0,
            newest_tombstone_ns: 0,
            last_append_ns: 1_700_000_000_000_000_001,
            digest: 0x0123_4567_89ab_cdef_0f1e_2d3c_4b5a_6978,
            digest_exact: true,
        }
    }

    fn entries() -> Vec<(Key, Entry)> {
        let entry = |key, offset, size_blocks| {
            (Key::new(key), Entry { offset: NeedleOffset::from_blocks(offset), size_blocks })
        };
        vec![entry(1, 512, 20), entry(9, 532, 0), entry(u64::MAX, 540, 7)]
    }

    fn page(position: u64) -> [u8; BLOCK_BYTES] {
        let mut builder = PageBuilder::default();
        assert!(entries().into_iter().all(|(key, entry)| builder.push(key, entry)));
        builder.finish(sample().salt(), position).unwrap()
    }

    fn file() -> Vec<u8> {
        [sample().to_bytes(), page(BLOCK_BYTES as u64)].concat()
    }

    fn read(bytes: &[u8]) -> Result<(IndexHead, Vec<(Key, Entry)>), FormatError> {
        let head = IndexHead::from_bytes(bytes)?;
        let block = bytes.get(BLOCK_BYTES..).unwrap_or_default();
        check_block(block, head.salt(), BLOCK_BYTES as u64)?;
        let page = Page::of(block).ok_or(FormatError::Field { what: "index page" })?;
        page.check()?;
        Ok((head, page.entries().collect()))
    }

    #[test]
    fn round_trips() {
        assert_eq!(read(&file()), Ok((sample(), entries())));
        assert_eq!(sample().file_bytes(), file().len() as u64);
    }

    #[test]
    fn yesterdays_file_still_opens() {
        let golden = include_bytes!("../../../testdata/v2/index.bin");
        assert_eq!(read(golden), Ok((sample(), entries())));
        assert_eq!(file(), golden);
    }

    #[test]
    fn a_file_of_version_1_is_refused_by_its_version() {
        let golden = include_bytes!("../../../testdata/v1/index.bin");
        let refused = FormatError::Version { what: WHAT, got: 1, supported: 2 };
        assert_eq!(read(golden), Err(refused));
    }

    #[test]
    fn what_is_known_of_tombstones_is_kept() {
        let head = IndexHead { tombstone_bytes: 88, newest_tombstone_ns: 7, ..sample() };
        assert_eq!(IndexHead::from_bytes(&head.to_bytes()), Ok(head));
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let good = file();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            assert!(read(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn every_cut_is_found() {
        let good = file();
        for len in 0..good.len() {
            assert!(read(&good[..len]).is_err(), "length {len}");
        }
    }

    #[test]
    fn swapped_blocks_are_found() {
        let position = BLOCK_BYTES as u64;
        let salt = sample().salt();
        assert_eq!(check_block(&page(position), salt, position), Ok(()));
        assert!(check_block(&page(position), salt, 2 * position).is_err());
    }
}
