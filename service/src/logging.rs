//! Where log lines go: standard error, for people or for machines.

use std::io::{self, IsTerminal as _};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// The variable that overrides the configured filter, for a single run.
pub const FILTER_VARIABLE: &str = "HAYRICK_LOG";

/// Everything worth an operator's while, but no line for each request that went well.
const DEFAULT_FILTER: &str = "info,hayrick::access=warn";

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One readable line, coloured on a terminal.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How a line looks: `human` (default) or `json`.
    pub format: Format,
    /// Level, or levels by target: `info,hayrick::access=warn` (default), `warn,hayrick_store=debug`.
    /// The target `hayrick::access` has one line per request, at `info`, or at `warn` if it failed on
    /// our side. A line costs as much processor time as a small object does.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: Format::default(), filter: DEFAULT_FILTER.to_owned() }
    }
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error(
        "log filter {filter:?}: {reason}; write a level such as \"info\", or \"warn,hayrick_store=debug\""
    )]
    Filter {
        /// The filter as written.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logging was started before in this process.
    #[error("logging was started twice")]
    Started,
}

/// Starts logging for the process. `HAYRICK_LOG`, when set, takes the place of the filter.
pub fn init(config: &LogConfig) -> Result<(), LoggingError> {
    let over = std::env::var(FILTER_VARIABLE).ok().filter(|filter| !filter.is_empty());
    let filter = parse(over.as_deref().unwrap_or(&config.filter))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let started = match config.format {
        Format::Human => lines.try_init(),
        Format::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
    };
    started.map_err(|_| LoggingError::Started)
}

fn parse(filter: &str) -> Result<EnvFilter, LoggingError> {
    EnvFilter::builder().with_regex(false).parse(filter).map_err(|error| LoggingError::Filter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        for good in ["info", "warn,hayrick_store=debug", "hayrick::access=off,info", "off"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let message = parse("store=loud").unwrap_err().to_string();
        assert!(message.contains("store=loud") && message.contains("such as"), "{message}");
    }

    #[test]
    fn it_starts_once() {
        init(&LogConfig { filter: "error".to_owned(), ..LogConfig::default() }).unwrap();
        assert!(matches!(init(&LogConfig::default()), Err(LoggingError::Started)));
    }
}
