//! A store on another machine, asked on its internal listener ([`crate::http::data`]).

mod parts;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use hayrick_service::client::{Call, Client};
use hayrick_service::gather::Gather;
use uuid::Uuid;

use crate::error::StoreError;
use crate::format::meta::Meta;
use crate::http::{
    CLUSTER_HEADER, EPOCH_HEADER, META_HEADER, Subject, batch, job_error, listing, meta_value,
    records, store_error, unavailable,
};
use crate::id::{Epoch, Key, NeedleId, VolumeId};
use crate::jobs::JobStatus;
use crate::status::StoreStatus;
use crate::sync::{Peer, RepairRequest, SyncRequest, Synced};
use crate::volume::{Held, KeyPage, NewNeedle};

/// A store that takes longer to say how it is counts as one that does not answer.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks one store. Clones share its connections.
///
/// Every call ends: with what the store answered, or with [`StoreError::Unavailable`] when
/// the HTTP client's limits are over. A put or delete that ends so may have been done.
#[derive(Clone)]
pub struct StoreClient {
    shared: Arc<Shared>,
}

struct Shared {
    /// What errors call the store.
    name: String,
    /// `http://host:port` of the internal listener.
    url: String,
    cluster: HeaderValue,
    http: Client,
    /// Small reads that wait to be sent.
    reads: Arc<Gather<parts::Read>>,
}

impl StoreClient {
    /// The store `name` of a cluster, at `http://host:port`.
    pub fn new(
        name: impl Into<String>,
        url: impl Into<String>,
        cluster: Uuid,
        http: Client,
    ) -> Self {
        // Hex digits are always a header value.
        let cluster = HeaderValue::try_from(cluster.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static(""));
        let (name, url) = (name.into(), url.into());
        let reads = Gather::new(parts::LIMITS);
        Self { shared: Arc::new(Shared { name, url, cluster, http, reads }) }
    }

