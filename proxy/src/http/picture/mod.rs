//! `GET` and `HEAD` of resized pictures.

mod ahead;
mod negotiate;
mod wanted;

use std::convert::Infallible;
use std::future::ready;
use std::ops::Range;

use axum::http::header::{CACHE_CONTROL, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use hayrick_directory::{Access, Bucket, OnImageError, Row};
use hayrick_images::{Focus, Suffix};
use hayrick_service::ApiError;
use hayrick_service::conditional::{ETag, Outcome, Validators, evaluate};
use hayrick_service::download::{Content, respond};
use hayrick_store::StoreError;

use self::negotiate::negotiate;
use super::download::object_headers;
use super::error::{image_error, names_unknown, read_error, too_many_downloads};
use super::{ANIMATION_HEADER, Call, IMAGE_HEADER};
use crate::names::Found;
use crate::pictures::{NoPicture, Picture};
use crate::upload::modified;
pub(super) use ahead::ahead;
pub(super) use wanted::{Refusal, Wanted};

/// The uploader's metadata of this name is the point that crops keep in view.
pub(super) const FOCUS_KEY: &str = "focus";

/// How long a cache keeps the object that stands in for its picture: some day there may be one.
const STAND_IN_CACHE_CONTROL: &str = "max-age=60";

impl Call {
    /// Sends what `wanted` asks for of the object found.
    pub(super) async fn send_picture(
        self,
        bucket: &Bucket,
        found: &Found,
        wanted: Wanted<'_>,
    ) -> Result<Response, ApiError> {
        let Wanted { mut suffix, is_legacy, .. } = wanted;
        let policy = &bucket.images;
        let mut headers = HeaderMap::new();
        if suffix.format.is_none() && !policy.negotiate.is_empty() {
            let is_animated = &*found.row.content_type == "image/gif";
            suffix.format = negotiate(&self.headers, &policy.negotiate, is_animated);
            headers.insert(VARY, HeaderValue::from_static("Accept"));
        }
        suffix.focus = focus(&found.row);
        let or_original = is_legacy || policy.on_error == OnImageError::Original;
        match self.respond_with_picture(bucket, found, suffix, headers).await {
            Err(error) if or_original && is_of_the_picture(&error) => {
                self.send_stand_in(bucket, found).await
            }
            answer => answer,
        }
    }

    /// Sends what is known of the picture that the object is.
    pub(super) async fn send_info(
        self,
        bucket: &Bucket,
        found: &Found,
    ) -> Result<Response, ApiError> {
        self.respond_with_picture(bucket, found, Suffix::info(), HeaderMap::new()).await
    }

    async fn respond_with_picture(
        &self,
        bucket: &Bucket,
        found: &Found,
        suffix: Suffix,
        mut headers: HeaderMap,
    ) -> Result<Response, ApiError> {
        let row = &*found.row;
        // One entity tag for each object version, operation and encoder.
        let operation = crc32fast::hash(self.proxy.pictures.operation(&suffix).as_bytes());
        let etag = format!("\"{:x}-{operation:08x}\"", row.version);
        let validators =
            Validators { etag: etag.parse::<ETag>().ok(), last_modified: Some(modified(row)) };
        let picture = match evaluate(&self.method, &self.headers, Some(&validators)) {
            Outcome::Proceed => Some(self.picture(found, suffix).await?),
            // The client has it, or wants another: no pixel is touched for that.
            Outcome::NotModified | Outcome::PreconditionFailed => None,
        };
        let content_type = picture.as_ref().map_or("", |picture| picture.format.content_type());
        if picture.as_ref().is_some_and(|picture| picture.animation_dropped) {
            headers.insert(ANIMATION_HEADER, HeaderValue::from_static("dropped"));
        }
        let bytes = picture.map_or_else(Bytes::new, |picture| picture.bytes);
        let memory = self.proxy.download_memory.lend(bytes.len() as u64);
        let bytes = memory.map_err(too_many_downloads)?.with(bytes);
        headers.extend(object_headers(&self.proxy, bucket, found, content_type));
        let content = Content {
            content_type: HeaderValue::from_static(content_type),
            size_bytes: bytes.len() as u64,
            validators,
            headers,
        };
        let open = move |range: Range<u64>| {
            let at = |position| usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
            ready(Ok(stream::iter([Ok(bytes.slice(at(range.start)..at(range.end)))])))
        };
        let Ok(answer) =
            respond::<_, _, _, Infallible>(&self.method, &self.headers, content, open).await;
        Ok(answer)
    }

    async fn picture(&self, found: &Found, suffix: Suffix) -> Result<Picture, ApiError> {
        self.proxy.picture(&found.row, suffix).await.map_err(|error| match error {
            NoPicture::Image(error) => image_error(error),
            NoPicture::Source(StoreError::NotFound) if found.from_memory => names_unknown(),
            NoPicture::Source(error) => read_error(error),
        })
    }

    /// Sends the object in the place of a picture that cannot be made of it.
    async fn send_stand_in(&self, bucket: &Bucket, found: &Found) -> Result<Response, ApiError> {
        let sent = self.send_row(bucket, found).await;
        let mut answer = sent.map_err(|unsent| unsent.into_api_error(found.from_memory))?;
        let headers = answer.headers_mut();
        headers.insert(IMAGE_HEADER, HeaderValue::from_static("passthrough"));
        if bucket.read == Access::Public {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(STAND_IN_CACHE_CONTROL));
        }
        Ok(answer)
    }
}

/// Whether asking again would fail again, through no fault of the request.
fn is_of_the_picture(error: &ApiError) -> bool {
    matches!(
        error.status,
        StatusCode::UNPROCESSABLE_ENTITY
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::INTERNAL_SERVER_ERROR
    )
}

/// The point that the uploader wants kept in view.
fn focus(row: &Row) -> Option<Focus> {
    let (_, text) = row.user.iter().find(|(key, _)| key == FOCUS_KEY)?;
    text.parse().ok()
}
