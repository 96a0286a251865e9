//! A data directory: whose it is, and that nobody else is using it.

pub mod offline;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::pace::DiskPace;
use crate::storage::os::OsDisk;
use crate::storage::{Disk, is_read_only};
use crate::volume::VolumeOptions;

/// Says whose directory this is.
const IDENTITY_FILE: &str = "hayrick-disk.json";
/// Locked for as long as a store uses the directory.
const LOCK_FILE: &str = "LOCK";

/// A data directory in use by this store.
pub struct DataDir {
    /// Where it is.
    pub path: PathBuf,
    /// Its files.
    pub disk: Arc<dyn Disk>,
    /// How fast background work on it may go.
    pub pace: Arc<DiskPace>,
    /// Released by the kernel when the process ends, however it ends. A disk that is no
    /// folder, or one that was never written to and cannot be, needs none.
    _lock: Option<File>,
}

/// A data directory that the store goes on without. Volumes may be in it.
pub struct FailedDir {
    /// Where it is.
    pub path: PathBuf,
    /// What the system said.
    pub reason: String,
}

/// Why a data directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// A call on it failed.
    #[error("data directory {path}: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has it.
    #[error(
        "data directory {path} is in use by another process: stop that one first, or name another directory"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to another cluster.
    #[error(
        "data directory {path} belongs to cluster {found}, this store to cluster {expected}: is the right disk mounted there?"
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// The store's cluster.
        expected: Uuid,
        /// The directory's cluster.
        found: Uuid,
    },
    /// Its identity file cannot be read.
    #[error(
        "{path}: {reason}; restore it from a copy, or remove it if you are sure whose volumes these are"
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl FailedDir {
    /// Tells usable data directories from those on disks that fail, which cost the others nothing.
    /// What an operator has to put right is an error, and so is a store without any disk.
    pub(crate) fn sort_out<T>(
        opened: impl IntoIterator<Item = Result<T, DataDirError>>,
    ) -> Result<(Vec<T>, Vec<Self>), DataDirError> {
        let (mut usable, mut failed, mut first) = (Vec::new(), Vec::new(), None);
        for opened in opened {
            match opened {
                Ok(dir) => usable.push(dir),
                Err(DataDirError::Io { path, source }) if is_failure(&source) => {
                    let reason = source.to_string();
                    tracing::error!(path = %path.display(), %reason, "data directory cannot be read: the store goes on without its volumes; replace the disk, or take it out of store.disks, and restart");
                    failed.push(Self { path: path.clone(), reason });
                    first.get_or_insert(DataDirError::Io { path, source });
                }
                Err(error) => return Err(error),
            }
        }
        match first {
            Some(error) if usable.is_empty() => Err(error),
            _ => Ok((usable, failed)),
        }
    }
}

/// Whether it is the disk that fails, and no mistake in the configuration.
fn is_failure(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    !matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    cluster: Uuid,
    disk: Uuid,
}

impl DataDir {
    /// The options of a volume in this directory.
    pub fn volume_options(&self, options: &VolumeOptions) -> VolumeOptions {
        VolumeOptions { pace: Arc::clone(&self.pace), ..options.clone() }
    }

    /// Takes a directory into use, making it if it is missing.
    pub fn open(path: &Path, cluster: Uuid, pace: Arc<DiskPace>) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: path.to_owned(), source };
        create_folder(path).map_err(io)?;
        let lock = lock(path)?;
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::new(path));
        let found = match fs::read(path.join(IDENTITY_FILE)) {
            Ok(bytes) => parse(path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                claim(path, cluster).map_err(io)?
            }
            Err(error) => return Err(io(error)),
        };
        if found.cluster != cluster {
            let (path, found) = (path.to_owned(), found.cluster);
            return Err(DataDirError::OtherCluster { path, expected: cluster, found });
        }
        if disk.space().map_err(io)?.is_read_only {
            tracing::error!(path = %path.display(), "data directory on a read-only file system: its volumes serve reads only; make it writable and restart");
        }
        tracing::debug!(path = %path.display(), disk = %found.disk, "data directory in use");
        Ok(Self { path: path.to_owned(), disk, pace, _lock: lock })
    }

    /// The directory with the names of its files.
    pub(crate) fn listed(self) -> Result<(Self, Vec<String>), DataDirError> {
        match self.disk.list() {
            Ok(names) => Ok((self, names)),
            Err(source) => Err(DataDirError::Io { path: self.path, source }),
        }
    }

    /// A disk that this process alone knows of, such as one in memory.
    pub fn private(name: &str, disk: Arc<dyn Disk>) -> Self {
        Self { path: name.into(), disk, pace: Arc::default(), _lock: None }
    }
}

/// Makes a folder and those above it, each synced into the one it is in: what is synced in
/// a folder is lost if the folder itself is.
fn create_folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    create_folder(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    File::open(parent)?.sync_all()
}

fn lock(path: &Path) -> Result<Option<File>, DataDirError> {
    let io = |source| DataDirError::Io { path: path.to_owned(), source };
    let name = path.join(LOCK_FILE);
    let file = match File::options().create(true).truncate(false).write(true).open(&name) {
        Err(error) if is_read_only(&error) => match File::open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file,
        },
        file => file,
    };
    let file = file.map_err(io)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse { path: path.to_owned() }),
        Err(error) => Err(io(error.into())),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Identity, DataDirError> {
    serde_json::from_slice(bytes).map_err(|error| DataDirError::Identity {
        path: path.join(IDENTITY_FILE),
        reason: error.to_string(),
    })
}

/// Writes the identity of a new directory: whole, or not at all.
fn claim(path: &Path, cluster: Uuid) -> io::Result<Identity> {
    let identity = Identity { cluster, disk: Uuid::new_v4() };
    let temporary = path.join(format!("{IDENTITY_FILE}.tmp"));
    fs::write(&temporary, serde_json::to_vec_pretty(&identity)?)?;
    File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, path.join(IDENTITY_FILE))?;
    File::open(path)?.sync_all()?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_user_and_one_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/disk");
        let cluster = Uuid::from_u128(1);
        let open = |cluster| DataDir::open(&path, cluster, Arc::default());
        let first = open(cluster).unwrap();
        assert!(matches!(open(cluster), Err(DataDirError::InUse { .. })));
        drop(first);
        assert!(open(cluster).is_ok());
        let other = open(Uuid::from_u128(2));
        assert!(matches!(other, Err(DataDirError::OtherCluster { .. })));
        fs::write(path.join(IDENTITY_FILE), b"{").unwrap();
        assert!(matches!(open(cluster), Err(DataDirError::Identity { .. })));
    }
}
