//! Names and volumes compared across the cluster.
//!
//! First the replicas of a volume are listed, then all names are read, in this order: what a
//! listing has and no name holds by then was not committed before, or has been replaced since.
//! What remains is looked at once more, needle by needle, before it is believed:
//!
//! - An **orphan** tells its name and version. It is one if it is older than the grace, if its
//!   name's row does not hold it, and if it is not queued for deletion. To be deleted it is
//!   [discarded](crate::Names::discard): the row is looked at again in the same transaction, so
//!   what is in use is never deleted. The grace must be longer than any upload takes.
//! - A needle is **missing** on a replica if a name's row holds it before and after, and the
//!   replica still does not have it. Fetching it from the others is the keeper's work.
//! - Replicas may fit the names and still not be alike: one has an orphan that others have not, or
//!   has missed a delete. Their digests tell: see `agreement`.

mod agreement;
mod holdings;
mod job;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use hayrick_store::format::needle::Kind;
use hayrick_store::volume::Held;
use hayrick_store::{Key, Meta, NeedleId, VolumeId};
use serde::{Deserialize, Serialize};

use self::agreement::Compared;
pub use self::agreement::{Agreement, ReplicaNeedles};
use self::holdings::Holdings;
pub(crate) use self::job::FsckJob;
use crate::rebuild::name_of;
use crate::{
    BucketName, Coordinator, DirectoryError, Discard, ListQuery, MAX_LIST_LIMIT, Names, ObjectName,
    Row, StoreId, Stores, version_ms,
};

/// Listed keys that are in memory at a time, of as many volumes as that is.
const MAX_KEYS_IN_MEMORY: usize = 16 << 20;
/// Of more needles that a volume lacks only the first are told.
const MAX_MISSING: usize = 1_000;
/// Orphans that are looked at together.
const BATCH: usize = 256;
/// Queued needles that are known by name; others may be queued once more, which does no harm.
const MAX_QUEUED: usize = 1 << 20;

/// What to compare, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FsckRequest {
    /// These volumes; all where none is named.
    #[serde(default)]
    pub volumes: Vec<VolumeId>,
    /// Needles younger than this, in milliseconds, may be of an upload that is under way. They
    /// are left alone.
    pub grace_ms: u64,
    /// Whether orphans are queued for deletion.
    #[serde(default)]
    pub delete_orphans: bool,
}

/// How far a comparison is, or what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsckStatus {
    /// Whether it is under way.
    pub running: bool,
    /// Volumes to be compared.
    pub volumes: usize,
    /// Volumes whose replicas have told their keys so far.
    #[serde(default)]
    pub listed: usize,
    /// Names read so far; they are read once for some millions of needles.
    pub names: u64,
    /// What was found, volume by volume.
    pub findings: Vec<FsckFinding>,
    /// Why it did not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// What was found in a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsckFinding {
    /// Which volume.
    pub volume: VolumeId,
    /// Its stores that did not list what they have. Nothing is known of their replicas.
    pub silent: Vec<StoreId>,
    /// Whether its replicas hold the same.
    #[serde(default)]
    pub agreement: Agreement,
    /// What each of them holds, if they are unlike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaNeedles>,
    /// Needles that are alive on some replica.
    pub needles: u64,
    /// Needles that no name holds.
    pub orphans: u64,
    /// Bytes of their records, on one replica.
    pub orphan_bytes: u64,
    /// Orphans that were queued for deletion just now.
    pub queued: u64,
    /// Needles that no name holds, younger than the grace.
    pub young: u64,
    /// Needles that were stored through a store's own door, under no name.
    pub unnamed: u64,
    /// Needles that no name holds and that cannot tell theirs.
    pub unreadable: u64,
    /// Needles of names that some replica lacks.
    pub missing_needles: u64,
    /// The first of them.
    pub missing: Vec<Missing>,
}

/// A needle that a replica lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Which needle.
    pub needle: NeedleId,
    /// The bucket of the name that holds it.
    pub bucket: BucketName,
    /// The name that holds it.
    pub name: ObjectName,
    /// The stores that lack it.
    pub stores: Vec<StoreId>,
}

/// One comparison.
pub(crate) struct Fsck {
    pub(crate) coordinator: Arc<dyn Coordinator>,
    pub(crate) names: Arc<dyn Names>,
    pub(crate) stores: Arc<dyn Stores>,
    /// Needles of versions after this are young.
    pub(crate) young_after_ms: u64,
    /// When orphans may be deleted; `None` where they are only counted.
    pub(crate) due_ms: Option<u64>,
}

type Group = BTreeMap<VolumeId, Holdings>;

