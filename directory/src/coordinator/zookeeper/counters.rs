//! Volume ids and keys: counters that only rise.
//!
//! A step that is taken again goes on from what it reads. If an attempt in doubt was
//! made after all, what it took is lost, and given to nobody.

use std::ops::Range;

use hayrick_store::VolumeId;
use serde::Serialize;
use uuid::Uuid;
use zookeeper_client::{Client, CreateMode, Error};

use super::Shared;
use super::change::{Doubt, Stop};
use super::entries::read;
use super::layout::{Entry, KeyLease, VOLUME_IDS, VolumeIds, encode, key_lease_path};
use crate::CoordinatorError;
use crate::coordinator::rules::{FIRST_KEY, volume_name};

impl Shared {
    pub(super) async fn reserve_volume_id(&self) -> Result<VolumeId, CoordinatorError> {
        self.change("the counter of volume ids", |client, doubt| async move {
            let counter = read::<VolumeIds>(&client, VOLUME_IDS).await?.ok_or_else(no_counter)?;
            let next = counter.value.last.checked_add(1).and_then(VolumeId::new);
            let next = next.ok_or(CoordinatorError::Exhausted("volume ids"))?;
            let raised = VolumeIds { last: next.get() };
            raise(&client, &doubt, VOLUME_IDS, counter.stat.version, &raised).await?;
            Ok(next)
        })
        .await
    }

    /// Whether the id was given out, by whomever.
    pub(super) async fn is_reserved(&self, id: VolumeId) -> Result<bool, CoordinatorError> {
        self.change("the counter of volume ids", |client, _| async move {
            // Another process may have reserved it, at another server.
            client.sync(VOLUME_IDS).await?;
            let counter = read::<VolumeIds>(&client, VOLUME_IDS).await?.ok_or_else(no_counter)?;
            Ok(id.get() <= counter.value.last)
        })
        .await
    }

    pub(super) async fn lease_keys(
        &self,
        volume: VolumeId,
        count: u64,
    ) -> Result<Range<u64>, CoordinatorError> {
        let (volume_path, lease_path) = (Entry::Volume(volume).path(), key_lease_path(volume));
        let (volume_path, lease_path) = (volume_path.as_str(), lease_path.as_str());
        self.change(&format!("the keys of {}", volume_name(volume)), |client, doubt| async move {
            let lease = read::<KeyLease>(&client, lease_path).await?;
            let start = lease.as_ref().map_or(FIRST_KEY, |lease| lease.value.next);
            let end = start.checked_add(count).ok_or(CoordinatorError::Exhausted("keys"))?;
            let raised = KeyLease { next: end };
            if let Some(lease) = lease {
                raise(&client, &doubt, lease_path, lease.stat.version, &raised).await?;
                return Ok(start..end);
            }
            client.sync(volume_path).await?;
            if client.check_stat(volume_path).await?.is_none() {
                return Err(CoordinatorError::Missing(volume_name(volume)).into());
            }
            let options = CreateMode::Persistent.with_acls(self.acls());
            let bytes = encode(Uuid::new_v4(), &raised)?;
            match doubt.settle(client.create(lease_path, &bytes, &options)).await {
                Ok(_) => Ok(start..end),
                Err(Error::NodeExists) => Err(Stop::Again),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }
}

async fn raise(
    client: &Client,
    doubt: &Doubt,
    path: &str,
    version: i32,
    raised: &impl Serialize,
) -> Result<(), Stop> {
    let bytes = encode(Uuid::new_v4(), raised)?;
    match doubt.settle(client.set_data(path, &bytes, Some(version))).await {
        Ok(_) => Ok(()),
        Err(Error::BadVersion | Error::NoNode) => Err(Stop::Again),
        Err(error) => Err(error.into()),
    }
}

/// Without its counter a cluster would begin again at 1, with volumes that exist.
fn no_counter() -> CoordinatorError {
    let (node, reason) = (VOLUME_IDS.to_owned(), "it does not exist".to_owned());
    CoordinatorError::Damaged { node, reason }
}
