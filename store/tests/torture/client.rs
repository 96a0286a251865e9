//! A client of one store, which keeps a record of what it was told.

use std::sync::Arc;

use hayrick_service::config::ByteSize;
use hayrick_store::config::{StoreConfig, StoreOptions};
use hayrick_store::disk::DataDir;
use hayrick_store::status::VolumeState;
use hayrick_store::storage::memory::MemoryDisk;
use hayrick_store::volume::Progress;
use hayrick_store::{Store, StoreError};
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::record::{E1, Known, Name, Record, content, id, needle, vid};

pub const CLUSTER: Uuid = Uuid::from_u128(77);

/// The options of a store that cares for no free space, so that tests decide when it is full.
pub fn options() -> StoreOptions {
    let config = StoreConfig {
        disks: vec!["unused".into()],
        min_free: ByteSize::kib(0),
        ..StoreConfig::default()
    };
    config.check().unwrap()
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Opens a store on a disk in memory; `None` where that fails.
pub fn open(disk: &MemoryDisk, options: &StoreOptions) -> Option<Arc<Store>> {
    let disks = vec![DataDir::private("memory", Arc::new(disk.clone()))];
    Store::open_on(CLUSTER, disks, options.clone()).ok()
}

/// What a get gave.
#[derive(Debug)]
pub enum Got {
    Right,
    Gone,
    Error(StoreError),
}

pub struct Client<'a> {
    pub store: Arc<Store>,
    pub record: Record,
    runtime: &'a Runtime,
}

impl<'a> Client<'a> {
    pub fn new(store: Arc<Store>, record: Record, runtime: &'a Runtime) -> Self {
        Self { store, record, runtime }
    }

    pub fn create_volume(&mut self, volume: u32) -> Result<(), StoreError> {
        self.runtime.block_on(self.store.create_volume(vid(volume), E1))?;
        self.record.volumes.insert(volume);
        Ok(())
    }

    pub fn put(&mut self, batch: &[Name]) -> Result<(), StoreError> {
        let needles = batch.iter().map(|name| needle(*name)).collect();
        let answer = self.runtime.block_on(self.store.put(vid(batch[0].0), E1, needles));
        self.record.note_put(batch, &answer);
        answer
    }

    pub fn delete(&mut self, name: Name) -> Result<bool, StoreError> {
        let answer = self.runtime.block_on(self.store.delete(id(name), E1));
        self.record.note_delete(name, &answer);
        answer
    }

    pub fn compact(&self, volume: u32) -> Result<(), StoreError> {
        self.store.volume(vid(volume))?.compact(&Progress::default()).map(drop)
    }

    pub fn checkpoint(&self, volume: u32) -> Result<(), StoreError> {
        self.store.volume(vid(volume))?.checkpoint()
    }

    /// Ends the store in good order.
    pub fn close(self) -> Record {
        self.runtime.block_on(self.store.close());
        self.record
    }

    /// Gets a needle, whole and a piece of it. Wrong bytes are a panic: they are never served.
    pub fn get(&self, name: Name) -> Got {
        let expected = content(name);
        let got = self.runtime.block_on(async {
            let reader = self.store.open_needle(id(name)).await?;
            assert_eq!(reader.meta().name, format!("{name:?}"));
            let size = reader.size();
            let piece = reader.read(size / 3..size / 2).await?;
            Ok((size, piece, reader.read(0..size).await?))
        });
        match got {
            Ok((size, piece, whole)) => {
                assert!(whole == expected, "wrong bytes of {name:?} were served");
                let third = usize::try_from(size / 3).unwrap();
                let half = usize::try_from(size / 2).unwrap();
                assert!(piece == expected[third..half], "a wrong range of {name:?} was served");
                Got::Right
            }
            Err(StoreError::NotFound | StoreError::NoVolume(_)) => Got::Gone,
            Err(error) => Got::Error(error),
        }
    }

    /// Everything that was promised holds.
    pub fn check(&self, when: &str) {
        for (name, known) in self.record.needles() {
            match (known, self.get(name)) {
                (Known::Stored | Known::Unsure, Got::Right)
                | (Known::Deleted | Known::Unsure, Got::Gone) => {}
                (known, got) => panic!("{when}: {name:?} is {known:?}, but reads {got:?}"),
            }
        }
        for batch in self.record.doubtful() {
            let there = batch.iter().filter(|name| matches!(self.get(**name), Got::Right)).count();
            assert!(there == 0 || there == batch.len(), "{when}: half a batch: {batch:?}");
        }
        for volume in &self.record.volumes {
            assert!(self.store.volume(vid(*volume)).is_ok(), "{when}: volume {volume} is lost");
        }
    }

    /// Every volume that is there can be used, without a hand.
    pub fn check_health(&self, when: &str) {
        for volume in self.store.status().volumes {
            assert_eq!(volume.state, VolumeState::Writable, "{when}: {volume:?}");
        }
    }

    /// Every byte of every live needle is right. A torn write that nobody was told of may
    /// have left a hole between whole ones, in which no needle is.
    pub fn verify(&self, when: &str) {
        for volume in self.store.volumes() {
            let report = volume.verify(&Progress::default()).unwrap();
            assert!(report.damaged.iter().all(|hole| hole.key.is_none()), "{when}: {report:?}");
            assert_eq!(report.good_needles, volume.stats().totals.live_needles, "{when}");
        }
    }
}
