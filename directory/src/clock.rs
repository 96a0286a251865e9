//! The hybrid logical clock that orders the versions of a name.
//!
//! A version is 64 bits: the upper 48 are milliseconds since 1970, the lower 16
//! a counter. Versions of one clock only ever rise: a wall clock that is set back
//! is waited out by counting, and the highest version found in the name database
//! is the floor after a restart.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

const COUNTER_BITS: u32 = 16;
const MAX_MS: u64 = u64::MAX >> COUNTER_BITS;

/// Where the time of day comes from.
pub trait WallClock: Send + Sync + 'static {
    /// Milliseconds since 1970. May jump in either direction.
    fn now_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now_ms(&self) -> u64 {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(elapsed.as_millis()).unwrap_or(MAX_MS)
    }
}

/// Gives out versions that only rise.
pub struct HybridClock {
    wall: Box<dyn WallClock>,
    last: AtomicU64,
}

impl HybridClock {
    /// A clock whose versions are all above `floor`.
    pub fn new(wall: impl WallClock, floor: u64) -> Self {
        Self { wall: Box::new(wall), last: AtomicU64::new(floor) }
    }

    /// A version above every one this clock gave out or observed before.
    pub fn next(&self) -> u64 {
        let now = self.wall.now_ms().min(MAX_MS) << COUNTER_BITS;
        let rise = |last: u64| last.saturating_add(1).max(now);
        let update = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, |v| Some(rise(v)));
        // The closure always answers `Some`, so both arms carry the value before.
        rise(update.unwrap_or_else(|last| last))
    }

    /// Takes note of a version made by another clock.
    pub fn observe(&self, version: u64) {
        self.last.fetch_max(version, Ordering::AcqRel);
    }

    /// What the wall clock says, whatever the versions: milliseconds since 1970.
    pub fn wall_ms(&self) -> u64 {
        self.wall.now_ms()
    }

    /// How far versions are ahead of the wall clock, in milliseconds.
    pub fn ahead_ms(&self) -> u64 {
        version_ms(self.last.load(Ordering::Acquire)).saturating_sub(self.wall_ms())
    }
}

impl fmt::Debug for HybridClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HybridClock").field("last", &self.last).finish_non_exhaustive()
    }
}

/// The milliseconds since 1970 that a version carries.
pub const fn version_ms(version: u64) -> u64 {
    version >> COUNTER_BITS
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::thread;

    use super::*;

    impl WallClock for Arc<AtomicU64> {
        fn now_ms(&self) -> u64 {
            self.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn rises_while_the_wall_clock_stands_jumps_and_steps_back() {
        let wall = Arc::new(AtomicU64::new(1_000));
        let clock = HybridClock::new(wall.clone(), 0);
        let mut last = clock.next();
        assert_eq!(last, 1_000 << 16);
        for now in [1_000, 1_001, 500, 0, 2_000, 1_999, u64::MAX, 3] {
            wall.store(now, Ordering::Relaxed);
            let next = clock.next();
            assert!(next > last, "at {now}");
            last = next;
        }
    }

    #[test]
    fn a_full_counter_carries_into_the_milliseconds() {
        let clock = HybridClock::new(Arc::new(AtomicU64::new(7)), (7 << 16) | 0xFFFF);
        assert_eq!(clock.next(), 8 << 16);
        assert_eq!((clock.wall_ms(), clock.ahead_ms()), (7, 1));
    }

    #[test]
    fn starts_above_the_floor_and_above_what_it_observed() {
        let clock = HybridClock::new(Arc::new(AtomicU64::new(1)), 99 << 16);
        assert!(clock.next() > 99 << 16);
        clock.observe(200 << 16);
        assert!(clock.next() > 200 << 16);
        clock.observe(5);
        assert!(clock.next() > 200 << 16);
    }

    #[test]
    fn threads_never_get_the_same_version() {
        let clock = Arc::new(HybridClock::new(SystemClock, 0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let clock = Arc::clone(&clock);
                thread::spawn(move || (0..2_000).map(|_| clock.next()).collect::<Vec<_>>())
            })
            .collect();
        let all: Vec<u64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }
}
