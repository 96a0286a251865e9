//! Keys and cookies of new needles.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use hayrick_store::{Cookie, Key, NeedleId, VolumeId};
use parking_lot::Mutex;

use crate::{Coordinator, DirectoryError};

/// Gives out keys from leased ranges: in memory, but for one durable step per range.
///
/// After a restart each volume goes on with a new range. What is left of the old one
/// is never used, so a key is never given out twice.
pub(crate) struct KeyAllocator {
    coordinator: Arc<dyn Coordinator>,
    lease_keys: u64,
    ranges: Mutex<HashMap<VolumeId, Range<u64>>>,
    /// Held while a range is leased, so that waiters share one.
    leasing: tokio::sync::Mutex<()>,
}

impl KeyAllocator {
    pub(crate) fn new(coordinator: Arc<dyn Coordinator>, lease_keys: u64) -> Self {
        let leasing = tokio::sync::Mutex::new(());
        Self { coordinator, lease_keys: lease_keys.max(1), ranges: Mutex::default(), leasing }
    }

    /// The ids of `count` new needles in a volume: fresh keys, random cookies.
    pub(crate) async fn take(
        &self,
        volume: VolumeId,
        count: usize,
    ) -> Result<Vec<NeedleId>, DirectoryError> {
        let mut ids = Vec::with_capacity(count);
        self.take_leased(volume, count, &mut ids)?;
        while ids.len() < count {
            let _leasing = self.leasing.lock().await;
            // Another may have leased a range while this waited.
            self.take_leased(volume, count, &mut ids)?;
            if ids.len() < count {
                let range = self.coordinator.lease_keys(volume, self.lease_keys).await?;
                self.ranges.lock().insert(volume, range);
                self.take_leased(volume, count, &mut ids)?;
            }
        }
        Ok(ids)
    }

    fn take_leased(
        &self,
        volume: VolumeId,
        count: usize,
        ids: &mut Vec<NeedleId>,
    ) -> Result<(), DirectoryError> {
        let mut ranges = self.ranges.lock();
        let Some(range) = ranges.get_mut(&volume) else { return Ok(()) };
        let missing = count.saturating_sub(ids.len());
        for key in range.by_ref().take(missing) {
            ids.push(NeedleId { volume, key: Key::new(key), cookie: random_cookie()? });
        }
        Ok(())
    }
}

/// Cookies keep guessers out, so they come from a source that cannot be guessed.
fn random_cookie() -> Result<Cookie, DirectoryError> {
    getrandom::u32().map(Cookie::new).map_err(DirectoryError::from)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::{EmbeddedCoordinator, Volume};

    async fn volume(coordinator: &dyn Coordinator) -> VolumeId {
        let id = coordinator.reserve_volume_id().await.unwrap();
        let replicas = vec!["a".parse().unwrap()];
        let volume = Volume::new(replicas);
        coordinator.publish_volume(id, volume).await.unwrap();
        id
    }

    #[tokio::test]
    async fn no_key_comes_twice_over_restarts_and_tasks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.json");
        let mut seen = HashSet::new();
        let mut first = None;
        for _ in 0..5 {
            let coordinator: Arc<dyn Coordinator> =
                Arc::new(EmbeddedCoordinator::open(&path).unwrap());
            if first.is_none() {
                first = Some(volume(&*coordinator).await);
            }
            let volume = first.unwrap();
            let allocator = Arc::new(KeyAllocator::new(coordinator, 10));
            let tasks: Vec<_> = (1..=20)
                .map(|count| {
                    let allocator = Arc::clone(&allocator);
                    tokio::spawn(async move { allocator.take(volume, count).await.unwrap() })
                })
                .collect();
            for (task, count) in tasks.into_iter().zip(1..) {
                let ids = task.await.unwrap();
                assert_eq!(ids.len(), count);
                for id in ids {
                    assert!(seen.insert(id.key), "key {} came twice", id.key);
                }
            }
        }
        let highest = seen.iter().map(|key| key.get()).max().unwrap();
        assert!(highest <= 5 * 220, "ranges stay dense, but the highest key is {highest}");
    }

    #[tokio::test]
    async fn cookies_differ() {
        let folder = tempfile::tempdir().unwrap();
        let coordinator: Arc<dyn Coordinator> =
            Arc::new(EmbeddedCoordinator::open(folder.path().join("c.json")).unwrap());
        let volume = volume(&*coordinator).await;
        let ids = KeyAllocator::new(coordinator, 100).take(volume, 100).await.unwrap();
        let cookies: HashSet<_> = ids.iter().map(|id| id.cookie).collect();
        assert!(cookies.len() >= 99, "{} different cookies", cookies.len());
    }
}
