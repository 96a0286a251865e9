//! The clock of the queue: when needles in it are due.
//!
//! Many processes queue needles and one of them deletes those that are due, so all must go by
//! one clock, however wrong those of their machines are: that of the name database. It is read
//! now and then; between two readings this one goes on steadily, also while the database is away.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// A reading that took longer than this tells too little.
const MAX_TOOK: Duration = Duration::from_secs(1);
/// Readings may differ by this much from what was expected without a jump of the clock.
const MAX_DRIFT_MS: u64 = 2_000;

/// The name database's clock.
#[derive(Debug)]
pub(crate) struct QueueClock(Mutex<Reading>);

#[derive(Debug)]
struct Reading {
    now_ms: u64,
    at: Instant,
    /// When it was last seen to have jumped ahead.
    jumped: Option<Instant>,
}

impl QueueClock {
    /// The clock that has just been read as `now_ms`.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self(Mutex::new(Reading { now_ms, at: Instant::now(), jumped: None }))
    }

    /// The time now, in milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> u64 {
        self.0.lock().now_ms()
    }

    /// The time when this will have passed.
    pub(crate) fn after(&self, wait: Duration) -> u64 {
        self.now_ms().saturating_add(millis(wait))
    }

    /// The database's clock has just been read again, which took so long.
    pub(crate) fn set(&self, now_ms: u64, took: Duration) {
        if took > MAX_TOOK {
            return;
        }
        let mut reading = self.0.lock();
        let expected_ms = reading.now_ms();
        reading.at = Instant::now();
        reading.now_ms = now_ms;
        if now_ms > expected_ms.saturating_add(MAX_DRIFT_MS) {
            reading.jumped = Some(reading.at);
        }
        if now_ms.abs_diff(expected_ms) > MAX_DRIFT_MS {
            tracing::warn!(now_ms, expected_ms, "the clock of the name database has jumped");
        }
    }

    /// Whether it has jumped ahead within this time: what was queued before seems to have
    /// waited longer than it has.
    pub(crate) fn jumped_within(&self, wait: Duration) -> bool {
        self.0.lock().jumped.is_some_and(|jumped| jumped.elapsed() < wait)
    }
}

impl Reading {
    fn now_ms(&self) -> u64 {
        self.now_ms.saturating_add(millis(self.at.elapsed()))
    }
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_between_readings_and_follows_them() {
        let clock = QueueClock::new(10_000);
        tokio::time::advance(3 * SECOND).await;
        assert_eq!((clock.now_ms(), clock.after(SECOND)), (13_000, 14_000));
        clock.set(1, 2 * SECOND);
        clock.set(12_900, SECOND);
        tokio::time::advance(SECOND).await;
        assert_eq!(clock.now_ms(), 13_900);
        assert!(!clock.jumped_within(Duration::MAX), "a late answer is no jump");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_jump_ahead_is_one_and_is_over_after_the_wait() {
        let clock = QueueClock::new(10_000_000);
        clock.set(1_000, SECOND);
        assert!(!clock.jumped_within(Duration::MAX));
        clock.set(10_000_000, SECOND);
        tokio::time::advance(5 * SECOND).await;
        assert!(clock.jumped_within(6 * SECOND) && !clock.jumped_within(5 * SECOND));
    }
}
