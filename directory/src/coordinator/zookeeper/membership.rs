//! The presence of a store or a directory: an ephemeral node for as long as its process lives.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;
use zookeeper_client::{Client, CreateMode, Error};

use super::change::{Doubt, Stop};
use super::entries::{Node, read};
use super::layout::{
    DIRECTORIES, DirectoryRecord, Entry, KnownRecord, MemberRecord, encode, rack_path,
};
use super::{Shared, ZooKeeperCoordinator};
use crate::coordinator::MemberDisk;
use crate::coordinator::rules::{check_unused, store_name};
use crate::{ClusterMap, CoordinatorError, Host, Rack, StoreId};

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
    /// The machine it runs on; `None` if it has that to itself.
    pub host: Option<Host>,
    /// Where its internal HTTP interface listens, as `host:port`.
    pub address: String,
    /// Its disks.
    pub disks: Vec<MemberDisk>,
}

/// What a process is registered as.
#[derive(Debug, Clone)]
enum Role {
    Store(Registration),
    /// Reached at this address.
    Directory(String),
}

/// Whether the cluster knows that a process is there.
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

/// A registered process. Dropping it leaves the node to the end of the session;
/// [`Registered::leave`] removes it at once.
#[must_use = "the process is kept registered by it"]
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
        /// What to say if it goes on having it.
        taken: CoordinatorError,
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
        let known = Entry::Known(registration.store.clone());
        self.register_as(Role::Store(registration), vec![known]).await
    }

    /// Makes this process a directory of the cluster, reached at an address given as
    /// `host:port`, and keeps it so through lost sessions.
    pub async fn register_directory(
        &self,
        address: String,
    ) -> Result<Registered, CoordinatorError> {
        self.register_as(Role::Directory(address), Vec::new()).await
    }

    async fn register_as(
        &self,
        role: Role,
        mut shown: Vec<Entry>,
    ) -> Result<Registered, CoordinatorError> {
        let shared = Arc::clone(&self.shared);
        let mut held_since = Instant::now();
        let mut holder = None;
        loop {
            match shared.try_register(&role).await? {
                Outcome::Registered => break,
                Outcome::Held { boot_id, taken } => {
                    if holder.replace(boot_id) != Some(boot_id) {
                        held_since = Instant::now();
                    }
                    // A dead process's session is over by then, unless its timeout is longer.
                    if held_since.elapsed() > shared.session_timeout() * 2 {
                        return Err(taken);
                    }
                    tokio::time::sleep(TAKEN_PAUSE).await;
                }
            }
        }
        let entry = role.entry(shared.boot_id);
        shown.push(entry.clone());
        shared.show(shown).await;
        tracing::info!(%role, "registered");
        let (sender, presence) = watch::channel(Presence::Present);
        let task = tokio::spawn(Arc::clone(&shared).stay_registered(role, sender));
        Ok(Registered { shared, entry, presence, task })
    }
}

impl Role {
    /// Its node; `boot_id` is this process's.
    fn entry(&self, boot_id: Uuid) -> Entry {
        match self {
            Self::Store(Registration { store, rack, .. }) => {
                Entry::Member(rack.clone(), store.clone())
            }
            Self::Directory(_) => Entry::Directory(boot_id),
        }
    }

    /// Whether a map shows it, with the boot id of this process.
    fn session(&self, map: &ClusterMap, own: Uuid) -> Option<i64> {
        match self {
            Self::Store(Registration { store, .. }) => {
                let member = map.stores.get(store)?.member.as_ref()?;
                (member.boot_id == own).then_some(member.session)
            }
            Self::Directory(_) => map.directories.get(&own).map(|directory| directory.session),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(Registration { store, rack, .. }) => {
                write!(f, "store {store} in rack {rack}")
            }
            Self::Directory(address) => write!(f, "directory at {address}"),
        }
    }
}

impl Registered {
    /// Whether the cluster knows that the process is there; tells of changes.
    pub fn presence(&self) -> watch::Receiver<Presence> {
        self.presence.clone()
    }

