//! The index file, being written.

use std::io;

use super::{SealError, Sealed};
use crate::format::index::page::PageBuilder;
use crate::format::index::{BLOCK_BYTES, Entry, IndexHead};
use crate::format::superblock::Superblock;
use crate::id::Key;
use crate::storage::{Disk, File, write_all_at};

/// Written in one call.
const STEP_BYTES: usize = 1 << 20;

/// Writes an index file under `name` and opens it. It is whole under that name or not there at all.
///
/// `head.entries` and `head.pages` are filled in from `entries`, whose keys must rise strictly.
/// No more of them is held in memory than a page has and 1 MiB of pages.
pub fn write_sealed(
    disk: &dyn Disk,
    name: &str,
    mut head: IndexHead,
    entries: impl Iterator<Item = (Key, Entry)>,
    superblock: &Superblock,
) -> Result<Sealed, SealError> {
    let temporary = format!("{name}.tmp");
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = disk.create(&temporary)?;
    (head.entries, head.pages) = write_pages(&*file, &head, entries)?;
    write_all_at(&*file, &head.to_bytes(), 0)?;
    file.sync()?;
    disk.rename(&temporary, name)?;
    disk.sync()?;
    Sealed::open(&*file, superblock, u64::MAX)
}

/// Writes the entries behind the head, and tells how many there were and how many pages they took.
fn write_pages(
    file: &dyn File,
    head: &IndexHead,
    entries: impl Iterator<Item = (Key, Entry)>,
) -> io::Result<(u64, u64)> {
    let mut page = PageBuilder::default();
    let mut pages = PageWriter::new(file, head);
    let mut count = 0;
    for (key, entry) in entries {
        if !page.push(key, entry) {
            pages.write(&mut page)?;
            page.push(key, entry);
        }
        count += 1;
    }
    pages.write(&mut page)?;
    Ok((count, pages.finish()?))
}

/// Gathers pages and writes many of them at a time.
struct PageWriter<'a> {
    file: &'a dyn File,
    head: &'a IndexHead,
    /// Where `gathered` goes.
    position: u64,
    gathered: Vec<u8>,
}

impl<'a> PageWriter<'a> {
    fn new(file: &'a dyn File, head: &'a IndexHead) -> Self {
        let gathered = Vec::with_capacity(STEP_BYTES);
        Self { file, head, position: BLOCK_BYTES as u64, gathered }
    }

    fn write(&mut self, page: &mut PageBuilder) -> io::Result<()> {
        if let Some(page) = page.finish(self.head.salt(), self.end()) {
            self.gathered.extend_from_slice(&page);
        }
        if self.gathered.len() < STEP_BYTES { Ok(()) } else { self.flush() }
    }

    /// How many pages there are.
    fn finish(mut self) -> io::Result<u64> {
        self.flush()?;
        Ok(self.position / BLOCK_BYTES as u64 - 1)
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all_at(self.file, &self.gathered, self.position)?;
        self.position = self.end();
        self.gathered.clear();
        Ok(())
    }

    fn end(&self) -> u64 {
        self.position + self.gathered.len() as u64
    }
}
