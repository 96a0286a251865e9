//! The real file system.

mod cached;

use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, FallocateFlags, StatVfsMountFlags};
use rustix::io::Errno;

use super::{Disk, File, Space, is_read_only};

/// A data directory on a real file system.
pub struct OsDisk {
    path: PathBuf,
}

struct OsFile(fs::File);

impl OsDisk {
    /// The directory at `path`, which must exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// A read-only file anywhere, for tools that look at a volume without its store.
pub fn open_read_only(path: &Path) -> io::Result<Arc<dyn File>> {
    Ok(Arc::new(OsFile(fs::File::open(path)?)))
}

impl Disk for OsDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        match fs::OpenOptions::new().read(true).write(true).open(self.at(name)) {
            Err(error) if is_read_only(&error) => open_read_only(&self.at(name)),
            file => Ok(Arc::new(OsFile(file?))),
        }
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file =
            fs::OpenOptions::new().read(true).write(true).create_new(true).open(self.at(name))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            is_read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }
}

impl File for OsFile {
    fn read_at(&self, out: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        let before = out.len();
        out.reserve_exact(len);
        rustix::io::pread(&self.0, spare_capacity(out), offset)?;
        // The allocator may have given more room than was asked for, and the read filled it.
        out.truncate(before + len);
        Ok(out.len() - before)
    }

    fn read_cached_at(&self, out: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
        match cached::read(&self.0, out, len, offset) {
            // Some file systems cannot tell what memory holds.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            read => Ok(read?),
        }
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(data, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn prefetch(&self, range: Range<u64>) {
        // No length would mean all of the file.
        if let Some(len) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
            let _ = rustix::fs::fadvise(&self.0, range.start, Some(len), Advice::WillNeed);
        }
    }

    fn evict(&self, range: Range<u64>) -> io::Result<()> {
        // The kernel lets go of whole pages only, and takes no length for "up to the end".
        let page_start = range.start - range.start % 4096;
        let len = range.end.saturating_sub(page_start).min(i64::MAX.cast_unsigned() - page_start);
        let len = NonZeroU64::new(len);
        rustix::fs::fadvise(&self.0, page_start, len, Advice::DontNeed).map_err(io::Error::from)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let set_aside = || rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, offset, len);
        match rustix::io::retry_on_intr(set_aside) {
            // Some file systems have no fallocate. Then a full disk shows when the bytes are written.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            result => Ok(result?),
        }
    }
}
