//! From a file as a crash may have left it to a volume that takes writes.
//!
//! The index file says what was durable when it was written; behind that, the volume
//! itself is scanned. Of what is found there,
//!
//! - what a later record calls synced was acknowledged: it counts, and where it cannot
//!   be read it is reported as damage;
//! - the rest may be the torn end of writes that nobody was told of. Each record is
//!   checked in full; a batch that is not whole, and a needle whose body is not, are
//!   taken back by an abort record, so that no later scan believes them;
//! - bytes behind the last whole record are cut off. Nothing readable is ever cut.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use hashbrown::HashMap;

use super::digest::{Totals, content};
use super::scanner::{Found, Scanner, check_body};
use crate::format::index::Entry;
use crate::format::needle::{BatchPlace, HEADER_BYTES, Kind, NeedleHeader};
use crate::format::superblock::SUPERBLOCK_BYTES;
use crate::format::{NeedleOffset, Salt};
use crate::id::{Cookie, Key};
use crate::index::{Index, Sealed};
use crate::storage::{File, is_device_error, read_up_to};

/// What a volume file was found to hold.
pub(super) struct Recovered {
    pub index: Index,
    pub totals: Totals,
    /// The end of the last record.
    pub end: NeedleOffset,
    /// Everything below was synced: a later record says so, or the index file.
    pub proven_end: u64,
    pub last_append_ns: u64,
    /// Bytes that were acknowledged and cannot be read.
    pub damage: Vec<Range<u64>>,
    /// Records that were never acknowledged and are not whole; to be taken back.
    pub aborts: Vec<(Key, Cookie)>,
    /// Keys of these, and of records at the end that are not whole either and are cut off.
    pub doubtful: Vec<Key>,
    /// Whether the device failed to read some of the file. Then nothing may be concluded
    /// from what is missing.
    pub met_device_error: bool,
    /// Bytes scanned, because the index file did not cover them.
    pub scanned_bytes: u64,
}

struct Recovery<'a> {
    file: &'a dyn File,
    salt: Salt,
    found: Recovered,
    /// What no later record has called synced yet, in the file's order.
    unproven: VecDeque<Found>,
    /// Records to be taken back if anything that counts follows them; else they are cut off.
    doubtful: Vec<(Key, Cookie)>,
    /// Damaged needles in whose place others were put, in case that is taken back; the last
    /// one comes back first.
    replaced: HashMap<Key, Vec<Entry>>,
}

/// A record with a whole header, and whether its body is whole too.
struct Checked {
    offset: NeedleOffset,
    header: NeedleHeader,
    whole: bool,
}

/// Scans `file` from where `sealed` ends.
pub(super) fn recover(file: &dyn File, salt: Salt, sealed: Sealed) -> io::Result<Recovered> {
    let start = sealed.covered_end().bytes().max(SUPERBLOCK_BYTES as u64);
    let end = file.size_bytes()?;
    let found = Recovered {
        totals: sealed.head().map_or_else(Totals::default, Totals::from),
        last_append_ns: sealed.head().map_or(0, |head| head.last_append_ns),
        index: Index::new(sealed),
        end: NeedleOffset::from_bytes(start).unwrap_or_default(),
        proven_end: start,
        damage: Vec::new(),
        aborts: Vec::new(),
        doubtful: Vec::new(),
        met_device_error: false,
        scanned_bytes: end.saturating_sub(start),
    };
    let mut recovery = Recovery {
        file,
        salt,
        found,
        unproven: VecDeque::new(),
        doubtful: Vec::new(),
        replaced: HashMap::new(),
    };
    let mut scanner = Scanner::new(file, salt, start..end);
    for found in scanner.by_ref() {
        recovery.take(found?)?;
    }
    recovery.found.met_device_error = scanner.met_device_error();
    recovery.judge_the_rest()
}

