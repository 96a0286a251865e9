//! Which directory to ask next.
//!
//! Requests take turns among the directories that are well. One that failed rests for a while,
//! longer each time: it is asked after the others, and by one request when the rest is over. One
//! that was silent is not even asked last, so that a frozen directory costs each request that
//! met it one wait, and those that come later none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::ClusterMap;

/// The rest after a first failure; it doubles with each that follows.
const MIN_REST: Duration = Duration::from_secs(1);
/// The longest rest.
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

#[derive(Default)]
struct Health {
    /// One after another.
    failures: u32,
    rests_until: Option<Instant>,
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

    /// The servers in the order in which to ask them. None if all there are were silent, or
    /// there are none.
    pub(super) fn line_up(&self, map: &Arc<ClusterMap>) -> VecDeque<Arc<Server>> {
        let servers = self.on(map);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % servers.len().max(1);
        let in_turn = servers.iter().cycle().skip(turn).take(servers.len());
        let now = Instant::now();
        let standing = in_turn.map(|server| (server.standing(now), server));
        let (well, rest): (Vec<_>, Vec<_>) = standing.partition(|(s, _)| *s == Standing::Well);
        let resting = rest.into_iter().filter(|(standing, _)| *standing == Standing::Resting);
        well.into_iter().chain(resting).map(|(_, server)| Arc::clone(server)).collect()
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
        if health.rests_until.is_none_or(|until| until <= now) {
            health.rest(now);
        }
    }

    fn standing(&self, now: Instant) -> Standing {
        let mut health = self.health.lock();
        match health.rests_until {
            None => Standing::Well,
            Some(until) if now < until => {
                if health.silent {
                    Standing::Silent
                } else {
                    Standing::Resting
                }
            }
            Some(_) => {
                // This request finds out; the others leave it alone until it has.
                health.rest(now);
                Standing::Well
            }
        }
    }
}

impl Health {
    fn rest(&mut self, now: Instant) {
        let rest = MIN_REST.saturating_mul(1 << self.failures.min(10)).min(MAX_REST);
        self.failures = self.failures.saturating_add(1);
        self.rests_until = Some(now + rest);
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
        servers.line_up(map).iter().map(|server| server.url.clone()).collect()
    }

    fn find(servers: &Servers, map: &Arc<ClusterMap>, url: &str) -> Arc<Server> {
        let line = servers.line_up(map);
        Arc::clone(line.iter().find(|server| server.url == url).unwrap())
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
    async fn one_that_failed_is_asked_last_and_then_by_one_request() {
        let (servers, map) = (Servers::new(Vec::new()), map(&["a", "b"]));
        find(&servers, &map, "http://a").failed(false);
        for _ in 0..4 {
            assert_eq!(line(&servers, &map), ["http://b", "http://a"]);
        }
        tokio::time::advance(MIN_REST).await;
        let firsts: Vec<_> = (0..20).map(|_| line(&servers, &map)[0].clone()).collect();
        assert!(firsts.iter().filter(|url| *url == "http://a").count() <= 1, "{firsts:?}");
        find(&servers, &map, "http://a").answered();
        let firsts: Vec<_> = (0..20).map(|_| line(&servers, &map)[0].clone()).collect();
        assert_eq!(firsts.iter().filter(|url| *url == "http://a").count(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_was_silent_is_left_alone_but_for_one_request_now_and_then() {
        let (servers, map) = (Servers::new(Vec::new()), map(&["a"]));
        let server = find(&servers, &map, "http://a");
        for _ in 0..100 {
            server.failed(true); // all at once
        }
        let mut asked = Vec::new();
        for second in 0..30 {
            for _ in 0..5 {
                asked.extend(line(&servers, &map).pop().map(|_| second));
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(asked, [1, 3, 7, 12, 17, 22, 27]);
        server.answered();
        assert_eq!(line(&servers, &map), ["http://a"]);
    }
}
