//! The pages of an index file, in memory.
//!
//! They are read, not mapped: a bad sector under a mapping ends the whole process with
//! SIGBUS, and a page that memory pressure has reclaimed costs a lookup another disk
//! access. What is here was checked while it was read, cannot be written to any more, and
//! a lookup never waits for a disk.

use std::io;

use memmap2::{Advice, Mmap, MmapMut};

use super::SealError;
use super::first_keys::FirstKeys;
use crate::format::FormatError;
use crate::format::index::page::{Layout, Page};
use crate::format::index::{BLOCK_BYTES, Entry, IndexHead, check_block};
use crate::id::Key;
use crate::storage::{File, read_up_to};

/// Read in one call.
const STEP_BYTES: usize = 1 << 20;

/// All pages of one index file.
pub(super) struct Pages {
    memory: Mmap,
    /// The first key of each page.
    first_keys: FirstKeys,
    /// Of the first page.
    layout: Layout,
}

impl Pages {
    /// Reads and checks the pages behind `head`, which is the head of `file`.
    pub(super) fn read(file: &dyn File, head: &IndexHead) -> Result<Self, SealError> {
        let bytes = usize::try_from(head.file_bytes()).map_err(io::Error::other)? - BLOCK_BYTES;
        let mut memory = MmapMut::map_anon(bytes)?;
        // Lookups jump all over it, and small pages would cost each of them more than the
        // reading does. A system that has no large ones does without.
        let _ = memory.advise(Advice::HugePage);
        let mut position = BLOCK_BYTES as u64;
        let mut order = Order::new(bytes / BLOCK_BYTES);
        let mut read = Vec::with_capacity(STEP_BYTES);
        for step in memory.chunks_mut(STEP_BYTES) {
            read.clear();
            if read_up_to(file, &mut read, step.len(), position)? < step.len() {
                return Err(FormatError::Short { what: "index file" }.into());
            }
            for (block, at) in read.chunks(BLOCK_BYTES).zip((position..).step_by(BLOCK_BYTES)) {
                check_block(block, head.salt(), at)?;
                order.check(block)?;
            }
            step.copy_from_slice(&read);
            position += read.len() as u64;
        }
        if order.entries != head.entries {
            return Err(FormatError::Field { what: "index entry count" }.into());
        }
        let first_page = memory.get(..BLOCK_BYTES).and_then(Page::of);
        let layout = first_page.map_or_else(Layout::default, |page| page.layout());
        let first_keys = FirstKeys::new(order.first_keys);
        Ok(Self { memory: memory.make_read_only()?, first_keys, layout })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.first_keys.len()
    }

    /// The number of the page that has `key` if any has.
    pub(super) fn number_of(&self, key: Key) -> Option<usize> {
        self.first_keys.last_up_to(key)
    }

    /// The entry of `key`.
    pub(super) fn entry(&self, key: Key) -> Option<Entry> {
        let number = self.number_of(key)?;
        self.fetch(number, key);
        self.get(number)?.get(key)
    }

    /// Has the processor fetch what a lookup in a page needs beside its beginning, as long as it still
    /// waits for that: then memory is waited for once. It guesses: that keys are spread evenly, and
    /// that the page is laid out as the first one is.
    fn fetch(&self, number: usize, key: Key) {
        let first_key = |number| self.first_keys.get(number).map(Key::get);
        let Some(first) = first_key(number) else { return };
        let next = first_key(number + 1).unwrap_or(u64::MAX);
        let share = share(key.get().saturating_sub(first), next - first);
        for place in self.layout.places(share) {
            std::hint::black_box(self.memory.get(number * BLOCK_BYTES + place).copied());
        }
    }

    /// The page with this number.
    pub(super) fn get(&self, number: usize) -> Option<Page<'_>> {
        let start = number.checked_mul(BLOCK_BYTES)?;
        Page::of(self.memory.get(start..start.checked_add(BLOCK_BYTES)?)?)
    }
}

/// How much of `whole` is before `part`, in parts of [`Layout::WHOLE`].
fn share(part: u64, whole: u64) -> usize {
    let shift = whole.checked_ilog2().unwrap_or(0).saturating_sub(u64::BITS / 2);
    let share = (part >> shift) * Layout::WHOLE as u64 / (whole >> shift).max(1);
    usize::try_from(share).unwrap_or(usize::MAX).min(Layout::WHOLE)
}

/// Sees to it that keys rise from page to page.
struct Order {
    first_keys: Vec<Key>,
    last_key: Option<Key>,
    entries: u64,
}

impl Order {
    fn new(pages: usize) -> Self {
        Self { first_keys: Vec::with_capacity(pages), last_key: None, entries: 0 }
    }

    fn check(&mut self, block: &[u8]) -> Result<(), FormatError> {
        let page = Page::of(block).ok_or(FormatError::Field { what: "index page" })?;
        let (first, last) = page.check()?;
        if self.last_key.is_some_and(|before| before >= first) {
            return Err(FormatError::Field { what: "order of index keys" });
        }
        self.first_keys.push(first);
        self.last_key = Some(last);
        self.entries += page.entry_count();
        Ok(())
    }
}
