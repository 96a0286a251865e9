//! `hayrick status`: a server on one screen.

use std::fmt::Write as _;

use clap::Args;
use hayrick_directory::http::admin::DirectoryStatus;
use hayrick_store::jobs::JobStatus;
use hayrick_store::status::{DiskStatus, StoreStatus, VolumeState, VolumeStatus};
use serde::Serialize;

use super::volume::volume_table;
use super::{Admin, AdminArgs, job};
use crate::failure::Failure;
use crate::output::{Column, Output, one_line, table};
use crate::units::{count, percent, size};

/// More volumes than this do not fit on a screen.
const MAX_VOLUMES: usize = 20;

/// `hayrick status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Serialize)]
struct Status {
    directory: DirectoryStatus,
    store: StoreStatus,
    jobs: Vec<JobStatus>,
}

/// Runs the command.
pub async fn run(args: &StatusArgs, output: Output) -> Result<(), Failure> {
    let admin = Admin::new(&args.admin);
    let mut jobs: Vec<JobStatus> = admin.get("/store/jobs").await?;
    jobs.retain(|job| job.outcome.is_none());
    let status = Status {
        directory: admin.get("/directory/status").await?,
        store: admin.get("/store/status").await?,
        jobs,
    };
    output.answer(&status, for_people)
}

fn for_people(status: &Status) -> String {
    let Status { directory, store, jobs } = status;
    let mut text = format!("{}\n\n{}\n", summary(directory, store), disk_table(&store.disks));
    let told = volumes(&mut text, &store.volumes);
    debug_assert!(told.is_ok(), "a String takes everything");
    for job in jobs {
        text.push('\n');
        text.push_str(&job::line(job));
    }
    text.truncate(text.trim_end().len());
    text
}

fn summary(directory: &DirectoryStatus, store: &StoreStatus) -> String {
    let sum = |of: fn(&VolumeStatus) -> u64| store.volumes.iter().map(of).sum::<u64>();
    let (garbage, file) = (sum(|volume| volume.garbage_bytes), sum(|volume| volume.file_bytes));
    format!(
        "cluster   {}\n\
         needles   {} live ({}), {} waiting to be deleted\n\
         garbage   {} of {} ({})\n\
         volumes   {}, {} of them writable\n\
         buckets   {}",
        directory.cluster_id,
        count(sum(|volume| volume.live_needles)),
        size(sum(|volume| volume.live_bytes)),
        count(directory.garbage_needles),
        size(garbage),
        size(file),
        percent(garbage, file),
        directory.volumes,
        directory.writable_volumes,
        directory.buckets,
    )
}

fn disk_table(disks: &[DiskStatus]) -> String {
    let note = |disk: &DiskStatus| match &disk.problem {
        Some(problem) => format!("failed: {}", one_line(problem)),
        None if disk.has_room => String::new(),
        None => "full: free some space".to_owned(),
    };
    table(
        disks,
        &[
            Column::text("DISK", |disk| one_line(&disk.path)),
            Column::number("SIZE", |disk| size(disk.total_bytes)),
            Column::number("FREE", |disk| size(disk.free_bytes)),
            Column::number("FREE%", |disk| percent(disk.free_bytes, disk.total_bytes)),
            Column::number("VOLUMES", |disk| disk.volumes.to_string()),
            Column::text("NOTE", note),
        ],
    )
}

fn volumes(text: &mut String, volumes: &[VolumeStatus]) -> std::fmt::Result {
    let mut shown: Vec<&VolumeStatus> = volumes.iter().collect();
    // Those that need a look come first, should there be more than fit.
    shown.sort_by_key(|volume| (!needs_a_look(volume), volume.volume));
    shown.truncate(MAX_VOLUMES);
    writeln!(text, "\n{}", volume_table(shown.iter().copied()))?;
    if volumes.len() > shown.len() {
        writeln!(text, "… and {} more: hayrick volume list", volumes.len() - shown.len())?;
    }
    for volume in shown {
        if let Some(reason) = &volume.reason {
            writeln!(text, "volume {}: {}", volume.volume, one_line(reason))?;
        }
        if volume.damaged_ranges > 0 || volume.failed_reads > 0 {
            writeln!(
                text,
                "volume {}: damage was met; look closer: hayrick volume verify {}",
                volume.volume, volume.volume
            )?;
        }
    }
    Ok(())
}

fn needs_a_look(volume: &VolumeStatus) -> bool {
    matches!(volume.state, VolumeState::Failed | VolumeState::Unavailable | VolumeState::DiskFull)
        || volume.damaged_ranges > 0
        || volume.failed_reads > 0
}
