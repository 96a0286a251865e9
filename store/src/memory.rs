//! Memory for what comes from and goes to peers: set aside before it is used.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::StoreError;

/// What it is counted in: a semaphore counts no further than 2^29.
const UNIT_BYTES: u64 = 4096;

/// Bytes of uploads, and of records of other replicas, that may be in memory at one time.
#[derive(Clone)]
pub(crate) struct PeerMemory {
    free: Arc<Semaphore>,
}

impl PeerMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT_BYTES).unwrap_or(usize::MAX);
        Self { free: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))) }
    }

    /// Sets memory aside until the answer is dropped.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if there is not as much.
    pub(crate) fn set_aside(&self, bytes: u64) -> Result<OwnedSemaphorePermit, StoreError> {
        let memory = Arc::clone(&self.free).try_acquire_many_owned(units(bytes));
        memory.map_err(|_| StoreError::Busy { what: "upload memory" })
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}
