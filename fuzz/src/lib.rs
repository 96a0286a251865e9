//! What the fuzz targets share: checksums made right again, so that the fuzzer reaches what is
//! behind them.

use hayrick_store::VolumeId;
use hayrick_store::format::index::BLOCK_BYTES;
use hayrick_store::format::needle::{HEADER_BYTES, MAGIC};
use hayrick_store::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use hayrick_store::format::{ALIGNMENT, Salt};
use uuid::Uuid;

/// The superblock of every volume here.
pub fn superblock() -> Superblock {
    Superblock {
        cluster: Uuid::from_u128(1),
        volume: volume_id(),
        replica: Uuid::from_u128(2),
        generation: 1,
        created_ms: 0,
    }
}

/// The id of every volume here.
pub fn volume_id() -> VolumeId {
    VolumeId::new(7).unwrap_or_else(|| unreachable!("7 is not 0"))
}

/// A volume file with `records` behind a good superblock, and a right checksum wherever a
/// record seems to start.
pub fn volume_file(records: &[u8]) -> Vec<u8> {
    let mut file = superblock().to_bytes().to_vec();
    file.extend_from_slice(records);
    let salt = superblock().salt();
    let step = ALIGNMENT as usize;
    for at in (SUPERBLOCK_BYTES..file.len()).step_by(step) {
        if let Some(header) = file.get_mut(at..at + HEADER_BYTES)
            && header.starts_with(&MAGIC)
        {
            seal(header, salt, at as u64);
        }
    }
    file
}

/// An index file with right checksums in every block.
pub fn index_file(blocks: &[u8]) -> Vec<u8> {
    let mut file = blocks.to_vec();
    let salt = superblock().salt();
    for (number, block) in file.chunks_exact_mut(BLOCK_BYTES).enumerate() {
        seal(block, salt, (number * BLOCK_BYTES) as u64);
    }
    file
}

/// Ends `bytes` with the checksum of what stands before it.
pub fn seal(bytes: &mut [u8], salt: Salt, position: u64) {
    let at = bytes.len() - 4;
    let (fields, checksum) = bytes.split_at_mut(at);
    checksum.copy_from_slice(&salt.crc(position, fields).to_le_bytes());
}
