//! `GET` and `HEAD` of resized pictures.

use std::convert::Infallible;
use std::future::ready;
use std::ops::Range;

use axum::http::HeaderValue;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use hayrick_directory::Bucket;
use hayrick_service::ApiError;
use hayrick_service::conditional::{ETag, Outcome, Validators, evaluate};
use hayrick_service::download::{Content, respond};
use hayrick_store::StoreError;

use super::Call;
use super::error::{image_error, names_unknown, read_error, too_many_downloads};
use crate::image::Suffix;
use crate::names::Found;
use crate::pictures::{NoPicture, Picture};
use crate::upload::modified;

impl Call {
    pub(super) async fn send_picture(
        self,
        bucket: &Bucket,
        found: &Found,
        suffix: Suffix,
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
        let bytes = picture.map_or_else(Bytes::new, |picture| picture.bytes);
        let memory = self.proxy.download_memory.lend(bytes.len() as u64);
        let bytes = memory.map_err(too_many_downloads)?.with(bytes);
        let content = Content {
            content_type: HeaderValue::from_static(content_type),
            size_bytes: bytes.len() as u64,
            validators,
            headers: self.object_headers(bucket, found, content_type),
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
}
