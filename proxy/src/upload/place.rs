//! One needle on all replicas of some volume.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use hayrick_directory::{Assignment, DirectoryError, NeedleRef, StoreId, StorePool};
use hayrick_store::{Epoch, Meta, NeedleId, NewNeedle, StoreError, VolumeId};
use metrics::counter;
use tokio::time::timeout;

use super::{Upload, UploadError};

/// Volumes tried for one needle at once; after these it is tried with pauses.
const MAX_PLACES: usize = 3;
/// How long a place is looked for: until the directory has seen which store is gone, and has
/// made volumes elsewhere. Shorter than other uploads wait for the memory that this one holds.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// What takes longer is told to the directory before it has ended: a store that hangs is waited
/// for, but not by uploads that come later.
const SLOW: Duration = Duration::from_secs(1);

/// How long an upload waits for the cluster map to show what a store knows already.
const MAP_PATIENCE: Duration = Duration::from_secs(1);

impl Upload<'_> {
    /// Stores one needle on all replicas of some volume.
    pub(super) async fn place(&mut self, data: Bytes, meta: Meta) -> Result<(), UploadError> {
        let began = Instant::now();
        let mut tried = 0;
        loop {
            tried += 1;
            let failed = match self.try_to_place(&data, &meta).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            let Some(next) = failed.next_try() else { return Err(failed) };
            if tried >= MAX_PLACES && began.elapsed() >= PATIENCE {
                return Err(failed);
            }
            counter!("hayrick_proxy_write_retries_total").increment(1);
            if next == Try::Soon || tried >= MAX_PLACES {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Stores a needle on all replicas of the volume that the directory names.
    async fn try_to_place(&mut self, data: &Bytes, meta: &Meta) -> Result<(), UploadError> {
        let size_bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let place = self.proxy.directory.assign(&self.object.bucket, size_bytes.into()).await?;
        let NeedleId { volume, key, cookie } = place.id;
        let needle = NewNeedle { key, cookie, meta: meta.clone(), data: data.clone() };
        let mut putting = pin!(put_everywhere(&self.proxy.stores, &place, &needle));
        let stored = if let Ok(stored) = timeout(SLOW, &mut putting).await {
            stored
        } else {
            tracing::warn!(%volume, "needle still not stored after {SLOW:?}");
            self.proxy.directory.report_failed_write(volume);
            putting.await
        };
        if let Err(error) = &stored {
            tracing::warn!(%volume, %error, "needle not stored");
            self.abandoned.push(place.id);
            self.after_failed_write(volume, error).await;
        } else {
            self.needles.push(NeedleRef { id: place.id, size_bytes });
        }
        Ok(stored?)
    }

    async fn after_failed_write(&self, volume: VolumeId, error: &StoreError) {
        let directory = &self.proxy.directory;
        match error {
            // The volume is well, and has other replicas since the directory looked.
            StoreError::StaleEpoch { known, .. } => {
                directory.reach_epoch(volume, *known, MAP_PATIENCE).await;
            }
            _ => directory.report_failed_write(volume),
        }
    }
}

/// When a failed try may be followed by another.
#[derive(PartialEq, Eq)]
enum Try {
    AtOnce,
    /// When the directory has had time to find or make other volumes.
    Soon,
}

impl UploadError {
    /// `None` if another try would fail as well.
    fn next_try(&self) -> Option<Try> {
        match self {
            Self::Store(error) => helped_by_another_volume(error).then_some(Try::AtOnce),
            Self::Directory(DirectoryError::NoVolumeJustNow { .. }) => Some(Try::Soon),
            Self::Directory(_) | Self::Body(_) | Self::TooLarge { .. } | Self::Busy => None,
        }
    }
}

/// Whether another volume may do what this one did not.
fn helped_by_another_volume(error: &StoreError) -> bool {
    match error {
        StoreError::TooLarge { .. } | StoreError::Malformed(_) => false,
        StoreError::NotFound
        | StoreError::Conflict { .. }
        | StoreError::NoVolume(_)
        | StoreError::ReadOnly(_)
        | StoreError::StaleEpoch { .. }
        | StoreError::NoEpoch { .. }
        | StoreError::Copying(_)
        | StoreError::NoJob(_)
        | StoreError::VolumeFull(_)
        | StoreError::DiskFull(_)
        | StoreError::Busy { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Failed { .. }
        | StoreError::Io { .. }
        | StoreError::Unavailable { .. } => true,
    }
}

/// All replicas must take it. There is always one: a volume without replicas is never assigned.
async fn put_everywhere(
    stores: &StorePool,
    place: &Assignment,
    needle: &NewNeedle,
) -> Result<(), StoreError> {
    let unavailable = |id: &StoreId| StoreError::Unavailable {
        store: id.to_string(),
        reason: "it is not part of the cluster now".to_owned(),
    };
    let (volume, epoch) = (place.id.volume, Epoch::new(place.epoch));
    let puts = place.replicas.iter().map(|id| async move {
        let store = stores.get(id).ok_or_else(|| unavailable(id))?;
        store.put(volume, epoch, vec![needle.clone()]).await
    });
    let done = try_join_all(puts).await?;
    if done.is_empty() { Err(StoreError::NoVolume(volume)) } else { Ok(()) }
}
