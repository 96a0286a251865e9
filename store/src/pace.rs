//! How fast background work may go: a rate limit that yields to clients.
//!
//! [`Foreground`] counts how long clients wait for one disk, apart for moments when a
//! background step is under way and moments when none is. The second is the baseline:
//! it follows the load by itself, so a busy disk is not taken for a disturbed one.
//! Twice a second the two are compared. While clients wait longer than they should, the
//! share of its rate that background work may use is halved; otherwise it climbs back.
//! A [`Pacer`] turns rate and share into pauses between small steps.
//!
//! All of it is integers and time handed in, so that tests need no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::volume::Progress;

/// Time between two looks at the clients' waits.
const TICK: Duration = Duration::from_millis(500);
/// Who waits less than this has waited for nobody: most likely the page cache answered.
const NO_WAIT: Duration = Duration::from_millis(1);
/// Waits up to this are nobody's trouble, however short they were before.
const UNNOTICED: Duration = Duration::from_millis(5);
/// A verdict takes this many waits; fewer are kept for the next look.
const ENOUGH_WAITS: u64 = 4;
/// Reads above this size take long by themselves and say nothing.
pub(crate) const TELLING_READ_BYTES: u64 = 512 << 10;

/// The whole of a rate.
const WHOLE_SHARE: u64 = 1 << 16;
/// The least share, a thousandth.
const LEAST_SHARE: u64 = WHOLE_SHARE >> 10;
/// Background work never stands still: it may always go this fast, if its limit allows.
const LEAST_RATE: u64 = 1 << 20;
/// What "no limit" is shared out from, in bytes per second.
const UNLIMITED: u64 = 1 << 30;
/// How much time that a slow step took beyond its due is made good for.
const SLACK: Duration = Duration::from_millis(250);

/// What a client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Reading a needle, or a piece of one.
    Read,
    /// The sync of a group of uploads.
    Sync,
}

/// How long clients wait for one disk, and what share of its rates that leaves to others.
#[derive(Debug)]
pub struct Foreground {
    /// Waiting longer than this on average is too long in any case.
    target: Duration,
    reads: Waits,
    syncs: Waits,
    /// Background steps under way.
    steps: AtomicUsize,
    judge: Mutex<Judge>,
    started: Instant,
}

/// Waits of one kind.
#[derive(Debug, Default)]
struct Waits {
    /// Begun while no background step was under way.
    alone: Tally,
    /// Begun beside one.
    beside: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    waits: AtomicU64,
    nanos: AtomicU64,
}

#[derive(Debug)]
struct Judge {
    judged_at: Duration,
    share: u64,
    /// How long reads and syncs take when alone, in nanoseconds.
    usual_read: u64,
    usual_sync: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Slow,
    /// Too few waits to tell.
    Unsure,
}

impl Default for Foreground {
    fn default() -> Self {
        Self::new(Duration::from_millis(50))
    }
}

impl Foreground {
    /// Counts the waits for a disk where clients should not wait longer than `target`.
    pub fn new(target: Duration) -> Self {
        let judge =
            Judge { judged_at: Duration::ZERO, share: WHOLE_SHARE, usual_read: 0, usual_sync: 0 };
        Self {
            target,
            reads: Waits::default(),
            syncs: Waits::default(),
            steps: AtomicUsize::new(0),
            judge: Mutex::new(judge),
            started: Instant::now(),
        }
    }

    /// Does what a client waits for, and counts how long that took.
    pub fn time<T>(&self, wait: Wait, work: impl FnOnce() -> T) -> T {
        // A step that ends meanwhile has been in the way, so the beginning decides.
        let beside = self.steps.load(Ordering::Relaxed) > 0;
        let begun = Instant::now();
        let done = work();
        self.note(wait, beside, begun.elapsed());
        done
    }

    fn note(&self, wait: Wait, beside: bool, took: Duration) {
        if took < NO_WAIT {
            return;
        }
        let waits = match wait {
            Wait::Read => &self.reads,
            Wait::Sync => &self.syncs,
        };
        let tally = if beside { &waits.beside } else { &waits.alone };
        tally.waits.fetch_add(1, Ordering::Relaxed);
        tally.nanos.fetch_add(nanos(took), Ordering::Relaxed);
    }

