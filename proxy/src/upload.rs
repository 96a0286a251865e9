//! From a body to needles on every replica to a name.
//!
//! Needles first, then the name: a name never points at what is not there. Whatever is
//! stored and does not end up under the name is queued for deletion.

mod chunks;
mod place;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::BoxError;
use bytes::Bytes;
use futures::Stream;
use hayrick_directory::{
    Bucket, Committed, Condition, DirectoryError, NeedleRef, ObjectName, Row, version_ms,
};
use hayrick_store::{Chunk, Meta, NeedleId, StoreError};
use tokio::sync::SemaphorePermit;

pub use self::chunks::CHUNK_BYTES;
use self::chunks::Chunks;
use crate::Proxy;
use crate::memory::Full;

/// How often a commit is tried while others change the same name.
const MAX_COMMITS: usize = 16;

/// What is being stored, but for its bytes.
#[derive(Debug, Clone)]
pub struct NewObject {
    /// Where it goes.
    pub bucket: Bucket,
    /// What it will be called.
    pub name: ObjectName,
    /// Its media type.
    pub content_type: String,
    /// The uploader's own key and value pairs.
    pub user: Vec<(String, String)>,
    /// Its size, if the uploader told it.
    pub size_bytes: Option<u64>,
    /// What must hold of the name for the upload to take place.
    pub condition: Condition,
}

/// What became of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The object's row.
    pub row: Arc<Row>,
    /// Whether the name is new.
    pub created: bool,
}

/// Why an upload was not stored. Nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The body did not come to its end.
    #[error("the body broke off: {0}")]
    Body(BoxError),
    /// More bytes came than an object may have.
    #[error("the object is larger than {limit} bytes")]
    TooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// Too many bytes of uploads are in memory.
    #[error("too many uploads at once")]
    Busy,
    /// No store took a needle.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The directory gave no place or took no name.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl Proxy {
    /// Stores an object. Call it where it is not dropped halfway: what it has stored must
    /// be committed or discarded.
    pub async fn upload<S, E>(&self, object: NewObject, body: S) -> Result<Stored, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<BoxError>,
    {
        let mut upload = Upload::new(self, &object);
        let stored = upload.store_and_commit(body).await;
        upload.discard(stored.is_ok()).await;
        self.saw_stored(&object, stored)
    }

    /// Reads a body of at most one chunk into memory.
    pub async fn collect<S, E>(
        &self,
        body: S,
        size_bytes: Option<u64>,
    ) -> Result<Collected<'_>, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<BoxError>,
    {
        let seat = self.upload_memory.seat(size_bytes).await?;
        let mut chunks = Chunks::new(self, body, size_bytes);
        let (bytes, memory) = chunks.next().await?.unwrap_or_default();
        if !chunks.ended {
            return Err(UploadError::TooLarge { limit: CHUNK_BYTES as u64 });
        }
        Ok(Collected { bytes, _memory: (seat, memory) })
    }

    /// Stores an object that is in memory, with the same care as [`Proxy::upload`].
    pub async fn upload_collected(
        &self,
        object: NewObject,
        content: Collected<'_>,
    ) -> Result<Stored, UploadError> {
        let mut upload = Upload::new(self, &object);
        let stored = upload.store_whole_and_commit(content).await;
        upload.discard(stored.is_ok()).await;
        self.saw_stored(&object, stored)
    }

    fn saw_stored(
        &self,
        object: &NewObject,
        stored: Result<Stored, UploadError>,
    ) -> Result<Stored, UploadError> {
        if let Ok(stored) = &stored {
            self.names.saw(&object.bucket.name, &object.name, &stored.row);
        }
        stored
    }
}

/// A whole body, and the memory that it is in.
pub struct Collected<'a> {
    bytes: Bytes,
    _memory: (SemaphorePermit<'a>, Option<SemaphorePermit<'a>>),
}

impl Collected<'_> {
    /// What came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

struct Upload<'a> {
    proxy: &'a Proxy,
    object: &'a NewObject,
    version: u64,
    /// Stored on all replicas, in the object's order.
    needles: Vec<NeedleRef>,
    /// Perhaps stored on some replica, and of no use.
    abandoned: Vec<NeedleId>,
    /// The commit may have been made, or may still be.
    in_doubt: bool,
}

impl<'a> Upload<'a> {
    fn new(proxy: &'a Proxy, object: &'a NewObject) -> Self {
        let version = proxy.directory.next_version();
        let (needles, abandoned) = (Vec::new(), Vec::new());
        Self { proxy, version, object, needles, abandoned, in_doubt: false }
    }

    async fn store_whole_and_commit(
        &mut self,
        content: Collected<'_>,
    ) -> Result<Stored, UploadError> {
        let size_bytes = content.bytes.len() as u64;
        let meta = self.meta(None);
        self.place(content.bytes.clone(), meta).await?;
        self.commit(size_bytes).await
    }

    async fn store_and_commit<S, E>(&mut self, body: S) -> Result<Stored, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<BoxError>,
    {
        let size_bytes = self.store(body).await?;
        self.commit(size_bytes).await
    }

