//! The cluster as operators see it, and what they tell its keeper.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hayrick_service::ApiError;
use hayrick_store::VolumeId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::api_error;
use crate::{
    ClusterMap, Directory, Host, Illness, KeeperInfo, KnownStore, Member, MemberDisk, Order,
    OrderId, Rack, StoreId, Volume, VolumeState,
};

/// The cluster map at one moment, without buckets and their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Names the cluster.
    pub cluster_id: Uuid,
    /// Every store that was ever seen, by id. Empty where all stores are in one process.
    pub stores: Vec<StoreEntry>,
    /// Every volume, by id.
    pub volumes: Vec<VolumeEntry>,
    /// What operators have told the keeper.
    pub orders: Vec<NamedOrder>,
    /// The keeper that leads; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<KeeperInfo>,
}

/// A store of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreEntry {
    /// Its id.
    pub store: StoreId,
    /// The rack it was last seen in.
    pub rack: Rack,
    /// The machine it was last seen on: its own id, where none was named.
    pub host: Host,
    /// What the keeper finds wrong with it; absent while it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ill: Option<Illness>,
    /// Whether its process is there now.
    pub alive: bool,
    /// When it was first seen, in milliseconds since 1970.
    pub since_ms: u64,
    /// Whether it is being emptied.
    pub draining: bool,
    /// Where its internal interface listens; absent while it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its disks; none while it is gone.
    #[serde(default)]
    pub disks: Vec<MemberDisk>,
    /// How many volumes the map has on it.
    pub volumes: usize,
}

/// A volume of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeEntry {
    /// Its id.
    pub volume: VolumeId,
    /// The stores that hold it.
    pub replicas: Vec<StoreId>,
    /// Rises with every change of its replicas.
    pub epoch: u64,
    /// What the cluster lets be done with it.
    pub state: VolumeState,
    /// The store whose replica is being moved elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<StoreId>,
    /// The store that was taken in last, and does not hold all yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<StoreId>,
}

/// An order and its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedOrder {
    /// By this it is taken back.
    pub id: OrderId,
    /// What the keeper was told.
    #[serde(flatten)]
    pub order: Order,
}

/// What the cluster lets be done with a volume from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateChange {
    /// The state.
    pub state: VolumeState,
}

impl From<&ClusterMap> for ClusterStatus {
    fn from(map: &ClusterMap) -> Self {
        let stores = map.stores.iter().map(|(id, known)| store_entry(map, id, known));
        let volumes = map.volumes.iter().map(|(&volume, entry)| {
            let Volume { replicas, epoch, state, moving, joining } = entry.value.clone();
            VolumeEntry { volume, replicas, epoch, state, moving, joining }
        });
        let orders = map.orders.iter();
        let orders = orders.map(|(id, order)| NamedOrder { id: id.clone(), order: order.clone() });
        Self {
            cluster_id: map.cluster_id,
            stores: stores.collect(),
            volumes: volumes.collect(),
            orders: orders.collect(),
            keeper: map.keeper.clone(),
        }
    }
}

fn store_entry(map: &ClusterMap, id: &StoreId, known: &KnownStore) -> StoreEntry {
    let (address, disks) = known.member.clone().map_or((None, Vec::new()), |member| {
        let Member { address, disks, .. } = member;
        (Some(address), disks)
    });
    let on_it = map.volumes.values().filter(|volume| volume.value.replicas.contains(id));
    StoreEntry {
        store: id.clone(),
        rack: known.rack.clone(),
        host: known.host.clone(),
        ill: map.ill.get(id).cloned(),
        alive: known.member.is_some(),
        since_ms: known.since_ms,
        draining: map.is_draining(id),
        address,
        disks,
        volumes: on_it.count(),
    }
}

pub(super) async fn show(State(directory): State<Directory>) -> Json<ClusterStatus> {
    Json(ClusterStatus::from(&*directory.map()))
}

pub(super) async fn put_order(
    State(directory): State<Directory>,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Json<NamedOrder>), ApiError> {
    directory.put_order(order.clone()).await.map_err(api_error)?;
    tracing::info!(%order, "order given");
    Ok((StatusCode::CREATED, Json(NamedOrder { id: order.id(), order })))
}

pub(super) async fn remove_order(
    State(directory): State<Directory>,
    Path(id): Path<OrderId>,
) -> Result<StatusCode, ApiError> {
    directory.remove_order(&id).await.map_err(api_error)?;
    tracing::info!(order = %id, "order taken back");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_store(
    State(directory): State<Directory>,
    Path(id): Path<StoreId>,
) -> Result<StatusCode, ApiError> {
    directory.remove_store(&id).await.map_err(api_error)?;
    tracing::info!(store = %id, "store struck from the map");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn set_state(
    State(directory): State<Directory>,
    Path(id): Path<VolumeId>,
    Json(StateChange { state }): Json<StateChange>,
) -> Result<StatusCode, ApiError> {
    directory.set_volume_state(id, state).await.map_err(api_error)?;
    tracing::info!(volume = %id, ?state, "state of a volume set");
    Ok(StatusCode::NO_CONTENT)
}
