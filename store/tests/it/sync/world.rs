//! Several stores that hold replicas of one volume, each on a disk in memory behind a real socket.

use std::sync::Arc;

use hayrick_service::Shutdown;
use hayrick_service::client::{Client, ClientOptions};
use hayrick_service::config::{ByteSize, Span};
use hayrick_service::listen::{ListenOptions, serve};
use hayrick_store::config::{StoreConfig, StoreOptions};
use hayrick_store::disk::DataDir;
use hayrick_store::http::data;
use hayrick_store::jobs::{JobOutcome, JobStatus};
use hayrick_store::pace::DiskPace;
use hayrick_store::status::VolumeStatus;
use hayrick_store::storage::memory::MemoryDisk;
use hayrick_store::volume::Progress;
use hayrick_store::{
    Cookie, Epoch, Key, Meta, NeedleId, NewNeedle, Peer, Store, StoreClient, StoreError,
    StoreHandle, Synced,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::rig::{CLUSTER, E1, vid};

pub const VOLUME_FILE: &str = "0000000001.vol";

/// A store with, perhaps, a replica of volume 1.
pub struct Replica {
    pub disk: MemoryDisk,
    pub store: Arc<Store>,
    url: String,
    shutdown: Shutdown,
    server: JoinHandle<()>,
}

fn options() -> StoreOptions {
    let config = StoreConfig {
        disks: vec!["unused".into()],
        min_free: ByteSize::kib(0),
        upload_memory: ByteSize::mib(32),
        // Tests scrub themselves.
        scrub_pass: Span::secs(0),
        ..StoreConfig::default()
    };
    config.check().unwrap()
}

impl Replica {
    /// A store on `disk` that syncs at up to `rate` bytes per second; 0 for no limit.
    pub async fn on(disk: MemoryDisk, rate: u64) -> Self {
        let pace = DiskPace::new(options().background.latency, 0, 0, rate);
        let mut dir = DataDir::private("m", Arc::new(disk.clone()));
        dir.pace = Arc::new(pace);
        let store = Store::open_on(CLUSTER, vec![dir], options()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (router, shutdown) = (data::app(Arc::clone(&store)), Shutdown::new());
        let serving = serve(listener, router, ListenOptions::named("internal"), shutdown.clone());
        Self { disk, store, url, shutdown, server: tokio::spawn(serving) }
    }

    /// A store with an empty volume.
    pub async fn new() -> Self {
        let replica = Self::on(MemoryDisk::new(), 0).await;
        replica.store.create_volume(vid(1), E1).await.unwrap();
        replica
    }

    /// A store with a replica that is to be filled.
    pub async fn copy(rate: u64) -> Self {
        let replica = Self::on(MemoryDisk::new(), rate).await;
        replica.store.create_copy(vid(1), E1).await.unwrap();
        replica
    }

    /// Ends it; the disk stays.
    pub async fn stop(self) -> MemoryDisk {
        self.shutdown.trigger();
        self.server.await.unwrap();
        self.store.close().await;
        self.disk
    }

    /// The store asked over the network.
    pub fn far(&self) -> StoreHandle {
        let http = Client::new(ClientOptions::default());
        StoreHandle::Remote(StoreClient::new("far", self.url.clone(), CLUSTER, http))
    }

    pub fn near(&self) -> StoreHandle {
        StoreHandle::Local(Arc::clone(&self.store))
    }

    pub fn peer(&self) -> Peer {
        Peer { name: "source".to_owned(), url: self.url.clone() }
    }

    pub async fn put(&self, key: u64) {
        self.store.put(vid(1), E1, vec![needle(key)]).await.unwrap();
    }

    pub async fn delete(&self, key: u64) {
        self.store.delete_removed(id(key), E1, removal(key)).await.unwrap();
    }

    pub async fn compact(&self) {
        let volume = self.store.volume(vid(1)).unwrap();
        let work = move || volume.compact(&Progress::default()).map(drop);
        tokio::task::spawn_blocking(work).await.unwrap().unwrap();
    }

    /// The needle, checked; `None` if there is none.
    pub async fn get(&self, key: u64) -> Result<Option<()>, StoreError> {
        let found = match self.store.open_needle(id(key)).await {
            Err(StoreError::NotFound) => return Ok(None),
            found => found?,
        };
        assert_eq!(found.meta().to_owned(), needle(key).meta);
        assert!(found.read(0..found.size()).await? == needle(key).data, "needle {key}");
        Ok(Some(()))
    }

    pub fn status(&self) -> VolumeStatus {
        self.store.status().volumes.remove(0)
    }

    /// Has this replica sync from `sources` and waits for the end.
    pub async fn sync(&self, sources: &[&Self], check: bool) -> Result<Synced, String> {
        self.sync_at(E1, sources, check).await
    }

    pub async fn sync_at(
        &self,
        epoch: Epoch,
        sources: &[&Self],
        check: bool,
    ) -> Result<Synced, String> {
        let sources = sources.iter().map(|source| source.peer()).collect();
        let job = self.near().start_sync(vid(1), epoch, sources, check).await;
        self.outcome(job.unwrap().id).await
    }

    pub async fn outcome(&self, job: u64) -> Result<Synced, String> {
        match self.until(job, |job| job.outcome.is_some()).await.outcome {
            Some(JobOutcome::Synced(done)) => Ok(done),
            Some(JobOutcome::Failed(reason)) => Err(reason),
            outcome => panic!("{outcome:?}"),
        }
    }

    pub async fn until(&self, job: u64, is_so: impl Fn(&JobStatus) -> bool) -> JobStatus {
        loop {
            let now = self.store.jobs().get(job).unwrap();
            if is_so(&now) {
                return now;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Changes a byte of the newest record that holds `bytes`.
    pub fn rot(&self, bytes: &[u8], offset: isize) {
        let file = self.disk.bytes(VOLUME_FILE).unwrap();
        let at = file.windows(bytes.len()).rposition(|window| window == bytes).unwrap();
        self.disk.flip(VOLUME_FILE, at.checked_add_signed(offset).unwrap(), 4);
    }
}

pub fn id(key: u64) -> NeedleId {
    NeedleId::new(vid(1), Key::new(key), Cookie::new(9))
}

pub fn removal(key: u64) -> Meta {
    Meta { bucket: "b".into(), name: format!("n{key}"), version: key, ..Meta::default() }
}

/// Some hundred bytes that no other needle has; some are large.
pub fn needle(key: u64) -> NewNeedle {
    let len = if key % 50 == 49 { 700_000 } else { 20 + key % 300 };
    let mut rng = StdRng::seed_from_u64(key);
    let data: Vec<u8> = (0..len).map(|_| rng.random()).collect();
    let meta = Meta { name: format!("n{key}"), content_type: "image/x".into(), ..Meta::default() };
    NewNeedle { key: Key::new(key), cookie: Cookie::new(9), meta, data: data.into() }
}

/// All hold the same, to the last byte.
pub fn assert_equal(replicas: &[&Replica]) {
    let digests: Vec<_> = replicas
        .iter()
        .map(|replica| {
            let status = replica.status();
            (status.digest.expect("an exact digest"), status.live_needles, status.live_bytes)
        })
        .collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}
