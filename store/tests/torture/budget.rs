//! How long a randomised test goes on, and from which seeds.

use std::fmt::Display;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The time that a test has. Each round has a seed of its own.
pub struct Budget {
    began: Instant,
    time: Duration,
    first: u64,
    done: u64,
}

/// Says on a panic which seed leads there again.
struct SeedPrinter(u64);

impl Drop for SeedPrinter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("to see this again: HAYRICK_SEED={}", self.0);
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

impl Budget {
    /// As long as the environment says, else `seconds`.
    pub fn seconds(seconds: u64) -> Self {
        let time = Duration::from_secs(variable("HAYRICK_TORTURE_SECONDS").unwrap_or(seconds));
        let first = variable("HAYRICK_SEED").unwrap_or_else(rand::random);
        Self { began: Instant::now(), time, first, done: 0 }
    }

    /// Runs `round` with one seed after another until the time is over, at least once.
    pub fn spend(&mut self, mut round: impl FnMut(&mut StdRng)) {
        while self.done == 0 || self.began.elapsed() < self.time {
            let seed = self.first.wrapping_add(self.done);
            let _printer = SeedPrinter(seed);
            round(&mut StdRng::seed_from_u64(seed));
            self.done += 1;
        }
    }

    /// Tells what was done.
    pub fn report(&self, what: impl Display) {
        let seconds = self.began.elapsed().as_secs_f64();
        println!("{} rounds from seed {} in {seconds:.1} s: {what}", self.done, self.first);
    }
}
