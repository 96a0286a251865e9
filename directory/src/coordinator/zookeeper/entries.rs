//! Changes of nodes that have a value: compare-and-set, told apart by stamps.

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;
use zookeeper_client::{Client, CreateMode, Error, Stat};

use super::Shared;
use super::change::{Doubt, Stop};
use super::layout::{Entry, ORDERS, decode, encode};
use super::snapshot::revision;
use crate::CoordinatorError;
use crate::coordinator::Order;
use crate::coordinator::rules::order_name;

/// How many access keys are removed in one transaction; more would not fit into one.
const KEYS_AT_ONCE: usize = 1_000;

/// A node's content with its stamp and version.
pub(super) struct Node<T> {
    pub(super) stamp: Uuid,
    pub(super) value: T,
    pub(super) stat: Stat,
}

/// Reads a node; `None` if there is none.
pub(super) async fn read<T: DeserializeOwned>(
    client: &Client,
    path: &str,
) -> Result<Option<Node<T>>, Stop> {
    match client.get_data(path).await {
        Ok((data, stat)) => {
            let (stamp, value) = decode(&data).map_err(|reason| {
                Stop::Final(CoordinatorError::Damaged { node: path.to_owned(), reason })
            })?;
            Ok(Some(Node { stamp, value, stat }))
        }
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Shared {
    /// Makes a node. `what` names it in errors; `orphaned` is the error if its parent
    /// does not exist.
    pub(super) async fn create(
        &self,
        entry: Entry,
        value: &impl Serialize,
        what: String,
        orphaned: impl Fn() -> CoordinatorError,
    ) -> Result<(), CoordinatorError> {
        let (path, stamp) = (entry.path(), Uuid::new_v4());
        let (path, bytes) = (path.as_str(), encode(stamp, value)?);
        let (what, bytes, orphaned) = (what.as_str(), bytes.as_slice(), &orphaned);
        self.change(what, |client, doubt| async move {
            let options = CreateMode::Persistent.with_acls(self.acls());
            let retried = doubt.is_open();
            match doubt.settle(client.create(path, bytes, &options)).await {
                Ok(_) => Ok(()),
                Err(Error::NodeExists) if retried => {
                    let found = read::<serde::de::IgnoredAny>(&client, path).await?;
                    match found {
                        Some(found) if found.stamp == stamp => Ok(()),
                        // Another changed or removed what may have been ours.
                        Some(found) if found.stat.version > 0 => {
                            Err(CoordinatorError::InDoubt(what.to_owned()).into())
                        }
                        Some(_) => Err(CoordinatorError::Exists(what.to_owned()).into()),
                        None => Err(Stop::Again),
                    }
                }
                Err(Error::NodeExists) => Err(CoordinatorError::Exists(what.to_owned()).into()),
                Err(Error::NoNode) => Err(orphaned().into()),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        self.show(vec![entry]).await;
        Ok(())
    }

    /// Makes the node of an order.
    pub(super) async fn put_order(&self, order: &Order) -> Result<(), CoordinatorError> {
        let id = order.id();
        let what = order_name(&id);
        // Its id says all of it.
        self.ensure(ORDERS, Entry::Order(id), order, what).await
    }

    /// Makes a node unless it is there already, with its folder if it is the first in that.
    pub(super) async fn ensure(
        &self,
        folder: &str,
        entry: Entry,
        value: &impl Serialize,
        what: String,
    ) -> Result<(), CoordinatorError> {
        self.change(&what, |client, _| async move {
            let durable = CreateMode::Persistent.with_acls(self.acls());
            match client.create(folder, &[], &durable).await {
                Ok(_) | Err(Error::NodeExists) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        let removed = || CoordinatorError::Damaged {
            node: folder.to_owned(),
            reason: "it was removed meanwhile".to_owned(),
        };
        match self.create(entry.clone(), value, what, removed).await {
            Err(CoordinatorError::Exists(_)) => {
                self.show(vec![entry]).await;
                Ok(())
            }
            made => made,
        }
    }

    /// Replaces a node that still has the revision `expected`, if `check` of the present
    /// value lets it; answers the new revision.
    pub(super) async fn update<T: Serialize + DeserializeOwned>(
        &self,
        entry: Entry,
        expected: u64,
        value: &T,
        what: String,
        check: impl Fn(&T) -> Result<(), CoordinatorError>,
    ) -> Result<u64, CoordinatorError> {
        let (path, stamp) = (entry.path(), Uuid::new_v4());
        let (path, bytes) = (path.as_str(), encode(stamp, value)?);
        let (what, bytes, check) = (what.as_str(), bytes.as_slice(), &check);
        let reached = self
            .change(what, |client, doubt| async move {
                let Some(present) = read::<T>(&client, path).await? else {
                    return Err(missing(what, &doubt).into());
                };
                let actual = revision(&present.stat);
                if present.stamp == stamp {
                    return Ok(actual);
                }
                if actual != expected {
                    return Err(conflict(what, expected, actual, &doubt).into());
                }
                check(&present.value)?;
                let version = Some(present.stat.version);
                match doubt.settle(client.set_data(path, bytes, version)).await {
                    Ok(stat) => Ok(revision(&stat)),
                    Err(Error::BadVersion | Error::NoNode) => Err(Stop::Again),
                    Err(error) => Err(error.into()),
                }
            })
            .await?;
        self.show(vec![entry]).await;
        Ok(reached)
    }

    /// Removes a node that still has the revision `expected`, and its children, in one
    /// step; with very many children the last of them go with it and the others before.
    pub(super) async fn remove_with_children(
        &self,
        entry: Entry,
        expected: u64,
        what: String,
    ) -> Result<(), CoordinatorError> {
        let path = entry.path();
        let (path, what) = (path.as_str(), what.as_str());
        self.change(what, |client, doubt| async move {
            let (children, stat) = match client.get_children(path).await {
                Ok(found) => found,
                // Gone by an attempt of ours, or by another: gone as was asked.
                Err(Error::NoNode) if doubt.is_open() => return Ok(()),
                Err(Error::NoNode) => return Err(missing(what, &doubt).into()),
                Err(error) => return Err(error.into()),
            };
            let actual = revision(&stat);
            if actual != expected {
                return Err(conflict(what, expected, actual, &doubt).into());
            }
            let mut writer = client.new_multi_writer();
            writer.add_check_version(path, stat.version)?;
            for child in children.iter().take(KEYS_AT_ONCE) {
                writer.add_delete(&format!("{path}/{child}"), None)?;
            }
            let is_last = children.len() <= KEYS_AT_ONCE;
            if is_last {
                writer.add_delete(path, Some(stat.version))?;
            }
            match doubt.settle(writer.commit()).await.map_err(Error::from) {
                Ok(_) if is_last => Ok(()),
                // The rest of them; or a child came or went, or the node was changed.
                Ok(_) | Err(Error::NoNode | Error::NotEmpty | Error::BadVersion) => {
                    Err(Stop::Again)
                }
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        self.show(vec![entry]).await;
        Ok(())
    }

    /// Removes a node whatever its revision.
    pub(super) async fn remove(&self, entry: Entry, what: String) -> Result<(), CoordinatorError> {
        let path = entry.path();
        let (path, what) = (path.as_str(), what.as_str());
        self.change(what, |client, doubt| async move {
            let retried = doubt.is_open();
            match doubt.settle(client.delete(path, None)).await {
                Ok(()) => Ok(()),
                Err(Error::NoNode) if retried => Ok(()),
                Err(Error::NoNode) => Err(CoordinatorError::Missing(what.to_owned()).into()),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
        self.show(vec![entry]).await;
        Ok(())
    }
}

fn missing(what: &str, doubt: &Doubt) -> CoordinatorError {
    if doubt.is_open() {
        // It may have been changed as asked before it was removed.
        CoordinatorError::InDoubt(what.to_owned())
    } else {
        CoordinatorError::Missing(what.to_owned())
    }
}

fn conflict(what: &str, expected: u64, actual: u64, doubt: &Doubt) -> CoordinatorError {
    let what = what.to_owned();
    // One change on, by another: ours was not made. Further on, ours may lie beneath.
    if doubt.is_open() && actual > expected.saturating_add(1) {
        CoordinatorError::InDoubt(what)
    } else {
        CoordinatorError::Conflict { what, expected, actual }
    }
}
