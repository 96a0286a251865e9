//! What a store tells of itself.

use super::Store;
use crate::id::{Epoch, VolumeId};
use crate::load::Slot;
use crate::status::{DiskStatus, StoreStatus, VolumeState, VolumeStatus};
use crate::storage::Space;
use crate::volume::{Condition, Volume};

impl Store {
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
                problem: None,
            }
        });
        let failed = self.failed_disks.iter().map(|disk| DiskStatus {
            path: disk.path.display().to_string(),
            total_bytes: 0,
            free_bytes: 0,
            volumes: 0,
            has_room: false,
            problem: Some(disk.reason.clone()),
        });
        StoreStatus {
            disks: disks.chain(failed).collect(),
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
                scrub: Some(self.volume_scrub(volume)),
                ..VolumeStatus::of(volume, disk)
            },
        }
    }
}

impl VolumeStatus {
    fn of(volume: &Volume, disk: String) -> Self {
        let stats = volume.stats();
        let (state, reason) = match stats.condition {
            Condition::Failed(reason) => (VolumeState::Failed, Some(reason.to_string())),
            _ if stats.no_epoch.is_some() => (VolumeState::Failed, stats.no_epoch),
            _ if stats.copying => (VolumeState::Copying, None),
            Condition::Writable if stats.is_full() => (VolumeState::Full, None),
            Condition::Writable => (VolumeState::Writable, None),
            Condition::ReadOnly => (VolumeState::ReadOnly, None),
            Condition::DiskFull => (VolumeState::DiskFull, None),
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
            epoch: stats.epoch,
            last_append_ns: stats.last_append_ns,
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
            scrub: None,
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
            epoch: Epoch::NONE,
            last_append_ns: 0,
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
