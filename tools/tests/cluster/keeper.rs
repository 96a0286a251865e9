//! The keeper as operators run it.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use hayrick_directory::http::admin::{ClusterStatus, VolumeEntry};
use hayrick_directory::keeper::KeeperStatus;
use hayrick_directory::{Order, StoreId};
use hayrick_store::NeedleId;
use hayrick_store::status::{StoreStatus, VolumeState, VolumeStatus};

use super::{Cluster, bytes, eventually};
use crate::process::Process;

const QUICK: &str = "[keeper]\ninterval = \"200ms\"\ngrace = \"1s\"\nmin_free = \"1MiB\"\n\
                     compact_min_garbage = \"1\"\ncompact_at_garbage_ratio = 0.0001\n";
/// The bar is 10 s; a machine that does other work is given time.
const TAKEOVER: Duration = Duration::from_secs(30);

impl Cluster {
    pub fn keeper(&self, name: &str) -> Process {
        let connect = format!("[cluster]\nzookeeper.connect = \"{}\"\n", self.zookeeper.address());
        Process::start("keeper", &self.folder.path().join(name), &(connect + QUICK))
    }

    pub async fn map(&self) -> ClusterStatus {
        let url = format!("{}/directory/cluster", self.directory.admin);
        self.http.get(url).send_json().await.unwrap()
    }

