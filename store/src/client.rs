//! A store on another machine, asked on its internal listener ([`crate::http::data`]).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, HeaderValue, Method};
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use hayrick_service::client::{Call, Client};
use uuid::Uuid;

use crate::error::StoreError;
use crate::format::meta::Meta;
use crate::http::{CLUSTER_HEADER, META_HEADER, batch, meta_value, store_error, unavailable};
use crate::id::{Key, NeedleId, VolumeId};
use crate::status::StoreStatus;
use crate::volume::NewNeedle;

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
        Self { shared: Arc::new(Shared { name, url, cluster, http }) }
    }

    /// Stores needles in one volume: all of them or none, durable when this returns.
    pub async fn put(&self, volume: VolumeId, needles: &[NewNeedle]) -> Result<(), StoreError> {
        let malformed = |error| StoreError::Malformed(format!("needles not encoded: {error}"));
        let pieces = batch::encode(needles).map_err(malformed)?;
        let size_bytes: usize = pieces.iter().map(Bytes::len).sum();
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, StoreError>)));
        let call = self.call(Method::POST, &format!("/{volume}"));
        let call = call
            .header(CONTENT_TYPE, HeaderValue::from_static(batch::CONTENT_TYPE))
            .header(CONTENT_LENGTH, size_bytes.into())
            .body(body);
        // A refused key is told without its number; a lone needle's is known.
        let key = needles.first().map_or(Key::new(0), |needle| needle.key);
        match call.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(store_error(error, &self.shared.name, volume, key)),
        }
    }

    /// The bytes of `range` of a needle, which must not be empty. The store has verified them;
    /// where it cannot, the stream ends in an error and never short.
    pub async fn read(
        &self,
        id: NeedleId,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, StoreError>> + Send + use<>, StoreError> {
        let wanted = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
        let wanted = HeaderValue::try_from(wanted)
            .map_err(|error| StoreError::Malformed(error.to_string()))?;
        let call = self.call(Method::GET, &path(id)).header(RANGE, wanted);
        let answer = call.send().await.map_err(|error| self.error(error, id))?;
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
    pub async fn delete(&self, id: NeedleId, removed: &Meta) -> Result<bool, StoreError> {
        let removed = meta_value(removed)
            .map_err(|error| StoreError::Malformed(format!("removal not encoded: {error}")))?;
        let call = self.call(Method::DELETE, &path(id)).header(META_HEADER, removed);
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error) => match self.error(error, id) {
                StoreError::NotFound => Ok(false),
                error => Err(error),
            },
        }
    }

    /// Makes an empty volume. One that is there already is a success.
    pub async fn create_volume(&self, volume: VolumeId) -> Result<(), StoreError> {
        match self.call(Method::PUT, &format!("/{volume}")).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(store_error(error, &self.shared.name, volume, Key::new(0))),
        }
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

    fn error(&self, error: hayrick_service::client::ClientError, id: NeedleId) -> StoreError {
        store_error(error, &self.shared.name, id.volume, id.key)
    }
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
