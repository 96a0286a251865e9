//! `hayrick names rebuild`: the name database made again from the volumes alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use hayrick_directory::rebuild::{Plan, Rebuild, RebuildError, Summary};
use hayrick_directory::zookeeper::ZooKeeperCoordinator;
use hayrick_directory::{BucketName, ClusterMap, Coordinator as _};
use hayrick_store::VolumeId;
use hayrick_store::disk::offline::OfflineDir;
use hayrick_store::volume::{OfflineVolume, Progress, VerifyError};
use serde::Serialize;

use crate::config::HayrickConfig;
use crate::failure::{Exit, Failure};
use crate::offline::place::{PlaceArgs, take_dir, watch};
use crate::output::{Output, facts, one_line};
use crate::units::{count, size};
use crate::up::{DataFolder, STORE_ID};

/// What `--help` tells of it.
pub const HELP: &str = "\
It reads all volumes and tells what the names would be; with --apply, these take the place of
the name database, which is kept beside them under another name. Buckets, access rules and
keys are kept in cluster.json: where that is lost too, the buckets come back private, without
keys. The server must be stopped.

In a cluster, stop all directories and stores, name the configuration of a directory with
--config, and every data directory of every store with --disk: reachable from this machine,
read-only will do. Where the names belong into PostgreSQL, `hayrick names copy` moves them
there from the data folder:
    hayrick names rebuild --config directory.toml --data NEW --disk S1 --disk S2 ... --apply
    hayrick names copy --from NEW --to postgres://USER@HOST/DATABASE --apply --final

Exit codes: 0 all names were found; 4 something is damaged or missing, and the answer tells
what; 1 it did not work, and nothing was changed.";

/// `hayrick names rebuild`.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Put the names in place; without it nothing is changed
    #[arg(long)]
    apply: bool,
    /// Go on though volumes are missing or cannot be read: their objects will be missing, and
    /// deleted ones may come back
    #[arg(long)]
    partial: bool,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    applied: bool,
    /// The data folder that has the names, where they are still to be moved to the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    names_in: Option<PathBuf>,
    missing_volumes: Vec<VolumeId>,
    /// Volumes that are not on the map of the cluster, and were not read.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    stray_volumes: BTreeSet<VolumeId>,
    unreadable: Vec<Unreadable>,
    #[serde(flatten)]
    summary: Summary,
}

/// A volume file that cannot be used.
#[derive(Debug, Serialize)]
struct Unreadable {
    path: PathBuf,
    reason: String,
}

/// Runs the command.
pub async fn run(args: RebuildArgs, output: Output) -> Result<(), Failure> {
    let config = args.place.load()?;
    let RebuildArgs { apply, partial, .. } = args;
    let disks: Vec<OfflineDir> =
        config.store.disks.iter().map(|path| take_dir(path)).collect::<Result<_, _>>()?;
    let shared_map = shared_map(&config, &disks).await?;
    let rebuild = move |progress: &Progress| {
        rebuild(&config, &disks, shared_map, Wish { apply, partial }, progress)
    };
    let answer = watch("rebuild of the names".to_owned(), rebuild).await?;
    output.answer(&answer, Answer::for_people)?;
    answer.judge(partial, output)
}

/// What is to be done.
#[derive(Clone, Copy)]
struct Wish {
    apply: bool,
    partial: bool,
}

/// The map of the cluster of many processes that the disks are of, if the configuration is of one.
async fn shared_map(
    config: &HayrickConfig,
    disks: &[OfflineDir],
) -> Result<Option<Arc<ClusterMap>>, Failure> {
    let Some(cluster) = &config.cluster else { return Ok(None) };
    // Without it a new cluster would be begun where ZooKeeper has none.
    let known = disks.iter().find_map(|disk| disk.identity).map(|(cluster, _)| cluster);
    let known = known.ok_or_else(|| {
        Failure::new(Exit::NotFound, "no disk was named that a store has used")
            .hint("name every data directory of every store with --disk")
    })?;
    let coordinator = ZooKeeperCoordinator::open(cluster.zookeeper.clone(), Some(known)).await;
    let coordinator = coordinator.map_err(|error| {
        Failure::failed(format!("cluster: {error}"))
            .hint("the cluster map is needed to tell whether volumes are missing")
    })?;
    Ok(Some(coordinator.map()))
}

fn rebuild(
    config: &HayrickConfig,
    disks: &[OfflineDir],
    shared_map: Option<Arc<ClusterMap>>,
    wish: Wish,
    progress: &Progress,
) -> Result<Answer, Failure> {
    let Wish { apply, partial } = wish;
    let folder = Folder::take(&config.data, apply)?;
    let cluster = shared_map.as_ref().map(|map| map.cluster_id);
    let mut replicas: BTreeMap<VolumeId, usize> = BTreeMap::new();
    for id in disks.iter().flat_map(OfflineDir::volumes) {
        *replicas.entry(id).or_default() += 1;
    }
    let begun = Rebuild::begin(&folder.path.join("directory"), shared_map);
    let mut rebuild = begun.map_err(failed)?;
    let (mut unreadable, mut stray_volumes) = (Vec::new(), BTreeSet::new());
    for (disk, id) in
        disks.iter().flat_map(|disk| disk.volumes().into_iter().map(move |id| (disk, id)))
    {
        if rebuild.is_stray(id) {
            stray_volumes.insert(id);
            continue;
        }
        let path = disk.volume_path(id);
        match OfflineVolume::open_path(&path) {
            Ok(volume) => {
                let replicated = replicas.get(&id).is_some_and(|&files| files > 1);
                rebuild.scan(&volume, replicated, progress).map_err(failed)?;
            }
            Err(error) => unreadable.push(Unreadable { path, reason: error.to_string() }),
        }
    }
    let missing_volumes = rebuild.missing_volumes().map_err(failed)?;
    let whole = missing_volumes.is_empty() && unreadable.is_empty();
    let apply = apply && (whole || partial);
    let store = STORE_ID.parse().map_err(|error| Failure::failed(format!("store id: {error}")))?;
    let plan = Plan { apply, partial: !whole, store, config: &config.directory };
    if let (true, Some(cluster), Some(folder)) = (apply, cluster, &folder.lock) {
        folder.set_cluster(cluster)?;
    }
    let summary = rebuild.finish(&plan).map_err(failed)?;
    let to_move = apply && config.directory.postgres.is_some();
    let names_in = to_move.then(|| folder.path.clone());
    Ok(Answer { applied: apply, names_in, missing_volumes, stray_volumes, unreadable, summary })
}

