//! Objects that can be sent without waiting for anything.

use std::sync::Arc;

use axum::http::header::X_CONTENT_TYPE_OPTIONS;
use axum::http::{Method, Response};
use bytes::Bytes;
use hayrick_directory::{Access, ClusterMap};
use hayrick_service::download::respond_at_once;
use hayrick_service::listen::{Head, Shortcut};
use hayrick_store::{NeedleId, StoreHandle};

use super::NOSNIFF;
use super::download::content;
use super::path::Target;
use crate::Proxy;
use crate::names::Found;

/// GETs of small public objects whose row the directory of this process remembers, and whose needle a
/// store of this process has in memory: most of what is asked for where all roles are in one process.
pub(super) struct Cached(pub(super) Arc<Proxy>);

impl Shortcut for Cached {
    fn answer(&self, head: &Head<'_>) -> Option<Response<Bytes>> {
        if head.method != Method::GET || head.uri.query().is_some() {
            return None;
        }
        let Ok(Target::Object(bucket, name)) = Target::parse(head.uri.path()) else { return None };
        let map = self.0.directory.map();
        let bucket = &map.buckets.get(&bucket)?.value;
        if bucket.read != Access::Public {
            return None;
        }
        let row = self.0.directory.lookup_recent(&bucket.name, &name)?;
        let [needle] = row.needles.as_slice() else { return None };
        let data = self.0.read_cached_needle(&map, needle.id)?;
        let memory = self.0.download_memory.lend(data.len() as u64).ok()?;
        let content = content(&self.0, bucket, &Found { row, from_memory: false });
        let mut answer = respond_at_once(head.headers, content, memory.with(data))?;
        answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        Some(answer)
    }
}

impl Proxy {
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
}
