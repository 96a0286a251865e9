//! Long tasks that an operator starts and watches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::id::VolumeId;
use crate::store::Store;
use crate::sync::{SyncOrder, Synced};
use crate::volume::{Compacted, Progress, VerifyReport, Volume};

/// How many jobs that are over are remembered.
const REMEMBERED: usize = 100;
/// How many may run at one time, beside syncs.
const MAX_RUNNING: usize = 4;
/// How many syncs may run at one time.
const MAX_SYNCS: usize = 4;

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

/// What a job on a thread of its own does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Copies what is alive into a new file.
    Compact,
    /// Reads every byte and tells what is damaged.
    Verify,
}

impl From<Task> for JobKind {
    fn from(task: Task) -> Self {
        match task {
            Task::Compact => Self::Compact,
            Task::Verify => Self::Verify,
        }
    }
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
    syncs: Vec<JoinHandle<()>>,
}

struct Job {
    status: JobStatus,
    progress: Progress,
    /// What a sync was started with.
    sync: Option<SyncOrder>,
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
    #[error("{most} jobs are running; wait for one to end")]
    TooMany {
        /// How many that is.
        most: usize,
    },
}

impl Jobs {
    /// Starts a compaction or verification on a thread of its own, and tells of it.
    pub fn start(
        &self,
        store: &Arc<Store>,
        task: Task,
        volume: VolumeId,
    ) -> Result<JobStatus, StartError> {
        let mut book = self.jobs.lock();
        let of_volume = |job: &&Job| job.status.volume == volume && job.sync.is_none();
        if let Some(job) = book.running().find(of_volume) {
            return Err(StartError::Running { volume, job: job.status.id });
        }
        if book.running().filter(|job| job.sync.is_none()).count() >= MAX_RUNNING {
            return Err(StartError::TooMany { most: MAX_RUNNING });
        }
        let (status, progress) = book.begin(task.into(), volume, None);
        let (store, id) = (Arc::clone(store), status.id);
        std::thread::spawn(move || {
            let outcome = run(&store, task, volume, &progress);
            store.jobs().finish(id, outcome);
        });
        Ok(status)
    }

    /// Starts a sync beside the jobs of other kinds, and tells of it. One that is under way
    /// and the same is told of instead.
    pub(crate) fn start_sync(
        &self,
        store: &Arc<Store>,
        volume: Arc<Volume>,
        order: SyncOrder,
    ) -> Result<JobStatus, StartError> {
        let mut book = self.jobs.lock();
        let id = volume.id();
        let of_volume = |job: &&Job| job.status.volume == id && job.sync.is_some();
        if let Some(job) = book.running().find(of_volume) {
            let is_same = job.sync.as_ref() == Some(&order);
            let running = StartError::Running { volume: id, job: job.status.id };
            return if is_same { Ok(job.now()) } else { Err(running) };
        }
        if book.running().filter(|job| job.sync.is_some()).count() >= MAX_SYNCS {
            return Err(StartError::TooMany { most: MAX_SYNCS });
        }
        let (status, progress) = book.begin(JobKind::Sync, id, Some(order.clone()));
        let (job, store) = (status.id, Arc::clone(store));
        book.syncs.retain(|task| !task.is_finished());
        book.syncs.push(tokio::spawn(async move {
            let outcome = order.carry_out(&store, volume, progress).await;
            store.jobs().finish(job, outcome);
        }));
        Ok(status)
    }

    /// Ends all syncs, wherever they are: they can be begun again.
    pub(crate) async fn end_syncs(&self) {
        let syncs = std::mem::take(&mut self.jobs.lock().syncs);
        syncs.iter().for_each(JoinHandle::abort);
        // What they hold of the store is gone when they are.
        futures::future::join_all(syncs).await;
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
    fn running(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter().filter(|job| job.status.outcome.is_none())
    }

    fn begin(
        &mut self,
        kind: JobKind,
        volume: VolumeId,
        sync: Option<SyncOrder>,
    ) -> (JobStatus, Progress) {
        self.last_id += 1;
        let started =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let status = JobStatus {
            id: self.last_id,
            kind,
            volume,
            done_bytes: 0,
            total_bytes: 0,
            started_ms: u64::try_from(started.as_millis()).unwrap_or(u64::MAX),
            outcome: None,
        };
        let progress = Progress::default();
        self.jobs.push_back(Job { status: status.clone(), progress: progress.clone(), sync });
        self.forget_old();
        (status, progress)
    }

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

fn run(store: &Store, task: Task, id: VolumeId, progress: &Progress) -> JobOutcome {
    let volume = match store.volume(id) {
        Ok(volume) => volume,
        Err(error) => return JobOutcome::Failed(error.to_string()),
    };
    let outcome = match task {
        Task::Compact => {
            volume.compact(progress).map(JobOutcome::Compacted).map_err(|error| error.to_string())
        }
        Task::Verify => {
            volume.verify(progress).map(JobOutcome::Verified).map_err(|error| error.to_string())
        }
    };
    outcome.unwrap_or_else(|reason| {
        tracing::error!(volume = %id, ?task, %reason, "job failed");
        JobOutcome::Failed(reason)
    })
}
