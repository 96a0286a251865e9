//! Reading every byte of a volume and naming what is lost.

use std::collections::HashSet;
use std::io;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::identity::{proven_head, stand_in};
use super::progress::Progress;
use super::recovery::recover;
use super::scanner::{Found, Scanner};
use crate::format::index::Entry;
use crate::format::needle::{Kind, NeedleHeader};
use crate::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use crate::format::{FormatError, NeedleOffset, Salt};
use crate::id::{Key, VolumeId};
use crate::index::{self, Index, Sealed};
use crate::pace::Pacer;
use crate::storage::{File, is_device_error, read_up_to};

/// Of what stands at the end and cannot be read.
const UNPROVEN: &str =
    "not whole: a torn write that was never acknowledged, or damaged since it was written";

/// Of a deletion that stands, though the name it was made for cannot be read any more.
const IN_A_TOMBSTONE: &str = "in a tombstone, which still deletes: ";

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The volume.
    pub volume: VolumeId,
    /// Live needles whose every byte was read and is right.
    pub good_needles: u64,
    /// Bytes of their records.
    pub good_bytes: u64,
    /// Bytes of the file up to which was read.
    pub file_bytes: u64,
    /// What cannot be read, in the file's order; empty for a healthy volume.
    pub damaged: Vec<Damaged>,
}

/// A piece of a volume file that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub size_bytes: u64,
    /// The live needle that is lost, where that is known; `None` where no live needle is.
    pub key: Option<Key>,
    /// What does not match.
    pub reason: String,
}

/// Why a volume file could not be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It does not start with a readable superblock.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Somebody asked to stop.
    #[error("the verification was cancelled")]
    Cancelled,
}

/// Verifies a volume file that no store has open.
///
/// From the volume file alone it cannot be told whether its last records were ever
/// acknowledged, so what a start would take back or cut off is reported, whatever it was: the
/// torn end of a write that nobody was told of, or a loss. A good index file tells the losses
/// apart, by key, and stands in for a rotten superblock.
pub fn verify_file(
    file: &dyn File,
    index_file: Option<&dyn File>,
    progress: &Progress,
) -> Result<VerifyReport, VerifyError> {
    let (superblock, lost) = match read_superblock(file) {
        Err(VerifyError::Format(reason)) if !matches!(reason, FormatError::Version { .. }) => {
            let head = index_file.map_or(Ok(None), |index| proven_head(file, index))?;
            let head = head.ok_or_else(|| reason.clone())?;
            (stand_in(Uuid::nil(), &head), Some(reason))
        }
        superblock => (superblock?, None),
    };
    let size_bytes = file.size_bytes()?;
    // One that does not fit the volume is no help, and no damage: it is only a cache.
    let sealed = index_file.and_then(|index| Sealed::open(index, &superblock, size_bytes).ok());
    let recovered = recover(file, superblock.salt(), sealed.unwrap_or_default())?;
    let index = |use_it: &mut dyn FnMut(&Index)| {
        use_it(&recovered.index);
        true
    };
    let target = Target {
        volume: superblock.volume,
        salt: superblock.salt(),
        range: SUPERBLOCK_BYTES as u64..size_bytes,
        index: &index,
        doubtful: recovered.doubtful.iter().copied().collect(),
        pacer: None,
    };
    let report = verify(file, &target, progress)?;
    // Nobody replaces a file that no store has open.
    let mut report = report.ok_or(VerifyError::Cancelled)?;
    if let Some(reason) = lost {
        let size_bytes = SUPERBLOCK_BYTES as u64;
        report
            .damaged
            .insert(0, Damaged { offset: 0, size_bytes, key: None, reason: reason.to_string() });
    }
    Ok(report)
}

/// Reads the superblock of a volume file.
pub fn read_superblock(file: &dyn File) -> Result<Superblock, VerifyError> {
    let mut bytes = Vec::with_capacity(SUPERBLOCK_BYTES);
    read_up_to(file, &mut bytes, SUPERBLOCK_BYTES, 0)?;
    Ok(Superblock::from_bytes(&bytes)?)
}

/// Lends the index for a moment; false if there is none of this file any more. The lock on a
/// running volume's index is not held between.
pub(super) type LendIndex<'a> = &'a dyn Fn(&mut dyn FnMut(&Index)) -> bool;

/// Read between two rests.
const STEP_BYTES: u64 = 1 << 20;

/// What is verified, and against what.
pub(super) struct Target<'a> {
    pub volume: VolumeId,
    pub salt: Salt,
    /// Of the file.
    pub range: Range<u64>,
    pub index: LendIndex<'a>,
    /// Keys of records that a start would take back: nobody was told of them, or they are
    /// what rot has left of a last write. Which of the two it is, the file cannot tell.
    pub doubtful: HashSet<Key>,
    /// How fast it may be read, where others need the disk.
    pub pacer: Option<&'a Pacer>,
}

