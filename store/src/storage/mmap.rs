#![expect(
    unsafe_code,
    reason = "mapping index files lets the kernel drop their clean pages under memory pressure"
)]
//! The one place where files become memory.

use std::fs;
use std::io;
use std::ops::Deref;

use memmap2::Mmap;

/// A read-only mapping of a whole file.
pub(super) struct MappedFile(Mmap);

impl MappedFile {
    pub(super) fn new(file: &fs::File) -> io::Result<Self> {
        // SAFETY: the mapping is sound while nobody changes or cuts the file. Only index
        // files are mapped. `index::sealed` writes each under a temporary name, syncs it,
        // gives it its name by rename, and never opens it for writing again; the lock on
        // the data directory keeps other stores out. A removed file stays whole until
        // the mapping goes.
        unsafe { Mmap::map(file) }.map(Self)
    }
}

impl Deref for MappedFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