/// The data folder, in nobody else's use.
struct Folder {
    path: PathBuf,
    lock: Option<DataFolder>,
    /// It was not there, and nothing is to be changed.
    made: bool,
}

impl Folder {
    fn take(path: &Path, apply: bool) -> Result<Self, Failure> {
        let is_there = path.is_dir();
        // One that is lost is made again, but not for a look.
        let lock = if is_there || apply { Some(DataFolder::take(path)?) } else { None };
        Ok(Self { path: path.to_owned(), lock, made: !is_there && !apply })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.made {
            // Only if it is empty, as it was made.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn failed(error: RebuildError) -> Failure {
    match error {
        RebuildError::Volume(VerifyError::Cancelled) => Failure::interrupted(),
        error => Failure::failed(format!("names not rebuilt: {error}")),
    }
}

impl Answer {
    fn for_people(&self) -> String {
        let Summary { scanned, map, .. } = &self.summary;
        let summary = &self.summary;
        let list = |volumes: &[VolumeId]| {
            volumes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let mut rows = vec![
            ("volume files read", count(scanned.volume_files)),
            ("needles", count(scanned.needles)),
            ("tombstones", count(scanned.tombstones)),
            ("names", count(summary.names)),
            ("bytes", size(summary.bytes)),
            ("names removed", count(summary.removed_names)),
            ("uploads hidden by a removal", count(summary.removed_uploads)),
            ("uploads hidden by a later one", count(summary.superseded_uploads)),
            ("uploads not whole", count(summary.incomplete_uploads)),
            ("needles queued for deletion", count(summary.queued_needles)),
        ];
        let mut more = |name, number: u64| {
            if number > 0 {
                rows.push((name, count(number)));
            }
        };
        more("needles without a name", scanned.unnamed_needles);
        more("damaged needles skipped", scanned.damaged_needles);
        more("unreadable stretches", scanned.damaged_ranges);
        more("damaged tombstones", scanned.damaged_tombstones);
        more("objects with too many needles", summary.oversized_objects);
        let mut told = |name, text: String| {
            if !text.is_empty() {
                rows.push((name, text));
            }
        };
        told("volumes missing", list(&self.missing_volumes));
        let stray: Vec<VolumeId> = self.stray_volumes.iter().copied().collect();
        told("volumes not on the map, not read", list(&stray));
        told("volumes put on the map", list(&map.volumes));
        let names = |buckets: &[BucketName]| {
            buckets.iter().map(BucketName::as_str).collect::<Vec<_>>().join(", ")
        };
        told("buckets made again, private", names(&map.buckets));
        told("buckets to be made again", names(&summary.unknown_buckets));
        if let Some(old) = &summary.old_names {
            told("old database kept as", one_line(&old.display().to_string()));
        }
        let mut text = facts(rows);
        for Unreadable { path, reason } in &self.unreadable {
            let path = one_line(&path.display().to_string());
            text = format!("{text}\nnot readable: {path}: {reason}");
        }
        if map.new_map {
            text += "\n\nThere was no cluster.json: access rules and keys of all buckets are lost.";
        }
        let standing = match (&self.names_in, self.applied) {
            (Some(folder), _) => format!(
                "The names are in {0}. Move them to the database: hayrick names copy --from {0} \
                 --to postgres://... --apply --final",
                one_line(&folder.display().to_string())
            ),
            (None, true) => "The names are in place. Start the server.".to_owned(),
            (None, false) => "Nothing was changed.".to_owned(),
        };
        text + "\n\n" + &standing
    }

    fn judge(&self, partial: bool, output: Output) -> Result<(), Failure> {
        let Summary { scanned, oversized_objects, .. } = &self.summary;
        let (missing, unreadable) = (self.missing_volumes.len(), self.unreadable.len());
        if missing + unreadable > 0 {
            let message = format!("{missing} volumes are missing, {unreadable} cannot be read");
            let hint = match (self.applied, partial) {
                (true, _) => "their objects have no names now; rebuild again when they are back",
                (false, true) => "add --apply to rebuild the names of the others",
                (false, false) => {
                    "name all disks with --disk, see `hayrick volume fix`; or go without them with --partial"
                }
            };
            return Err(Failure::new(Exit::Damaged, message).hint(hint));
        }
        let damaged = scanned.damaged_needles + scanned.damaged_ranges + scanned.damaged_tombstones;
        if damaged + oversized_objects > 0 {
            let message = format!("{} records are damaged or cannot be used", count(damaged));
            return Err(Failure::new(Exit::Damaged, message).hint(
                "hayrick volume verify --file tells which; what is left of their objects is kept",
            ));
        }
        if !self.applied {
            output.note("add --apply to put the names in place");
        }
        Ok(())
    }
}
