//! `PUT`, `POST` and `DELETE`.

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use hayrick_directory::{Bucket, BucketName, Condition, ObjectName};
use hayrick_images::{Focus, Suffix};
use hayrick_service::ApiError;
use hayrick_service::request;
use sha1::{Digest as _, Sha1};

use super::error::{directory_error, no_such_object, upload_error};
use super::picture::{FOCUS_KEY, ahead};
use super::validators::{etag_text, needle_header, parse_version};
use super::{Call, NEEDLE_HEADER, USER_PREFIX, path};
use crate::upload::{CHUNK_BYTES, NewObject, Stored};

/// Most bytes of the uploader's own metadata.
const MAX_USER_BYTES: usize = 8 << 10;

impl Call {
    pub(super) async fn store(
        self,
        bucket: &BucketName,
        name: ObjectName,
        body: Body,
    ) -> Result<Response, ApiError> {
        let bucket = self.may_write(bucket, name.as_str())?;
        let size_bytes = self.announced_size(self.proxy.options.max_object_bytes)?;
        let object = self.new_object(bucket, name, size_bytes)?;
        to_the_end(async move {
            let location = path::encode(&object.bucket.name, &object.name);
            let pictures = ahead(&object.bucket.images);
            let stored = self.proxy.upload(object, body.into_data_stream()).await;
            self.answer(&stored.map_err(upload_error)?, &location, pictures)
        })
        .await
    }

    /// bfs names an object by the SHA-1 of its content when the client does not.
    pub(super) async fn store_by_digest(
        self,
        bucket: &BucketName,
        body: Body,
    ) -> Result<Response, ApiError> {
        let bucket = self.may_write(bucket, "")?;
        let announced = self.announced_size(CHUNK_BYTES as u64)?;
        to_the_end(async move {
            let content = self.proxy.collect(body.into_data_stream(), announced).await;
            let content = content.map_err(upload_error)?;
            let digest = Sha1::digest(content.bytes());
            let name = format!("{digest:x}{}", extension(&self.headers));
            let name = name.parse().map_err(ApiError::internal)?;
            let object = self.new_object(bucket, name, Some(content.bytes().len() as u64))?;
            let location = path::encode(&object.bucket.name, &object.name);
            let pictures = ahead(&object.bucket.images);
            let stored = self.proxy.upload_collected(object, content).await;
            self.answer(&stored.map_err(upload_error)?, &location, pictures)
        })
        .await
    }

    pub(super) async fn remove(
        self,
        bucket: &BucketName,
        name: ObjectName,
    ) -> Result<Response, ApiError> {
        let bucket = self.may_write(bucket, name.as_str())?;
        let condition = condition(&self.headers)?;
        let removed = self.proxy.directory.remove(&bucket.name, &name, condition).await;
        let removed = removed.map_err(directory_error)?;
        self.proxy.names.forget(&bucket.name, &name);
        match removed {
            Some(_) => Ok(StatusCode::NO_CONTENT.into_response()),
            None => Err(no_such_object()),
        }
    }

    /// The size that the client announced. One that is too large is refused before a byte is read.
    fn announced_size(&self, limit: u64) -> Result<Option<u64>, ApiError> {
        let announced =
            self.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        match announced {
            Some(size) if size > limit => Err(ApiError::too_large(limit)),
            size => Ok(size),
        }
    }

    /// Tells that the object is stored, and has these pictures of it made.
    fn answer(
        &self,
        stored: &Stored,
        location: &str,
        pictures: Vec<Suffix>,
    ) -> Result<Response, ApiError> {
        self.proxy.make_ahead(&stored.row, pictures);
        answer(stored, location)
    }

    fn new_object(
        &self,
        bucket: Bucket,
        name: ObjectName,
        size_bytes: Option<u64>,
    ) -> Result<NewObject, ApiError> {
        Ok(NewObject {
            bucket,
            content_type: content_type(&self.headers, &name)?,
            name,
            user: user_metadata(&self.headers)?,
            size_bytes,
            condition: condition(&self.headers)?,
        })
    }
}

/// Stores an object in a task of its own: a client that goes away must not leave half of
/// it behind, and what it has left must be queued for deletion.
async fn to_the_end(
    task: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
) -> Result<Response, ApiError> {
    let task = match request::current() {
        Some(context) => tokio::spawn(context.scope(task)),
        None => tokio::spawn(task),
    };
    task.await.map_err(ApiError::internal)?
}

fn answer(stored: &Stored, location: &str) -> Result<Response, ApiError> {
    let status = if stored.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut answer = status.into_response();
    let headers = answer.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_str(location).map_err(ApiError::internal)?);
    headers
        .insert(ETAG, HeaderValue::from_str(&etag_text(&stored.row)).map_err(ApiError::internal)?);
    headers.extend(needle_header(&stored.row).map(|value| (NEEDLE_HEADER, value)));
    Ok(answer)
}

/// What the client says it is, else what the name's extension says.
fn content_type(headers: &HeaderMap, name: &ObjectName) -> Result<String, ApiError> {
    let Some(sent) = headers.get(CONTENT_TYPE) else {
        return Ok(mime_guess::from_path(name.as_str()).first_or_octet_stream().to_string());
    };
    let text = sent.to_str().ok().filter(|text| text.len() <= 255);
    text.map(str::to_owned).ok_or_else(|| {
        ApiError::bad_request("Content-Type must be at most 255 characters of ASCII")
    })
}

/// A usual extension for the content type, with its dot.
fn extension(headers: &HeaderMap) -> String {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let usual = match sent.map(|text| text.split(';').next().unwrap_or_default().trim()) {
        Some("image/jpeg") => Some("jpg"),
        Some(other) => {
            mime_guess::get_mime_extensions_str(other).and_then(|all| all.first().copied())
        }
        None => None,
    };
    usual.map(|extension| format!(".{extension}")).unwrap_or_default()
}

fn user_metadata(headers: &HeaderMap) -> Result<Vec<(String, String)>, ApiError> {
    let mut pairs = Vec::new();
    for (name, value) in headers {
        let Some(key) = name.as_str().strip_prefix(USER_PREFIX) else { continue };
        let value = value.to_str().map_err(|_| {
            ApiError::bad_request(format!("{name} must be ASCII; encode anything else"))
        })?;
        if key == FOCUS_KEY {
            value.parse::<Focus>().map_err(|error| {
                ApiError::bad_request(format!("{name}: {error}")).with_code("InvalidArgument")
            })?;
        }
        pairs.push((key.to_owned(), value.to_owned()));
    }
    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_USER_BYTES {
        let message =
            format!("{USER_PREFIX}* headers may have {MAX_USER_BYTES} bytes in all, not {bytes}");
        return Err(ApiError::bad_request(message));
    }
    Ok(pairs)
}

/// What the request demands of the present object, for the directory to decide in one step.
fn condition(headers: &HeaderMap) -> Result<Condition, ApiError> {
    let text = |name| {
        headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim())
    };
    match (text(IF_NONE_MATCH), text(IF_MATCH)) {
        (None, None) => Ok(Condition::None),
        (Some("*"), None) => Ok(Condition::IfAbsent),
        (None, Some("*")) => Ok(Condition::IfPresent),
        (None, Some(tags)) => {
            // A tag that is not ours matches nothing.
            Ok(Condition::IfMatch(
                tags.split(',').filter_map(|tag| parse_version(tag.trim())).collect(),
            ))
        }
        (Some(_), _) => Err(ApiError::bad_request(
            "for a change, If-None-Match takes only *, and not together with If-Match",
        )),
    }
}
