//! Answering with parts.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response};
use axum::routing::get;
use bytes::BytesMut;
use futures::stream::{self, FuturesUnordered, StreamExt as _};
use hayrick_service::ApiError;

use super::{Frame, Part, parse};
use crate::error::StoreError;
use crate::store::Store;

pub(crate) fn router(store: Arc<Store>) -> Router {
    Router::new().route("/parts/{*list}", get(read)).with_state(store)
}

/// The answer to a path, if memory holds all that it asks for.
pub(crate) fn answer_at_once(store: &Store, path: &str) -> Option<Response<Bytes>> {
    let parts = parse(path.strip_prefix("/parts/")?).ok()?;
    let mut out = BytesMut::new();
    for (number, part) in (0..).zip(parts) {
        Frame::Found(number, cached(store, &part)?).encode(&mut out);
    }
    Some(answer(out.freeze()))
}

async fn read(
    State(store): State<Arc<Store>>,
    Path(list): Path<String>,
) -> Result<Response<Body>, ApiError> {
    let parts = parse(&list).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let mut out = BytesMut::new();
    let waiting = FuturesUnordered::new();
    for (number, part) in (0..).zip(parts) {
        match cached(&store, &part) {
            Some(bytes) => Frame::Found(number, bytes).encode(&mut out),
            None => waiting.push(wait_for(Arc::clone(&store), number, part)),
        }
    }
    Frame::Pause.encode(&mut out);
    let frames = stream::iter([out]).chain(waiting.map(|frame| {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        out
    }));
    Ok(answer(Body::from_stream(frames.map(|out| Ok::<_, Infallible>(out.freeze())))))
}

fn answer<B>(body: B) -> Response<B> {
    let mut answer = Response::new(body);
    let content_type = HeaderValue::from_static(super::CONTENT_TYPE);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// The bytes of a part, verified, if memory holds them.
fn cached(store: &Store, part: &Part) -> Option<Bytes> {
    let needle = store.open_cached_whole(part.id)?;
    let data = needle.stored().whole()?;
    let at = |position| usize::try_from(position).ok();
    let (start, end) = (at(part.range.start)?, at(part.range.end)?);
    (end <= data.len()).then(|| data.slice(start..end))
}

async fn wait_for(store: Arc<Store>, number: u16, part: Part) -> Frame {
    let length = part.range.end - part.range.start;
    let found = async { store.open_needle(part.id).await?.read(part.range.clone()).await };
    match found.await {
        Ok(bytes) if bytes.len() as u64 == length => Frame::Found(number, bytes),
        // These have been counted, and too many of them close a volume to writes: once is enough.
        Err(error @ StoreError::Corrupt { .. }) => {
            tracing::error!(needle = %part.id, %error, "needle not read");
            Frame::Damaged(number)
        }
        Err(error @ StoreError::Io { .. }) => {
            tracing::error!(needle = %part.id, %error, "needle not read");
            Frame::Unread(number)
        }
        _ => Frame::Alone(number),
    }
}
