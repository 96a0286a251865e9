//! One sync: source by source, page by page, a few records at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::Synced;
use crate::client::StoreClient;
use crate::error::StoreError;
use crate::http::records;
use crate::id::{Epoch, Key};
use crate::store::{blocking, stopping};
use crate::volume::{Comparison, Held, KeyPage, Progress, Volume};

/// Of more keys than these that no source could give, only the number is known.
const MAX_UNREADABLE: usize = 1 << 16;

/// A rest is slept in pieces of this, so that a sync which is to stop does.
const NAP: Duration = Duration::from_millis(100);

/// Why a sync did not come to its end. What it fetched is kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SyncError {
    /// It was asked to stop.
    #[error("it was cancelled; what it fetched is kept")]
    Cancelled,
    /// A source did not give what it has.
    #[error("source {name}: {error}")]
    Source {
        /// What the source is called.
        name: String,
        /// Why.
        error: StoreError,
    },
    /// This replica did not take it.
    #[error(transparent)]
    Target(#[from] StoreError),
}

impl From<SyncError> for StoreError {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::Cancelled => Self::Busy { what: "a sync that was cancelled" },
            SyncError::Source { error, .. } | SyncError::Target(error) => error,
        }
    }
}

/// A replica that takes from others what it lacks.
pub(crate) struct Sync {
    volume: Arc<Volume>,
    epoch: Epoch,
    sources: Vec<StoreClient>,
    progress: Progress,
    done: Synced,
    /// Keys that no source could give so far.
    unreadable: HashSet<Key>,
}

impl Sync {
    pub(crate) fn new(
        volume: Arc<Volume>,
        epoch: Epoch,
        sources: Vec<StoreClient>,
        progress: Progress,
    ) -> Self {
        let (done, unreadable) = (Synced::default(), HashSet::new());
        Self { volume, epoch, sources, progress, done, unreadable }
    }

    /// Takes everything that the sources have and this replica lacks. Afterwards it is no
    /// longer being filled, unless a source still is.
    pub(crate) async fn everything(mut self, check: bool) -> Result<Synced, SyncError> {
        let mut all_whole = true;
        for source in self.sources.clone() {
            all_whole &= self.everything_of(&source, check).await?;
        }
        if all_whole && self.volume.is_copying() {
            let (volume, epoch) = (Arc::clone(&self.volume), self.epoch);
            blocking(move || volume.finish_copy(epoch)).await??;
        }
        Ok(self.finish())
    }

    /// Tells whether the source was whole itself.
    async fn everything_of(
        &mut self,
        source: &StoreClient,
        check: bool,
    ) -> Result<bool, SyncError> {
        let failed = |error| SyncError::Source { name: source.name().to_owned(), error };
        let (mut first, mut is_whole, mut is_begun) = (Key::new(0), true, false);
        loop {
            let page = source.keys(self.volume.id(), self.epoch, first).await.map_err(failed)?;
            is_whole &= !page.copying;
            if !std::mem::replace(&mut is_begun, true) {
                self.progress.expect(page.live_bytes);
            }
            let next = page.more.then(|| page.keys.last()).flatten();
            let next = next.and_then(|(last, _)| last.get().checked_add(1));
            let Comparison { wanted, settled_bytes, conflicts } = self.compare(page, check).await?;
            for key in conflicts {
                tracing::error!(volume = %self.volume.id(), %key, source = source.name(), "the replicas hold different needles under this key: both are kept");
                self.note_unreadable(key);
            }
            self.advance(settled_bytes)?;
            self.fetch(source, wanted).await?;
            match next {
                Some(next) => first = Key::new(next),
                None => return Ok(is_whole),
            }
        }
    }

    async fn compare(&self, page: KeyPage, check: bool) -> Result<Comparison, SyncError> {
        let (volume, progress) = (Arc::clone(&self.volume), self.progress.clone());
        let compared = blocking(move || volume.compare(&page, check, &progress)).await??;
        compared.ok_or(SyncError::Cancelled)
    }

