//! Memory for bytes on their way in and out, set aside before it is filled.
//!
//! An upload has a seat: room for the first 64 KiB of a chunk. Only when these have come is room
//! for the whole chunk set aside, so that clients that announce much and send little hold little.
//! What is not there is waited for, but not long, and while somebody waits an upload whose client
//! falls silent loses what it has. Chunks and seats are counted apart: an upload that waits for a
//! chunk holds nothing that another one needs for its chunk, so they never wait in a circle.
//!
//! A download has room for the piece of it that is in memory, and gives it back when the socket
//! has taken the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit, TryAcquireError};
use tokio::time::timeout;

/// What memory is counted in: a semaphore counts no further than 2^29.
const UNIT_BYTES: u64 = 4096;

/// What an upload has of each chunk before it may have the rest.
pub(crate) const SEAT_BYTES: usize = 64 << 10;

/// One part in so many of the upload memory is for seats.
const SEATS_SHARE: u64 = 4;

/// How long an upload waits for memory before it is refused.
const WAIT: Duration = Duration::from_secs(5);

/// How long a client may be silent while others wait for the memory that it holds.
const PATIENCE: Duration = Duration::from_secs(1);

/// There is no memory for this now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Memory for uploads.
pub(crate) struct UploadMemory {
    seats: Semaphore,
    chunks: Semaphore,
    waiting: AtomicUsize,
}

/// Counts one upload as waiting until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl UploadMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        let seats = bytes / SEATS_SHARE;
        Self {
            seats: Semaphore::new(permits(seats)),
            chunks: Semaphore::new(permits(bytes - seats)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Room for the first bytes of an upload's chunks, of an object of `size_bytes` if that is known.
    pub(crate) async fn seat(&self, size_bytes: Option<u64>) -> Result<SemaphorePermit<'_>, Full> {
        let bytes = size_bytes.unwrap_or(u64::MAX).min(SEAT_BYTES as u64);
        self.acquire(&self.seats, bytes).await
    }

    /// Room for a chunk.
    pub(crate) async fn chunk(&self, bytes: u64) -> Result<SemaphorePermit<'_>, Full> {
        self.acquire(&self.chunks, bytes).await
    }

    async fn acquire<'a>(
        &'a self,
        pool: &'a Semaphore,
        bytes: u64,
    ) -> Result<SemaphorePermit<'a>, Full> {
        match pool.try_acquire_many(units(bytes)) {
            Ok(memory) => return Ok(memory),
            Err(TryAcquireError::Closed) => return Err(Full),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _waiting = Waiting::begin(&self.waiting);
        let memory = timeout(WAIT, pool.acquire_many(units(bytes))).await;
        memory.map_err(|_| Full)?.map_err(|_| Full)
    }

    /// The next piece of an upload that has memory, as long as nobody else needs that more.
    pub(crate) async fn next<S: Stream + Unpin>(
        &self,
        body: &mut S,
    ) -> Result<Option<S::Item>, Full> {
        loop {
            match timeout(PATIENCE, body.next()).await {
                Ok(piece) => return Ok(piece),
                Err(_) if self.waiting.load(Ordering::Relaxed) > 0 => return Err(Full),
                Err(_) => {}
            }
        }
    }
}

/// Memory for downloads.
pub(crate) struct DownloadMemory(Arc<Semaphore>);

/// Memory of one download.
#[derive(Clone)]
pub(crate) struct Lent(#[expect(dead_code, reason = "held, not used")] Arc<OwnedSemaphorePermit>);

impl DownloadMemory {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Arc::new(Semaphore::new(permits(bytes))))
    }

    /// Room for `bytes`. Downloads wait for nobody.
    pub(crate) fn lend(&self, bytes: u64) -> Result<Lent, Full> {
        let memory = Arc::clone(&self.0).try_acquire_many_owned(units(bytes));
        memory.map(|permit| Lent(Arc::new(permit))).map_err(|_| Full)
    }
}

impl Lent {
    /// The same bytes, with the memory that they are in: it is given back once all who hold any
    /// of them, the socket's queue too, have let go.
    pub(crate) fn with(&self, bytes: Bytes) -> Bytes {
        struct Charged(Bytes, #[expect(dead_code, reason = "held, not used")] Lent);

        impl AsRef<[u8]> for Charged {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        Bytes::from_owner(Charged(bytes, self.clone()))
    }
}

fn permits(bytes: u64) -> usize {
    usize::try_from(bytes / UNIT_BYTES).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_upload_loses_its_memory_to_one_that_waits() {
        let memory = UploadMemory::new(4 * UNIT_BYTES);
        let silent = async {
            let seat = memory.seat(None).await;
            assert_eq!(seat.err(), Some(Full), "more than there is altogether");
            let held = memory.chunk(3 * UNIT_BYTES).await;
            assert!(memory.next(&mut stream::iter([1])).await == Ok(Some(1)));
            assert_eq!(memory.next(&mut stream::pending::<()>()).await, Err(Full));
            drop(held);
        };
        let other = async {
            tokio::time::sleep(WAIT + PATIENCE).await;
            memory.chunk(UNIT_BYTES).await.is_ok()
        };
        assert!(tokio::join!(silent, other).1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_may_be_silent_while_nobody_waits() {
        let memory = UploadMemory::new(4 * UNIT_BYTES);
        let mut late = Box::pin(stream::once(async {
            tokio::time::sleep(10 * PATIENCE).await;
        }));
        assert_eq!(memory.next(&mut late).await, Ok(Some(())));
    }

    #[test]
    fn a_download_pays_until_its_last_byte_has_gone() {
        let memory = DownloadMemory::new(2 * UNIT_BYTES);
        let lent = memory.lend(UNIT_BYTES + 1).ok().unwrap();
        let piece = lent.with(Bytes::from_static(b"ab"));
        drop(lent);
        let queued = piece.slice(1..);
        drop(piece);
        assert!(memory.lend(1).is_err());
        assert_eq!(queued, "b");
        drop(queued);
        assert!(memory.lend(1).is_ok());
    }
}
