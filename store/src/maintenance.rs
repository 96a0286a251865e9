//! What a store does by itself: saving indexes, compacting, noticing room, keeping metrics.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use metrics::{counter, gauge};
use parking_lot::Mutex;

use crate::config::CompactionTrigger;
use crate::id::VolumeId;
use crate::status::{StoreStatus, VolumeStatus};
use crate::store::Store;
use crate::volume::{Condition, Progress, Volume};

/// Time between two rounds.
const PERIOD: Duration = Duration::from_secs(5);

/// Time after which a compaction that gave up, for want of room say, is tried again.
const RETRY: Duration = Duration::from_mins(10);

/// The store's background threads. Compactions have one of their own, because they may
/// take hours where clients keep the disk busy.
#[derive(Default)]
pub(crate) struct Maintenance {
    running: Mutex<Vec<(Sender<()>, JoinHandle<()>)>>,
    compacting: Progress,
}

impl Maintenance {
    /// Starts the threads.
    pub(crate) fn start(&self, store: &Arc<Store>) {
        let cancelled = self.compacting.clone();
        let mut gave_up = GaveUp::new();
        *self.running.lock() = vec![
            every_period(store, look_after),
            every_period(store, move |store| compact_some(store, &cancelled, &mut gave_up)),
        ];
    }

    /// Stops the threads and waits for them.
    pub(crate) fn stop(&self) {
        self.compacting.cancel();
        for (stop, thread) in std::mem::take(&mut *self.running.lock()) {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// Starts a thread that does `work` until told to stop. It holds no strong reference between rounds.
fn every_period(
    store: &Arc<Store>,
    mut work: impl FnMut(&Store) + Send + 'static,
) -> (Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = channel();
    let store = Arc::downgrade(store);
    let thread = std::thread::spawn(move || {
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PERIOD) {
            let Some(store) = store.upgrade() else { break };
            work(&store);
        }
    });
    (stop, thread)
}

/// When a volume's compaction last gave up.
type GaveUp = HashMap<VolumeId, Instant>;

fn look_after(store: &Store) {
    for volume in store.volumes() {
        volume.recheck_space();
        if volume.wants_checkpoint()
            && let Err(error) = volume.checkpoint()
        {
            tracing::warn!(volume = %volume.id(), %error, "index not saved; trying again");
        }
    }
    publish(&store.status());
}

fn compact_some(store: &Store, cancelled: &Progress, gave_up: &mut GaveUp) {
    gave_up.retain(|_, when| when.elapsed() < RETRY);
    if store.is_left_to_keeper() {
        return;
    }
    for volume in store.volumes() {
        let wanted = wants_compaction(&volume, store.options().compaction);
        if wanted && !gave_up.contains_key(&volume.id()) && !compact(&volume, cancelled) {
            gave_up.insert(volume.id(), Instant::now());
        }
    }
}

/// Whether enough of the volume is garbage for a compaction to be worth its while.
fn wants_compaction(volume: &Volume, trigger: CompactionTrigger) -> bool {
    let stats = volume.stats();
    let Some(ratio) = trigger.garbage_ratio else { return false };
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no exact bytes")]
    let share = stats.garbage_bytes as f64 / stats.file_bytes as f64;
    let healthy = !matches!(stats.condition, Condition::Failed(_));
    healthy && share >= ratio && stats.garbage_bytes >= trigger.min_garbage_bytes
}

/// Compacts a volume, and tells whether that worked.
fn compact(volume: &Volume, cancelled: &Progress) -> bool {
    match volume.compact(cancelled) {
        Ok(done) => {
            counter!("hayrick_store_compactions_total", "outcome" => "done").increment(1);
            tracing::info!(
                volume = %volume.id(), before_bytes = done.before_bytes, after_bytes = done.after_bytes,
                live_needles = done.live_needles, damaged_needles = done.damaged_needles, "volume compacted"
            );
            true
        }
        Err(error) => {
            counter!("hayrick_store_compactions_total", "outcome" => "failed").increment(1);
            tracing::warn!(volume = %volume.id(), %error, "compaction gave up; the volume is as it was");
            false
        }
    }
}

/// Sets the gauges of `/metrics`.
fn publish(status: &StoreStatus) {
    for disk in &status.disks {
        let label = disk.path.clone();
        gauge!("hayrick_store_disk_free_bytes", "disk" => label.clone())
            .set(float(disk.free_bytes));
        gauge!("hayrick_store_disk_total_bytes", "disk" => label).set(float(disk.total_bytes));
    }
    for volume in &status.volumes {
        let label = volume.volume.to_string();
        for (name, value) in volume_gauges(volume) {
            gauge!(name, "volume" => label.clone()).set(float(value));
        }
    }
}

fn volume_gauges(volume: &VolumeStatus) -> [(&'static str, u64); 12] {
    let scrub = volume.scrub.as_ref();
    let last_pass_ms = scrub.and_then(|scrub| scrub.last_pass_ms).unwrap_or(0);
    let done_bytes = scrub.and_then(|scrub| scrub.pass).map_or(0, |pass| pass.done_bytes);
    [
        ("hayrick_store_volume_file_bytes", volume.file_bytes),
        ("hayrick_store_volume_live_bytes", volume.live_bytes),
        ("hayrick_store_volume_live_needles", volume.live_needles),
        ("hayrick_store_volume_garbage_bytes", volume.garbage_bytes),
        ("hayrick_store_volume_queue_depth", volume.queue_depth),
        ("hayrick_store_volume_puts", volume.puts),
        ("hayrick_store_volume_deletes", volume.deletes),
        ("hayrick_store_volume_syncs", volume.syncs),
        ("hayrick_store_volume_failed_reads", volume.failed_reads),
        ("hayrick_store_volume_scrub_last_pass_timestamp_seconds", last_pass_ms / 1000),
        ("hayrick_store_volume_scrub_done_bytes", done_bytes),
        ("hayrick_store_volume_scrub_damaged", scrub.map_or(0, |scrub| scrub.damaged)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats")]
fn float(value: u64) -> f64 {
    value as f64
}
