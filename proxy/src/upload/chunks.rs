//! A body cut into chunks.

use axum::BoxError;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::sync::SemaphorePermit;

use super::UploadError;
use crate::Proxy;
use crate::memory::SEAT_BYTES;

/// Objects are split into needles of this size.
pub const CHUNK_BYTES: usize = 8 << 20;

/// A body cut into chunks, in memory that is set aside first.
pub(super) struct Chunks<'a, S> {
    proxy: &'a Proxy,
    body: S,
    /// What came behind the end of the last chunk.
    rest: Bytes,
    announced: Option<u64>,
    /// What has come so far.
    pub(super) size_bytes: u64,
    /// Whether all has come.
    pub(super) ended: bool,
    begun: bool,
}

/// A chunk and the memory that it is in; one that fits into the seat needs no more.
pub(super) type Piece<'a> = Option<(Bytes, Option<SemaphorePermit<'a>>)>;

impl<'a, S, E> Chunks<'a, S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<BoxError>,
{
    pub(super) fn new(proxy: &'a Proxy, body: S, announced: Option<u64>) -> Self {
        Self {
            proxy,
            body,
            rest: Bytes::new(),
            announced,
            size_bytes: 0,
            ended: false,
            begun: false,
        }
    }

    /// The next chunk; an empty body has one, empty chunk.
    pub(super) async fn next(&mut self) -> Result<Piece<'a>, UploadError> {
        if self.ended {
            return Ok(None);
        }
        let mut memory = None;
        let mut chunk = BytesMut::from(std::mem::take(&mut self.rest));
        loop {
            if memory.is_none() && chunk.len() >= SEAT_BYTES {
                memory = Some(self.set_memory_aside(&mut chunk).await?);
            }
            if chunk.len() >= CHUNK_BYTES {
                break;
            }
            let Some(piece) = self.next_piece().await? else { break };
            chunk.extend_from_slice(&piece);
        }
        let chunk = chunk.freeze();
        self.rest = chunk.slice(CHUNK_BYTES.min(chunk.len())..);
        let chunk = chunk.slice(..CHUNK_BYTES.min(chunk.len()));
        self.count(chunk.len())?;
        self.see_the_end().await?;
        let first = !std::mem::replace(&mut self.begun, true);
        Ok((first || !chunk.is_empty()).then_some((chunk, memory)))
    }

    /// Sets memory aside for the rest of a chunk, and makes the room at once: growing by doubling
    /// would take twice as much.
    async fn set_memory_aside(
        &mut self,
        chunk: &mut BytesMut,
    ) -> Result<SemaphorePermit<'a>, UploadError> {
        let left = self.announced.map_or(u64::MAX, |size| size.saturating_sub(self.size_bytes));
        // Whatever is announced, what has come is there.
        let bytes = left.clamp(chunk.len() as u64, CHUNK_BYTES.max(chunk.len()) as u64);
        let memory = self.proxy.upload_memory.chunk(bytes).await?;
        // The last piece may reach beyond the chunk's end.
        let spare = usize::try_from(bytes).unwrap_or(CHUNK_BYTES) + SEAT_BYTES;
        chunk.reserve(spare.saturating_sub(chunk.len()));
        Ok(memory)
    }

    fn count(&mut self, bytes: usize) -> Result<(), UploadError> {
        self.size_bytes += bytes as u64;
        let limit = self.proxy.options.max_object_bytes;
        if self.size_bytes > limit { Err(UploadError::TooLarge { limit }) } else { Ok(()) }
    }

    /// After a full chunk, looks whether anything follows: an object of just one chunk is
    /// one needle.
    async fn see_the_end(&mut self) -> Result<(), UploadError> {
        while self.rest.is_empty() {
            let Some(piece) = self.next_piece().await? else { break };
            self.rest = piece;
        }
        Ok(())
    }

    async fn next_piece(&mut self) -> Result<Option<Bytes>, UploadError> {
        if self.ended {
            return Ok(None);
        }
        let piece = self.proxy.upload_memory.next(&mut self.body).await?.transpose();
        let piece = piece.map_err(|error| UploadError::Body(error.into()))?;
        self.ended = piece.is_none();
        Ok(piece)
    }
}
