//! What stands where in ZooKeeper.
//!
//! All paths are below the folder of the cluster, `/hayrick` by default.
//!
//! | node | kind | value | changed |
//! |---|---|---|---|
//! | `/cluster` | durable | [`ClusterRecord`]: the cluster's id | never; made first |
//! | `/ids/volumes` | durable | [`VolumeIds`]: the highest volume id given out | compare-and-set |
//! | `/ids/keys/<vid>` | durable | [`KeyLease`]: the first key of the volume never leased | compare-and-set |
//! | `/volumes/<vid>` | durable | [`Volume`](crate::Volume): replicas, epoch, state | compare-and-set |
//! | `/buckets/<name>` | durable | [`Bucket`](crate::Bucket) | compare-and-set |
//! | `/buckets/<name>/<key id>` | durable | [`AccessKey`](crate::AccessKey), with its secret | never; removed before its bucket, in one step |
//! | `/known/<store>` | durable | [`KnownRecord`]: the rack and the machine a store was last seen in | with each registration, in one step |
//! | `/stores/<rack>/<store>` | ephemeral | [`MemberRecord`]: addresses, disks, boot id | never; made and removed |
//! | `/directories/<boot id>` | ephemeral | [`DirectoryRecord`]: where a directory is reached | never; made and removed |
//! | `/keeper/leader` | ephemeral | [`LeaderRecord`]: who leads | never; made and removed |
//! | `/orders/<order>` | durable | [`Order`](crate::Order): what an operator told the keeper | never; made and removed |
//! | `/ill/<store>` | durable | [`Illness`](crate::Illness): a store that the keeper finds not to be well | never; made and removed |
//!
//! Each value is JSON in an envelope, `{"format":1,"stamp":"..","value":{..}}`. The stamp
//! is drawn for each change: a process that lost its connection in the middle of one knows
//! by it whether the change was made. A revision is the node's version plus one. A leader's
//! term is the transaction that made its node, so it only rises.
//!
//! Rules: a store's `/known` node is written in the same transaction as its ephemeral node,
//! so of two processes with one store id, in whatever racks, one loses. An access key is a
//! child of its bucket, so it cannot outlive it. Nothing is larger than
//! [`MAX_NODE_BYTES`]; ZooKeeper answers a larger one by closing the connection.

use hayrick_store::VolumeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::coordinator::MemberDisk;
use crate::{BucketName, CoordinatorError, Host, OrderId, Rack, StoreId};

const FORMAT: u32 = 1;

/// Half of what ZooKeeper takes by default, so that a transaction has room for it too.
pub(super) const MAX_NODE_BYTES: usize = 512 << 10;

pub(super) const CLUSTER: &str = "/cluster";
pub(super) const VOLUME_IDS: &str = "/ids/volumes";
pub(super) const VOLUMES: &str = "/volumes";
pub(super) const BUCKETS: &str = "/buckets";
pub(super) const KNOWN: &str = "/known";
pub(super) const STORES: &str = "/stores";
pub(super) const DIRECTORIES: &str = "/directories";
pub(super) const LEADER: &str = "/keeper/leader";
/// Made with the first order: clusters were begun before there were any.
pub(super) const ORDERS: &str = "/orders";
/// Made with the first store that is ill, for the same reason.
pub(super) const ILL: &str = "/ill";
/// The folders that are made with a cluster, parents first.
pub(super) const FOLDERS: [&str; 8] =
    ["/ids", "/ids/keys", VOLUMES, BUCKETS, KNOWN, STORES, DIRECTORIES, "/keeper"];

/// Which cluster this is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ClusterRecord {
    pub(super) cluster_id: Uuid,
}

/// The counter of volume ids.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VolumeIds {
    /// The highest given out; 0 before the first.
    pub(super) last: u32,
}

/// The counter of a volume's keys.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeyLease {
    /// The first never leased.
    pub(super) next: u64,
}

/// A store that was seen once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KnownRecord {
    pub(super) rack: Rack,
    /// Absent where an older version, or an operator, did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<Host>,
    pub(super) since_ms: u64,
}

/// The process that is a store now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemberRecord {
    pub(super) cluster_id: Uuid,
    pub(super) boot_id: Uuid,
    pub(super) address: String,
    pub(super) disks: Vec<MemberDisk>,
}

/// The process that is a directory now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DirectoryRecord {
    pub(super) cluster_id: Uuid,
    pub(super) address: String,
}

/// The keeper that leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaderRecord {
    pub(super) name: String,
    /// Where its admin interface listens, as `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
    pub(super) boot_id: Uuid,
}

/// A node that is part of the cluster map.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    Cluster,
    Volume(VolumeId),
    Bucket(BucketName),
    AccessKey(BucketName, String),
    Known(StoreId),
    Member(Rack, StoreId),
    Directory(Uuid),
    Leader,
    Order(OrderId),
    Ill(StoreId),
}

