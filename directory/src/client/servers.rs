//! Which directory to ask next.
//!
//! Requests take turns among the directories that are well. One that failed rests until it has
//! answered again: it is asked after the others, and one that was silent not at all, so that a
//! frozen directory costs a wait each request that met it, and none that comes later. Now and then
//! it is probed, for which nobody waits.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ClusterMap;

/// When one that failed is probed; the time doubles with each probe.
const MIN_REST: Duration = Duration::from_secs(1);
/// The longest time between two probes.
const MAX_REST: Duration = Duration::from_secs(5);

/// The directories that may be asked.
pub(super) struct Servers {
    /// `http://host:port` of those that the operator named.
    named: Vec<String>,
    known: Mutex<Known>,
    turn: AtomicUsize,
}

/// Those that the operator named, and then those on a cluster map.
struct Known {
    map: Option<Arc<ClusterMap>>,
    servers: Arc<[Arc<Server>]>,
}

/// A directory's internal listener.
pub(super) struct Server {
    pub(super) url: String,
    health: Mutex<Health>,
}

/// Whom to ask.
pub(super) struct Line {
    /// In this order. None if all there are were silent, or there are none.
    pub(super) servers: VecDeque<Arc<Server>>,
    /// Those of which it is time to find out how they are.
    pub(super) to_probe: Vec<Arc<Server>>,
}

#[derive(Default)]
struct Health {
    /// One after another.
    failures: u32,
    /// While it rests.
    probe_at: Option<Instant>,
    silent: bool,
}

/// How a server is asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Well,
    Resting,
    Silent,
}

impl Servers {
    pub(super) fn new(named: Vec<String>) -> Self {
        let servers = named.iter().cloned().map(Server::new).collect();
        let known = Mutex::new(Known { map: None, servers });
        Self { named, known, turn: AtomicUsize::new(0) }
    }

    /// Whom to ask now.
    pub(super) fn line_up(&self, map: &Arc<ClusterMap>) -> Line {
        let servers = self.on(map);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % servers.len().max(1);
        let (mut well, mut resting, mut to_probe) = (Vec::new(), Vec::new(), Vec::new());
        let now = Instant::now();
        for server in servers.iter().cycle().skip(turn).take(servers.len()) {
            let mut health = server.health.lock();
            match health.standing() {
                Standing::Well => well.push(Arc::clone(server)),
                Standing::Resting => resting.push(Arc::clone(server)),
                Standing::Silent => {}
            }
            if health.takes_probe(now) {
                to_probe.push(Arc::clone(server));
            }
        }
        Line { servers: well.into_iter().chain(resting).collect(), to_probe }
    }

    /// The servers that a map tells of, with the health that they had before.
    fn on(&self, map: &Arc<ClusterMap>) -> Arc<[Arc<Server>]> {
        let mut known = self.known.lock();
        if !known.map.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, map)) {
            known.map = Some(Arc::clone(map));
            // Where none is registered, all may only have lost their sessions, as after a long
            // outage of the coordinator.
            if !map.directories.is_empty() {
                known.servers = self.renewed(&known.servers, map);
            }
        }
        Arc::clone(&known.servers)
    }

    fn renewed(&self, before: &[Arc<Server>], map: &ClusterMap) -> Arc<[Arc<Server>]> {
        let registered =
            map.directories.values().map(|directory| format!("http://{}", directory.address));
        let mut servers: Vec<Arc<Server>> = Vec::new();
        for url in self.named.iter().cloned().chain(registered) {
            if !servers.iter().any(|server| server.url == url) {
                let same = before.iter().find(|server| server.url == url);
                servers.push(same.map_or_else(|| Server::new(url), Arc::clone));
            }
        }
        servers.into()
    }
}

impl Server {
    fn new(url: String) -> Arc<Self> {
        Arc::new(Self { url, health: Mutex::default() })
    }

    /// It answered, whatever.
    pub(super) fn answered(&self) {
        *self.health.lock() = Health::default();
    }

    /// It could not be asked, or could not answer; `silent` if it was waited for in vain.
    pub(super) fn failed(&self, silent: bool) {
        let (mut health, now) = (self.health.lock(), Instant::now());
        health.silent |= silent;
        // Those that were under way together fail together.
        if health.probe_at.is_none() {
            health.rest(now);
        }
    }
}

