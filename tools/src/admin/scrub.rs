//! `hayrick scrub`.

use std::collections::HashMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use hayrick_store::VolumeId;
use hayrick_store::status::{
    DiskScrubStatus, DiskScrubWork, ScrubStatus, StoreStatus, VolumeScrub, VolumeStatus,
};

use super::{Admin, AdminArgs, poll};
use crate::damage::{self, Damage, damage_table};
use crate::failure::{Exit, Failure};
use crate::output::{Column, Output, one_line, table};
use crate::progress::Progress;
use crate::units::{ago_ms, count, percent, rate, size};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ScrubCommand {
    /// Show how far the scrub is and what it has found
    Status(AdminArgs),
    /// Verify one volume, or all, from the beginning and without waiting for their turn
    Now(NowArgs),
    /// Stop reading until `resume`, after restarts too
    Pause(AdminArgs),
    /// Go on after `pause`
    Resume(AdminArgs),
}

/// `hayrick scrub now`.
#[derive(Debug, Args)]
pub struct NowArgs {
    /// Which volume [default: all]
    volume: Option<VolumeId>,
    /// Wait for the end, and exit with 4 if there is damage
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the command.
pub async fn run(command: ScrubCommand, output: Output) -> Result<(), Failure> {
    match command {
        ScrubCommand::Status(args) => {
            let status: ScrubStatus = Admin::new(&args).get("/store/scrub").await?;
            output.answer(&status, for_people)
        }
        ScrubCommand::Now(args) => now(&args, output).await,
        ScrubCommand::Pause(args) => {
            let status: ScrubStatus = Admin::new(&args).start("/store/scrub/pause").await?;
            output.answer(
                &status,
                |_| "the scrub is paused, after restarts too, until: hayrick scrub resume",
            )
        }
        ScrubCommand::Resume(args) => {
            let status: ScrubStatus = Admin::new(&args).start("/store/scrub/resume").await?;
            output.answer(&status, |_| "the scrub goes on where it was")
        }
    }
}

async fn now(args: &NowArgs, output: Output) -> Result<(), Failure> {
    let admin = Admin::new(&args.admin);
    let path = match args.volume {
        Some(volume) => format!("/store/scrub/now?volume={volume}"),
        None => "/store/scrub/now".to_owned(),
    };
    let begun = admin.start(&path).await.map_err(|failure| match failure.code.as_deref() {
        Some("ScrubPaused") => failure.hint("let it go on first: hayrick scrub resume"),
        Some("NoSuchVolume") => failure.hint("see which there are: hayrick volume list"),
        _ => failure,
    });
    let begun: ScrubStatus = begun?;
    if !args.wait {
        return output.answer(&begun, |_| "the scrub has begun: hayrick scrub status");
    }
    let volumes = wait(&admin, args.volume, output).await?;
    output.answer(&volumes, |volumes| volume_report(volumes))?;
    let listed = damage_of(&volumes);
    let places: u64 = volumes.iter().map(|volume| volume.damaged).sum();
    damage::refuse(&listed, places.saturating_sub(listed.len() as u64))
}

/// Waits until the volume, or every one, has been read to its end.
async fn wait(
    admin: &Admin,
    volume: Option<VolumeId>,
    output: Output,
) -> Result<Vec<VolumeScrub>, Failure> {
    let store: StoreStatus = admin.get("/store/status").await?;
    let sizes = store.volumes.iter().map(|of: &VolumeStatus| (of.volume, of.file_bytes)).collect();
    let progress = Progress::new("scrub".to_owned());
    let ended = tokio::select! {
        ended = poll(async || look(admin, volume, &sizes, &progress).await) => ended,
        _ = tokio::signal::ctrl_c() => {
            progress.clear();
            output.note("the scrub goes on: hayrick scrub status");
            return Err(Failure::interrupted());
        }
    };
    progress.clear();
    ended
}

/// The volumes once all of them have been read.
async fn look(
    admin: &Admin,
    volume: Option<VolumeId>,
    sizes: &HashMap<VolumeId, u64>,
    progress: &Progress,
) -> Result<Option<Vec<VolumeScrub>>, Failure> {
    let ScrubStatus { disks, mut volumes } = admin.get("/store/scrub").await?;
    volumes.retain(|of| volume.is_none_or(|volume| of.volume == volume));
    let size_of = |of: &VolumeScrub| sizes.get(&of.volume).copied().unwrap_or(0);
    let done = volumes.iter().map(|of| match of.pass {
        _ if !of.asked => size_of(of),
        Some(pass) => pass.done_bytes,
        None => 0,
    });
    progress.set(done.sum(), volumes.iter().map(size_of).sum());
    if !volumes.iter().any(|volume| volume.asked) {
        return Ok(Some(volumes));
    }
    if disks.iter().any(|disk| disk.work == DiskScrubWork::Paused) {
        return Err(Failure::new(Exit::Failed, "the scrub was paused before its end")
            .hint("let it go on: hayrick scrub resume"));
    }
    Ok(None)
}

fn for_people(status: &ScrubStatus) -> String {
    format!("{}\n\n{}", disk_table(&status.disks), volume_report(&status.volumes))
}

fn disk_table(disks: &[DiskScrubStatus]) -> String {
    let volume = |disk: &DiskScrubStatus| disk.volume.map_or("-".to_owned(), |id| id.to_string());
    let speed = |disk: &DiskScrubStatus| match disk.bytes_per_s {
        0 => "-".to_owned(),
        bytes => rate(bytes, Duration::from_secs(1)),
    };
    table(
        disks,
        &[
            Column::text("DISK", |disk| one_line(&disk.path)),
            Column::text("WORK", |disk| word(disk.work).to_owned()),
            Column::number("VOLUME", volume),
            Column::number("AT MOST", speed),
            Column::number("SINCE START", |disk| size(disk.scrubbed_bytes)),
        ],
    )
}

/// How each volume is, and below that what is damaged.
fn volume_report(volumes: &[VolumeScrub]) -> String {
    let last = |volume: &VolumeScrub| volume.last_pass_ms.map_or("never".to_owned(), ago_ms);
    let pass = |volume: &VolumeScrub| match volume.pass {
        Some(pass) => {
            format!("{} of {}", percent(pass.done_bytes, pass.total_bytes), size(pass.total_bytes))
        }
        None if volume.asked => "asked for".to_owned(),
        None => "-".to_owned(),
    };
    let text = table(
        volumes,
        &[
            Column::number("VOLUME", |volume| volume.volume.to_string()),
            Column::text("LAST PASS", last),
            Column::text("THIS PASS", pass),
            Column::number("DAMAGED", |volume| count(volume.damaged)),
        ],
    );
    let damage = damage_of(volumes);
    if damage.is_empty() { text } else { format!("{text}\n\n{}", damage_table(&damage)) }
}

fn damage_of(volumes: &[VolumeScrub]) -> Vec<Damage<'_>> {
    volumes.iter().flat_map(Damage::of_scrub).collect()
}

/// The word in tables.
const fn word(work: DiskScrubWork) -> &'static str {
    match work {
        DiskScrubWork::Running => "running",
        DiskScrubWork::Idle => "idle",
        DiskScrubWork::Paused => "paused",
        DiskScrubWork::Off => "off",
    }
}
