//! How far a volume's scrub has come and what it found, as kept in the volume's scrub file.
//!
//! The file is a line with the CRC32 of the rest in hex, and then JSON. It is replaced
//! as a whole by rename. A missing or damaged one costs nothing but a pass begun anew.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::format::superblock::Superblock;
use crate::id::Key;
use crate::index::Index;
use crate::volume::live::Live;
use crate::volume::verify::Damaged;

/// Findings that are kept of one volume. Of more than these only the number is told.
const MAX_FINDINGS: usize = 1000;

/// What is known of a volume by its scrub.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubState {
    /// The volume file that offsets are of.
    replica: Uuid,
    generation: u64,
    /// Whether somebody asked for a pass now.
    pub asked: bool,
    /// When the last full pass began and ended, in milliseconds since 1970.
    pub last_pass: Option<(u64, u64)>,
    /// The pass under way.
    pub pass: Option<Pass>,
    /// What was found to be damaged and still is, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// How many more there are.
    pub more_findings: u64,
}

/// A pass under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// Everything below has been read.
    pub position: u64,
    /// Everything from here on was appended after the pass had begun.
    pub until: u64,
    /// The last good needle. It tells where to go on in a compacted file.
    anchor: Option<Key>,
    /// Everything below has left the page cache once in this pass. What of it is there
    /// again has just come from the device.
    #[serde(skip)]
    pub(super) forgotten_to: u64,
    /// How far the index file has been read, which comes first. A start reads all of it.
    #[serde(skip)]
    pub(super) index: IndexTurn,
}

/// How far a pass has read the index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IndexTurn {
    /// Everything below this place of the file.
    ReadTo(u64),
    /// All of it.
    Over,
}

impl Default for IndexTurn {
    fn default() -> Self {
        Self::ReadTo(0)
    }
}

/// A damaged piece of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What and where.
    #[serde(flatten)]
    pub damage: Damaged,
    /// When it was found, in milliseconds since 1970.
    pub first_seen_ms: u64,
    /// When the pass began that saw it last.
    seen_by_pass_ms: u64,
}

/// What one step read.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub position: u64,
    pub forgotten_to: u64,
    pub anchor: Option<Key>,
    pub damaged: Vec<Damaged>,
    /// Whether the device failed to read some of it.
    pub met_device_error: bool,
}

impl ScrubState {
    /// The content of the scrub file.
    pub fn to_bytes(&self) -> serde_json::Result<Vec<u8>> {
        let json = serde_json::to_vec_pretty(self)?;
        let mut bytes = format!("{:08x}\n", crc32fast::hash(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        Ok(bytes)
    }

    /// `None` for anything but what [`ScrubState::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (crc, json) = bytes.split_at_checked(9)?;
        let expected = format!("{:08x}\n", crc32fast::hash(json));
        (crc == expected.as_bytes()).then(|| serde_json::from_slice(json).ok())?
    }

    /// Follows the volume: through compactions, and through whatever healed a finding.
    pub(super) fn follow(&mut self, live: &Live) {
        let Superblock { replica, generation, .. } = live.superblock;
        if self.replica != replica {
            *self = Self { asked: self.asked, replica, generation, ..Self::default() };
        }
        if self.generation != generation {
            self.generation = generation;
            self.pass.iter_mut().for_each(|pass| pass.move_on(live));
            self.findings.retain_mut(|finding| finding.move_on(&live.index));
        }
        self.findings.retain(|finding| finding.is_current(&live.index));
    }

    /// Goes on after a restart. What was appended last before it may not be there any more.
    pub(super) fn reopen(&mut self, live: &Live) {
        self.follow(live);
        self.pass.iter_mut().for_each(|pass| pass.move_on(live));
    }

    /// The pass under way; if there is none, one begins.
    pub(super) fn current_pass(&mut self, live: &Live, now_ms: u64) -> Pass {
        // Passes are told apart by when they began.
        let least_ms = self.last_pass.map_or(0, |(began_ms, _)| began_ms.saturating_add(1));
        let begin = || Pass {
            started_ms: now_ms.max(least_ms),
            position: 0,
            until: live.end.bytes(),
            anchor: None,
            forgotten_to: 0,
            index: IndexTurn::default(),
        };
        if self.pass.is_none() {
            self.more_findings = 0;
        }
        self.pass.get_or_insert_with(begin).clone()
    }

    /// Notes what a step of the pass read. Gives back what was not known before.
    pub(super) fn advance(&mut self, scanned: Scanned, now_ms: u64) -> Vec<Damaged> {
        let Some(pass) = &mut self.pass else { return Vec::new() };
        pass.position = scanned.position;
        pass.forgotten_to = scanned.forgotten_to;
        pass.anchor = scanned.anchor.or(pass.anchor);
        let (pass_ms, is_over) = (pass.started_ms, pass.position >= pass.until);
        let mut news = Vec::new();
        for damage in scanned.damaged {
            if self.add(&damage, pass_ms, now_ms) {
                news.push(damage);
            }
        }
        if is_over {
            // What this pass has not met is there no more.
            self.findings.retain(|finding| finding.seen_by_pass_ms == pass_ms);
            self.last_pass = Some((pass_ms, now_ms));
            self.pass = None;
            self.asked = false;
        }
        news
    }

    /// Whether `damage` is news.
    fn add(&mut self, damage: &Damaged, pass_ms: u64, now_ms: u64) -> bool {
        if let Some(known) = self.findings.iter_mut().find(|finding| finding.covers(damage)) {
            known.damage.reason.clone_from(&damage.reason);
            known.seen_by_pass_ms = pass_ms;
            return false;
        }
        if let Some(last) = self.findings.iter_mut().find(|finding| finding.goes_on_with(damage)) {
            last.damage.size_bytes += damage.size_bytes;
            last.seen_by_pass_ms = pass_ms;
            return false;
        }
        if self.findings.len() >= MAX_FINDINGS {
            self.more_findings += 1;
            return false;
        }
        let (first_seen_ms, seen_by_pass_ms) = (now_ms, pass_ms);
        self.findings.push(Finding { damage: damage.clone(), first_seen_ms, seen_by_pass_ms });
        true
    }
}

impl Pass {
    /// Goes on in a changed file. Compaction keeps the order, so what was read of the
    /// old file is what stands before the end of the last good needle in the new one.
    fn move_on(&mut self, live: &Live) {
        let anchor = self.anchor.and_then(|key| live.index.get(key));
        let place = anchor.filter(|entry| !entry.is_tombstone());
        let place = place.map(|entry| entry.offset.bytes() + entry.record_bytes());
        // A needle that comes later than it did was stored anew, and tells nothing.
        self.position = place.filter(|place| *place <= self.position).unwrap_or(0);
        self.until = self.until.min(live.end.bytes());
        self.forgotten_to = 0;
    }
}

impl Finding {
    /// Finds the damaged needle in a compacted file; false if it is gone.
    fn move_on(&mut self, index: &Index) -> bool {
        let entry = self.damage.key.and_then(|key| index.get(key));
        let entry = entry.filter(|entry| !entry.is_tombstone());
        entry.inspect(|entry| self.damage.offset = entry.offset.bytes()).is_some()
    }

