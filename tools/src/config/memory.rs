//! How much memory clients can make a server use, from its settings alone.
//!
//! | what | at most |
//! |---|---|
//! | uploads | twice `proxy.upload_memory`: as chunks, and on their way to disk |
//! | uploads of peers | twice `store.upload_memory` |
//! | downloads | `proxy.download_memory` |
//! | downloads of peers | 256 KiB for each connection of `internal` |
//! | pictures | `proxy.image.memory`; `max_source` for each that is in work or waits |
//! | connections | for each, a head as it comes and as it is kept, 64 KiB of a body or an answer, and 32 KiB for the connection itself |
//!
//! What does not depend on clients comes on top: the process with nothing to do, what is kept of
//! needles and names, `proxy.names_memory`, and `proxy.image.cache_memory`.

use std::fmt;

use hayrick_service::listen::ListenOptions;
use hayrick_store::volume::WHOLE_READ_BYTES;
use serde::Serialize;

use super::Settings;
use crate::units::size;

/// Body or answer of a connection that is in HTTP's own buffers.
const STREAM_BYTES: u64 = 64 << 10;
/// A connection's task and tables.
const CONNECTION_BYTES: u64 = 32 << 10;

/// The most memory that clients can make a server use, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MemoryBounds {
    uploads: u64,
    downloads: u64,
    pictures: u64,
    connections: u64,
}

impl MemoryBounds {
    /// What the settings come to.
    pub fn of(settings: &Settings) -> Self {
        let Settings { public, internal, admin, store, proxy, .. } = settings;
        let uploads = proxy.upload_memory_bytes.saturating_add(store.upload_memory_bytes);
        let peers = internal.options.max_connections as u64;
        let pool = proxy.image_pool;
        let (threads, queued) = (pool.threads.get() as u64, pool.queue_limit.get() as u64);
        let limits = proxy.image.limits;
        let sources = limits.max_source_bytes.saturating_mul(threads + queued);
        let connections = [public, internal, admin].map(|listener| connections(&listener.options));
        Self {
            uploads: uploads.saturating_mul(2),
            downloads: proxy
                .download_memory_bytes
                .saturating_add(peers.saturating_mul(WHOLE_READ_BYTES)),
            pictures: pool.memory_bytes.saturating_add(sources),
            connections: connections.into_iter().fold(0, u64::saturating_add),
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        let Self { uploads, downloads, pictures, connections } = *self;
        [uploads, downloads, pictures, connections].into_iter().fold(0, u64::saturating_add)
    }
}

fn connections(options: &ListenOptions) -> u64 {
    let each = 2 * u64::from(options.max_head_bytes) + STREAM_BYTES + CONNECTION_BYTES;
    each.saturating_mul(options.max_connections as u64)
}

impl fmt::Display for MemoryBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} (uploads {}, downloads {}, pictures {}, connections {})",
            size(self.total()),
            size(self.uploads),
            size(self.downloads),
            size(self.pictures),
            size(self.connections),
        )
    }
}
