//! Reading a needle from whichever of its replicas answers.
//!
//! One replica is asked first. Another is asked when that one fails, and also when it takes
//! longer than 19 of 20 reads do (a hedged request: Dean and Barroso, The Tail at Scale,
//! CACM 2013). Where an answer breaks off, the rest is read from another replica. Replicas that
//! turn out to lack the needle, or to have it damaged, are repaired behind the answer.

mod health;
mod latency;
mod repair;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::stream::{self, FuturesUnordered, StreamExt as _};
use hayrick_directory::StoreId;
use hayrick_service::request::current_id;
use hayrick_store::{NeedleBytes, NeedleId, StoreError, StoreHandle};
use metrics::counter;

use self::health::Health;
use self::latency::Latency;
use self::repair::{Repairs, is_repairable};
use crate::Proxy;

/// How the stores have answered so far.
#[derive(Default)]
pub(crate) struct Replicas {
    health: Health,
    latency: Latency,
    repairs: Repairs,
}

/// A replica that may still be asked.
struct Candidate {
    id: StoreId,
    store: StoreHandle,
}

/// A needle's bytes, the first of which are here.
struct Opened {
    from: StoreId,
    first: Bytes,
    rest: NeedleBytes,
}

/// Where reading stands.
struct Position {
    proxy: Arc<Proxy>,
    needle: NeedleId,
    /// Still to come.
    range: Range<u64>,
    from: StoreId,
    /// Read, but not given out.
    ahead: Option<Bytes>,
    rest: NeedleBytes,
    others: VecDeque<Candidate>,
}

impl Proxy {
    /// The bytes of `range` of a needle, which must not be empty. Its first piece has been read
    /// when this returns.
    pub(crate) async fn read_needle(
        self: Arc<Self>,
        needle: NeedleId,
        range: Range<u64>,
    ) -> Result<NeedleBytes, StoreError> {
        let mut others = self.candidates(needle);
        let Opened { from, first, rest } = self.open(needle, &range, &mut others).await?;
        if first.len() as u64 == range.end - range.start {
            return Ok(stream::iter([Ok(first)]).boxed());
        }
        let position =
            Position { proxy: self, needle, range, from, ahead: Some(first), rest, others };
        Ok(stream::try_unfold(position, Position::next).boxed())
    }

    /// The needle's replicas in the order in which to ask them: the well before the ill, the
    /// near before the far, else by chance.
    fn candidates(&self, needle: NeedleId) -> VecDeque<Candidate> {
        let known = self.directory.replicas(needle.volume).into_iter();
        let found = known.filter_map(|id| Some(Candidate { store: self.stores.get(&id)?, id }));
        let mut candidates: Vec<_> = found.collect();
        candidates.sort_by_cached_key(|Candidate { id, store }| {
            let far = matches!(store, StoreHandle::Remote(_));
            (self.replicas.health.is_ill(id), far, rand::random::<u32>())
        });
        candidates.into()
    }

    /// Asks one candidate after another, and the next beside one that is slow, until one
    /// answers. Those asked are gone from `candidates`.
    async fn open(
        &self,
        needle: NeedleId,
        range: &Range<u64>,
        candidates: &mut VecDeque<Candidate>,
    ) -> Result<Opened, StoreError> {
        let mut attempts = FuturesUnordered::new();
        let (mut failed, mut ill) = (None, Vec::new());
        loop {
            if attempts.is_empty() {
                match candidates.pop_front() {
                    Some(next) => attempts.push(self.ask(next, needle, range.clone())),
                    None => return Err(failed.unwrap_or(StoreError::NoVolume(needle.volume))),
                }
            }
            tokio::select! {
                Some(answer) = attempts.next() => match answer {
                    Ok(opened) => {
                        self.repair(needle, ill, &opened.from);
                        return Ok(opened);
                    }
                    Err((store, error)) => {
                        ill.extend(is_repairable(&error).then_some(store));
                        failed = Some(graver(failed, error));
                    }
                },
                () = self.replicas.latency.unusual(), if !candidates.is_empty() => {
                    counter!("hayrick_proxy_hedged_reads_total").increment(1);
                    let next = candidates.pop_front();
                    attempts.extend(next.map(|next| self.ask(next, needle, range.clone())));
                }
            }
        }
    }

    async fn ask(
        &self,
        Candidate { id, store }: Candidate,
        needle: NeedleId,
        range: Range<u64>,
    ) -> Result<Opened, (StoreId, StoreError)> {
        let began = Instant::now();
        let first_piece = async {
            let mut rest = store.read(needle, range).await?;
            let first = rest.next().await.unwrap_or_else(|| Err(short(&id)))?;
            Ok((first, rest))
        };
        match first_piece.await {
            Ok((first, rest)) => {
                self.replicas.health.answered(&id);
                self.replicas.latency.took(began.elapsed());
                Ok(Opened { from: id, first, rest })
            }
            Err(error) => {
                self.replica_failed(&id, needle, &error);
                Err((id, error))
            }
        }
    }

    fn replica_failed(&self, store: &StoreId, needle: NeedleId, error: &StoreError) {
        if says_nothing_of_the_needle(error) {
            self.replicas.health.failed(store);
        }
        counter!("hayrick_proxy_failed_replica_reads_total").increment(1);
        // Not every request has a span.
        let request = current_id();
        tracing::warn!(%store, %needle, %request, %error, "replica not read");
    }
}

impl Position {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let piece = match self.ahead.take() {
            Some(piece) => piece,
            None => match self.rest.next().await.unwrap_or_else(|| Err(short(&self.from))) {
                Ok(piece) => piece,
                Err(error) => self.go_on_elsewhere(error).await?,
            },
        };
        let left = self.range.end - self.range.start;
        self.range.start += left.min(piece.len() as u64);
        Ok(Some((piece, self)))
    }

    /// The next piece from a replica that has not been asked yet.
    async fn go_on_elsewhere(&mut self, error: StoreError) -> Result<Bytes, StoreError> {
        self.proxy.replica_failed(&self.from, self.needle, &error);
        let opened = self.proxy.open(self.needle, &self.range, &mut self.others).await;
        let repairable = is_repairable(&error);
        let Opened { from, first, rest } = opened.map_err(|other| graver(Some(error), other))?;
        if repairable {
            self.proxy.repair(self.needle, vec![self.from.clone()], &from);
        }
        (self.from, self.rest) = (from, rest);
        Ok(first)
    }
}

fn short(store: &StoreId) -> StoreError {
    let reason = "its answer ended early".to_owned();
    StoreError::Unavailable { store: store.to_string(), reason }
}

/// Which of two replicas' errors tells more about the needle: one that could not say keeps the
/// other from being the last word, and damage says that the needle was there.
fn graver(seen: Option<StoreError>, new: StoreError) -> StoreError {
    let rank = |error: &StoreError| match error {
        error if says_nothing_of_the_needle(error) => 3,
        StoreError::Copying(_) => 3,
        StoreError::Corrupt { .. } => 2,
        StoreError::NotFound => 0,
        _ => 1,
    };
    match seen {
        Some(seen) if rank(&seen) >= rank(&new) => seen,
        _ => new,
    }
}

fn says_nothing_of_the_needle(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Unavailable { .. } | StoreError::Io { .. } | StoreError::Busy { .. }
    )
}
