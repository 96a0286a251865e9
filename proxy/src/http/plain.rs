//! Small public objects, past the router.

use std::sync::Arc;

use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{Extensions, HeaderMap, Method, Response};
use bytes::Bytes;
use futures::{FutureExt as _, TryStreamExt as _};
use hayrick_directory::{Access, Bucket, ClusterMap, ObjectName, Row};
use hayrick_service::download::{asks_for_all, respond_at_once};
use hayrick_service::listen::{Head, Short, Shortcut};
use hayrick_store::{NeedleId, StoreError, StoreHandle};

use super::NOSNIFF;
use super::download::content;
use super::path::Target;
use crate::Proxy;
use crate::names::Found;

/// Objects up to this size are read whole before their answer begins; larger ones are the router's.
const MOST_BYTES: u64 = 64 << 10;

/// Plain GETs of small public objects: most of what is asked for.
pub(super) struct Plain(pub(super) Arc<Proxy>);

/// What is known of a request that the router answers after all.
#[derive(Clone)]
pub(super) struct Known {
    /// What was found under the name; `None` if there is nothing.
    pub(super) found: Option<Found>,
    /// Why that could not be read, if somebody has tried.
    pub(super) unread: Option<StoreError>,
}

impl Shortcut for Plain {
    fn answer(&self, head: &Head<'_>) -> Option<Short> {
        if head.method != Method::GET || head.uri.query().is_some() {
            return None;
        }
        let Ok(Target::Object(bucket, name)) = Target::parse(head.uri.path()) else { return None };
        let map = self.0.directory.map();
        let bucket = &map.buckets.get(&bucket)?.value;
        if bucket.read != Access::Public {
            return None;
        }
        if let Some(answer) = self.0.answer_at_once(&map, bucket, &name, head.headers) {
            return Some(Short::Now(answer));
        }
        // With conditions and ranges, most often nothing has to be read, or not all.
        asks_for_all(head.headers).then(|| {
            let soon = Arc::clone(&self.0).answer_soon(bucket.clone(), name);
            Short::Soon(soon.boxed())
        })
    }
}

impl Proxy {
    /// The answer, where the directory of this process remembers the row, and a store of this process
    /// has the needle in memory.
    fn answer_at_once(
        &self,
        map: &ClusterMap,
        bucket: &Bucket,
        name: &ObjectName,
        request: &HeaderMap,
    ) -> Option<Response<Bytes>> {
        let row = self.directory.lookup_recent(&bucket.name, name)?;
        let [needle] = row.needles.as_slice() else { return None };
        let data = self.read_cached_needle(map, needle.id)?;
        let memory = self.download_memory.lend(data.len() as u64).ok()?;
        self.answer(bucket, row, request, memory.with(data))
    }

    /// All bytes of a needle, verified, if a store of this process has them in memory.
    fn read_cached_needle(&self, map: &ClusterMap, needle: NeedleId) -> Option<Bytes> {
        let stores = map.volumes.get(&needle.volume)?.value.replicas.iter();
        let local = stores.filter_map(|store| match self.stores.get(store)? {
            StoreHandle::Local(store) => Some(store),
            StoreHandle::Remote(_) => None,
        });
        let mut read =
            local.filter_map(|store| store.open_cached_whole(needle)?.stored().whole().cloned());
        read.next()
    }

    /// The answer to a request for the whole object, or what the router needs for it.
    async fn answer_soon(
        self: Arc<Self>,
        bucket: Bucket,
        name: ObjectName,
    ) -> Result<Response<Bytes>, Extensions> {
        let found = self.look_up(&bucket.name, &name).await.map_err(|_| Extensions::new())?;
        let answer = match &found {
            Some(found) if !found.from_memory => self.read_small(&bucket, &found.row).await,
            _ => Ok(None),
        };
        let unread = match answer {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        let mut known = Extensions::new();
        known.insert(Known { found, unread });
        Err(known)
    }

    /// `None` for what is not small.
    async fn read_small(
        self: &Arc<Self>,
        bucket: &Bucket,
        row: &Arc<Row>,
    ) -> Result<Option<Response<Bytes>>, StoreError> {
        let ([needle], 1..=MOST_BYTES) = (row.needles.as_slice(), row.size_bytes) else {
            return Ok(None);
        };
        let Ok(memory) = self.download_memory.lend(row.size_bytes) else { return Ok(None) };
        let in_memory = self.read_cached_needle(&self.directory.map(), needle.id);
        let data = if in_memory.is_some() {
            in_memory
        } else {
            let range = 0..row.size_bytes;
            Arc::clone(self).read_needle(needle.id, range).await?.try_next().await?
        };
        let whole = data.filter(|data| data.len() as u64 == row.size_bytes);
        let answer = |data| self.answer(bucket, Arc::clone(row), &HeaderMap::new(), data);
        Ok(whole.and_then(|data| answer(memory.with(data))))
    }

    fn answer(
        &self,
        bucket: &Bucket,
        row: Arc<Row>,
        request: &HeaderMap,
        data: Bytes,
    ) -> Option<Response<Bytes>> {
        let content = content(self, bucket, &Found { row, from_memory: false });
        let mut answer = respond_at_once(request, content, data)?;
        answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        Some(answer)
    }
}
