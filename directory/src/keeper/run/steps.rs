//! Takes a step, on stores and on the map.

use std::convert::Infallible;
use std::time::Duration;

use futures::future;
use hayrick_store::jobs::{JobOutcome, JobStatus};
use hayrick_store::scrub::SCRUB_HOLD;
use hayrick_store::{Epoch, Peer, StoreError, StoreHandle, VolumeId};

use super::Shared;
use crate::keeper::plan::{Fill, Job, Step};
use crate::zookeeper::Leadership;
use crate::{CoordinatorError, StoreId};

/// How often a store is asked how far its job is: at first, and in a long one.
const POLL: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Why a step was not taken to its end. It is planned again.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// Another leads, or may.
    #[error("this keeper does not lead any more")]
    NotLeading,
    /// The map has changed since the step was planned, or is as the step wants it.
    #[error("the cluster map has changed meanwhile")]
    Outdated,
    /// A store is doing as much as it may.
    #[error("store {store} is busy: {error}")]
    Busy { store: StoreId, error: StoreError },
    #[error("store {store}: {error}")]
    Store { store: StoreId, error: StoreError },
    /// A store's job came to nothing.
    #[error("store {store}: {reason}")]
    Failed { store: StoreId, reason: String },
    #[error("cluster map: {0}")]
    Map(#[from] CoordinatorError),
}

impl StepError {
    /// Whether nothing is wrong, and the step only comes later.
    pub(super) fn is_expected(&self) -> bool {
        match self {
            Self::NotLeading | Self::Outdated | Self::Busy { .. } => true,
            Self::Map(error) => matches!(error, CoordinatorError::Conflict { .. }),
            Self::Store { .. } | Self::Failed { .. } => false,
        }
    }
}

impl Shared {
    /// Takes a step, as long as this keeper leads and the map is as it was planned from.
    pub(super) async fn take(&self, job: &Job, lead: &Leadership) -> Result<(), StepError> {
        let revision = self.coordinator.map().volumes.get(&job.volume).map(|entry| entry.revision);
        if revision != Some(job.revision) {
            return Err(StepError::Outdated);
        }
        may_act(lead)?;
        let volume = job.volume;
        match &job.step {
            Step::Fence { on, epoch } => {
                let fences = on.iter().map(|store| self.fence(store, volume, *epoch));
                future::try_join_all(fences).await.map(drop)
            }
            Step::Create { on, epoch } => {
                self.find(on)?.create_copy(volume, *epoch).await.map_err(of(on))
            }
            Step::Sync { fills, epoch, check } => {
                let fills = fills.iter().map(|fill| self.sync(volume, fill, *epoch, *check, lead));
                future::try_join_all(fills).await.map(drop)
            }
            Step::Change(next) => {
                let change = self.coordinator.update_volume(volume, job.revision, next.clone());
                change.await?;
                let (replicas, epoch, moving) = (&next.replicas, next.epoch, &next.moving);
                tracing::info!(%volume, ?replicas, epoch, ?moving, "cluster map changed");
                Ok(())
            }
            Step::Remove { on, epoch } => {
                self.find(on)?.remove_volume(volume, *epoch).await.map_err(of(on))?;
                tracing::info!(%volume, store = %on, "replica removed");
                Ok(())
            }
            Step::Hold { on } => {
                let holds = on.iter().map(|store| self.hold_scrub(store, volume));
                future::try_join_all(holds).await.map(drop)
            }
            Step::Compact { on, epoch, through_ns, held } => {
                let store = self.find(on)?;
                if let Some(through_ns) = *through_ns {
                    store.confirm(volume, *epoch, through_ns).await.map_err(of(on))?;
                }
                let started = store.start_compaction(volume).await.map_err(of(on))?;
                tokio::select! {
                    done = self.finish(on, &store, started, lead) => done,
                    never = self.keep_held(held, volume) => match never {},
                }
            }
        }
    }

    async fn fence(&self, on: &StoreId, volume: VolumeId, epoch: Epoch) -> Result<(), StepError> {
        self.find(on)?.fence(volume, epoch).await.map_err(of(on))
    }

    async fn hold_scrub(&self, on: &StoreId, volume: VolumeId) -> Result<(), StepError> {
        self.find(on)?.hold_scrub(volume).await.map_err(of(on))
    }

    /// Has the scrubs of these replicas go on resting.
    async fn keep_held(&self, stores: &[StoreId], volume: VolumeId) -> Infallible {
        loop {
            tokio::time::sleep(SCRUB_HOLD / 2).await;
            let holds = stores.iter().map(|store| self.hold_scrub(store, volume));
            for (store, held) in stores.iter().zip(future::join_all(holds).await) {
                if let Err(error) = held {
                    tracing::warn!(%volume, %store, %error, "scrub not held during a compaction");
                }
            }
        }
    }

    async fn sync(
        &self,
        volume: VolumeId,
        fill: &Fill,
        epoch: Epoch,
        check: bool,
        lead: &Leadership,
    ) -> Result<(), StepError> {
        let Fill { on, from } = fill;
        let sources: Result<Vec<_>, _> = from.iter().map(|store| self.peer(store)).collect();
        let store = self.find(on)?;
        let started = store.start_sync(volume, epoch, sources?, check).await.map_err(of(on))?;
        self.finish(on, &store, started, lead).await
    }

    /// Waits for a store's job to end. It goes on by itself when this keeper stops leading:
    /// whoever leads next is given the same one.
    async fn finish(
        &self,
        on: &StoreId,
        store: &StoreHandle,
        started: JobStatus,
        lead: &Leadership,
    ) -> Result<(), StepError> {
        let (id, volume, mut pause) = (started.id, started.volume, POLL[0]);
        let mut now = started;
        loop {
            self.book.lock().progress(volume, now.done_bytes, now.total_bytes);
            match now.outcome {
                None => {}
                Some(JobOutcome::Failed(reason)) => {
                    return Err(StepError::Failed { store: on.clone(), reason });
                }
                Some(outcome) => {
                    tracing::info!(%volume, store = %on, ?outcome, "job of a store done");
                    return Ok(());
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(POLL[1]);
            may_act(lead)?;
            now = store.job(id).await.map_err(of(on))?;
            if now.volume != volume {
                // It counts from 1 again since it was restarted.
                return Err(StepError::Store { store: on.clone(), error: StoreError::NoJob(id) });
            }
        }
    }

    fn find(&self, store: &StoreId) -> Result<StoreHandle, StepError> {
        let gone = || StepError::Failed {
            store: store.clone(),
            reason: "it is not part of the cluster now".to_owned(),
        };
        self.stores.get(store).ok_or_else(gone)
    }

    /// Where another store finds it.
    fn peer(&self, store: &StoreId) -> Result<Peer, StepError> {
        let address = self.addresses.lock().get(store).cloned();
        let unknown = || StepError::Failed {
            store: store.clone(),
            reason: "nobody knows its address".to_owned(),
        };
        let address = address.ok_or_else(unknown)?;
        Ok(Peer { name: store.to_string(), url: format!("http://{address}") })
    }
}

fn may_act(lead: &Leadership) -> Result<(), StepError> {
    if lead.is_held() { Ok(()) } else { Err(StepError::NotLeading) }
}

fn of(store: &StoreId) -> impl Fn(StoreError) -> StepError + '_ {
    |error| {
        let store = store.clone();
        if matches!(error, StoreError::Busy { .. }) {
            StepError::Busy { store, error }
        } else {
            StepError::Store { store, error }
        }
    }
}
