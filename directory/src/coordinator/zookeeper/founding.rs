//! Joining a cluster, or beginning one.

use uuid::Uuid;
use zookeeper_client::{Acls, Client, CreateMode, Error, Permission};

use super::ZooKeeperConfig;
use super::change::Unsure as _;
use super::layout::{
    BUCKETS, CLUSTER, ClusterRecord, FOLDERS, VOLUME_IDS, VolumeIds, decode, encode,
};
use crate::CoordinatorError;

/// Who may do what with new nodes: the user alone, if one is set.
pub(super) fn acls(config: &ZooKeeperConfig) -> Acls<'static> {
    if config.auth.is_some() { Acls::creator_all() } else { Acls::anyone_all() }
}

/// The id of the cluster at this address, which must be `known` if that is told. Begins
/// a cluster if there is none and none is known.
pub(super) async fn join(
    config: &ZooKeeperConfig,
    client: &Client,
    known: Option<Uuid>,
) -> Result<Uuid, CoordinatorError> {
    loop {
        if let Some(data) = find(client).await.map_err(|error| refused(config, error))? {
            let id = check(config, &data, known)?;
            warn_if_open_to_all(client).await.map_err(|error| refused(config, error))?;
            return Ok(id);
        }
        if let Some(expected) = known {
            let (place, found) = (config.connect.clone(), None);
            return Err(CoordinatorError::WrongCluster { place, found, expected });
        }
        begin(config, client).await?;
    }
}

async fn find(client: &Client) -> Result<Option<Vec<u8>>, Error> {
    // This server may lag behind the one where a cluster was just begun.
    client.sync(CLUSTER).await?;
    match client.get_data(CLUSTER).await {
        Ok((data, _)) => Ok(Some(data)),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

fn check(
    config: &ZooKeeperConfig,
    data: &[u8],
    known: Option<Uuid>,
) -> Result<Uuid, CoordinatorError> {
    let node = || format!("{}{CLUSTER}", config.root());
    let (_, ClusterRecord { cluster_id }) =
        decode(data).map_err(|reason| CoordinatorError::Damaged { node: node(), reason })?;
    match known {
        Some(expected) if expected != cluster_id => {
            let (place, found) = (config.connect.clone(), Some(cluster_id));
            Err(CoordinatorError::WrongCluster { place, found, expected })
        }
        Some(_) | None => Ok(cluster_id),
    }
}

/// Makes the nodes of a new cluster in one step. Of two who do so at once, one loses,
/// and finds the other's.
async fn begin(config: &ZooKeeperConfig, client: &Client) -> Result<(), CoordinatorError> {
    let refuse = |error| refused(config, error);
    let options = CreateMode::Persistent.with_acls(acls(config));
    let cluster_id = Uuid::new_v4();
    let counter = encode(Uuid::new_v4(), &VolumeIds { last: 0 })?;
    let cluster = encode(Uuid::new_v4(), &ClusterRecord { cluster_id })?;
    let top = client.clone().chroot("/").unwrap_or_else(|client| client);
    top.mkdir(config.root(), &options).await.map_err(refuse)?;
    let mut writer = client.new_multi_writer();
    let nodes = FOLDERS.iter().map(|path| (*path, &[][..]));
    for (path, data) in nodes.chain([(VOLUME_IDS, &counter[..]), (CLUSTER, &cluster[..])]) {
        writer.add_create(path, data, &options).map_err(refuse)?;
    }
    match writer.commit().await.map_err(Error::from) {
        Ok(_) => {
            tracing::info!(%cluster_id, place = config.connect, "new cluster begun");
            Ok(())
        }
        Err(Error::NodeExists) => Ok(()),
        Err(error) => Err(refuse(error)),
    }
}

/// Access keys are as good as passwords.
async fn warn_if_open_to_all(client: &Client) -> Result<(), Error> {
    let (acls, _) = client.get_acl(BUCKETS).await?;
    let open =
        acls.iter().any(|acl| acl.scheme() == "world" && acl.permission().has(Permission::READ));
    if open {
        tracing::warn!(
            "everybody who reaches ZooKeeper may read the access keys of all buckets: set \
             zookeeper.auth before a cluster is begun, or protect the nodes by hand"
        );
    }
    Ok(())
}

fn refused(config: &ZooKeeperConfig, error: Error) -> CoordinatorError {
    match error {
        Error::NoAuth | Error::AuthFailed => CoordinatorError::Denied(config.connect.clone()),
        error if error.is_unsure() => {
            let servers = config.servers().to_owned();
            CoordinatorError::Unavailable { servers, reason: error.to_string() }
        }
        error => {
            let (what, reason) = (config.connect.clone(), error.to_string());
            CoordinatorError::Refused { what, reason }
        }
    }
}
