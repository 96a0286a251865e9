//! Comparing names and volumes.

use std::sync::Arc;

use super::Directory;
use crate::fsck::{Fsck, FsckRequest, FsckStatus};
use crate::{DirectoryError, SystemClock, WallClock as _};

impl Directory {
    /// Begins to compare the names with what the replicas of volumes hold.
    ///
    /// # Errors
    /// [`DirectoryError::Busy`] while another comparison is under way.
    pub fn start_fsck(&self, request: FsckRequest) -> Result<FsckStatus, DirectoryError> {
        let FsckRequest { mut volumes, grace_ms, delete_orphans } = request;
        let map = self.map();
        if let Some(unknown) = volumes.iter().find(|volume| !map.volumes.contains_key(volume)) {
            return Err(DirectoryError::NoVolume(*unknown));
        }
        if volumes.is_empty() {
            volumes.extend(map.volumes.keys());
        }
        let shared = &self.shared;
        let fsck = Fsck {
            coordinator: Arc::clone(&shared.coordinator),
            names: Arc::clone(&shared.names),
            stores: Arc::clone(&shared.stores),
            young_after_ms: SystemClock.now_ms().saturating_sub(grace_ms),
            due_ms: delete_orphans.then(|| self.after_grace_ms()),
        };
        shared.fsck.start(fsck, volumes)
    }

    /// How far the comparison is, or what the last one found.
    pub fn fsck_status(&self) -> FsckStatus {
        self.shared.fsck.status()
    }

    /// Stops the comparison; what it has queued for deletion stays queued.
    pub fn stop_fsck(&self) {
        self.shared.fsck.stop();
    }
}
