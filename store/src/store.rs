//! A store: data directories full of volumes, and what anyone may ask of them.

mod needle;
mod report;
mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hayrick_service::client::Client;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::config::StoreOptions;
use crate::disk::{DataDir, DataDirError, FailedDir};
use crate::error::StoreError;
use crate::format::meta::Meta;
use crate::id::{Epoch, NeedleId, VolumeId};
use crate::jobs::Jobs;
use crate::load::{Slot, load_volumes};
use crate::maintenance::Maintenance;
use crate::memory::PeerMemory;
use crate::scrub::Scrub;
use crate::volume::{NewNeedle, Order, Volume};

pub use self::needle::NeedleReader;

/// Uploads above this size are checksummed off the async threads.
const INLINE_CHECKSUM_BYTES: usize = 256 << 10;

/// How many repairs of single needles may run at one time.
const MAX_REPAIRS: usize = 8;

/// An open store. Volume code is synchronous; this is the bridge that async tasks cross.
pub struct Store {
    cluster: Uuid,
    options: StoreOptions,
    disks: Vec<DataDir>,
    /// Nobody knows which volumes are on these.
    failed_disks: Vec<FailedDir>,
    volumes: RwLock<BTreeMap<VolumeId, Slot>>,
    /// Held while a volume is made or removed.
    changing: Mutex<()>,
    jobs: Jobs,
    maintenance: Maintenance,
    scrub: Scrub,
    /// Whether somebody else says when volumes are compacted.
    left_to_keeper: AtomicBool,
    /// How other stores are asked.
    peers: Client,
    /// For what comes from them and goes to them.
    memory: PeerMemory,
    /// Repairs that may run at one time.
    repairs: Semaphore,
}

impl Store {
    /// Opens every volume of every data directory, many at a time. A volume that does not
    /// open is reported in the status and does not stop the others, and neither does a disk that
    /// fails.
    ///
    /// # Errors
    /// A data directory that is in use, another cluster's, or not to be had for a reason that an
    /// operator can correct; or all of them fail.
    pub fn open(cluster: Uuid, options: StoreOptions) -> Result<Arc<Self>, DataDirError> {
        let pace = || options.background.disk();
        let dirs = options.disks.iter().map(|path| DataDir::open(path, cluster, pace()));
        let (disks, failed) = FailedDir::sort_out(dirs)?;
        Self::open_all(cluster, disks, failed, options)
    }

    /// Like [`Store::open`], on these disks instead of the folders that `options` names.
    pub fn open_on(
        cluster: Uuid,
        disks: Vec<DataDir>,
        options: StoreOptions,
    ) -> Result<Arc<Self>, DataDirError> {
        Self::open_all(cluster, disks, Vec::new(), options)
    }

