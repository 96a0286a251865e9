//! Reading a whole volume in the background, bit by bit, to find what has rotted.
//!
//! A step reads a few MiB and holds no lock while it does, so nothing waits for a
//! scrub. When it is done it looks whether the file is still the volume's: if a
//! compaction has replaced it meanwhile, what the step read does not count, and the
//! pass goes on at the same needle of the new file.
//!
//! A pass begins with the index file. That is only a cache, so a rotten one is written again.
//!
//! What was deleted is not read, only its header, which leads to the next record. What
//! the device fails to read is a finding like any other, and nothing is done to it.

mod index;
mod state;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use state::{Finding, Pass, ScrubState};

use rustix::io::Errno;

use super::live::{Live, Shared};
use super::scanner::{Found, Scanner};
use super::verify::{Damaged, lost_in, read_superblock, readable};
use super::{Volume, files};
use crate::error::StoreError;
use crate::format::needle::{Kind, MAX_DATA_BYTES, MAX_META_BYTES, NeedleHeader, record_bytes};
use crate::format::superblock::{SUPERBLOCK_BYTES, Superblock};
use crate::format::{ALIGNMENT, FormatError, NeedleOffset};
use crate::id::VolumeId;
use crate::storage::{Disk, File, is_device_error, read_up_to};
use state::{IndexTurn, Scanned};

/// A record that begins within a step ends within this much behind it.
const MAX_RECORD_BYTES: u64 = record_bytes(MAX_DATA_BYTES, MAX_META_BYTES);

/// A scrub file is no longer than this.
const MAX_FILE_BYTES: usize = 4 << 20;

/// The system keeps a file in pieces of up to this size, and drops none of which it is
/// asked to drop only a part.
const CACHE_UNIT_BYTES: u64 = 4 << 20;

/// Dropped from the page cache at a time.
const FORGET_BYTES: u64 = 64 << 20;

/// Why a header was not read that a bad sector hides.
const DEVICE_ERROR: &str = "the device failed to read it";

/// What a step did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScrubStep {
    /// Bytes of the file that it went over.
    pub bytes: u64,
    /// Whether the pass is over.
    pub is_over: bool,
    /// What it found that was not known before.
    pub found: Vec<Damaged>,
    /// What is wrong with the index file, which is to be written again.
    pub index_problem: Option<String>,
}

/// What decides which volume is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubTurn {
    /// Somebody asked for a pass now.
    pub asked: bool,
    /// A pass is under way.
    pub is_under_way: bool,
    /// When the last full pass began, in milliseconds since 1970.
    pub last_began_ms: Option<u64>,
}

impl Volume {
    /// Takes the current pass about `step_bytes` further, or begins one.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the system failed for other reasons than a bad device.
    pub fn scrub_step(&self, step_bytes: u64) -> Result<ScrubStep, StoreError> {
        let shared = &self.shared;
        let now_ms = unix_ms();
        let (view, pass) = {
            let mut state = shared.scrub.lock();
            let live = shared.live.read();
            state.follow(&live);
            (View::of(&live), state.current_pass(&live, now_ms))
        };
        if let IndexTurn::ReadTo(position) = pass.index {
            return self.scrub_index(&pass, position, step_bytes);
        }
        let scanned = view
            .scan(shared, &pass, step_bytes)
            .map_err(|error| StoreError::io(self.id(), error))?;
        let bytes = scanned.position - pass.position;
        let mut state = shared.scrub.lock();
        let is_same_file = shared.live.read().superblock == view.superblock;
        if !is_same_file || state.pass.as_ref() != Some(&pass) {
            return Ok(ScrubStep { bytes, ..ScrubStep::default() });
        }
        let met_device_error = scanned.met_device_error;
        let found = state.advance(scanned, now_ms);
        if met_device_error && !found.is_empty() {
            shared.note_device_error(&Errno::IO.into());
        }
        Ok(ScrubStep { bytes, is_over: state.pass.is_none(), found, index_problem: None })
    }

    /// What the scrub knows of the volume now.
    pub fn scrub_state(&self) -> ScrubState {
        let mut state = self.shared.scrub.lock();
        state.follow(&self.shared.live.read());
        state.clone()
    }

    /// Whether it is this volume's turn.
    pub fn scrub_turn(&self) -> ScrubTurn {
        let state = self.shared.scrub.lock();
        ScrubTurn {
            asked: state.asked,
            is_under_way: state.pass.is_some(),
            last_began_ms: state.last_pass.map(|(began, _)| began),
        }
    }

    /// Asks for a pass from the beginning.
    pub fn ask_for_scrub(&self) {
        let mut state = self.shared.scrub.lock();
        state.asked = true;
        state.pass = None;
    }

    /// Writes down how far the scrub has come. Losing that costs nothing but reading again.
    pub fn save_scrub(&self) -> Result<(), StoreError> {
        let bytes = self.scrub_state().to_bytes().map_err(io::Error::from);
        let saved = bytes.and_then(|bytes| save(&*self.shared.disk, self, &bytes));
        saved.map_err(|error| StoreError::io(self.id(), error))
    }
}

fn save(disk: &dyn Disk, volume: &Volume, bytes: &[u8]) -> io::Result<()> {
    let name = files::scrub(volume.id());
    volume.shared.fence.while_there(|| files::replace(disk, &name, bytes))
}

