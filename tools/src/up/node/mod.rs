//! What runs in a server process.

mod all;
mod cluster;

use std::sync::Arc;

use hayrick_directory::{Bucket, ClusterMap, Directory};

use self::all::AllNode;
pub use self::all::STORE_ID;
use self::cluster::{DirectoryNode, KeeperNode, ProxyNode, StoreNode};
use super::folder::DataFolder;
use super::listeners::{Addresses, Apps};
use super::role::Role;
use crate::config::Settings;
use crate::failure::Failure;

/// Everything that is open.
pub enum Node {
    /// All roles.
    All(Box<AllNode>),
    /// A store of a cluster.
    Store(StoreNode),
    /// A directory of a cluster.
    Directory(Box<DirectoryNode>),
    /// A proxy of a cluster.
    Proxy(ProxyNode),
    /// A keeper of a cluster.
    Keeper(KeeperNode),
}

impl Node {
    /// Opens what the role needs. `addresses` are where its listeners ended up.
    pub async fn open(
        role: Role,
        settings: &Settings,
        folder: &DataFolder,
        addresses: Addresses,
    ) -> Result<Self, Failure> {
        match role {
            Role::All => Ok(Self::All(Box::new(AllNode::open(settings, folder).await?))),
            Role::Store => {
                Ok(Self::Store(StoreNode::open(settings, folder, addresses.internal).await?))
            }
            Role::Directory => {
                let node = DirectoryNode::open(settings, folder, addresses.internal).await?;
                Ok(Self::Directory(Box::new(node)))
            }
            Role::Proxy => Ok(Self::Proxy(ProxyNode::open(settings, folder).await?)),
            Role::Keeper => {
                Ok(Self::Keeper(KeeperNode::open(settings, folder, addresses.admin).await?))
            }
        }
    }

    /// What answers on the listeners that the role has.
    pub fn apps(&self) -> Apps {
        match self {
            Self::All(node) => node.apps(),
            Self::Store(node) => node.apps(),
            Self::Directory(node) => node.apps(),
            Self::Proxy(node) => node.apps(),
            Self::Keeper(node) => node.apps(),
        }
    }

    /// The directory, if it runs here.
    pub fn directory(&self) -> Option<&Directory> {
        match self {
            Self::All(node) => Some(&node.directory),
            Self::Directory(node) => Some(&node.directory),
            Self::Store(_) | Self::Proxy(_) | Self::Keeper(_) => None,
        }
    }

    /// All buckets of the cluster.
    pub fn buckets(&self) -> Vec<Bucket> {
        self.map().buckets.values().map(|entry| entry.value.clone()).collect()
    }

    fn map(&self) -> Arc<ClusterMap> {
        match self {
            Self::All(node) => node.directory.map(),
            Self::Store(node) => node.map(),
            Self::Directory(node) => node.directory.map(),
            Self::Proxy(node) => node.map(),
            Self::Keeper(node) => node.map(),
        }
    }

    /// Ends all work, syncs every volume and saves the indexes. No request may be running.
    pub async fn close(self) {
        match self {
            Self::All(node) => node.close().await,
            Self::Store(node) => node.close().await,
            Self::Directory(node) => node.close().await,
            Self::Proxy(node) => node.close().await,
            Self::Keeper(node) => node.close().await,
        }
    }
}
