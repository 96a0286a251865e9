//! Hayrick's needle format, volumes, index, recovery and compaction, with the store server and its client.

pub mod config;
mod error;
pub mod format;
pub mod id;
pub mod index;
pub mod storage;
pub mod volume;

pub use error::StoreError;
pub use id::{Cookie, Key, NeedleId, VolumeId};
