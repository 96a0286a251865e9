//! `hayrick volume fsck`: names and volumes compared across the cluster.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use hayrick_directory::StoreId;
use hayrick_directory::fsck::{Agreement, FsckFinding, FsckRequest, FsckStatus, ReplicaNeedles};
use hayrick_store::VolumeId;
use serde_json::Value;

use crate::admin::{Admin, AdminArgs, poll};
use crate::failure::{Exit, Failure};
use crate::output::{Column, Output, one_line, table};
use crate::progress::Progress;
use crate::units::{count, size};

/// What `--help` tells of it.
pub const HELP: &str = "\
A directory lists the keys of every replica, reads all names, and looks once more at what does
not fit. An orphan is a needle that no name holds: an upload left it behind whose outcome nobody
knew. It takes room and does no harm. What is younger than --grace may belong to an upload that
is under way, and is left alone: never set it shorter than your longest upload takes. Replicas are
compared with each other too, by digest: where they are unlike, one has missed an upload or a delete.

Exit codes: 0 nothing is missing; 4 some replica lacks needles, or has unreadable ones, or replicas
are unlike; 1 not all replicas could be compared.";

/// `hayrick volume fsck`.
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// Which volumes; all where none is named
    volumes: Vec<VolumeId>,
    /// Needles younger than this are left alone
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    grace: Duration,
    /// Queue orphans for deletion; without it they are only counted
    #[arg(long)]
    delete_orphans: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

const PATH: &str = "/directory/fsck";

/// Runs the command.
pub async fn run(args: &FsckArgs, output: Output) -> Result<(), Failure> {
    let admin = Admin::new(&args.admin);
    let request = FsckRequest {
        volumes: args.volumes.clone(),
        grace_ms: u64::try_from(args.grace.as_millis()).unwrap_or(u64::MAX),
        delete_orphans: args.delete_orphans,
    };
    let _: Value = admin.post(PATH, &request).await?;
    let status = tokio::select! {
        status = ended(&admin) => status?,
        _ = tokio::signal::ctrl_c() => {
            admin.delete(PATH).await?;
            return Err(Failure::interrupted());
        }
    };
    output.answer(&status, for_people)?;
    judge(&status)
}

async fn ended(admin: &Admin) -> Result<FsckStatus, Failure> {
    let progress = Progress::in_steps("fsck".to_owned());
    poll(async || {
        let status: FsckStatus = admin.get(PATH).await?;
        show(&status, &progress);
        Ok((!status.running).then_some(status))
    })
    .await
}

/// Each volume takes two steps: its replicas are listed, and it is judged.
fn show(status: &FsckStatus, progress: &Progress) {
    let steps = |volumes: usize| u64::try_from(volumes).unwrap_or(u64::MAX);
    progress.rename(format!(
        "fsck of {} volumes, {} names read",
        count(steps(status.volumes)),
        count(status.names)
    ));
    progress.set(steps(status.listed + status.findings.len()), steps(2 * status.volumes));
}

fn judge(status: &FsckStatus) -> Result<(), Failure> {
    if let Some(reason) = &status.failed {
        return Err(Failure::failed(format!(
            "not all volumes were compared: {}",
            one_line(reason)
        ))
        .hint("what was queued for deletion stays queued; run it again"));
    }
    let damaged = |finding: &FsckFinding| finding.missing_needles + finding.unreadable > 0;
    if let Some(first) = status.findings.iter().find(|finding| damaged(finding)) {
        let message = "some replicas lack needles, or cannot read them";
        return Err(Failure::new(Exit::Damaged, message)
            .hint(format!("hayrick volume repair {} --yes", first.volume)));
    }
    let unlike = |finding: &&FsckFinding| finding.agreement == Agreement::Unlike;
    if let Some(first) = status.findings.iter().find(unlike) {
        let message = format!("the replicas of volume {} hold different needles", first.volume);
        return Err(Failure::new(Exit::Damaged, message)
            .hint(format!("hayrick volume repair {} --yes", first.volume)));
    }
    let silent = status.findings.iter().find(|finding| !finding.silent.is_empty());
    match silent {
        None => Ok(()),
        Some(finding) => Err(Failure::failed(format!(
            "not all replicas could be compared, such as {} of volume {}",
            names(&finding.silent),
            finding.volume
        ))
        .hint("see which stores are there: hayrick store list")),
    }
}

fn for_people(status: &FsckStatus) -> String {
    let mut text = table(
        &status.findings,
        &[
            Column::number("VOLUME", |found: &FsckFinding| found.volume.to_string()),
            Column::number("NEEDLES", |found| count(found.needles)),
            Column::number("ORPHANS", |found| count(found.orphans)),
            Column::number("BYTES", |found| size(found.orphan_bytes)),
            Column::number("QUEUED", |found| count(found.queued)),
            Column::number("YOUNG", |found| count(found.young)),
            Column::number("UNNAMED", |found| count(found.unnamed)),
            Column::number("UNREADABLE", |found| count(found.unreadable)),
            Column::number("MISSING", |found| count(found.missing_needles)),
            Column::text("REPLICAS", |found| agreement(found.agreement).to_owned()),
            Column::text("SILENT", |found| names(&found.silent)),
        ],
    );
    for finding in status.findings.iter().filter(|finding| !finding.replicas.is_empty()) {
        let held = |replica: &ReplicaNeedles| {
            format!("{} {}", replica.store.as_str(), count(replica.live_needles))
        };
        let held = finding.replicas.iter().map(held).collect::<Vec<_>>().join(", ");
        let told = write!(
            text,
            "\nvolume {}: the live needles of {held} are not the same",
            finding.volume
        );
        debug_assert!(told.is_ok(), "a String takes everything");
    }
    for missing in status.findings.iter().flat_map(|finding| &finding.missing) {
        let stores = names(&missing.stores);
        let (needle, bucket) = (missing.needle, &missing.bucket);
        let name = one_line(missing.name.as_str());
        let told = write!(text, "\n{stores} lacks {needle} of {bucket}/{name}");
        debug_assert!(told.is_ok(), "a String takes everything");
    }
    text
}

const fn agreement(agreement: Agreement) -> &'static str {
    match agreement {
        Agreement::Alike => "alike",
        Agreement::Unlike => "unlike",
        Agreement::Changing => "changing",
        Agreement::Unknown => "unknown",
    }
}

fn names(stores: &[StoreId]) -> String {
    stores.iter().map(StoreId::as_str).collect::<Vec<_>>().join(" ")
}