    /// Whether the damaged record is still the needle's: it may have been deleted or stored anew.
    fn is_current(&self, index: &Index) -> bool {
        let Some(key) = self.damage.key else { return true };
        let entry = index.get(key).filter(|entry| !entry.is_tombstone());
        entry.is_some_and(|entry| entry.offset.bytes() == self.damage.offset)
    }

    fn end(&self) -> u64 {
        self.damage.offset + self.damage.size_bytes
    }

    fn covers(&self, damage: &Damaged) -> bool {
        self.damage.key == damage.key
            && (self.damage.offset..self.end()).contains(&damage.offset)
            && damage.offset + damage.size_bytes <= self.end()
    }

    /// A stretch without a needle may be met in several steps.
    fn goes_on_with(&self, damage: &Damaged) -> bool {
        self.damage.key.is_none() && damage.key.is_none() && self.end() == damage.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(offset: u64, size_bytes: u64, key: Option<u64>) -> Damaged {
        Damaged { offset, size_bytes, key: key.map(Key::new), reason: "rot".into() }
    }

    fn begun() -> ScrubState {
        let pass = Pass {
            started_ms: 5,
            position: 0,
            until: 100,
            anchor: None,
            forgotten_to: 0,
            index: IndexTurn::default(),
        };
        ScrubState { pass: Some(pass), ..ScrubState::default() }
    }

    fn step(state: &mut ScrubState, position: u64, damaged: Vec<Damaged>) -> usize {
        state.advance(Scanned { position, damaged, ..Scanned::default() }, position).len()
    }

    #[test]
    fn a_file_is_taken_as_it_was_written_or_not_at_all() {
        let mut state = begun();
        step(&mut state, 8, vec![damage(0, 8, Some(3)), damage(8, 8, None)]);
        let bytes = state.to_bytes().unwrap();
        assert_eq!(ScrubState::from_bytes(&bytes), Some(state));
        for at in 0..bytes.len() {
            let mut rotten = bytes.clone();
            rotten[at] ^= 1;
            assert_eq!(ScrubState::from_bytes(&rotten), None, "byte {at}");
            assert_eq!(ScrubState::from_bytes(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_finding_is_news_once_and_gone_when_a_whole_pass_did_not_meet_it() {
        let mut state = begun();
        assert_eq!(step(&mut state, 50, vec![damage(8, 16, Some(1)), damage(24, 8, None)]), 2);
        assert_eq!(step(&mut state, 60, vec![damage(32, 8, None)]), 0, "the same stretch");
        assert_eq!(state.findings[1].damage.size_bytes, 16);
        step(&mut state, 100, vec![]);
        assert_eq!((state.last_pass, state.pass.is_none()), (Some((5, 100)), true));
        assert_eq!(state.findings.len(), 2);

        state.pass = Some(Pass {
            started_ms: 200,
            position: 0,
            until: 100,
            anchor: None,
            forgotten_to: 0,
            index: IndexTurn::default(),
        });
        assert_eq!(step(&mut state, 99, vec![damage(8, 16, Some(1))]), 0, "known");
        assert_eq!(state.findings.len(), 2, "who knows, until the pass is over");
        step(&mut state, 100, vec![]);
        assert_eq!(state.findings.len(), 1);
        assert_eq!(state.findings[0].first_seen_ms, 50);
    }

    #[test]
    fn a_volume_that_is_rotten_all_over_fills_no_memory() {
        let mut state = begun();
        let all = (0..5000).map(|at| damage(at * 16, 8, None)).collect();
        assert_eq!(step(&mut state, 50, all), MAX_FINDINGS);
        assert_eq!((state.findings.len(), state.more_findings), (MAX_FINDINGS, 4000));
    }
}
