//! The data folder: in use by one process, and marked once it has been set up.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::failure::Failure;

/// Locked for as long as a server uses the folder; holds its process id.
const LOCK: &str = "LOCK";
/// There once the first start is over.
const MARK: &str = "hayrick.json";
/// The layout of the folder that this version makes and reads.
const LAYOUT: u32 = 1;

/// A data folder in use by this process.
pub struct DataFolder {
    path: PathBuf,
    /// Released by the kernel when the process ends, however it ends.
    _lock: File,
    is_new: bool,
    /// Set once, by the mark or by the first start in a cluster.
    cluster: OnceLock<Uuid>,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    layout: u32,
    /// The version that made it, for people.
    made_by: String,
    /// The cluster of many processes that the folder is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<Uuid>,
}

impl DataFolder {
    /// Takes the folder into use; makes it if it is missing.
    pub fn take(path: &Path) -> Result<Self, Failure> {
        let path = std::path::absolute(path).map_err(Failure::file("use data folder", path))?;
        // Only the owner may look in: it holds secrets and everybody's objects.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(Failure::file("make data folder", &path))?;
        let lock = lock(&path)?;
        let mark = read_mark(&path.join(MARK))?;
        let cluster = mark.as_ref().and_then(|mark| mark.cluster);
        let cluster = cluster.map(OnceLock::from).unwrap_or_default();
        Ok(Self { path, _lock: lock, is_new: mark.is_none(), cluster })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the directory keeps its files.
    pub fn directory(&self) -> PathBuf {
        self.path.join("directory")
    }

    /// Whether no first start has been completed here.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The cluster of many processes that the folder is part of, if it is of one.
    pub fn cluster(&self) -> Option<Uuid> {
        self.cluster.get().copied()
    }

    /// Notes durably that the first start is over.
    pub fn set_up(&self) -> Result<(), Failure> {
        self.write_mark(self.cluster())
    }

    /// Notes durably which cluster the folder is part of from now on.
    pub fn set_cluster(&self, cluster: Uuid) -> Result<(), Failure> {
        if self.cluster() != Some(cluster) {
            self.write_mark(Some(cluster))?;
            // Whoever joins knows the cluster of the folder, so there is only one.
            let _ = self.cluster.set(cluster);
        }
        Ok(())
    }

    fn write_mark(&self, cluster: Option<Uuid>) -> Result<(), Failure> {
        let path = self.path.join(MARK);
        let mark = Mark { layout: LAYOUT, made_by: env!("CARGO_PKG_VERSION").to_owned(), cluster };
        let text = serde_json::to_string(&mark).map_err(io::Error::other);
        let written = text.and_then(|text| replace(&path, text.as_bytes()));
        written.map_err(Failure::file("write", &path))
    }
}

/// Writes a file so that it is there whole or not at all.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_added_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join(LOCK);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    let mut file = options.open(&path).map_err(Failure::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(folder, &mut file)),
        Err(TryLockError::Error(error)) => return Err(Failure::file("lock", &path)(error)),
    }
    let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    noted.map_err(Failure::file("write", &path))?;
    Ok(file)
}

fn in_use(folder: &Path, lock: &mut File) -> Failure {
    let mut holder = String::new();
    // Only to say who it is.
    let _ = lock.take(32).read_to_string(&mut holder);
    let who = match holder.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    Failure::failed(format!("data folder {} is in use by {who}", folder.display()))
        .hint("stop that one first, or name another folder with --data")
}

/// The mark, if it is there; a folder of a newer layout is refused.
fn read_mark(path: &Path) -> Result<Option<Mark>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file("read", path)(error)),
    };
    let mark: Mark = serde_json::from_str(&text).map_err(|error| {
        Failure::failed(format!("{} cannot be read: {error}", path.display()))
            .hint("put it back from a backup; it tells how the folder is laid out")
    })?;
    if mark.layout > LAYOUT {
        let Mark { layout, made_by, .. } = mark;
        let message = format!(
            "the data folder has layout {layout}, made by Hayrick {made_by}; this version reads up to {LAYOUT}"
        );
        return Err(Failure::failed(message).hint("install that version or a newer one"));
    }
    Ok(Some(mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_folder_is_taken_once_and_new_until_set_up() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = DataFolder::take(&path).unwrap();
        assert!(folder.is_new());
        let refused = DataFolder::take(&path).err().unwrap();
        let pid = std::process::id().to_string();
        assert!(refused.message.contains(&pid) && refused.hint.is_some(), "{refused:?}");
        folder.set_up().unwrap();
        drop(folder);
        assert!(!DataFolder::take(&path).unwrap().is_new());
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(folder.path().join(MARK), text).unwrap();
        write(r#"{"layout": 2, "made_by": "9.9.9"}"#);
        let refused = DataFolder::take(folder.path()).err().unwrap();
        assert!(refused.message.contains("9.9.9"), "{refused}");
        write("{");
        assert_eq!(DataFolder::take(folder.path()).err().unwrap().exit, Exit::Failed);
    }
}
