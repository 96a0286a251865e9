//! Opening the volumes of all data directories, many at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use metrics::counter;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::disk::DataDir;
use crate::id::VolumeId;
use crate::volume::{OpenReport, Volume, VolumeOptions, clear_removed, files};

/// A volume that is on a disk of this store.
pub(crate) enum Slot {
    /// Open and serving.
    Open { disk: usize, volume: Arc<Volume>, report: OpenReport },
    /// There, but not usable. Nothing of it is touched.
    Broken { disk: usize, reason: String },
}

impl Slot {
    /// The number of its data directory.
    pub(crate) fn disk(&self) -> usize {
        match self {
            Self::Open { disk, .. } | Self::Broken { disk, .. } => *disk,
        }
    }
}

/// Opens what there is in data directories that come with the names of their files.
pub(crate) fn load_volumes(
    disks: &[(DataDir, Vec<String>)],
    cluster: Uuid,
    options: &VolumeOptions,
) -> BTreeMap<VolumeId, Slot> {
    let mut found = Vec::new();
    for (number, (disk, names)) in disks.iter().enumerate() {
        clear_removed(&*disk.disk, names);
        found.extend(
            names.iter().filter_map(|name| files::parse_volume(name)).map(|id| (id, number, disk)),
        );
    }
    let slots = Mutex::new(BTreeMap::new());
    in_parallel(&found, |(id, number, disk)| {
        let slot = open_slot(disk, *number, cluster, *id, options);
        keep(&mut slots.lock(), *id, slot, disk);
    });
    slots.into_inner()
}

fn open_slot(
    disk: &DataDir,
    number: usize,
    cluster: Uuid,
    id: VolumeId,
    options: &VolumeOptions,
) -> Slot {
    match Volume::open(&disk.disk, cluster, id, disk.volume_options(options)) {
        Ok((volume, report)) => {
            log_report(id, &report);
            Slot::Open { disk: number, volume: Arc::new(volume), report }
        }
        Err(error) => {
            tracing::error!(volume = %id, disk = %disk.path.display(), %error, "volume not opened; the others go on");
            Slot::Broken { disk: number, reason: error.to_string() }
        }
    }
}

/// The same volume on two disks is an operator's mistake; which one is right is theirs to say.
fn keep(slots: &mut BTreeMap<VolumeId, Slot>, id: VolumeId, slot: Slot, disk: &DataDir) {
    let number = slot.disk();
    if slots.insert(id, slot).is_some() {
        let reason =
            "two data directories have a file of this volume: move one of them away".to_owned();
        tracing::error!(volume = %id, disk = %disk.path.display(), %reason, "volume not used");
        slots.insert(id, Slot::Broken { disk: number, reason });
    }
}

fn log_report(id: VolumeId, report: &OpenReport) {
    if let Some(reason) = &report.superblock_problem {
        counter!("hayrick_store_lost_superblocks_total").increment(1);
        tracing::error!(
            volume = %id, %reason,
            "superblock cannot be used: the index file says, and the needles prove, whose it is"
        );
    }
    for damage in &report.damage {
        tracing::error!(
            volume = %id, offset = damage.start, size_bytes = damage.end - damage.start,
            "bytes that were stored once cannot be read; `hayrick volume verify` names what is lost"
        );
    }
    if report.cut_bytes > 0 || report.aborted > 0 {
        tracing::warn!(
            volume = %id, cut_bytes = report.cut_bytes, aborted = report.aborted,
            "unfinished writes, acknowledged to nobody, were taken back"
        );
    }
    tracing::debug!(volume = %id, scanned_bytes = report.scanned_bytes, "volume opened");
}

/// Runs `work` for every item, on a few threads at a time.
pub(crate) fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let cores = thread::available_parallelism().map_or(2, usize::from);
    // Opening waits for the disk more than for the processor.
    let workers = (cores * 4).min(items.len());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}
