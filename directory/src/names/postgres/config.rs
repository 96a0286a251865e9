//! How the database is reached.

use std::time::Duration;

use hayrick_service::auth::Secret;
use serde::{Deserialize, Serialize};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use crate::names::NamesError;

/// How a name database that speaks PostgreSQL's protocol is reached. Only `url` has no default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// The database, as `postgres://user:password@host:5432/database`, or as `host=... user=...`;
    /// `host` may be the folder of a Unix socket. Several hosts and
    /// `target_session_attrs=read-write` find the primary after a failover. Connections are not
    /// encrypted: the network between must be trusted, and an `sslmode` other than `disable`
    /// is refused.
    pub url: Secret,
    /// Connections kept open at most. A change needs one from its beginning to its end.
    /// Default: 16.
    #[serde(default = "default_max_connections")]
    pub max_connections: usize,
    /// How many changes and reads may wait for a connection; one more is refused as busy.
    /// Default: 1,024.
    #[serde(default = "default_max_waiting")]
    pub max_waiting: usize,
    /// How long a change or a read may take, with all attempts that are made of it, in
    /// milliseconds. A directory that hangs in the middle of a change holds up changes of the same
    /// names for a quarter of this, but for a second at least. Default: 10,000.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
}

const fn default_max_connections() -> usize {
    16
}

const fn default_max_waiting() -> usize {
    1_024
}

const fn default_timeout_ms() -> u64 {
    10_000
}

impl PostgresConfig {
    /// This database; everything else by default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url),
            max_connections: default_max_connections(),
            max_waiting: default_max_waiting(),
            timeout_ms: default_timeout_ms(),
        }
    }

    /// Refuses values that make no sense, naming the field.
    pub fn check(&self) -> Result<(), NamesError> {
        let rules = [
            (self.max_connections >= 1, "max_connections must be at least 1"),
            (self.max_connections <= 10_000, "max_connections must be at most 10000"),
            (self.max_waiting <= 1_000_000, "max_waiting must be at most 1000000"),
            (self.timeout_ms >= 100, "timeout_ms must be at least 100"),
            (self.timeout_ms <= 600_000, "timeout_ms must be at most 600000"),
        ];
        if let Some((_, rule)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(NamesError::Setup(format!("postgres.{rule}")));
        }
        self.server().map(drop)
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// The URL taken apart. Errors do not quote it: the password is in it.
    pub(super) fn server(&self) -> Result<Config, NamesError> {
        let text = self.url.expose();
        let setup = |reason: String| NamesError::Setup(format!("postgres.url {reason}"));
        let has_mode = text.contains("sslmode");
        // A mode that the library does not know is an error of its own.
        let parsed = text.parse::<Config>();
        if has_mode && !parsed.as_ref().is_ok_and(|c| c.get_ssl_mode() == SslMode::Disable) {
            let reason = "asks for an encrypted connection, which is not supported: set \
                sslmode=disable and use a trusted network or a tunnel";
            return Err(setup(reason.to_owned()));
        }
        let mut server = parsed
            .map_err(|_| setup("is not understood: write postgres://USER@HOST/DATABASE".into()))?;
        if server.get_hosts().is_empty() {
            return Err(setup("names no host".to_owned()));
        }
        if server.get_application_name().is_none() {
            server.application_name("hayrick");
        }
        server.ssl_mode(SslMode::Disable);
        server.connect_timeout(self.timeout());
        Ok(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(config: &PostgresConfig) -> String {
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn nonsense_is_named_and_the_password_is_not() {
        let good = PostgresConfig::new("postgres://u:s3cret@h/d");
        good.check().unwrap();
        assert!(problem(&PostgresConfig { timeout_ms: 1, ..good.clone() }).contains("timeout_ms"));
        let none = PostgresConfig { max_connections: 0, ..good };
        assert!(problem(&none).contains("max_connections"));
        for bad in ["", "user=s3cret", "mysql://u:s3cret@h/d", "postgres://u:s3cret@h:port/d"] {
            let problem = problem(&PostgresConfig::new(bad));
            assert!(problem.contains("url") && !problem.contains("s3cret"), "{bad}: {problem}");
        }
    }

    #[test]
    fn encryption_is_refused_and_not_ignored() {
        for mode in ["require", "prefer", "verify-ca", "verify-full"] {
            for url in
                [format!("postgres://u@h/d?sslmode={mode}"), format!("host=h sslmode={mode}")]
            {
                assert!(problem(&PostgresConfig::new(&url)).contains("encrypted"), "{url}");
            }
        }
        PostgresConfig::new("postgres://u@h/d?sslmode=disable").check().unwrap();
    }
}
