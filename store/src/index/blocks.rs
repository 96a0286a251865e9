//! The blocks of an index file, in memory.
//!
//! They are read, not mapped: a bad sector under a mapping ends the whole process with
//! SIGBUS, and a page that memory pressure has reclaimed costs a lookup another disk
//! access. What is here was checked while it was read, cannot be written to any more, and
//! a lookup never waits for a disk.

use std::io;

use memmap2::{Advice, Mmap, MmapMut};

use crate::format::FormatError;
use crate::format::index::{BLOCK_BYTES, IndexHead, check_block};
use crate::storage::{File, read_up_to};

use super::SealError;

/// Read in one call.
const STEP_BYTES: usize = 1 << 20;

/// All blocks of entries of one index file.
pub(super) struct Blocks(Mmap);

impl Blocks {
    /// Reads and checks the blocks behind `head`, which is the head of `file`.
    pub(super) fn read(file: &dyn File, head: &IndexHead) -> Result<Self, SealError> {
        let bytes = usize::try_from(head.file_bytes()).map_err(io::Error::other)? - BLOCK_BYTES;
        let mut memory = MmapMut::map_anon(bytes)?;
        // Lookups jump all over it, and small pages would cost each of them more than the
        // reading does. A system that has no large ones does without.
        let _ = memory.advise(Advice::HugePage);
        let mut position = BLOCK_BYTES as u64;
        let mut read = Vec::with_capacity(STEP_BYTES);
        for step in memory.chunks_mut(STEP_BYTES) {
            read.clear();
            if read_up_to(file, &mut read, step.len(), position)? < step.len() {
                return Err(FormatError::Short { what: "index file" }.into());
            }
            for (block, at) in read.chunks(BLOCK_BYTES).zip((position..).step_by(BLOCK_BYTES)) {
                check_block(block, head.salt(), at)?;
            }
            step.copy_from_slice(&read);
            position += read.len() as u64;
        }
        Ok(Self(memory.make_read_only()?))
    }

    /// Block number `number` of entries.
    pub(super) fn get(&self, number: u64) -> Option<&[u8]> {
        let start = usize::try_from(number).ok()?.checked_mul(BLOCK_BYTES)?;
        self.0.get(start..start.checked_add(BLOCK_BYTES)?)
    }
}
