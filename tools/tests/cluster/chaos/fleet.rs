//! The processes of a cluster: three ZooKeeper servers, PostgreSQL, five stores on three racks,
//! two directories, two proxies, two keepers, each on a host of its own where the machine
//! allows.

use std::path::{Path, PathBuf};

use hayrick_service::auth::Secret;
use hayrick_service::client::{Client, ClientOptions};
use hayrick_store::status::StoreStatus;
use hayrick_testkit::{Ensemble, Host, Network, Postgres};
use serde_json::json;

use super::super::process::{Process, TOKEN};
use super::relay::Relay;

/// Of each object.
pub const COPIES: usize = 3;
/// The rack of each store.
const RACKS: [&str; 5] = ["r1", "r1", "r2", "r2", "r3"];

/// A keeper that does in seconds what takes minutes in real life.
const KEEPER: &str =
    "[keeper]\ninterval = \"500ms\"\ngrace = \"6s\"\ndiffer = \"5s\"\nmin_free = \"1MiB\"\n";

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
        let mut stores = Vec::new();
        for (number, rack) in (1..).zip(RACKS) {
            let (name, disk) = (format!("s{number}"), disk_of(folder.path(), number));
            std::fs::create_dir_all(&disk).unwrap();
            let disk = disk.display();
            let advertise = match number {
                1 => format!("advertise = \"{}\"\n", relay.address()),
                _ => String::new(),
            };
            let more = format!(
                "store = \"{name}\"\nrack = \"{rack}\"\n{advertise}[store]\ndisks = [\"{disk}\"]\n"
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
            folder,
            network,
        }
    }

    pub fn doors(&self) -> Vec<String> {
        self.proxies.iter().map(|proxy| proxy.public.clone().unwrap()).collect()
    }

    /// The folder with a store's volumes; stores are counted from 1.
    pub fn disk(&self, number: usize) -> PathBuf {
        disk_of(self.folder.path(), number)
    }

    /// How a store says that it is; `None` if it does not answer.
    pub async fn status(&self, store: &Process) -> Option<StoreStatus> {
        self.http.get(format!("{}/store/status", store.admin)).send_json().await.ok()
    }

    /// Every process but those of ZooKeeper and PostgreSQL.
    pub fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        let servers = self.stores.iter_mut().chain(&mut self.directories);
        servers.chain(&mut self.proxies).chain(&mut self.keepers)
    }
}

fn disk_of(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("disk{number}"))
}
