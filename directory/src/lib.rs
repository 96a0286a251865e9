//! Where Hayrick's volumes and names are.
#![forbid(unsafe_code)]

mod access_key;
mod bucket;
mod clock;
mod coordinator;
mod names;
mod stores;

pub use access_key::{AccessKey, Secret};
pub use bucket::{Access, Bucket, BucketName, MAX_OBJECT_NAME_BYTES, NameError, ObjectName};
pub use clock::{HybridClock, SystemClock, WallClock, version_ms};
pub use coordinator::{
    Change, ClusterMap, Coordinator, CoordinatorError, EmbeddedCoordinator, Versioned, Volume,
    VolumeState,
};
pub use names::fjall::{FjallConfig, FjallNames};
pub use names::{
    Answer, Committed, Condition, Discard, Garbage, ListPage, ListQuery, MAX_LIST_LIMIT,
    MAX_ROW_BYTES, Names, NamesError, NeedleRef, Put, Remove, Row,
};
pub use stores::{DiskReport, StoreAnswer, StoreFault, StoreId, StoreReport, Stores, VolumeReport};
