//! Loses the name database after random histories, and rebuilds it from real volume files.
#![expect(clippy::unwrap_used, reason = "all of this file is a test")]
#![expect(clippy::indexing_slicing, reason = "all of this file is a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hayrick_directory::rebuild::{Plan, Rebuild, RebuildError, Summary};
use hayrick_directory::{
    Access, Bucket, Condition, Coordinator as _, Directory, DirectoryConfig, DirectoryError,
    HybridClock, ListQuery, NeedleRef, ObjectName, Parts, Row, StorePool, SystemClock, open_files,
    version_ms,
};
use hayrick_store::config::StoreConfig;
use hayrick_store::volume::{OfflineVolume, Progress};
use hayrick_store::{Chunk, Epoch, Meta, NeedleId, NewNeedle, Store, StoreHandle};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const NAMES: u32 = 4;
const STEPS: u32 = 120;

/// A cluster in a folder, as a server has it.
struct Cluster {
    directory: Directory,
    store: Arc<Store>,
    bucket: Bucket,
}

/// An upload on its way.
struct Upload {
    name: ObjectName,
    version: u64,
    needles: Vec<NeedleRef>,
    whole: bool,
}

fn config(grace_ms: u64) -> DirectoryConfig {
    let mut config = DirectoryConfig::default();
    config.garbage.grace_ms = grace_ms;
    config.garbage.interval_ms = 10;
    config.growth.min_disk_free_bytes = 1;
    config.names.min_free_bytes = 1;
    config
}

impl Cluster {
    async fn open(folder: &Path, grace_ms: u64) -> Self {
        let config = config(grace_ms);
        let (coordinator, names) = open_files(&folder.join("directory"), &config.names).unwrap();
        let disks = vec![folder.join("disk")];
        let min_free = "1MiB".parse().unwrap();
        let options = StoreConfig { disks, min_free, ..StoreConfig::default() }.check().unwrap();
        let store = Store::open(coordinator.map().cluster_id, options).unwrap();
        let stores =
            StorePool::new([("local".parse().unwrap(), StoreHandle::Local(Arc::clone(&store)))]);
        let parts = Parts {
            coordinator: Arc::new(coordinator),
            names: Arc::new(names),
            stores: Arc::new(stores),
            clock: HybridClock::new(SystemClock, 0),
            config,
        };
        let directory = Directory::new(parts).await.unwrap();
        let name = "photos".parse().unwrap();
        let bucket = if let Some(bucket) = directory.bucket(&name) {
            bucket
        } else {
            let access = Access::Public;
            directory.create_bucket(name, access, access, 1).await.unwrap()
        };
        Self { directory, store, bucket }
    }

    async fn close(self) {
        drop(self.directory);
        self.store.close().await;
    }

    async fn chunk(&self, upload: &mut Upload, version: u64, data: Vec<u8>, count: u32) {
        let size_bytes = u32::try_from(data.len()).unwrap();
        let place = self.directory.assign(&self.bucket, size_bytes.into()).await.unwrap();
        let index = u32::try_from(upload.needles.len()).unwrap();
        let alone = index == 0 && count == 1;
        let meta = Meta {
            bucket: self.bucket.name.to_string(),
            name: upload.name.to_string(),
            content_type: "text/plain".to_owned(),
            version,
            chunk: (!alone).then_some(Chunk { index, count, object_size: 0 }),
            user: vec![("version".to_owned(), upload.version.to_string())],
            upload: if version == upload.version { 0 } else { upload.version },
        };
        let NeedleId { volume, key, cookie } = place.id;
        let needle = NewNeedle { key, cookie, meta, data: data.into() };
        self.store.put(volume, Epoch::new(place.epoch), vec![needle]).await.unwrap();
        upload.needles.push(NeedleRef { id: place.id, size_bytes });
    }

