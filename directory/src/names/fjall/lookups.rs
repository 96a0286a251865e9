//! Rows that are read together, by threads that may wait for the disk.
//!
//! To look a row up in memory takes a few microseconds, and to hand that to a thread and be woken
//! by it several times as much.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::reader::Reader;
use super::{FjallNames, Shared};
use crate::gather::{Carrier, Limits, gathered};
use crate::names::{NamesError, Row};

/// How many threads read at once is limited for all reads. Where the disk is waited for, more of them
/// set out soon.
pub(super) const LIMITS: Limits = Limits { take: 1, patience: 4, carriers: 64 };

/// The key of a row that somebody waits for.
pub(super) struct Lookup {
    key: Vec<u8>,
    answer: oneshot::Sender<Result<Option<Row>, NamesError>>,
}

impl FjallNames {
    pub(super) async fn look_up(&self, key: Vec<u8>) -> Result<Option<Row>, NamesError> {
        let (answer, row) = oneshot::channel();
        if let Some(carrier) = self.lookups.add(Lookup { key, answer }) {
            let (reader, shared) = (Arc::clone(&self.reader), Arc::clone(&self.shared));
            let reads = Arc::clone(&self.reads);
            // Not within this future: it may be dropped, and others wait for the same carrier.
            tokio::spawn(async move {
                gathered().await;
                let Ok(permit) = reads.acquire_owned().await else { return };
                tokio::task::spawn_blocking(move || {
                    carry(carrier, &reader, &shared);
                    drop(permit);
                });
            });
        }
        row.await.unwrap_or_else(|_| Err(NamesError::Io("reading has ended".to_owned())))
    }
}

fn carry(mut carrier: Carrier<Lookup>, reader: &Reader, shared: &Shared) {
    loop {
        let lookups = carrier.next();
        if lookups.is_empty() {
            return;
        }
        for Lookup { key, answer } in lookups {
            if !answer.is_closed() {
                // Whoever asked may be gone by now.
                drop(answer.send(read(&key, reader, shared)));
            }
        }
    }
}

fn read(key: &[u8], reader: &Reader, shared: &Shared) -> Result<Option<Row>, NamesError> {
    let before = shared.recent.before(key);
    let Some(row) = reader.row(key)? else { return Ok(None) };
    shared.recent.read(key, &Arc::new(row.clone()), before);
    Ok(Some(row))
}
