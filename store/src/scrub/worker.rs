//! The thread that scrubs one disk.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use metrics::counter;

use super::DiskScrub;
use crate::id::{Key, VolumeId};
use crate::store::Store;
use crate::volume::{ScrubTurn, Volume};

/// Read at a time, after which everybody else may have the disk. The scanner reads up to
/// a MiB ahead, which is lost at the end of a step, so smaller ones would read twice as much.
const STEP_BYTES: u64 = 4 << 20;
/// It makes no sense to be slower: at this rate nobody notices.
const LEAST_RATE: u64 = 1 << 20;
/// Time between two looks for a volume that is due.
const IDLE: Duration = Duration::from_secs(30);
/// Time between two notes of how far the scrub has come.
const SAVE_EVERY: Duration = Duration::from_mins(1);
/// Time after which a volume that could not be read is tried again.
const RETRY: Duration = Duration::from_mins(10);

/// The thread of one disk.
pub(super) struct Worker<'a> {
    scrub: &'a DiskScrub,
    current: Option<Arc<Volume>>,
    saved_at: Instant,
    /// When volumes could not be read.
    failed: HashMap<VolumeId, Instant>,
    /// Whether the last save failed: that is said once.
    save_failed: bool,
}

impl<'a> Worker<'a> {
    pub(super) fn new(scrub: &'a DiskScrub) -> Self {
        let saved_at = Instant::now();
        Self { scrub, current: None, saved_at, failed: HashMap::new(), save_failed: false }
    }

    pub(super) fn run(mut self, store: &Weak<Store>) {
        loop {
            let Some(store) = store.upgrade() else { break };
            let rest = self.step(&store);
            drop(store);
            if !self.scrub.rest(rest) {
                break;
            }
        }
        self.let_go();
    }

    /// Does one step and tells how long to rest after it.
    fn step(&mut self, store: &Store) -> Duration {
        let (paused, changed) = {
            let mut orders = self.scrub.orders.lock();
            (orders.paused, std::mem::take(&mut orders.changed))
        };
        let held = self.current.as_ref().is_some_and(|volume| !may_read(store, volume));
        if paused || changed || held {
            self.let_go();
        }
        if paused {
            return IDLE;
        }
        if self.current.is_none() {
            self.current = self.next(store);
            self.scrub.orders.lock().at_work_on = self.current.as_deref().map(Volume::id);
        }
        match self.current.clone() {
            Some(volume) => self.scrub_some(store, &volume),
            None => IDLE,
        }
    }

    fn scrub_some(&mut self, store: &Store, volume: &Volume) -> Duration {
        let Some(disk) = store.disks().get(self.scrub.disk) else { return IDLE };
        let step = disk.pace.scrub.begin();
        let done = volume.scrub_step(STEP_BYTES);
        drop(step);
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(volume = %volume.id(), %error, "volume not scrubbed; trying again later");
                self.failed.insert(volume.id(), Instant::now());
                self.let_go();
                return Duration::ZERO;
            }
        };
        self.scrub.orders.lock().scrubbed_bytes += done.bytes;
        let label = disk.path.display().to_string();
        counter!("hayrick_store_scrubbed_bytes_total", "disk" => label).increment(done.bytes);
        for damage in &done.found {
            tracing::error!(
                volume = %volume.id(), offset = damage.offset, size_bytes = damage.size_bytes,
                key = damage.key.map(Key::get), reason = %damage.reason, "scrub found damage"
            );
        }
        if let Some(problem) = &done.index_problem {
            restore_index_file(volume, problem);
        }
        if done.is_over {
            let damaged = volume.scrub_state().findings.len();
            tracing::info!(volume = %volume.id(), damaged, "volume scrubbed");
            self.let_go();
        } else if !done.found.is_empty() || self.saved_at.elapsed() >= SAVE_EVERY {
            self.save(volume);
        }
        disk.pace.scrub.delay(done.bytes)
    }

    /// The volume that is next, and the rate for it.
    fn next(&mut self, store: &Store) -> Option<Arc<Volume>> {
        self.failed.retain(|_, when| when.elapsed() < RETRY);
        let rates = store.options().background;
        let volumes = store.volumes_on(self.scrub.disk);
        let free = volumes.iter().filter(|volume| may_read(store, volume));
        let turns = free.map(|volume| (volume.scrub_turn(), volume));
        let turns = turns.filter(|(_, volume)| !self.failed.contains_key(&volume.id()));
        let due = turns.filter(|(turn, _)| is_due(*turn, rates.scrub_pass, unix_ms()));
        let (turn, next) = due.min_by_key(|(turn, _)| precedence(*turn))?;
        let bytes = volumes.iter().map(|volume| volume.stats().file_bytes).sum();
        let rate = match rates.scrub_pass {
            Some(pass) if !turn.asked => slow_rate(bytes, pass, rates.scrub),
            _ => rates.scrub,
        };
        store.disks().get(self.scrub.disk)?.pace.scrub.set_limit(rate);
        Some(Arc::clone(next))
    }

    fn let_go(&mut self) {
        if let Some(volume) = self.current.take() {
            self.save(&volume);
            self.scrub.orders.lock().at_work_on = None;
        }
    }

    fn save(&mut self, volume: &Volume) {
        self.saved_at = Instant::now();
        let saved = volume.save_scrub();
        if let Err(error) = &saved
            && !self.save_failed
        {
            tracing::warn!(volume = %volume.id(), %error, "place of the scrub not saved: a restart would read again");
        }
        self.save_failed = saved.is_err();
    }
}

