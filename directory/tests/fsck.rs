//! Names and volumes compared, on real stores.
#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this file is a test")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hayrick_directory::fsck::{Agreement, FsckFinding, FsckRequest};
use hayrick_directory::{
    Access, Bucket, Condition, Coordinator as _, Directory, DirectoryConfig, HybridClock,
    NeedleRef, Parts, Row, StoreId, StorePool, SystemClock, open_files, version_ms,
};
use hayrick_store::config::StoreConfig;
use hayrick_store::{Epoch, Meta, NeedleId, NewNeedle, Store, StoreHandle};
use tokio_util::sync::CancellationToken;

/// Long enough that nothing in a test is older.
const HOUR_MS: u64 = 3_600_000;

/// A directory and two stores, which both have every volume.
struct Cluster {
    directory: Directory,
    stores: Vec<(StoreId, Arc<Store>)>,
    bucket: Bucket,
}

impl Cluster {
    async fn open(folder: &Path) -> Self {
        let mut config = DirectoryConfig::default();
        config.garbage.grace_ms = 1;
        config.garbage.interval_ms = 10;
        config.growth.min_disk_free_bytes = 1;
        config.growth.min_writable_volumes = 1;
        config.names.min_free_bytes = 1;
        let (coordinator, names) = open_files(&folder.join("directory"), &config.names).unwrap();
        let mut stores: Vec<(StoreId, Arc<Store>)> = Vec::new();
        for id in ["a", "b"] {
            let (disks, min_free) = (vec![folder.join(id)], "1MiB".parse().unwrap());
            let options = StoreConfig { disks, min_free, ..StoreConfig::default() };
            let store = Store::open(coordinator.map().cluster_id, options.check().unwrap());
            stores.push((id.parse().unwrap(), store.unwrap()));
        }
        let handles =
            stores.iter().map(|(id, store)| (id.clone(), StoreHandle::Local(Arc::clone(store))));
        let directory = Directory::new(Parts {
            coordinator: Arc::new(coordinator),
            names: Arc::new(names),
            stores: Arc::new(StorePool::new(handles)),
            clock: HybridClock::new(SystemClock, 0),
            config,
        })
        .await
        .unwrap();
        let access = Access::Public;
        let bucket = directory.create_bucket("photos".parse().unwrap(), access, access, 2).await;
        Self { directory, stores, bucket: bucket.unwrap() }
    }

    /// Stores a needle on both stores.
    async fn store(&self, name: &str) -> (NeedleId, u64) {
        let place = self.directory.assign(&self.bucket, 5).await.unwrap();
        let version = self.directory.next_version();
        let named = Meta {
            bucket: self.bucket.name.to_string(),
            name: name.to_owned(),
            version,
            ..Meta::default()
        };
        let meta = if name.is_empty() { Meta::default() } else { named };
        let NeedleId { volume, key, cookie } = place.id;
        let needle = NewNeedle { key, cookie, meta, data: b"hello".to_vec().into() };
        for (_, store) in &self.stores {
            store.put(volume, Epoch::new(place.epoch), vec![needle.clone()]).await.unwrap();
        }
        (place.id, version)
    }

    async fn upload(&self, name: &str) -> NeedleId {
        let (id, version) = self.store(name).await;
        let row = Row {
            version,
            size_bytes: 5,
            modified_ms: version_ms(version),
            needles: [NeedleRef { id, size_bytes: 5 }].into(),
            ..Row::default()
        };
        let name = name.parse().unwrap();
        self.directory.commit(&self.bucket.name, &name, row, Condition::None).await.unwrap();
        id
    }

