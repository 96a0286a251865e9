//! Buckets, access keys and volumes, as an operator manages them.

use std::future::Future;
use std::sync::Arc;

use hayrick_store::VolumeId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Directory;
use crate::{
    Access, AccessKey, Bucket, BucketName, ClusterMap, CoordinatorError, DirectoryError,
    ImagePolicy, NamesError, Order, OrderId, StoreId, Volume, VolumeState,
};

impl Directory {
    /// The cluster map as it is now.
    pub fn map(&self) -> Arc<ClusterMap> {
        self.shared.coordinator.map()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.shared.coordinator.subscribe()
    }

    /// The stores of the cluster.
    pub fn stores(&self) -> Vec<StoreId> {
        self.shared.stores.ids()
    }

    /// A bucket by its name.
    pub fn bucket(&self, name: &BucketName) -> Option<Bucket> {
        self.map().buckets.get(name).map(|entry| entry.value.clone())
    }

    /// All buckets, by name.
    pub fn buckets(&self) -> Vec<Bucket> {
        self.map().buckets.values().map(|entry| entry.value.clone()).collect()
    }

    /// Makes a bucket, and the volumes it needs.
    pub async fn create_bucket(
        &self,
        name: BucketName,
        read: Access,
        write: Access,
        copies: u8,
    ) -> Result<Bucket, DirectoryError> {
        let stores = self.shared.stores.ids().len();
        if usize::from(copies) > stores {
            return Err(DirectoryError::NotEnoughStores { copies, stores });
        }
        let created_ms = self.shared.clock.wall_ms();
        let bucket = Bucket::new(name, read, write, copies, created_ms);
        let this = self.clone();
        self.carried_through(async move {
            let _admin = this.shared.bucket_admin.lock().await;
            this.shared.names.reopen_bucket(&bucket.name).await?;
            let created = this.shared.coordinator.create_bucket(bucket.clone()).await;
            created.map_err(|error| match error {
                CoordinatorError::Exists(_) => DirectoryError::BucketExists(bucket.name.clone()),
                error => error.into(),
            })?;
            this.shared.grower.lock().await.step().await;
            Ok(bucket)
        })
        .await
    }

    /// Changes who may read and write a bucket.
    pub async fn set_access(
        &self,
        name: &BucketName,
        read: Access,
        write: Access,
    ) -> Result<Bucket, DirectoryError> {
        self.update_bucket(name, |bucket| (bucket.read, bucket.write) = (read, write)).await
    }

    /// Changes what may be made of a bucket's pictures.
    pub async fn set_images(
        &self,
        name: &BucketName,
        images: ImagePolicy,
    ) -> Result<Bucket, DirectoryError> {
        self.update_bucket(name, |bucket| bucket.images = Arc::new(images)).await
    }

    async fn update_bucket(
        &self,
        name: &BucketName,
        change: impl FnOnce(&mut Bucket),
    ) -> Result<Bucket, DirectoryError> {
        let map = self.map();
        let entry = map.buckets.get(name).ok_or_else(|| no_bucket(name))?;
        let mut bucket = entry.value.clone();
        change(&mut bucket);
        let updated = self.shared.coordinator.update_bucket(entry.revision, bucket.clone()).await;
        updated.map_err(|error| missing_bucket(error, name))?;
        Ok(bucket)
    }

    /// Removes an empty bucket and its access keys.
    pub async fn remove_bucket(&self, name: &BucketName) -> Result<(), DirectoryError> {
        let (this, name) = (self.clone(), name.clone());
        self.carried_through(async move {
            let _admin = this.shared.bucket_admin.lock().await;
            let map = this.map();
            let revision = map.buckets.get(&name).ok_or_else(|| no_bucket(&name))?.revision;
            // From here on no upload gets in, so what is empty now stays empty.
            this.shared.names.close_bucket(&name).await.map_err(|error| match error {
                NamesError::BucketNotEmpty => DirectoryError::BucketNotEmpty(name.clone()),
                error => error.into(),
            })?;
            let removed = this.shared.coordinator.remove_bucket(&name, revision).await;
            if removed.is_err() {
                this.shared.names.reopen_bucket(&name).await?;
            }
            removed.map_err(|error| missing_bucket(error, &name))
        })
        .await
    }

    /// Makes an access key for a bucket.
    pub async fn create_access_key(
        &self,
        bucket: &BucketName,
    ) -> Result<AccessKey, DirectoryError> {
        let key = AccessKey::generate(bucket.clone(), self.shared.clock.wall_ms())?;
        let added = self.shared.coordinator.add_access_key(key.clone()).await;
        added.map_err(|error| missing_bucket(error, bucket))?;
        Ok(key)
    }

    /// An access key by its id.
    pub fn access_key(&self, id: &str) -> Option<AccessKey> {
        self.map().access_keys.get(id).cloned()
    }

