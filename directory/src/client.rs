//! A directory on another machine, asked on its internal listener ([`crate::http::data`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hayrick_service::client::{Client, ClientError};
use hayrick_store::{NeedleId, VolumeId};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::directory_error;
use crate::http::wire::{
    Assign, Commit, CommitAnswer, DiscardNeedles, FailedWrite, List, Object, RemoveRow,
};
use crate::{
    BatchAssignment, Bucket, BucketName, ClusterMap, Committed, Condition, Coordinator,
    DirectoryError, HybridClock, ListPage, ListQuery, ObjectName, Row,
};

/// A page of 1,000 rows of the largest objects is more; it is asked for in smaller pages then.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Asks whichever directory answers. Clones share everything.
///
/// The cluster map does not come from there but from the coordinator, and versions from the
/// caller's own clock: both are at hand when no directory is.
#[derive(Clone)]
pub struct DirectoryClient {
    shared: Arc<Shared>,
}

struct Shared {
    /// `http://host:port` of each directory's internal listener.
    servers: Vec<String>,
    /// The one that answered last.
    current: AtomicUsize,
    http: Client,
    coordinator: Arc<dyn Coordinator>,
    clock: HybridClock,
}

impl DirectoryClient {
    /// Asks these servers, given as `http://host:port`.
    pub fn new(
        servers: Vec<String>,
        http: Client,
        coordinator: Arc<dyn Coordinator>,
        clock: HybridClock,
    ) -> Self {
        let current = AtomicUsize::new(0);
        Self { shared: Arc::new(Shared { servers, current, http, coordinator, clock }) }
    }

    pub(crate) fn map(&self) -> Arc<ClusterMap> {
        self.shared.coordinator.map()
    }

    pub(crate) fn next_version(&self) -> u64 {
        self.shared.clock.next()
    }

    pub(crate) async fn assign_many(
        &self,
        bucket: &Bucket,
        count: usize,
        size_bytes: u64,
    ) -> Result<BatchAssignment, DirectoryError> {
        let body = Assign { bucket: bucket.name.clone(), count, size_bytes };
        let answer = self.ask("assign", &body).await;
        answer.map_err(|error| directory_error(error, &bucket.name, size_bytes))
    }

    /// Nobody waits for this, and a directory that does not hear it finds out by itself.
    pub(crate) fn report_failed_write(&self, volume: VolumeId) {
        let this = self.clone();
        tokio::spawn(async move {
            let body = FailedWrite { volume };
            if let Err(error) = this.send("failed-write", &body).await {
                tracing::debug!(%volume, %error, "failed write not reported");
            }
        });
    }

    pub(crate) async fn commit(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        row: Row,
        condition: Condition,
    ) -> Result<Committed, DirectoryError> {
        let body = Commit { object: object(bucket, name), row, condition };
        let answer: Result<CommitAnswer, _> = self.ask("commit", &body).await;
        let committed = answer.map_err(|error| directory_error(error, bucket, 0))?.into_result();
        if let Err(DirectoryError::StaleVersion { current }) = committed {
            self.shared.clock.observe(current);
        }
        committed
    }

    pub(crate) async fn lookup(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
    ) -> Result<Option<Row>, DirectoryError> {
        let answer = self.ask("lookup", &object(bucket, name)).await;
        answer.map_err(|error| directory_error(error, bucket, 0))
    }

    pub(crate) async fn remove(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        condition: Condition,
    ) -> Result<Option<Row>, DirectoryError> {
        let body = RemoveRow { object: object(bucket, name), condition };
        let answer = self.ask("remove", &body).await;
        answer.map_err(|error| directory_error(error, bucket, 0))
    }

    pub(crate) async fn discard(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        stored: Vec<NeedleId>,
        unsure: Vec<NeedleId>,
    ) -> Result<(), DirectoryError> {
        let body = DiscardNeedles { object: object(bucket, name), stored, unsure };
        let answer = self.send("discard", &body).await;
        answer.map(drop).map_err(|error| directory_error(error, bucket, 0))
    }

    pub(crate) async fn list(
        &self,
        bucket: &BucketName,
        query: ListQuery,
    ) -> Result<ListPage, DirectoryError> {
        let answer = self.ask("list", &List { bucket: bucket.clone(), query }).await;
        answer.map_err(|error| directory_error(error, bucket, 0))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, ClientError> {
        let (url, answer) = self.send(what, body).await?;
        serde_json::from_slice(&answer).map_err(|source| ClientError::Decode { url, source })
    }

    /// Asks one server after another, the last good one first, until one can answer; answers
    /// who did, and what. Every request may be made twice: a commit carries its version, and a
    /// needle is only discarded if no name holds it.
    async fn send(
        &self,
        what: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<(String, Bytes), ClientError> {
        let Shared { servers, current, http, .. } = &*self.shared;
        let first = current.load(Ordering::Relaxed);
        let mut failed = None;
        for number in (0..servers.len()).map(|step| (first + step) % servers.len()) {
            let Some(server) = servers.get(number) else { break };
            let url = format!("{server}/directory/{what}");
            match http.post(&url).json(body).send_bytes(MAX_ANSWER_BYTES).await {
                Err(error) if helped_by_another_server(&error) => failed = Some(error),
                answer => {
                    current.store(number, Ordering::Relaxed);
                    return Ok((url, answer?));
                }
            }
        }
        Err(failed.unwrap_or_else(|| ClientError::BadUrl {
            url: String::new(),
            reason: "no directory is configured".to_owned(),
        }))
    }
}

fn object(bucket: &BucketName, name: &ObjectName) -> Object {
    Object { bucket: bucket.clone(), name: name.clone() }
}

/// Whether the server is the trouble, and not what it was asked.
fn helped_by_another_server(error: &ClientError) -> bool {
    error.is_unreachable() || error.status().is_some_and(|status| status.is_server_error())
}
