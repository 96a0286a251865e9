//! The bytes of one file: as a reader sees them, and as they are on disk.

use std::io;
use std::ops::Range;

use rand::Rng;

#[derive(Default)]
pub(super) struct Bytes {
    durable: Vec<u8>,
    now: Vec<u8>,
    unsynced: Vec<Change>,
    /// What a failed sync dropped. Until it is evicted, not even writing it again helps.
    dropped: Vec<Range<u64>>,
    /// Reads that touch these fail, as those of a bad sector do.
    unreadable: Vec<Range<u64>>,
}

#[derive(Clone)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl Bytes {
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { durable: bytes.clone(), now: bytes, ..Self::default() }
    }

    pub(super) fn now(&self) -> &[u8] {
        &self.now
    }

    pub(super) fn len(&self) -> u64 {
        self.now.len() as u64
    }

    pub(super) fn read(&self, out: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        let read = offset..offset + len as u64;
        if self.unreadable.iter().any(|bad| bad.start < read.end && read.start < bad.end) {
            return Err(rustix::io::Errno::IO.into());
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.now.len());
        let end = start.saturating_add(len).min(self.now.len());
        out.extend_from_slice(self.now.get(start..end).unwrap_or_default());
        Ok(end - start)
    }

    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.unsynced.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            let before = if self.dropped.is_empty() { Vec::new() } else { self.durable.clone() };
            apply(&mut self.durable, &change);
            if let Change::SetLen(len) = change {
                self.dropped.retain(|range| range.start < len);
            }
            for range in &self.dropped {
                keep(&mut self.durable, &before, range);
            }
        }
    }

    /// What was written counts as clean, and is nowhere but in memory. Lengths are the
    /// file system's own business, which its journal sees to.
    pub(super) fn fail_sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Write(offset, data) => {
                    self.dropped.push(offset..offset + data.len() as u64);
                }
                length @ Change::SetLen(_) => self.unsynced.push(length),
            }
        }
    }

    pub(super) fn evict(&mut self) {
        self.dropped.clear();
        self.now.clone_from(&self.durable);
        for change in &self.unsynced {
            apply(&mut self.now, change);
        }
    }

    pub(super) fn flip(&mut self, at: usize, mask: u8) {
        for copy in [&mut self.durable, &mut self.now] {
            if let Some(byte) = copy.get_mut(at) {
                *byte ^= mask;
            }
        }
    }

    pub(super) fn spoil(&mut self, range: Range<u64>) {
        if range.is_empty() {
            self.unreadable.clear();
        } else {
            self.unreadable.push(range);
        }
    }

    pub(super) fn after_crash(&self, rng: &mut impl Rng) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match (change, rng.random_range(0..4)) {
                (_, 0) => {}
                (Change::Write(offset, data), 1) => {
                    // Torn: some bytes of it, and the file may be as long as if all had come.
                    let cut = rng.random_range(0..=data.len());
                    let torn = data.get(..cut).unwrap_or_default().to_vec();
                    let end = usize::try_from(*offset).unwrap_or(usize::MAX) + data.len();
                    if rng.random() && bytes.len() < end {
                        bytes.resize(end, 0);
                    }
                    apply(&mut bytes, &Change::Write(*offset, torn));
                }
                (Change::Write(offset, data), 2) => {
                    // Some sectors of it, in whatever order the device liked.
                    let sector = 1 << rng.random_range(6..13);
                    for (at, piece) in data.chunks(sector).enumerate().filter(|_| rng.random()) {
                        let place = offset + (at * sector) as u64;
                        apply(&mut bytes, &Change::Write(place, piece.to_vec()));
                    }
                }
                (whole, _) => apply(&mut bytes, whole),
            }
        }
        bytes
    }
}

/// Puts the bytes of `range` back to what they were, or to zeros where there were none.
fn keep(bytes: &mut [u8], before: &[u8], range: &Range<u64>) {
    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
    let (start, end) = (at(range.start).min(bytes.len()), at(range.end).min(bytes.len()));
    for (place, byte) in bytes.iter_mut().enumerate().take(end).skip(start) {
        *byte = before.get(place).copied().unwrap_or(0);
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(_, data) if data.is_empty() => {}
        Change::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap_or(usize::MAX);
            let end = start + data.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            if let Some(place) = bytes.get_mut(start..end) {
                place.copy_from_slice(data);
            }
        }
        Change::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap_or(usize::MAX), 0),
    }
}
