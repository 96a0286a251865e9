//! `hayrick disk`: data directories looked at without their server.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hayrick_store::VolumeId;
use hayrick_store::disk::offline::OfflineDir;
use hayrick_store::storage::os::OsDisk;
use hayrick_store::volume::{
    Diagnosis, OfflineVolume, Progress, VerifyError, VerifyReport, diagnose,
};
use serde::Serialize;

use super::figure;
use super::place::{PlaceArgs, take_dir, watch};
use crate::failure::{Exit, Failure};
use crate::output::{Column, Output, one_line, table};
use crate::units::{count, size};

/// What to do.
#[derive(Debug, Subcommand)]
pub enum DiskCommand {
    /// List data directories: whose they are, how much room they have, whether a server has them
    ///
    /// Exit codes: 0 all can be used; 1 one cannot.
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Check the files of every volume of data directories that no server has open
    ///
    /// Nothing is changed. Exit codes: 0 all is well; 4 something is damaged or torn;
    /// 1 a directory is in use or cannot be read.
    Check(CheckArgs),
}

/// `hayrick disk list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    place: PlaceArgs,
}

/// `hayrick disk check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Read every byte of every needle too
    #[arg(long)]
    deep: bool,
}

#[derive(Debug, Serialize)]
struct Disk {
    path: PathBuf,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    cluster: Option<String>,
    id: Option<String>,
    volumes: Vec<VolumeId>,
    total_bytes: u64,
    free_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// No server has it.
    Free,
    /// A server has it.
    InUse,
    /// No server has ever used it.
    New,
    /// It cannot be used.
    Unusable,
}

/// A volume that was checked.
#[derive(Debug, Serialize)]
struct Checked {
    disk: PathBuf,
    volume: VolumeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<Diagnosis>,
    /// Why it cannot be read at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Damaged places that reading every byte has found.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<VerifyReport>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    volumes: Vec<Checked>,
    /// Files that belong to no volume of their directory.
    strays: Vec<PathBuf>,
}

/// Runs the command.
pub async fn run(command: DiskCommand, output: Output) -> Result<(), Failure> {
    match command {
        DiskCommand::List(args) => list(&args, output),
        DiskCommand::Check(args) => {
            let disks = args.place.load()?.store.disks;
            let work = move |progress: &Progress| check(&disks, args.deep, progress);
            let report = watch("check".to_owned(), work).await?;
            output.answer(&report, Report::for_people)?;
            report.judge()
        }
    }
}

fn list(args: &ListArgs, output: Output) -> Result<(), Failure> {
    let disks: Vec<Disk> =
        args.place.load()?.store.disks.iter().map(|path| Disk::look_at(path)).collect();
    output.answer(&disks, |disks| disk_table(disks))?;
    match disks.iter().find(|disk| disk.state == State::Unusable) {
        None => Ok(()),
        Some(disk) => Err(Failure::failed(disk.problem.clone().unwrap_or_default())),
    }
}

impl Disk {
    fn look_at(path: &Path) -> Self {
        let mut disk = Self {
            path: path.to_owned(),
            state: State::Unusable,
            problem: None,
            cluster: None,
            id: None,
            volumes: Vec::new(),
            total_bytes: 0,
            free_bytes: 0,
        };
        match OfflineDir::open(path) {
            Err(error) => disk.problem = Some(error.to_string()),
            Ok(dir) => {
                disk.state = match (dir.in_use, dir.identity) {
                    (true, _) => State::InUse,
                    (false, Some(_)) => State::Free,
                    (false, None) => State::New,
                };
                disk.cluster = dir.identity.map(|(cluster, _)| cluster.to_string());
                disk.id = dir.identity.map(|(_, id)| id.to_string());
                disk.volumes = dir.volumes();
                (disk.total_bytes, disk.free_bytes) = (dir.space.total_bytes, dir.space.free_bytes);
            }
        }
        disk
    }
}

impl State {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::InUse => "in use",
            Self::New => "new",
            Self::Unusable => "unusable",
        }
    }
}

fn disk_table(disks: &[Disk]) -> String {
    fn or_dash(text: Option<&String>) -> String {
        text.cloned().unwrap_or_else(|| "-".to_owned())
    }
    table(
        disks,
        &[
            Column::text("DISK", |disk| one_line(&disk.path.display().to_string())),
            Column::text("STATE", |disk| disk.state.as_str().to_owned()),
            Column::number("VOLUMES", |disk| disk.volumes.len().to_string()),
            Column::number("SIZE", |disk| size(disk.total_bytes)),
            Column::number("FREE", |disk| size(disk.free_bytes)),
            Column::text("CLUSTER", |disk| or_dash(disk.cluster.as_ref())),
            Column::text("ID", |disk| or_dash(disk.id.as_ref())),
        ],
    )
}

