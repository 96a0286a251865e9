//! Who is part of the cluster: stores that come and go, and the keeper that leads.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Host, Rack};

/// A store that was seen once stays known, so that "gone" is told from "never was".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownStore {
    /// The rack it was last seen in.
    pub rack: Rack,
    /// The machine it was last seen on.
    pub host: Host,
    /// When it was first seen, in milliseconds since 1970.
    pub since_ms: u64,
    /// The process that is the store now; `None` while it is gone.
    pub member: Option<Member>,
}

/// The process that is a store now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The rack it stands in.
    pub rack: Rack,
    /// Where its internal HTTP interface listens, as `host:port`.
    pub address: String,
    /// Its disks.
    pub disks: Vec<MemberDisk>,
    /// Drawn by each process at its start: tells a restart from a reconnect.
    pub boot_id: Uuid,
    /// The ZooKeeper session that vouches for it.
    pub session: i64,
}

/// A disk of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberDisk {
    /// The folder that it is mounted on.
    pub path: String,
    /// Its size in bytes.
    pub total_bytes: u64,
}

/// What the keeper says of a store that is not well. It has been so for several rounds, and stays on
/// the map until it has been well for several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Illness {
    /// What was wrong with it at first.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

/// The process that is a directory now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryInfo {
    /// Where its internal HTTP interface listens, as `host:port`.
    pub address: String,
    /// The ZooKeeper session that vouches for it.
    pub session: i64,
}

/// The keeper that leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperInfo {
    /// What it calls itself.
    pub name: String,
    /// Where its admin interface listens, as `host:port`; `None` if it did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Higher than that of every leader before it.
    pub term: u64,
}
