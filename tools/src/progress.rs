//! How far a long task is: a bar on a terminal, else a plain line now and then.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::units::{count, percent, rate, size, span};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// A bar does not show for what is over before this.
const SHOW_AFTER: Duration = Duration::from_millis(300);

/// Shows progress on standard error.
pub struct Progress(Form);

enum Form {
    Hidden,
    Bar { bar: ProgressBar, started: Instant },
    Lines(Mutex<Lines>),
}

struct Lines {
    label: String,
    measure: Measure,
    started: Instant,
    last: Instant,
}

/// What is counted.
#[derive(Clone, Copy)]
enum Measure {
    Bytes,
    Steps,
}

impl Measure {
    const fn template(self) -> &'static str {
        match self {
            Self::Bytes => {
                "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left"
            }
            Self::Steps => "{msg} [{bar:30}] {pos}/{len}, {eta} left",
        }
    }

    fn show(self, number: u64) -> String {
        match self {
            Self::Bytes => size(number),
            Self::Steps => count(number),
        }
    }
}

impl Progress {
    /// Progress of the named task, from now on, in bytes.
    pub fn new(label: String) -> Self {
        Self::measured(label, Measure::Bytes)
    }

    /// Progress of the named task, from now on, in steps.
    pub fn in_steps(label: String) -> Self {
        Self::measured(label, Measure::Steps)
    }

    fn measured(label: String, measure: Measure) -> Self {
        let started = Instant::now();
        if !io::stderr().is_terminal() {
            let lines = Lines { label, measure, started, last: started };
            return Self(Form::Lines(Mutex::new(lines)));
        }
        let bar = ProgressBar::hidden();
        // The template is ours and good.
        if let Ok(style) = ProgressStyle::with_template(measure.template()) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(label);
        Self(Form::Bar { bar, started })
    }

    /// Nothing is shown.
    pub const fn hidden() -> Self {
        Self(Form::Hidden)
    }

    /// So much is done, of so much as far as is known.
    pub fn set(&self, done: u64, total: u64) {
        match &self.0 {
            Form::Hidden => {}
            Form::Bar { bar, started } => {
                if bar.is_hidden() && started.elapsed() >= SHOW_AFTER {
                    bar.set_draw_target(indicatif::ProgressDrawTarget::stderr());
                }
                bar.set_length(total);
                bar.set_position(done);
            }
            Form::Lines(lines) => {
                if let Ok(mut lines) = lines.lock() {
                    lines.set(done, total);
                }
            }
        }
    }

    /// Names the task anew: what it is at now.
    pub fn rename(&self, label: String) {
        match &self.0 {
            Form::Hidden => {}
            Form::Bar { bar, .. } => bar.set_message(label),
            Form::Lines(lines) => {
                if let Ok(mut lines) = lines.lock() {
                    lines.label = label;
                }
            }
        }
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        if let Form::Bar { bar, .. } = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Lines {
    fn set(&mut self, done: u64, total: u64) {
        if self.last.elapsed() < LINE_EVERY {
            return;
        }
        self.last = Instant::now();
        let line = line(&self.label, self.measure, done, total, self.started.elapsed());
        // Nobody reads standard error; the task goes on.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

fn line(label: &str, measure: Measure, done: u64, total: u64, took: Duration) -> String {
    let pace = match measure {
        Measure::Bytes => format!(", {}", rate(done, took)),
        Measure::Steps => String::new(),
    };
    if total == 0 {
        return format!("{label}: {}{pace}", measure.show(done));
    }
    let left = u128::from(total.saturating_sub(done)) * took.as_millis() / u128::from(done.max(1));
    let left = span(Duration::from_millis(u64::try_from(left).unwrap_or(u64::MAX)));
    let (share, done, total) = (percent(done, total), measure.show(done), measure.show(total));
    format!("{label}: {done} of {total} ({share}){pace}, {left} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_tells_rate_and_time_left() {
        let took = Duration::from_secs(10);
        assert_eq!(
            line("verify of volume 3", Measure::Bytes, 1 << 30, 4 << 30, took),
            "verify of volume 3: 1.0 GiB of 4.0 GiB (25%), 102.4 MiB/s, 30s left"
        );
        assert_eq!(line("put", Measure::Bytes, 2048, 0, took), "put: 2.0 KiB, 204 B/s");
        assert!(line("x", Measure::Bytes, 0, u64::MAX, took).ends_with("left"));
    }

    #[test]
    fn steps_are_counted() {
        let took = Duration::from_secs(10);
        let told = line("fsck", Measure::Steps, 500, 2_000, took);
        assert_eq!(told, "fsck: 500 of 2,000 (25%), 30s left");
        assert_eq!(line("fsck", Measure::Steps, 5, 0, took), "fsck: 5");
    }
}