fn check(disks: &[PathBuf], deep: bool, progress: &Progress) -> Result<Report, Failure> {
    let mut report = Report::default();
    for path in disks {
        let dir = take_dir(path)?;
        report.strays.extend(dir.strays().iter().map(|name| path.join(name)));
        for id in dir.volumes() {
            report.volumes.push(check_volume(&dir, id, deep, progress)?);
        }
    }
    Ok(report)
}

fn check_volume(
    dir: &OfflineDir,
    id: VolumeId,
    deep: bool,
    progress: &Progress,
) -> Result<Checked, Failure> {
    let mut checked = Checked {
        disk: dir.path.clone(),
        volume: id,
        diagnosis: None,
        problem: None,
        verified: None,
    };
    let cluster = dir.identity.map(|(cluster, _)| cluster);
    match diagnose(&OsDisk::new(&dir.path), id, cluster) {
        Ok(diagnosis) => checked.diagnosis = Some(diagnosis),
        Err(error) => checked.problem = Some(error.to_string()),
    }
    let readable = checked.diagnosis.as_ref().is_some_and(|diagnosis| !diagnosis.superblock_lost);
    if deep && readable {
        match OfflineVolume::verify_path(&dir.volume_path(id), progress) {
            Ok(report) => checked.verified = Some(report),
            Err(VerifyError::Cancelled) => return Err(Failure::interrupted()),
            Err(error) => checked.problem = Some(error.to_string()),
        }
    }
    Ok(checked)
}

impl Checked {
    fn is_well(&self) -> bool {
        self.problem.is_none()
            && self.verified.as_ref().is_none_or(|report| report.damaged.is_empty())
            && self.diagnosis.as_ref().is_some_and(|found| {
                !found.superblock_lost && found.torn_bytes == 0 && found.damage.is_empty()
            })
    }

    fn state(&self) -> String {
        let Some(found) = &self.diagnosis else {
            return self.problem.clone().unwrap_or_default();
        };
        let mut words = Vec::new();
        if found.superblock_lost {
            words.push("superblock unreadable".to_owned());
        }
        if found.torn_bytes > 0 {
            words.push(format!("torn end of {}", size(found.torn_bytes)));
        }
        let damaged =
            self.verified.as_ref().map_or(found.damage.len(), |report| report.damaged.len());
        if damaged > 0 {
            words.push(format!("damaged in {damaged} places"));
        }
        words.extend(self.problem.clone());
        if words.is_empty() { "good".to_owned() } else { words.join(", ") }
    }
}

impl Report {
    fn for_people(&self) -> String {
        fn index(found: &Diagnosis) -> String {
            found.index_problem.clone().unwrap_or_else(|| "good".to_owned())
        }
        let columns = [
            Column::number("VOLUME", |checked: &Checked| checked.volume.to_string()),
            Column::number("FILE", |checked: &Checked| {
                figure(checked.diagnosis.as_ref(), |found| size(found.file_bytes))
            }),
            Column::number("NEEDLES", |checked: &Checked| {
                figure(checked.diagnosis.as_ref(), |found| count(found.live_needles))
            }),
            Column::number("LIVE", |checked: &Checked| {
                figure(checked.diagnosis.as_ref(), |found| size(found.live_bytes))
            }),
            Column::text("INDEX", |checked: &Checked| figure(checked.diagnosis.as_ref(), index)),
            Column::text("STATE", Checked::state),
            Column::text("DISK", |checked: &Checked| one_line(&checked.disk.display().to_string())),
        ];
        let mut text = table(&self.volumes, &columns);
        for stray in &self.strays {
            text.push_str("\nbelongs to no volume here: ");
            text.push_str(&one_line(&stray.display().to_string()));
        }
        text
    }

    fn judge(&self) -> Result<(), Failure> {
        let ill = self.volumes.iter().filter(|checked| !checked.is_well()).count();
        if ill == 0 {
            return Ok(());
        }
        let message = format!("{ill} of {} volumes are not well", self.volumes.len());
        Err(Failure::new(Exit::Damaged, message)
            .hint("a torn end is cut by the next start; see `hayrick volume fix` for the rest"))
    }
}