    /// Takes needles that are missing or damaged, from whichever source has them.
    pub(crate) async fn only(mut self, keys: Vec<Key>) -> Result<Synced, SyncError> {
        let volume = Arc::clone(&self.volume);
        let mut wanted = blocking(move || lacking(&volume, keys)).await??;
        let mut failed = None;
        for source in self.sources.clone() {
            if wanted.is_empty() {
                break;
            }
            let sizes_unknown = wanted.iter().map(|key| (*key, 0)).collect();
            match self.fetch(&source, sizes_unknown).await {
                Ok(()) => failed = None,
                Err(error @ SyncError::Source { .. }) => {
                    failed = Some(error);
                }
                Err(error) => return Err(error),
            }
            let volume = Arc::clone(&self.volume);
            wanted = blocking(move || lacking(&volume, wanted)).await??;
        }
        match failed {
            Some(error) if !wanted.is_empty() => Err(error),
            _ => Ok(self.finish()),
        }
    }

    /// Fetches these records, a few at a time, and takes them over.
    async fn fetch(
        &mut self,
        source: &StoreClient,
        wanted: Vec<(Key, u32)>,
    ) -> Result<(), SyncError> {
        let failed = |error| SyncError::Source { name: source.name().to_owned(), error };
        let mut left = &wanted[..];
        while !left.is_empty() {
            let keys = first_step(left, records::step_bytes(&self.volume.pace().sync));
            let answer = source.records(self.volume.id(), self.epoch, &keys).await;
            let answer = answer.map_err(failed)?;
            left = left.get(answer.len()..).unwrap_or_default();
            let bytes = answer.iter().map(|(_, held)| held.record_bytes()).sum();
            self.take_over(answer).await?;
            self.advance(bytes)?;
            self.rest(bytes).await?;
        }
        Ok(())
    }

    async fn take_over(&mut self, answer: Vec<(Key, Held)>) -> Result<(), SyncError> {
        let mut records = Vec::with_capacity(answer.len());
        for (key, held) in answer {
            match held {
                Held::Record(record) => {
                    self.unreadable.remove(&key);
                    records.push(record);
                }
                // Deleted and forgotten since it was listed.
                Held::Nothing => {}
                Held::Unreadable => self.note_unreadable(key),
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        let (volume, epoch) = (Arc::clone(&self.volume), self.epoch);
        let answer = blocking(move || {
            let _step = volume.pace().sync.begin();
            volume.copy_in(epoch, records)
        });
        let copied = answer.await??.await.map_err(|_| stopping())??;
        self.done.needles += copied.needles;
        self.done.tombstones += copied.tombstones;
        self.done.repaired += copied.repaired;
        self.done.bytes += copied.bytes;
        self.done.unreadable += copied.conflicts;
        Ok(())
    }

    fn note_unreadable(&mut self, key: Key) {
        if self.unreadable.len() < MAX_UNREADABLE {
            self.unreadable.insert(key);
        } else if !self.unreadable.contains(&key) {
            self.done.unreadable += 1;
        }
    }

    fn advance(&self, bytes: u64) -> Result<(), SyncError> {
        if self.progress.advance(bytes) { Ok(()) } else { Err(SyncError::Cancelled) }
    }

    async fn rest(&self, bytes: u64) -> Result<(), SyncError> {
        let mut left = self.volume.pace().sync.delay(bytes);
        while !left.is_zero() {
            let nap = left.min(NAP);
            tokio::time::sleep(nap).await;
            left -= nap;
            self.advance(0)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Synced {
        self.done.unreadable += self.unreadable.len() as u64;
        self.done
    }
}

/// The first of these keys, whose records have no more than `step_bytes`, or the first one.
fn first_step(wanted: &[(Key, u32)], step_bytes: u64) -> Vec<Key> {
    let mut bytes = 0;
    let fitting = wanted.iter().enumerate().take_while(|(at, (_, record_bytes))| {
        bytes += u64::from(*record_bytes);
        *at == 0 || bytes <= step_bytes
    });
    fitting.take(records::MAX_KEYS).map(|(_, (key, _))| *key).collect()
}

/// Those of `keys` of which this replica has neither a whole needle nor a tombstone.
fn lacking(volume: &Volume, keys: Vec<Key>) -> Result<Vec<Key>, StoreError> {
    let mut lacking = Vec::new();
    for key in keys {
        if !matches!(volume.held(key)?, Held::Record(_)) {
            lacking.push(key);
        }
    }
    Ok(lacking)
}