/// What the scrub file tells; nothing where there is none, or none that can be believed.
pub(super) fn load(disk: &dyn Disk, live: &Live) -> ScrubState {
    let id = live.superblock.volume;
    let mut state = read_file(disk, id).unwrap_or_default();
    state.reopen(live);
    state
}

fn read_file(disk: &dyn Disk, id: VolumeId) -> Option<ScrubState> {
    let file = disk.open(&files::scrub(id)).ok()?;
    let mut bytes = Vec::new();
    let read = read_up_to(&*file, &mut bytes, MAX_FILE_BYTES, 0);
    let state = read.ok().and_then(|_| ScrubState::from_bytes(&bytes));
    if state.is_none() {
        tracing::warn!(volume = %id, "scrub file not readable: the scrub of this volume begins anew");
    }
    state
}

/// The volume file as a step finds it.
struct View {
    file: Arc<dyn File>,
    superblock: Superblock,
    end: u64,
}

impl View {
    fn of(live: &Live) -> Self {
        let (file, superblock) = (Arc::clone(&live.file), live.superblock.clone());
        Self { file, superblock, end: live.end.bytes() }
    }

    fn scan(&self, shared: &Shared, pass: &Pass, step_bytes: u64) -> io::Result<Scanned> {
        let mut scanned = Scanned { position: pass.position, ..Scanned::default() };
        if scanned.position == 0 {
            scanned.damaged.extend(self.check_superblock()?);
            scanned.position = SUPERBLOCK_BYTES as u64;
        }
        let start = scanned.position;
        let step_end = start + step_bytes.max(1).next_multiple_of(ALIGNMENT);
        let limit = self.end.min(step_end + MAX_RECORD_BYTES);
        // What the page cache holds proves nothing about the device. But what was read
        // ahead since the last step must not be read again.
        scanned.forgotten_to = self.forget_ahead(pass, start, limit);
        let mut scanner = Scanner::new(&*self.file, self.superblock.salt(), start..limit);
        while scanned.position < step_end.min(pass.until) {
            let Some(found) = scanner.next() else { break };
            match found? {
                Found::Record { offset, header } => {
                    scanned.note(check(shared, &mut scanner, offset, &header)?, &header);
                    scanned.position = offset.bytes() + header.record_bytes();
                }
                Found::Damage(mut damage) => {
                    if damage.end == limit && limit < self.end {
                        // From here on records may have been overlooked, because they end
                        // beyond the limit.
                        damage.end = step_end;
                    }
                    let index = shared.live.read().index.snapshot();
                    let mut lost = lost_in(&damage, index);
                    if scanner.met_device_error() {
                        for lost in &mut lost {
                            DEVICE_ERROR.clone_into(&mut lost.reason);
                        }
                    }
                    scanned.damaged.append(&mut lost);
                    scanned.position = damage.end;
                }
            }
        }
        scanned.met_device_error = scanner.met_device_error();
        // And clients' needles need the cache more.
        self.evict(start - start % CACHE_UNIT_BYTES..scanned.position);
        Ok(scanned)
    }

    fn evict(&self, range: Range<u64>) {
        if !range.is_empty() {
            // Where the system does not do it, the scrub proves less, and nothing is lost.
            let _ = self.file.evict(range);
        }
    }

    /// Drops what will be read up to `limit`, and more, from the page cache, and tells up to where.
    fn forget_ahead(&self, pass: &Pass, start: u64, limit: u64) -> u64 {
        if limit <= pass.forgotten_to {
            return pass.forgotten_to;
        }
        let from = pass.forgotten_to.max(start - start % CACHE_UNIT_BYTES);
        let to = limit.next_multiple_of(FORGET_BYTES);
        self.evict(from..to);
        to
    }

    /// Without its superblock, the volume's index file is all that says who it is.
    fn check_superblock(&self) -> io::Result<Option<Damaged>> {
        self.evict(0..SUPERBLOCK_BYTES as u64);
        let reason = match read_superblock(&*self.file) {
            Ok(superblock) if superblock == self.superblock => return Ok(None),
            Ok(_) => FormatError::Field { what: "superblock" }.to_string(),
            Err(super::VerifyError::Io(error)) if !is_device_error(&error) => return Err(error),
            Err(error) => error.to_string(),
        };
        let size_bytes = SUPERBLOCK_BYTES as u64;
        Ok(Some(Damaged { offset: 0, size_bytes, key: None, reason }))
    }
}

/// What was found out about a record.
enum Checked {
    /// Nobody reads it any more.
    Dead,
    Good,
    Bad(Damaged),
}

fn check(
    shared: &Shared,
    scanner: &mut Scanner<'_>,
    offset: NeedleOffset,
    header: &NeedleHeader,
) -> io::Result<Checked> {
    let newest = shared.live.read().index.get(header.key);
    let is_newest = newest.is_some_and(|entry| !entry.is_tombstone() && entry.offset == offset);
    if header.kind != Kind::Data || !is_newest {
        return Ok(Checked::Dead);
    }
    Ok(match readable(scanner.check(offset, header))? {
        Ok(()) => Checked::Good,
        Err(reason) => Checked::Bad(Damaged {
            offset: offset.bytes(),
            size_bytes: header.record_bytes(),
            key: Some(header.key),
            reason,
        }),
    })
}

impl Scanned {
    fn note(&mut self, checked: Checked, header: &NeedleHeader) {
        match checked {
            Checked::Dead => {}
            Checked::Good => self.anchor = Some(header.key),
            Checked::Bad(damage) => self.damaged.push(damage),
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
