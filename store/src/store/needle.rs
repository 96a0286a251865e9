//! Reading a needle from async code.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use futures::stream;

use super::blocking;
use crate::error::StoreError;
use crate::format::meta::MetaRef;
use crate::volume::{StoredNeedle, WHOLE_READ_BYTES};

/// A needle that was found. Clones read the same needle.
#[derive(Clone)]
pub struct NeedleReader {
    needle: Arc<StoredNeedle>,
}

impl NeedleReader {
    pub(super) fn new(needle: StoredNeedle) -> Self {
        Self { needle: Arc::new(needle) }
    }

    /// What the needle says of itself.
    pub fn meta(&self) -> MetaRef<'_> {
        self.needle.meta()
    }

    /// Bytes of data.
    pub fn size(&self) -> u64 {
        self.needle.size()
    }

    /// The needle as found in its volume.
    pub fn stored(&self) -> &StoredNeedle {
        &self.needle
    }

    /// The bytes of `range`, all of them verified, in one piece.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        // More would keep others waiting while it is copied and checked.
        if range.end.saturating_sub(range.start) <= WHOLE_READ_BYTES
            && let Some(bytes) = self.needle.read_cached(&range)
        {
            return Ok(bytes);
        }
        let needle = Arc::clone(&self.needle);
        blocking(move || needle.read(&range)).await?
    }

    /// The bytes of `range` in verified pieces, each read when the one before has been taken.
    pub fn stream(
        self,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static {
        stream::try_unfold(range, move |left| {
            let reader = self.clone();
            async move {
                if left.is_empty() {
                    return Ok(None);
                }
                // Pieces end where blocks end, so that no block is read and verified twice.
                let end = (left.start + 1).next_multiple_of(WHOLE_READ_BYTES).min(left.end);
                let piece = reader.read(left.start..end).await?;
                Ok(Some((piece, end..left.end)))
            }
        })
    }
}
