//! Rows that are read together, by threads that may wait for the disk.
//!
//! To look a row up in memory takes a few microseconds, and to hand that to a thread and be woken
//! by it several times as much. So one thread reads many rows, as long as none of them turns out
//! to be on the disk; then those that are left get a thread each.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, oneshot};

use super::reader::Reader;
use super::{FjallNames, Shared};
use crate::names::{NamesError, Row};
use hayrick_service::gather::{Carrier, Limits, gathered};

/// A thread is given as many as it reads in a tenth of a millisecond.
pub(super) const LIMITS: Limits = Limits { take: 32, patience: 16, carriers: 4 };

/// Rows in memory, as many as are taken at a time, need no longer than this.
const FROM_MEMORY: Duration = Duration::from_micros(200);

type Found = Result<Option<Row>, NamesError>;

/// The key of a row that somebody waits for.
pub(super) struct Lookup {
    key: Vec<u8>,
    answer: oneshot::Sender<Found>,
}

/// What rows are read with.
#[derive(Clone)]
struct Desk {
    reader: Arc<Reader>,
    shared: Arc<Shared>,
    /// How many threads may read.
    reads: Arc<Semaphore>,
}

impl FjallNames {
    pub(super) async fn look_up(&self, key: Vec<u8>) -> Found {
        let (answer, row) = oneshot::channel();
        if let Some(carrier) = self.lookups.add(Lookup { key, answer }) {
            let (reader, shared) = (Arc::clone(&self.reader), Arc::clone(&self.shared));
            let desk = Desk { reader, shared, reads: Arc::clone(&self.reads) };
            // Not within this future: it may be dropped, and others wait for the same carrier.
            tokio::spawn(desk.carry(carrier));
        }
        row.await.unwrap_or_else(|_| Err(NamesError::Io("reading has ended".to_owned())))
    }
}

impl Desk {
    async fn carry(self, mut carrier: Carrier<Lookup>) {
        loop {
            gathered().await;
            let lookups = carrier.load();
            if lookups.is_empty() {
                return;
            }
            for lookup in self.answer(lookups).await {
                let desk = self.clone();
                tokio::spawn(async move { desk.answer(vec![lookup]).await });
            }
        }
    }

    /// Answers lookups up to the first that has to wait for the disk, and returns the rest.
    async fn answer(&self, lookups: Vec<Lookup>) -> Vec<Lookup> {
        let Ok(permit) = Arc::clone(&self.reads).acquire_owned().await else { return Vec::new() };
        let Self { reader, shared, .. } = self.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read(lookups, FROM_MEMORY, &reader, &shared)
        });
        // A panic has been told on standard error, and those who wait get an error.
        let (answers, rest) = read.await.unwrap_or_default();
        // Told here, they wake no other thread.
        for (answer, found) in answers {
            // Whoever asked may be gone.
            drop(answer.send(found));
        }
        rest
    }
}

type Answers = Vec<(oneshot::Sender<Found>, Found)>;

/// Reads rows until one took so long that the disk must have been waited for, and returns the rest.
fn read(
    lookups: Vec<Lookup>,
    from_memory: Duration,
    reader: &Reader,
    shared: &Shared,
) -> (Answers, Vec<Lookup>) {
    let began = Instant::now();
    let mut lookups = lookups.into_iter();
    let mut answers = Answers::with_capacity(lookups.len());
    for Lookup { key, answer } in lookups.by_ref() {
        if !answer.is_closed() {
            answers.push((answer, read_one(&key, reader, shared)));
        }
        if began.elapsed() > from_memory {
            break;
        }
    }
    (answers, lookups.collect())
}

fn read_one(key: &[u8], reader: &Reader, shared: &Shared) -> Found {
    let before = shared.recent.before(key);
    let Some(row) = reader.row(key)? else { return Ok(None) };
    shared.recent.read(key, &Arc::new(row.clone()), before);
    Ok(Some(row))
}

#[cfg(test)]
mod tests {
    use super::super::{FjallConfig, keys};
    use super::*;
    use crate::names::Names as _;
    use crate::names::conformance::{bucket, name, put, row};

    #[tokio::test]
    async fn what_is_left_once_the_disk_was_waited_for_is_returned_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let names = FjallNames::open(folder.path(), &FjallConfig::default()).unwrap();
        names.put(put("0", row(1), crate::Condition::None)).await.unwrap();
        for (from_memory, answered) in [(Duration::ZERO, 1), (Duration::MAX, 3)] {
            let (lookups, _waiting): (Vec<_>, Vec<_>) = (0..3)
                .map(|number| {
                    let (answer, found) = oneshot::channel();
                    let key = keys::row(&bucket(), &name(&number.to_string()));
                    (Lookup { key, answer }, found)
                })
                .unzip();
            let asked: Vec<_> = lookups.iter().map(|lookup| lookup.key.clone()).collect();
            let (answers, rest) = read(lookups, from_memory, &names.reader, &names.shared);
            let found: Vec<_> = answers.into_iter().map(|(_, found)| found.unwrap()).collect();
            assert_eq!(found, [Some(row(1)), None, None][..answered]);
            assert!(rest.iter().map(|lookup| &lookup.key).eq(&asked[answered..]));
        }
    }
}
