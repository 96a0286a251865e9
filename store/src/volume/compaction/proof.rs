//! Proving that a copy is on disk as it was meant, before the original goes.
//!
//! What a write was given is not always what the device keeps. So the copy is read back,
//! after the page cache has let go of it: every record with all its checksums, and as
//! many needles, bytes and the same digest as were written.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::super::digest::{Totals, content};
use super::super::live::Shared;
use super::super::progress::Progress;
use super::super::scanner::{Found, Scanner};
use super::super::verify::{read_superblock, readable};
use super::{CANCELLED, Piece, STEP_BYTES};
use crate::error::StoreError;
use crate::format::NeedleOffset;
use crate::format::needle::{Kind, NeedleHeader};
use crate::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use crate::storage::File;

/// What the kernel lets go of as a whole.
const PAGE_BYTES: u64 = 4096;

/// The one that proves.
pub(super) struct Prover {
    shared: Arc<Shared>,
    progress: Progress,
    superblock: Superblock,
    file: Arc<dyn File>,
    /// What was read back.
    read: Totals,
    /// Needles that were damaged in the original and are copied as they are.
    damaged: Vec<Range<u64>>,
    /// Everything below has been read back.
    proven_to: u64,
}

impl Prover {
    pub(super) fn new(
        shared: &Arc<Shared>,
        progress: &Progress,
        superblock: &Superblock,
        file: &Arc<dyn File>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            progress: progress.clone(),
            superblock: superblock.clone(),
            file: Arc::clone(file),
            read: Totals::default(),
            damaged: Vec::new(),
            proven_to: 0,
        }
    }

    pub(super) fn damaged_needles(&self) -> u64 {
        self.damaged.len() as u64
    }

    /// Makes durable, and reads back, one piece after the other as they are written.
    pub(super) fn follow(&mut self, pieces: Receiver<Piece>) -> Result<(), StoreError> {
        let pace = Arc::clone(&self.shared.options.pace);
        for piece in pieces {
            let step = pace.compaction.begin();
            self.file.sync().map_err(|error| self.io(error))?;
            drop(step);
            // The copy goes on in the last page, so memory does not let go of it.
            let whole_pages = piece.end - piece.end % PAGE_BYTES;
            self.prove(piece, whole_pages, true)?;
        }
        Ok(())
    }

    /// Reads back all that was written and synced, while nobody goes on writing.
    pub(super) fn prove_to_end(&mut self, piece: Piece, paced: bool) -> Result<(), StoreError> {
        let end = piece.end;
        self.prove(piece, end, paced)
    }

    /// Whether just what was written was read back.
    pub(super) fn compare(&self, written: Totals) -> Result<(), StoreError> {
        if self.read == written {
            Ok(())
        } else {
            Err(self.disproved(self.proven_to, "other records than were written"))
        }
    }

    /// Reads back from the disk the records that end at or below `until`.
    fn prove(&mut self, piece: Piece, until: u64, paced: bool) -> Result<(), StoreError> {
        let (file, pace) = (Arc::clone(&self.file), Arc::clone(&self.shared.options.pace));
        self.damaged.extend(piece.damaged);
        file.evict(self.proven_to..u64::MAX).map_err(|error| self.io(error))?;
        if self.proven_to == 0 {
            self.prove_superblock()?;
        }
        let mut step = pace.compaction.begin();
        let mut step_at = self.proven_to;
        let mut scanner = Scanner::new(&*file, self.superblock.salt(), step_at..piece.end);
        while let Some(found) = scanner.next() {
            let found = found.map_err(|error| self.io(error))?;
            let done_to = found.range().end;
            if done_to > until {
                break;
            }
            self.prove_found(&mut scanner, &found)?;
            self.proven_to = done_to;
            if paced && done_to - step_at >= STEP_BYTES as u64 {
                drop(step);
                // Clients' needles need the page cache more.
                file.evict(step_at..done_to).map_err(|error| self.io(error))?;
                if !pace.compaction.wait(done_to - step_at, &self.progress) {
                    return Err(CANCELLED);
                }
                (step, step_at) = (pace.compaction.begin(), done_to);
            }
        }
        Ok(())
    }

    fn prove_superblock(&mut self) -> Result<(), StoreError> {
        self.proven_to = SUPERBLOCK_BYTES as u64;
        match read_superblock(&*self.file) {
            Ok(superblock) if superblock == self.superblock => Ok(()),
            Ok(_) => Err(self.disproved(0, "another superblock")),
            Err(error) => Err(self.disproved(0, &error.to_string())),
        }
    }

    fn prove_found(&mut self, scanner: &mut Scanner<'_>, found: &Found) -> Result<(), StoreError> {
        let range = found.range();
        let (offset, header) = match *found {
            Found::Record { offset, header } => (offset, header),
            Found::Damage(_) if self.is_expected(&range) => return Ok(()),
            Found::Damage(_) => return Err(self.disproved(range.start, "no readable record")),
        };
        match header.kind {
            Kind::Data => self.read.add(header.record_bytes(), content(&header)),
            Kind::Tombstone => self.read.add_tombstone(&header),
            Kind::Abort => return Err(self.disproved(range.start, "a record that was not written")),
        }
        // Of a tombstone, the header is all that deletes.
        if header.kind == Kind::Data
            && let Err(reason) = self.read_back(scanner, offset, &header)?
            && !self.is_expected(&range)
        {
            return Err(self.disproved(range.start, &reason));
        }
        if self.progress.advance(header.record_bytes()) { Ok(()) } else { Err(CANCELLED) }
    }

    fn read_back(
        &self,
        scanner: &mut Scanner<'_>,
        offset: NeedleOffset,
        header: &NeedleHeader,
    ) -> Result<Result<(), String>, StoreError> {
        readable(scanner.check(offset, header)).map_err(|error| self.io(error))
    }

    /// Whether all of `range` was damaged in the original.
    fn is_expected(&self, range: &Range<u64>) -> bool {
        let first = self.damaged.partition_point(|damaged| damaged.start < range.start);
        let within = self.damaged.iter().skip(first).take_while(|damaged| damaged.end <= range.end);
        within.map(|damaged| damaged.end - damaged.start).sum::<u64>() == range.end - range.start
    }

    /// The copy is thrown away and the original stays.
    fn disproved(&self, offset: u64, found: &str) -> StoreError {
        tracing::error!(volume = %self.shared.id, offset, found, "a compacted copy does not read back as it was written and is thrown away");
        self.io(std::io::Error::other(format!(
            "the compacted copy does not read back as it was written (at offset {offset}: {found}); the volume is as it was: check the disk"
        )))
    }

    fn io(&self, error: std::io::Error) -> StoreError {
        self.shared.copy_error(error)
    }
}