impl Recovery<'_> {
    fn take(&mut self, found: Found) -> io::Result<()> {
        if let Found::Record { header, .. } = &found {
            self.prove(header.synced_end)?;
        }
        self.unproven.push_back(found);
        Ok(())
    }

    /// Everything below `synced_end` was acknowledged.
    fn prove(&mut self, synced_end: NeedleOffset) -> io::Result<()> {
        self.found.proven_end = self.found.proven_end.max(synced_end.bytes());
        while let Some(found) =
            self.unproven.pop_front_if(|found| found_end(found) <= synced_end.bytes())
        {
            match found {
                Found::Record { offset, header } => self.apply(offset, &header)?,
                Found::Damage(range) => self.found.damage.push(range),
            }
        }
        Ok(())
    }

    /// Decides on what may or may not have been acknowledged.
    fn judge_the_rest(mut self) -> io::Result<Recovered> {
        let mut batch: Vec<Checked> = Vec::new();
        for found in std::mem::take(&mut self.unproven) {
            match found {
                Found::Damage(_) => self.end_batch(&mut batch)?,
                Found::Record { offset, header } => {
                    if !continues(&batch, &header) {
                        self.end_batch(&mut batch)?;
                    }
                    let whole = header.kind != Kind::Data || self.is_whole(offset, &header)?;
                    batch.push(Checked { offset, header, whole });
                }
            }
        }
        self.end_batch(&mut batch)?;
        let to_be_cut = &self.doubtful;
        self.found.doubtful =
            self.found.aborts.iter().chain(to_be_cut).map(|(key, _)| *key).collect();
        Ok(self.found)
    }

    fn is_whole(&mut self, offset: NeedleOffset, header: &NeedleHeader) -> io::Result<bool> {
        match check_body(self.file, offset, header) {
            // It may well be whole, and have been acknowledged.
            Err(error) if is_device_error(&error) => {
                self.found.met_device_error = true;
                Ok(true)
            }
            checked => Ok(checked?.is_ok()),
        }
    }

    /// A batch counts if all its members are there and whole; else it never happened.
    fn end_batch(&mut self, batch: &mut Vec<Checked>) -> io::Result<()> {
        let complete = batch.iter().all(|member| member.whole)
            && batch.first().is_some_and(|Checked { header, .. }| {
                header.batch.index == 0 && usize::from(header.batch.len) == batch.len()
            });
        for Checked { offset, header, .. } in batch.drain(..) {
            if complete {
                self.found.aborts.append(&mut self.doubtful);
                // An abort takes back whatever was last put under its key, so there must be
                // none where that counts. It takes the place of the doubtful one anyway.
                self.found.aborts.retain(|(key, _)| *key != header.key);
                self.apply(offset, &header)?;
            } else {
                self.doubtful.push((header.key, header.cookie));
            }
        }
        Ok(())
    }

    /// Does to the index what the record does.
    fn apply(&mut self, offset: NeedleOffset, header: &NeedleHeader) -> io::Result<()> {
        let record_bytes = header.record_bytes();
        self.found.end =
            NeedleOffset::from_bytes(offset.bytes() + record_bytes).unwrap_or(self.found.end);
        self.found.last_append_ns = self.found.last_append_ns.max(header.appended_ns);
        let before = self.found.index.get(header.key);
        if before.is_some_and(Entry::is_tombstone) {
            return Ok(()); // A key is used once: nothing comes after its tombstone.
        }
        if let Some(old) = before {
            // A key has one content: a needle that heals a damaged one is the same.
            let heals = header.kind == Kind::Data && record_bytes == old.record_bytes();
            let known = self.content_at(old)?.or_else(|| heals.then(|| content(header)));
            self.found.totals.remove(old.record_bytes(), known);
        }
        let entry = match header.kind {
            Kind::Data => {
                self.found.totals.add(record_bytes, content(header));
                if let Some(old) = before {
                    self.replaced.entry(header.key).or_default().push(old);
                }
                Entry::of_record(offset, record_bytes)
            }
            Kind::Tombstone => {
                self.found.totals.add_tombstone(header);
                Entry::tombstone(offset)
            }
            Kind::Abort => return self.take_back(header.key),
        };
        self.found.index.insert(header.key, entry);
        Ok(())
    }

    /// Puts the index back to what it said of `key` before the record that never happened.
    fn take_back(&mut self, key: Key) -> io::Result<()> {
        let Some(old) = self.replaced.get_mut(&key).and_then(Vec::pop) else {
            self.found.index.forget(key);
            return Ok(());
        };
        let content = self.content_at(old)?;
        self.found.totals.digest_exact &= content.is_some();
        self.found.totals.add(old.record_bytes(), content.unwrap_or_default());
        self.found.index.insert(key, old);
        Ok(())
    }

    /// What the needle at `entry` adds to the digest; `None` where its header is damaged.
    fn content_at(&self, entry: Entry) -> io::Result<Option<u128>> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        match read_up_to(self.file, &mut bytes, HEADER_BYTES, entry.offset.bytes()) {
            Err(error) if !is_device_error(&error) => return Err(error),
            _ => {}
        }
        let header = NeedleHeader::from_bytes(&bytes, self.salt, entry.offset);
        Ok(header.ok().map(|header| content(&header)))
    }
}

/// Whether `header` is the next member of the batch that `batch` has begun.
fn continues(batch: &[Checked], header: &NeedleHeader) -> bool {
    batch.last().is_some_and(|Checked { header: last, .. }| {
        let next = BatchPlace { index: last.batch.index + 1, len: last.batch.len };
        header.batch == next && header.appended_ns == last.appended_ns
    })
}

fn found_end(found: &Found) -> u64 {
    match found {
        Found::Record { offset, header } => offset.bytes() + header.record_bytes(),
        Found::Damage(range) => range.end,
    }
}
