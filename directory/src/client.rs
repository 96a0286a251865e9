//! A directory on another machine, asked on its internal listener ([`crate::http::data`]).

mod lookups;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt as _};
use hayrick_service::client::{Client, ClientError};
use hayrick_store::{NeedleId, VolumeId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use self::lookups::Lookup;
use self::servers::{Line, Server, Servers};
use crate::http::directory_error;
use crate::http::wire::{
    Assign, Commit, CommitAnswer, DiscardNeedles, FailedWrite, List, Object, RemoveRow,
};
use crate::{
    BatchAssignment, Bucket, BucketName, ClusterMap, Committed, Condition, Coordinator,
    DirectoryError, HybridClock, ListPage, ListQuery, ObjectName, Row,
};
use hayrick_service::gather::Gather;

/// A page of 1,000 rows of the largest objects is more; it is asked for in smaller pages then.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Asks for a name that need not be there: who answers has reached the names.
const PROBE: &[u8] = br#"[{"bucket":"probe","name":"probe"}]"#;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// When a directory has not answered by then, a second one is asked beside it.
const HEDGE: Duration = Duration::from_millis(500);

/// How often a removal is tried while others put the same name.
const MAX_REMOVALS: usize = 16;

/// How long an answer may take.
#[derive(Clone, Copy)]
struct Patience {
    limit: Duration,
    /// Whether names are changed by it: then no two directories are asked at once.
    changes: bool,
    /// Whether one that does not answer in time is beyond all doubt unwell. What takes a
    /// directory longer may wait for a store.
    telling: bool,
}

/// For reading a name.
const FOR_A_ROW: Patience =
    Patience { limit: Duration::from_secs(5), changes: false, telling: true };
/// For what may be asked of two directories at once.
const FOR_A_PLACE: Patience =
    Patience { limit: Duration::from_secs(30), changes: false, telling: false };
/// For changes of names: longer than those take that wait for a database that is away.
const FOR_A_CHANGE: Patience =
    Patience { limit: Duration::from_secs(15), changes: true, telling: false };

/// Asks whichever directory answers. Clones share everything.
///
/// The cluster map does not come from there but from the coordinator, and versions from the
/// caller's own clock: both are at hand when no directory is.
#[derive(Clone)]
pub struct DirectoryClient {
    shared: Arc<Shared>,
}

struct Shared {
    servers: Servers,
    lookups: Arc<Gather<Lookup>>,
    http: Client,
    coordinator: Arc<dyn Coordinator>,
    clock: HybridClock,
}

impl DirectoryClient {
    /// Asks these servers, given as `http://host:port`, and those on the cluster map.
    pub fn new(
        named: Vec<String>,
        http: Client,
        coordinator: Arc<dyn Coordinator>,
        clock: HybridClock,
    ) -> Self {
        let servers = Servers::new(named);
        let lookups = Gather::new(lookups::LIMITS);
        Self { shared: Arc::new(Shared { servers, lookups, http, coordinator, clock }) }
    }

    pub(crate) fn map(&self) -> Arc<ClusterMap> {
        self.shared.coordinator.map()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.shared.coordinator.subscribe()
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
        let answer = self.ask("assign", FOR_A_PLACE, &body).await;
        answer.map_err(|error| error.about(&bucket.name, size_bytes))
    }

    /// Nobody waits for this, and a directory that does not hear it finds out by itself.
    pub(crate) fn report_failed_write(&self, volume: VolumeId) {
        let this = self.clone();
        tokio::spawn(async move {
            let body = FailedWrite { volume };
            if let Err(error) = this.send("failed-write", FOR_A_PLACE, &body).await {
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
        let answer = self.send("commit", FOR_A_CHANGE, &body).await.and_then(|answer| {
            let committed: CommitAnswer = answer.decode()?;
            Ok((committed.into_result(), answer.in_doubt))
        });
        match answer.map_err(|error| error.about(bucket, 0))? {
            // One directory may have made the commit, and another change came before the next was
            // asked. Its needles may be queued for deletion: no other commit may have them.
            (Err(DirectoryError::StaleVersion { current }), in_doubt) => {
                self.shared.clock.observe(current);
                if in_doubt {
                    Ok(Committed::Superseded)
                } else {
                    Err(DirectoryError::StaleVersion { current })
                }
            }
            (committed, _) => committed,
        }
    }

    pub(crate) async fn remove(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        condition: Condition,
    ) -> Result<Option<Row>, DirectoryError> {
        if condition != Condition::None {
            return self.remove_if(bucket, name, condition).await;
        }
        for _ in 0..MAX_REMOVALS {
            let up_to = Condition::UpTo(self.next_version());
            match self.remove_if(bucket, name, up_to).await {
                // Put just now, or by a proxy whose clock is ahead.
                Err(DirectoryError::ConditionFailed { .. }) => {
                    let Some(row) = self.lookup(bucket, name).await? else { return Ok(None) };
                    self.shared.clock.observe(row.version);
                }
                removed => return removed,
            }
        }
        Err(DirectoryError::Busy)
    }

    async fn remove_if(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        condition: Condition,
    ) -> Result<Option<Row>, DirectoryError> {
        let body = RemoveRow { object: object(bucket, name), condition };
        let answer = self.ask("remove", FOR_A_CHANGE, &body).await;
        answer.map_err(|error| error.about(bucket, 0))
    }

    pub(crate) async fn discard(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        stored: Vec<NeedleId>,
        unsure: Vec<NeedleId>,
    ) -> Result<(), DirectoryError> {
        let body = DiscardNeedles { object: object(bucket, name), stored, unsure };
        let answer = self.send("discard", FOR_A_CHANGE, &body).await;
        answer.map(drop).map_err(|error| error.about(bucket, 0))
    }

    pub(crate) async fn list(
        &self,
        bucket: &BucketName,
        query: ListQuery,
    ) -> Result<ListPage, DirectoryError> {
        let answer = self.ask("list", FOR_A_PLACE, &List { bucket: bucket.clone(), query }).await;
        answer.map_err(|error| error.about(bucket, 0))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        what: &str,
        patience: Patience,
        body: &(impl Serialize + Sync),
    ) -> Result<T, AskError> {
        self.send(what, patience, body).await?.decode()
    }

    /// Asks one server after another, and the next beside one that is slow, until one can
    /// answer. Every request may be made twice: a commit carries its
    /// version, and a needle is only discarded if no name holds it.
    async fn send(
        &self,
        what: &str,
        patience: Patience,
        body: &(impl Serialize + Sync),
    ) -> Result<Answer, AskError> {
        let body = Bytes::from(serde_json::to_vec(body).map_err(ClientError::Encode)?);
        let Line { servers: mut line, to_probe } = self.shared.servers.line_up(&self.map());
        for server in to_probe {
            self.probe(server);
        }
        let mut last = line.pop_front().ok_or(AskError::Nobody)?;
        let ask =
            |server: &Arc<Server>| self.attempt(Arc::clone(server), what, patience, body.clone());
        let mut attempts = FuturesUnordered::from_iter([ask(&last)]);
        let (mut failed, mut in_doubt) = (AskError::Nobody, false);
        loop {
            tokio::select! {
                Some(answer) = attempts.next() => match answer {
                    Err(error) if helped_by_another_server(&error) => {
                        in_doubt |= patience.changes && !error.is_unsent();
                        // What one has said tells more than that another is not there.
                        if !error.is_unsent() || matches!(failed, AskError::Nobody) {
                            failed = error.into();
                        }
                    }
                    // Another may carry out yet what this one refuses.
                    Err(_) if in_doubt => return Err(failed),
                    answer => {
                        let (url, body) = answer?;
                        return Ok(Answer { url, body, in_doubt });
                    }
                },
                () = tokio::time::sleep(HEDGE), if !patience.changes && !line.is_empty() => {
                    metrics::counter!("hayrick_directory_hedged_requests_total").increment(1);
                    // Unless it answers first, it is asked last for a while.
                    last.failed(false);
                }
            }
            if let Some(next) = line.pop_front() {
                last = next;
                attempts.push(ask(&last));
            } else if attempts.is_empty() {
                return Err(failed);
            }
        }
    }

    /// Finds out whether a server answers again.
    fn probe(&self, server: Arc<Server>) {
        let this = self.clone();
        let asking = async move {
            this.attempt(server, "lookup", FOR_A_ROW, Bytes::from_static(PROBE)).await
        };
        // What comes of it is noted with the server.
        drop(tokio::spawn(asking));
    }

    async fn attempt(
        &self,
        server: Arc<Server>,
        what: &str,
        patience: Patience,
        body: Bytes,
    ) -> Result<(String, Bytes), ClientError> {
        let url = format!("{}/directory/{what}", server.url);
        let call = self.shared.http.post(&url).header(CONTENT_TYPE, JSON).body(body);
        let answer = call.timeout(Some(patience.limit)).send_bytes(MAX_ANSWER_BYTES).await;
        match &answer {
            Err(error) if helped_by_another_server(error) => {
                server.failed(patience.telling && is_silence(error));
            }
            _ => server.answered(),
        }
        Ok((url, answer?))
    }
}

/// What a directory answered.
struct Answer {
    /// What was asked of it.
    url: String,
    body: Bytes,
    /// Another one was asked for the same change before, and may have made it.
    in_doubt: bool,
}

impl Answer {
    fn decode<T: DeserializeOwned>(&self) -> Result<T, AskError> {
        let decoded = serde_json::from_slice(&self.body);
        Ok(decoded.map_err(|source| ClientError::Decode { url: self.url.clone(), source })?)
    }
}

/// Why no directory did what it was asked.
#[derive(Debug, thiserror::Error)]
enum AskError {
    /// The last one that was asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is none, or all were silent and are left alone for a while.
    #[error("no directory of the cluster answers")]
    Nobody,
    /// It has not answered what it was asked.
    #[error("a directory of the cluster answers other questions: is it of the same version?")]
    OtherQuestions,
}

impl AskError {
    /// What it means where `bucket` was asked about, for `size_bytes`.
    fn about(&self, bucket: &BucketName, size_bytes: u64) -> DirectoryError {
        match self {
            Self::Client(error) => directory_error(error, bucket, size_bytes),
            Self::Nobody | Self::OtherQuestions => DirectoryError::Unavailable(self.to_string()),
        }
    }
}

fn object(bucket: &BucketName, name: &ObjectName) -> Object {
    Object { bucket: bucket.clone(), name: name.clone() }
}

/// Whether the server is the trouble, and not what it was asked.
fn helped_by_another_server(error: &ClientError) -> bool {
    error.is_unreachable() || error.status().is_some_and(|status| status.is_server_error())
}

/// Whether a server was waited for in vain.
fn is_silence(error: &ClientError) -> bool {
    matches!(error, ClientError::Timeout { .. } | ClientError::Connect { timed_out: true, .. })
}

#[cfg(test)]
mod tests;
