//! `GET` and `HEAD` of objects.

use std::ops::Range;
use std::sync::Arc;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use hayrick_directory::{Access, Bucket, BucketName, DirectoryError, ObjectName};
use hayrick_service::ApiError;
use hayrick_service::download::{Content, respond};
use hayrick_store::StoreError;
use hayrick_store::volume::WHOLE_READ_BYTES;

use super::error::{
    directory_error, names_unknown, no_such_object, read_error, refused_picture, too_many_downloads,
};
use super::picture::Wanted;
use super::plain::Known;
use super::validators::{needle_header, validators};
use super::{Call, DEGRADED_HEADER, NEEDLE_HEADER, USER_PREFIX};
use crate::Proxy;
use crate::memory::Full;
use crate::names::{Found, is_away};
use hayrick_images::Suffix;

/// Asks in a query for what is known of a picture.
const INFO: &str = "info";

/// For whatever might run in a browser: it may show, and nothing else.
const SANDBOX: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Why an object's bytes are not sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsent {
    #[error("too many downloads at once")]
    Full,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Full> for Unsent {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

impl Unsent {
    pub(super) fn into_api_error(self, from_memory: bool) -> ApiError {
        match self {
            Self::Full => too_many_downloads(Full),
            // It may be another object's name by now, or nobody's.
            Self::Store(StoreError::NotFound) if from_memory => names_unknown(),
            Self::Store(error) => read_error(error),
        }
    }
}

impl Call {
    pub(super) async fn download(
        mut self,
        bucket: &BucketName,
        name: ObjectName,
    ) -> Result<Response, ApiError> {
        let path = name.as_str();
        let bucket = self.bucket(bucket)?;
        let base = hayrick_images::split(path).map(|(base, _)| base);
        // Elsewhere such a path is an object's own, which a token for another does not open.
        let legacy = || Suffix::of_legacy_path(path).filter(|_| bucket.images.legacy_sizes);
        let base = base.or_else(|| legacy().map(|(base, _)| base));
        let names: Vec<&str> = [Some(path), base].into_iter().flatten().collect();
        self.may_read(&bucket, &names)?;
        let (found, unread) = match self.known.take() {
            Some(Known { found, unread }) => (Ok(found), unread),
            None => (self.proxy.look_up(&bucket.name, &name).await, None),
        };
        match found {
            Ok(Some(found)) if self.has_flag(INFO) => return self.send_info(&bucket, &found).await,
            Ok(Some(found)) => {
                return self.send_object(&bucket, &name, found, unread).await;
            }
            Ok(None) => {}
            Err(error) => return self.send_remembered_picture(&bucket, &name, error).await,
        }
        let Some(wanted) = self.wanted(&bucket, path)? else { return Err(no_such_object()) };
        let object: ObjectName = wanted.object.parse().map_err(|_| no_such_object())?;
        let found = self.lookup(&bucket, &object).await?.ok_or_else(no_such_object)?;
        self.send_picture(&bucket, &found, wanted).await
    }

    /// The picture that a path asks for, if the request may have it.
    fn wanted<'a>(&self, bucket: &Bucket, path: &'a str) -> Result<Option<Wanted<'a>>, ApiError> {
        let wanted = Wanted::of_path(path, &bucket.images).map_err(refused_picture)?;
        if bucket.images.signed && wanted.as_ref().is_some_and(|wanted| !wanted.is_preset) {
            self.check_signed(bucket, path)?;
        }
        Ok(wanted)
    }

    /// Where no directory tells whether there is an object of this name, and none was seen, it
    /// may be that of a picture of one that was.
    async fn send_remembered_picture(
        self,
        bucket: &Bucket,
        name: &ObjectName,
        error: DirectoryError,
    ) -> Result<Response, ApiError> {
        let remembered = || {
            let wanted = self.wanted(bucket, name.as_str()).ok()??;
            Some((self.proxy.recall(&bucket.name, &wanted.object.parse().ok()?)?, wanted))
        };
        match remembered().filter(|_| is_away(&error)) {
            Some((found, wanted)) => self.send_picture(bucket, &found, wanted).await,
            None => Err(directory_error(error)),
        }
    }

    async fn lookup(&self, bucket: &Bucket, name: &ObjectName) -> Result<Option<Found>, ApiError> {
        self.proxy.look_up(&bucket.name, name).await.map_err(directory_error)
    }

    async fn send_object(
        self,
        bucket: &Bucket,
        name: &ObjectName,
        mut found: Found,
        unread: Option<StoreError>,
    ) -> Result<Response, ApiError> {
        let mut sent = match unread {
            Some(error) => Err(error.into()),
            None => self.send_row(bucket, &found).await,
        };
        if matches!(sent, Err(Unsent::Store(StoreError::NotFound))) && !found.from_memory {
            // Replaced, and the old needles deleted, since the name was looked up.
            found = self.lookup(bucket, name).await?.ok_or_else(no_such_object)?;
            sent = self.send_row(bucket, &found).await;
        }
        sent.map_err(|unsent| unsent.into_api_error(found.from_memory))
    }

    pub(super) async fn send_row(
        &self,
        bucket: &Bucket,
        found: &Found,
    ) -> Result<Response, Unsent> {
        let content = content(&self.proxy, bucket, found);
        let (proxy, row) = (Arc::clone(&self.proxy), Arc::clone(&found.row));
        let open = move |range: Range<u64>| {
            let (proxy, row) = (Arc::clone(&proxy), Arc::clone(&row));
            async move {
                let in_memory = (range.end - range.start).min(WHOLE_READ_BYTES);
                let memory = proxy.download_memory.lend(in_memory)?;
                let pieces = proxy.read_object(&row, range).await?.map(log_error);
                Ok(pieces.map(move |piece| piece.map(|bytes| memory.with(bytes))))
            }
        };
        respond(&self.method, &self.headers, content, open).await
    }
}

