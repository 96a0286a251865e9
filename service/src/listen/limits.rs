//! A listener's limits as they stand in a configuration.

use serde::{Deserialize, Serialize};

use super::ListenOptions;
use crate::config::Span;
use crate::request::RequestOptions;

/// The section of a configuration that [`ListenOptions`] come from; each field is told there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenLimits {
    /// Connections at one time. Default 10,000.
    pub max_connections: usize,
    /// Longest time for the head of a request. Default `"10s"`.
    pub header_timeout: Span,
    /// Longest silence inside the body of a request. Default `"30s"`.
    pub body_idle_timeout: Span,
    /// Longest time between two requests. Default `"75s"`.
    pub idle_timeout: Span,
    /// Longest time a client may read nothing of an answer. Default `"30s"`.
    pub write_stall_timeout: Span,
    /// Longest time to finish requests after the stop signal. Default `"30s"`.
    pub drain_timeout: Span,
}

/// A limit that would let nothing through.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} must be greater than zero")]
pub struct LimitError {
    /// The field of [`ListenLimits`].
    pub field: &'static str,
}

impl Default for ListenLimits {
    fn default() -> Self {
        let options = ListenOptions::named("");
        Self {
            max_connections: options.max_connections,
            header_timeout: options.header_timeout.into(),
            body_idle_timeout: options.request.body_idle_timeout.into(),
            idle_timeout: options.idle_timeout.into(),
            write_stall_timeout: options.write_stall_timeout.into(),
            drain_timeout: options.drain_timeout.into(),
        }
    }
}

impl ListenLimits {
    /// The checked options of the named listener. Only `drain_timeout` may be zero.
    pub fn options(&self, listener: &'static str) -> Result<ListenOptions, LimitError> {
        let zero = Span::default();
        for (field, is_zero) in [
            ("max_connections", self.max_connections == 0),
            ("header_timeout", self.header_timeout == zero),
            ("body_idle_timeout", self.body_idle_timeout == zero),
            ("idle_timeout", self.idle_timeout == zero),
            ("write_stall_timeout", self.write_stall_timeout == zero),
        ] {
            if is_zero {
                return Err(LimitError { field });
            }
        }
        let named = ListenOptions::named(listener);
        Ok(ListenOptions {
            request: RequestOptions {
                body_idle_timeout: self.body_idle_timeout.duration(),
                ..named.request
            },
            max_connections: self.max_connections,
            header_timeout: self.header_timeout.duration(),
            idle_timeout: self.idle_timeout.duration(),
            write_stall_timeout: self.write_stall_timeout.duration(),
            drain_timeout: self.drain_timeout.duration(),
            ..named
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
    }
}
