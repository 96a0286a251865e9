//! What happens to the cluster.

use std::fmt;
use std::time::Duration;

use hayrick_testkit::ZooKeeper;

use super::super::dead_disk::DeadDisk;
use super::super::process::Process;
use super::fleet::{Fleet, SMALL_DISK_MIB, SMALL_DISK_OF};

/// A kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Store,
    Directory,
    Proxy,
    Keeper,
}

/// Something that goes wrong, and is put right again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process is killed.
    Kill(Role, usize),
    /// A process stops in its tracks.
    Freeze(Role, usize),
    /// One host hears of nobody.
    Isolate(Role, usize),
    /// All stores of the first rack hear of nobody.
    IsolateRack,
    /// All stores of the first rack stop in their tracks.
    FreezeRack,
    /// The keeper that leads stops in its tracks for so long that another is elected. It believes
    /// that it leads when it goes on.
    FreezeLeadingKeeper,
    /// A proxy and ZooKeeper do not hear of each other.
    ProxyWithoutZooKeeper,
    /// The leader of the ensemble is killed.
    KillZooKeeperLeader,
    /// The leader of the ensemble hears of nobody.
    IsolateZooKeeperLeader,
    /// All of ZooKeeper is killed.
    NoZooKeeper,
    /// PostgreSQL is killed.
    NoPostgres,
    /// A third of what is sent to a store is lost on the way; what it sends arrives.
    Loss,
    /// A proxy hears nothing of what a store says, which hears the proxy.
    OneWay,
    /// The first store is asked through a slow line.
    Delay,
    /// The clock of a proxy is two hours ahead, after that of a directory was.
    ClockJump,
    /// The disk of a store has no room left.
    FullDisk,
    /// The disk of a store answers every call with EIO.
    DeadDisk,
    /// A store comes back with empty disks.
    WipedStore,
    /// A store comes back after it has been replaced, and the other replicas were compacted.
    LateStore,
    /// One process after another is restarted as an operator does.
    RollingRestart,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a fault lays hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Process(Role, usize),
    ZooKeeper,
    Postgres,
}

impl Fault {
    /// Whether it takes hosts that can be cut from each other.
    fn needs_network(self) -> bool {
        matches!(
            self,
            Self::Isolate(..)
                | Self::IsolateRack
                | Self::ProxyWithoutZooKeeper
                | Self::IsolateZooKeeperLeader
                | Self::Loss
                | Self::OneWay
        )
    }

    /// Whether this machine has what it takes.
    pub fn is_possible(self, fleet: &Fleet) -> bool {
        (fleet.network.is_real() || !self.needs_network())
            && (fleet.small_disk.is_some() || self != Self::FullDisk)
    }

    /// Whether no read may fail because of it: every object has a copy that can be asked, and a
    /// door that is open. Connections that break are no part of that: a client whose proxy dies
    /// sees it.
    pub fn costs_no_read(self) -> bool {
        matches!(
            self,
            Self::Kill(Role::Store | Role::Keeper, _)
                | Self::FreezeLeadingKeeper
                | Self::ProxyWithoutZooKeeper
                | Self::KillZooKeeperLeader
                | Self::IsolateZooKeeperLeader
                | Self::NoZooKeeper
                | Self::Loss
                | Self::OneWay
                | Self::Delay
                | Self::FullDisk
                | Self::DeadDisk
                | Self::WipedStore
                | Self::LateStore
        )
    }

    /// Whether no write may fail because of it either: none of what an upload needs is touched.
    pub fn costs_no_write(self) -> bool {
        matches!(
            self,
            Self::Kill(Role::Keeper, _)
                | Self::FreezeLeadingKeeper
                | Self::ProxyWithoutZooKeeper
                | Self::KillZooKeeperLeader
                | Self::IsolateZooKeeperLeader
                | Self::NoZooKeeper
        )
    }

    /// How long it lasts.
    pub fn hold(self) -> Duration {
        match self {
            // Longer than ZooKeeper keeps the session of one that is silent.
            Self::FreezeLeadingKeeper => Duration::from_secs(12),
            // Longer than the grace of the keeper and the repair after it.
            Self::LateStore => Duration::from_secs(20),
            _ => Duration::from_secs(4),
        }
    }

    /// Whether it starts servers of ours, which takes all that they need.
    pub fn starts_servers(self) -> bool {
        matches!(
            self,
            Self::Kill(..)
                | Self::ClockJump
                | Self::DeadDisk
                | Self::WipedStore
                | Self::LateStore
                | Self::RollingRestart
        )
    }

    /// Whether the two can come together: they lay hands on different things.
    pub fn goes_with(self, other: Self) -> bool {
        let restart = Self::RollingRestart;
        let (own, others) = (self.parts(), other.parts());
        self != restart && other != restart && !own.iter().any(|part| others.contains(part))
    }

    fn parts(self) -> Vec<Part> {
        let process = |role, number| vec![Part::Process(role, number)];
        match self {
            Self::Kill(role, number) | Self::Freeze(role, number) | Self::Isolate(role, number) => {
                process(role, number)
            }
            Self::IsolateRack | Self::FreezeRack => {
                vec![Part::Process(Role::Store, 0), Part::Process(Role::Store, 1)]
            }
            Self::FreezeLeadingKeeper => {
                vec![Part::Process(Role::Keeper, 0), Part::Process(Role::Keeper, 1)]
            }
            Self::ProxyWithoutZooKeeper => vec![Part::Process(Role::Proxy, 0), Part::ZooKeeper],
            Self::KillZooKeeperLeader | Self::IsolateZooKeeperLeader | Self::NoZooKeeper => {
                vec![Part::ZooKeeper]
            }
            Self::NoPostgres => vec![Part::Postgres],
            Self::Delay | Self::LateStore => process(Role::Store, 0),
            Self::Loss | Self::DeadDisk => process(Role::Store, 1),
            Self::FullDisk => process(Role::Store, SMALL_DISK_OF),
            Self::WipedStore => process(Role::Store, 3),
            Self::OneWay => vec![Part::Process(Role::Proxy, 1), Part::Process(Role::Store, 4)],
            Self::ClockJump => {
                vec![Part::Process(Role::Directory, 0), Part::Process(Role::Proxy, 0)]
            }
            Self::RollingRestart => Vec::new(),
        }
    }