    /// Stores needles in one volume: all of them or none, durable when this returns.
    pub async fn put(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        needles: &[NewNeedle],
    ) -> Result<(), StoreError> {
        let malformed = |error| StoreError::Malformed(format!("needles not encoded: {error}"));
        let pieces = batch::encode(needles).map_err(malformed)?;
        let size_bytes: usize = pieces.iter().map(Bytes::len).sum();
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, StoreError>)));
        let call = self.order(Method::POST, &format!("/{volume}"), epoch);
        let call = call
            .header(CONTENT_TYPE, HeaderValue::from_static(batch::CONTENT_TYPE))
            .header(CONTENT_LENGTH, size_bytes.into())
            .body(body);
        // A refused key is told without its number; a lone needle's is known.
        let key = needles.first().map_or(Key::new(0), |needle| needle.key);
        self.done(call, Subject { volume, key, epoch }).await
    }

    /// The bytes of `range` of a needle, which must not be empty. The store has verified them;
    /// where it cannot, the stream ends in an error and never short. Small reads at the same time share
    /// a request.
    pub async fn read(
        &self,
        id: NeedleId,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + Send + use<>, StoreError> {
        match self.read_together(id, &range).await {
            Some(found) => Ok(stream::iter([Ok(found?)]).left_stream()),
            None => Ok(self.read_alone(id, range).await?.right_stream()),
        }
    }

    async fn read_alone(
        &self,
        id: NeedleId,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + Send + use<>, StoreError> {
        let wanted = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let wanted = HeaderValue::try_from(wanted)
            .map_err(|error| StoreError::Malformed(error.to_string()))?;
        let call = self.call(Method::GET, &path(id)).header(RANGE, wanted);
        let subject = Subject { volume: id.volume, key: id.key, epoch: Epoch::NONE };
        let answer = call.send().await;
        let answer = answer.map_err(|error| store_error(error, &self.shared.name, subject))?;
        if !covers(answer.headers(), &range) {
            return Err(unavailable(
                &self.shared.name,
                &"its answer has other bytes than asked for",
            ));
        }
        let shared = Arc::clone(&self.shared);
        let broken = move |error| unavailable(&shared.name, &error);
        Ok(answer.into_body().into_data_stream().map(move |piece| piece.map_err(&broken)))
    }

    /// Deletes a needle, durably, and tells whether there was one. The tombstone says what is
    /// in `removed`.
    pub async fn delete(
        &self,
        id: NeedleId,
        epoch: Epoch,
        removed: &Meta,
    ) -> Result<bool, StoreError> {
        let removed = removed
            .to_bytes()
            .map(|encoded| meta_value(&encoded))
            .map_err(|error| StoreError::Malformed(format!("removal not encoded: {error}")))?;
        let call = self.order(Method::DELETE, &path(id), epoch).header(META_HEADER, removed);
        match self.done(call, Subject { volume: id.volume, key: id.key, epoch }).await {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes an empty volume. One that is there already is a success.
    pub async fn create_volume(&self, volume: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        let call = self.order(Method::PUT, &format!("/{volume}"), epoch);
        self.done(call, of(volume, epoch)).await
    }

    /// See [`StoreHandle::create_copy`](crate::StoreHandle::create_copy).
    pub async fn create_copy(&self, volume: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        let call = self.order(Method::PUT, &format!("/{volume}/copy"), epoch);
        self.done(call, of(volume, epoch)).await
    }

    /// See [`StoreHandle::remove_volume`](crate::StoreHandle::remove_volume).
    pub async fn remove_volume(&self, volume: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        let call = self.order(Method::DELETE, &format!("/{volume}"), epoch);
        self.done(call, of(volume, epoch)).await
    }

    /// See [`StoreHandle::fence`](crate::StoreHandle::fence).
    pub async fn fence(&self, volume: VolumeId, epoch: Epoch) -> Result<(), StoreError> {
        let call = self.order(Method::PUT, &format!("/{volume}/epoch"), epoch);
        self.done(call, of(volume, epoch)).await
    }

    /// See [`StoreHandle::confirm`](crate::StoreHandle::confirm).
    pub async fn confirm(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        through_ns: u64,
    ) -> Result<(), StoreError> {
        let call = self.order(Method::PUT, &format!("/{volume}/confirmed"), epoch);
        self.done(call.json(&through_ns), of(volume, epoch)).await
    }

    /// What errors call the store.
    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    /// See [`StoreHandle::keys`](crate::StoreHandle::keys).
    pub async fn keys(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        first: Key,
    ) -> Result<KeyPage, StoreError> {
        let path = format!("/{volume}/keys?first={first}");
        let call = self.order(Method::GET, &path, epoch);
        let bytes = call.send_bytes(listing::MAX_BYTES).await;
        let bytes = bytes.map_err(|error| store_error(error, self.name(), of(volume, epoch)))?;
        listing::decode(bytes).map_err(|error| unavailable(self.name(), &error))
    }

    /// See [`StoreHandle::records`](crate::StoreHandle::records).
    pub async fn records(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        keys: &[Key],
    ) -> Result<Vec<(Key, Held)>, StoreError> {
        let call = self.order(Method::POST, &format!("/{volume}/records"), epoch).json(&keys);
        let bytes = call.send_bytes(records::MAX_BYTES).await;
        let bytes = bytes.map_err(|error| store_error(error, self.name(), of(volume, epoch)))?;
        let records = records::decode(bytes).map_err(|error| unavailable(self.name(), &error))?;
        let answers_us = !records.is_empty()
            && records.len() <= keys.len()
            && records.iter().zip(keys).all(|((found, _), asked)| found == asked);
        if answers_us {
            Ok(records)
        } else {
            Err(unavailable(self.name(), &"it answers other questions"))
        }
    }

    /// See [`StoreHandle::start_sync`](crate::StoreHandle::start_sync).
    pub async fn start_sync(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        sources: Vec<Peer>,
        check: bool,
    ) -> Result<JobStatus, StoreError> {
        let call = self.order(Method::POST, &format!("/{volume}/sync"), epoch);
        let answer = call.json(&SyncRequest { sources, check }).send_json().await;
        answer.map_err(|error| store_error(error, &self.shared.name, of(volume, epoch)))
    }

    /// See [`StoreHandle::repair_keys`](crate::StoreHandle::repair_keys).
    pub async fn repair_keys(
        &self,
        volume: VolumeId,
        epoch: Epoch,
        keys: Vec<Key>,
        sources: Vec<Peer>,
    ) -> Result<Synced, StoreError> {
        let call = self.order(Method::POST, &format!("/{volume}/repair"), epoch);
        let answer = call.json(&RepairRequest { keys, sources }).send_json().await;
        answer.map_err(|error| store_error(error, &self.shared.name, of(volume, epoch)))
    }

    /// See [`StoreHandle::start_compaction`](crate::StoreHandle::start_compaction).
    pub async fn start_compaction(&self, volume: VolumeId) -> Result<JobStatus, StoreError> {
        let answer = self.call(Method::POST, &format!("/{volume}/compact")).send_json().await;
        let error = |error| store_error(error, &self.shared.name, of(volume, Epoch::NONE));
        answer.map_err(error)
    }

    /// See [`StoreHandle::hold_scrub`](crate::StoreHandle::hold_scrub).
    pub async fn hold_scrub(&self, volume: VolumeId) -> Result<(), StoreError> {
        let call = self.call(Method::PUT, &format!("/{volume}/scrub-hold"));
        self.done(call, of(volume, Epoch::NONE)).await
    }

    /// See [`StoreHandle::job`](crate::StoreHandle::job).
    pub async fn job(&self, id: u64) -> Result<JobStatus, StoreError> {
        let answer = self.call(Method::GET, &format!("/jobs/{id}")).send_json().await;
        answer.map_err(|error| job_error(&error, &self.shared.name, id))
    }

    /// See [`StoreHandle::cancel_job`](crate::StoreHandle::cancel_job).
    pub async fn cancel_job(&self, id: u64) -> Result<(), StoreError> {
        let answer = self.call(Method::DELETE, &format!("/jobs/{id}")).send().await;
        answer.map(drop).map_err(|error| job_error(&error, &self.shared.name, id))
    }

    /// The store at this moment.
    pub async fn status(&self) -> Result<StoreStatus, StoreError> {
        let call = self.call(Method::GET, "/status").timeout(Some(STATUS_TIMEOUT));
        let answer = call.send_json().await;
        answer.map_err(|error| unavailable(&self.shared.name, &error))
    }

    fn call(&self, method: Method, path: &str) -> Call<'_> {
        let Shared { url, cluster, http, .. } = &*self.shared;
        http.request(method, format!("{url}{path}")).header(CLUSTER_HEADER, cluster.clone())
    }

    /// A call that is obeyed only if the volume knows no newer epoch.
    fn order(&self, method: Method, path: &str, epoch: Epoch) -> Call<'_> {
        self.call(method, path).header(EPOCH_HEADER, epoch.get().into())
    }

    /// Sends a call whose answer says nothing but that it is done.
    async fn done(&self, call: Call<'_>, subject: Subject) -> Result<(), StoreError> {
        let answer = call.send().await;
        answer.map(drop).map_err(|error| store_error(error, &self.shared.name, subject))
    }
}

fn of(volume: VolumeId, epoch: Epoch) -> Subject {
    Subject { volume, key: Key::new(0), epoch }
}

fn path(id: NeedleId) -> String {
    format!("/{}/{}/{}", id.volume, id.key, id.cookie)
}

/// Whether the answer's bytes are those of `range`.
fn covers(answer: &HeaderMap, range: &Range<u64>) -> bool {
    let position = answer.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let expected = format!("bytes {}-{}/", range.start, range.end.saturating_sub(1));
    position.is_some_and(|position| position.starts_with(&expected))
}