    /// Commits as the proxy does; discards what is refused.
    async fn commit(&self, mut upload: Upload, condition: Condition) {
        let mut version = upload.version;
        loop {
            let row = Row {
                version,
                size_bytes: upload.needles.iter().map(|needle| u64::from(needle.size_bytes)).sum(),
                content_type: "text/plain".into(),
                user: vec![("version".to_owned(), upload.version.to_string())],
                modified_ms: version_ms(version),
                needles: upload.needles.as_slice().into(),
            };
            let (bucket, name) = (&self.bucket.name, &upload.name);
            match self.directory.commit(bucket, name, row, condition.clone()).await {
                Ok(_) => return,
                Err(DirectoryError::StaleVersion { .. }) => {
                    version = self.directory.next_version();
                    let count = u32::try_from(upload.needles.len()).unwrap() + 1;
                    self.chunk(&mut upload, version, Vec::new(), count).await;
                }
                Err(DirectoryError::ConditionFailed { .. }) => return self.discard(upload).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn discard(&self, upload: Upload) {
        let needles = upload.needles.iter().map(|needle| needle.id).collect();
        let (bucket, name) = (&self.bucket.name, &upload.name);
        self.directory.discard(bucket, name, needles, Vec::new()).await.unwrap();
    }

    async fn rows(&self) -> BTreeMap<ObjectName, Row> {
        let query =
            ListQuery { prefix: String::new(), delimiter: None, cursor: None, limit: 1_000 };
        let page = self.directory.list(&self.bucket.name, query).await.unwrap();
        assert_eq!(page.cursor, None);
        page.objects.into_iter().collect()
    }

    fn live_needles(&self) -> u64 {
        self.store.status().volumes.iter().map(|volume| volume.live_needles).sum()
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

    /// Does random things, many uploads at a time, and leaves some of them unfinished.
    async fn live(&self, rng: &mut StdRng) {
        let mut uploads: Vec<Upload> = Vec::new();
        for _ in 0..STEPS {
            let name = format!("n/{}", rng.random_range(0..NAMES)).parse().unwrap();
            match rng.random_range(0..20) {
                0..5 => uploads.push(Upload {
                    name,
                    version: self.directory.next_version(),
                    needles: Vec::new(),
                    whole: false,
                }),
                5..11 if !uploads.is_empty() => {
                    let at = rng.random_range(0..uploads.len());
                    let upload = &mut uploads[at];
                    if !upload.whole {
                        upload.whole = rng.random_bool(0.7);
                        let next = u32::try_from(upload.needles.len()).unwrap() + 1;
                        let count = if upload.whole { next } else { 0 };
                        let data = vec![7; rng.random_range(0..50)];
                        self.chunk(upload, upload.version, data, count).await;
                    }
                }
                11..16 => {
                    if let Some(at) = uploads.iter().position(|upload| upload.whole) {
                        let upload = uploads.remove(at);
                        let current =
                            self.directory.lookup(&self.bucket.name, &upload.name).await.unwrap();
                        let seen = current.map_or(0, |row| row.version);
                        let condition = match rng.random_range(0..5) {
                            0 => Condition::IfAbsent,
                            1 => Condition::IfPresent,
                            2 => Condition::IfMatch(vec![seen]),
                            _ => Condition::None,
                        };
                        self.commit(upload, condition).await;
                    }
                }
                16..19 => {
                    let removed = self.directory.remove(&self.bucket.name, &name, Condition::None);
                    removed.await.unwrap();
                }
                _ => {
                    let volumes = self.store.volumes();
                    let volume = Arc::clone(&volumes[rng.random_range(0..volumes.len())]);
                    let compact = move || volume.compact(&Progress::default()).unwrap();
                    tokio::task::spawn_blocking(compact).await.unwrap();
                }
            }
        }
        for upload in uploads.into_iter().filter(|upload| upload.whole) {
            self.commit(upload, Condition::None).await;
        }
    }
}

fn volume_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("disk")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "vol")).collect()
}

fn rebuild(folder: &Path, files: &[PathBuf], apply: bool) -> Result<Summary, RebuildError> {
    let mut rebuild = Rebuild::begin(&folder.join("directory"), None)?;
    for file in files {
        let volume = OfflineVolume::open_path(file).unwrap();
        rebuild.scan(&volume, files.len() > 3, &Progress::default())?;
    }
    assert_eq!(rebuild.missing_volumes()?, []);
    let store = "local".parse().unwrap();
    rebuild.finish(&Plan { apply, partial: false, store, config: &config(0) })
}

/// Everything in a folder, for telling whether it changed.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.insert(path.clone(), Vec::new());
                folders.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                found.insert(path, content);
            }
        }
    }
    found
}

