//! One replica of several: its epoch, how it is filled, and how it goes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::fence::{self, Fence};
use super::live::Condition;
use super::writer::{Command, Writer};
use super::{Volume, files};
use crate::error::StoreError;
use crate::id::{Epoch, VolumeId};
use crate::pace::DiskPace;
use crate::storage::Disk;

/// How a new replica begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewReplica {
    /// What it is told first.
    pub epoch: Epoch,
    /// Whether it is to be filled from other replicas before anything else.
    pub copying: bool,
}

impl NewReplica {
    /// Makes room for a volume file: what is left of an earlier one goes, and what says how
    /// to treat the new one is there before it.
    pub(super) fn prepare(self, disk: &dyn Disk, id: VolumeId) -> io::Result<()> {
        let names = disk.list()?;
        if names.contains(&files::volume(id)) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        clear(disk, id, &names)?;
        if self.epoch != Epoch::NONE {
            fence::write(disk, id, self.epoch)?;
        }
        if self.copying {
            disk.create(&files::copying(id))?;
        }
        disk.sync()
    }
}

impl Volume {
    /// The epoch that the replica knows; [`Epoch::NONE`] where it has lost that.
    pub fn epoch(&self) -> Epoch {
        self.shared.fence.epoch().unwrap_or_default()
    }

    /// How fast background work on its disk may go.
    pub(crate) fn pace(&self) -> &Arc<DiskPace> {
        &self.shared.options.pace
    }

    /// Whether it is still being filled from other replicas.
    pub fn is_copying(&self) -> bool {
        self.shared.copying.load(Ordering::Acquire)
    }

    /// Which orders are obeyed.
    pub(crate) fn fence(&self) -> &Fence {
        &self.shared.fence
    }

    /// Waits until everything that was accepted before is durable, or has failed.
    pub fn settle(&self) -> Result<(), StoreError> {
        // A volume whose sync fails refuses writes: what waited for that has failed.
        self.exclusive(|writer| drop(writer.sync_published()))
    }

    /// Notes that all other replicas have the tombstones up to `through_ns`, nanoseconds since
    /// 1970 by this replica's own records. It is forgotten when the volume is closed.
    pub fn confirm(&self, through_ns: u64) {
        // Nobody can have seen what is still to come.
        let through_ns = through_ns.min(self.shared.live.read().last_append_ns);
        self.shared.confirmed_ns.fetch_max(through_ns, Ordering::AcqRel);
    }

    /// Notes, durably and by an order of `epoch`, that everything from other replicas is here.
    pub fn finish_copy(&self, epoch: Epoch) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        self.exclusive(move |writer| {
            shared.obey(Some(epoch))?;
            // What was fetched must not be lost when the mark is not there to have it fetched again.
            writer.sync_published()?;
            files::remove_if_there(&*shared.disk, &files::copying(shared.id))
                .and_then(|()| shared.disk.sync())
                .map_err(|error| StoreError::io(shared.id, error))?;
            shared.copying.store(false, Ordering::Release);
            Ok(())
        })?
    }

    /// Removes the volume by an order that is newer than the known epoch. Readers that have
    /// begun go on; nothing else does.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while a compaction or checkpoint has it.
    pub fn remove(&self, epoch: Epoch) -> Result<(), StoreError> {
        // A compaction's rename would bring it back.
        let upkeep = self.shared.upkeep.try_lock();
        let _nothing_else = upkeep.ok_or(StoreError::Busy { what: "the volume's compaction" })?;
        self.exclusive(move |writer| remove(writer, epoch))??;
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        finish_removal(&*self.shared.disk, self.id());
        Ok(())
    }
}

fn remove(writer: &mut Writer, epoch: Epoch) -> Result<(), StoreError> {
    let shared = &writer.shared;
    shared.fence.remove(epoch, || commit_removal(&*shared.disk, shared.id)).inspect_err(
        |error| {
            if let StoreError::Io { source, .. } = error {
                // Whether it has its name still is not known.
                writer.fail("removal", source);
            }
        },
    )?;
    *shared.condition.lock() = Condition::Failed("it was removed".into());
    Ok(())
}

/// Removes a volume that could not be opened, by an order that is newer than the known epoch.
pub(crate) fn remove_broken(
    disk: &Arc<dyn Disk>,
    id: VolumeId,
    epoch: Epoch,
) -> Result<(), StoreError> {
    Fence::load(disk, id).remove(epoch, || commit_removal(&**disk, id))?;
    finish_removal(&**disk, id);
    Ok(())
}

/// From here on the volume is gone, whatever happens.
fn commit_removal(disk: &dyn Disk, id: VolumeId) -> io::Result<()> {
    match disk.rename(&files::volume(id), &files::removed(id)) {
        // An earlier attempt came as far as that.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed?,
    }
    disk.sync()
}

/// What cannot be removed now is removed at the next start.
fn finish_removal(disk: &dyn Disk, id: VolumeId) {
    if let Err(error) = disk.list().and_then(|names| clear(disk, id, &names)) {
        tracing::warn!(volume = %id, %error, "files of a removed volume stay until the next start");
    }
}

/// Removes what is left of a volume, last of all what says that it was removed.
fn clear(disk: &dyn Disk, id: VolumeId, names: &[String]) -> io::Result<()> {
    let mark = files::removed(id);
    for name in names.iter().filter(|name| files::is_of(name, id) && **name != mark) {
        files::remove_if_there(disk, name)?;
    }
    files::remove_if_there(disk, &mark)
}

/// Removes at a start what is left of the removed volumes of a disk.
pub(crate) fn clear_removed(disk: &dyn Disk, names: &[String]) {
    for id in names.iter().filter_map(|name| files::parse_removed(name)) {
        tracing::info!(volume = %id, "removing what is left of a removed volume");
        // If the volume is there, it came after the one that was removed.
        let cleared = if names.contains(&files::volume(id)) {
            files::remove_if_there(disk, &files::removed(id))
        } else {
            clear(disk, id, names)
        };
        if let Err(error) = cleared {
            tracing::warn!(volume = %id, %error, "files of a removed volume stay for now");
        }
    }
}
