//! A data directory looked at without its store.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

use super::{DataDirError, IDENTITY_FILE, LOCK_FILE, parse};
use crate::id::VolumeId;
use crate::storage::os::OsDisk;
use crate::storage::{Disk as _, Space};
use crate::volume::files;

/// A data directory that is only looked at. No store takes it into use meanwhile, unless one
/// has it already.
pub struct OfflineDir {
    /// Where it is.
    pub path: PathBuf,
    /// The cluster and the id of this disk; `None` where no store has ever used it.
    pub identity: Option<(Uuid, Uuid)>,
    /// Whether another process has it.
    pub in_use: bool,
    /// The names of its files, sorted.
    pub names: Vec<String>,
    /// Room on its file system.
    pub space: Space,
    _lock: Option<File>,
}

impl OfflineDir {
    /// Looks at the directory at `path`. Nothing is changed in it.
    ///
    /// # Errors
    /// A directory in use is none: see [`OfflineDir::in_use`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: path.to_owned(), source };
        let disk = OsDisk::new(path);
        let mut names = disk.list().map_err(io)?;
        names.sort_unstable();
        let (lock, in_use) = try_lock(path).map_err(io)?;
        let identity = match fs::read(path.join(IDENTITY_FILE)) {
            Ok(bytes) => {
                let identity = parse(path, &bytes)?;
                Some((identity.cluster, identity.disk))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io(error)),
        };
        let space = disk.space().map_err(io)?;
        Ok(Self { path: path.to_owned(), identity, in_use, names, space, _lock: lock })
    }

    /// The same, of a directory that must not be in use.
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let dir = Self::open(path)?;
        if dir.in_use { Err(DataDirError::InUse { path: path.to_owned() }) } else { Ok(dir) }
    }

    /// The volumes that it has files of.
    pub fn volumes(&self) -> Vec<VolumeId> {
        self.names.iter().filter_map(|name| files::parse_volume(name)).collect()
    }

    /// Where the volume's file is.
    pub fn volume_path(&self, id: VolumeId) -> PathBuf {
        self.path.join(files::volume(id))
    }

    /// Files that belong to none of its volumes.
    pub fn strays(&self) -> Vec<&str> {
        let volumes = self.volumes();
        let known = |name: &str| {
            [IDENTITY_FILE, LOCK_FILE, files::SCRUB_PAUSED].contains(&name)
                || volumes.iter().any(|id| files::is_of(name, *id))
        };
        self.names.iter().map(String::as_str).filter(|name| !known(name)).collect()
    }
}

/// The lock, if there is one to be had, and whether another process holds it.
fn try_lock(path: &Path) -> io::Result<(Option<File>, bool)> {
    let file = match File::open(path.join(LOCK_FILE)) {
        Ok(file) => file,
        // No store has it: each makes the file first.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, false)),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok((Some(file), false)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok((None, true)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::DataDir;
    use crate::volume::Volume;

    #[test]
    fn a_directory_is_told_with_its_volumes_and_what_does_not_belong() {
        let home = tempfile::tempdir().unwrap();
        let (path, cluster) = (home.path(), Uuid::from_u128(1));
        let empty = OfflineDir::take(path).unwrap();
        assert_eq!(
            (empty.identity, empty.volumes(), fs::read_dir(path).unwrap().count()),
            (None, vec![], 0)
        );
        let id = VolumeId::new(7).unwrap();
        let used = DataDir::open(path, cluster, Arc::default()).unwrap();
        Volume::create(&*used.disk, cluster, id).unwrap();
        for name in ["note.txt", "0000000008.2.idx", "0000000007.2.idx", "0000000007.readonly"] {
            fs::write(path.join(name), b"").unwrap();
        }
        let looked_at = OfflineDir::open(path).unwrap();
        assert!(looked_at.in_use);
        assert_eq!(looked_at.identity.unwrap().0, cluster);
        assert_eq!(looked_at.volumes(), [id]);
        assert_eq!(looked_at.strays(), ["0000000008.2.idx", "note.txt"]);
        assert!(matches!(OfflineDir::take(path), Err(DataDirError::InUse { .. })));
        drop(used);
        let taken = OfflineDir::take(path).unwrap();
        let refused = DataDir::open(path, cluster, Arc::default());
        assert!(matches!(refused, Err(DataDirError::InUse { .. })), "a store waits for it");
        drop(taken);
    }
}
