//! Hayrick's needle format, volumes, index, recovery and compaction, with the store server and its client.

pub mod format;
pub mod id;

pub use id::{Cookie, Key, NeedleId, VolumeId};
