//! Where Hayrick's volumes and names are.
//!
//! ```text
//!                      Directory
//!          assign  ___/    |    \___  commit, lookup, remove, list
//!                 /        |        \
//!     placement, keys    reaper     Names ........ fjall, or PostgreSQL
//!              |    \     |    \___/
//!            grower  Coordinator ................. one file, or ZooKeeper
//!                 \_____ Stores ................. the caller's
//! ```
//!
//! An upload takes three steps: [`Directory::assign`] a needle its place, store it on
//! all replicas, [`Directory::commit`] the name. If the second or third fails,
//! [`Directory::discard`] what was stored. The needles that a commit replaces, a removal
//! leaves and a discard names are queued durably, and deleted from the stores in the
//! background.
//!
//! Names, volumes and what the cluster agrees on sit behind the traits [`Names`],
//! [`Stores`] and [`Coordinator`]. The engines here keep them in one process, but for
//! [`zookeeper`] and [`PostgresNames`], which many processes share.

#![forbid(unsafe_code)]

mod access_key;
mod backoff;
mod bucket;
mod client;
mod clock;
mod config;
mod coordinator;
pub mod copy;
mod directory;
mod error;
pub mod fsck;
mod garbage;
mod grow;
mod handle;
pub mod http;
pub mod keeper;
mod keys;
mod names;
mod placement;
mod pool;
pub mod rebuild;
mod reports;
mod stores;
#[cfg(test)]
mod testing;

pub use access_key::{AccessKey, Secret};
pub use bucket::{
    Access, BoxSize, Bucket, BucketName, ImagePolicy, ImagePolicyError, MAX_OBJECT_NAME_BYTES,
    NameError, NegotiatedFormat, ObjectName, OnImageError, PresetName, UnknownPresets,
};
pub use client::DirectoryClient;
pub use clock::{HybridClock, SystemClock, WallClock, version_ms};
pub use config::{DirectoryConfig, GarbageConfig, GrowthConfig};
pub use coordinator::{
    Change, ClusterMap, Coordinator, CoordinatorError, DirectoryInfo, EmbeddedCoordinator, Illness,
    KeeperInfo, KnownStore, MapChanges, Member, MemberDisk, Order, OrderId, Versioned, Volume,
    VolumeState, zookeeper,
};
pub use directory::{
    Assignment, Background, BatchAssignment, Directory, Parts, open_files, open_names, open_parts,
};
pub use error::DirectoryError;
pub use handle::DirectoryHandle;
pub use keeper::{Keeper, KeeperConfig};
pub use names::fjall::{FjallConfig, FjallNames};
pub use names::postgres::{PostgresConfig, PostgresNames};
pub use names::{
    Answer, Committed, Condition, ContentType, Discard, Garbage, GarbageQueue, ListPage, ListQuery,
    MAX_LIST_LIMIT, MAX_ROW_BYTES, Names, NamesError, NeedleRef, NeedleRefs, Put, Removal, Remove,
    Row,
};
pub use pool::StorePool;
pub use reports::LastReport;
pub use stores::{
    DiskReport, Host, Rack, ReplicaContent, StoreAnswer, StoreFault, StoreId, StoreReport, Stores,
    VolumeReport,
};
