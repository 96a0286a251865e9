//! The cluster as a directory sees it: the map, and what the stores said last.

use std::collections::BTreeMap;

use hayrick_directory::http::admin::{ClusterStatus, StoreEntry, VolumeEntry};
use hayrick_directory::{LastReport, StoreId, VolumeReport};
use hayrick_store::VolumeId;

use crate::admin::Admin;
use crate::failure::{Exit, Failure};

/// The cluster at one moment.
#[derive(Debug)]
pub struct View {
    /// What the cluster agrees on.
    pub map: ClusterStatus,
    /// What each store said last.
    pub reports: BTreeMap<StoreId, LastReport>,
}

impl View {
    /// Asks a directory.
    pub async fn ask(admin: &Admin) -> Result<Self, Failure> {
        let map = admin.get("/directory/cluster").await.map_err(|failure| match failure.exit {
            Exit::NotFound => Failure::failed("the server that was asked is no directory")
                .hint("name the admin listener of a directory with --admin or HAYRICK_ADMIN"),
            _ => failure,
        })?;
        let reports: Vec<LastReport> = admin.get("/directory/stores").await?;
        let reports = reports.into_iter().map(|last| (last.store.clone(), last)).collect();
        Ok(Self { map, reports })
    }

    /// A store by its id.
    pub fn store(&self, id: &StoreId) -> Result<&StoreEntry, Failure> {
        self.map.stores.iter().find(|store| store.store == *id).ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("there is no store {id}"))
                .hint("see which there are: hayrick store list")
        })
    }

    /// A volume by its id.
    pub fn volume(&self, id: VolumeId) -> Result<&VolumeEntry, Failure> {
        self.map.volumes.iter().find(|volume| volume.volume == id).ok_or_else(|| {
            Failure::new(Exit::NotFound, format!("there is no volume {id}"))
                .hint("see which there are: hayrick cluster status --volumes")
        })
    }

    /// The volumes that the map has on a store.
    pub fn volumes_on<'a>(&'a self, store: &'a StoreId) -> impl Iterator<Item = &'a VolumeEntry> {
        self.map.volumes.iter().filter(move |volume| volume.replicas.contains(store))
    }

    /// What a store said of its replica; `None` where it has none, or does not answer.
    pub fn replica(&self, store: &StoreId, volume: VolumeId) -> Option<&VolumeReport> {
        let last = self.reports.get(store).filter(|last| last.answers)?;
        last.report.volumes.iter().find(|report| report.volume == volume)
    }

    /// Bytes of a volume's file, of the largest replica that is known.
    pub fn file_bytes(&self, volume: VolumeId) -> u64 {
        let reports = self.reports.values().flat_map(|last| &last.report.volumes);
        let own = reports.filter(|report| report.volume == volume);
        own.map(|report| report.file_bytes).max().unwrap_or(0)
    }

    /// How many replicas of a volume cannot be asked now.
    pub fn absent_replicas(&self, volume: &VolumeEntry) -> usize {
        let absent = |store: &&StoreId| self.replica(store, volume.volume).is_none();
        volume.replicas.iter().filter(absent).count()
    }

    /// How many of `others` share a store's rack, and its machine.
    pub fn crowd(&self, store: &StoreId, others: &[&StoreId]) -> (usize, usize) {
        let Ok(own) = self.store(store) else { return (0, 0) };
        let others = others.iter().filter_map(|other| self.store(other).ok());
        others.fold((0, 0), |(in_rack, on_host), other| {
            let (rack, host) = (other.rack == own.rack, other.host == own.host);
            (in_rack + usize::from(rack), on_host + usize::from(host))
        })
    }

    /// Free and all bytes of a store's disks, as it said last.
    pub fn disks(&self, store: &StoreId) -> (u64, u64) {
        let disks = self.reports.get(store).map(|last| &last.report.disks);
        let sum = |of: fn(&hayrick_directory::DiskReport) -> u64| {
            disks.map_or(0, |disks| disks.iter().map(of).sum())
        };
        (sum(|disk| disk.free_bytes), sum(|disk| disk.total_bytes))
    }
}