    /// Takes the process off the cluster, for a stop: nobody waits for its session's end.
    pub async fn leave(self) -> Result<(), CoordinatorError> {
        self.task.abort();
        match self.shared.remove(self.entry.clone(), "the process's presence".to_owned()).await {
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
    async fn stay_registered(self: Arc<Self>, role: Role, presence: watch::Sender<Presence>) {
        let mut maps = self.map.subscribe();
        let mut sessions = self.sessions.subscribe();
        loop {
            if self.is_present(&role) {
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
            match self.try_register(&role).await {
                Ok(Outcome::Registered) => {
                    tracing::info!(%role, "registered again");
                    self.show(vec![role.entry(self.boot_id)]).await;
                }
                Ok(Outcome::Held { taken, .. }) => {
                    if presence.send_replace(Presence::Taken) != Presence::Taken {
                        tracing::error!(error = %taken, "not registered");
                    }
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(%role, %error, "not registered");
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
            }
        }
    }

    fn is_present(&self, role: &Role) -> bool {
        let session = self.sessions.id();
        // Without a session nothing can be done about it.
        session == 0 || role.session(&self.map.borrow(), self.boot_id) == Some(session)
    }

    async fn try_register(&self, role: &Role) -> Result<Outcome, CoordinatorError> {
        let what = format!("the presence of {role}");
        self.change(&what, |client, doubt| async move {
            match role {
                Role::Store(registration) => self.register_once(registration, client, doubt).await,
                Role::Directory(address) => {
                    self.register_directory_once(address, client, doubt).await
                }
            }
        })
        .await
    }

    async fn register_once(
        &self,
        registration: &Registration,
        client: Client,
        doubt: Doubt,
    ) -> Result<Outcome, Stop> {
        let Registration { store, rack, host, address, disks } = registration;
        let known_path = Entry::Known(store.clone()).path();
        let known: Option<Node<KnownRecord>> = read(&client, &known_path).await?;
        let mut outlived = Vec::new();
        let racks = known.iter().map(|known| &known.value.rack).filter(|known| *known != rack);
        for rack in racks.chain([rack]) {
            let path = Entry::Member(rack.clone(), store.clone()).path();
            let Some(holder) = read::<MemberRecord>(&client, &path).await? else { continue };
            let MemberRecord { boot_id, address, .. } = holder.value;
            if boot_id != self.boot_id {
                let taken = CoordinatorError::StoreTaken { store: store.clone(), address };
                return Ok(Outcome::Held { boot_id, taken });
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
        let record = KnownRecord { rack: rack.clone(), host: host.clone(), since_ms };
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

    async fn register_directory_once(
        &self,
        address: &str,
        client: Client,
        doubt: Doubt,
    ) -> Result<Outcome, Stop> {
        let path = Entry::Directory(self.boot_id).path();
        if let Some(present) = read::<DirectoryRecord>(&client, &path).await? {
            if present.stat.ephemeral_owner == client.session_id().0 {
                return Ok(Outcome::Registered);
            }
            // Ours, of a session that is over and would take the node along.
            match doubt.settle(client.delete(&path, Some(present.stat.version))).await {
                Ok(()) | Err(Error::NoNode | Error::BadVersion) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let acls = self.acls();
        let (cluster_id, address) = (self.cluster_id, address.to_owned());
        let record = encode(Uuid::new_v4(), &DirectoryRecord { cluster_id, address })?;
        let ephemeral = CreateMode::Ephemeral.with_acls(acls);
        match doubt.settle(client.create(&path, &record, &ephemeral)).await {
            Ok(_) => Ok(Outcome::Registered),
            Err(Error::NodeExists) => Err(Stop::Again),
            Err(Error::NoNode) => {
                // A cluster that was begun by a version which knew of no such folder.
                let durable = CreateMode::Persistent.with_acls(acls);
                match client.create(DIRECTORIES, &[], &durable).await {
                    Ok(_) | Err(Error::NodeExists) => Err(Stop::Again),
                    Err(error) => Err(error.into()),
                }
            }
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
