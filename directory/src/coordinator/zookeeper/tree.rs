//! Keeps the cluster map in step with ZooKeeper.
//!
//! One persistent recursive watch tells which nodes changed; those are read again, and
//! the map is replaced as a whole. The client library does not renew such a watch after a
//! reconnect, and ZooKeeper drops the events of the time between, so every reconnect
//! watches again and reads everything again: what changed meanwhile is in the difference.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use zookeeper_client::{
    AddWatchMode, Client, Error, EventType, PersistentWatcher, Stat, WatchedEvent,
};

use super::layout::{
    BUCKETS, CLUSTER, DIRECTORIES, Entry, ILL, KNOWN, LEADER, ORDERS, STORES, VOLUMES,
};
use super::snapshot::{self, Damage};
use crate::{ClusterMap, CoordinatorError};

/// How many reads are under way at once: enough to hide the round trip, few enough not
/// to flood a server that others need.
const PIPELINE: usize = 1_000;

/// How often entries that changed while they were read are read again before the map is
/// shown.
const ROUNDS: usize = 8;

/// A change made here that the map should show.
pub(super) struct Refresh {
    pub(super) entries: Vec<Entry>,
    /// Told when it does.
    pub(super) done: oneshot::Sender<()>,
}

/// The follower of the tree; the only one who replaces the map.
pub(super) struct Tree {
    map: watch::Sender<Arc<ClusterMap>>,
    refreshes: mpsc::Receiver<Refresh>,
    /// Those who wait for the map to show their change.
    waiting: Vec<oneshot::Sender<()>>,
    /// Nodes that could not be understood, and the transactions that wrote them.
    damaged: BTreeMap<Entry, i64>,
    /// The cluster's folder, for messages.
    place: String,
    /// Given when the coordinator ends.
    stop: CancellationToken,
}

/// An entry and what was read of it.
type Read = (Entry, Option<(Vec<u8>, Stat)>);

/// Why following ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The connection broke, or ZooKeeper refuses.
    #[error(transparent)]
    ZooKeeper(#[from] Error),
    /// It is not the cluster that it was.
    #[error(transparent)]
    Cluster(CoordinatorError),
}

impl Tree {
    pub(super) fn new(
        map: watch::Sender<Arc<ClusterMap>>,
        refreshes: mpsc::Receiver<Refresh>,
        place: String,
        stop: CancellationToken,
    ) -> Self {
        Self { map, refreshes, waiting: Vec::new(), damaged: BTreeMap::new(), place, stop }
    }

    /// Reads everything, calls `ready`, and follows the changes until the connection
    /// breaks or the tree is not that of this cluster.
    pub(super) async fn follow(&mut self, client: &Client, ready: impl FnOnce()) -> Ended {
        let Err(ended) = self.try_follow(client, ready).await;
        ended
    }

    async fn try_follow(
        &mut self,
        client: &Client,
        ready: impl FnOnce(),
    ) -> Result<Infallible, Ended> {
        // Before the first read, so that no change falls between.
        let mut watcher = client.watch("/", AddWatchMode::PersistentRecursive).await?;
        // This server may lag behind the one that the last map came from.
        client.sync("/").await?;
        let mut dirty = self.load(client, &mut watcher).await?;
        ready();
        loop {
            // With the process the client's own task may end first, and the watcher
            // then panics.
            if self.stop.is_cancelled() {
                return Err(Error::ClientClosed.into());
            }
            tokio::select! {
                event = watcher.changed() => note(&event, &mut dirty)?,
                refresh = self.refreshes.recv() => match refresh {
                    Some(refresh) => self.take(refresh, &mut dirty),
                    None => return Err(Error::ClientClosed.into()),
                },
                () = future::ready(()), if !dirty.is_empty() => {}
            }
            while let Ok(refresh) = self.refreshes.try_recv() {
                self.take(refresh, &mut dirty);
            }
            drain(&mut watcher, &mut dirty)?;
            let map = ClusterMap::clone(&self.map.borrow());
            dirty = self.update(client, &mut watcher, map, dirty).await?;
        }
    }

    fn take(&mut self, refresh: Refresh, dirty: &mut BTreeSet<Entry>) {
        dirty.extend(refresh.entries);
        self.waiting.push(refresh.done);
    }

    /// Reads everything; answers what changed meanwhile.
    async fn load(
        &mut self,
        client: &Client,
        watcher: &mut PersistentWatcher,
    ) -> Result<BTreeSet<Entry>, Ended> {
        let entries = list(client).await?;
        let present = Arc::clone(&self.map.borrow());
        let mut fresh = ClusterMap::empty(present.cluster_id);
        // What cannot be understood stays as it was; what is gone is not carried over.
        snapshot::carry_over(&present, &mut fresh, entries.iter());
        self.damaged.retain(|entry, _| entries.contains(entry));
        self.update(client, watcher, fresh, entries).await
    }