async fn a_history_is_rebuilt(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let home = TempDir::new().unwrap();
    let folder = home.path();
    let grace_ms = if rng.random() { 3_600_000 } else { 0 };
    let lose_map = rng.random_bool(0.3);
    let cluster = Cluster::open(folder, grace_ms).await;
    let stop = CancellationToken::new();
    let background = cluster.directory.spawn_background(&stop);
    cluster.live(&mut rng).await;
    stop.cancel();
    background.finished().await;
    let (before, last) = (cluster.rows().await, cluster.directory.next_version());
    cluster.close().await;

    fs::remove_dir_all(folder.join("directory/names")).unwrap();
    if lose_map {
        fs::remove_dir_all(folder.join("directory")).unwrap();
    }
    let untouched = tree(folder);
    let planned = rebuild(folder, &volume_files(folder), false).unwrap();
    assert_eq!(tree(folder), untouched, "a dry run changes nothing");
    let summary = rebuild(folder, &volume_files(folder), true).unwrap();
    assert_eq!(summary, planned, "what was told beforehand is what was done");
    assert_eq!(summary.names, before.len() as u64);
    assert_eq!(summary.map.new_map, lose_map);

    let cluster = Cluster::open(folder, 0).await;
    if before.is_empty() && lose_map {
        return cluster.close().await;
    }
    assert_eq!(cluster.rows().await, before);
    assert!(cluster.directory.next_version() > summary.last_version);
    assert!(summary.last_version < last);
    let access = if lose_map { Access::Private } else { Access::Public };
    assert_eq!(cluster.bucket.read, access);
    cluster.reap().await;
    let needed: usize = before.values().map(|row| row.needles.len()).sum();
    assert_eq!(cluster.live_needles(), needed as u64, "nothing leaks");
    // Keys go on where they were: a key that was used is refused by the store.
    cluster.live(&mut rng).await;
    cluster.close().await;
}

/// `HAYRICK_SEED` runs one history, `HAYRICK_ROUNDS` so many.
#[tokio::test(flavor = "multi_thread")]
async fn random_histories_come_back_from_the_volumes_alone() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = if let Some(seed) = number("HAYRICK_SEED") {
        seed..seed + 1
    } else {
        let first = rand::random::<u32>().into();
        first..first + number("HAYRICK_ROUNDS").unwrap_or(24)
    };
    for seed in seeds {
        eprintln!("HAYRICK_SEED={seed}");
        a_history_is_rebuilt(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_names_is_refused_once_there_are_volumes() {
    let home = TempDir::new().unwrap();
    Cluster::open(home.path(), 0).await.close().await;
    let folder = home.path().join("directory");
    fs::remove_dir_all(folder.join("names")).unwrap();
    let refused = open_files(&folder, &config(0).names).err().unwrap();
    assert!(refused.to_string().contains("hayrick names rebuild"), "{refused}");
}

/// A tombstone on one replica counts for all, and needles that only one has are found.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_merged() {
    let home = TempDir::new().unwrap();
    let cluster = Cluster::open(home.path(), 0).await;
    let mut rng = StdRng::seed_from_u64(1);
    cluster.live(&mut rng).await;
    cluster.close().await;
    let copies = home.path().join("copies");
    fs::create_dir(&copies).unwrap();
    for file in volume_files(home.path()) {
        fs::copy(&file, copies.join(file.file_name().unwrap())).unwrap();
    }
    let cluster = Cluster::open(home.path(), 0).await;
    cluster.live(&mut rng).await;
    let names: Vec<ObjectName> = cluster.rows().await.into_keys().collect();
    cluster.directory.remove(&cluster.bucket.name, &names[0], Condition::None).await.unwrap();
    let before = cluster.rows().await;
    cluster.close().await;
    fs::remove_dir_all(home.path().join("directory/names")).unwrap();
    let mut files = volume_files(home.path());
    files.extend(fs::read_dir(&copies).unwrap().map(|entry| entry.unwrap().path()));
    rebuild(home.path(), &files, true).unwrap();
    let cluster = Cluster::open(home.path(), 0).await;
    assert_eq!(cluster.rows().await, before);
    cluster.close().await;
}
