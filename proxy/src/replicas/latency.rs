//! How long reads usually take.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// No read is called slow before this: asking twice would cost more than it saves.
const FLOOR: Duration = Duration::from_millis(10);

/// Nor is one waited for longer than this.
const CEILING: Duration = Duration::from_secs(1);

/// The time that 19 of 20 reads stay below, found by small steps: one up for each read above
/// it is as long as 19 down for the reads below, so it rests where one in 20 is above.
pub(super) struct Latency {
    p95_us: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self { p95_us: AtomicU64::new(micros(FLOOR)) }
    }
}

impl Latency {
    pub(super) fn took(&self, time: Duration) {
        let p95 = self.p95_us.load(Ordering::Relaxed);
        let step = p95 / 128 + 1;
        let next = if micros(time) > p95 { p95 + 19 * step } else { p95.saturating_sub(step) };
        // Reads that end at the same moment may overwrite each other's step.
        self.p95_us.store(next.min(micros(CEILING)), Ordering::Relaxed);
    }

    /// Ends when a read that begins now takes unusually long.
    pub(super) async fn unusual(&self) {
        tokio::time::sleep(self.limit()).await;
    }

    fn limit(&self) -> Duration {
        Duration::from_micros(self.p95_us.load(Ordering::Relaxed)).max(FLOOR)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_read_in_twenty_is_unusual() {
        let latency = Latency::default();
        // 0 to 100 ms, each as often, in an order without a pattern.
        let mut time_us = 1_u64;
        let mut times = std::iter::from_fn(|| {
            time_us = time_us.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            Some(Duration::from_micros((time_us >> 33) % 100_000))
        });
        for time in times.by_ref().take(20_000) {
            latency.took(time);
        }
        let mut above = 0;
        for time in times.take(20_000) {
            above += usize::from(time > latency.limit());
            latency.took(time);
        }
        assert!((500..2_000).contains(&above), "{above} of 20,000");
    }

    #[test]
    fn fast_reads_are_not_asked_twice_and_stuck_ones_do_not_take_for_ever() {
        let latency = Latency::default();
        (0..10_000).for_each(|_| latency.took(Duration::from_micros(50)));
        assert_eq!(latency.limit(), FLOOR);
        (0..10_000).for_each(|_| latency.took(Duration::from_mins(1)));
        assert_eq!(latency.limit(), CEILING);
    }
}
