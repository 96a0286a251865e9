//! A listener's limits as they stand in a configuration.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::ListenOptions;
use crate::config::{ByteSize, Span};
use crate::request::{MinRate, RequestOptions};

/// The section of a configuration that [`ListenOptions`] come from; each field is told there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenLimits {
    /// Connections at one time. Default 10,000 on the public door, 1,000 on the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<usize>,
    /// Connections of one client address at one time; 0 for no limit. Default 0.
    pub max_connections_per_client: usize,
    /// Most bytes of the head of a request. Default 32 KiB.
    pub max_head: ByteSize,
    /// Longest time for the head of a request. Default `"10s"`.
    pub header_timeout: Span,
    /// Longest silence inside the body of a request. Default `"30s"`.
    pub body_idle_timeout: Span,
    /// Longest time between two requests. Default `"75s"`.
    pub idle_timeout: Span,
    /// Longest time a client may read nothing of an answer. Default `"30s"`.
    pub write_stall_timeout: Span,
    /// Least bytes a second of a body or of an answer, after a grace of the two times above; 0 for
    /// no such limit. Default 1 KiB.
    pub min_rate: ByteSize,
    /// Longest time to finish requests after the stop signal. Default `"30s"`.
    pub drain_timeout: Span,
}

/// A limit that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be {right}")]
pub struct LimitError {
    /// The field of [`ListenLimits`].
    pub field: &'static str,
    /// What would be right.
    pub right: &'static str,
}

/// Heads that a client may send: hyper takes none smaller, and larger ones are an attack.
const HEAD_BYTES: RangeInclusive<u64> = 8 << 10..=1 << 20;

impl Default for ListenLimits {
    fn default() -> Self {
        let options = ListenOptions::named("");
        Self {
            max_connections: None,
            max_connections_per_client: options.max_connections_per_client,
            max_head: ByteSize::new(options.max_head_bytes.into()),
            header_timeout: options.header_timeout.into(),
            body_idle_timeout: options.request.body_idle_timeout.into(),
            idle_timeout: options.idle_timeout.into(),
            write_stall_timeout: options.write_stall_timeout.into(),
            min_rate: ByteSize::new(options.request.min_rate.0),
            drain_timeout: options.drain_timeout.into(),
        }
    }
}

impl ListenLimits {
    /// The checked options of the named listener. Only `drain_timeout` may be zero.
    pub fn options(&self, listener: &'static str) -> Result<ListenOptions, LimitError> {
        let zero = Span::default();
        for (field, is_zero) in [
            ("max_connections", self.max_connections == Some(0)),
            ("header_timeout", self.header_timeout == zero),
            ("body_idle_timeout", self.body_idle_timeout == zero),
            ("idle_timeout", self.idle_timeout == zero),
            ("write_stall_timeout", self.write_stall_timeout == zero),
        ] {
            if is_zero {
                return Err(LimitError { field, right: "greater than zero" });
            }
        }
        let max_head_bytes = u32::try_from(self.max_head.bytes()).ok();
        let max_head_bytes = max_head_bytes.filter(|bytes| HEAD_BYTES.contains(&(*bytes).into()));
        let right = "from 8KiB to 1MiB";
        let max_head_bytes = max_head_bytes.ok_or(LimitError { field: "max_head", right })?;
        let named = ListenOptions::named(listener);
        Ok(ListenOptions {
            request: RequestOptions {
                body_idle_timeout: self.body_idle_timeout.duration(),
                min_rate: MinRate(self.min_rate.bytes()),
                ..named.request
            },
            max_connections: self.max_connections.unwrap_or(named.max_connections),
            max_connections_per_client: self.max_connections_per_client,
            max_head_bytes,
            header_timeout: self.header_timeout.duration(),
            idle_timeout: self.idle_timeout.duration(),
            write_stall_timeout: self.write_stall_timeout.duration(),
            drain_timeout: self.drain_timeout.duration(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_checked() {
        let limits: ListenLimits =
            toml::from_str("max_connections = 5\nidle_timeout = \"2m\"\n").unwrap();
        let options = limits.options("public").unwrap();
        assert_eq!((options.max_connections, options.idle_timeout.as_secs()), (5, 120));
        assert_eq!(options.header_timeout.as_secs(), 10);
        assert_eq!(options.request.listener, "public");
        let none = ListenLimits { header_timeout: Span::default(), ..ListenLimits::default() };
        assert_eq!(none.options("public").unwrap_err().field, "header_timeout");
        for bytes in [8191, (1 << 20) + 1, u64::MAX] {
            let limits = ListenLimits { max_head: ByteSize::new(bytes), ..ListenLimits::default() };
            assert_eq!(limits.options("public").unwrap_err().field, "max_head");
        }
    }
}
