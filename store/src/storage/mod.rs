//! The little of a file system that volumes need, behind two traits.
//!
//! [`Disk`] is one data directory, [`File`] an open file in it. [`os`] is the real
//! thing; [`memory`] is a double that remembers what was synced and can lose the rest
//! the way a power cut does. Volume code runs on either unchanged.

pub mod memory;
pub mod os;

use std::io;
use std::ops::Range;
use std::sync::Arc;

/// One data directory. Names are plain file names within it.
pub trait Disk: Send + Sync {
    /// Opens an existing file for reading and writing; on a read-only file system for reading.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Makes a new, empty file; an existing one is an error.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file a new name, in place of whatever had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Open handles go on reading it.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes creations, renames and removals so far durable.
    fn sync(&self) -> io::Result<()>;

    /// The file system as it is now.
    fn space(&self) -> io::Result<Space>;
}

/// A file system: room in bytes, and whether it takes any writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system.
    pub total_bytes: u64,
    /// What an ordinary process may still write.
    pub free_bytes: u64,
    /// Whether it is mounted for reading only.
    pub is_read_only: bool,
}

/// An open file.
pub trait File: Send + Sync {
    /// Appends to `out` up to `len` bytes from `offset`: fewer at the end of the file,
    /// or as few as the system likes.
    fn read_at(&self, out: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize>;

    /// Like [`File::read_at`], but never waits for the device: where memory does not hold the bytes,
    /// or the system cannot tell, that is [`io::ErrorKind::WouldBlock`].
    fn read_cached_at(&self, out: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize>;

    /// Writes some bytes of `data` at `offset` and tells how many.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes everything written so far durable, and the file's length with it.
    fn sync(&self) -> io::Result<()>;

    /// Has the device begin to read these bytes into memory, and does not wait for it. Only a hint: an
    /// error shows when they are read.
    fn prefetch(&self, range: Range<u64>);

    /// Lets go of what memory holds of these bytes of the file, as far as it counts as
    /// written, so that reads show what is on disk. An end past the file's is its end.
    fn evict(&self, range: Range<u64>) -> io::Result<()>;

    /// How long the file is.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sets space aside for `len` bytes at `offset` without changing the file's length.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
}

/// Reads exactly `len` bytes at `offset`; a shorter file is [`io::ErrorKind::UnexpectedEof`].
pub fn read_exact_at(file: &dyn File, len: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(len);
    if read_up_to(file, &mut out, len, offset)? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(out)
}

/// Like [`read_exact_at`], but never waits for the device: [`io::ErrorKind::WouldBlock`] where memory
/// does not hold all of it.
pub fn read_cached_exact_at(file: &dyn File, len: usize, offset: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(len);
    if file.read_cached_at(&mut out, len, offset)? < len {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    Ok(out)
}

/// Appends `len` bytes from `offset` to `out`, fewer only at the end of the file.
pub fn read_up_to(
    file: &dyn File,
    out: &mut Vec<u8>,
    len: usize,
    offset: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while done < len {
        match file.read_at(out, len - done, offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `data` at `offset`, going on after short writes.
pub fn write_all_at(file: &dyn File, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        match file.write_at(data, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                data = data.get(count..).unwrap_or_default();
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether `error` says that the disk, or our share of it, is full.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether `error` says that the file system is mounted for reading only.
pub fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

/// Whether `error` says that the device failed to read or write. Trying again will not help.
pub fn is_device_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}
