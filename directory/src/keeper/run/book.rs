//! What the keeper is doing, was doing, and will do: for operators, and to keep within limits.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use hayrick_store::VolumeId;
use serde::{Deserialize, Serialize};

use crate::StoreId;
use crate::keeper::plan::{Job, Work};

/// How many jobs that are over are remembered.
const REMEMBERED: usize = 100;

/// A job: all steps of one piece of work on one volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReport {
    /// Counted from 1 since this keeper's start.
    pub id: u64,
    /// The volume.
    pub volume: VolumeId,
    /// What is done, in words.
    pub work: String,
    /// The step that is being taken, or was taken last.
    pub step: String,
    /// Steps that were begun.
    pub steps: u64,
    /// Bytes that the present step has gone over.
    pub done_bytes: u64,
    /// Bytes that it has to go over, as far as known.
    pub total_bytes: u64,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Why it ended without being done. It is tried again after a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A job that waits for others to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingJob {
    /// The volume.
    pub volume: VolumeId,
    /// What is to be done, in words.
    pub work: String,
}

/// A volume that is not as it should be, where nothing can be done now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckVolume {
    /// The volume.
    pub volume: VolumeId,
    /// Why.
    pub reason: String,
}

#[derive(Default)]
pub(super) struct Book {
    last_id: u64,
    active: BTreeMap<VolumeId, Active>,
    done: VecDeque<JobReport>,
    pub(super) waiting: Vec<WaitingJob>,
    pub(super) stuck: Vec<StuckVolume>,
    pub(super) is_paused: bool,
}

struct Active {
    work: Work,
    report: JobReport,
    targets: Vec<StoreId>,
    /// A step is being taken.
    is_running: bool,
}

impl Book {
    /// Whether a step of the volume is being taken.
    pub(super) fn is_running(&self, volume: VolumeId) -> bool {
        self.active.get(&volume).is_some_and(|active| active.is_running)
    }

    /// Whether the volume's work has begun.
    pub(super) fn is_active(&self, volume: VolumeId) -> bool {
        self.active.contains_key(&volume)
    }

    pub(super) fn active(&self) -> usize {
        self.active.len()
    }

    /// Whether each of the job's targets has room for one more.
    pub(super) fn has_room(&self, job: &Job, per_store: usize) -> bool {
        job.targets().all(|target| {
            let others = self.active.iter().filter(|(volume, _)| **volume != job.volume);
            others.filter(|(_, active)| active.targets.contains(target)).count() < per_store
        })
    }

    /// A step begins, of the work under way or of a new one.
    pub(super) fn begin(&mut self, job: &Job) {
        let goes_on = self.active.get(&job.volume).is_some_and(|active| {
            // Fences belong to whatever they were made necessary by.
            active.work == job.work || job.work == Work::Settle
        });
        if !goes_on {
            self.end(job.volume, None);
            self.last_id += 1;
            let (id, work) = (self.last_id, job.work.to_string());
            let report = JobReport {
                id,
                volume: job.volume,
                work,
                step: String::new(),
                steps: 0,
                done_bytes: 0,
                total_bytes: 0,
                started_ms: now_ms(),
                ended_ms: None,
                error: None,
            };
            tracing::info!(job = id, volume = %job.volume, work = report.work, "job begun");
            let (work, targets) = (job.work.clone(), Vec::new());
            self.active.insert(job.volume, Active { work, report, targets, is_running: false });
        }
        if let Some(active) = self.active.get_mut(&job.volume) {
            active.is_running = true;
            active.targets = job.targets().cloned().collect();
            active.report.step = job.step.to_string();
            active.report.steps += 1;
            (active.report.done_bytes, active.report.total_bytes) = (0, 0);
        }
    }

    /// How far the present step has come.
    pub(super) fn progress(&mut self, volume: VolumeId, done_bytes: u64, total_bytes: u64) {
        if let Some(active) = self.active.get_mut(&volume) {
            (active.report.done_bytes, active.report.total_bytes) = (done_bytes, total_bytes);
        }
    }

    /// A step is over; after a failure so is the job, until it is tried again.
    pub(super) fn step_over(&mut self, volume: VolumeId, error: Option<String>) {
        if let Some(active) = self.active.get_mut(&volume) {
            active.is_running = false;
        }
        if error.is_some() {
            self.end(volume, error);
        }
    }

    /// Ends the jobs of which no step is left.
    pub(super) fn end_all_but(&mut self, planned: impl Fn(VolumeId) -> bool) {
        let over =
            self.active.iter().filter(|(volume, active)| !active.is_running && !planned(**volume));
        let over: Vec<_> = over.map(|(volume, _)| *volume).collect();
        for volume in over {
            self.end(volume, None);
        }
    }

    fn end(&mut self, volume: VolumeId, error: Option<String>) {
        let Some(Active { mut report, .. }) = self.active.remove(&volume) else { return };
        let (job, work, steps) = (report.id, &report.work, report.steps);
        match &error {
            None => tracing::info!(job, %volume, work, steps, "job done"),
            Some(error) => tracing::warn!(job, %volume, work, steps, %error, "job failed"),
        }
        let outcome = if error.is_none() { "done" } else { "failed" };
        metrics::counter!("hayrick_keeper_jobs_total", "outcome" => outcome).increment(1);
        report.error = error;
        report.ended_ms = Some(now_ms());
        self.done.push_back(report);
        while self.done.len() > REMEMBERED {
            self.done.pop_front();
        }
    }

    /// Another leads: what runs here is not this keeper's any more.
    pub(super) fn forget(&mut self) {
        self.active.clear();
        self.waiting.clear();
        self.stuck.clear();
    }

    pub(super) fn running(&self) -> Vec<JobReport> {
        self.active.values().map(|active| active.report.clone()).collect()
    }

    /// The jobs that are over, newest first.
    pub(super) fn done(&self) -> Vec<JobReport> {
        self.done.iter().rev().cloned().collect()
    }
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
