//! `hayrick volume`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use hayrick_directory::http::admin::{NewVolume, VolumeRequest};
use hayrick_store::VolumeId;
use hayrick_store::jobs::{JobOutcome, JobStatus};
use hayrick_store::status::{StoreStatus, VolumeStatus};
use hayrick_store::volume::files;
use serde_json::json;

use super::{Admin, AdminArgs, job};
use crate::cluster::{fsck, volume as cluster};
use crate::failure::{Exit, Failure};
use crate::offline;
use crate::offline::archive::export::{self, ExportArgs};
use crate::offline::archive::import::{self, ImportArgs};
use crate::offline::fix::FixArgs;
use crate::output::{Column, Output, facts, one_line, table};
use crate::units::{self, count, percent, size};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// List all volumes
    #[command(visible_alias = "ls")]
    List(AdminArgs),
    /// Show all numbers of one volume
    Show(OneArgs),
    /// Make a volume now, beside those that are made when they are needed
    Create(CreateArgs),
    /// Copy what is alive into a new file, and give back the rest
    Compact(JobArgs),
    /// Read every byte and name what is damaged
    Verify(VerifyArgs),
    /// List the records of a volume file, damaged ones too
    Dump(DumpArgs),
    /// Write a volume file as a tar, objects and all that is known of them
    Export(ExportArgs),
    /// Make a volume file again from such a tar
    Import(ImportArgs),
    /// Bring the files of volumes into order without a server
    Fix(FixArgs),
    /// Take no new needles until `set-writable`, in the whole cluster where there is one
    SetReadonly(ReadonlyArgs),
    /// Take new needles again
    SetWritable(OneArgs),
    /// In a cluster, move a replica to another store
    Move(cluster::MoveArgs),
    /// In a cluster, make a replica more
    Copy(cluster::CopyArgs),
    /// In a cluster, have every replica read whole and repaired from the others
    Repair(cluster::RepairArgs),
    /// In a cluster, compare volumes with the names
    #[command(after_help = fsck::HELP)]
    Fsck(fsck::FsckArgs),
    /// List jobs, running and done
    Jobs(AdminArgs),
    /// Stop a job
    Cancel(CancelArgs),
}

/// Commands about one volume.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// Which volume
    volume: VolumeId,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `hayrick volume set-readonly`.
#[derive(Debug, Args)]
pub struct ReadonlyArgs {
    /// Take new needles again, as `set-writable` does
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    one: OneArgs,
}

/// `hayrick volume create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// On how many stores
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u8).range(1..))]
    copies: u8,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `hayrick volume compact`.
#[derive(Debug, Args)]
pub struct JobArgs {
    /// Which volume
    volume: VolumeId,
    /// Start it and do not wait; see `hayrick volume jobs`
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `hayrick volume verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Which volume of a running server
    #[arg(required_unless_present = "file")]
    volume: Option<VolumeId>,
    /// A volume file that no server has open, in place of a running server
    #[arg(long, value_name = "FILE", conflicts_with_all = ["volume", "detach"])]
    file: Option<PathBuf>,
    /// Start it and do not wait; see `hayrick volume jobs`
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `hayrick volume dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// Which volume of a running server on this machine
    #[arg(required_unless_present = "file")]
    volume: Option<VolumeId>,
    /// A volume file, in place of a running server
    #[arg(long, value_name = "FILE", conflicts_with = "volume")]
    file: Option<PathBuf>,
    /// Check the data of every needle too, which reads the whole file
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// `hayrick volume cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Which job
    job: u64,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the command.
pub async fn run(command: VolumeCommand, output: Output) -> Result<(), Failure> {
    match command {
        VolumeCommand::List(args) => list(&args, output).await,
        VolumeCommand::Show(OneArgs { volume, admin }) => {
            let volume = find(&Admin::new(&admin), volume).await?;
            output.answer(&volume, shown)
        }
        VolumeCommand::Create(args) => create(&args, output).await,
        VolumeCommand::Compact(args) => compact(&args, output).await,
        VolumeCommand::Verify(args) => verify(args, output).await,
        VolumeCommand::Dump(args) => dump(args, output).await,
        VolumeCommand::Export(args) => export::run(args, output).await,
        VolumeCommand::Import(args) => import::run(args, output).await,
        VolumeCommand::Fix(args) => offline::fix::run(args, output).await,
        VolumeCommand::SetReadonly(ReadonlyArgs { off, one }) => {
            set_read_only(&one, !off, output).await
        }
        VolumeCommand::SetWritable(args) => set_read_only(&args, false, output).await,
        VolumeCommand::Move(args) => cluster::relocate(&args, output).await,
        VolumeCommand::Copy(args) => cluster::copy(&args, output).await,
        VolumeCommand::Repair(args) => cluster::repair(&args, output).await,
        VolumeCommand::Fsck(args) => fsck::run(&args, output).await,
        VolumeCommand::Jobs(args) => jobs(&args, output).await,
        VolumeCommand::Cancel(CancelArgs { job, admin }) => {
            Admin::new(&admin).delete(&job::path(job)).await?;
            output.answer(&json!({ "cancelled": job }), |_| format!("job {job} was asked to stop"))
        }
    }
}

async fn list(args: &AdminArgs, output: Output) -> Result<(), Failure> {
    let status: StoreStatus = Admin::new(args).get("/store/status").await?;
    output.answer(&status.volumes, |volumes| volume_table(volumes))
}

async fn find(admin: &Admin, id: VolumeId) -> Result<VolumeStatus, Failure> {
    let status: StoreStatus = admin.get("/store/status").await?;
    status.volumes.into_iter().find(|volume| volume.volume == id).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no volume {id}"))
            .hint("see which there are: hayrick volume list")
    })
}