impl Entry {
    /// What stands at a path; `None` for folders, counters, and what others put there.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        match *segments.as_slice() {
            ["cluster"] => Some(Self::Cluster),
            ["volumes", id] => id.parse().ok().map(Self::Volume),
            ["buckets", name] => name.parse().ok().map(Self::Bucket),
            ["buckets", name, id] => Some(Self::AccessKey(name.parse().ok()?, id.to_owned())),
            ["known", store] => store.parse().ok().map(Self::Known),
            ["stores", rack, store] => Some(Self::Member(rack.parse().ok()?, store.parse().ok()?)),
            ["directories", id] => id.parse().ok().map(Self::Directory),
            ["keeper", "leader"] => Some(Self::Leader),
            ["orders", order] => order.parse().ok().map(Self::Order),
            ["ill", store] => store.parse().ok().map(Self::Ill),
            _ => None,
        }
    }

    pub(super) fn path(&self) -> String {
        match self {
            Self::Cluster => CLUSTER.to_owned(),
            Self::Volume(id) => format!("{VOLUMES}/{id}"),
            Self::Bucket(name) => format!("{BUCKETS}/{name}"),
            Self::AccessKey(name, id) => format!("{BUCKETS}/{name}/{id}"),
            Self::Known(store) => format!("{KNOWN}/{store}"),
            Self::Member(rack, store) => format!("{}/{store}", rack_path(rack)),
            Self::Directory(id) => format!("{DIRECTORIES}/{id}"),
            Self::Leader => LEADER.to_owned(),
            Self::Order(id) => format!("{ORDERS}/{id}"),
            Self::Ill(store) => format!("{ILL}/{store}"),
        }
    }
}

pub(super) fn rack_path(rack: &Rack) -> String {
    format!("{STORES}/{rack}")
}

pub(super) fn key_lease_path(volume: VolumeId) -> String {
    format!("/ids/keys/{volume}")
}

#[derive(Serialize)]
struct EnvelopeRef<'a, T> {
    format: u32,
    stamp: Uuid,
    value: &'a T,
}

#[derive(Deserialize)]
struct Envelope<T> {
    stamp: Uuid,
    value: T,
}

/// The format alone: a newer one may look different in all else.
#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// A node's content as it is written. `stamp` is drawn for each change.
pub(super) fn encode(stamp: Uuid, value: &impl Serialize) -> Result<Vec<u8>, CoordinatorError> {
    let bytes = serde_json::to_vec(&EnvelopeRef { format: FORMAT, stamp, value })
        .map_err(|_| CoordinatorError::Invalid("the entry has no JSON form"))?;
    if bytes.len() > MAX_NODE_BYTES {
        return Err(CoordinatorError::Invalid("the entry is too large for ZooKeeper"));
    }
    Ok(bytes)
}

/// A node's stamp and value, or why it has none.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(Uuid, T), String> {
    let FormatOnly { format } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if format != FORMAT {
        return Err(format!("it has format {format}, this version reads format {FORMAT}"));
    }
    let envelope: Envelope<T> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    Ok((envelope.stamp, envelope.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_entries_and_back() {
        for path in [
            "/cluster",
            "/volumes/7",
            "/buckets/photos",
            "/buckets/photos/00ff",
            "/known/store-1",
            "/stores/rack.a/store-1",
            "/directories/67e55044-10b1-426f-9247-bb680e5fe0c8",
            "/keeper/leader",
            "/orders/move:7:a:b",
            "/ill/store-1",
        ] {
            assert_eq!(Entry::parse(path).unwrap().path(), path);
        }
        for path in [
            "",
            "/",
            "/volumes",
            "/volumes/0",
            "/volumes/x",
            "/ids/keys/1",
            "/stores/a",
            "/orders/x",
        ] {
            assert_eq!(Entry::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_store_may_say_nothing_of_its_machine() {
        let old = br#"{"format":1,"stamp":"67e55044-10b1-426f-9247-bb680e5fe0c8","value":{"rack":"r1","since_ms":7}}"#;
        let (_, record) = decode::<KnownRecord>(old).unwrap();
        let rack = "r1".parse().unwrap();
        assert_eq!(record, KnownRecord { rack, host: None, since_ms: 7 });
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let stamp = Uuid::new_v4();
        let bytes = encode(stamp, &VolumeIds { last: 7 }).unwrap();
        let (found, value) = decode::<VolumeIds>(&bytes).unwrap();
        assert_eq!((found, value.last), (stamp, 7));
        for cut in 0..bytes.len() {
            assert!(decode::<VolumeIds>(&bytes[..cut]).is_err(), "cut to {cut} bytes");
        }
        let newer = br#"{"format":2,"anything":1}"#;
        assert!(decode::<VolumeIds>(newer).unwrap_err().contains("format 2"));
        let large = encode(stamp, &"x".repeat(MAX_NODE_BYTES));
        assert!(matches!(large, Err(CoordinatorError::Invalid(_))));
    }
}
