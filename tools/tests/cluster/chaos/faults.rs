//! What happens to the cluster.

use std::fmt;
use std::time::Duration;

use hayrick_testkit::ZooKeeper;

use super::fleet::Fleet;

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
    /// A third of what is sent to a store is lost on the way.
    Loss,
    /// The first store is asked through a slow line.
    Delay,
    /// The clock of a proxy is two hours ahead, after that of a directory was.
    ClockJump,
    /// A store comes back with empty disks.
    WipedStore,
    /// One process after another is restarted as an operator does.
    RollingRestart,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Fault {
    /// Whether it takes hosts that can be cut from each other.
    pub fn needs_network(self) -> bool {
        matches!(
            self,
            Self::Isolate(..)
                | Self::IsolateRack
                | Self::ProxyWithoutZooKeeper
                | Self::IsolateZooKeeperLeader
                | Self::Loss
        )
    }

    /// Whether no read may fail because of it: every object has a copy that can be asked, and a
    /// door that is open. Connections that break are no part of that: a client whose proxy dies
    /// sees it.
    pub fn costs_no_read(self) -> bool {
        matches!(
            self,
            Self::Kill(Role::Store | Role::Keeper, _)
                | Self::Freeze(Role::Keeper, _)
                | Self::ProxyWithoutZooKeeper
                | Self::KillZooKeeperLeader
                | Self::IsolateZooKeeperLeader
                | Self::NoZooKeeper
                | Self::Loss
                | Self::Delay
                | Self::WipedStore
        )
    }

    pub async fn begin(self, fleet: &mut Fleet) {
        match self {
            Self::Kill(role, number) => process(fleet, role, number).kill(),
            Self::Freeze(role, number) => process(fleet, role, number).freeze(),
            Self::Isolate(role, number) => process(fleet, role, number).host().isolate(),
            Self::IsolateRack => fleet.stores[..2].iter().for_each(|store| store.host().isolate()),
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
            Self::Delay => fleet.relay.delay(Duration::from_millis(200)),
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
                for lost in [fleet.disk(4), fleet.stores[3].folder().join("data")] {
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

    pub fn end(self, fleet: &mut Fleet) {
        match self {
            Self::Kill(role, number) => process(fleet, role, number).start_again(),
            Self::Freeze(role, number) => process(fleet, role, number).thaw(),
            Self::Isolate(role, number) => process(fleet, role, number).host().heal(),
            Self::IsolateRack => fleet.stores[..2].iter().for_each(|store| store.host().heal()),
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
            Self::Delay => fleet.relay.delay(Duration::ZERO),
            Self::ClockJump => {
                fleet.proxies[0].kill();
                fleet.proxies[0].start_again();
            }
            Self::WipedStore | Self::RollingRestart => {}
        }
    }
}

/// What runs a program whose clock is two hours ahead.
const AHEAD: [&str; 3] = ["/usr/bin/faketime", "-f", "+2h"];

fn process(fleet: &mut Fleet, role: Role, number: usize) -> &mut super::super::process::Process {
    let processes = match role {
        Role::Store => &mut fleet.stores,
        Role::Directory => &mut fleet.directories,
        Role::Proxy => &mut fleet.proxies,
        Role::Keeper => &mut fleet.keepers,
    };
    &mut processes[number]
}
