//! Jobs of a running server: started, watched, and stopped by Ctrl-C.

use std::time::Duration;

use hayrick_store::Synced;
use hayrick_store::jobs::{JobKind, JobOutcome, JobStatus};

use super::{Admin, poll};
use crate::failure::{Exit, Failure};
use crate::output::{Output, one_line};
use crate::progress::Progress;
use crate::units;

/// How long a job that was asked to stop is waited for.
const CANCEL_WAIT: Duration = Duration::from_secs(5);

/// Waits for a job's end with a progress bar. Ctrl-C cancels the job.
pub async fn watch(admin: &Admin, job: JobStatus, output: Output) -> Result<JobOutcome, Failure> {
    let progress = Progress::new(label(&job));
    let ended = tokio::select! {
        ended = outcome(admin, job.id, &progress) => ended,
        _ = tokio::signal::ctrl_c() => {
            progress.clear();
            return Err(cancel(admin, &job, output).await);
        }
    };
    progress.clear();
    ended
}

async fn outcome(admin: &Admin, id: u64, progress: &Progress) -> Result<JobOutcome, Failure> {
    poll(async || {
        let job: JobStatus = admin.get(&path(id)).await.map_err(|failure| {
            let message = format!("lost sight of job {id}: {}", failure.message);
            Failure { message, ..failure }
        })?;
        progress.set(job.done_bytes, job.total_bytes);
        Ok(job.outcome)
    })
    .await
}

/// The path of a job.
pub fn path(id: u64) -> String {
    format!("/store/jobs/{id}")
}

async fn cancel(admin: &Admin, job: &JobStatus, output: Output) -> Failure {
    let failure = Failure::interrupted();
    if let Err(error) = admin.delete(&path(job.id)).await {
        output.note(format_args!("job {} was not stopped: {error}", job.id));
        return failure.hint("see whether it goes on: hayrick volume jobs");
    }
    let quiet = Progress::hidden();
    let ended = tokio::time::timeout(CANCEL_WAIT, outcome(admin, job.id, &quiet)).await;
    match ended {
        Ok(Ok(JobOutcome::Failed(_))) => {
            output.note(format_args!("{} is cancelled; nothing was changed", label(job)));
        }
        // It was over before it could be stopped.
        Ok(Ok(_)) => output.note(format_args!("{} was over already", label(job))),
        Ok(Err(_)) | Err(_) => {
            output.note(format_args!("{} was asked to stop", label(job)));
        }
    }
    failure
}

fn label(job: &JobStatus) -> String {
    format!("{} of volume {}", word(job.kind), job.volume)
}

/// The word in commands and tables.
pub const fn word(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Compact => "compact",
        JobKind::Verify => "verify",
        JobKind::Sync => "sync",
    }
}

/// How a job stands, in a few words.
pub fn standing(job: &JobStatus) -> String {
    match &job.outcome {
        None => format!("running, {}", units::percent(job.done_bytes, job.total_bytes)),
        Some(JobOutcome::Compacted(done)) => {
            format!("{} → {}", units::size(done.before_bytes), units::size(done.after_bytes))
        }
        Some(JobOutcome::Verified(report)) if report.damaged.is_empty() => "healthy".to_owned(),
        Some(JobOutcome::Verified(report)) => format!("{} damaged", report.damaged.len()),
        Some(JobOutcome::Synced(done)) => synced(done),
        Some(JobOutcome::Failed(reason)) => format!("failed: {}", one_line(reason)),
    }
}

fn synced(done: &Synced) -> String {
    let Synced { needles, tombstones, repaired, bytes, unreadable } = *done;
    let lost = match unreadable {
        0 => String::new(),
        lost => format!("; {} not to be had", units::count(lost)),
    };
    format!(
        "{} needles, {} deletions, {} repaired, {}{lost}",
        units::count(needles),
        units::count(tombstones),
        units::count(repaired),
        units::size(bytes)
    )
}

/// A running job on one line.
pub fn line(job: &JobStatus) -> String {
    format!("job {}: {}, {}\n", job.id, label(job), standing(job))
}

/// What a job's failure is to its command.
pub fn failed(reason: &str) -> Failure {
    Failure::new(Exit::Failed, one_line(reason))
}
