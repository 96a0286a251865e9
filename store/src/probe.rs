//! One needle read to its end: whether a replica can be read at all, and not only answers.

use std::sync::Arc;

use crate::client::StoreClient;
use crate::error::StoreError;
use crate::id::{Epoch, Key, VolumeId};
use crate::store::{Store, blocking};
use crate::volume::{Held, KeyPage};

/// How many keys of a local replica are looked through for a live needle.
const KEYS: usize = 1024;

/// See [`StoreHandle::probe`](crate::StoreHandle::probe).
pub(crate) async fn local(
    store: &Arc<Store>,
    volume: VolumeId,
    first: Key,
) -> Result<bool, StoreError> {
    let replica = store.volume(volume)?;
    blocking(move || {
        let Some(key) = live(&replica.keys(first, KEYS)) else { return Ok(false) };
        verdict(volume, key, &replica.held(key)?)
    })
    .await?
}

/// The same on another machine.
pub(crate) async fn remote(
    store: &StoreClient,
    volume: VolumeId,
    epoch: Epoch,
    first: Key,
) -> Result<bool, StoreError> {
    let Some(key) = live(&store.keys(volume, epoch, first).await?) else { return Ok(false) };
    let records = store.records(volume, epoch, &[key]).await?;
    records.first().map_or(Ok(false), |(_, held)| verdict(volume, key, held))
}

fn live(page: &KeyPage) -> Option<Key> {
    page.keys.iter().find(|(_, size_bytes)| *size_bytes > 0).map(|(key, _)| *key)
}

fn verdict(volume: VolumeId, key: Key, held: &Held) -> Result<bool, StoreError> {
    match held {
        Held::Record(_) => Ok(true),
        // Deleted meanwhile.
        Held::Nothing => Ok(false),
        Held::Unreadable => Err(StoreError::Corrupt {
            volume,
            key,
            reason: "a needle read as a probe does not verify".into(),
        }),
    }
}
