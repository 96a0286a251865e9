//! From nodes to the cluster map.

use serde::de::DeserializeOwned;
use uuid::Uuid;
use zookeeper_client::Stat;

use super::layout::{
    ClusterRecord, DirectoryRecord, Entry, KnownRecord, LeaderRecord, MemberRecord, decode,
};
use crate::coordinator::{DirectoryInfo, KeeperInfo, KnownStore, Member, Versioned};
use crate::{AccessKey, Bucket, ClusterMap, Host, Order};

/// Why a node does not become part of the map.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// It is not what was written. The map keeps what it had.
    Unreadable(String),
    /// The tree is another cluster's, or nobody's: nothing in it counts.
    OtherCluster(Option<Uuid>),
}

/// The revision of a node: 1 for a new one.
pub(super) fn revision(stat: &Stat) -> u64 {
    u64::try_from(stat.version).unwrap_or(0).saturating_add(1)
}

/// Makes the map show a node, or that it is gone.
pub(super) fn apply(
    map: &mut ClusterMap,
    entry: &Entry,
    node: Option<(&[u8], &Stat)>,
) -> Result<(), Damage> {
    let Some((data, stat)) = node else { return remove(map, entry) };
    match entry {
        Entry::Cluster => {
            let record: ClusterRecord = value(data)?;
            if record.cluster_id != map.cluster_id {
                return Err(Damage::OtherCluster(Some(record.cluster_id)));
            }
        }
        Entry::Volume(id) => {
            map.volumes.insert(*id, Versioned { revision: revision(stat), value: value(data)? });
        }
        Entry::Bucket(name) => {
            let bucket: Bucket = value(data)?;
            belongs(bucket.name == *name)?;
            map.buckets.insert(name.clone(), Versioned { revision: revision(stat), value: bucket });
        }
        Entry::AccessKey(bucket, id) => {
            let key: AccessKey = value(data)?;
            belongs(key.bucket == *bucket && key.id == *id)?;
            map.access_keys.insert(id.clone(), key);
        }
        Entry::Known(store) => {
            let KnownRecord { rack, host, since_ms } = value(data)?;
            let host = host.unwrap_or_else(|| Host::from(store));
            let member = map.stores.get(store).and_then(|known| known.member.clone());
            map.stores.insert(store.clone(), KnownStore { rack, host, since_ms, member });
        }
        Entry::Member(rack, store) => {
            let MemberRecord { cluster_id, boot_id, address, disks } = value(data)?;
            belongs(cluster_id == map.cluster_id)?;
            let (rack, session) = (rack.clone(), stat.ephemeral_owner);
            let since_ms = u64::try_from(stat.ctime).unwrap_or(0);
            let known = map.stores.entry(store.clone());
            let known = known.or_insert_with(|| {
                // Its record, which says more, is read next.
                let (rack, host) = (rack.clone(), Host::from(store));
                KnownStore { rack, host, since_ms, member: None }
            });
            known.member = Some(Member { rack, address, disks, boot_id, session });
        }
        Entry::Directory(id) => {
            let DirectoryRecord { cluster_id, address } = value(data)?;
            belongs(cluster_id == map.cluster_id)?;
            let session = stat.ephemeral_owner;
            map.directories.insert(*id, DirectoryInfo { address, session });
        }
        Entry::Leader => {
            let LeaderRecord { name, address, .. } = value(data)?;
            let term = u64::try_from(stat.czxid).unwrap_or(0);
            map.keeper = Some(KeeperInfo { name, address, term });
        }
        Entry::Order(id) => {
            let order: Order = value(data)?;
            belongs(order.id() == *id)?;
            map.orders.insert(id.clone(), order);
        }
        Entry::Ill(store) => drop(map.ill.insert(store.clone(), value(data)?)),
    }
    Ok(())
}

fn remove(map: &mut ClusterMap, entry: &Entry) -> Result<(), Damage> {
    match entry {
        Entry::Cluster => return Err(Damage::OtherCluster(None)),
        Entry::Volume(id) => drop(map.volumes.remove(id)),
        Entry::Bucket(name) => {
            map.buckets.remove(name);
            map.access_keys.retain(|_, key| key.bucket != *name);
        }
        Entry::AccessKey(bucket, id) => {
            // The id may stand for a key of another bucket.
            if map.access_keys.get(id).is_some_and(|key| key.bucket == *bucket) {
                map.access_keys.remove(id);
            }
        }
        Entry::Known(store) => drop(map.stores.remove(store)),
        Entry::Member(rack, store) => {
            if let Some(known) = map.stores.get_mut(store) {
                // It may have come back in another rack.
                known.member.take_if(|member| member.rack == *rack);
            }
        }
        Entry::Directory(id) => drop(map.directories.remove(id)),
        Entry::Leader => map.keeper = None,
        Entry::Order(id) => drop(map.orders.remove(id)),
        Entry::Ill(store) => drop(map.ill.remove(store)),
    }
    Ok(())
}

/// Copies what stands under these entries from one map to another.
pub(super) fn carry_over<'a>(
    from: &ClusterMap,
    to: &mut ClusterMap,
    entries: impl Iterator<Item = &'a Entry>,
) {
    for entry in entries {
        match entry {
            Entry::Volume(id) => {
                to.volumes.extend(from.volumes.get(id).map(|volume| (*id, volume.clone())));
            }
            Entry::Bucket(name) => {
                let bucket = from.buckets.get(name);
                to.buckets.extend(bucket.map(|bucket| (name.clone(), bucket.clone())));
            }
            Entry::AccessKey(bucket, id) => {
                let key = from.access_keys.get(id).filter(|key| key.bucket == *bucket);
                to.access_keys.extend(key.map(|key| (id.clone(), key.clone())));
            }
            Entry::Known(store) => {
                // Its member comes and goes by a node of its own.
                let known = from.stores.get(store).cloned();
                let known = known.map(|known| KnownStore { member: None, ..known });
                to.stores.extend(known.map(|known| (store.clone(), known)));
            }
            Entry::Order(id) => {
                let order = from.orders.get(id);
                to.orders.extend(order.map(|order| (id.clone(), order.clone())));
            }
            Entry::Ill(store) => {
                let illness = from.ill.get(store);
                to.ill.extend(illness.map(|illness| (store.clone(), illness.clone())));
            }
            // Those who are here now wrote what they are just now.
            Entry::Cluster | Entry::Member(..) | Entry::Directory(_) | Entry::Leader => {}
        }
    }
}

fn value<T: DeserializeOwned>(data: &[u8]) -> Result<T, Damage> {
    decode(data).map(|(_, value)| value).map_err(Damage::Unreadable)
}

fn belongs(holds: bool) -> Result<(), Damage> {
    if holds { Ok(()) } else { Err(Damage::Unreadable("it belongs elsewhere".to_owned())) }
}
