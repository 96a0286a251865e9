//! Proving that a copy is on disk as it was meant, before the original goes.
//!
//! What a write was given is not always what the device keeps. So the copy is read back,
//! after the page cache has let go of it: every record with all its checksums, and as
//! many needles, bytes and the same digest as were written.

use std::ops::Range;
use std::sync::Arc;

use super::super::digest::{Totals, content};
use super::super::scanner::{Found, Scanner};
use super::super::verify::{read_superblock, readable};
use super::{CANCELLED, Copy, STEP_BYTES};
use crate::error::StoreError;
use crate::format::NeedleOffset;
use crate::format::needle::{Kind, NeedleHeader};
use crate::format::superblock::SUPERBLOCK_BYTES;

/// What was written, and how far it has been read back.
#[derive(Default)]
pub(super) struct Proof {
    /// Of everything written, whatever became of it since.
    written: Totals,
    read: Totals,
    /// Needles that were damaged in the original and are copied as they are.
    damaged: Vec<Range<u64>>,
    /// Everything below has been read back.
    proven_to: u64,
}

impl Proof {
    pub(super) fn expect_needle(&mut self, header: &NeedleHeader) {
        self.written.add(header.record_bytes(), content(header));
    }

    pub(super) fn expect_tombstone(&mut self, header: &NeedleHeader) {
        self.written.add_tombstone(header);
    }

    pub(super) fn expect_damage(&mut self, range: Range<u64>) {
        self.damaged.push(range);
    }

    pub(super) fn damaged_needles(&self) -> u64 {
        self.damaged.len() as u64
    }

    /// Whether all of `range` was damaged in the original.
    fn is_expected(&self, range: &Range<u64>) -> bool {
        // They are noted in the file's order.
        let first = self.damaged.partition_point(|damaged| damaged.start < range.start);
        let within = self.damaged.iter().skip(first).take_while(|damaged| damaged.end <= range.end);
        within.map(|damaged| damaged.end - damaged.start).sum::<u64>() == range.end - range.start
    }
}

impl Copy {
    /// Reads back from the disk what was written and synced since the last time.
    pub(super) fn prove_copied(&mut self, paced: bool) -> Result<(), StoreError> {
        let (file, pace) = (Arc::clone(&self.file), Arc::clone(&self.shared.options.pace));
        file.evict(0..u64::MAX).map_err(|error| self.io(error))?;
        if self.proof.proven_to == 0 {
            self.prove_superblock()?;
        }
        let mut step = pace.compaction.begin();
        let mut step_at = self.proof.proven_to;
        let mut scanner = Scanner::new(&*file, self.salt, step_at..self.end);
        while let Some(found) = scanner.next() {
            let found = found.map_err(|error| self.io(error))?;
            let done_to = self.prove_found(&mut scanner, found)?;
            if paced && done_to - step_at >= STEP_BYTES as u64 {
                drop(step);
                // Clients' needles need the page cache more.
                file.evict(0..done_to).map_err(|error| self.io(error))?;
                if !pace.compaction.wait(done_to - step_at, &self.progress) {
                    return Err(CANCELLED);
                }
                (step, step_at) = (pace.compaction.begin(), done_to);
            }
        }
        drop(step);
        self.proof.proven_to = self.end;
        if self.proof.read == self.proof.written {
            Ok(())
        } else {
            Err(self.disproved(self.end, "other records than were written"))
        }
    }

    fn prove_superblock(&mut self) -> Result<(), StoreError> {
        self.proof.proven_to = SUPERBLOCK_BYTES as u64;
        match read_superblock(&*self.file) {
            Ok(superblock) if superblock == self.superblock => Ok(()),
            Ok(_) => Err(self.disproved(0, "another superblock")),
            Err(error) => Err(self.disproved(0, &error.to_string())),
        }
    }

    /// Checks a record that was read back, and tells where it ends.
    fn prove_found(&mut self, scanner: &mut Scanner<'_>, found: Found) -> Result<u64, StoreError> {
        let (offset, header) = match found {
            Found::Record { offset, header } => (offset, header),
            Found::Damage(range) if self.proof.is_expected(&range) => return Ok(range.end),
            Found::Damage(range) => return Err(self.disproved(range.start, "no readable record")),
        };
        let range = offset.bytes()..offset.bytes() + header.record_bytes();
        match header.kind {
            Kind::Data => self.proof.read.add(header.record_bytes(), content(&header)),
            Kind::Tombstone => self.proof.read.add_tombstone(&header),
            Kind::Abort => return Err(self.disproved(range.start, "a record that was not written")),
        }
        // Of a tombstone, the header is all that deletes.
        if header.kind == Kind::Data
            && let Err(reason) = self.read_back(scanner, offset, &header)?
            && !self.proof.is_expected(&range)
        {
            return Err(self.disproved(range.start, &reason));
        }
        let known = self.index.get(header.key);
        if known.is_none_or(|newest| newest.offset < offset) {
            return Err(self.disproved(range.start, "a needle that the new index does not know"));
        }
        if self.progress.advance(header.record_bytes()) { Ok(range.end) } else { Err(CANCELLED) }
    }

    fn read_back(
        &self,
        scanner: &mut Scanner<'_>,
        offset: NeedleOffset,
        header: &NeedleHeader,
    ) -> Result<Result<(), String>, StoreError> {
        readable(scanner.check(offset, header)).map_err(|error| self.io(error))
    }

    /// The copy is thrown away and the original stays.
    fn disproved(&self, offset: u64, found: &str) -> StoreError {
        tracing::error!(volume = %self.shared.id, offset, found, "a compacted copy does not read back as it was written and is thrown away");
        self.io(std::io::Error::other(format!(
            "the compacted copy does not read back as it was written (at offset {offset}: {found}); the volume is as it was: check the disk"
        )))
    }
}
