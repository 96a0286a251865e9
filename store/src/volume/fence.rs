//! The epoch of a replica: orders that are older than it are refused.
//!
//! A newer epoch is on disk before anything is done under it, so that no restart makes a
//! replica obey orders that it had refused. Where there is no epoch file, it was never told
//! one: so it is in volumes of earlier versions. A file that is damaged might have held any
//! epoch, and so no order is obeyed until the replica is fenced anew by somebody who knows
//! the cluster map.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::files;
use crate::error::StoreError;
use crate::format::epoch::{self, EPOCH_FILE_BYTES};
use crate::id::{Epoch, VolumeId};
use crate::storage::{Disk, read_up_to};

/// The epoch of one replica.
pub(crate) struct Fence {
    disk: Arc<dyn Disk>,
    id: VolumeId,
    /// Held while a small file of the volume is written, and while the volume is removed.
    writing: Mutex<()>,
    /// Held for moments only.
    known: Mutex<Known>,
}

#[derive(Clone)]
enum Known {
    Epoch(Epoch),
    /// The epoch file cannot be used.
    Lost(Arc<str>),
    /// The replica is gone.
    Removed,
}

/// How an order stands to what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is of the known epoch.
    Current,
    /// It is of a newer one, which has to be written down first.
    Newer,
}

impl Fence {
    /// Reads the epoch file of volume `id`.
    pub(crate) fn load(disk: &Arc<dyn Disk>, id: VolumeId) -> Self {
        let known = match read(&**disk, id) {
            Ok(epoch) => Known::Epoch(epoch),
            Err(reason) => {
                tracing::error!(volume = %id, %reason, "epoch file cannot be used: the volume refuses writes until the keeper tells it the epoch");
                Known::Lost(reason.into())
            }
        };
        let disk = Arc::clone(disk);
        Self { disk, id, writing: Mutex::default(), known: Mutex::new(known) }
    }

    /// The epoch that is known; `None` where it is lost.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        match *self.known.lock() {
            Known::Epoch(epoch) => Some(epoch),
            Known::Lost(_) | Known::Removed => None,
        }
    }

    /// Why the epoch is not known.
    pub(crate) fn lost(&self) -> Option<StoreError> {
        self.check(Epoch::new(u64::MAX)).err()
    }

    /// Whether an order of epoch `asked` is to be obeyed.
    pub(crate) fn check(&self, asked: Epoch) -> Result<Order, StoreError> {
        let volume = self.id;
        match self.known.lock().clone() {
            Known::Epoch(known) if asked < known => {
                Err(StoreError::StaleEpoch { volume, asked, known })
            }
            Known::Epoch(known) if asked == known => Ok(Order::Current),
            Known::Epoch(_) => Ok(Order::Newer),
            Known::Lost(reason) => Err(StoreError::NoEpoch { volume, reason }),
            Known::Removed => Err(StoreError::NoVolume(volume)),
        }
    }

    /// Obeys an order of `epoch`: a newer one is known from now on.
    pub(crate) fn admit(&self, epoch: Epoch) -> Result<(), StoreError> {
        match self.check(epoch)? {
            Order::Current => Ok(()),
            Order::Newer => self.raise(epoch),
        }
    }

    /// Raises the epoch, durably, whatever was known before if that is lost.
    pub(crate) fn raise(&self, epoch: Epoch) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock();
        match self.check(epoch) {
            Ok(Order::Current) => return Ok(()),
            Ok(Order::Newer) | Err(StoreError::NoEpoch { .. }) => {}
            Err(error) => return Err(error),
        }
        write(&*self.disk, self.id, epoch).map_err(|error| StoreError::io(self.id, error))?;
        *self.known.lock() = Known::Epoch(epoch);
        Ok(())
    }

    /// Runs `remove` if `epoch` is newer than what is known. If that succeeds, there is
    /// nothing to be obeyed any more.
    pub(crate) fn remove(
        &self,
        epoch: Epoch,
        remove: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.writing.lock();
        if self.check(epoch)? == Order::Current {
            return Err(StoreError::StaleEpoch { volume: self.id, asked: epoch, known: epoch });
        }
        remove().map_err(|error| StoreError::io(self.id, error))?;
        *self.known.lock() = Known::Removed;
        Ok(())
    }

    /// Runs `write`, which writes a file of the volume, unless that is gone.
    pub(crate) fn while_there(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let _one_at_a_time = self.writing.lock();
        if matches!(*self.known.lock(), Known::Removed) { Ok(()) } else { write() }
    }
}

fn read(disk: &dyn Disk, id: VolumeId) -> Result<Epoch, String> {
    let file = match disk.open(&files::epoch(id)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Epoch::NONE),
        file => file.map_err(|error| error.to_string())?,
    };
    let mut bytes = Vec::with_capacity(EPOCH_FILE_BYTES);
    // One byte more, so that a longer file is seen.
    read_up_to(&*file, &mut bytes, EPOCH_FILE_BYTES + 1, 0).map_err(|error| error.to_string())?;
    epoch::from_bytes(&bytes, id).map_err(|error| error.to_string())
}

/// Writes the epoch file of volume `id`: whole and durable, or as it was.
pub(super) fn write(disk: &dyn Disk, id: VolumeId, epoch: Epoch) -> io::Result<()> {
    files::replace(disk, &files::epoch(id), &epoch::to_bytes(id, epoch))?;
    disk.sync()
}