    /// What is found, summed up over all volumes.
    async fn fsck(&self, grace_ms: u64, delete_orphans: bool) -> FsckFinding {
        let request = FsckRequest { volumes: Vec::new(), grace_ms, delete_orphans };
        self.directory.start_fsck(request).unwrap();
        while self.directory.fsck_status().running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = self.directory.fsck_status();
        assert_eq!((status.failed, status.findings.len()), (None, status.volumes));
        let sum = status.findings.into_iter().reduce(|mut sum, other| {
            sum.needles += other.needles;
            sum.orphans += other.orphans;
            sum.queued += other.queued;
            sum.young += other.young;
            sum.unnamed += other.unnamed;
            sum.unreadable += other.unreadable;
            sum.missing_needles += other.missing_needles;
            sum.missing.extend(other.missing);
            sum.silent.extend(other.silent);
            sum.replicas.extend(other.replicas);
            sum.agreement =
                if sum.agreement == Agreement::Alike { other.agreement } else { sum.agreement };
            sum
        });
        sum.unwrap()
    }

    /// Deletes all garbage that is due.
    async fn reap(&self) {
        let stop = CancellationToken::new();
        let background = self.directory.spawn_background(&stop);
        while self.directory.garbage_len().await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        background.finished().await;
    }
}

#[tokio::test]
async fn orphans_are_found_and_deleted_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(folder.path()).await;
    let kept = cluster.upload("kept").await;
    cluster.upload("replaced").await;
    cluster.upload("replaced").await;
    let (orphan, _) = cluster.store("never-committed").await;
    let (loser, _) = cluster.store("kept").await;
    let (unnamed, _) = cluster.store("").await;

    let young = cluster.fsck(HOUR_MS, true).await;
    assert_eq!((young.orphans, young.young, young.queued), (0, 2, 0), "may be under way");
    // Versions are of whole milliseconds.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let looked = cluster.fsck(0, false).await;
    assert_eq!((looked.needles, looked.orphans, looked.queued), (6, 2, 0));
    assert_eq!(looked.agreement, Agreement::Alike);
    assert_eq!((looked.unnamed, looked.missing_needles, looked.unreadable), (1, 0, 0));

    assert_eq!(cluster.fsck(0, true).await.queued, 2);
    cluster.reap().await;
    for (_, store) in &cluster.stores {
        for (id, there) in [(kept, true), (unnamed, true), (orphan, false), (loser, false)] {
            assert_eq!(
                StoreHandle::Local(Arc::clone(store)).read(id, 0..5).await.is_ok(),
                there,
                "{id}"
            );
        }
    }
    let after = cluster.fsck(0, true).await;
    assert_eq!((after.needles, after.orphans, after.silent.len()), (3, 0, 0));
}

#[tokio::test]
async fn a_needle_that_one_replica_lacks_is_named_with_its_object() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(folder.path()).await;
    let [lost, whole] = [cluster.upload("lost").await, cluster.upload("whole").await];
    let (b, store) = cluster.stores.last().unwrap();
    store.delete(lost, Epoch::new(1)).await.unwrap();
    let found = cluster.fsck(0, true).await;
    assert_eq!((found.missing_needles, found.orphans), (1, 0));
    let missing = found.missing.first().unwrap();
    assert_eq!((missing.needle, missing.name.as_str()), (lost, "lost"));
    assert_eq!(missing.stores, std::slice::from_ref(b));
    assert_ne!(lost, whole);
}

/// Of a write that one store took and the other did not, and that nobody has taken back yet.
#[tokio::test]
async fn replicas_that_are_unlike_are_named_though_all_names_fit() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::open(folder.path()).await;
    cluster.upload("whole").await;
    let place = cluster.directory.assign(&cluster.bucket, 5).await.unwrap();
    let NeedleId { volume, key, cookie } = place.id;
    let needle = NewNeedle { key, cookie, meta: Meta::default(), data: b"hello".to_vec().into() };
    let [(more, store), (less, _)] = &cluster.stores[..] else { panic!("two stores") };
    store.put(volume, Epoch::new(place.epoch), vec![needle]).await.unwrap();
    let found = cluster.fsck(0, false).await;
    assert_eq!((found.agreement, found.missing_needles), (Agreement::Unlike, 0));
    let held = |id: &StoreId| {
        let replica = found.replicas.iter().find(|replica| replica.store == *id);
        replica.unwrap().live_needles
    };
    assert_eq!(held(more), held(less) + 1);
}
