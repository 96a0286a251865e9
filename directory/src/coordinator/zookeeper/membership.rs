//! A store's presence: an ephemeral node for as long as its process lives.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;
use zookeeper_client::{Client, CreateMode, Error};

use super::change::{Doubt, Stop};
use super::entries::{Node, read};
use super::layout::{Entry, KnownRecord, MemberRecord, encode, rack_path};
use super::{Shared, ZooKeeperCoordinator};
use crate::coordinator::MemberDisk;
use crate::coordinator::rules::{check_unused, store_name};
use crate::{CoordinatorError, Rack, StoreId};

/// How often it is looked whether another process gave the id free.
const TAKEN_PAUSE: Duration = Duration::from_millis(250);
/// A pause after a registration failed in the background.
const FAILED_PAUSE: Duration = Duration::from_secs(1);

/// What a store tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its id, unique in the cluster.
    pub store: StoreId,
    /// The rack it stands in.
    pub rack: Rack,
    /// Where its internal HTTP interface listens, as `host:port`.
    pub address: String,
    /// Its disks.
    pub disks: Vec<MemberDisk>,
}

/// Whether the cluster knows that a store is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// As far as is known here.
    Present,
    /// The session ended, or somebody removed the node; it is being made again.
    Absent,
    /// Another process took the store's id meanwhile. This goes on trying, but both
    /// may be writing to the same disks: a person must look.
    Taken,
}

/// A registered store. Dropping it leaves the node to the end of the session;
/// [`Registered::leave`] removes it at once.
#[must_use = "the store is kept registered by it"]
pub struct Registered {
    shared: Arc<Shared>,
    entry: Entry,
    presence: watch::Receiver<Presence>,
    task: JoinHandle<()>,
}

/// What came of an attempt to register.
enum Outcome {
    Registered,
    /// Another process has the id.
    Held {
        boot_id: Uuid,
        address: String,
    },
}

impl ZooKeeperCoordinator {
    /// Makes a store part of the cluster, and keeps it so through lost sessions. If a
    /// process that has just died still holds the id, this waits for its session's end.
    ///
    /// # Errors
    /// [`CoordinatorError::StoreTaken`] if another process lives under that id.
    pub async fn register(
        &self,
        registration: Registration,
    ) -> Result<Registered, CoordinatorError> {
        let shared = Arc::clone(&self.shared);
        let mut held_since = Instant::now();
        let mut holder = None;
        loop {
            match shared.try_register(&registration).await? {
                Outcome::Registered => break,
                Outcome::Held { boot_id, address } => {
                    if holder.replace(boot_id) != Some(boot_id) {
                        held_since = Instant::now();
                    }
                    // A dead process's session is over by then, unless its timeout is longer.
                    if held_since.elapsed() > shared.session_timeout() * 2 {
                        let store = registration.store;
                        return Err(CoordinatorError::StoreTaken { store, address });
                    }
                    tokio::time::sleep(TAKEN_PAUSE).await;
                }
            }
        }
        let entry = Entry::Member(registration.rack.clone(), registration.store.clone());
        shared.show(vec![Entry::Known(registration.store.clone()), entry.clone()]).await;
        tracing::info!(store = %registration.store, rack = %registration.rack, "store registered");
        let (sender, presence) = watch::channel(Presence::Present);
        let task = tokio::spawn(Arc::clone(&shared).stay_registered(registration, sender));
        Ok(Registered { shared, entry, presence, task })
    }
}

impl Registered {
    /// Whether the cluster knows that the store is there; tells of changes.
    pub fn presence(&self) -> watch::Receiver<Presence> {
        self.presence.clone()
    }

