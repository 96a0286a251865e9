//! Needles that were queued by a clock that was ahead of what it is now.
//!
//! Nothing is due later than the longest wait from now, unless the clock has been set back since
//! it was queued. Until it had caught up, such needles would take room: for hours, or years. So
//! they are deleted once they have been seen in the queue for the longest wait.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use hayrick_store::VolumeId;
use tokio::time::Instant;

use super::clock::millis;
use crate::GarbageQueue;

/// Processes read the database's clock at different times; this much they may differ.
const SLACK: Duration = Duration::from_secs(5);

/// By volume, up to which due time needles are ahead.
#[derive(Debug)]
pub(super) struct Ahead {
    longest_wait: Duration,
    volumes: HashMap<VolumeId, Seen>,
}

#[derive(Debug)]
struct Seen {
    /// Needles due up to then have been in the queue for the longest wait.
    waited_ms: u64,
    /// Needles due up to then were in the queue at `since`.
    last_ms: u64,
    since: Instant,
}

impl Ahead {
    pub(super) fn new(longest_wait: Duration) -> Self {
        Self { longest_wait, volumes: HashMap::new() }
    }

    /// What has been seen before counts no more: the clock has changed.
    pub(super) fn forget(&mut self) {
        self.volumes.clear();
    }

    /// Looks at all that is queued. Answers, by volume, the due times of needles that are ahead
    /// and have waited.
    pub(super) fn look(
        &mut self,
        queues: &[GarbageQueue],
        now_ms: u64,
    ) -> Vec<(VolumeId, RangeInclusive<u64>)> {
        let horizon_ms = now_ms.saturating_add(millis(self.longest_wait + SLACK));
        let is_ahead = |queue: &&GarbageQueue| queue.last_due_ms > horizon_ms;
        let mut before = std::mem::take(&mut self.volumes);
        let mut waited = Vec::new();
        for queue in queues.iter().filter(is_ahead) {
            let last_ms = queue.last_due_ms;
            let fresh = || Seen { waited_ms: 0, last_ms, since: Instant::now() };
            let mut seen = before.remove(&queue.volume).unwrap_or_else(fresh);
            if seen.since.elapsed() >= self.longest_wait {
                seen = Seen { waited_ms: seen.last_ms, ..fresh() };
            }
            if seen.waited_ms > horizon_ms {
                waited.push((queue.volume, horizon_ms.saturating_add(1)..=seen.waited_ms));
            }
            self.volumes.insert(queue.volume, seen);
        }
        waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(30);
    const NEARLY: Duration = Duration::from_millis(29_999);
    const NOW_MS: u64 = 1_000_000;
    const HORIZON_MS: u64 = NOW_MS + 35_000;

    fn queue(last_due_ms: u64) -> GarbageQueue {
        GarbageQueue { volume: VolumeId::new(7).unwrap(), first_due_ms: 0, last_due_ms }
    }

    fn waited(ahead: &mut Ahead, last_due_ms: u64) -> Option<RangeInclusive<u64>> {
        ahead.look(&[queue(last_due_ms)], NOW_MS).pop().map(|(_, range)| range)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_far_ahead_waits_from_when_it_was_first_seen() {
        let mut ahead = Ahead::new(WAIT);
        assert_eq!(waited(&mut ahead, HORIZON_MS + 500), None);
        tokio::time::advance(NEARLY).await;
        assert_eq!(waited(&mut ahead, HORIZON_MS + 500), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        // What came since, and is later, has not waited.
        assert_eq!(waited(&mut ahead, HORIZON_MS + 900), Some(HORIZON_MS + 1..=HORIZON_MS + 500));
        tokio::time::advance(WAIT).await;
        assert_eq!(waited(&mut ahead, HORIZON_MS + 900), Some(HORIZON_MS + 1..=HORIZON_MS + 900));
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_due_then_is_left_to_its_time() {
        let mut ahead = Ahead::new(WAIT);
        for _ in 0..3 {
            assert_eq!(waited(&mut ahead, HORIZON_MS), None);
            tokio::time::advance(WAIT).await;
        }
        assert!(ahead.volumes.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_gone_or_forgotten_begins_anew() {
        let mut ahead = Ahead::new(WAIT);
        assert_eq!(waited(&mut ahead, u64::MAX), None);
        tokio::time::advance(WAIT).await;
        assert!(ahead.look(&[], NOW_MS).is_empty());
        assert_eq!(waited(&mut ahead, u64::MAX), None);
        tokio::time::advance(WAIT).await;
        ahead.forget();
        assert_eq!(waited(&mut ahead, u64::MAX), None);
    }
}
