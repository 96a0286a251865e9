//! Replicas that come and go.

use std::sync::Arc;

use super::{Store, blocking, obey};
use crate::disk::DataDir;
use crate::error::StoreError;
use crate::id::{Epoch, VolumeId};
use crate::load::Slot;
use crate::storage::{Disk, Space};
use crate::volume::{Fence, NewReplica, Volume, remove_broken};

/// A volume that is on a disk of this store.
enum Found {
    Open(Arc<Volume>),
    Broken { disk: Arc<dyn Disk>, reason: String },
}

impl Store {
    /// Makes an empty volume on the disk with the most room. One that is there already is a success.
    pub async fn create_volume(
        self: &Arc<Self>,
        id: VolumeId,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        self.create(id, NewReplica { epoch, copying: false }).await
    }

    /// See [`StoreHandle::create_copy`](crate::StoreHandle::create_copy).
    pub async fn create_copy(
        self: &Arc<Self>,
        id: VolumeId,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        self.create(id, NewReplica { epoch, copying: true }).await
    }

    async fn create(self: &Arc<Self>, id: VolumeId, new: NewReplica) -> Result<(), StoreError> {
        let store = Arc::clone(self);
        blocking(move || store.create_now(id, new)).await?
    }

    fn create_now(&self, id: VolumeId, new: NewReplica) -> Result<(), StoreError> {
        // One at a time, so that two requests make one volume. Readers of the map do not
        // wait: it is locked only when the file is there.
        let _one_at_a_time = self.changing.lock();
        match self.find(id) {
            Some(Found::Open(volume)) => return volume.fence().admit(new.epoch),
            Some(Found::Broken { reason, .. }) => {
                let reason = format!("it is here, but could not be opened: {reason}").into();
                return Err(StoreError::Failed { volume: id, reason });
            }
            // Copies are made of volumes that were here before; two replicas would be too many.
            None if new.copying && !self.failed_disks.is_empty() => return Err(self.no_volume(id)),
            None => {}
        }
        let (number, disk) = self.roomiest_disk().ok_or(StoreError::DiskFull(id))?;
        let io = |error| StoreError::io(id, error);
        Volume::create_replica(&*disk.disk, self.cluster, id, new).map_err(io)?;
        let opened =
            Volume::open(&disk.disk, self.cluster, id, disk.volume_options(&self.options.volume));
        let (volume, report) = opened.map_err(|error| io(std::io::Error::other(error)))?;
        tracing::info!(volume = %id, disk = %disk.path.display(), epoch = %new.epoch, copying = new.copying, "volume created");
        let slot = Slot::Open { disk: number, volume: Arc::new(volume), report };
        self.volumes.write().insert(id, slot);
        Ok(())
    }

    /// See [`StoreHandle::remove_volume`](crate::StoreHandle::remove_volume).
    pub async fn remove_volume(
        self: &Arc<Self>,
        id: VolumeId,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        let store = Arc::clone(self);
        blocking(move || store.remove_now(id, epoch)).await?
    }

    fn remove_now(&self, id: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        let _one_at_a_time = self.changing.lock();
        match self.find(id) {
            Some(Found::Open(volume)) => volume.remove(epoch)?,
            Some(Found::Broken { disk, .. }) => remove_broken(&disk, id, epoch)?,
            None => return Ok(()),
        }
        self.volumes.write().remove(&id);
        tracing::info!(volume = %id, %epoch, "volume removed");
        Ok(())
    }

    /// See [`StoreHandle::fence`](crate::StoreHandle::fence).
    pub async fn fence(self: &Arc<Self>, id: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        let store = Arc::clone(self);
        blocking(move || match store.find(id) {
            Some(Found::Open(volume)) => {
                volume.fence().raise(epoch)?;
                volume.settle()
            }
            // It takes no writes that could be under way.
            Some(Found::Broken { disk, .. }) => Fence::load(&disk, id).raise(epoch),
            None => Err(store.no_volume(id)),
        })
        .await?
    }

    /// See [`StoreHandle::confirm`](crate::StoreHandle::confirm).
    pub async fn confirm(
        self: &Arc<Self>,
        id: VolumeId,
        epoch: Epoch,
        through_ns: u64,
    ) -> Result<(), StoreError> {
        let volume = self.volume(id)?;
        obey(&volume, epoch).await?;
        volume.confirm(through_ns);
        Ok(())
    }

    fn find(&self, id: VolumeId) -> Option<Found> {
        match self.volumes.read().get(&id)? {
            Slot::Open { volume, .. } => Some(Found::Open(Arc::clone(volume))),
            Slot::Broken { disk, reason } => {
                let disk = Arc::clone(&self.disks.get(*disk)?.disk);
                Some(Found::Broken { disk, reason: reason.clone() })
            }
        }
    }

    fn roomiest_disk(&self) -> Option<(usize, &DataDir)> {
        let spaces = self.disks.iter().enumerate().filter_map(|(number, disk)| {
            let space = disk.disk.space().ok()?;
            self.has_room(space).then_some((number, disk, space.free_bytes))
        });
        let (number, disk, _) = spaces.max_by_key(|(_, _, free_bytes)| *free_bytes)?;
        Some((number, disk))
    }

    pub(super) fn has_room(&self, space: Space) -> bool {
        !space.is_read_only && space.free_bytes > self.options.volume.min_free_bytes
    }
}
