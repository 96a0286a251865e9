//! A store: data directories full of volumes, and what anyone may ask of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use crate::config::StoreOptions;
use crate::disk::{DataDir, DataDirError};
use crate::error::StoreError;
use crate::format::meta::Meta;
use crate::id::{Cookie, Key, NeedleId, VolumeId};
use crate::jobs::Jobs;
use crate::load::{Slot, load_volumes};
use crate::maintenance::Maintenance;
use crate::scrub::Scrub;
use crate::status::{DiskStatus, StoreStatus, VolumeScrub, VolumeState, VolumeStatus};
use crate::storage::Space;
use crate::volume::{Condition, NewNeedle, StoredNeedle, Volume, WHOLE_READ_BYTES};

/// Uploads above this size are checksummed off the async threads.
const INLINE_CHECKSUM_BYTES: usize = 256 << 10;

/// An open store. Volume code is synchronous; this is the bridge that async tasks cross.
pub struct Store {
    cluster: Uuid,
    options: StoreOptions,
    disks: Vec<DataDir>,
    volumes: RwLock<BTreeMap<VolumeId, Slot>>,
    /// Held while a volume is made.
    creating: Mutex<()>,
    jobs: Jobs,
    maintenance: Maintenance,
    scrub: Scrub,
}

impl Store {
    /// Opens every volume of every data directory, many at a time. A volume that does not
    /// open is reported in the status and does not stop the others; a data directory that
    /// cannot be taken into use stops the start.
    pub fn open(cluster: Uuid, options: StoreOptions) -> Result<Arc<Self>, DataDirError> {
        let disks = options
            .disks
            .iter()
            .map(|path| DataDir::open(path, cluster, options.background.disk()))
            .collect::<Result<Vec<_>, _>>()?;
        Self::open_on(cluster, disks, options)
    }

    /// Like [`Store::open`], on these disks instead of the folders that `options` names.
    pub fn open_on(
        cluster: Uuid,
        disks: Vec<DataDir>,
        options: StoreOptions,
    ) -> Result<Arc<Self>, DataDirError> {
        let volumes = load_volumes(&disks, cluster, &options.volume)?;
        let scrub = Scrub::new(disks.iter().map(|disk| &*disk.disk));
        let store = Arc::new(Self {
            cluster,
            options,
            disks,
            volumes: RwLock::new(volumes),
            creating: Mutex::new(()),
            jobs: Jobs::default(),
            maintenance: Maintenance::default(),
            scrub,
        });
        store.maintenance.start(&store);
        store.scrub.start(&store);
        Ok(store)
    }

    /// Stores needles in one volume: all of them or none, durable when this returns.
    /// A repeated put of the same needles succeeds.
    pub async fn put(&self, volume: VolumeId, needles: Vec<NewNeedle>) -> Result<(), StoreError> {
        let volume = self.volume(volume)?;
        let bytes: usize = needles.iter().map(|needle| needle.data.len()).sum();
        let answer = if bytes > INLINE_CHECKSUM_BYTES {
            blocking(move || volume.put(needles)).await??
        } else {
            volume.put(needles)?
        };
        answer.await.map_err(|_| stopping())?
    }

    /// Finds a needle and checks its cookie. A small one is read and verified on the way.
    pub async fn open_needle(&self, id: NeedleId) -> Result<NeedleReader, StoreError> {
        let volume = self.volume(id.volume)?;
        let needle = blocking(move || volume.open_needle(id.key, id.cookie)).await??;
        Ok(NeedleReader { needle: Arc::new(needle) })
    }

    /// Like [`Store::open_needle`], but reads no data: for HEAD.
    pub async fn stat_needle(&self, id: NeedleId) -> Result<NeedleReader, StoreError> {
        let volume = self.volume(id.volume)?;
        let needle = blocking(move || volume.stat_needle(id.key, id.cookie)).await??;
        Ok(NeedleReader { needle: Arc::new(needle) })
    }

    /// Deletes a needle, durably, and tells whether there was one.
    pub async fn delete(&self, id: NeedleId) -> Result<bool, StoreError> {
        self.delete_removed(id, Meta::default()).await
    }

    /// Like [`Store::delete`], and the tombstone says which name was removed at which version.
    pub async fn delete_removed(&self, id: NeedleId, removed: Meta) -> Result<bool, StoreError> {
        let volume = self.volume(id.volume)?;
        let answer = blocking(move || volume.delete_removed(id.key, id.cookie, &removed)).await??;
        answer.await.map_err(|_| stopping())?
    }

