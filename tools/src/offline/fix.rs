//! `hayrick volume fix`: brings the files of volumes into order without a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hayrick_store::VolumeId;
use hayrick_store::disk::DataDir;
use hayrick_store::disk::offline::OfflineDir;
use hayrick_store::storage::Disk;
use hayrick_store::storage::os::OsDisk;
use hayrick_store::volume::{Diagnosis, Progress, diagnose, files, fix};
use serde::Serialize;

use super::figure;
use super::place::{no_dir, take_dir, watch};
use crate::failure::{Exit, Failure};
use crate::output::{Column, Output, table};
use crate::units::{count, size};

const HELP: &str = "\
It makes a missing or damaged index again, cuts off the torn end that a crash has left, and
writes an unreadable superblock anew where an index file tells whose it was. It tells what it
would do; with --apply it does it. No needle is ever removed: damaged ones are named by
`hayrick volume verify --file`. The server must be stopped.

Exit codes: 0 all is in order, or now is; 4 something cannot be mended; 1 it did not work.";

/// `hayrick volume fix`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct FixArgs {
    /// A volume file (*.vol) in its data directory, or a data directory for all of its volumes
    path: PathBuf,
    /// Do it; without it nothing is changed
    #[arg(long)]
    apply: bool,
}

#[derive(Debug, Serialize)]
struct Mended {
    volume: VolumeId,
    fixed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    diagnosis: Option<Diagnosis>,
    /// Why it cannot be mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Runs the command.
pub async fn run(args: FixArgs, output: Output) -> Result<(), Failure> {
    let FixArgs { path, apply } = args;
    let label = format!("fix of {}", path.display());
    let work = move |_: &Progress| fix_all(&path, apply);
    let all = watch(label, work).await?;
    output.answer(&all, |all| for_people(all))?;
    if !apply && all.iter().any(Mended::wants_fix) {
        output.note("nothing was changed: add --apply to do it");
    }
    match all.iter().filter(|fixed| fixed.is_ill()).count() {
        0 => Ok(()),
        ill => Err(Failure::new(Exit::Damaged, format!("{ill} volumes are damaged"))
            .hint("`hayrick volume export` saves what can be read of a volume")),
    }
}

fn fix_all(path: &Path, apply: bool) -> Result<Vec<Mended>, Failure> {
    let (folder, only) = if path.is_dir() { (path, None) } else { split(path)? };
    let dir = take_dir(folder)?;
    let mut volumes = dir.volumes();
    volumes.retain(|id| only.is_none_or(|only| only == *id));
    if volumes.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("no volume file at {}", path.display())));
    }
    let cluster = dir.identity.map(|(cluster, _)| cluster);
    let diagnosed = volumes.into_iter().map(|id| Mended::of(&dir, id)).collect();
    if !apply {
        return Ok(diagnosed);
    }
    drop(dir);
    // From here on the directory is in use as by a server.
    let (disk, _in_use): (Arc<dyn Disk>, _) = match cluster {
        Some(cluster) => {
            let taken = DataDir::open(folder, cluster, Arc::default()).map_err(no_dir)?;
            (Arc::clone(&taken.disk), Some(taken))
        }
        // A volume file that was copied to somewhere else.
        None => (Arc::new(OsDisk::new(folder)), None),
    };
    Ok(diagnosed.into_iter().map(|fixed| fixed.apply(&disk, cluster)).collect())
}

/// The folder of a volume file, and which volume's it is.
fn split(path: &Path) -> Result<(&Path, Option<VolumeId>), Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let id = files::parse_volume(name).ok_or_else(|| {
        Failure::usage(format!("{} has not the name of a volume file", path.display()))
            .hint("volume files are called like 0000000001.vol, and their index lies beside them")
    })?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), Some(id)))
}

impl Mended {
    fn of(dir: &OfflineDir, id: VolumeId) -> Self {
        let cluster = dir.identity.map(|(cluster, _)| cluster);
        let (diagnosis, problem) = match diagnose(&OsDisk::new(&dir.path), id, cluster) {
            Ok(diagnosis) => (Some(diagnosis), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { volume: id, fixed: false, diagnosis, problem }
    }

    fn wants_fix(&self) -> bool {
        !self.fixed && self.diagnosis.as_ref().is_some_and(Diagnosis::needs_fix)
    }

    fn is_ill(&self) -> bool {
        self.problem.is_some()
            || self.diagnosis.as_ref().is_some_and(|found| !found.damage.is_empty())
    }

    fn apply(mut self, disk: &Arc<dyn Disk>, cluster: Option<uuid::Uuid>) -> Self {
        if self.wants_fix() {
            match fix(disk, self.volume, cluster) {
                Ok(()) => self.fixed = true,
                Err(error) => self.problem = Some(error.to_string()),
            }
        }
        self
    }

    fn to_do(&self) -> String {
        let mut words = Vec::new();
        if let Some(found) = &self.diagnosis {
            if found.superblock_lost {
                words.push("superblock from the index".to_owned());
            }
            if let Some(problem) = &found.index_problem {
                words.push(format!("index again ({problem})"));
            }
            if found.torn_bytes > 0 {
                words.push(format!("torn end of {} cut off", size(found.torn_bytes)));
            }
            if found.torn_records > 0 {
                words.push(format!("{} torn records taken back", found.torn_records));
            }
            if !found.damage.is_empty() {
                words.push(format!("{} damaged places left as they are", found.damage.len()));
            }
        }
        words.extend(self.problem.clone());
        if words.is_empty() { "nothing to do".to_owned() } else { words.join(", ") }
    }
}

fn for_people(all: &[Mended]) -> String {
    table(
        all,
        &[
            Column::number("VOLUME", |fixed| fixed.volume.to_string()),
            Column::number("FILE", |fixed| {
                figure(fixed.diagnosis.as_ref(), |found| size(found.file_bytes))
            }),
            Column::number("NEEDLES", |fixed| {
                figure(fixed.diagnosis.as_ref(), |found| count(found.live_needles))
            }),
            Column::text("FIXED", |fixed| if fixed.fixed { "yes" } else { "no" }.to_owned()),
            Column::text("WHAT", Mended::to_do),
        ],
    )
}
