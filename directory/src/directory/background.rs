//! What the directory does by itself.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Directory;
use crate::garbage::Step;

/// Between two rounds of leasing keys.
const LEASE_PAUSE: Duration = Duration::from_secs(1);

/// The directory's background work. It ends when the token it was given is cancelled.
#[must_use = "wait for it when stopping"]
pub struct Background {
    tasks: [JoinHandle<()>; 4],
}

impl Background {
    /// Waits for the work to end; each task ends its present step.
    pub async fn finished(self) {
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "background task of the directory died");
            }
        }
    }
}

impl Directory {
    /// Starts making volumes, leasing keys and deleting garbage, until `stop` is cancelled.
    pub fn spawn_background(&self, stop: &CancellationToken) -> Background {
        let grow = tokio::spawn(self.clone().grow_until(stop.clone()));
        let lease = tokio::spawn(self.clone().lease_until(stop.clone()));
        let read_clock = tokio::spawn(self.clone().read_clock_until(stop.clone()));
        let reap = tokio::spawn(self.clone().reap_until(stop.clone()));
        Background { tasks: [grow, lease, read_clock, reap] }
    }

    async fn grow_until(self, stop: CancellationToken) {
        let interval = Duration::from_millis(self.shared.config.growth.interval_ms);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
                () = self.shared.grow_soon.notified() => {}
            }
            self.shared.grower.lock().await.step().await;
        }
    }

    async fn lease_until(self, stop: CancellationToken) {
        let interval = Duration::from_millis(self.shared.config.growth.interval_ms);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                // As often as there may be new volumes.
                () = tokio::time::sleep(interval) => {}
                () = self.shared.keys.run_low() => {}
            }
            self.lease_ahead().await;
            tokio::select! {
                () = stop.cancelled() => return,
                // While no keys are to be had, every upload says that they run low.
                () = tokio::time::sleep(LEASE_PAUSE) => {}
            }
        }
    }

    /// Every directory does this, as every one queues needles.
    async fn read_clock_until(self, stop: CancellationToken) {
        let interval = Duration::from_millis(self.shared.config.garbage.interval_ms);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(interval) => {}
            }
            let asked = Instant::now();
            match self.shared.names.now_ms().await {
                Ok(now_ms) => self.shared.queue_clock.set(now_ms, asked.elapsed()),
                // It goes on without.
                Err(error) => tracing::debug!(%error, "clock of the name database not read"),
            }
        }
    }

    /// Whether it is this directory of several that deletes garbage: that with the lowest id.
    /// While the coordinator is away that stays who it was. For moments it may be two, or none:
    /// deleting twice is harmless, and what is not deleted stays in the queue.
    pub(crate) fn reaps(&self) -> bool {
        let map = self.shared.coordinator.map();
        let first = map.directories.keys().next();
        first.is_none_or(|first| Some(*first) == self.shared.coordinator.boot_id())
    }

    async fn reap_until(self, stop: CancellationToken) {
        let interval = Duration::from_millis(self.shared.config.garbage.interval_ms);
        let mut reaper = self.reaper();
        while !stop.is_cancelled() {
            let reaps = self.reaps();
            metrics::gauge!("hayrick_reaper_active").set(f64::from(u8::from(reaps)));
            if !reaps || reaper.step().await == Step::Idle {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(interval) => {}
                }
            }
        }
    }
}
