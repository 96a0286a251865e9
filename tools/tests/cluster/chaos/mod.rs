//! A whole cluster under load, while one thing after another goes wrong with it.
//!
//! Clients write, overwrite, read and delete all the while and keep a record of every answer; see
//! [`history`] for what they may see. When all is well again, every object must have all its
//! copies, equal ones, and nothing else may be stored, deleted or left behind.
//!
//! With `HAYRICK_TORTURE_SECONDS` set, faults go on for that long, at random once each has had
//! its turn. The same `HAYRICK_SEED` draws the same faults and the same load again, and
//! `HAYRICK_FAULTS=Disk,Keeper` lets only those happen whose names have one of these words in
//! them. What happened when is printed, and the servers' logs and data are kept if it ends badly.

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
use settle::{Clocks, Settled};

/// What comes after a fault.
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

const ALL: [Fault; 28] = [
    Fault::Kill(Role::Store, 0),
    Fault::Kill(Role::Store, 4),
    Fault::Kill(Role::Directory, 0),
    Fault::Kill(Role::Directory, 1),
    Fault::Kill(Role::Proxy, 0),
    Fault::Kill(Role::Keeper, 0),
    Fault::Freeze(Role::Store, 1),
    Fault::Freeze(Role::Directory, 0),
    Fault::Freeze(Role::Proxy, 1),
    Fault::FreezeLeadingKeeper,
    Fault::FreezeRack,
    Fault::Isolate(Role::Store, 2),
    Fault::Isolate(Role::Directory, 1),
    Fault::IsolateRack,
    Fault::ProxyWithoutZooKeeper,
    Fault::KillZooKeeperLeader,
    Fault::IsolateZooKeeperLeader,
    Fault::NoZooKeeper,
    Fault::NoPostgres,
    Fault::Loss,
    Fault::OneWay,
    Fault::Delay,
    Fault::FullDisk,
    Fault::DeadDisk,
    Fault::ClockJump,
    Fault::WipedStore,
    Fault::LateStore,
    Fault::RollingRestart,
];

/// A cluster, its clients, and what was seen so far.
struct Storm {
    fleet: Fleet,
    load: Load,
    clocks: Clocks,
    began: Instant,
    faults: usize,
}

impl Storm {
    async fn begin(seed: u64) -> Self {
        println!("seed {seed}");
        let fleet = Fleet::start().await;
        let load = Load::start(fleet.doors(), CLIENTS, seed);
        tokio::time::sleep(RECOVERY).await;
        Self { fleet, load, clocks: Clocks::Right, began: Instant::now(), faults: 0 }
    }

    /// Faults that come together and go together.
    async fn strike(&mut self, faults: &[Fault]) {
        let hold = faults.iter().map(|fault| fault.hold()).max().unwrap_or_default();
        self.strike_for(hold, faults).await;
    }

    async fn strike_for(&mut self, hold: Duration, faults: &[Fault]) {
        let possible = |fault: &&Fault| fault.is_possible(&self.fleet);
        let mut faults: Vec<Fault> = faults.iter().filter(possible).copied().collect();
        if faults.is_empty() {
            return;
        }
        // What starts servers does so before there is nothing to start them with, and after.
        faults.sort_by_key(|fault| !fault.starts_servers());
        let names: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let names = names.join(" + ");
        let began = Instant::now();
        println!("{:>6.1} s  {names}", (began - self.began).as_secs_f64());
        for fault in &faults {
            fault.begin(&mut self.fleet).await;
        }
        tokio::time::sleep(hold).await;
        for fault in faults.iter().rev() {
            fault.end(&mut self.fleet).await;
        }
        tokio::time::sleep(RECOVERY).await;
        let ended = Instant::now();
        let service = self.load.service();
        let (reads, writes) = (service.reads(began, ended), service.writes(began, ended));
        let lasted = (ended - began).as_secs_f64();
        println!("{lasted:>8.1} s long: reads {}, writes {}", shown(reads), shown(writes));
        self.faults += faults.len();
        if faults.contains(&Fault::ClockJump) {
            self.clocks = Clocks::Jumped;
        }
        assert!(reads.answered > 0 && writes.answered > 0, "{names}: no service at all");
        if let [fault] = faults[..] {
            if fault.costs_no_read() {
                assert_eq!(reads.failed, 0, "{names}: {:?}", service.failed_reads(began, ended));
            }
            if fault.costs_no_write() {
                assert_eq!(writes.failed, 0, "{names}: {:?}", service.failed_writes(began, ended));
            }
        }
    }

    /// All is well again: what must be true then.
    async fn end(mut self) {
        self.load.stop().await;
        let settled = self.fleet.settle(SETTLED_WITHIN, self.clocks).await;
        let unread = self.load.read_all().await;
        let history = self.load.history();
        let (held, gone) = history.needles();
        let outcome = match &settled {
            Ok(Settled { after, orphans, young }) => {
                let after = after.as_secs_f64();
                format!(
                    "settled after {after:.1} s with {orphans} orphans, {young} from the future"
                )
            }
            Err(trouble) => trouble.clone(),
        };
        println!(
            "{:>6.1} s  the end: {} faults, {} reads and writes checked, {} needles held and {} \
             replaced or deleted, {outcome}",
            self.began.elapsed().as_secs_f64(),
            self.faults,
            history.len(),
            held.len(),
            gone.len(),
        );
        let mut wrong: Vec<String> = settled.err().into_iter().collect();
        wrong.extend(unread.into_iter().map(|name| format!("{name} cannot be read")));
        wrong.extend(history.violation());
        wrong.extend(self.fleet.misplaced(held, gone).await);
        assert!(wrong.is_empty(), "{wrong:#?}");
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
    let Some(seconds) = number_from("HAYRICK_TORTURE_SECONDS") else { return };
    let seed = number_from("HAYRICK_SEED").unwrap_or_else(rand::random);
    let words = std::env::var("HAYRICK_FAULTS").unwrap_or_default();
    let is_wanted = |fault: &Fault| words.split(',').any(|word| fault.to_string().contains(word));
    let all: Vec<Fault> = ALL.into_iter().filter(is_wanted).collect();
    let (began, mut rng) = (Instant::now(), StdRng::seed_from_u64(seed));
    let mut storm = Storm::begin(seed).await;
    if words.is_empty() {
        storm.strike_for(WITHOUT_ZOOKEEPER, &[Fault::NoZooKeeper]).await;
    }
    for fault in &all {
        storm.strike(&[*fault]).await;
    }
    while began.elapsed() < Duration::from_secs(seconds) {
        let first = *all.choose(&mut rng).unwrap();
        let beside: Vec<_> = all.iter().copied().filter(|other| first.goes_with(*other)).collect();
        let second = beside.choose(&mut rng).copied().filter(|_| rng.random_bool(0.7));
        let faults: Vec<_> = [first].into_iter().chain(second).collect();
        storm.strike(&faults).await;
    }
    storm.end().await;
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
