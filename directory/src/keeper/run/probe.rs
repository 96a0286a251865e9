//! Whether a store can still read: a needle of one of its volumes, chosen anew each time.

use std::time::Duration;

use hayrick_store::{Epoch, Key, StoreError, StoreHandle, VolumeId};
use rand::seq::IteratorRandom as _;

use crate::ClusterMap;
use crate::keeper::view::{Replica, StoreView};

/// A disk that takes longer for one needle serves nobody.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to read.
pub(super) struct Probe {
    volume: VolumeId,
    epoch: Epoch,
    first: Key,
}

impl Probe {
    /// A needle of what a store had when it was looked at last; `None` if it had none.
    pub(super) fn choose(map: &ClusterMap, seen: Option<&StoreView>) -> Option<Self> {
        let replicas = seen?.replicas.as_ref()?.iter();
        let readable = |replica: &Replica| replica.is_whole() && replica.live_needles > 0;
        let readable = replicas.filter(|(_, replica)| readable(replica));
        let (&volume, replica) = readable.choose(&mut rand::rng())?;
        let epoch = Epoch::new(map.volumes.get(&volume)?.value.epoch);
        // Keys are about as dense as needles.
        let first = Key::new(rand::random_range(0..=replica.live_needles));
        Some(Self { volume, epoch, first })
    }

    /// Why the needle could not be read, if that is the store's fault.
    pub(super) async fn read(self, store: &StoreHandle) -> Result<(), String> {
        let Self { volume, epoch, first } = self;
        let reading = store.probe(volume, epoch, first);
        match tokio::time::timeout(PATIENCE, reading).await {
            Err(_) => Err(format!("a needle of volume {volume} did not come in {PATIENCE:?}")),
            Ok(Err(
                error @ (StoreError::Corrupt { .. }
                | StoreError::Io { .. }
                | StoreError::Unavailable { .. }),
            )) => Err(error.to_string()),
            // It has other work, or the volume changes hands.
            Ok(Ok(_) | Err(_)) => Ok(()),
        }
    }
}