/// Verifies the records in the target's range; `None` if the file is no longer the volume's.
pub(super) fn verify(
    file: &dyn File,
    target: &Target<'_>,
    progress: &Progress,
) -> Result<Option<VerifyReport>, VerifyError> {
    let Target { volume, salt, ref range, index, .. } = *target;
    progress.expect(range.end - range.start);
    let file_bytes = range.end;
    let mut report =
        VerifyReport { volume, good_needles: 0, good_bytes: 0, file_bytes, damaged: Vec::new() };
    let mut scanner = Scanner::new(file, salt, range.clone());
    let mut step = target.pacer.map(Pacer::begin);
    let mut step_bytes = 0;
    while let Some(found) = scanner.next() {
        let size_bytes = match found? {
            Found::Damage(damage) => {
                report.note_damage(&damage, index);
                damage.end - damage.start
            }
            Found::Record { offset, header } => {
                let size_bytes = header.record_bytes();
                match target.check(&mut scanner, offset, &header)? {
                    None => {}
                    Some(Ok(())) => report.note_good(size_bytes),
                    Some(Err(reason)) => {
                        let lost = (header.kind == Kind::Data).then_some(header.key);
                        report.note_bad(offset.bytes(), size_bytes, lost, reason);
                    }
                }
                size_bytes
            }
        };
        if !progress.advance(size_bytes) {
            return Err(VerifyError::Cancelled);
        }
        step_bytes += size_bytes;
        if step_bytes >= STEP_BYTES {
            drop(step.take());
            if !target.rest(step_bytes, progress) {
                return Err(VerifyError::Cancelled);
            }
            if !index(&mut |_| ()) {
                return Ok(None);
            }
            step = target.pacer.map(Pacer::begin);
            step_bytes = 0;
        }
    }
    drop(step);
    Ok(index(&mut |_| ()).then_some(report))
}

impl Target<'_> {
    /// Lets others have the disk; false if the task should stop.
    fn rest(&self, bytes: u64, progress: &Progress) -> bool {
        self.pacer.is_none_or(|pacer| pacer.wait(bytes, progress))
    }

    /// Whether a record is readable; `None` for one that need not be.
    fn check(
        &self,
        scanner: &mut Scanner<'_>,
        offset: NeedleOffset,
        header: &NeedleHeader,
    ) -> io::Result<Option<Result<(), String>>> {
        match header.kind {
            Kind::Data => {}
            Kind::Tombstone if header.meta_size > 0 => {
                let checked = readable(scanner.check(offset, header))?;
                return Ok(checked.err().map(|reason| Err(format!("{IN_A_TOMBSTONE}{reason}"))));
            }
            Kind::Tombstone | Kind::Abort => return Ok(None),
        }
        let newest = is_newest(self.index, header.key, offset.bytes());
        if !newest && !self.doubtful.contains(&header.key) {
            return Ok(None);
        }
        if newest {
            readable(scanner.check(offset, header)).map(Some)
        } else {
            Ok(Some(Err(UNPROVEN.to_owned())))
        }
    }
}

/// What is wrong with a body, in words. Where the device fails to read it, that is what is wrong.
pub(super) fn readable(
    checked: io::Result<Result<(), FormatError>>,
) -> io::Result<Result<(), String>> {
    match checked {
        Err(error) if is_device_error(&error) => Ok(Err(error.to_string())),
        checked => Ok(checked?.map_err(|reason| reason.to_string())),
    }
}

fn is_newest(lend: LendIndex<'_>, key: Key, offset: u64) -> bool {
    let mut newest = false;
    lend(&mut |index| {
        newest = index
            .get(key)
            .is_some_and(|entry| !entry.is_tombstone() && entry.offset.bytes() == offset);
    });
    newest
}

impl VerifyReport {
    fn note_good(&mut self, size_bytes: u64) {
        self.good_needles += 1;
        self.good_bytes += size_bytes;
    }

    fn note_bad(&mut self, offset: u64, size_bytes: u64, key: Option<Key>, reason: String) {
        self.damaged.push(Damaged { offset, size_bytes, key, reason });
    }

    fn note_damage(&mut self, damage: &Range<u64>, lend: LendIndex<'_>) {
        let mut snapshot = Default::default();
        lend(&mut |index| snapshot = index.snapshot());
        self.damaged.extend(lost_in(damage, snapshot));
    }
}

/// A stretch without readable headers: the index may still know which needles it held. Of what
/// lies behind the end of its file it knows only what could be read, so there the rest of the
/// stretch is named too, without a key.
pub(super) fn lost_in(
    damage: &Range<u64>,
    (recent, sealed): (Vec<(Key, Entry)>, Sealed),
) -> Vec<Damaged> {
    let reason = FormatError::Checksum { what: "needle header" }.to_string();
    let covered_end = sealed.covered_end().bytes();
    let entries = index::merge(recent, sealed).filter(|(_, entry)| !entry.is_tombstone());
    let known = entries.filter(|(_, entry)| damage.contains(&entry.offset.bytes()));
    let known = known.map(|(key, entry)| Damaged {
        offset: entry.offset.bytes(),
        size_bytes: entry.record_bytes(),
        key: Some(key),
        reason: reason.clone(),
    });
    let mut lost: Vec<_> = known.collect();
    lost.sort_unstable_by_key(|damaged| damaged.offset);
    let unknown_from = if lost.is_empty() { 0 } else { covered_end };
    let unknown = unknown_from.max(damage.start)..damage.end;
    let gaps = gaps(&unknown, &lost).into_iter().map(|gap| Damaged {
        offset: gap.start,
        size_bytes: gap.end - gap.start,
        key: None,
        reason: reason.clone(),
    });
    let gaps: Vec<_> = gaps.collect();
    lost.extend(gaps);
    lost.sort_unstable_by_key(|damaged| damaged.offset);
    lost
}

/// The parts of `range` in which none of `damaged` lies, which come by offset.
fn gaps(range: &Range<u64>, damaged: &[Damaged]) -> Vec<Range<u64>> {
    let mut start = range.start;
    let mut gaps = Vec::new();
    for Damaged { offset, size_bytes, .. } in damaged {
        if start < *offset {
            gaps.push(start..*offset);
        }
        start = start.max(offset + size_bytes);
    }
    gaps.push(start..range.end);
    gaps.retain(|gap| !gap.is_empty());
    gaps
}
