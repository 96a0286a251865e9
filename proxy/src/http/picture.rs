//! `GET` and `HEAD` of resized pictures.

use std::convert::Infallible;
use std::future::ready;
use std::ops::Range;

use axum::http::HeaderValue;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use hayrick_directory::{Bucket, Row};
use hayrick_service::ApiError;
use hayrick_service::conditional::{ETag, Outcome, Validators, evaluate};
use hayrick_service::download::{Content, respond};
use hayrick_store::StoreError;

use super::Call;
use super::error::{image_error, names_unknown, read_error, too_many_downloads};
use crate::image::{ENCODER_EPOCH, ImageError, Output, Suffix};
use crate::names::Found;
use crate::upload::modified;

impl Call {
    pub(super) async fn send_picture(
        self,
        bucket: &Bucket,
        found: &Found,
        suffix: Suffix,
    ) -> Result<Response, ApiError> {
        let row = &*found.row;
        let validators = validators(row, &suffix);
        let output = if evaluate(&self.method, &self.headers, Some(&validators)) == Outcome::Proceed
        {
            Some(self.transform(found, suffix).await?)
        } else {
            None // The client has it, or wants another: no pixel is touched for that.
        };
        let content_type = output.as_ref().map_or("", |output| output.format.content_type());
        let bytes = output.map_or_else(Bytes::new, |output| output.bytes.into());
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

    async fn transform(&self, found: &Found, suffix: Suffix) -> Result<Output, ApiError> {
        let (proxy, row) = (&self.proxy, &found.row);
        proxy.imager.settings().limits.check_bytes(row.size_bytes).map_err(image_error)?;
        // Taken before the source is read: what waits for a thread waits in memory.
        let _slot = proxy.image_slots.try_acquire().map_err(|_| image_error(ImageError::Busy))?;
        let source = proxy.load_object(row).await.map_err(|error| match error {
            StoreError::NotFound if found.from_memory => names_unknown(),
            error => read_error(error),
        })?;
        proxy.imager.transform(source, suffix).await.map_err(image_error)
    }
}

/// One entity tag for each object version, operation and encoder.
fn validators(row: &Row, suffix: &Suffix) -> Validators {
    let operation = crc32fast::hash(suffix.canonical().as_bytes());
    let etag = format!("\"{:x}-{operation:08x}-{ENCODER_EPOCH}\"", row.version);
    Validators { etag: etag.parse::<ETag>().ok(), last_modified: Some(modified(row)) }
}
