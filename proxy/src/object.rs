//! From a name's row to verified bytes.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use hayrick_directory::Row;
use hayrick_store::{NeedleBytes, NeedleId, StoreError};

use crate::Proxy;

impl Proxy {
    /// The bytes of `range` of an object, which must lie within it. The first piece has been
    /// read and verified when this returns, so that a missing or damaged object shows before
    /// an answer has begun; each needle after the first is opened when its turn comes.
    pub async fn read_object(
        self: &Arc<Self>,
        row: &Row,
        range: Range<u64>,
    ) -> Result<NeedleBytes, StoreError> {
        let mut parts = parts(row, &range).into_iter();
        let Some((id, within)) = parts.next() else { return Ok(stream::empty().boxed()) };
        let first = Arc::clone(self).read_needle(id, within).await?;
        if parts.len() == 0 {
            return Ok(first);
        }
        let proxy = Arc::clone(self);
        let others = stream::iter(parts)
            .then(move |(id, within)| Arc::clone(&proxy).read_needle(id, within))
            .try_flatten();
        Ok(first.chain(others).boxed())
    }

    /// All bytes of an object, in memory: the caller has looked at its size.
    pub async fn load_object(self: &Arc<Self>, row: &Row) -> Result<Bytes, StoreError> {
        let mut pieces = self.read_object(row, 0..row.size_bytes).await?;
        let first = pieces.try_next().await?.unwrap_or_default();
        let Some(second) = pieces.try_next().await? else { return Ok(first) };
        let size = usize::try_from(row.size_bytes).unwrap_or(0);
        let mut bytes = BytesMut::with_capacity(size);
        bytes.extend_from_slice(&first);
        bytes.extend_from_slice(&second);
        while let Some(piece) = pieces.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }
}

/// Which bytes of which needles make up `range` of the object.
fn parts(row: &Row, range: &Range<u64>) -> Vec<(NeedleId, Range<u64>)> {
    let mut starts_at = 0;
    let mut parts = Vec::new();
    for needle in &row.needles {
        let ends_at = starts_at + u64::from(needle.size_bytes);
        let (from, to) = (range.start.max(starts_at), range.end.min(ends_at));
        if from < to {
            parts.push((needle.id, from - starts_at..to - starts_at));
        }
        starts_at = ends_at;
    }
    parts
}

#[cfg(test)]
mod tests {
    use hayrick_directory::NeedleRef;
    use hayrick_store::{Cookie, Key, VolumeId};

    use super::*;

    #[test]
    fn a_range_is_cut_where_needles_end() {
        let id = |key| NeedleId::new(VolumeId::new(1).unwrap(), Key::new(key), Cookie::new(0));
        let needle = |key, size_bytes| NeedleRef { id: id(key), size_bytes };
        let needles = vec![needle(1, 10), needle(2, 10), needle(3, 5)].into();
        let row = Row { size_bytes: 25, needles, ..Row::default() };
        assert_eq!(parts(&row, &(0..25)), [(id(1), 0..10), (id(2), 0..10), (id(3), 0..5)]);
        assert_eq!(parts(&row, &(10..20)), [(id(2), 0..10)]);
        assert_eq!(parts(&row, &(9..21)), [(id(1), 9..10), (id(2), 0..10), (id(3), 0..1)]);
        assert_eq!(parts(&row, &(24..25)), [(id(3), 4..5)]);
        assert_eq!(parts(&row, &(3..3)), []);
    }
}