/// A rotten index file costs nothing while the volume is open, and the next start a scan.
fn restore_index_file(volume: &Volume, problem: &str) {
    counter!("hayrick_store_lost_index_files_total").increment(1);
    match volume.restore_index_file() {
        Ok(()) => {
            tracing::warn!(volume = %volume.id(), problem, "scrub found the index file damaged or missing: written again");
        }
        Err(error) => {
            tracing::error!(volume = %volume.id(), problem, %error, "index file damaged or missing, and not written again: the next start scans the volume");
        }
    }
}

/// Whether no keeper holds the volume's scrub off. Whom an operator asked for does not wait.
fn may_read(store: &Store, volume: &Volume) -> bool {
    !store.scrub().is_held(volume.id()) || volume.scrub_turn().asked
}

/// Whether a volume is to be read now, at `now_ms`.
fn is_due(turn: ScrubTurn, pass: Option<Duration>, now_ms: u64) -> bool {
    let Some(pass) = pass else { return turn.asked };
    let pass_ms = u64::try_from(pass.as_millis()).unwrap_or(u64::MAX);
    // A pass that began in the future tells of a clock that was wrong then.
    let waited_ms = turn.last_began_ms.and_then(|began_ms| now_ms.checked_sub(began_ms));
    turn.asked || turn.is_under_way || waited_ms.is_none_or(|waited_ms| waited_ms >= pass_ms)
}

/// Least first: what somebody asked for, what was begun, what has waited longest.
fn precedence(turn: ScrubTurn) -> (bool, bool, Option<u64>) {
    (!turn.asked, !turn.is_under_way, turn.last_began_ms)
}

/// Bytes per second that get round `bytes` within `pass`, at most `limit` unless that is 0.
fn slow_rate(bytes: u64, pass: Duration, limit: u64) -> u64 {
    let needed = (bytes / pass.as_secs().max(1)).saturating_mul(5) / 4;
    let rate = needed.max(LEAST_RATE);
    if limit == 0 { rate } else { rate.min(limit) }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = 24 * 3600 * 1000;
    const PASS: Option<Duration> = Some(Duration::from_hours(30 * 24));

    fn turn(asked: bool, is_under_way: bool, last_began_ms: Option<u64>) -> ScrubTurn {
        ScrubTurn { asked, is_under_way, last_began_ms }
    }

    #[test]
    fn the_rate_gets_round_in_time_with_a_quarter_to_spare() {
        let pass = Duration::from_hours(30 * 24);
        let rate = slow_rate(16_000_000_000_000, pass, 32 << 20);
        let days = 16_000_000_000_000 / rate / (24 * 3600);
        assert!((23..=24).contains(&days), "16 TB in {days} days");
        assert_eq!(slow_rate(1 << 20, pass, 32 << 20), LEAST_RATE);
        assert_eq!(slow_rate(1 << 20, pass, 64 << 10), 64 << 10);
        assert_eq!(slow_rate(1 << 60, pass, 32 << 20), 32 << 20);
        assert!(slow_rate(1 << 60, pass, 0) > 32 << 20);
    }

    #[test]
    fn a_volume_is_due_when_a_pass_has_gone_by() {
        let now_ms = 100 * DAY_MS;
        for (turn, due) in [
            (turn(false, false, None), true),
            (turn(false, false, Some(71 * DAY_MS)), false),
            (turn(false, false, Some(70 * DAY_MS)), true),
            (turn(false, false, Some(101 * DAY_MS)), true),
            (turn(true, false, Some(99 * DAY_MS)), true),
            (turn(false, true, Some(99 * DAY_MS)), true),
        ] {
            assert_eq!(is_due(turn, PASS, now_ms), due, "{turn:?}");
            assert_eq!(is_due(turn, None, now_ms), turn.asked, "off, but for who asks: {turn:?}");
        }
    }

    #[test]
    fn who_asks_comes_first_then_what_was_begun_then_who_has_waited_longest() {
        let order = [
            turn(true, false, Some(9)),
            turn(false, true, Some(8)),
            turn(false, false, None),
            turn(false, false, Some(1)),
            turn(false, false, Some(2)),
        ];
        assert!(order.is_sorted_by_key(|turn| precedence(*turn)));
    }
}
