//! The keys of one volume that are leased and not yet given out.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

/// A lease that was used up sooner makes the next one larger. When the next is made, half of the
/// last one is left: keys for ten minutes.
const LEASE_LASTS: Duration = Duration::from_mins(20);
/// One that lasted for so many times as long makes the next one smaller.
const IDLE_TIMES: u32 = 4;
/// Leases grow to so many times the first at most: what a restart loses of them must stay
/// small beside all keys that a volume can ever use.
const MAX_GROWTH: u64 = 256;

/// Keys in the order in which they are given out.
#[derive(Debug)]
pub(super) struct Stock {
    ranges: VecDeque<Range<u64>>,
    first_lease: u64,
    /// How large the last lease was, and when it was made.
    last: Option<(u64, Instant)>,
    /// Why the last attempt to lease keys failed, if it did.
    problem: Option<String>,
}

impl Stock {
    pub(super) fn new(first_lease: u64) -> Self {
        Self { ranges: VecDeque::new(), first_lease, last: None, problem: None }
    }

    /// Takes `count` keys out; none if there are fewer.
    pub(super) fn take(&mut self, count: usize) -> Option<Vec<u64>> {
        if self.len() < u64::try_from(count).ok()? {
            return None;
        }
        let mut keys = Vec::with_capacity(count);
        while let Some(range) = self.ranges.front_mut() {
            keys.extend(range.by_ref().take(count - keys.len()));
            if keys.len() == count {
                break;
            }
            self.ranges.pop_front();
        }
        Some(keys)
    }

    pub(super) fn add(&mut self, range: Range<u64>, now: Instant) {
        self.last = Some((range.end - range.start, now));
        self.problem = None;
        self.ranges.push_back(range);
    }

    pub(super) fn failed(&mut self, problem: String) {
        self.problem = Some(problem);
    }

    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(super) fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether it is time for the next lease.
    pub(super) fn is_low(&self) -> bool {
        self.last.is_none_or(|(count, _)| self.len() <= count / 2)
    }

    /// How many keys the next lease takes, if it is made now.
    pub(super) fn next_lease(&self, now: Instant) -> u64 {
        let Some((count, since)) = self.last else { return self.first_lease };
        let lasted = now.duration_since(since);
        let most = self.first_lease.saturating_mul(MAX_GROWTH);
        if lasted < LEASE_LASTS {
            count.saturating_mul(2).min(most)
        } else if lasted > LEASE_LASTS * IDLE_TIMES {
            (count / 2).max(self.first_lease)
        } else {
            count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses a stock at a pace of keys in a second for some time, and leases when it is low.
    fn use_up(stock: &mut Stock, now: &mut Instant, pace: usize, seconds: u64) {
        for _ in 0..seconds {
            *now += Duration::from_secs(1);
            assert!(stock.take(pace).is_some(), "{} are left", stock.len());
            if stock.is_low() {
                let count = stock.next_lease(*now);
                stock.add(0..count, *now);
            }
        }
    }

    #[test]
    fn leases_grow_until_what_is_left_lasts_ten_minutes_and_shrink_again() {
        let (mut stock, mut now) = (Stock::new(10_000), Instant::now());
        stock.add(0..10_000, now);
        use_up(&mut stock, &mut now, 400, 3_600);
        for _ in 0..3_600 {
            use_up(&mut stock, &mut now, 400, 1);
            assert!(stock.len() >= 400 * 600, "{} are left", stock.len());
        }
        assert!(stock.len() <= 400 * 6_000, "no more than is useful: {}", stock.len());
        use_up(&mut stock, &mut now, 1, 2_000_000);
        assert_eq!(stock.next_lease(now), 10_000);
    }

    #[test]
    fn leases_are_bounded() {
        let (mut stock, mut now) = (Stock::new(10), Instant::now());
        stock.add(0..10, now);
        for _ in 0..20 {
            stock.ranges.clear();
            now += Duration::from_secs(1);
            let count = stock.next_lease(now);
            stock.add(0..count, now);
        }
        assert_eq!(stock.len(), 10 * MAX_GROWTH);
    }

    #[test]
    fn keys_come_in_order_over_ranges() {
        let (mut stock, now) = (Stock::new(4), Instant::now());
        assert!(stock.is_low());
        stock.add(1..5, now);
        assert_eq!(stock.take(1), Some(vec![1]));
        assert!(!stock.is_low());
        assert_eq!(stock.take(1), Some(vec![2]));
        assert!(stock.is_low(), "half of it is used");
        stock.add(9..13, now);
        assert_eq!(stock.take(4), Some(vec![3, 4, 9, 10]));
        assert_eq!((stock.take(3), stock.take(2)), (None, Some(vec![11, 12])));
    }

    #[test]
    fn a_failure_is_known_until_a_success() {
        let mut stock = Stock::new(4);
        stock.failed("away".to_owned());
        assert_eq!(stock.problem(), Some("away"));
        stock.add(1..5, Instant::now());
        assert_eq!(stock.problem(), None);
    }
}
