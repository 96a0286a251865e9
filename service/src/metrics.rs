//! The process's metrics in Prometheus form.
//!
//! Code anywhere writes `metrics::counter!(..)` and the like; [`install`] makes those land here
//! and [`Metrics::render`] writes them out. Histograms whose name ends in `_seconds` get buckets
//! from 0.5 ms to 60 s, those in `_bytes` from 1 KiB to 1 GiB.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{listen, request};

const STARTED: &str = "process_start_time_seconds";
const BUILD_INFO: &str = "hayrick_build_info";

/// `_seconds` buckets: from a read out of the page cache to the longest deadline.
pub const SECONDS_BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

/// `_bytes` buckets: powers of four from 1 KiB to 1 GiB.
pub const BYTES_BUCKETS: [f64; 11] = [
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
];

/// How often samples are folded into their buckets, so that memory stays small when nobody
/// scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static INSTALLED: OnceLock<Result<Metrics, String>> = OnceLock::new();

/// Renders what was recorded. Clones show the same numbers.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

/// Another part of the process installed a metrics recorder first.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot install the metrics recorder: {0}")]
pub struct InstallError(String);

/// Makes this process's metrics land in the returned [`Metrics`]; later calls return the same.
///
/// # Errors
/// A recorder that is not ours is already in place.
pub fn install() -> Result<Metrics, InstallError> {
    INSTALLED
        .get_or_init(|| try_install().map_err(|error| error.to_string()))
        .clone()
        .map_err(InstallError)
}

fn try_install() -> Result<Metrics, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES_BUCKETS)?
        .install_recorder()?;
    describe();
    let upkeep = handle.clone();
    // A thread, not a task: recording must not depend on a runtime that may be stopping. Without
    // it the numbers stay right and only memory grows until the next scrape.
    let spawned = std::thread::Builder::new().name("metrics-upkeep".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(UPKEEP_EVERY);
            upkeep.run_upkeep();
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread for metrics upkeep");
    }
    Ok(Metrics(handle))
}

fn describe() {
    describe_gauge!(STARTED, "When the process started, seconds since 1970.");
    describe_gauge!(BUILD_INFO, "Always 1; the labels say what runs.");
    request::describe_metrics();
    listen::describe_metrics();
}

impl Metrics {
    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        self.0.render()
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

/// Records what this process is: `hayrick_build_info{version,role}` (always 1) and
/// `process_start_time_seconds`. Call it once, when the server starts.
pub fn process_started(version: &'static str, role: &'static str) {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    gauge!(STARTED).set(since_epoch.unwrap_or_default().as_secs_f64());
    gauge!(BUILD_INFO, "version" => version, "role" => role).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_numbers_are_rendered_with_their_buckets() {
        let metrics = install().unwrap();
        process_started("1.2.3", "test");
        metrics::histogram!("some_wait_seconds").record(0.003);
        metrics::histogram!("some_size_bytes").record(2000.0);
        let text = install().unwrap().render();
        assert!(text.contains("hayrick_build_info{"), "{text}");
        assert!(text.contains("# HELP hayrick_build_info Always 1"), "{text}");
        assert!(text.contains("process_start_time_seconds "), "{text}");
        assert!(text.contains(r#"some_wait_seconds_bucket{le="0.005"} 1"#), "{text}");
        assert!(text.contains(r#"some_size_bytes_bucket{le="4096"} 1"#), "{text}");
        assert!(!metrics.render().is_empty());
    }
}
