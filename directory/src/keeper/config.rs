//! How a keeper is set up.

use std::time::Duration;

use hayrick_service::config::{ByteSize, Span};
use serde::{Deserialize, Serialize};

use crate::DirectoryError;

/// The `[keeper]` section. Every field has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeeperConfig {
    /// What it calls itself, in logs and to operators. Default: where its admin interface is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `HOST:PORT` at which others reach its admin interface. Needed where `admin.listen` is
    /// every address of the machine. Default: `admin.listen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// How often stores are asked how they are. Default 2 s.
    pub interval: Span,
    /// How long a store may be away, or a replica failed, before its replicas are made again
    /// elsewhere. Default 10 min.
    pub grace: Span,
    /// How many volumes are worked on at one time. Default 16.
    pub parallel_volumes: usize,
    /// How many volumes are copied to one store at one time. How fast a store takes them in is
    /// its own setting, `store.sync_max_rate`. Default 2.
    pub parallel_per_store: usize,
    /// No replica is put on a store whose disks would have less room left. Default 1 GiB.
    pub min_free: ByteSize,
    /// So many bad rounds one after another make a store ill. Default 3.
    pub bad_rounds: u32,
    /// So many good rounds one after another make it well again. Default 5.
    pub good_rounds: u32,
    /// A store that answers later than this, and ten times later than the others do, has a bad
    /// round. Default 500 ms.
    pub slow: Span,
    /// How long the replicas of a volume may differ while they change; those that stand still
    /// are reconciled at once. Default 1 min.
    pub differ: Span,
    /// A replica is compacted when this share of it is garbage; 0 turns that off. Default 0.3.
    pub compact_at_garbage_ratio: f64,
    /// But not before there is this much garbage. Default 16 MiB.
    pub compact_min_garbage: ByteSize,
}

impl Default for KeeperConfig {
    fn default() -> Self {
        Self {
            name: None,
            address: None,
            interval: Span::secs(2),
            grace: Span::from(Duration::from_mins(10)),
            parallel_volumes: 16,
            parallel_per_store: 2,
            min_free: ByteSize::gib(1),
            bad_rounds: 3,
            good_rounds: 5,
            slow: Span::millis(500),
            differ: Span::secs(60),
            compact_at_garbage_ratio: 0.3,
            compact_min_garbage: ByteSize::mib(16),
        }
    }
}

impl KeeperConfig {
    /// Refuses values that make no sense, naming the field.
    pub fn check(&self) -> Result<(), DirectoryError> {
        let rules = [
            (self.interval >= Span::millis(10), "interval must be at least 10ms"),
            (self.parallel_volumes >= 1, "parallel_volumes must be at least 1"),
            (self.parallel_per_store >= 1, "parallel_per_store must be at least 1"),
            (self.bad_rounds >= 1, "bad_rounds must be at least 1"),
            (self.good_rounds >= 1, "good_rounds must be at least 1"),
            (
                (0.0..1.0).contains(&self.compact_at_garbage_ratio),
                "compact_at_garbage_ratio must be from 0 (never) to below 1",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(DirectoryError::Setup(rule.to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_nonsense_is_named() {
        KeeperConfig::default().check().unwrap();
        let wrong = KeeperConfig { compact_at_garbage_ratio: 1.0, ..KeeperConfig::default() };
        let error = wrong.check().unwrap_err().to_string();
        assert!(error.starts_with("compact_at_garbage_ratio"), "{error}");
    }
}