    fn open_all(
        cluster: Uuid,
        disks: Vec<DataDir>,
        mut failed_disks: Vec<FailedDir>,
        options: StoreOptions,
    ) -> Result<Arc<Self>, DataDirError> {
        let (disks, failed) = FailedDir::sort_out(disks.into_iter().map(DataDir::listed))?;
        failed_disks.extend(failed);
        let volumes = load_volumes(&disks, cluster, &options.volume);
        let disks: Vec<_> = disks.into_iter().map(|(disk, _)| disk).collect();
        let scrub = Scrub::new(disks.iter().map(|disk| &*disk.disk));
        let memory = PeerMemory::new(options.upload_memory_bytes);
        let peers = Client::new(options.peers.clone());
        let store = Arc::new(Self {
            cluster,
            options,
            disks,
            failed_disks,
            volumes: RwLock::new(volumes),
            changing: Mutex::new(()),
            left_to_keeper: AtomicBool::new(false),
            peers,
            memory,
            repairs: Semaphore::new(MAX_REPAIRS),
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
    pub async fn put(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        needles: Vec<NewNeedle>,
    ) -> Result<(), StoreError> {
        let volume = self.volume(volume)?;
        obey(&volume, epoch).await?;
        let bytes: usize = needles.iter().map(|needle| needle.data.len()).sum();
        let answer = if bytes > INLINE_CHECKSUM_BYTES {
            blocking(move || volume.put_under(Some(epoch), needles)).await??
        } else {
            volume.put_under(Some(epoch), needles)?
        };
        answer.await.map_err(|_| stopping())?
    }

    /// Finds a needle and checks its cookie. A small one is read and verified on the way.
    pub async fn open_needle(&self, id: NeedleId) -> Result<NeedleReader, StoreError> {
        let volume = self.volume(id.volume)?;
        let needle = match volume.open_cached_needle(id.key, id.cookie) {
            Some(needle) => needle,
            None => blocking(move || volume.open_needle(id.key, id.cookie)).await??,
        };
        Ok(NeedleReader::new(needle))
    }

    /// Like [`Store::open_needle`], but never waits for a disk: `None` where that would be needed, for
    /// needles that are not read whole when they are opened, and for every error.
    pub fn open_cached_whole(&self, id: NeedleId) -> Option<NeedleReader> {
        let volume = self.volume(id.volume).ok()?;
        volume.open_cached_whole(id.key, id.cookie).map(NeedleReader::new)
    }

    /// Like [`Store::open_needle`], but reads no data: for HEAD.
    pub async fn stat_needle(&self, id: NeedleId) -> Result<NeedleReader, StoreError> {
        let volume = self.volume(id.volume)?;
        let needle = blocking(move || volume.stat_needle(id.key, id.cookie)).await??;
        Ok(NeedleReader::new(needle))
    }

    /// Deletes a needle, durably, and tells whether there was one.
    pub async fn delete(&self, id: NeedleId, epoch: Epoch) -> Result<bool, StoreError> {
        self.delete_removed(id, epoch, Meta::default()).await
    }

    /// Like [`Store::delete`], and the tombstone says which name was removed at which version.
    pub async fn delete_removed(
        &self,
        id: NeedleId,
        epoch: Epoch,
        removed: Meta,
    ) -> Result<bool, StoreError> {
        let volume = self.volume(id.volume)?;
        obey(&volume, epoch).await?;
        let delete = move || volume.delete_under(Some(epoch), id.key, id.cookie, &removed);
        let answer = blocking(delete).await??;
        answer.await.map_err(|_| stopping())?
    }

    /// The open volume with this id.
    pub fn volume(&self, id: VolumeId) -> Result<Arc<Volume>, StoreError> {
        match self.volumes.read().get(&id) {
            Some(Slot::Open { volume, .. }) => Ok(Arc::clone(volume)),
            Some(Slot::Broken { reason, .. }) => {
                let reason = format!("it could not be opened: {reason}").into();
                Err(StoreError::Failed { volume: id, reason })
            }
            None => Err(self.no_volume(id)),
        }
    }

    /// A volume that was not found is not here, or on a disk that fails.
    fn no_volume(&self, id: VolumeId) -> StoreError {
        match self.failed_disks.first() {
            None => StoreError::NoVolume(id),
            Some(disk) => {
                let (path, reason) = (disk.path.display(), &disk.reason);
                let reason = format!("it may be in {path}, which cannot be read: {reason}").into();
                StoreError::Failed { volume: id, reason }
            }
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

    /// Leaves it to the cluster's keeper when volumes are compacted, or, where there is none,
    /// does so by itself again.
    pub fn leave_to_keeper(&self, there_is_one: bool) {
        self.left_to_keeper.store(there_is_one, Ordering::Relaxed);
    }

    pub(crate) fn is_left_to_keeper(&self) -> bool {
        self.left_to_keeper.load(Ordering::Relaxed)
    }

    pub(crate) fn peers(&self) -> &Client {
        &self.peers
    }

    pub(crate) fn memory(&self) -> &PeerMemory {
        &self.memory
    }

    pub(crate) fn repairs(&self) -> &Semaphore {
        &self.repairs
    }

    /// Long tasks, running and done.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Finishes what is queued, saves every index and lets go of the data directories.
    pub async fn close(self: Arc<Self>) {
        self.jobs.end_syncs().await;
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

/// Sees to it that a replica knows the epoch of an order before it is carried out. The
/// volume's writer has the last word: what comes after a newer order is refused there.
pub(crate) async fn obey(volume: &Arc<Volume>, epoch: Epoch) -> Result<(), StoreError> {
    if volume.fence().check(epoch)? == Order::Current {
        return Ok(());
    }
    let volume = Arc::clone(volume);
    blocking(move || volume.fence().raise(epoch)).await?
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

pub(crate) fn stopping() -> StoreError {
    StoreError::Unavailable { store: "this one".to_owned(), reason: "it is stopping".to_owned() }
}