    /// The share of its rate, of [`WHOLE_SHARE`], that background work may use.
    fn share(&self, now: Duration) -> u64 {
        let mut judge = self.judge.lock();
        let ticks = nanos(now.saturating_sub(judge.judged_at)) / nanos(TICK);
        if ticks > 0 {
            judge.judged_at = now;
            let verdicts = [
                self.reads.judge(&mut judge.usual_read, self.target),
                self.syncs.judge(&mut judge.usual_sync, self.target),
            ];
            judge.share = next_share(judge.share, verdicts, ticks);
        }
        judge.share
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Down by half, up by a quarter for each tick.
fn next_share(share: u64, verdicts: [Verdict; 2], ticks: u64) -> u64 {
    if verdicts.contains(&Verdict::Slow) {
        return (share / 2).max(LEAST_SHARE);
    }
    if verdicts.contains(&Verdict::Unsure) {
        return share;
    }
    let climbed = (0..ticks.min(64)).fold(share, |share, _| share + share / 4);
    climbed.min(WHOLE_SHARE)
}

impl Waits {
    fn judge(&self, usual: &mut u64, target: Duration) -> Verdict {
        if let Some(mean) = self.alone.take() {
            *usual = if *usual == 0 { mean } else { (*usual * 3 + mean) / 4 };
        }
        if self.beside.is_empty() {
            return Verdict::Fine;
        }
        let bearable = nanos(target).min((*usual * 2).max(nanos(UNNOTICED)));
        match self.beside.take() {
            Some(mean) if mean > bearable => Verdict::Slow,
            Some(_) => Verdict::Fine,
            None => Verdict::Unsure,
        }
    }
}

impl Tally {
    fn is_empty(&self) -> bool {
        self.waits.load(Ordering::Relaxed) == 0
    }

    /// The mean wait since the last look, in nanoseconds, once there are enough.
    fn take(&self) -> Option<u64> {
        if self.waits.load(Ordering::Relaxed) < ENOUGH_WAITS {
            return None;
        }
        // A wait that is counted between the two falls half into the next mean: no harm.
        let waits = self.waits.swap(0, Ordering::Relaxed);
        self.nanos.swap(0, Ordering::Relaxed).checked_div(waits)
    }
}

/// Paces one kind of background work on one disk.
#[derive(Debug)]
pub struct Pacer {
    foreground: Arc<Foreground>,
    schedule: Mutex<Schedule>,
}

#[derive(Debug)]
struct Schedule {
    /// Bytes per second.
    limit: u64,
    /// When the next step may begin.
    due: Duration,
}

/// A background step under way, until dropped.
#[derive(Debug)]
pub struct Step(Arc<Foreground>);

impl Pacer {
    /// Work at up to `limit` bytes per second, 0 for no limit, that yields to `foreground`.
    pub fn new(foreground: Arc<Foreground>, limit: u64) -> Self {
        let pacer = Self {
            foreground,
            schedule: Mutex::new(Schedule { limit: UNLIMITED, due: Duration::ZERO }),
        };
        pacer.set_limit(limit);
        pacer
    }

    /// Changes the limit: bytes per second, 0 for none.
    pub fn set_limit(&self, limit: u64) {
        self.schedule.lock().limit = if limit == 0 { UNLIMITED } else { limit };
    }

    /// Marks the beginning of a step, so that the waits of clients beside it are told apart.
    pub fn begin(&self) -> Step {
        self.foreground.steps.fetch_add(1, Ordering::Relaxed);
        Step(Arc::clone(&self.foreground))
    }

    /// Rests after a step of `bytes`; false if the task should stop, which ends the rest.
    pub fn wait(&self, bytes: u64, progress: &Progress) -> bool {
        progress.rest(self.delay(bytes))
    }

    /// How long to rest after a step of `bytes`.
    pub fn delay(&self, bytes: u64) -> Duration {
        self.delay_at(self.foreground.now(), bytes)
    }

    /// Bytes per second that may be done now.
    pub fn rate(&self) -> u64 {
        self.rate_at(self.foreground.now())
    }

    fn rate_at(&self, now: Duration) -> u64 {
        let limit = self.schedule.lock().limit;
        let share = self.foreground.share(now);
        let shared = u128::from(limit) * u128::from(share) / u128::from(WHOLE_SHARE);
        u64::try_from(shared).unwrap_or(limit).max(LEAST_RATE.min(limit))
    }

    fn delay_at(&self, now: Duration, bytes: u64) -> Duration {
        let rate = self.rate_at(now);
        let cost = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let cost = Duration::from_nanos(u64::try_from(cost).unwrap_or(u64::MAX));
        let mut schedule = self.schedule.lock();
        schedule.due = schedule.due.max(now.saturating_sub(SLACK)).saturating_add(cost);
        schedule.due.saturating_sub(now)
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.0.steps.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The paces of one disk.
#[derive(Debug)]
pub struct DiskPace {
    /// What clients wait for.
    pub foreground: Arc<Foreground>,
    /// Compactions.
    pub compaction: Pacer,
    /// The scrub.
    pub scrub: Pacer,
    /// What other replicas fetch from here, and what is fetched from them.
    pub sync: Pacer,
    /// Verifications that an operator waits for: as fast as the scrub may ever go.
    pub verify: Pacer,
}

impl DiskPace {
    /// Paces for a disk: how long clients may wait, and limits in bytes per second, 0 for none.
    pub fn new(target: Duration, compaction: u64, scrub: u64, sync: u64) -> Self {
        let foreground = Arc::new(Foreground::new(target));
        Self {
            compaction: Pacer::new(Arc::clone(&foreground), compaction),
            scrub: Pacer::new(Arc::clone(&foreground), scrub),
            sync: Pacer::new(Arc::clone(&foreground), sync),
            verify: Pacer::new(Arc::clone(&foreground), scrub),
            foreground,
        }
    }
}

impl Default for DiskPace {
    /// No limits, but yielding.
    fn default() -> Self {
        Self::new(Duration::from_millis(50), 0, 0, 0)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Works for `seconds` in steps of 1 MiB, while clients wait `waits` beside each step,
    /// and tells how many MiB were done in the last second.
    fn work(pacer: &Pacer, now: &mut Duration, seconds: u64, waits: &[Duration]) -> u64 {
        let end = *now + Duration::from_secs(seconds);
        let mut in_last = 0;
        while *now < end {
            for wait in waits {
                pacer.foreground.note(Wait::Read, true, *wait);
            }
            *now += pacer.delay_at(*now, MIB).max(Duration::from_micros(100));
            in_last += u64::from(*now + Duration::from_secs(1) > end);
        }
        in_last
    }

    fn pacer(limit_mib: u64) -> (Pacer, Duration) {
        (Pacer::new(Arc::default(), limit_mib * MIB), Duration::from_hours(1))
    }

    #[test]
    fn an_idle_disk_gives_the_whole_rate_and_no_more() {
        let (pacer, mut now) = pacer(32);
        assert!((31..=33).contains(&work(&pacer, &mut now, 10, &[])));
        now += Duration::from_hours(1);
        let burst = (0..100).take_while(|_| pacer.delay_at(now, MIB).is_zero()).count();
        assert!(burst <= 9, "a long rest saves up no more than a quarter of a second: {burst}");
    }

    #[test]
    fn clients_who_wait_slow_the_work_down_to_a_floor_and_quiet_brings_it_back() {
        let (pacer, mut now) = pacer(64);
        let slow = [ms(80); 4];
        let after = work(&pacer, &mut now, 2, &slow);
        assert!(after <= 16, "halved twice a second: {after}");
        assert!(work(&pacer, &mut now, 20, &slow) <= 2, "the floor");
        assert!(work(&pacer, &mut now, 20, &[]) >= 60);
    }

    #[test]
    fn no_limit_yields_too() {
        let (pacer, mut now) = pacer(0);
        assert!(work(&pacer, &mut now, 2, &[]) >= 1000);
        assert!(work(&pacer, &mut now, 10, &[ms(80); 4]) <= 2);
    }

    #[test]
    fn a_slow_disk_is_not_taken_for_a_disturbed_one() {
        let (pacer, mut now) = pacer(64);
        let alone = |now: Duration| {
            (0..8).for_each(|_| pacer.foreground.note(Wait::Read, false, ms(20)));
            pacer.rate_at(now)
        };
        assert_eq!(alone(now), 64 * MIB);
        assert!(work(&pacer, &mut now, 5, &[ms(30); 4]) >= 60, "less than twice the usual");
        assert!(work(&pacer, &mut now, 5, &[ms(45); 4]) <= 16, "more than twice the usual");
    }

    #[test]
    fn short_waits_are_nobody_s_trouble() {
        let (pacer, mut now) = pacer(64);
        for wait in [Duration::from_micros(900), ms(4)] {
            assert!(work(&pacer, &mut now, 5, &[wait; 8]) >= 60, "{wait:?}");
        }
    }

    #[test]
    fn a_few_waits_decide_nothing_until_there_are_enough() {
        let (pacer, now) = pacer(64);
        assert_eq!(pacer.rate_at(now), 64 * MIB);
        let trickle = |tick: u32| {
            pacer.foreground.note(Wait::Sync, true, ms(200));
            pacer.rate_at(now + TICK * tick)
        };
        assert_eq!([1, 2, 3].map(trickle), [64 * MIB; 3]);
        assert_eq!(trickle(4), 32 * MIB);
    }

    #[test]
    fn a_step_is_marked_for_as_long_as_it_is_under_way() {
        let (pacer, _) = pacer(1);
        let step = pacer.begin();
        pacer.foreground.time(Wait::Read, || std::thread::sleep(NO_WAIT));
        drop(step);
        pacer.foreground.time(Wait::Read, || std::thread::sleep(NO_WAIT));
        pacer.foreground.time(Wait::Read, || ());
        let count = |tally: &Tally| tally.waits.load(Ordering::Relaxed);
        assert_eq!(
            (count(&pacer.foreground.reads.beside), count(&pacer.foreground.reads.alone)),
            (1, 1)
        );
    }

    #[test]
    fn a_cancelled_task_does_not_finish_its_rest() {
        let (pacer, _) = pacer(1);
        let progress = Progress::default();
        progress.cancel();
        assert!(!pacer.wait(1 << 40, &progress));
    }
}
