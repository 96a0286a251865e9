//! Hayrick's public HTTP door: upload, download, access and images resized on the fly.
//!
//! ```text
//! http        routes, access, errors: one request in, one answer out
//!   memory    bytes in flight, none without room for it
//!   upload    body > chunks > needles on every replica > name
//!   names     name > row, from memory when no directory answers
//!   object    row > needles > verified bytes
//!     replicas  needle > whichever replica answers
//!   pictures  row + suffix > a picture that is kept, or being made, or made
//!     hayrick_images  bytes + suffix > another picture
//! ```
//!
//! [`hayrick_images`] knows nothing of HTTP, buckets or stores; [`upload`] and [`object`] know
//! nothing of HTTP.

pub mod config;
pub mod http;
mod memory;
mod names;
pub mod object;
mod pictures;
mod replicas;
pub mod token;
pub mod upload;

use std::sync::Arc;

use hayrick_directory::{DirectoryHandle, StorePool};
use tokio::sync::Semaphore;

pub use config::{ProxyConfig, ProxyOptions};
pub use http::app;
pub use pictures::KeepError;

use crate::memory::{DownloadMemory, UploadMemory};
use crate::names::SeenNames;
use crate::pictures::Pictures;
use crate::replicas::Replicas;
use hayrick_images::Imager;

/// Why a proxy does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The image threads do not.
    #[error(transparent)]
    Images(#[from] hayrick_images::StartError),
    /// Pictures cannot be kept where they should be.
    #[error(transparent)]
    Pictures(#[from] KeepError),
}

/// What a proxy holds while it runs.
pub struct Proxy {
    directory: DirectoryHandle,
    stores: StorePool,
    /// How the stores have answered so far.
    replicas: Replicas,
    names: SeenNames,
    options: ProxyOptions,
    imager: Imager,
    pictures: Pictures,
    /// Pictures being read or worked on; beyond them an image request is answered "busy".
    image_slots: Semaphore,
    upload_memory: UploadMemory,
    download_memory: DownloadMemory,
}

impl Proxy {
    /// Puts a proxy together and starts its image threads.
    pub async fn start(
        directory: DirectoryHandle,
        stores: StorePool,
        options: ProxyOptions,
    ) -> Result<Arc<Self>, StartError> {
        let imager = Imager::start(options.image, options.image_pool)?;
        let load = imager.load();
        let pictures = Pictures::open(&options.keep_pictures, imager.settings()).await?;
        Ok(Arc::new(Self {
            directory,
            stores,
            replicas: Replicas::default(),
            names: SeenNames::new(options.names_memory_bytes, options.names_max_age),
            imager,
            pictures,
            image_slots: Semaphore::new(load.queue_limit + load.threads),
            upload_memory: UploadMemory::new(options.upload_memory_bytes),
            download_memory: DownloadMemory::new(options.download_memory_bytes),
            options,
        }))
    }

    /// Ends the image threads. Requests must have ended before.
    pub async fn stop(self: Arc<Self>) {
        self.pictures.close().await;
        // A task that panicked has said so; there is nothing left to stop then.
        let _ = tokio::task::spawn_blocking(move || self.imager.shutdown()).await;
    }
}
