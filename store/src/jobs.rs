//! Long tasks that an operator starts and watches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::id::VolumeId;
use crate::store::Store;
use crate::sync::Synced;
use crate::volume::{Compacted, Progress, VerifyReport};

/// How many jobs that are over are remembered.
const REMEMBERED: usize = 100;
/// How many may run at one time.
const MAX_RUNNING: usize = 4;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Copies what is alive into a new file.
    Compact,
    /// Reads every byte and tells what is damaged.
    Verify,
    /// Fetches from other replicas what this one lacks.
    Sync,
}

/// A job as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Counted from 1 since the store's start.
    pub id: u64,
    /// What it does.
    pub kind: JobKind,
    /// To which volume.
    pub volume: VolumeId,
    /// Bytes done.
    pub done_bytes: u64,
    /// Bytes in all, as far as known.
    pub total_bytes: u64,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<JobOutcome>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobOutcome {
    /// The volume is compacted.
    Compacted(Compacted),
    /// The volume is verified; what is damaged stands in the report.
    Verified(VerifyReport),
    /// The replica has all that its sources could give.
    Synced(Synced),
    /// It did not work, for this reason. A sync keeps what it fetched; else nothing was changed.
    Failed(String),
}

/// The jobs of a store.
#[derive(Default)]
pub struct Jobs {
    jobs: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    last_id: u64,
    jobs: VecDeque<Job>,
}

struct Job {
    status: JobStatus,
    progress: Progress,
}

/// Why a job was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The volume has a job already: this one.
    #[error("volume {volume} has job {job} running; wait for it or cancel it")]
    Running {
        /// The volume.
        volume: VolumeId,
        /// Its job.
        job: u64,
    },
    /// As many jobs run as may.
    #[error("{MAX_RUNNING} jobs are running; wait for one to end")]
    TooMany,
}

impl Jobs {
    /// Starts a job on a thread of its own and gives its number.
    pub fn start(
        &self,
        store: &Arc<Store>,
        kind: JobKind,
        volume: VolumeId,
    ) -> Result<JobStatus, StartError> {
        let mut book = self.jobs.lock();
        let running = || book.jobs.iter().filter(|job| job.status.outcome.is_none());
        if let Some(job) = running().find(|job| job.status.volume == volume) {
            return Err(StartError::Running { volume, job: job.status.id });
        }
        if running().count() >= MAX_RUNNING {
            return Err(StartError::TooMany);
        }
        book.last_id += 1;
        let started =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let started_ms = u64::try_from(started.as_millis()).unwrap_or(u64::MAX);
        let id = book.last_id;
        let status = JobStatus {
            id,
            kind,
            volume,
            done_bytes: 0,
            total_bytes: 0,
            started_ms,
            outcome: None,
        };
        let progress = Progress::default();
        book.jobs.push_back(Job { status: status.clone(), progress: progress.clone() });
        book.forget_old();
        let store = Arc::clone(store);
        std::thread::spawn(move || {
            let outcome = run(&store, kind, volume, &progress);
            store.jobs().finish(id, outcome);
        });
        Ok(status)
    }

    /// One job.
    pub fn get(&self, id: u64) -> Option<JobStatus> {
        self.jobs.lock().jobs.iter().find(|job| job.status.id == id).map(Job::now)
    }

    /// All jobs that are remembered, oldest first.
    pub fn list(&self) -> Vec<JobStatus> {
        self.jobs.lock().jobs.iter().map(Job::now).collect()
    }

    /// Asks a job to stop at its next step; false if there is no such job.
    pub fn cancel(&self, id: u64) -> bool {
        let book = self.jobs.lock();
        let job = book.jobs.iter().find(|job| job.status.id == id);
        job.inspect(|job| job.progress.cancel()).is_some()
    }

    pub(crate) fn cancel_all(&self) {
        self.jobs.lock().jobs.iter().for_each(|job| job.progress.cancel());
    }

    fn finish(&self, id: u64, outcome: JobOutcome) {
        let mut book = self.jobs.lock();
        if let Some(job) = book.jobs.iter_mut().find(|job| job.status.id == id) {
            job.status.outcome = Some(outcome);
        }
    }
}

impl Book {
    fn forget_old(&mut self) {
        while self.jobs.len() > REMEMBERED {
            match self.jobs.iter().position(|job| job.status.outcome.is_some()) {
                Some(at) => drop(self.jobs.remove(at)),
                None => break,
            }
        }
    }
}

impl Job {
    fn now(&self) -> JobStatus {
        let (done_bytes, total_bytes) = self.progress.bytes();
        JobStatus { done_bytes, total_bytes, ..self.status.clone() }
    }
}

fn run(store: &Store, kind: JobKind, id: VolumeId, progress: &Progress) -> JobOutcome {
    let volume = match store.volume(id) {
        Ok(volume) => volume,
        Err(error) => return JobOutcome::Failed(error.to_string()),
    };
    let outcome = match kind {
        JobKind::Compact => {
            volume.compact(progress).map(JobOutcome::Compacted).map_err(|error| error.to_string())
        }
        JobKind::Sync => Err("not there yet".to_owned()),
        JobKind::Verify => {
            volume.verify(progress).map(JobOutcome::Verified).map_err(|error| error.to_string())
        }
    };
    outcome.unwrap_or_else(|reason| {
        tracing::error!(volume = %id, ?kind, %reason, "job failed");
        JobOutcome::Failed(reason)
    })
}
