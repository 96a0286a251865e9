//! The coordinator of a cluster of many processes: ZooKeeper.
//!
//! ```text
//!  changes ─── change (deadline, doubt) ─── entries, counters, membership, election
//!                                                        │
//!  readers ─── map ◀── snapshot ◀── tree (list, watch) ◀─┴─ session (connect, expire, again)
//! ```
//!
//! What stands where in ZooKeeper is told in `layout.rs`. While ZooKeeper is away, or
//! suddenly is another cluster's, the last map stays and changes are refused.

mod change;
mod config;
mod counters;
mod election;
mod entries;
mod founding;
mod layout;
mod membership;
mod session;
mod snapshot;
mod tree;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use hayrick_store::VolumeId;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;
use zookeeper_client::Acls;

pub use self::config::ZooKeeperConfig;
pub use self::election::{Candidacy, Leadership};
use self::layout::Entry;
pub use self::membership::{Presence, Registered, Registration};
use self::session::Sessions;
use self::tree::{Refresh, Tree};
use super::rules::{
    access_key_name, bucket_name, check_copies, check_epoch, check_replicas, illness_name,
    order_name, volume_name,
};
use super::{Change, ClusterMap, Coordinator, CoordinatorError, Illness, Order, OrderId, Volume};
use crate::{AccessKey, Bucket, BucketName, StoreId};

/// Changes that may wait for the map at once; more wait before.
const REFRESHES: usize = 64;

/// Keeps the cluster map in ZooKeeper. Dropping it ends its session, and with it the
/// presence of its stores and its leadership.
pub struct ZooKeeperCoordinator {
    shared: Arc<Shared>,
    _session: DropGuard,
}

struct Shared {
    config: ZooKeeperConfig,
    sessions: Arc<Sessions>,
    /// What readers see; replaced by the follower of the tree only.
    map: watch::Sender<Arc<ClusterMap>>,
    refreshes: mpsc::Sender<Refresh>,
    cluster_id: Uuid,
    /// Tells this process from all others, and from what it was before a restart.
    boot_id: Uuid,
}

impl ZooKeeperCoordinator {
    /// Joins the cluster at an address. Where there is none, a new one is begun, unless
    /// `known` says which one is expected: whoever has volumes or names of a cluster
    /// must tell, so that a wrong address, or a ZooKeeper that lost its data, is refused.
    pub async fn open(
        config: ZooKeeperConfig,
        known: Option<Uuid>,
    ) -> Result<Self, CoordinatorError> {
        config.check()?;
        let client = session::connect(&config).await?;
        let joining = founding::join(&config, &client, known);
        let joined = tokio::time::timeout(config.change_timeout(), joining).await;
        let cluster_id = joined.unwrap_or_else(|_| Err(unanswered(&config)))?;

        let map = watch::Sender::new(Arc::new(ClusterMap::empty(cluster_id)));
        let (refreshes, refreshes_taken) = mpsc::channel(REFRESHES);
        let stop = CancellationToken::new();
        let place = config.connect.clone();
        let tree = Tree::new(map.clone(), refreshes_taken, place, stop.clone());
        let sessions = Arc::new(Sessions::new());
        let following = session::keep(config.clone(), Arc::clone(&sessions), tree, client);
        tokio::spawn({
            let (stop, sessions) = (stop.clone(), Arc::clone(&sessions));
            async move {
                tokio::select! {
                    biased; // so that nothing is polled any more
                    () = stop.cancelled() => {}
                    () = following => {}
                }
                sessions.withdraw();
            }
        });
        let boot_id = Uuid::new_v4();
        let shared = Shared { config, sessions, map, refreshes, cluster_id, boot_id };
        let this = Self { shared: Arc::new(shared), _session: stop.drop_guard() };
        let loaded = this.shared.sessions.connected();
        let loaded = tokio::time::timeout(this.shared.config.change_timeout(), loaded).await;
        loaded.map_err(|_| this.shared.unavailable())?;
        Ok(this)
    }
}

/// Runs a change as a task of its own, to its end.
fn run<'a, T: Send + 'static>(
    change: impl Future<Output = Result<T, CoordinatorError>> + Send + 'static,
) -> Change<'a, T> {
    let task = tokio::spawn(change);
    // The task is never aborted, so it fails to join only if it panicked.
    task.map(|joined| joined.unwrap_or(Err(CoordinatorError::Failed))).boxed()
}

impl Shared {
    /// Who may do what with the nodes made here.
    fn acls(&self) -> Acls<'static> {
        founding::acls(&self.config)
    }

    /// Why nothing can be changed now.
    fn unavailable(&self) -> CoordinatorError {
        let servers = self.config.servers().to_owned();
        CoordinatorError::Unavailable { servers, reason: self.sessions.problem() }
    }

    /// After how long without a sign of life ZooKeeper ends a session.
    fn session_timeout(&self) -> Duration {
        self.sessions.timeout().unwrap_or(self.config.session_timeout())
    }

    /// The bucket of an access key: as the map says, else as ZooKeeper does.
    async fn bucket_of_key(&self, id: &str) -> Result<BucketName, CoordinatorError> {
        let on_map = |map: &ClusterMap| map.access_keys.get(id).map(|key| key.bucket.clone());
        if let Some(bucket) = on_map(&self.map.borrow()) {
            return Ok(bucket);
        }
        // It may have been made elsewhere just now. Buckets are few.
        self.change(&access_key_name(id), |client, _| async move {
            client.sync(layout::BUCKETS).await?;
            for bucket in client.list_children(layout::BUCKETS).await? {
                let path = format!("{}/{bucket}/{id}", layout::BUCKETS);
                if let Some(Entry::AccessKey(bucket, _)) = Entry::parse(&path)
                    && client.check_stat(&path).await?.is_some()
                {
                    return Ok(bucket);
                }
            }
            Err(CoordinatorError::Missing(access_key_name(id)).into())
        })
        .await
    }
}