/// What an answer with an object says of it.
pub(super) fn content(proxy: &Proxy, bucket: &Bucket, found: &Found) -> Content {
    let row = &*found.row;
    let mut headers = object_headers(proxy, bucket, found, &row.content_type);
    headers.extend(needle_header(row).map(|value| (NEEDLE_HEADER, value)));
    for (key, value) in &row.user {
        let name = HeaderName::try_from(format!("{USER_PREFIX}{key}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    let octets = HeaderValue::from_static("application/octet-stream");
    let content_type = match row.content_type.as_usual() {
        Some(usual) => HeaderValue::from_static(usual),
        None => HeaderValue::from_str(&row.content_type).unwrap_or(octets),
    };
    Content { content_type, size_bytes: row.size_bytes, validators: validators(row), headers }
}

/// What goes with everything that an uploader made.
pub(super) fn object_headers(
    proxy: &Proxy,
    bucket: &Bucket,
    found: &Found,
    content_type: &str,
) -> HeaderMap {
    // Room for those that the answer gets besides.
    let mut headers = HeaderMap::with_capacity(12);
    let cache_control = match bucket.read {
        // It may be an old one: whoever keeps it has to ask.
        Access::Public if found.from_memory => HeaderValue::from_static("public, no-cache"),
        Access::Public => proxy.options.cache_control.clone(),
        Access::Private => HeaderValue::from_static("private, no-cache"),
    };
    headers.insert(CACHE_CONTROL, cache_control);
    if found.from_memory {
        headers.insert(DEGRADED_HEADER, HeaderValue::from_static("names"));
    }
    if !is_plain_media(content_type) {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SANDBOX));
    }
    headers
}

/// Pictures, sound and film that can run nothing.
fn is_plain_media(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    !kind.contains("svg")
        && ["image/", "video/", "audio/"].iter().any(|media| kind.starts_with(media))
}

/// The head of the answer is gone by now, so this is where the error is handled.
fn log_error(piece: Result<Bytes, StoreError>) -> Result<Bytes, Unsent> {
    piece.map_err(|error| {
        tracing::error!(%error, "answer cut short");
        Unsent::Store(error)
    })
}
