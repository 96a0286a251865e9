//! From a name's row to verified bytes.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use hayrick_directory::{NeedleRef, Row, StoreId};
use hayrick_store::{NeedleId, NeedleReader, StoreError};

use crate::Proxy;

/// An object whose first needle was found.
#[derive(Clone)]
pub struct ObjectReader {
    proxy: Arc<Proxy>,
    needles: Arc<[NeedleRef]>,
    first: Option<NeedleReader>,
}

/// Where a reader stands in an object.
struct Position {
    /// The needle being read, by its place in the row.
    needle: usize,
    /// Where that needle starts in the object.
    starts_at: u64,
    range: Range<u64>,
}

impl Proxy {
    /// Finds the object's first needle, so that a missing or damaged object shows before
    /// the answer has begun. A small object is read and verified by that.
    pub async fn open_object(self: &Arc<Self>, row: &Row) -> Result<ObjectReader, StoreError> {
        let first = match row.needles.first() {
            Some(needle) => Some(self.open_needle(needle.id).await?),
            None => None,
        };
        Ok(ObjectReader { proxy: Arc::clone(self), needles: row.needles.as_slice().into(), first })
    }

    /// Asks one replica after another: any of them may be missing it, damaged or ill.
    async fn open_needle(&self, id: NeedleId) -> Result<NeedleReader, StoreError> {
        let mut last = StoreError::NoVolume(id.volume);
        for store_id in self.directory.replicas(id.volume) {
            match self.open_on(&store_id, id).await {
                Ok(needle) => return Ok(needle),
                Err(error) => {
                    tracing::warn!(store = %store_id, needle = %id, %error, "replica not read");
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn open_on(&self, store: &StoreId, id: NeedleId) -> Result<NeedleReader, StoreError> {
        match self.stores.get(store) {
            Some(store) => store.open_needle(id).await,
            None => Err(StoreError::NoVolume(id.volume)),
        }
    }
}

impl ObjectReader {
    /// The bytes of `range` in verified pieces. The range must lie within the object.
    pub fn stream(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StoreError>> {
        let reader = self.clone();
        let start = Position { needle: 0, starts_at: 0, range };
        stream::try_unfold(start, move |position| {
            let reader = reader.clone();
            async move { reader.next_needle(position).await }
        })
        .map(|piece| match piece {
            Ok(pieces) => pieces,
            Err(error) => stream::iter([Err(error)]).boxed(),
        })
        .flatten()
        .boxed()
    }

    /// All bytes of an object of at most `size_bytes`, in memory.
    pub async fn read_all(&self, size_bytes: u64) -> Result<Bytes, StoreError> {
        if let ([_], Some(first)) = (&*self.needles, &self.first) {
            return first.read(0..first.size()).await;
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size_bytes).unwrap_or(0));
        let mut pieces = self.stream(0..size_bytes);
        while let Some(piece) = pieces.next().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes.into())
    }

    /// The part of the range that lies in the next needle, and where to go on.
    async fn next_needle(
        &self,
        mut position: Position,
    ) -> Result<Option<(BoxStream<'static, Result<Bytes, StoreError>>, Position)>, StoreError> {
        while let Some(needle) = self.needles.get(position.needle) {
            let Position { needle: number, starts_at, range } = position;
            let ends_at = starts_at + u64::from(needle.size_bytes);
            position = Position { needle: number + 1, starts_at: ends_at, range: range.clone() };
            let (from, to) = (range.start.max(starts_at), range.end.min(ends_at));
            if from < to {
                let reader = self.reader(number, needle.id).await?;
                return Ok(Some((
                    reader.stream(from - starts_at..to - starts_at).boxed(),
                    position,
                )));
            }
        }
        Ok(None)
    }

    async fn reader(&self, number: usize, id: NeedleId) -> Result<NeedleReader, StoreError> {
        match &self.first {
            Some(first) if number == 0 => Ok(first.clone()),
            _ => self.proxy.open_needle(id).await,
        }
    }
}
