//! How ZooKeeper is reached.

use std::time::Duration;

use hayrick_service::auth::Secret;
use serde::{Deserialize, Serialize};

use crate::CoordinatorError;

/// The folder of a cluster whose address names none.
const DEFAULT_ROOT: &str = "/hayrick";

/// How ZooKeeper is reached. Only `connect` has no default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZooKeeperConfig {
    /// The servers, as `host:port,host:port`, and the cluster's folder in ZooKeeper, such
    /// as `zk1:2181,zk2:2181,zk3:2181/photos`. The folder, `/hayrick` if none is told, is
    /// made if it is missing. Several clusters may share one ZooKeeper, each in a folder.
    pub connect: String,
    /// How long ZooKeeper keeps the session of a process that it does not hear from, in
    /// milliseconds: after that a store is gone, and another keeper leads. ZooKeeper may
    /// hold it to bounds of its own. Default: 6,000.
    #[serde(default = "default_session_timeout_ms")]
    pub session_timeout_ms: u64,
    /// How long a change may take, in milliseconds, before it is given up. Default: 10,000.
    #[serde(default = "default_change_timeout_ms")]
    pub change_timeout_ms: u64,
    /// The user, as `user:password`, who alone may read and change the cluster's nodes.
    /// Without one they are open to everybody who reaches ZooKeeper, and the access keys
    /// with them. Must be the same for all processes. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Secret>,
}

const fn default_session_timeout_ms() -> u64 {
    6_000
}

const fn default_change_timeout_ms() -> u64 {
    10_000
}

impl ZooKeeperConfig {
    /// These servers and this folder; everything else by default.
    pub fn new(connect: impl Into<String>) -> Self {
        Self {
            connect: connect.into(),
            session_timeout_ms: default_session_timeout_ms(),
            change_timeout_ms: default_change_timeout_ms(),
            auth: None,
        }
    }

    /// Refuses values that make no sense, naming the field.
    pub fn check(&self) -> Result<(), CoordinatorError> {
        let segments_are_good = self.root() == DEFAULT_ROOT
            || self.root().strip_prefix('/').is_some_and(|path| {
                path.split('/').all(|segment| !matches!(segment, "" | "." | "..")) // as ZooKeeper
            });
        let user_is_good = self.auth.as_ref().is_none_or(|auth| {
            auth.expose()
                .split_once(':')
                .is_some_and(|(user, rest)| !user.is_empty() && !rest.is_empty())
        });
        let rules = [
            (!self.servers().is_empty(), "connect must name a server, as `host:port`"),
            (segments_are_good, "connect must end in a folder such as `/photos`, or in none"),
            (self.session_timeout_ms >= 500, "session_timeout_ms must be at least 500"),
            (self.session_timeout_ms <= 600_000, "session_timeout_ms must be at most 600000"),
            (self.change_timeout_ms >= 100, "change_timeout_ms must be at least 100"),
            (self.change_timeout_ms <= 600_000, "change_timeout_ms must be at most 600000"),
            (user_is_good, "auth must be a text such as `user:password`"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(CoordinatorError::Setup(format!("zookeeper: {rule}"))),
            None => Ok(()),
        }
    }

    /// The servers, without the folder.
    pub(super) fn servers(&self) -> &str {
        self.connect.split_once('/').map_or(&self.connect, |(servers, _)| servers)
    }

    /// The folder of the cluster.
    pub(super) fn root(&self) -> &str {
        let folder = self.connect.find('/').and_then(|at| self.connect.get(at..));
        folder.filter(|folder| *folder != "/").unwrap_or(DEFAULT_ROOT)
    }

    pub(super) fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.session_timeout_ms)
    }

    pub(super) fn change_timeout(&self) -> Duration {
        Duration::from_millis(self.change_timeout_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_names_servers_and_a_folder() {
        for (connect, servers, root) in [
            ("a:1", "a:1", "/hayrick"),
            ("a:1/", "a:1", "/hayrick"),
            ("a:1,b:2/photos", "a:1,b:2", "/photos"),
            ("a/b/c", "a", "/b/c"),
        ] {
            let config = ZooKeeperConfig::new(connect);
            config.check().unwrap();
            assert_eq!((config.servers(), config.root()), (servers, root));
        }
    }

    #[test]
    fn nonsense_is_named() {
        let good = ZooKeeperConfig::new("a:1");
        let auth = |text: &str| Some(Secret::new(text));
        for (bad, field) in [
            (ZooKeeperConfig::new(""), "connect"),
            (ZooKeeperConfig::new("/photos"), "connect"),
            (ZooKeeperConfig::new("a:1//x"), "connect"),
            (ZooKeeperConfig::new("a:1/x/"), "connect"),
            (ZooKeeperConfig { session_timeout_ms: 10, ..good.clone() }, "session_timeout_ms"),
            (ZooKeeperConfig { change_timeout_ms: 0, ..good.clone() }, "change_timeout_ms"),
            (ZooKeeperConfig { auth: auth("nobody"), ..good.clone() }, "auth"),
            (ZooKeeperConfig { auth: auth(":x"), ..good }, "auth"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn the_password_is_read_and_never_shown() {
        let config: ZooKeeperConfig =
            serde_json::from_str(r#"{"connect":"a:1","auth":"me:hush"}"#).unwrap();
        assert_eq!(config.session_timeout_ms, 6_000);
        assert!(!format!("{config:?}").contains("hush"));
        assert!(!serde_json::to_string(&config).unwrap().contains("hush"));
    }
}
