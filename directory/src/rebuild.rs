//! The names made again from the volumes alone, when the name database is lost.
//!
//! Every needle says under which name and version it was stored, its upload's last chunk that
//! the upload was whole, and the tombstones of a removed name that it was removed. Three steps:
//!
//! 1. [`Rebuild::scan`] reads each volume file, of all disks, in any order. Only headers and
//!    metadata are read. What is said is staged in a database on disk, which sorts it by name.
//! 2. [`Rebuild::finish`] goes through the names in order and decides on each: see `contest`.
//!    In memory are one volume's index, one name's needles and the databases' buffers.
//! 3. With that it fills a new database beside the old one. Only when that is synced does it
//!    take the old one's place, by rename; the old one is kept under another name. A crash at
//!    any time leaves the old database, or none, which a start refuses; then rebuild again.
//!
//! In a cluster of many processes the map is not lost with the names, and is not touched. The
//! volumes of all stores are read on one machine; [`copy`](crate::copy) then moves the names to
//! where the directories look for them.
//!
//! What the needles do not tell: an upload that was stored and that nobody was told of counts
//! as made. Access rules and keys of buckets are in the cluster map alone.

mod contest;
mod staging;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hayrick_store::format::needle::Kind;
use hayrick_store::storage::is_device_error;
use hayrick_store::volume::{Current, OfflineVolume, Progress, VerifyError};
use hayrick_store::{Meta, NeedleId, VolumeId};
use serde::Serialize;
use uuid::Uuid;

use self::contest::{Losers, Piece, Verdict};
use self::staging::{Said, Staging};
use crate::coordinator::{Amendment, MapChanges};
use crate::directory::{CLUSTER_MAP, NAMES, sync_folder};
use crate::names::fjall::Builder;
use crate::names::{Garbage, NamesError, NeedleRef, Removal};
use crate::{
    BucketName, ClusterMap, CoordinatorError, DirectoryConfig, EmbeddedCoordinator, ObjectName,
    StoreId, SystemClock, WallClock as _,
};

/// Where everything is until it is finished, in the directory's folder.
const SCRATCH: &str = "rebuild";

/// Names on their way.
pub struct Rebuild {
    folder: PathBuf,
    /// Whether the folder was made for this.
    made_folder: bool,
    /// The map of a cluster of many processes; else it is a file in the folder.
    shared_map: Option<Arc<ClusterMap>>,
    staging: Option<Staging>,
    cluster: Option<Uuid>,
    /// The highest key seen in each volume.
    highest_keys: BTreeMap<VolumeId, u64>,
    last_version: u64,
    scanned: Scanned,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Scanned {
    /// Volume files.
    pub volume_files: u64,
    /// Live needles, of all replicas.
    pub needles: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Live needles that belong to no name: stored through a store's own door.
    pub unnamed_needles: u64,
    /// Live needles that cannot tell their name. They are left alone.
    pub damaged_needles: u64,
    /// Stretches without a readable record.
    pub damaged_ranges: u64,
    /// Tombstones that cannot tell which name they removed, if any.
    pub damaged_tombstones: u64,
}

/// What came of a rebuild.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// What was read.
    pub scanned: Scanned,
    /// Names that have an object.
    pub names: u64,
    /// Bytes of these objects.
    pub bytes: u64,
    /// Uploads that a later one of the same name has replaced.
    pub superseded_uploads: u64,
    /// Names that were removed and not stored again since.
    pub removed_names: u64,
    /// Uploads that a removal hides.
    pub removed_uploads: u64,
    /// Uploads that are not whole: they broke off, were refused, or lost a needle to damage.
    pub incomplete_uploads: u64,
    /// Objects with more needles than a row may name. Their needles are left alone.
    pub oversized_objects: u64,
    /// Needles queued for deletion.
    pub queued_needles: u64,
    /// Whether the needles of incomplete uploads are left alone, because part of the volumes
    /// is missing or damaged and they may be what is left of an object.
    pub kept_incomplete: bool,
    /// The highest version seen. Later ones will be above it.
    pub last_version: u64,
    /// What the cluster map lacked.
    pub map: MapChanges,
    /// Buckets that hold names and are not on the map of a cluster of many processes.
    pub unknown_buckets: Vec<BucketName>,
    /// Where the old database is kept, if there was one and it was replaced.
    pub old_names: Option<PathBuf>,
}