/// Volumes as a table.
pub fn volume_table<'a>(volumes: impl IntoIterator<Item = &'a VolumeStatus>) -> String {
    table(
        volumes,
        &[
            Column::number("VOLUME", |volume| volume.volume.to_string()),
            Column::text("STATE", |volume| volume.state.as_str().to_owned()),
            Column::number("FILE", |volume| size(volume.file_bytes)),
            Column::number("FULL", |volume| percent(volume.file_bytes, volume.limit_bytes)),
            Column::number("NEEDLES", |volume| count(volume.live_needles)),
            Column::number("LIVE", |volume| size(volume.live_bytes)),
            Column::number("GARBAGE", |volume| size(volume.garbage_bytes)),
            Column::number("GARBAGE%", |volume| percent(volume.garbage_bytes, volume.file_bytes)),
            Column::number("QUEUE", |volume| count(volume.queue_depth)),
            Column::text("DISK", |volume| one_line(&volume.disk)),
        ],
    )
}

fn shown(volume: &VolumeStatus) -> String {
    let text = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), one_line);
    facts([
        ("volume", volume.volume.to_string()),
        ("disk", one_line(&volume.disk)),
        ("state", volume.state.as_str().to_owned()),
        ("reason", text(&volume.reason)),
        ("file", size(volume.file_bytes)),
        ("limit", size(volume.limit_bytes)),
        ("live", size(volume.live_bytes)),
        ("live needles", count(volume.live_needles)),
        ("garbage", size(volume.garbage_bytes)),
        ("garbage share", percent(volume.garbage_bytes, volume.file_bytes)),
        ("tombstones", count(volume.tombstones)),
        ("digest", text(&volume.digest)),
        ("generation", volume.generation.to_string()),
        ("waiting", count(volume.queue_depth)),
        ("puts since start", count(volume.puts)),
        ("deletes since start", count(volume.deletes)),
        ("syncs since start", count(volume.syncs)),
        ("failed reads", count(volume.failed_reads)),
        ("damaged ranges", volume.damaged_ranges.to_string()),
    ])
}

async fn create(args: &CreateArgs, output: Output) -> Result<(), Failure> {
    let request = VolumeRequest { copies: args.copies };
    let made: NewVolume = Admin::new(&args.admin).post("/directory/volumes", &request).await?;
    output.answer(&made, |made| {
        let stores: Vec<String> = made.stores.iter().map(ToString::to_string).collect();
        format!("volume {} is made on {}", made.volume, stores.join(", "))
    })
}