    /// The access keys of a bucket.
    pub fn access_keys(&self, bucket: &BucketName) -> Result<Vec<AccessKey>, DirectoryError> {
        let map = self.map();
        if !map.buckets.contains_key(bucket) {
            return Err(no_bucket(bucket));
        }
        Ok(map.access_keys.values().filter(|key| key.bucket == *bucket).cloned().collect())
    }

    /// Removes an access key. Tokens signed with it open nothing from now on.
    pub async fn remove_access_key(&self, id: &str) -> Result<(), DirectoryError> {
        let removed = self.shared.coordinator.remove_access_key(id).await;
        removed.map_err(|error| match error {
            CoordinatorError::Missing(_) => DirectoryError::NoAccessKey(id.to_owned()),
            error => error.into(),
        })
    }

    /// Makes a volume on `copies` stores now, whether one is needed or not.
    pub async fn create_volume(&self, copies: u8) -> Result<VolumeId, DirectoryError> {
        let stores = self.shared.stores.ids().len();
        if usize::from(copies) > stores {
            return Err(DirectoryError::NotEnoughStores { copies, stores });
        }
        let this = self.clone();
        self.carried_through(async move {
            let mut grower = this.shared.grower.lock().await;
            let volume = grower.create_one(usize::from(copies)).await?;
            grower.step().await;
            Ok(volume)
        })
        .await
    }

    /// Lets a volume take new needles, or stops it from doing so.
    pub async fn set_volume_state(
        &self,
        id: VolumeId,
        state: VolumeState,
    ) -> Result<(), DirectoryError> {
        let map = self.map();
        let entry = map.volumes.get(&id).ok_or(DirectoryError::NoVolume(id))?;
        let volume = Volume { state, ..entry.value.clone() };
        self.shared.coordinator.update_volume(id, entry.revision, volume).await?;
        self.shared.placement.remove(id, Instant::now());
        self.shared.grow_soon.notify_one();
        Ok(())
    }

    /// Tells the keeper something, if it can be done with the stores and volumes of now.
    pub async fn put_order(&self, order: Order) -> Result<(), DirectoryError> {
        check_order(&self.map(), &order)?;
        self.shared.coordinator.put_order(order).await?;
        self.shared.grow_soon.notify_one();
        Ok(())
    }

    /// Takes back what the keeper was told.
    pub async fn remove_order(&self, id: &OrderId) -> Result<(), DirectoryError> {
        self.shared.coordinator.remove_order(id).await.map_err(|error| match error {
            CoordinatorError::Missing(_) => DirectoryError::NoOrder(id.clone()),
            error => error.into(),
        })
    }

    /// Strikes a store that is gone for good from the map. No volume may be on it.
    pub async fn remove_store(&self, id: &StoreId) -> Result<(), DirectoryError> {
        self.shared.coordinator.remove_store(id).await.map_err(|error| match error {
            CoordinatorError::Missing(_) => DirectoryError::NoStore(id.clone()),
            error => error.into(),
        })
    }

    /// Runs a change of several steps to its end, even if the caller goes away.
    async fn carried_through<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, DirectoryError>> + Send + 'static,
    ) -> Result<T, DirectoryError> {
        tokio::spawn(change).await.unwrap_or(Err(DirectoryError::Failed))
    }
}

/// An order that can never be carried out is refused where it is given.
fn check_order(map: &ClusterMap, order: &Order) -> Result<(), DirectoryError> {
    let known = |store: &StoreId| {
        let known = map.stores.contains_key(store);
        if known { Ok(()) } else { Err(DirectoryError::NoStore(store.clone())) }
    };
    let replicas = |id: VolumeId| {
        let entry = map.volumes.get(&id).ok_or(DirectoryError::NoVolume(id))?;
        Ok::<_, DirectoryError>(&entry.value.replicas)
    };
    let free = |volume, to: &StoreId| {
        if replicas(volume)?.contains(to) {
            let message = format!("volume {volume} is on store {to} already");
            return Err(DirectoryError::BadRequest(message.into()));
        }
        known(to)
    };
    match order {
        Order::Pause | Order::Rebalance => Ok(()),
        Order::Drain { store } => known(store),
        Order::Move { volume, from, to } => {
            if !replicas(*volume)?.contains(from) {
                let message = format!("volume {volume} is not on store {from}");
                return Err(DirectoryError::BadRequest(message.into()));
            }
            free(*volume, to)
        }
        Order::Copy { volume, to } => free(*volume, to),
        Order::Repair { volume } => replicas(*volume).map(drop),
    }
}

fn no_bucket(name: &BucketName) -> DirectoryError {
    DirectoryError::NoBucket(name.clone())
}

fn missing_bucket(error: CoordinatorError, name: &BucketName) -> DirectoryError {
    match error {
        CoordinatorError::Missing(_) => no_bucket(name),
        error => error.into(),
    }
}
