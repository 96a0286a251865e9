//! The index file's part of a pass.
//!
//! Memory has all of it, so nobody would miss a rotten one before the next start, which
//! would then scan the volume. It is also the second witness of who the volume file is.

use std::io;

use super::state::{IndexTurn, Pass};
use super::{ScrubStep, Volume};
use crate::error::StoreError;
use crate::format::FormatError;
use crate::format::index::{BLOCK_BYTES, IndexHead, check_block};
use crate::format::superblock::Superblock;
use crate::storage::{Disk, is_device_error, read_up_to};
use crate::volume::files;

/// Why the index file is of no use.
#[derive(Debug, thiserror::Error)]
enum Rot {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Volume {
    /// Reads some of the index file, from `position` on.
    pub(super) fn scrub_index(
        &self,
        pass: &Pass,
        position: u64,
        step_bytes: u64,
    ) -> Result<ScrubStep, StoreError> {
        let superblock = self.shared.live.read().superblock.clone();
        let read = read_some(&*self.shared.disk, &superblock, position, step_bytes);
        let (turn, index_problem) = match read {
            Ok(turn) => (turn, None),
            Err(Rot::Io(error)) if !is_lost(&error) => {
                return Err(StoreError::io(self.id(), error));
            }
            // A compaction has taken it away; the new one has just been written.
            Err(_) if self.shared.live.read().superblock != superblock => (IndexTurn::Over, None),
            Err(rot) => (IndexTurn::Over, Some(rot.to_string())),
        };
        let mut state = self.shared.scrub.lock();
        if let Some(current) = state.pass.as_mut().filter(|current| *current == pass) {
            current.index = turn;
        }
        let bytes = match turn {
            IndexTurn::ReadTo(end) => end - position,
            IndexTurn::Over => 0,
        };
        Ok(ScrubStep { bytes, index_problem, ..ScrubStep::default() })
    }
}

/// Whether `error` says that the file, or a piece of it, is gone for good.
fn is_lost(error: &io::Error) -> bool {
    is_device_error(error) || error.kind() == io::ErrorKind::NotFound
}

/// Checks the blocks from `position` on. Each has a checksum of its own that begins with its
/// place, so it makes no difference if a checkpoint replaces the file between two steps.
fn read_some(
    disk: &dyn Disk,
    superblock: &Superblock,
    position: u64,
    step_bytes: u64,
) -> Result<IndexTurn, Rot> {
    let file = disk.open(&files::index(superblock.volume, superblock.generation))?;
    let len = step_bytes.max(1).next_multiple_of(BLOCK_BYTES as u64);
    let end = position + len;
    // What the page cache holds proves nothing about the device. Where the system does not
    // drop it, the scrub proves less, and nothing is lost.
    let _ = file.evict(position..end);
    let mut bytes = Vec::new();
    read_up_to(&*file, &mut bytes, usize::try_from(len).unwrap_or(usize::MAX), position)?;
    let _ = file.evict(position..end);
    if position == 0 {
        check_head(&bytes, superblock, file.size_bytes()?)?;
    }
    for (block, at) in bytes.chunks(BLOCK_BYTES).zip((position..).step_by(BLOCK_BYTES)) {
        check_block(block, superblock.salt(), at)?;
    }
    Ok(if bytes.is_empty() {
        IndexTurn::Over
    } else {
        IndexTurn::ReadTo(position + bytes.len() as u64)
    })
}

fn check_head(bytes: &[u8], superblock: &Superblock, file_bytes: u64) -> Result<(), FormatError> {
    let head = IndexHead::from_bytes(bytes)?;
    if (head.volume, head.file_bytes()) == (superblock.volume, file_bytes) {
        Ok(())
    } else {
        Err(FormatError::Short { what: "index file" })
    }
}