fn unanswered(config: &ZooKeeperConfig) -> CoordinatorError {
    let servers = config.servers().to_owned();
    CoordinatorError::Unavailable { servers, reason: "no answer in time".to_owned() }
}

impl Coordinator for ZooKeeperCoordinator {
    fn map(&self) -> Arc<ClusterMap> {
        Arc::clone(&self.shared.map.borrow())
    }

    fn boot_id(&self) -> Option<Uuid> {
        Some(self.shared.boot_id)
    }

    fn subscribe(&self) -> watch::Receiver<Arc<ClusterMap>> {
        self.shared.map.subscribe()
    }

    fn reserve_volume_id(&self) -> Change<'_, VolumeId> {
        let shared = Arc::clone(&self.shared);
        run(async move { shared.reserve_volume_id().await })
    }

    fn publish_volume(&self, id: VolumeId, volume: Volume) -> Change<'_, ()> {
        let shared = Arc::clone(&self.shared);
        run(async move {
            check_replicas(&volume)?;
            if !shared.is_reserved(id).await? {
                return Err(CoordinatorError::Invalid("the volume's id was never reserved"));
            }
            let what = volume_name(id);
            shared.create(Entry::Volume(id), &volume, what, no_folder).await
        })
    }

    fn update_volume(&self, id: VolumeId, expected: u64, volume: Volume) -> Change<'_, u64> {
        let shared = Arc::clone(&self.shared);
        run(async move {
            check_replicas(&volume)?;
            let check = |present: &Volume| check_epoch(present, &volume);
            let what = volume_name(id);
            shared.update(Entry::Volume(id), expected, &volume, what, check).await
        })
    }

    fn lease_keys(&self, volume: VolumeId, count: u64) -> Change<'_, Range<u64>> {
        let shared = Arc::clone(&self.shared);
        run(async move { shared.lease_keys(volume, count).await })
    }

    fn create_bucket(&self, bucket: Bucket) -> Change<'_, ()> {
        let shared = Arc::clone(&self.shared);
        run(async move {
            check_copies(&bucket)?;
            let (entry, what) = (Entry::Bucket(bucket.name.clone()), bucket_name(&bucket.name));
            shared.create(entry, &bucket, what, no_folder).await
        })
    }

    fn update_bucket(&self, expected: u64, bucket: Bucket) -> Change<'_, u64> {
        let shared = Arc::clone(&self.shared);
        run(async move {
            check_copies(&bucket)?;
            let (entry, what) = (Entry::Bucket(bucket.name.clone()), bucket_name(&bucket.name));
            shared.update(entry, expected, &bucket, what, |_| Ok(())).await
        })
    }

    fn remove_bucket(&self, name: &BucketName, expected: u64) -> Change<'_, ()> {
        let (shared, name) = (Arc::clone(&self.shared), name.clone());
        run(async move {
            let what = bucket_name(&name);
            shared.remove_with_children(Entry::Bucket(name), expected, what).await
        })
    }

    fn add_access_key(&self, key: AccessKey) -> Change<'_, ()> {
        let shared = Arc::clone(&self.shared);
        run(async move {
            let entry = Entry::AccessKey(key.bucket.clone(), key.id.clone());
            if Entry::parse(&entry.path()).as_ref() != Some(&entry) {
                return Err(CoordinatorError::Invalid("the access key's id is no node name"));
            }
            let no_bucket = || CoordinatorError::Missing(bucket_name(&key.bucket));
            shared.create(entry, &key, access_key_name(&key.id), no_bucket).await
        })
    }

    fn remove_access_key(&self, id: &str) -> Change<'_, ()> {
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        run(async move {
            let bucket = shared.bucket_of_key(&id).await?;
            let what = access_key_name(&id);
            shared.remove(Entry::AccessKey(bucket, id), what).await
        })
    }

    fn put_order(&self, order: Order) -> Change<'_, ()> {
        let shared = Arc::clone(&self.shared);
        run(async move { shared.put_order(&order).await })
    }

    fn remove_order(&self, id: &OrderId) -> Change<'_, ()> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        run(async move {
            let what = order_name(&id);
            shared.remove(Entry::Order(id), what).await
        })
    }

    fn mark_ill(&self, store: &StoreId, illness: Illness) -> Change<'_, ()> {
        let (shared, store) = (Arc::clone(&self.shared), store.clone());
        run(async move {
            let what = illness_name(&store);
            shared.ensure(layout::ILL, Entry::Ill(store), &illness, what).await
        })
    }

    fn mark_well(&self, store: &StoreId) -> Change<'_, ()> {
        let (shared, store) = (Arc::clone(&self.shared), store.clone());
        run(async move {
            let what = illness_name(&store);
            match shared.remove(Entry::Ill(store.clone()), what).await {
                Err(CoordinatorError::Missing(_)) => {
                    shared.show(vec![Entry::Ill(store)]).await;
                    Ok(())
                }
                removed => removed,
            }
        })
    }

    fn remove_store(&self, id: &StoreId) -> Change<'_, ()> {
        let (shared, id) = (Arc::clone(&self.shared), id.clone());
        run(async move { shared.strike_store(&id).await })
    }
}

/// The folders are made with the cluster, and nobody removes them.
fn no_folder() -> CoordinatorError {
    CoordinatorError::Damaged {
        node: "the folder of the cluster".to_owned(),
        reason: "a folder below it does not exist".to_owned(),
    }
}

#[cfg(test)]
mod tests;