    pub async fn begin(self, fleet: &mut Fleet) {
        match self {
            Self::Kill(role, number) => process(fleet, role, number).kill(),
            Self::Freeze(role, number) => process(fleet, role, number).freeze(),
            Self::Isolate(role, number) => process(fleet, role, number).host().isolate(),
            Self::IsolateRack => fleet.stores[..2].iter().for_each(|store| store.host().isolate()),
            Self::FreezeRack => fleet.stores[..2].iter().for_each(Process::freeze),
            Self::FreezeLeadingKeeper => {
                let leader = fleet.leading_keeper().await;
                fleet.keepers[leader].freeze();
                fleet.frozen_keeper = Some(leader);
            }
            Self::ProxyWithoutZooKeeper => {
                for server in &fleet.zookeeper.servers {
                    fleet.proxies[0].host().drop_from(server.host());
                    server.host().drop_from(fleet.proxies[0].host());
                }
            }
            Self::KillZooKeeperLeader => fleet.zookeeper.leader().kill(),
            Self::IsolateZooKeeperLeader => fleet.zookeeper.leader().host().isolate(),
            Self::NoZooKeeper => {
                fleet.zookeeper.servers.iter_mut().for_each(ZooKeeper::kill);
            }
            Self::NoPostgres => fleet.postgres.kill(),
            Self::Loss => fleet.stores[1].host().lose(33),
            Self::OneWay => fleet.proxies[1].host().drop_from(fleet.stores[4].host()),
            Self::Delay => fleet.relay.delay(Duration::from_millis(200)),
            Self::FullDisk => fleet.small_disk.as_ref().unwrap().fill(),
            Self::DeadDisk => {
                fleet.dead_disk = DeadDisk::all_of(&fleet.stores[1]);
                if fleet.dead_disk.is_none() {
                    println!("no dead disk, which takes strace");
                }
            }
            Self::LateStore => fleet.stores[0].kill(),
            Self::ClockJump => {
                fleet.directories[0].kill();
                fleet.directories[0].start_again_in(&AHEAD);
                fleet.directories[0].kill();
                fleet.directories[0].start_again();
                fleet.proxies[0].kill();
                fleet.proxies[0].start_again_in(&AHEAD);
            }
            Self::WipedStore => {
                fleet.stores[3].kill();
                for lost in [fleet.disk(3), fleet.stores[3].folder().join("data")] {
                    std::fs::remove_dir_all(&lost).unwrap();
                    std::fs::create_dir_all(&lost).unwrap();
                }
                fleet.stores[3].start_again();
            }
            Self::RollingRestart => {
                let mut processes: Vec<_> = fleet.processes().collect();
                for process in &mut processes {
                    process.stop();
                    process.start_again();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    pub async fn end(self, fleet: &mut Fleet) {
        match self {
            Self::Kill(role, number) => process(fleet, role, number).start_again(),
            Self::Freeze(role, number) => process(fleet, role, number).thaw(),
            Self::Isolate(role, number) => process(fleet, role, number).host().heal(),
            Self::IsolateRack => fleet.stores[..2].iter().for_each(|store| store.host().heal()),
            Self::FreezeRack => fleet.stores[..2].iter().for_each(Process::thaw),
            Self::FreezeLeadingKeeper => {
                let leader = fleet.frozen_keeper.take().unwrap();
                fleet.keepers[leader].thaw();
            }
            Self::ProxyWithoutZooKeeper | Self::IsolateZooKeeperLeader => {
                fleet.zookeeper.servers.iter().for_each(|server| server.host().heal());
                fleet.proxies[0].host().heal();
            }
            Self::KillZooKeeperLeader | Self::NoZooKeeper => {
                let servers = fleet.zookeeper.servers.iter_mut();
                servers.filter(|server| !server.is_up()).for_each(ZooKeeper::resume);
                fleet.zookeeper.wait();
            }
            Self::NoPostgres => fleet.postgres.restart(),
            Self::Loss => fleet.stores[1].host().heal(),
            Self::OneWay => fleet.proxies[1].host().heal(),
            Self::Delay => fleet.relay.delay(Duration::ZERO),
            Self::FullDisk => fleet.small_disk.as_ref().unwrap().resize(SMALL_DISK_MIB),
            // Volumes of which a write failed stay closed until they are opened again.
            Self::DeadDisk => {
                fleet.dead_disk = None;
                fleet.stores[1].kill();
                fleet.stores[1].start_again();
            }
            Self::LateStore => {
                fleet.compact(1..).await;
                fleet.stores[0].start_again();
            }
            Self::ClockJump => {
                fleet.proxies[0].kill();
                fleet.proxies[0].start_again();
            }
            Self::WipedStore | Self::RollingRestart => {}
        }
    }
}

/// Where a program's clock is two hours ahead.
const AHEAD: [(&str, &str); 2] =
    [("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1"), ("FAKETIME", "+2h")];

fn process(fleet: &mut Fleet, role: Role, number: usize) -> &mut Process {
    let processes = match role {
        Role::Store => &mut fleet.stores,
        Role::Directory => &mut fleet.directories,
        Role::Proxy => &mut fleet.proxies,
        Role::Keeper => &mut fleet.keepers,
    };
    &mut processes[number]
}
