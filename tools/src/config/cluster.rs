//! The part that a server has in a cluster of many processes.

use std::net::SocketAddr;

use hayrick_directory::zookeeper::ZooKeeperConfig;
use hayrick_directory::{Host, Rack, StoreId};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The `[cluster]` section: for `hayrick store`, `directory`, `proxy` and `keeper`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// What the cluster agrees by; the same for all of its processes.
    pub zookeeper: ZooKeeperConfig,
    /// For a store: its name, unique in the cluster and never changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreId>,
    /// For a store: where it stands. Copies go to different racks. Default `default`.
    #[serde(default = "default_rack")]
    pub rack: Rack,
    /// For a store: the machine it runs on, where that has several. Where there are not racks enough
    /// copies go to different machines. Default: each store counts as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
    /// For a store or a directory: where the others reach its internal listener, as `host:port`. Needed where
    /// `internal.listen` is every address of the machine. Default: `internal.listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// For a proxy: the internal listeners of directories, as `host:port`. Those that are registered
    /// in ZooKeeper are asked too, so none need be named. Default: none.
    #[serde(default)]
    pub directories: Vec<String>,
}

fn default_rack() -> Rack {
    // The text is a rack's name.
    "default".parse().unwrap_or_else(|_| unreachable!("a good name"))
}

impl ClusterConfig {
    /// Where other servers reach this one, which listens at `internal`.
    pub fn reached_at(&self, internal: Option<SocketAddr>) -> Result<String, Failure> {
        match (&self.advertise, internal) {
            (Some(address), _) => Ok(address.clone()),
            (None, Some(address)) if !address.ip().is_unspecified() => Ok(address.to_string()),
            _ => Err(Failure::usage("the cluster cannot be told where this server is").hint(
                "set cluster.advertise to the HOST:PORT at which others reach its internal listener",
            )),
        }
    }
}
