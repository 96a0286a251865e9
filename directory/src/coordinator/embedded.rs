//! The coordinator of a cluster that lives in one process: one small file.

mod amend;
mod file;
mod state;

use std::fs::{File, OpenOptions, TryLockError};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use hayrick_store::VolumeId;
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use self::amend::Amendment;
pub use self::amend::MapChanges;
use self::state::State;
use super::{Change, ClusterMap, Coordinator, CoordinatorError, Illness, Order, OrderId, Volume};
use crate::{AccessKey, Bucket, BucketName, StoreId};

/// Keeps the cluster map in a JSON file that only its owner may read (it holds the
/// access keys), replaced as a whole by every change.
pub struct EmbeddedCoordinator {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// What readers see; replaced only after the file was.
    map: watch::Sender<Arc<ClusterMap>>,
    /// Held while a change is written, so that changes follow one another.
    writer: Mutex<Writer>,
    _lock: File,
}

struct Writer {
    state: State,
    /// A change may be on the disk or not; see [`CoordinatorError::Failed`].
    failed: bool,
}

impl EmbeddedCoordinator {
    /// Opens the map kept in the file `path`, or begins a new cluster if there is
    /// none. `path` with `.lock` appended is locked for as long as this value lives.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, CoordinatorError> {
        let path = path.into();
        let lock = lock(&path)?;
        let state = if let Some(state) = file::read(&path)? {
            state
        } else {
            let state = State::new_cluster();
            file::write(&path, &state).map_err(file::WriteError::into_inner)?;
            state
        };
        let map = watch::Sender::new(Arc::clone(&state.map));
        let writer = Mutex::new(Writer { state, failed: false });
        Ok(Self { shared: Arc::new(Shared { path, map, writer, _lock: lock }) })
    }

    /// Runs a change on a thread where it may wait for the disk, to its end.
    fn change<T: Send + 'static>(
        &self,
        edit: impl FnOnce(&mut State) -> Result<T, CoordinatorError> + Send + 'static,
    ) -> Change<'_, T> {
        let shared = Arc::clone(&self.shared);
        let task = tokio::task::spawn_blocking(move || shared.change(edit));
        // The task is never aborted, so it fails to join only if it panicked.
        task.map(|joined| joined.unwrap_or(Err(CoordinatorError::Failed))).boxed()
    }
}

impl Shared {
    fn change<T>(
        &self,
        edit: impl FnOnce(&mut State) -> Result<T, CoordinatorError>,
    ) -> Result<T, CoordinatorError> {
        let mut writer = self.writer.lock();
        if writer.failed {
            return Err(CoordinatorError::Failed);
        }
        let mut state = writer.state.clone();
        let answer = edit(&mut state)?;
        file::write(&self.path, &state).map_err(|error| {
            writer.failed = matches!(error, file::WriteError::Unsure(_));
            error.into_inner()
        })?;
        self.map.send_replace(Arc::clone(&state.map));
        writer.state = state;
        Ok(answer)
    }
}

fn lock(path: &Path) -> Result<File, CoordinatorError> {
    let lock_path = path.with_added_extension("lock");
    let io = |action| file::io_error(action, &lock_path);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600);
    let lock = options.open(&lock_path).map_err(io("open"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(CoordinatorError::Locked(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(io("lock")(error)),
    }
}

impl Coordinator for EmbeddedCoordinator {
    fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.shared.map.borrow())
    }

    fn subscribe(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.shared.map.subscribe()
    }

    fn reserve_volume_id(&self) -> Change<'_, VolumeId> {
        self.change(State::reserve_volume_id)
    }

    fn publish_volume(&self, id: VolumeId, volume: Volume) -> Change<'_, ()> {
        self.change(move |state| state.publish_volume(id, volume))
    }

    fn update_volume(&self, id: VolumeId, expected: u64, volume: Volume) -> Change<'_, u64> {
        self.change(move |state| state.update_volume(id, expected, volume))
    }

    fn lease_keys(&self, volume: VolumeId, count: u64) -> Change<'_, Range<u64>> {
        self.change(move |state| state.lease_keys(volume, count))
    }

    fn create_bucket(&self, bucket: Bucket) -> Change<'_, ()> {
        self.change(move |state| state.create_bucket(bucket))
    }

    fn update_bucket(&self, expected: u64, bucket: Bucket) -> Change<'_, u64> {
        self.change(move |state| state.update_bucket(expected, bucket))
    }

    fn remove_bucket(&self, name: &BucketName, expected: u64) -> Change<'_, ()> {
        let name = name.clone();
        self.change(move |state| state.remove_bucket(&name, expected))
    }

    fn add_access_key(&self, key: AccessKey) -> Change<'_, ()> {
        self.change(move |state| state.add_access_key(key))
    }

    fn remove_access_key(&self, id: &str) -> Change<'_, ()> {
        let id = id.to_owned();
        self.change(move |state| state.remove_access_key(&id))
    }

    fn put_order(&self, order: Order) -> Change<'_, ()> {
        self.change(move |state| {
            state.put_order(order);
            Ok(())
        })
    }

    fn remove_order(&self, id: &OrderId) -> Change<'_, ()> {
        let id = id.clone();
        self.change(move |state| state.remove_order(&id))
    }

    fn mark_ill(&self, store: &StoreId, illness: Illness) -> Change<'_, ()> {
        let store = store.clone();
        self.change(move |state| {
            state.mark_ill(store, illness);
            Ok(())
        })
    }

    fn mark_well(&self, store: &StoreId) -> Change<'_, ()> {
        let store = store.clone();
        self.change(move |state| {
            state.mark_well(&store);
            Ok(())
        })
    }

    fn remove_store(&self, id: &StoreId) -> Change<'_, ()> {
        let id = id.clone();
        self.change(move |state| state.remove_store(&id))
    }
}

#[cfg(test)]
mod tests;