async fn start(
    admin: &Admin,
    what: &str,
    volume: VolumeId,
    detach: bool,
    output: Output,
) -> Result<Option<JobOutcome>, Failure> {
    let job: JobStatus = admin.start(&format!("/store/volumes/{volume}/{what}")).await?;
    if detach {
        let started = |job: &JobStatus| format!("job {} is started: hayrick volume jobs", job.id);
        return output.answer(&job, started).map(|()| None);
    }
    job::watch(admin, job, output).await.map(Some)
}

async fn compact(args: &JobArgs, output: Output) -> Result<(), Failure> {
    let admin = Admin::new(&args.admin);
    let volume = args.volume;
    match start(&admin, "compact", volume, args.detach, output).await? {
        None => Ok(()),
        Some(JobOutcome::Failed(reason)) => Err(job::failed(&reason)),
        Some(JobOutcome::Compacted(done)) => {
            output.answer(&done, |done| {
                format!(
                    "volume {volume}: {} → {}, {} needles",
                    size(done.before_bytes),
                    size(done.after_bytes),
                    count(done.live_needles),
                )
            })?;
            if done.damaged_needles == 0 {
                return Ok(());
            }
            let message =
                format!("volume {volume} has {} damaged needles", count(done.damaged_needles));
            let hint = format!("see which: hayrick volume verify {volume}");
            Err(Failure::new(Exit::Damaged, message).hint(hint))
        }
        Some(JobOutcome::Verified(_) | JobOutcome::Synced(_)) => {
            Err(job::failed("the server ran another job"))
        }
    }
}

async fn verify(args: VerifyArgs, output: Output) -> Result<(), Failure> {
    let VerifyArgs { volume, file, detach, admin } = args;
    let report = match (file, volume) {
        (Some(file), _) => offline::verify(file).await?,
        (None, None) => return Err(Failure::usage("name a volume, or a file with --file")),
        (None, Some(volume)) => {
            match start(&Admin::new(&admin), "verify", volume, detach, output).await? {
                None => return Ok(()),
                Some(JobOutcome::Verified(report)) => report,
                Some(JobOutcome::Failed(reason)) => return Err(job::failed(&reason)),
                Some(JobOutcome::Compacted(_) | JobOutcome::Synced(_)) => {
                    return Err(job::failed("the server ran another job"));
                }
            }
        }
    };
    offline::tell(&report, output)
}

async fn dump(args: DumpArgs, output: Output) -> Result<(), Failure> {
    let DumpArgs { volume, file, check, admin } = args;
    let (path, end) = match (file, volume) {
        (Some(file), _) => (file, None),
        (None, None) => return Err(Failure::usage("name a volume, or a file with --file")),
        (None, Some(volume)) => {
            // Behind the end that the server tells, a record may be half written.
            let status = find(&Admin::new(&admin), volume).await?;
            (PathBuf::from(status.disk).join(files::volume(volume)), Some(status.file_bytes))
        }
    };
    offline::dump(&path, end, check, output)
}

async fn set_read_only(args: &OneArgs, read_only: bool, output: Output) -> Result<(), Failure> {
    if cluster::set_read_only(args.volume, read_only, &args.admin, output).await?.is_some() {
        return Ok(());
    }
    let admin = Admin::new(&args.admin);
    let path = format!("/store/volumes/{}/read-only", args.volume);
    admin.put(&path, &read_only).await?;
    let volume = find(&admin, args.volume).await?;
    output
        .answer(&volume, |volume| format!("volume {} is {}", volume.volume, volume.state.as_str()))
}

async fn jobs(args: &AdminArgs, output: Output) -> Result<(), Failure> {
    let jobs: Vec<JobStatus> = Admin::new(args).get("/store/jobs").await?;
    output.answer(&jobs, |jobs| {
        table(
            jobs,
            &[
                Column::number("JOB", |job| job.id.to_string()),
                Column::text("KIND", |job| job::word(job.kind).to_owned()),
                Column::number("VOLUME", |job| job.volume.to_string()),
                Column::number("DONE", |job| size(job.done_bytes)),
                Column::number("OF", |job| size(job.total_bytes)),
                Column::text("STARTED", |job| units::time_ms(job.started_ms)),
                Column::text("OUTCOME", job::standing),
            ],
        )
    })
}