impl Fsck {
    /// Compares volumes. `tell` is told how far it is.
    pub(crate) async fn run(
        &self,
        volumes: Vec<VolumeId>,
        tell: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<(), DirectoryError> {
        let mut volumes = volumes.into_iter().peekable();
        while volumes.peek().is_some() {
            let (mut group, mut keys) = (Group::new(), 0);
            while keys < MAX_KEYS_IN_MEMORY
                && let Some(id) = volumes.next()
            {
                let map = self.coordinator.map();
                let volume = map.volumes.get(&id).ok_or(DirectoryError::NoVolume(id))?;
                let holdings = Holdings::list(&*self.stores, id, &volume.value).await;
                keys += holdings.len();
                group.insert(id, holdings);
                tell(Step::Listed);
            }
            self.read_names(&mut group, tell).await?;
            let replicas = group.iter().map(|(&id, holdings)| (id, holdings.stores())).collect();
            let mut compared = agreement::compare(&*self.stores, &replicas).await;
            for (id, holdings) in group {
                let compared = compared.remove(&id).unwrap_or_default();
                tell(Step::Found(self.judge(id, holdings, compared).await?));
            }
        }
        Ok(())
    }

    /// Notes what every name holds.
    async fn read_names(
        &self,
        group: &mut Group,
        tell: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<(), DirectoryError> {
        let buckets: Vec<BucketName> = self.coordinator.map().buckets.keys().cloned().collect();
        for bucket in buckets {
            let mut cursor = None;
            loop {
                let query = ListQuery {
                    prefix: String::new(),
                    delimiter: None,
                    cursor,
                    limit: MAX_LIST_LIMIT,
                };
                let page = self.names.list(&bucket, query).await?;
                for (name, row) in &page.objects {
                    for needle in row.needle_ids() {
                        if let Some(holdings) = group.get_mut(&needle.volume) {
                            holdings.note_use(needle, row.version, &bucket, name);
                        }
                    }
                }
                tell(Step::Names(page.objects.len()));
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn judge(
        &self,
        volume: VolumeId,
        holdings: Holdings,
        compared: Compared,
    ) -> Result<FsckFinding, DirectoryError> {
        let mut finding = FsckFinding {
            volume,
            silent: holdings.silent(),
            agreement: compared.agreement,
            replicas: compared.replicas,
            needles: holdings.needles(),
            orphans: 0,
            orphan_bytes: 0,
            queued: 0,
            young: 0,
            unnamed: 0,
            unreadable: 0,
            missing_needles: 0,
            missing: Vec::new(),
        };
        self.judge_missing(&holdings, &mut finding).await?;
        let queued = self.names.due_in(volume, 0..=u64::MAX, MAX_QUEUED).await?;
        let queued: HashSet<Key> = queued.into_iter().map(|garbage| garbage.id.key).collect();
        for (store, keys) in holdings.unused(&queued) {
            for keys in keys.chunks(BATCH) {
                self.judge_unused(&holdings, &store, keys, &mut finding).await?;
            }
        }
        Ok(finding)
    }

    async fn judge_missing(
        &self,
        holdings: &Holdings,
        finding: &mut FsckFinding,
    ) -> Result<(), DirectoryError> {
        for lack in holdings.lacks() {
            let stores = holdings.still_without(&*self.stores, lack.needle.key, &lack.stores).await;
            if stores.is_empty() || !self.holds(&lack.bucket, &lack.name, lack.needle).await? {
                continue;
            }
            finding.missing_needles += 1;
            if finding.missing.len() < MAX_MISSING {
                finding.missing.push(Missing { stores, ..lack.clone() });
            }
        }
        Ok(())
    }

    /// Looks at needles that no name held when the names were read.
    async fn judge_unused(
        &self,
        holdings: &Holdings,
        store: &StoreId,
        mut keys: &[Key],
        finding: &mut FsckFinding,
    ) -> Result<(), DirectoryError> {
        while !keys.is_empty() {
            let found = holdings.records(&*self.stores, store, keys).await;
            let Ok(found) = found else {
                // The store was there when it listed them.
                finding.silent.push(store.clone());
                return Ok(());
            };
            keys = keys.get(found.len().max(1)..).unwrap_or_default();
            for (key, held) in found {
                match held {
                    // It was deleted meanwhile.
                    Held::Nothing => {}
                    Held::Unreadable => finding.unreadable += 1,
                    Held::Record(record) if record.kind() != Kind::Data => {}
                    Held::Record(record) => {
                        let needle =
                            NeedleId { volume: finding.volume, key, cookie: record.cookie };
                        let bytes = record.record_bytes();
                        match Meta::from_bytes(record.meta()) {
                            Ok(meta) => self.judge_needle(needle, bytes, &meta, finding).await?,
                            Err(_) => finding.unreadable += 1,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn judge_needle(
        &self,
        needle: NeedleId,
        bytes: u64,
        meta: &Meta,
        finding: &mut FsckFinding,
    ) -> Result<(), DirectoryError> {
        let Some((bucket, name)) = name_of(meta) else {
            finding.unnamed += 1;
            return Ok(());
        };
        if version_ms(meta.version) > self.young_after_ms {
            finding.young += 1;
            return Ok(());
        }
        if self.holds(&bucket, &name, needle).await? {
            return Ok(());
        }
        finding.orphans += 1;
        finding.orphan_bytes += bytes;
        if let Some(due_ms) = self.due_ms {
            let discard = Discard { bucket, name, needles: vec![needle], due_ms };
            let queued = self.names.discard(discard).await?;
            finding.queued += u64::try_from(queued.len()).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    async fn holds(
        &self,
        bucket: &BucketName,
        name: &ObjectName,
        needle: NeedleId,
    ) -> Result<bool, DirectoryError> {
        let row: Option<Row> = self.names.get(bucket, name).await?;
        Ok(row.is_some_and(|row| row.needle_ids().any(|id| id == needle)))
    }
}

/// How far a comparison has come.
pub(crate) enum Step {
    /// The replicas of one more volume have told their keys.
    Listed,
    /// So many more names are read.
    Names(usize),
    /// A volume is done.
    Found(FsckFinding),
}
