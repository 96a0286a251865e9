//! `GET /{bucket}`: a page of names.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use hayrick_directory::{BucketName, ListQuery, MAX_LIST_LIMIT, ObjectName, Row};
use hayrick_service::ApiError;
use serde::{Deserialize, Serialize};

use super::Call;
use super::error::{directory_error, too_many_downloads};
use super::validators::etag_text;

#[derive(Deserialize)]
struct Query {
    #[serde(default)]
    prefix: String,
    delimiter: Option<String>,
    cursor: Option<String>,
    limit: Option<usize>,
}

/// A page of a bucket's names, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The bucket.
    pub bucket: String,
    /// What all names here begin with.
    pub prefix: String,
    /// The objects.
    pub objects: Vec<ListedObject>,
    /// What names that have the delimiter behind the prefix begin with, up to and with it.
    pub prefixes: Vec<String>,
    /// Ask with this as `cursor` for the next page; `None` at the end.
    pub next_cursor: Option<String>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedObject {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// Its entity tag, with the quotes.
    pub etag: String,
    /// Its media type.
    pub content_type: String,
    /// When it was stored, in milliseconds since 1970.
    pub modified_ms: u64,
}

impl Call {
    pub(super) async fn list(self, bucket: &BucketName) -> Result<Response, ApiError> {
        let bucket = self.bucket(bucket)?;
        self.may_read(&bucket, &[""])?;
        let Query { prefix, delimiter, cursor, limit } = self.query()?;
        let limit = limit.unwrap_or(MAX_LIST_LIMIT);
        // An empty parameter is as good as none.
        let (delimiter, cursor) =
            (delimiter.filter(|text| !text.is_empty()), cursor.filter(|text| !text.is_empty()));
        let query = ListQuery { prefix: prefix.clone(), delimiter, cursor, limit };
        let page = self.proxy.directory.list(&bucket.name, query).await.map_err(directory_error)?;
        let listing = Listing {
            bucket: bucket.name.to_string(),
            prefix,
            objects: page.objects.into_iter().map(|(name, row)| listed(&name, row)).collect(),
            prefixes: page.prefixes,
            next_cursor: page.cursor,
        };
        let text = Bytes::from(serde_json::to_vec(&listing).map_err(ApiError::internal)?);
        let memory = self.proxy.download_memory.lend(text.len() as u64);
        let text = memory.map_err(too_many_downloads)?.with(text);
        let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
        Ok((headers, text).into_response())
    }
}

fn listed(name: &ObjectName, row: Row) -> ListedObject {
    ListedObject {
        name: name.to_string(),
        size_bytes: row.size_bytes,
        etag: etag_text(&row),
        content_type: row.content_type.into(),
        modified_ms: row.modified_ms,
    }
}
