//! The keeper as operators run it.

use std::collections::BTreeMap;

use hayrick_directory::http::admin::{ClusterStatus, VolumeEntry};
use hayrick_directory::keeper::KeeperStatus;
use hayrick_store::status::{StoreStatus, VolumeState, VolumeStatus};

use super::{Cluster, bytes, eventually};
use crate::process::Process;

const QUICK: &str = "[keeper]\ninterval = \"200ms\"\ngrace = \"1s\"\nmin_free = \"1MiB\"\n";

impl Cluster {
    fn keeper(&self, name: &str) -> Process {
        let connect = format!("[cluster]\nzookeeper.connect = \"{}\"\n", self.zookeeper.address());
        Process::start("keeper", &self.folder.path().join(name), &(connect + QUICK))
    }

    async fn map(&self) -> ClusterStatus {
        let url = format!("{}/directory/cluster", self.directory.admin);
        self.http.get(url).send_json().await.unwrap()
    }

    /// By store, what the stores that answer have.
    async fn volumes(&self) -> BTreeMap<String, Vec<VolumeStatus>> {
        let mut volumes = BTreeMap::new();
        for (number, store) in self.stores.iter().enumerate() {
            let url = format!("{}/store/status", store.admin);
            let answer: Result<StoreStatus, _> = self.http.get(url).send_json().await;
            if let Ok(status) = answer {
                volumes.insert(format!("s{}", number + 1), status.volumes);
            }
        }
        volumes
    }

    /// Whether every volume is on two stores that answer, which hold the same.
    async fn is_fully_replicated(&self) -> bool {
        let (map, volumes) = (self.map().await, self.volumes().await);
        let find = |entry: &VolumeEntry, store: &str| {
            let own = volumes.get(store)?;
            own.iter().find(|own| own.volume == entry.volume).cloned()
        };
        !map.volumes.is_empty()
            && map.volumes.iter().all(|entry| {
                let found = entry.replicas.iter().map(|store| find(entry, store.as_str()));
                let found: Vec<_> = found.flatten().collect();
                found.len() == 2
                    && entry.joining.is_none()
                    && found.iter().all(|own| own.state == VolumeState::Writable)
                    && found.iter().all(|own| own.digest.is_some() && own.digest == found[0].digest)
            })
    }
}

async fn status(cluster: &Cluster, keeper: &Process) -> KeeperStatus {
    let url = format!("{}/keeper/status", keeper.admin);
    cluster.http.get(url).send_json().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_for_good_is_replaced_by_itself() {
    let cluster = Cluster::start().await;
    let keepers = [cluster.keeper("k1"), cluster.keeper("k2")];
    for number in 0..40 {
        cluster.put(number % 2, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    eventually(async || cluster.is_fully_replicated().await).await;
    let one_leads = async || {
        let leads =
            [status(&cluster, &keepers[0]).await.leads, status(&cluster, &keepers[1]).await.leads];
        leads[0] != leads[1]
    };
    eventually(one_leads).await;
    let leader = usize::from(status(&cluster, &keepers[1]).await.leads);
    assert_eq!(
        cluster.map().await.keeper.unwrap().address.unwrap(),
        keepers[leader].admin.trim_start_matches("http://")
    );

    let victim = cluster.map().await.volumes[0].replicas[0].clone();
    let number: usize = victim.as_str().trim_start_matches('s').parse().unwrap();
    cluster.stores[number - 1].kill();
    // The one that leads dies as well; the other ends what it began.
    keepers[leader].kill();
    eventually(async || cluster.is_fully_replicated().await).await;
    eventually(async || status(&cluster, &keepers[1 - leader]).await.leads).await;
    let volumes = cluster.map().await.volumes;
    assert!(volumes.iter().all(|volume| !volume.replicas.contains(&victim)), "{volumes:?}");
    for number in 0..40 {
        let name = format!("n{number}");
        assert_eq!(cluster.get(number % 2, &name).await.unwrap(), bytes(number), "{name}");
    }
    for number in 40..50 {
        let name = format!("n{number}");
        eventually(async || cluster.put(0, &name, bytes(number)).await.is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_store_gives_its_volumes_away_while_it_is_written_to() {
    let cluster = Cluster::start().await;
    let _keeper = cluster.keeper("k1");
    for number in 0..20 {
        cluster.put(number % 2, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    let order = serde_json::json!({"order": "drain", "store": "s2"});
    let url = format!("{}/directory/orders", cluster.directory.admin);
    cluster.http.post(&url).json(&order).send().await.unwrap();
    let mut number = 20;
    loop {
        // Some may be refused while their volume changes hands.
        let name = format!("n{number}");
        eventually(async || cluster.put(number % 2, &name, bytes(number)).await.is_ok()).await;
        number += 1;
        if cluster.volumes().await["s2"].is_empty() && cluster.is_fully_replicated().await {
            break;
        }
        assert!(number < 3_000, "s2 is not emptied: {:?}", cluster.map().await);
    }
    for number in 0..number {
        let name = format!("n{number}");
        assert_eq!(cluster.get(number % 2, &name).await.unwrap(), bytes(number), "{name}");
    }
}
