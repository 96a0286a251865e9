//! Who is connected to a listener, and who has to leave when others need the place.
//!
//! A connection without a request in work costs its client nothing. If such connections could keep
//! all places, a crowd of slow or idle clients would keep everybody else out until their timeouts.
//! So when the last place is taken, those that have waited longest make room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::watch::Activity;

/// A client has this long for its request before it may have to make room.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// One of so many connections makes room at a time, so that looking for them is not done for each
/// connection of a flood.
const SHARE: usize = 64;

/// All connections of a listener.
pub(super) struct Crowd {
    /// No limit where it is 0.
    max_per_client: usize,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    last_id: u64,
    activities: HashMap<u64, Arc<Activity>>,
    /// Connections of each client.
    clients: HashMap<IpAddr, usize>,
}

/// A connection's place; given back when dropped.
pub(super) struct Member<'a> {
    crowd: &'a Crowd,
    id: u64,
    client: IpAddr,
}

impl Crowd {
    pub(super) fn new(max_per_client: usize) -> Self {
        Self { max_per_client, members: Mutex::default() }
    }

    /// `None` if the client has as many connections as it may.
    pub(super) fn join(&self, peer: IpAddr, activity: &Arc<Activity>) -> Option<Member<'_>> {
        let client = client_of(peer);
        let members = &mut *self.members.lock();
        let connections = members.clients.entry(client).or_default();
        if self.max_per_client > 0 && *connections >= self.max_per_client {
            return None;
        }
        *connections += 1;
        members.last_id += 1;
        members.activities.insert(members.last_id, Arc::clone(activity));
        Some(Member { crowd: self, id: members.last_id, client })
    }

    /// Asks those to leave that have been without a request for longest.
    pub(super) fn make_room(&self) {
        let now = Instant::now();
        let members = self.members.lock();
        let waits = members.activities.values().filter_map(|activity| {
            let since = activity.waiting_since()?;
            (now.duration_since(since) >= LEAST_WAIT).then_some((since, activity))
        });
        let mut waits: Vec<_> = waits.collect();
        let wanted = (members.activities.len() / SHARE).max(1);
        if waits.len() > wanted {
            waits.select_nth_unstable_by_key(wanted, |(since, _)| *since);
            waits.truncate(wanted);
        }
        for (_, activity) in waits {
            activity.displace();
        }
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        let members = &mut *self.crowd.members.lock();
        members.activities.remove(&self.id);
        if let Some(connections) = members.clients.get_mut(&self.client) {
            *connections -= 1;
            if *connections == 0 {
                members.clients.remove(&self.client);
            }
        }
    }
}

/// Who an address stands for: one host commonly has a whole IPv6 network of 64 bits.
fn client_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network() {
        for (peer, client) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            assert_eq!(client_of(peer.parse().unwrap()), client.parse::<IpAddr>().unwrap());
        }
    }
}