/// How to finish.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Whether to put the names in place; else nothing is changed.
    pub apply: bool,
    /// Some volumes could not be read.
    pub partial: bool,
    /// Which store has the volumes that are not on the cluster map, where that is a file.
    pub store: StoreId,
    /// The directory's settings.
    pub config: &'a DirectoryConfig,
}

/// Why names were not rebuilt. The old ones are as they were.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A volume file could not be read.
    #[error(transparent)]
    Volume(#[from] VerifyError),
    /// The new database could not be written or read.
    #[error(transparent)]
    Names(#[from] NamesError),
    /// The cluster map could not be read or written.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// The volumes are of several clusters, or of another than the cluster map.
    #[error("volume {volume} belongs to cluster {found}, the others to {expected}")]
    OtherCluster {
        /// The volume.
        volume: VolumeId,
        /// Its cluster.
        found: Uuid,
        /// The cluster of the volumes before it, or of the map.
        expected: Uuid,
    },
    /// A file or folder could not be made, moved or removed.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Rebuild {
    /// Begins in the directory's folder `folder`. Nothing but a folder `rebuild` is made
    /// there, which is removed in the end; what an interrupted run left in it goes now.
    /// Nobody else may use the folder meanwhile. `shared_map` is that of a cluster of many
    /// processes; without one, the map is the file in the folder.
    pub fn begin(folder: &Path, shared_map: Option<Arc<ClusterMap>>) -> Result<Self, RebuildError> {
        let made_folder = !folder.is_dir();
        let map = known_map(folder, shared_map.as_ref())?;
        let scratch = folder.join(SCRATCH);
        remove_folder(&scratch)?;
        fs::create_dir_all(&scratch).map_err(io_error("make folder", &scratch))?;
        Ok(Self {
            staging: Some(Staging::create(&scratch.join("staging"))?),
            folder: folder.to_owned(),
            made_folder,
            shared_map,
            cluster: map.map(|map| map.cluster_id),
            highest_keys: BTreeMap::new(),
            last_version: 0,
            scanned: Scanned::default(),
        })
    }

    /// Reads what the needles of a volume file say. `replicated` tells that there are several
    /// files of the volume: a tombstone on any of them counts.
    pub fn scan(
        &mut self,
        volume: &OfflineVolume,
        replicated: bool,
        progress: &Progress,
    ) -> Result<(), RebuildError> {
        let superblock = volume.superblock();
        let expected = *self.cluster.get_or_insert(superblock.cluster);
        if superblock.cluster != expected {
            let (volume, found) = (superblock.volume, superblock.cluster);
            return Err(RebuildError::OtherCluster { volume, found, expected });
        }
        self.highest_keys.entry(superblock.volume).or_default();
        self.scanned.volume_files += 1;
        for current in volume.current(progress) {
            match current? {
                Ok(current) => self.note(volume, &current, replicated)?,
                Err(_) => self.scanned.damaged_ranges += 1,
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        volume: &OfflineVolume,
        current: &Current,
        replicated: bool,
    ) -> Result<(), RebuildError> {
        let (id, header) = (volume.superblock().volume, &current.header);
        let highest = self.highest_keys.entry(id).or_default();
        *highest = header.key.get().max(*highest);
        let meta = match volume.meta(current) {
            Ok(meta) => meta.ok(),
            Err(error) if is_device_error(&error) => None,
            Err(error) => return Err(VerifyError::from(error).into()),
        };
        self.last_version = meta.as_ref().map_or(0, |meta| meta.version).max(self.last_version);
        let staging = self.staging.as_ref().ok_or(NamesError::Failed)?;
        if header.kind == Kind::Tombstone {
            self.scanned.tombstones += 1;
            if replicated {
                staging.dead(id, header.key)?;
            }
            match meta.as_ref().map(name_of) {
                None => self.scanned.damaged_tombstones += 1,
                Some(None) => {}
                Some(Some((bucket, name))) => {
                    let version = meta.map_or(0, |meta| meta.version);
                    staging.removal(&bucket, &name, version)?;
                }
            }
            return Ok(());
        }
        self.scanned.needles += 1;
        let Some(meta) = meta else {
            self.scanned.damaged_needles += 1;
            return Ok(());
        };
        let Some((bucket, name)) = name_of(&meta) else {
            self.scanned.unnamed_needles += 1;
            return Ok(());
        };
        let id = NeedleId { volume: id, key: header.key, cookie: header.cookie };
        let needle = NeedleRef { id, size_bytes: header.data_size };
        let (upload, piece) = piece(needle, meta);
        Ok(staging.needle(&bucket, &name, upload, piece)?)
    }

    /// Volumes that the cluster map has and no scanned file is of.
    pub fn missing_volumes(&self) -> Result<Vec<VolumeId>, RebuildError> {
        let map = known_map(&self.folder, self.shared_map.as_ref())?;
        let volumes =
            map.into_iter().flat_map(|map| map.volumes.keys().copied().collect::<Vec<_>>());
        Ok(volumes.filter(|volume| !self.highest_keys.contains_key(volume)).collect())
    }

    /// Whether a volume is none of the cluster any more: its needles are not to be scanned.
    /// Ids are used once, so it is not one that is still to come.
    pub fn is_stray(&self, volume: VolumeId) -> bool {
        self.shared_map.as_ref().is_some_and(|map| !map.volumes.contains_key(&volume))
    }

    /// Bytes that the staged names take on disk.
    pub fn staged_bytes(&self) -> u64 {
        self.staging.as_ref().map_or(0, Staging::disk_bytes)
    }

    /// Decides on every name and tells what came of it. With [`Plan::apply`], the rebuilt
    /// names are in place and durable on return.
    pub fn finish(mut self, plan: &Plan<'_>) -> Result<Summary, RebuildError> {
        let fresh = self.scratch().join(NAMES);
        let Scanned { damaged_needles, damaged_ranges, .. } = self.scanned;
        let mut tally = Tally {
            builder: None,
            certain: !plan.partial && damaged_needles == 0 && damaged_ranges == 0,
            due_ms: SystemClock.now_ms().saturating_add(plan.config.garbage.grace_ms),
            buckets: BTreeSet::new(),
            summary: Summary { scanned: self.scanned, ..Summary::default() },
        };
        tally.summary.kept_incomplete = !tally.certain;
        if plan.apply {
            tally.builder = Some(Builder::create(&fresh, &plan.config.names)?);
        }
        if let Some(staging) = self.staging.take() {
            staging.for_each(|said| tally.decide(said))?;
        }
        let Tally { builder, buckets, mut summary, .. } = tally;
        summary.last_version = self.last_version;
        if let Some(map) = &self.shared_map {
            let unknown = buckets.into_iter().filter(|bucket| !map.buckets.contains_key(bucket));
            summary.unknown_buckets = unknown.collect();
        } else {
            summary.map = self.amend_map(buckets, plan)?;
        }
        if let Some(builder) = builder {
            builder.finish(self.last_version)?;
            summary.old_names = self.put_in_place(&fresh)?;
        }
        Ok(summary)
    }

    /// Adds to the map in the folder what it lacks.
    fn amend_map(
        &mut self,
        buckets: BTreeSet<BucketName>,
        plan: &Plan<'_>,
    ) -> Result<MapChanges, RebuildError> {
        let amendment = Amendment {
            cluster: self.cluster,
            volumes: std::mem::take(&mut self.highest_keys),
            lease_keys: plan.config.lease_keys,
            store: plan.store.clone(),
            buckets,
            now_ms: SystemClock.now_ms(),
        };
        let map = self.folder.join(CLUSTER_MAP);
        Ok(EmbeddedCoordinator::amend(&map, &amendment, plan.apply)?)
    }

    /// Gives the new database the old one's name. Between the two renames there is none, and
    /// a start says so.
    fn put_in_place(&mut self, fresh: &Path) -> Result<Option<PathBuf>, RebuildError> {
        let names = self.folder.join(NAMES);
        let old = self.folder.join(format!("{NAMES}.before-{}", SystemClock.now_ms()));
        let kept = match fs::rename(&names, &old) {
            Ok(()) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error("move away", &names)(error)),
        };
        sync_folder(fresh).map_err(io_error("sync folder", fresh))?;
        fs::rename(fresh, &names).map_err(io_error("put in place", &names))?;
        sync_folder(&self.folder).map_err(io_error("sync folder", &self.folder))?;
        self.made_folder = false;
        Ok(kept)
    }

    fn scratch(&self) -> PathBuf {
        self.folder.join(SCRATCH)
    }
}

impl Drop for Rebuild {
    fn drop(&mut self) {
        // Closed before its files go. What cannot be removed is removed by the next run.
        self.staging = None;
        let _ = remove_folder(&self.scratch());
        if self.made_folder {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// What has been decided so far.
struct Tally {
    builder: Option<Builder>,
    /// All needles were seen, so an upload that is not whole never will be.
    certain: bool,
    due_ms: u64,
    buckets: BTreeSet<BucketName>,
    summary: Summary,
}

impl Tally {
    fn decide(&mut self, said: Said) -> Result<(), RebuildError> {
        let Said { bucket, name, removed, uploads } = said;
        let Verdict { mut row, superseded, removed: hidden, incomplete, spare } =
            contest::decide(removed, uploads);
        self.summary.superseded_uploads += superseded.uploads;
        self.summary.removed_uploads += hidden.uploads;
        self.summary.incomplete_uploads += incomplete.uploads;
        if let (Some(builder), Some(found)) = (&mut self.builder, &row) {
            match builder.put(&bucket, &name, found) {
                Err(NamesError::RowTooLarge { .. }) => {
                    self.summary.oversized_objects += 1;
                    row = None;
                }
                put => put?,
            }
        }
        match &row {
            Some(row) => {
                self.summary.names += 1;
                self.summary.bytes += row.size_bytes;
                self.buckets.insert(bucket.clone());
            }
            None => self.summary.removed_names += u64::from(removed.is_some()),
        }
        let removal = |version| Arc::new(Removal { bucket, name, version });
        self.queue(hidden, removed.map(removal).as_ref())?;
        self.queue(superseded, None)?;
        self.queue(spare, None)?;
        if self.certain { self.queue(incomplete, None) } else { Ok(()) }
    }

    fn queue(
        &mut self,
        losers: Losers,
        removal: Option<&Arc<Removal>>,
    ) -> Result<(), RebuildError> {
        for needle in losers.needles {
            self.summary.queued_needles += 1;
            if let Some(builder) = &mut self.builder {
                let (id, due_ms) = (needle.id, self.due_ms);
                builder.queue(&Garbage { id, due_ms, removal: removal.cloned() })?;
            }
        }
        Ok(())
    }
}

/// The cluster map, if there is one.
fn known_map(
    folder: &Path,
    shared: Option<&Arc<ClusterMap>>,
) -> Result<Option<Arc<ClusterMap>>, RebuildError> {
    match shared {
        Some(map) => Ok(Some(Arc::clone(map))),
        None => Ok(EmbeddedCoordinator::peek(&folder.join(CLUSTER_MAP))?),
    }
}

/// The name that was stored or removed; `None` where none is told that there can be.
pub(crate) fn name_of(meta: &Meta) -> Option<(BucketName, ObjectName)> {
    Some((meta.bucket.parse().ok()?, meta.name.parse().ok()?))
}

/// A needle as part of its upload.
fn piece(needle: NeedleRef, meta: Meta) -> (u64, Piece) {
    let Meta { content_type, version, chunk, user, upload, .. } = meta;
    let (index, count) = chunk.map_or((0, 1), |chunk| (chunk.index, chunk.count));
    let (content_type, user) = if index == 0 { (content_type, user) } else { Default::default() };
    let upload = if upload == 0 { version } else { upload };
    (upload, Piece { needle, index, count, version, content_type, user })
}

fn remove_folder(path: &Path) -> Result<(), RebuildError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error("remove folder", path)(error))
        }
        _ => Ok(()),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RebuildError {
    let path = path.to_owned();
    move |source| RebuildError::Io { action, path, source }
}
