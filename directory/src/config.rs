//! How a directory is set up.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DirectoryError, FjallConfig, NamesError, PostgresConfig};

/// How a directory is set up. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectoryConfig {
    /// Keys leased first for a volume: one small durable write for each lease. The leases of a
    /// volume that uses them up in less than 20 minutes double, to 256 times this at most. The
    /// next is made when half of the last is used, so that what is left lasts ten minutes when
    /// the coordinator is away. A restart loses what is left. Default: 262,144.
    pub lease_keys: u64,
    /// When new volumes are made.
    pub growth: GrowthConfig,
    /// How deleted needles are removed from the stores.
    pub garbage: GarbageConfig,
    /// The embedded name database.
    pub names: FjallConfig,
    /// A name database that many directories share, in place of the embedded one.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<PostgresConfig>,
}

/// When new volumes are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrowthConfig {
    /// How many writable volumes with room there are at least, for each number of
    /// copies. Default: 2.
    pub min_writable_volumes: usize,
    /// New volumes are made when less than this part of the writable volumes' capacity
    /// is free, in percent. Default: 25.
    pub min_free_percent: u8,
    /// No volume is made on a store with less free room than this, in bytes.
    /// Default: 1 GiB.
    pub min_disk_free_bytes: u64,
    /// How often stores are asked how they are, in milliseconds. Default: 2,000.
    pub interval_ms: u64,
}

/// How deleted needles are removed from the stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GarbageConfig {
    /// How long a replaced or discarded needle stays, in milliseconds, so that downloads
    /// of the old object may end. Of several directories, the one that deletes goes by its own.
    /// Default: 30,000.
    pub grace_ms: u64,
    /// How many needles of one volume are deleted in one step. Default: 256.
    pub batch_needles: usize,
    /// How often the queue is looked at when nothing was due, in milliseconds.
    /// Default: 1,000.
    pub interval_ms: u64,
    /// How long a volume is left alone after a deletion failed, in milliseconds; it
    /// doubles with each failure. Default: 1,000.
    pub min_backoff_ms: u64,
    /// The longest it is left alone, in milliseconds. Default: 600,000.
    pub max_backoff_ms: u64,
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            lease_keys: 262_144,
            growth: GrowthConfig::default(),
            garbage: GarbageConfig::default(),
            names: FjallConfig::default(),
            postgres: None,
        }
    }
}

impl Default for GrowthConfig {
    fn default() -> Self {
        Self {
            min_writable_volumes: 2,
            min_free_percent: 25,
            min_disk_free_bytes: 1 << 30,
            interval_ms: 2_000,
        }
    }
}

impl Default for GarbageConfig {
    fn default() -> Self {
        Self {
            grace_ms: 30_000,
            batch_needles: 256,
            interval_ms: 1_000,
            min_backoff_ms: 1_000,
            max_backoff_ms: 600_000,
        }
    }
}

impl GarbageConfig {
    pub(crate) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms)
    }
}

impl DirectoryConfig {
    /// Refuses values that make no sense, naming the field.
    pub fn check(&self) -> Result<(), DirectoryError> {
        let rules = [
            (self.lease_keys >= 1, "lease_keys must be at least 1"),
            (
                self.growth.min_writable_volumes >= 1,
                "growth.min_writable_volumes must be at least 1",
            ),
            (self.growth.min_free_percent < 100, "growth.min_free_percent must be below 100"),
            (self.growth.interval_ms >= 10, "growth.interval_ms must be at least 10"),
            (self.garbage.batch_needles >= 1, "garbage.batch_needles must be at least 1"),
            (self.garbage.batch_needles <= 10_000, "garbage.batch_needles must be at most 10000"),
            (self.garbage.interval_ms >= 10, "garbage.interval_ms must be at least 10"),
            (self.garbage.min_backoff_ms >= 1, "garbage.min_backoff_ms must be at least 1"),
            (
                self.garbage.max_backoff_ms >= self.garbage.min_backoff_ms,
                "garbage.max_backoff_ms must not be below garbage.min_backoff_ms",
            ),
            (self.names.queue_jobs >= 1, "names.queue_jobs must be at least 1"),
            (self.names.queue_bytes >= 8 << 20, "names.queue_bytes must be at least 8388608"),
            (self.names.max_reads >= 1, "names.max_reads must be at least 1"),
        ];
        if let Some((_, rule)) = rules.into_iter().find(|(holds, _)| !holds) {
            return Err(DirectoryError::Setup(rule.to_owned()));
        }
        let postgres = self.postgres.as_ref().map_or(Ok(()), PostgresConfig::check);
        postgres.map_err(|error| match error {
            NamesError::Setup(rule) => DirectoryError::Setup(rule),
            error => error.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_good_and_nonsense_is_named() {
        DirectoryConfig::default().check().unwrap();
        let garbage = GarbageConfig { max_backoff_ms: 1, ..GarbageConfig::default() };
        let error = DirectoryConfig { garbage, ..DirectoryConfig::default() }.check().unwrap_err();
        assert!(error.to_string().contains("garbage.max_backoff_ms"), "{error}");
        let postgres = Some(PostgresConfig::new("host=h sslmode=require"));
        let error = DirectoryConfig { postgres, ..DirectoryConfig::default() }.check().unwrap_err();
        assert!(error.to_string().starts_with("postgres.url"), "{error}");
    }
}
