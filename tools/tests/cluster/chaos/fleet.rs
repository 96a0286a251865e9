//! The processes of a cluster: three ZooKeeper servers, PostgreSQL, five stores on three racks,
//! two directories, two proxies, two keepers, each on a host of its own where the machine
//! allows.

use std::ops::RangeFrom;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use hayrick_directory::keeper::KeeperStatus;
use hayrick_service::auth::Secret;
use hayrick_service::client::{Client, ClientOptions};
use hayrick_store::jobs::JobStatus;
use hayrick_store::status::StoreStatus;
use hayrick_testkit::{Ensemble, Host, Network, Postgres, SmallDisk};
use serde_json::json;

use super::super::dead_disk::DeadDisk;
use super::super::process::{Process, TOKEN};
use super::super::{eventually, within};
use super::relay::Relay;

/// Of each object.
pub const COPIES: usize = 3;
/// The rack of each store.
const RACKS: [&str; 5] = ["r1", "r1", "r2", "r2", "r3"];

/// The place of the store whose disk can be filled, and how large that is.
pub const SMALL_DISK_OF: usize = 2;
pub const SMALL_DISK_MIB: u32 = 2048;

/// A keeper that does in seconds what takes minutes in real life, and compacts all the time.
const KEEPER: &str = "[keeper]\ninterval = \"500ms\"\ngrace = \"6s\"\ndiffer = \"5s\"\n\
    min_free = \"1MiB\"\ncompact_min_garbage = \"1MiB\"\n";

pub struct Fleet {
    pub zookeeper: Ensemble,
    pub postgres: Postgres,
    pub stores: Vec<Process>,
    pub directories: Vec<Process>,
    pub proxies: Vec<Process>,
    pub keepers: Vec<Process>,
    /// All that others ask of the first store goes through it.
    pub relay: Relay,
    pub http: Client,
    /// Of the third store; `None` where no file system may be mounted.
    pub small_disk: Option<SmallDisk>,
    /// While the disk of the second store fails.
    pub dead_disk: Option<DeadDisk>,
    /// While the keeper that leads is frozen.
    pub frozen_keeper: Option<usize>,
    pub folder: tempfile::TempDir,
    // Last, so that the processes on it are gone first.
    pub network: Network,
}