    /// Stores the body chunk by chunk: while one is on its way to disk, the next is read.
    async fn store<S, E>(&mut self, body: S) -> Result<u64, UploadError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<BoxError>,
    {
        let _seat = self.proxy.upload_memory.seat(self.object.size_bytes).await?;
        let mut chunks = Chunks::new(self.proxy, body, self.object.size_bytes);
        let mut next = chunks.next().await?;
        let mut index = 0;
        while let Some((data, memory)) = next {
            // An object that fits into one needle is no chunk of anything.
            let alone = index == 0 && chunks.ended;
            // The last one says that the upload was whole: names are rebuilt from that.
            let (count, object_size) = if chunks.ended {
                (index + 1, chunks.size_bytes)
            } else {
                (0, self.object.size_bytes.unwrap_or(0))
            };
            let chunk = Chunk { index, count, object_size };
            let placing = async {
                let meta = self.meta((!alone).then_some(chunk));
                let placed = self.place(data, meta).await;
                // Given back before the next chunk is there: uploads wait for each other's memory.
                drop(memory);
                placed
            };
            let (placed, read) = tokio::join!(placing, chunks.next());
            placed?;
            next = read?;
            index += 1;
        }
        Ok(chunks.size_bytes)
    }

    fn meta(&self, chunk: Option<Chunk>) -> Meta {
        Meta {
            bucket: self.object.bucket.name.to_string(),
            name: self.object.name.to_string(),
            content_type: self.object.content_type.clone(),
            version: self.version,
            chunk,
            user: self.object.user.clone(),
            upload: 0,
        }
    }

    async fn commit(&mut self, size_bytes: u64) -> Result<Stored, UploadError> {
        let Self { proxy, object, .. } = *self;
        let mut row = Row {
            version: self.version,
            size_bytes,
            content_type: object.content_type.as_str().into(),
            user: object.user.clone(),
            modified_ms: version_ms(self.version),
            needles: self.needles.as_slice().into(),
        };
        for _ in 0..MAX_COMMITS {
            let condition = object.condition.clone();
            let committed = proxy
                .directory
                .commit(&object.bucket.name, &object.name, row.clone(), condition)
                .await;
            match committed {
                Ok(Committed::Created) => return Ok(Stored { row: Arc::new(row), created: true }),
                Ok(Committed::Replaced(_) | Committed::Unchanged) => {
                    return Ok(Stored { row: Arc::new(row), created: false });
                }
                Ok(Committed::Superseded) => {
                    let reason = "a later change of the name hides whether it was stored";
                    return Err(DirectoryError::Unavailable(reason.to_owned()).into());
                }
                Err(DirectoryError::StaleVersion { .. }) => self.raise_version(&mut row).await?,
                Err(error) => {
                    self.in_doubt = matches!(error, DirectoryError::Unavailable(_));
                    return Err(error.into());
                }
            }
        }
        Err(DirectoryError::Busy.into())
    }

    /// Gives the object a version above what was done to its name while it was uploaded. The
    /// needles must tell of it, or a rebuild of the names would believe the other: one more
    /// chunk, without data, says so.
    async fn raise_version(&mut self, row: &mut Row) -> Result<(), UploadError> {
        let version = self.proxy.directory.next_version();
        let index = u32::try_from(self.needles.len()).unwrap_or(u32::MAX);
        let count = index.saturating_add(1);
        let chunk = Chunk { index, count, object_size: row.size_bytes };
        let meta = Meta { version, upload: self.version, ..self.meta(Some(chunk)) };
        self.place(Bytes::new(), meta).await?;
        row.version = version;
        row.modified_ms = version_ms(version);
        row.needles = self.needles.as_slice().into();
        Ok(())
    }

    /// Deletes what the name does not hold.
    async fn discard(mut self, committed: bool) {
        if self.in_doubt {
            // The directory may have the commit still before it. If its needles were deleted
            // by then, the name would lose what it held before and get nothing for it.
            let (bucket, name) = (&self.object.bucket.name, &self.object.name);
            tracing::warn!(%bucket, %name, needles = self.needles.len(), "kept, as it is not known whether the name holds them");
        }
        if committed || self.in_doubt {
            self.needles.clear();
        }
        let stored: Vec<_> = self.needles.iter().map(|needle| needle.id).collect();
        if stored.is_empty() && self.abandoned.is_empty() {
            return;
        }
        let NewObject { bucket, name, .. } = self.object;
        let discarded =
            self.proxy.directory.discard(&bucket.name, name, stored, self.abandoned).await;
        if let Err(error) = discarded {
            tracing::error!(bucket = %bucket.name, %name, %error, "leftovers of an upload not queued for deletion");
        }
    }
}

impl From<Full> for UploadError {
    fn from(Full: Full) -> Self {
        Self::Busy
    }
}

/// When the object was stored.
pub(crate) fn modified(row: &Row) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(row.modified_ms)
}
