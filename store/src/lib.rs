//! Hayrick's store: volume files full of needles, and the server that keeps them.
//!
//! From the bottom up:
//!
//! - [`mod@format`]: structs to bytes and back, pure;
//! - [`storage`]: the little of a file system that volumes need, real and as a double;
//! - [`index`]: where each key's newest record is;
//! - [`volume`]: one append-only file with its writer, readers, recovery and compaction;
//! - [`pace`]: how fast background work may go;
//! - [`store`]: data directories full of volumes, and what they do by themselves;
//! - [`sync`]: fetching from other replicas what one lacks;
//! - [`scrub`]: verifying all of them, over and over;
//! - [`http`]: the store's two HTTP interfaces, and [`client`]: their other end.
//!
//! Everything up to `volume` is synchronous; [`Store`] is the bridge that async callers cross.

pub mod client;
pub mod config;
pub mod disk;
mod error;
pub mod format;
mod handle;
pub mod http;
pub mod id;
pub mod index;
pub mod jobs;
mod load;
mod maintenance;
mod memory;
pub mod pace;
mod probe;
pub mod scrub;
pub mod status;
pub mod storage;
pub mod store;
pub mod sync;
pub mod volume;

pub use client::StoreClient;
pub use error::StoreError;
pub use format::meta::{Chunk, Meta};
pub use handle::{NeedleBytes, StoreHandle};
pub use id::{Cookie, Epoch, Key, NeedleId, VolumeId};
pub use store::{NeedleReader, Store};
pub use sync::{Peer, Synced};
pub use volume::NewNeedle;