    /// Makes an empty volume on the disk with the most room. One that is there already is a success.
    pub async fn create_volume(self: &Arc<Self>, id: VolumeId) -> Result<(), StoreError> {
        let store = Arc::clone(self);
        blocking(move || store.create_volume_now(id)).await?
    }

    fn create_volume_now(&self, id: VolumeId) -> Result<(), StoreError> {
        // One at a time, so that two requests make one volume. Readers of the map do not
        // wait: it is locked only when the file is there.
        let _one_at_a_time = self.creating.lock();
        match self.volumes.read().get(&id) {
            Some(Slot::Open { .. }) => return Ok(()),
            Some(Slot::Broken { reason, .. }) => {
                let reason = format!("it is here, but could not be opened: {reason}").into();
                return Err(StoreError::Failed { volume: id, reason });
            }
            None => {}
        }
        let (number, disk) = self.roomiest_disk().ok_or(StoreError::DiskFull(id))?;
        let io = |error| StoreError::io(id, error);
        Volume::create(&*disk.disk, self.cluster, id).map_err(io)?;
        let opened =
            Volume::open(&disk.disk, self.cluster, id, disk.volume_options(&self.options.volume));
        let (volume, report) = opened.map_err(|error| io(std::io::Error::other(error)))?;
        tracing::info!(volume = %id, disk = %disk.path.display(), "volume created");
        let slot = Slot::Open { disk: number, volume: Arc::new(volume), report };
        self.volumes.write().insert(id, slot);
        Ok(())
    }

    fn roomiest_disk(&self) -> Option<(usize, &DataDir)> {
        let spaces = self.disks.iter().enumerate().filter_map(|(number, disk)| {
            let space = disk.disk.space().ok()?;
            self.has_room(space).then_some((number, disk, space.free_bytes))
        });
        let (number, disk, _) = spaces.max_by_key(|(_, _, free_bytes)| *free_bytes)?;
        Some((number, disk))
    }

    fn has_room(&self, space: Space) -> bool {
        !space.is_read_only && space.free_bytes > self.options.volume.min_free_bytes
    }

    /// The open volume with this id.
    pub fn volume(&self, id: VolumeId) -> Result<Arc<Volume>, StoreError> {
        match self.volumes.read().get(&id) {
            Some(Slot::Open { volume, .. }) => Ok(Arc::clone(volume)),
            Some(Slot::Broken { reason, .. }) => {
                let reason = format!("it could not be opened: {reason}").into();
                Err(StoreError::Failed { volume: id, reason })
            }
            None => Err(StoreError::NoVolume(id)),
        }
    }

    /// All open volumes.
    pub fn volumes(&self) -> Vec<Arc<Volume>> {
        let volumes = self.volumes.read();
        let open = volumes.values().filter_map(|slot| match slot {
            Slot::Open { volume, .. } => Some(Arc::clone(volume)),
            Slot::Broken { .. } => None,
        });
        open.collect()
    }

    /// The open volumes in the data directory with this number.
    pub(crate) fn volumes_on(&self, number: usize) -> Vec<Arc<Volume>> {
        let volumes = self.volumes.read();
        let open = volumes.values().filter_map(|slot| match slot {
            Slot::Open { disk, volume, .. } if *disk == number => Some(Arc::clone(volume)),
            Slot::Open { .. } | Slot::Broken { .. } => None,
        });
        open.collect()
    }

    pub(crate) fn disks(&self) -> &[DataDir] {
        &self.disks
    }

    pub(crate) fn scrub(&self) -> &Scrub {
        &self.scrub
    }

    /// The cluster that the volumes are part of.
    pub fn cluster(&self) -> Uuid {
        self.cluster
    }

    /// What the store works by.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Long tasks, running and done.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The store at this moment.
    pub fn status(&self) -> StoreStatus {
        let volumes = self.volumes.read();
        let disks = self.disks.iter().enumerate().map(|(number, disk)| {
            let space = disk.disk.space().unwrap_or(Space {
                total_bytes: 0,
                free_bytes: 0,
                is_read_only: false,
            });
            DiskStatus {
                path: disk.path.display().to_string(),
                total_bytes: space.total_bytes,
                free_bytes: space.free_bytes,
                volumes: volumes.values().filter(|slot| slot.disk() == number).count(),
                has_room: self.has_room(space),
            }
        });
        StoreStatus {
            disks: disks.collect(),
            volumes: volumes.iter().map(|(id, slot)| self.volume_status(*id, slot)).collect(),
        }
    }