    /// Reads the entries again, and shows the outcome as the new map; answers what has
    /// changed since.
    async fn update(
        &mut self,
        client: &Client,
        watcher: &mut PersistentWatcher,
        mut map: ClusterMap,
        mut dirty: BTreeSet<Entry>,
    ) -> Result<BTreeSet<Entry>, Ended> {
        // Events of changes that the reads met arrive before the reads' answers: when
        // none is left, the map is that of one moment. While changes never end, it is
        // shown all the same, and is behind by the last few.
        for _ in 0..ROUNDS {
            for (entry, read) in read_all(client, dirty).await? {
                self.apply(&mut map, entry, read.as_ref())?;
            }
            dirty = BTreeSet::new();
            drain(watcher, &mut dirty)?;
            if dirty.is_empty() {
                break;
            }
        }
        metrics::gauge!("hayrick_zookeeper_damaged_nodes")
            .set(f64::from(u32::try_from(self.damaged.len()).unwrap_or(u32::MAX)));
        self.map.send_if_modified(|present| {
            let modified = **present != map;
            if modified {
                *present = Arc::new(map);
            }
            modified
        });
        for waiting in self.waiting.drain(..) {
            // Nobody may wait any more.
            let _ = waiting.send(());
        }
        Ok(dirty)
    }

    fn apply(
        &mut self,
        map: &mut ClusterMap,
        entry: Entry,
        read: Option<&(Vec<u8>, Stat)>,
    ) -> Result<(), Ended> {
        let transaction = read.map(|(_, stat)| stat.mzxid);
        match snapshot::apply(map, &entry, read.map(|(data, stat)| (&data[..], stat))) {
            Ok(()) => {
                self.damaged.remove(&entry);
            }
            Err(Damage::OtherCluster(found)) => {
                let (place, expected) = (self.place.clone(), map.cluster_id);
                return Err(Ended::Cluster(CoordinatorError::WrongCluster {
                    place,
                    found,
                    expected,
                }));
            }
            Err(Damage::Unreadable(reason)) => {
                let path = entry.path();
                if self.damaged.insert(entry, transaction.unwrap_or(0)) != transaction {
                    tracing::error!(%path, %reason, "damaged node; its last good value is kept");
                }
            }
        }
        Ok(())
    }
}

/// Notes what an event is about. An event of the session is an error: what came between
/// must be read again.
fn note(event: &WatchedEvent, dirty: &mut BTreeSet<Entry>) -> Result<(), Error> {
    if event.event_type == EventType::Session {
        return Err(Error::ConnectionLoss);
    }
    let entry = Entry::parse(&event.path);
    // A bucket goes with its keys in one step, and must be seen to.
    if let Some(Entry::AccessKey(bucket, _)) = &entry {
        dirty.insert(Entry::Bucket(bucket.clone()));
    }
    dirty.extend(entry);
    Ok(())
}

/// Notes all events that have arrived.
fn drain(watcher: &mut PersistentWatcher, dirty: &mut BTreeSet<Entry>) -> Result<(), Error> {
    while let Some(event) = watcher.changed().now_or_never() {
        note(&event, dirty)?;
    }
    Ok(())
}

/// All entries there are.
async fn list(client: &Client) -> Result<BTreeSet<Entry>, Error> {
    let mut paths: Vec<String> = vec![CLUSTER.to_owned(), LEADER.to_owned()];
    for parent in [VOLUMES, KNOWN, DIRECTORIES, ORDERS, ILL] {
        paths.extend(children(client, vec![parent.to_owned()]).await?);
    }
    for parent in [BUCKETS, STORES] {
        let middle = children(client, vec![parent.to_owned()]).await?;
        paths.extend(children(client, middle.clone()).await?);
        paths.extend(middle);
    }
    Ok(paths.iter().filter_map(|path| Entry::parse(path)).collect())
}

/// The paths of the children of all these nodes.
async fn children(client: &Client, parents: Vec<String>) -> Result<Vec<String>, Error> {
    let mut paths = Vec::new();
    for parents in parents.chunks(PIPELINE) {
        let asked = parents.iter().map(|parent| client.list_children(parent));
        for (parent, answer) in parents.iter().zip(future::join_all(asked).await) {
            match answer {
                Ok(names) => paths.extend(names.iter().map(|name| format!("{parent}/{name}"))),
                // Removed since its parent was listed, or never made.
                Err(Error::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(paths)
}

/// Reads entries. Keys come before their bucket: who finds a key gone because its bucket
/// was removed then finds the bucket gone too.
async fn read_all(client: &Client, entries: BTreeSet<Entry>) -> Result<Vec<Read>, Error> {
    let entries: Vec<_> = entries.into_iter().rev().collect();
    let mut all = Vec::with_capacity(entries.len());
    for entries in entries.chunks(PIPELINE) {
        let asked = entries.iter().map(|entry| client.get_data(&entry.path()));
        for (entry, answer) in entries.iter().zip(future::join_all(asked).await) {
            match answer {
                Ok(read) => all.push((entry.clone(), Some(read))),
                Err(Error::NoNode) => all.push((entry.clone(), None)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(all)
}