    /// Takes the store off the cluster, for a stop: nobody waits for its session's end.
    pub async fn leave(self) -> Result<(), CoordinatorError> {
        self.task.abort();
        match self.shared.remove(self.entry.clone(), "the store's presence".to_owned()).await {
            Err(CoordinatorError::Missing(_)) => Ok(()),
            left => left,
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// Registers again whenever the node is not there, or is of a session that is over.
    async fn stay_registered(
        self: Arc<Self>,
        registration: Registration,
        presence: watch::Sender<Presence>,
    ) {
        let mut maps = self.map.subscribe();
        let mut sessions = self.sessions.subscribe();
        loop {
            if self.is_present(&registration) {
                presence.send_if_modified(|now| {
                    std::mem::replace(now, Presence::Present) != Presence::Present
                });
                tokio::select! {
                    Ok(()) = maps.changed() => {}
                    Ok(()) = sessions.changed() => {}
                    else => return,
                }
                continue;
            }
            presence.send_if_modified(|now| {
                *now == Presence::Present
                    && std::mem::replace(now, Presence::Absent) != Presence::Absent
            });
            match self.try_register(&registration).await {
                Ok(Outcome::Registered) => {
                    tracing::info!(store = %registration.store, "store registered again");
                    let entry =
                        Entry::Member(registration.rack.clone(), registration.store.clone());
                    self.show(vec![entry]).await;
                }
                Ok(Outcome::Held { address, .. }) => {
                    if presence.send_replace(Presence::Taken) != Presence::Taken {
                        let store = registration.store.clone();
                        let error = CoordinatorError::StoreTaken { store, address };
                        tracing::error!(%error, "store not registered");
                    }
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(store = %registration.store, %error, "store not registered");
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
            }
        }
    }

    fn is_present(&self, registration: &Registration) -> bool {
        let session = self.sessions.id();
        let map = self.map.borrow();
        let member = map.stores.get(&registration.store).and_then(|known| known.member.as_ref());
        // Without a session nothing can be done about it.
        session == 0
            || member
                .is_some_and(|member| member.boot_id == self.boot_id && member.session == session)
    }

    async fn try_register(&self, registration: &Registration) -> Result<Outcome, CoordinatorError> {
        let what = format!("the presence of store {}", registration.store);
        self.change(&what, |client, doubt| self.register_once(registration, client, doubt)).await
    }

    async fn register_once(
        &self,
        registration: &Registration,
        client: Client,
        doubt: Doubt,
    ) -> Result<Outcome, Stop> {
        let Registration { store, rack, address, disks } = registration;
        let known_path = Entry::Known(store.clone()).path();
        let known: Option<Node<KnownRecord>> = read(&client, &known_path).await?;
        let mut outlived = Vec::new();
        let racks = known.iter().map(|known| &known.value.rack).filter(|known| *known != rack);
        for rack in racks.chain([rack]) {
            let path = Entry::Member(rack.clone(), store.clone()).path();
            let Some(holder) = read::<MemberRecord>(&client, &path).await? else { continue };
            let MemberRecord { boot_id, address, .. } = holder.value;
            if boot_id != self.boot_id {
                return Ok(Outcome::Held { boot_id, address });
            }
            if holder.stat.ephemeral_owner == client.session_id().0 && *rack == registration.rack {
                return Ok(Outcome::Registered);
            }
            // Ours, of a session that is over and would take the node along.
            outlived.push(path);
        }
        let acls = self.acls();
        let durable = CreateMode::Persistent.with_acls(acls);
        match client.create(&rack_path(rack), &[], &durable).await {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
        let member = MemberRecord {
            cluster_id: self.cluster_id,
            boot_id: self.boot_id,
            address: address.clone(),
            disks: disks.clone(),
        };
        let since_ms = known.as_ref().map_or_else(now_ms, |known| known.value.since_ms);
        let record = KnownRecord { rack: rack.clone(), since_ms };
        let (record, member) = (encode(Uuid::new_v4(), &record)?, encode(Uuid::new_v4(), &member)?);
        let mut writer = client.new_multi_writer();
        for path in outlived {
            writer.add_delete(&path, None)?;
        }
        // Written each time, so that of two processes in two racks one loses.
        match known {
            Some(known) => writer.add_set_data(&known_path, &record, Some(known.stat.version))?,
            None => writer.add_create(&known_path, &record, &durable)?,
        }
        let path = Entry::Member(rack.clone(), store.clone()).path();
        let ephemeral = CreateMode::Ephemeral.with_acls(acls);
        writer.add_create(&path, &member, &ephemeral)?;
        match doubt.settle(writer.commit()).await.map_err(Error::from) {
            Ok(_) => Ok(Outcome::Registered),
            Err(Error::NodeExists | Error::BadVersion | Error::NoNode) => Err(Stop::Again),
            Err(error) => Err(error.into()),
        }
    }
}

impl Shared {
    /// Removes the node by which a store is known, unless it is there or needed.
    pub(super) async fn strike_store(&self, store: &StoreId) -> Result<(), CoordinatorError> {
        let entry = Entry::Known(store.clone());
        let (path, what) = (entry.path(), store_name(store));
        let (path, what) = (path.as_str(), what.as_str());
        self.change(what, |client, doubt| async move {
            client.sync(path).await?;
            let retried = doubt.is_open();
            let Some(known) = read::<KnownRecord>(&client, path).await? else {
                return if retried {
                    Ok(())
                } else {
                    Err(CoordinatorError::Missing(what.to_owned()).into())
                };
            };
            // What this map does not show yet is waited for: a volume may be on the store.
            let rack = known.value.rack.clone();
            self.show(vec![Entry::Known(store.clone()), Entry::Member(rack, store.clone())]).await;
            check_unused(&self.map.borrow(), store)?;
            // A registration since then has written the node, and the version is another.
            match doubt.settle(client.delete(path, Some(known.stat.version))).await {
                Ok(()) => Ok(()),
                Err(Error::NoNode | Error::BadVersion) => Err(Stop::Again),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        self.show(vec![entry]).await;
        Ok(())
    }
}

fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