impl Fleet {
    /// With a bucket, `photos`.
    pub async fn start() -> Self {
        let (network, folder) = (Network::new(), tempfile::tempdir().unwrap());
        let zookeeper = Ensemble::start_on([(); 3].map(|()| network.host()));
        let postgres = Postgres::start();
        let cluster = format!("[cluster]\nzookeeper.connect = \"{}\"\n", zookeeper.address());
        let start = |host: &Host, role: &'static str, name: &str, more: &str| {
            Process::start_on(host, role, &folder.path().join(name), &(cluster.clone() + more))
        };
        let relay = Relay::start(network.gateway()).await;
        let small = mount_of(folder.path(), SMALL_DISK_OF);
        let small_disk = SmallDisk::mount(&small, SMALL_DISK_MIB);
        let mut stores = Vec::new();
        for (number, rack) in RACKS.into_iter().enumerate() {
            let (name, disk) = (format!("s{}", number + 1), disk_of(folder.path(), number));
            std::fs::create_dir_all(&disk).unwrap();
            let disk = disk.display();
            let advertise = match number {
                0 => format!("advertise = \"{}\"\n", relay.address()),
                _ => String::new(),
            };
            // Tombstones go as soon as all replicas have them.
            let more = format!(
                "store = \"{name}\"\nrack = \"{rack}\"\n{advertise}[store]\n\
                 disks = [\"{disk}\"]\ntombstone_retention = \"1s\"\n"
            );
            stores.push(start(&network.host(), "store", &name, &more));
        }
        relay.lead_to(stores[0].internal.as_deref().unwrap());
        let names = format!("[directory.postgres]\nurl = \"{}\"\n", postgres.database());
        let directory = |name| start(&network.host(), "directory", name, &names);
        let directories = vec![directory("d1"), directory("d2")];
        let proxy = |name| start(&network.host(), "proxy", name, "");
        let proxies = vec![proxy("p1"), proxy("p2")];
        let keeper = |name| start(&network.host(), "keeper", name, KEEPER);
        let keepers = vec![keeper("k1"), keeper("k2")];
        let token = Some(Secret::new(TOKEN));
        let http = Client::new(ClientOptions { token, ..ClientOptions::default() });
        let bucket =
            json!({"name": "photos", "read": "public", "write": "public", "copies": COPIES});
        let url = format!("{}/directory/buckets", directories[0].admin);
        http.post(url).json(&bucket).send().await.unwrap();
        Self {
            zookeeper,
            postgres,
            stores,
            directories,
            proxies,
            keepers,
            relay,
            http,
            small_disk,
            dead_disk: None,
            frozen_keeper: None,
            folder,
            network,
        }
    }

    pub fn doors(&self) -> Vec<String> {
        self.proxies.iter().map(|proxy| proxy.public.clone().unwrap()).collect()
    }

    /// The folder with a store's volumes.
    pub fn disk(&self, store: usize) -> PathBuf {
        disk_of(self.folder.path(), store)
    }

    /// How a store says that it is; `None` if it does not answer.
    pub async fn status(&self, store: &Process) -> Option<StoreStatus> {
        self.http.get(format!("{}/store/status", store.admin)).send_json().await.ok()
    }

    /// The place of the keeper that leads.
    pub async fn leading_keeper(&self) -> usize {
        let found = Mutex::new(None);
        eventually(async || {
            for (place, keeper) in self.keepers.iter().enumerate() {
                let url = format!("{}/keeper/status", keeper.admin);
                let status: Result<KeeperStatus, _> = self.http.get(url).send_json().await;
                if status.is_ok_and(|status| status.leads) {
                    *found.lock().unwrap() = Some(place);
                    return true;
                }
            }
            false
        })
        .await;
        found.into_inner().unwrap().unwrap()
    }

    /// Compacts all volumes of these stores, as far as they answer.
    pub async fn compact(&self, stores: RangeFrom<usize>) {
        for store in &self.stores[stores] {
            let Some(status) = self.status(store).await else { continue };
            for volume in status.volumes {
                let url = format!("{}/store/volumes/{}/compact", store.admin, volume.volume);
                // Another job may be at it, or it may be gone by now.
                let started: Result<JobStatus, _> = self.http.post(url).send_json().await;
                let Ok(job) = started else { continue };
                let url = format!("{}/store/jobs/{}", store.admin, job.id);
                // What is being copied or scrubbed comes first.
                within(Duration::from_mins(5), async || {
                    let job: Result<JobStatus, _> = self.http.get(&url).send_json().await;
                    job.map_or(true, |job| job.outcome.is_some())
                })
                .await;
            }
        }
    }

    /// Every process but those of ZooKeeper and PostgreSQL.
    pub fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        let servers = self.stores.iter_mut().chain(&mut self.directories);
        servers.chain(&mut self.proxies).chain(&mut self.keepers)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        self.folder.disable_cleanup(true);
        let folder = self.folder.path();
        let servers = (1..).zip(&self.zookeeper.servers);
        let logs = servers.map(|(number, server)| (format!("zookeeper{number}"), server.log()));
        for (name, log) in logs.chain([("postgres".to_owned(), self.postgres.log())]) {
            // It may never have said anything.
            let _ = std::fs::copy(log, folder.join(name).with_extension("log"));
        }
        println!("logs, data and configuration of all servers are kept in {}", folder.display());
    }
}

fn mount_of(folder: &Path, store: usize) -> PathBuf {
    folder.join(format!("disk{}", store + 1))
}

/// Not the file system's own folder, so that it can be removed.
fn disk_of(folder: &Path, store: usize) -> PathBuf {
    mount_of(folder, store).join("volumes")
}
