//! How a store works: as written by an operator ([`StoreConfig`]), and checked and typed
//! ([`StoreOptions`]).

use std::path::PathBuf;

use hayrick_service::config::{ByteSize, Span};
use serde::{Deserialize, Serialize};

use crate::format::MAX_VOLUME_BYTES;
use crate::volume::{Durability, VolumeOptions};

/// The `[store]` section of a configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Data directories, best one for each physical disk. Made if missing.
    pub disks: Vec<PathBuf>,
    /// `sync` (an upload is answered when it is on disk), `interval` (on disk within
    /// `sync_interval`) or `os` (the operating system decides). Default `sync`.
    pub durability: DurabilityMode,
    /// For `durability = "interval"`. Default 1s.
    pub sync_interval: Span,
    /// A volume takes no more needles than fit into this. At most, and by default, 32 GiB.
    pub volume_size: ByteSize,
    /// A disk with less room than this takes no new needles. Default 1 GiB.
    pub min_free: ByteSize,
    /// A volume is compacted when this share of it is garbage; 0 turns that off. Default 0.3.
    pub compact_at_garbage_ratio: f64,
    /// But not before there is this much garbage. Default 16 MiB.
    pub compact_min_garbage: ByteSize,
    /// How long compaction keeps the tombstones of deleted needles. Default 1 day.
    pub tombstone_retention: Span,
    /// Bytes of uploads that may be in memory at one time. Default 256 MiB.
    pub upload_memory: ByteSize,
    /// Uploads and deletes that may wait for one volume. Default 1024.
    pub queue_len: usize,
}

/// See [`StoreConfig::durability`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityMode {
    /// On disk before the answer.
    Sync,
    /// On disk within the sync interval.
    Interval,
    /// On disk when the operating system decides.
    Os,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            disks: Vec::new(),
            durability: DurabilityMode::Sync,
            sync_interval: Span::secs(1),
            volume_size: ByteSize::gib(32),
            min_free: ByteSize::gib(1),
            compact_at_garbage_ratio: 0.3,
            compact_min_garbage: ByteSize::mib(16),
            tombstone_retention: Span::secs(24 * 3600),
            upload_memory: ByteSize::mib(256),
            queue_len: 1024,
        }
    }
}

/// What a store works by.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Data directories.
    pub disks: Vec<PathBuf>,
    /// For every volume.
    pub volume: VolumeOptions,
    /// When volumes are compacted without being asked.
    pub compaction: CompactionTrigger,
    /// Bytes of uploads that may be in memory at one time.
    pub upload_memory_bytes: u64,
}

/// When a volume is compacted without being asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompactionTrigger {
    /// Share of the file that must be garbage; `None` for never.
    pub garbage_ratio: Option<f64>,
    /// Bytes that must be garbage.
    pub min_garbage_bytes: u64,
}

/// A value that makes no sense, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("store.{key}: {problem}")]
pub struct ConfigProblem {
    /// The key in the section.
    pub key: &'static str,
    /// What is wrong with it and what would be right.
    pub problem: String,
}

impl StoreConfig {
    /// Checks every value. Nothing is silently changed into something else.
    pub fn check(&self) -> Result<StoreOptions, ConfigProblem> {
        if self.disks.is_empty() {
            return Err(problem("disks", "name at least one data directory"));
        }
        let limit_bytes = self.volume_size.bytes();
        if !(1 << 20..=MAX_VOLUME_BYTES + 8).contains(&limit_bytes) {
            return Err(problem("volume_size", "must be from 1MiB to 32GiB"));
        }
        if !(0.0..1.0).contains(&self.compact_at_garbage_ratio) {
            return Err(problem("compact_at_garbage_ratio", "must be from 0 (never) to below 1"));
        }
        if self.queue_len == 0 {
            return Err(problem("queue_len", "must be at least 1"));
        }
        if self.upload_memory.bytes() < 32 << 20 {
            return Err(problem(
                "upload_memory",
                "must be at least 32MiB, enough for one large needle",
            ));
        }
        let durability = match self.durability {
            DurabilityMode::Sync => Durability::Sync,
            DurabilityMode::Interval => Durability::Interval(self.sync_interval.duration()),
            DurabilityMode::Os => Durability::Os,
        };
        Ok(StoreOptions {
            disks: self.disks.clone(),
            volume: VolumeOptions {
                durability,
                limit_bytes: limit_bytes.min(MAX_VOLUME_BYTES),
                min_free_bytes: self.min_free.bytes(),
                tombstone_retention: self.tombstone_retention.duration(),
                queue_len: self.queue_len,
                ..VolumeOptions::default()
            },
            compaction: CompactionTrigger {
                garbage_ratio: Some(self.compact_at_garbage_ratio).filter(|ratio| *ratio > 0.0),
                min_garbage_bytes: self.compact_min_garbage.bytes(),
            },
            upload_memory_bytes: self.upload_memory.bytes(),
        })
    }
}

fn problem(key: &'static str, problem: &str) -> ConfigProblem {
    ConfigProblem { key, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_values_are_named() {
        type Spoil = fn(&mut StoreConfig);
        let good = StoreConfig { disks: vec!["d".into()], ..StoreConfig::default() };
        assert!(good.check().is_ok());
        let cases: [(&str, Spoil); 6] = [
            ("disks", |c| c.disks.clear()),
            ("volume_size", |c| c.volume_size = ByteSize::gib(33)),
            ("volume_size", |c| c.volume_size = ByteSize::kib(1)),
            ("compact_at_garbage_ratio", |c| c.compact_at_garbage_ratio = 1.5),
            ("queue_len", |c| c.queue_len = 0),
            ("upload_memory", |c| c.upload_memory = ByteSize::mib(1)),
        ];
        for (key, spoil) in cases {
            let mut config = good.clone();
            spoil(&mut config);
            assert_eq!(config.check().unwrap_err().key, key);
        }
    }
}