impl Health {
    fn standing(&self) -> Standing {
        match (self.probe_at, self.silent) {
            (None, _) => Standing::Well,
            (Some(_), false) => Standing::Resting,
            (Some(_), true) => Standing::Silent,
        }
    }

    /// Whether it is time for a probe, and leaves it to the caller.
    fn takes_probe(&mut self, now: Instant) -> bool {
        let due = self.probe_at.is_some_and(|at| at <= now);
        if due {
            self.rest(now);
        }
        due
    }

    fn rest(&mut self, now: Instant) {
        let rest = MIN_REST.saturating_mul(1 << self.failures.min(10)).min(MAX_REST);
        self.failures = self.failures.saturating_add(1);
        self.probe_at = Some(now + rest);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::DirectoryInfo;

    fn map(addresses: &[&str]) -> Arc<ClusterMap> {
        let info = |address: &&str| DirectoryInfo { address: (*address).to_owned(), session: 1 };
        let directories = addresses.iter().map(|address| (Uuid::new_v4(), info(address)));
        let directories = directories.collect();
        Arc::new(ClusterMap { directories, ..ClusterMap::empty(Uuid::nil()) })
    }

    fn line(servers: &Servers, map: &Arc<ClusterMap>) -> Vec<String> {
        servers.line_up(map).servers.iter().map(|server| server.url.clone()).collect()
    }

    fn find(servers: &Servers, map: &Arc<ClusterMap>, url: &str) -> Arc<Server> {
        let all = servers.on(map);
        Arc::clone(all.iter().find(|server| server.url == url).unwrap())
    }

    #[test]
    fn all_take_turns() {
        let (servers, map) = (Servers::new(vec!["http://a".to_owned()]), map(&["b", "c"]));
        let mut firsts: Vec<_> = (0..3).map(|_| line(&servers, &map)[0].clone()).collect();
        firsts.sort();
        assert_eq!(firsts, ["http://a", "http://b", "http://c"]);
        assert_eq!(line(&servers, &map).len(), 3);
    }

    #[test]
    fn the_map_is_followed_and_named_ones_stay() {
        let servers = Servers::new(vec!["http://a".to_owned()]);
        assert_eq!(line(&servers, &map(&[])), ["http://a"]);
        assert_eq!(line(&servers, &map(&["a"])), ["http://a"], "no server is asked twice");
        let mut both = line(&servers, &map(&["b"]));
        both.sort();
        assert_eq!(both, ["http://a", "http://b"]);
        assert_eq!(line(&servers, &map(&[])).len(), 2, "all lost their sessions, perhaps");
        assert_eq!(line(&servers, &map(&["a"])), ["http://a"]);
        assert_eq!(line(&Servers::new(Vec::new()), &map(&[])), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_failed_is_asked_last_until_it_has_answered() {
        let (servers, map) = (Servers::new(Vec::new()), map(&["a", "b"]));
        let failed = find(&servers, &map, "http://a");
        failed.failed(false);
        for _ in 0..4 {
            assert_eq!(line(&servers, &map), ["http://b", "http://a"]);
        }
        tokio::time::advance(MIN_REST).await;
        let probes: Vec<_> = (0..20).flat_map(|_| servers.line_up(&map).to_probe).collect();
        assert!(probes.len() == 1 && Arc::ptr_eq(&probes[0], &failed));
        assert_eq!(line(&servers, &map), ["http://b", "http://a"]);
        failed.answered();
        let firsts: Vec<_> = (0..20).map(|_| line(&servers, &map)[0].clone()).collect();
        assert_eq!(firsts.iter().filter(|url| *url == "http://a").count(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_silent_is_left_alone_but_for_probes() {
        let (servers, map) = (Servers::new(Vec::new()), map(&["a"]));
        let server = find(&servers, &map, "http://a");
        for _ in 0..100 {
            server.failed(true); // all at once
        }
        let mut probes = Vec::new();
        for second in 0..30 {
            for _ in 0..5 {
                let line = servers.line_up(&map);
                assert!(line.servers.is_empty());
                probes.extend(line.to_probe.iter().map(|_| second));
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(probes, [1, 3, 7, 12, 17, 22, 27]);
        server.answered();
        assert_eq!(line(&servers, &map), ["http://a"]);
    }
}
