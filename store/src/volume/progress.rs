//! How far a long task has come, and a way to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// How far a long task on a volume has come. Clones are the same task.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    cancelled: Mutex<bool>,
    /// Ends the rest of a task that is cancelled.
    wake: Condvar,
}

impl Progress {
    /// Bytes done and bytes in all.
    pub fn bytes(&self) -> (u64, u64) {
        (
            self.counts.done_bytes.load(Ordering::Relaxed),
            self.counts.total_bytes.load(Ordering::Relaxed),
        )
    }

    /// Asks the task to stop at its next step.
    pub fn cancel(&self) {
        *self.counts.cancelled.lock() = true;
        self.counts.wake.notify_all();
    }

    /// Rests between two steps; false, at once, if the task should stop.
    pub fn rest(&self, time: Duration) -> bool {
        let mut cancelled = self.counts.cancelled.lock();
        let end = Instant::now() + time;
        while !*cancelled && !time.is_zero() {
            if self.counts.wake.wait_until(&mut cancelled, end).timed_out() {
                break;
            }
        }
        !*cancelled
    }

    /// Notes that so much more is to be done.
    pub fn expect(&self, total_bytes: u64) {
        self.counts.total_bytes.fetch_add(total_bytes, Ordering::Relaxed);
    }

    /// Notes work done; false if the task should stop.
    pub fn advance(&self, bytes: u64) -> bool {
        self.counts.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        !*self.counts.cancelled.lock()
    }
}
