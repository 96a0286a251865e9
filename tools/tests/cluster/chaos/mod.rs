//! A whole cluster under load, while one thing after another goes wrong with it.
//!
//! Clients write, overwrite, read and delete all the while and keep a record of every answer; see
//! [`history`] for what they may see. When all is well again, every object must have all its
//! copies, equal ones, and nothing else may be stored.
//!
//! With `HAYRICK_TORTURE_SECONDS` set, faults go on at random for that long.

mod faults;
mod fleet;
mod history;
mod load;
mod relay;
mod settle;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use faults::{Fault, Role};
use fleet::Fleet;
use load::{Load, Weather};

/// How long a fault lasts, and what comes after it.
const HOLD: Duration = Duration::from_secs(4);
const RECOVERY: Duration = Duration::from_secs(3);
/// How long everything must go on without ZooKeeper.
const WITHOUT_ZOOKEEPER: Duration = Duration::from_mins(5);
/// A repair begins after a grace, and takes as long as the machine lets it.
const SETTLED_WITHIN: Duration = Duration::from_mins(3);
/// As many writers, and as many readers.
const CLIENTS: u64 = 6;

/// Those of `make test`: one of each kind that takes little time.
const SHORT: [Fault; 6] = [
    Fault::Kill(Role::Store, 4),
    Fault::Isolate(Role::Store, 2),
    Fault::Freeze(Role::Directory, 0),
    Fault::IsolateZooKeeperLeader,
    Fault::WipedStore,
    Fault::NoZooKeeper,
];

const ALL: [Fault; 24] = [
    Fault::Kill(Role::Store, 0),
    Fault::Kill(Role::Store, 4),
    Fault::Kill(Role::Directory, 0),
    Fault::Kill(Role::Directory, 1),
    Fault::Kill(Role::Proxy, 0),
    Fault::Freeze(Role::Store, 1),
    Fault::Freeze(Role::Directory, 0),
    Fault::Freeze(Role::Proxy, 1),
    Fault::Isolate(Role::Store, 2),
    Fault::Isolate(Role::Directory, 1),
    Fault::IsolateRack,
    Fault::ProxyWithoutZooKeeper,
    Fault::KillZooKeeperLeader,
    Fault::IsolateZooKeeperLeader,
    Fault::NoZooKeeper,
    Fault::NoPostgres,
    Fault::Loss,
    Fault::Delay,
    Fault::Kill(Role::Keeper, 0),
    // The one that leads, in most cases; its lead must be over before the other's begins.
    Fault::Freeze(Role::Keeper, 0),
    Fault::Freeze(Role::Keeper, 1),
    Fault::ClockJump,
    Fault::WipedStore,
    Fault::RollingRestart,
];

/// A cluster, its clients, and what was seen so far.
struct Storm {
    fleet: Fleet,
    load: Load,
    faults: usize,
}

impl Storm {
    async fn begin(seed: u64) -> Self {
        let fleet = Fleet::start().await;
        let load = Load::start(fleet.doors(), CLIENTS, seed);
        tokio::time::sleep(RECOVERY).await;
        Self { fleet, load, faults: 0 }
    }

    /// Faults that come together and go together.
    async fn strike(&mut self, faults: &[Fault]) {
        self.strike_for(HOLD, faults).await;
    }

    async fn strike_for(&mut self, hold: Duration, faults: &[Fault]) {
        let possible = |fault: &&Fault| self.fleet.network.is_real() || !fault.needs_network();
        let faults: Vec<Fault> = faults.iter().filter(possible).copied().collect();
        if faults.is_empty() {
            return;
        }
        let began = Instant::now();
        for fault in &faults {
            fault.begin(&mut self.fleet).await;
        }
        tokio::time::sleep(hold).await;
        for fault in &faults {
            fault.end(&mut self.fleet);
        }
        tokio::time::sleep(RECOVERY).await;
        let ended = Instant::now();
        let service = self.load.service();
        let (reads, writes) = (service.reads(began, ended), service.writes(began, ended));
        let names: Vec<_> = faults.iter().map(ToString::to_string).collect();
        println!("{:<40} reads {} writes {}", names.join(" + "), shown(reads), shown(writes));
        self.faults += faults.len();
        assert!(reads.answered > 0 && writes.answered > 0, "{names:?}: no service at all");
        if faults.len() == 1 && faults.iter().all(|fault| fault.costs_no_read()) {
            assert_eq!(reads.failed, 0, "{names:?}: {:?}", service.failed_reads(began, ended));
        }
        if faults == [Fault::NoZooKeeper] {
            assert_eq!(writes.failed, 0, "{names:?}: {:?}", service.failed_writes(began, ended));
        }
    }

    /// All is well again: what must be true then.
    async fn end(mut self) {
        self.load.stop().await;
        let settled = self.fleet.settle(SETTLED_WITHIN).await;
        self.load.read_all().await;
        let history = self.load.history();
        assert_eq!(history.violation(), None);
        println!(
            "{} faults, {} reads and writes checked, settled after {:.1} s",
            self.faults,
            history.len(),
            settled.as_secs_f64()
        );
    }
}

fn shown(weather: Weather) -> String {
    let Weather { answered, failed, gap } = weather;
    format!("{answered:>5} ({failed:>3} failed, longest gap {:>5.0} ms)", gap.as_secs_f64() * 1e3)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_thing_after_another_goes_wrong_and_nothing_is_lost() {
    let mut storm = Storm::begin(1).await;
    for fault in SHORT {
        storm.strike(&[fault]).await;
    }
    storm.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_wrong_and_nothing_is_lost() {
    let seconds = std::env::var("HAYRICK_TORTURE_SECONDS").ok();
    let Some(seconds) = seconds.and_then(|text| text.parse().ok()) else { return };
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let (began, mut rng) = (Instant::now(), StdRng::seed_from_u64(seed));
    let mut storm = Storm::begin(seed).await;
    storm.strike_for(WITHOUT_ZOOKEEPER, &[Fault::NoZooKeeper]).await;
    for fault in ALL {
        storm.strike(&[fault]).await;
    }
    while began.elapsed() < Duration::from_secs(seconds) {
        let count = rng.random_range(1..=2);
        let faults: Vec<_> = ALL.choose_multiple(&mut rng, count).copied().collect();
        storm.strike(&faults).await;
    }
    storm.end().await;
}