    fn volume_status(&self, id: VolumeId, slot: &Slot) -> VolumeStatus {
        let disk = self
            .disks
            .get(slot.disk())
            .map_or(String::new(), |disk| disk.path.display().to_string());
        match slot {
            Slot::Broken { reason, .. } => VolumeStatus::unavailable(id, disk, reason.clone()),
            Slot::Open { volume, report, .. } => VolumeStatus {
                damaged_ranges: report.damage.len(),
                superblock_problem: report.superblock_problem.clone(),
                ..VolumeStatus::of(volume, disk)
            },
        }
    }

    /// Finishes what is queued, saves every index and lets go of the data directories.
    pub async fn close(self: Arc<Self>) {
        // A task that is cut short here is finished by the next start's recovery.
        let _ = blocking(move || {
            // Jobs first: the maintenance may be waiting for one to let go of a volume.
            self.jobs.cancel_all();
            self.maintenance.stop();
            self.scrub.stop();
            let volumes = self.volumes();
            crate::load::in_parallel(&volumes, |volume| {
                if let Err(error) = volume.close() {
                    tracing::warn!(volume = %volume.id(), %error, "index not saved: the next start scans the volume");
                }
            });
        })
        .await;
    }
}

impl VolumeStatus {
    fn of(volume: &Volume, disk: String) -> Self {
        let stats = volume.stats();
        let (state, reason) = match stats.condition {
            Condition::Writable if stats.is_full() => (VolumeState::Full, None),
            Condition::Writable => (VolumeState::Writable, None),
            Condition::ReadOnly => (VolumeState::ReadOnly, None),
            Condition::DiskFull => (VolumeState::DiskFull, None),
            Condition::Failed(reason) => (VolumeState::Failed, Some(reason.to_string())),
        };
        Self {
            volume: volume.id(),
            disk,
            state,
            reason,
            file_bytes: stats.file_bytes,
            limit_bytes: stats.limit_bytes,
            live_bytes: stats.totals.live_bytes,
            live_needles: stats.totals.live_needles,
            garbage_bytes: stats.garbage_bytes,
            tombstones: stats.totals.tombstones,
            digest: stats.totals.digest_exact.then(|| format!("{:032x}", stats.totals.digest)),
            generation: stats.generation,
            queue_depth: stats.queued,
            puts: stats.puts,
            deletes: stats.deletes,
            syncs: stats.syncs,
            failed_reads: stats.failed_reads,
            damaged_ranges: 0,
            superblock_problem: None,
            scrub: Some(VolumeScrub::of(volume)),
        }
    }

    fn unavailable(volume: VolumeId, disk: String, reason: String) -> Self {
        Self {
            volume,
            disk,
            state: VolumeState::Unavailable,
            reason: Some(reason),
            file_bytes: 0,
            limit_bytes: 0,
            live_bytes: 0,
            live_needles: 0,
            garbage_bytes: 0,
            tombstones: 0,
            digest: None,
            generation: 0,
            queue_depth: 0,
            puts: 0,
            deletes: 0,
            syncs: 0,
            failed_reads: 0,
            damaged_ranges: 0,
            superblock_problem: None,
            scrub: None,
        }
    }
}

/// A needle that was found. Clones read the same needle.
#[derive(Clone)]
pub struct NeedleReader {
    needle: Arc<StoredNeedle>,
}

impl NeedleReader {
    /// What the needle says of itself.
    pub fn meta(&self) -> &Meta {
        self.needle.meta()
    }

    /// Bytes of data.
    pub fn size(&self) -> u64 {
        self.needle.size()
    }

    /// The needle as found in its volume.
    pub fn stored(&self) -> &StoredNeedle {
        &self.needle
    }

    /// The bytes of `range`, all of them verified, in one piece.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        if let Some(bytes) = self.needle.in_memory(&range) {
            return Ok(bytes);
        }
        let needle = Arc::clone(&self.needle);
        blocking(move || needle.read(&range)).await?
    }

    /// The bytes of `range` in verified pieces, each read when the one before has been taken.
    pub fn stream(
        self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
        stream::try_unfold(range, move |left| {
            let reader = self.clone();
            async move {
                if left.is_empty() {
                    return Ok(None);
                }
                // Pieces end where blocks end, so that no block is read and verified twice.
                let end = (left.start + 1).next_multiple_of(WHOLE_READ_BYTES).min(left.end);
                let piece = reader.read(left.start..end).await?;
                Ok(Some((piece, end..left.end)))
            }
        })
    }
}

impl NeedleId {
    /// The id of `key` and `cookie` in `volume`.
    pub fn new(volume: VolumeId, key: Key, cookie: Cookie) -> Self {
        Self { volume, key, cookie }
    }
}

/// Runs synchronous work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "store task ended early");
        stopping()
    })
}

fn stopping() -> StoreError {
    StoreError::Unavailable { store: "this one".to_owned(), reason: "it is stopping".to_owned() }
}
