//! Hayrick's public HTTP door: upload, download, access and images resized on the fly.
//!
//! ```text
//! http        routes, access, errors: one request in, one answer out
//!   memory    bytes in flight, none without room for it
//!   upload    body > chunks > needles on every replica > name
//!   names     name > row, from memory when no directory answers
//!   object    row > needles > verified bytes
//!     replicas  needle > whichever replica answers
//!   image     bytes + suffix > another picture
//! ```
//!
//! [`image`] knows nothing of HTTP, buckets or stores; [`upload`] and [`object`] know
//! nothing of HTTP.

pub mod config;
pub mod http;
pub mod image;
mod memory;
mod names;
pub mod object;
mod replicas;
pub mod token;
pub mod upload;

use std::sync::Arc;

use hayrick_directory::{DirectoryHandle, StorePool};
use tokio::sync::Semaphore;

pub use config::{ProxyConfig, ProxyOptions};
pub use http::router;

use crate::image::{Imager, StartError};
use crate::memory::{DownloadMemory, UploadMemory};
use crate::names::SeenNames;
use crate::replicas::Replicas;

/// What a proxy holds while it runs.
pub struct Proxy {
    directory: DirectoryHandle,
    stores: StorePool,
    /// How the stores have answered so far.
    replicas: Replicas,
    names: SeenNames,
    options: ProxyOptions,
    imager: Imager,
    /// Pictures being read or worked on; beyond them an image request is answered "busy".
    image_slots: Semaphore,
    upload_memory: UploadMemory,
    download_memory: DownloadMemory,
}

impl Proxy {
    /// Puts a proxy together and starts its image threads.
    pub fn start(
        directory: DirectoryHandle,
        stores: StorePool,
        options: ProxyOptions,
    ) -> Result<Arc<Self>, StartError> {
        let imager = Imager::start(options.image, options.image_pool)?;
        let load = imager.load();
        Ok(Arc::new(Self {
            directory,
            stores,
            replicas: Replicas::default(),
            names: SeenNames::new(options.names_memory_bytes, options.names_max_age),
            imager,
            image_slots: Semaphore::new(load.queue_limit + load.threads),
            upload_memory: UploadMemory::new(options.upload_memory_bytes),
            download_memory: DownloadMemory::new(options.download_memory_bytes),
            options,
        }))
    }

    /// Ends the image threads. Requests must have ended before.
    pub async fn stop(self: Arc<Self>) {
        // A task that panicked has said so; there is nothing left to stop then.
        let _ = tokio::task::spawn_blocking(move || self.imager.shutdown()).await;
    }
}
