//! How a store works: as written by an operator ([`StoreConfig`]), and checked and typed
//! ([`StoreOptions`]).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hayrick_service::client::ClientOptions;
use hayrick_service::config::{ByteSize, Span};
use serde::{Deserialize, Serialize};

use crate::format::MAX_VOLUME_BYTES;
use crate::pace::DiskPace;
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
    /// A compaction copies no more than this each second on one disk; 0 is no limit. Default
    /// 64 MiB: read and written again that is what half a spinning disk has to give, and 32 GiB
    /// are still copied within minutes. It yields to clients in any case.
    pub compaction_max_rate: ByteSize,
    /// Every byte is read and verified once in this time; `0s` turns that off. Default 30 days.
    pub scrub_pass: Span,
    /// The scrub reads no more than this each second from one disk; 0 is no limit. Default
    /// 32 MiB. It reads as slowly as `scrub_pass` allows, and this fast only when asked to,
    /// as does a verification.
    pub scrub_max_rate: ByteSize,
    /// Syncs between the replicas of a volume move no more than this each second to or from
    /// one disk; 0 is no limit. Default 64 MiB.
    pub sync_max_rate: ByteSize,
    /// Compaction, scrub, syncs and verification slow down while clients wait for a disk longer than this on
    /// average, or twice as long as without them. Default 50ms.
    pub background_latency: Span,
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
            compaction_max_rate: ByteSize::mib(64),
            scrub_pass: Span::secs(30 * 24 * 3600),
            scrub_max_rate: ByteSize::mib(32),
            sync_max_rate: ByteSize::mib(64),
            background_latency: Span::millis(50),
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
    /// How fast background work may go.
    pub background: BackgroundRates,
    /// Bytes of uploads that may be in memory at one time.
    pub upload_memory_bytes: u64,
    /// How other stores are asked.
    pub peers: ClientOptions,
}

/// How fast background work may go, on each disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackgroundRates {
    /// Compactions, in bytes per second; 0 for no limit.
    pub compaction: u64,
    /// The scrub, in bytes per second; 0 for no limit.
    pub scrub: u64,
    /// What is fetched from other replicas, and by them, in bytes per second; 0 for no limit.
    pub sync: u64,
    /// The time in which the scrub gets round; `None` for only when asked.
    pub scrub_pass: Option<Duration>,
    /// How long clients may wait for the disk.
    pub latency: Duration,
}

impl BackgroundRates {
    /// The pace of one disk.
    pub fn disk(&self) -> Arc<DiskPace> {
        Arc::new(DiskPace::new(self.latency, self.compaction, self.scrub, self.sync))
    }
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
        self.check_background()?;
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
            background: BackgroundRates {
                compaction: self.compaction_max_rate.bytes(),
                scrub: self.scrub_max_rate.bytes(),
                sync: self.sync_max_rate.bytes(),
                scrub_pass: Some(self.scrub_pass.duration()).filter(|pass| !pass.is_zero()),
                latency: self.background_latency.duration(),
            },
            upload_memory_bytes: self.upload_memory.bytes(),
            peers: ClientOptions::default(),
        })
    }

    fn check_background(&self) -> Result<(), ConfigProblem> {
        let rates = [
            ("compaction_max_rate", self.compaction_max_rate),
            ("scrub_max_rate", self.scrub_max_rate),
            ("sync_max_rate", self.sync_max_rate),
        ];
        for (key, rate) in rates {
            if (1..64 << 10).contains(&rate.bytes()) {
                return Err(problem(key, "must be 0 (no limit) or at least 64KiB a second"));
            }
        }
        if (Duration::from_nanos(1)..Duration::from_mins(1)).contains(&self.scrub_pass.duration()) {
            return Err(problem("scrub_pass", "must be 0s (off) or at least 1m"));
        }
        if self.background_latency.duration() < Duration::from_millis(1) {
            return Err(problem("background_latency", "must be at least 1ms"));
        }
        Ok(())
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
        let cases: [(&str, Spoil); 11] = [
            ("disks", |c| c.disks.clear()),
            ("volume_size", |c| c.volume_size = ByteSize::gib(33)),
            ("volume_size", |c| c.volume_size = ByteSize::kib(1)),
            ("compact_at_garbage_ratio", |c| c.compact_at_garbage_ratio = 1.5),
            ("queue_len", |c| c.queue_len = 0),
            ("compaction_max_rate", |c| c.compaction_max_rate = ByteSize::new(1)),
            ("scrub_max_rate", |c| c.scrub_max_rate = ByteSize::kib(63)),
            ("sync_max_rate", |c| c.sync_max_rate = ByteSize::new(1)),
            ("scrub_pass", |c| c.scrub_pass = Span::secs(59)),
            ("background_latency", |c| c.background_latency = Span::secs(0)),
            ("upload_memory", |c| c.upload_memory = ByteSize::mib(1)),
        ];
        for (key, spoil) in cases {
            let mut config = good.clone();
            spoil(&mut config);
            assert_eq!(config.check().unwrap_err().key, key);
        }
        let unhurried = StoreConfig {
            scrub_pass: Span::secs(0),
            scrub_max_rate: ByteSize::new(0),
            compaction_max_rate: ByteSize::new(0),
            ..good
        };
        assert_eq!(unhurried.check().unwrap().background.scrub_pass, None);
    }
}
