//! The comparison that is under way, or the last one.

use std::sync::Arc;

use hayrick_store::VolumeId;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::{Fsck, FsckStatus, Step};
use crate::DirectoryError;

/// One comparison at a time, which ends with its directory.
#[derive(Default)]
pub(crate) struct FsckJob(Mutex<Current>);

#[derive(Default)]
struct Current {
    status: Arc<Mutex<FsckStatus>>,
    task: Option<AbortHandle>,
}

impl FsckJob {
    /// Begins one.
    ///
    /// # Errors
    /// [`DirectoryError::Busy`] while another is under way.
    pub(crate) fn start(
        &self,
        fsck: Fsck,
        volumes: Vec<VolumeId>,
    ) -> Result<FsckStatus, DirectoryError> {
        let mut current = self.0.lock();
        if current.status.lock().running {
            return Err(DirectoryError::Busy);
        }
        let begun = FsckStatus { running: true, volumes: volumes.len(), ..FsckStatus::default() };
        // The task of one that was stopped may still write to its own.
        let status = Arc::new(Mutex::new(begun.clone()));
        current.status = Arc::clone(&status);
        let task = tokio::spawn(async move {
            let tell = |step| status.lock().advance(step);
            let ended = fsck.run(volumes, &tell).await;
            let mut status = status.lock();
            status.running = false;
            if let Err(error) = ended {
                tracing::warn!(%error, "volumes not compared with the names");
                status.failed = Some(error.to_string());
            }
        });
        current.task = Some(task.abort_handle());
        Ok(begun)
    }

    /// How far it is.
    pub(crate) fn status(&self) -> FsckStatus {
        self.0.lock().status.lock().clone()
    }

    /// Stops it; what it has done stays.
    pub(crate) fn stop(&self) {
        let current = self.0.lock();
        let mut status = current.status.lock();
        if let (true, Some(task)) = (status.running, &current.task) {
            task.abort();
            status.running = false;
            status.failed = Some("it was stopped".to_owned());
        }
    }
}

impl Drop for FsckJob {
    fn drop(&mut self) {
        self.stop();
    }
}

impl FsckStatus {
    fn advance(&mut self, step: Step) {
        match step {
            Step::Listed => self.listed += 1,
            Step::Names(names) => self.names += u64::try_from(names).unwrap_or(u64::MAX),
            Step::Found(finding) => self.findings.push(finding),
        }
    }
}