    /// By store, what the stores that answer have.
    pub async fn volumes(&self) -> BTreeMap<String, Vec<VolumeStatus>> {
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

    async fn order(&self, order: &Order) {
        let url = format!("{}/directory/orders", self.directory.admin);
        self.http.post(url).json(order).send().await.unwrap();
    }

    /// Where a store stands in the list.
    fn place(store: &StoreId) -> usize {
        store.as_str().trim_start_matches('s').parse::<usize>().unwrap() - 1
    }

    /// Whether a store gives a needle to whoever asks it, past all names.
    async fn serves(&self, store: &Process, needle: NeedleId) -> bool {
        let NeedleId { volume, key, cookie } = needle;
        let url = format!("{}/{volume}/{key}/{cookie}", store.internal.as_ref().unwrap());
        self.http.get(url).send().await.is_ok()
    }

    /// Whether every volume is on two stores that answer, which hold the same.
    pub async fn is_fully_replicated(&self) -> bool {
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

pub async fn status(cluster: &Cluster, keeper: &Process) -> KeeperStatus {
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
    cluster.stores[Cluster::place(&victim)].kill();
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
    cluster.order(&"drain:s2".parse().unwrap()).await;
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

/// Whether it is so after some time at most.
async fn within(limit: Duration, holds: impl AsyncFn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < limit {
        if holds().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_stays_so_when_a_store_returns_that_knows_of_no_delete() {
    let mut cluster = Cluster::start().await;
    for store in &mut cluster.stores {
        // A week goes by in a second.
        store.stop();
        store.start_again_in(&[("HAYRICK_STORE__TOMBSTONE_RETENTION", "1s")]);
    }
    let _keeper = cluster.keeper("k1");
    let mut needles = Vec::new();
    for number in 0..40 {
        let name = format!("n{number}");
        // Until all know that the stores are back.
        eventually(async || cluster.put(0, &name, bytes(number)).await.is_ok()).await;
        needles.push(cluster.put(number % 2, &name, bytes(number)).await.unwrap());
    }
    eventually(async || cluster.is_fully_replicated().await).await;
    let victim = cluster.map().await.volumes[0].replicas[0].clone();
    let place = Cluster::place(&victim);
    cluster.stores[place].kill();
    // Away for longer than anybody waits: its copies are made again, and it is struck from the map.
    eventually(async || {
        let map = cluster.map().await;
        cluster.is_fully_replicated().await
            && map.volumes.iter().all(|volume| !volume.replicas.contains(&victim))
    })
    .await;
    let url = format!("{}/directory/stores/{victim}", cluster.directory.admin);
    eventually(async || cluster.http.delete(&url).send().await.is_ok()).await;
    for number in 0..30 {
        cluster.delete(number % 2, &format!("n{number}")).await.unwrap();
    }
    // All have confirmed the deletes, and compaction has let even the tombstones go. It keeps those that
    // are too young, or if a store was late to answer, and goes over them again with new garbage.
    let is_forgotten = async || {
        let volumes = cluster.volumes().await;
        volumes.values().flatten().all(|own| own.tombstones == 0)
            && volumes.values().flatten().map(|own| own.live_needles).sum::<u64>() == 2 * 10
    };
    eventually(async || {
        for number in 0..8 {
            let name = format!("garbage-{number}");
            eventually(async || cluster.put(0, &name, bytes(number)).await.is_ok()).await;
            cluster.delete(0, &name).await.unwrap();
        }
        within(Duration::from_secs(3), &is_forgotten).await
    })
    .await;

    cluster.stores[place].start_again();
    let is_gone = async |number: usize| {
        let answer = cluster.get(number % 2, &format!("n{number}")).await;
        answer.is_err_and(|error| error.status().is_some_and(|status| status == 404))
    };
    // It brings 40 needles along, of which none may be believed.
    let is_cleared = async || {
        for number in 0..30 {
            assert!(is_gone(number).await, "n{number} is back");
        }
        let map = cluster.map().await;
        let own = cluster.volumes().await.remove(victim.as_str()).unwrap_or_default();
        let in_set =
            |id| map.volumes.iter().any(|v| v.volume == id && v.replicas.contains(&victim));
        map.stores.iter().any(|store| store.store == victim && store.alive)
            && own.iter().all(|own| in_set(own.volume))
            && cluster.is_fully_replicated().await
    };
    eventually(is_cleared).await;
    assert_eq!(cluster.live_needles().await, 2 * 10);
    for (number, needle) in needles.into_iter().enumerate() {
        if number >= 30 {
            assert_eq!(cluster.get(0, &format!("n{number}")).await.unwrap(), bytes(number));
            continue;
        }
        for store in &cluster.stores {
            assert!(!cluster.serves(store, needle).await, "n{number} lives on");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_was_frozen_in_its_work_harms_nothing_when_it_goes_on() {
    let cluster = Cluster::start().await;
    let keepers = [cluster.keeper("k1"), cluster.keeper("k2")];
    for number in 0..40 {
        cluster.put(number % 2, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    eventually(async || cluster.is_fully_replicated().await).await;
    let mut live = 40;
    // At other moments of a move each time.
    for (round, delay_ms) in [(0, 0), (1, 60), (2, 150)] {
        let leader = async || {
            for (number, keeper) in keepers.iter().enumerate() {
                if status(&cluster, keeper).await.leads {
                    return Some(number);
                }
            }
            None
        };
        eventually(async || leader().await.is_some()).await;
        let first = leader().await.unwrap();
        let volume = cluster.map().await.volumes[0].clone();
        let all = ["s1", "s2", "s3"].map(|id| id.parse::<StoreId>().unwrap());
        let to = all.into_iter().find(|store| !volume.replicas.contains(store)).unwrap();
        let (from, id) = (volume.replicas[0].clone(), volume.volume);
        cluster.order(&Order::Move { volume: id, from: from.clone(), to: to.clone() }).await;
        let has_begun = async || {
            let map = cluster.map().await;
            map.orders.is_empty()
                || cluster.volumes().await[to.as_str()].iter().any(|own| own.volume == id)
        };
        eventually(has_begun).await;
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        keepers[first].freeze();
        let (frozen, began) = (cluster.map().await, Instant::now());
        let second = &keepers[1 - first];
        eventually(async || status(&cluster, second).await.leads).await;
        let took = began.elapsed();
        let moving = frozen.volumes.iter().find(|volume| volume.volume == id).unwrap();
        println!(
            "frozen with the order {}, moving {:?}, replicas {:?}: another leads after {took:?}",
            if frozen.orders.is_empty() { "carried out" } else { "standing" },
            moving.moving,
            moving.replicas
        );
        assert!(took < TAKEOVER, "{took:?}");
        let is_moved = async || {
            cluster.map().await.orders.is_empty()
                && cluster.volumes().await[from.as_str()].iter().all(|own| own.volume != id)
                && cluster.is_fully_replicated().await
        };
        eventually(is_moved).await;
        // What the late one knows nothing of.
        for number in 0..10 {
            let name = format!("r{round}-{number}");
            eventually(async || cluster.put(0, &name, bytes(number)).await.is_ok()).await;
        }
        cluster.delete(0, &format!("n{round}")).await.unwrap();
        live += 10 - 1;
        eventually(async || cluster.live_needles().await == 2 * live).await;

        keepers[first].thaw();
        eventually(async || !status(&cluster, &keepers[first]).await.leads).await;
        // Both are at it for as long as many rounds take.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!status(&cluster, &keepers[first]).await.leads);
        }
        assert!(status(&cluster, second).await.leads);
        eventually(async || cluster.is_fully_replicated().await).await;
        let after = cluster.map().await;
        let moved = after.volumes.iter().find(|volume| volume.volume == id).unwrap();
        assert!(moved.replicas.contains(&to) && !moved.replicas.contains(&from), "{moved:?}");
        assert_eq!(cluster.live_needles().await, 2 * live);
    }
    for number in 3..40 {
        assert_eq!(cluster.get(1, &format!("n{number}")).await.unwrap(), bytes(number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_ill_takes_nothing_new_whichever_directory_is_asked() {
    let postgres = hayrick_testkit::Postgres::start();
    let settings = super::degraded::names_in(&postgres);
    let cluster = Cluster::with(&settings).await;
    let _other = cluster.another_directory(&settings);
    let _keeper = cluster.keeper("k1");
    for number in 0..20 {
        cluster.put(number % 2, &format!("n{number}"), bytes(number)).await.unwrap();
    }
    eventually(async || cluster.is_fully_replicated().await).await;
    // Its disk gives back other bytes than it was given, for every needle. It answers, and says that
    // it can be written to.
    let ill = cluster.map().await.volumes[0].replicas[0].clone();
    let store = &cluster.stores[Cluster::place(&ill)];
    let disk = store.folder().join("data/disk");
    // A scrub would find it out, and the keeper mend it.
    cluster.http.post(format!("{}/store/scrub/pause", store.admin)).send().await.unwrap();
    for entry in std::fs::read_dir(disk).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "vol") {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            let size = file.metadata().unwrap().len();
            file.write_all_at(&vec![0xaa; usize::try_from(size - 4_096).unwrap()], 4_096).unwrap();
        }
    }
    let illness = async || {
        let stores = cluster.map().await.stores;
        stores.into_iter().find(|store| store.store == ill).unwrap().ill
    };
    eventually(async || illness().await.is_some()).await;
    println!("{ill}: {}", illness().await.unwrap().reason);
    // Directories look at the map when they ask the stores, every other second; volumes are made on
    // the two stores that are left.
    let mut number = 20;
    let mut in_a_row = 0;
    while in_a_row < 40 {
        let name = format!("n{number}");
        let needle = cluster.put(number % 2, &name, bytes(number)).await.unwrap();
        let volumes = cluster.map().await.volumes;
        let volume = volumes.into_iter().find(|own| own.volume == needle.volume).unwrap();
        let is_on_it = volume.replicas.contains(&ill);
        in_a_row = if is_on_it { 0 } else { in_a_row + 1 };
        number += 1;
        assert!(number < 5_000, "{ill} is still written to");
    }
}
