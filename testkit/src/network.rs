//! Hosts of a small network on this machine, each with an address of its own, that can be cut
//! from each other.
//!
//! Each host is a network namespace on one bridge. That needs root, `ip` and `iptables`;
//! elsewhere every host is 127.0.0.1, and nothing can be cut.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, geteuid, test_kill_process};

const IP: &str = "/usr/sbin/ip";
const IPTABLES: &str = "/usr/sbin/iptables";
/// What every namespace and bridge made here is called first.
const PREFIX: &str = "hay";
/// The last number of this machine's own address in a network.
const GATEWAY: u8 = 254;

/// Hosts on one bridge. Dropping it removes them.
#[derive(Debug)]
pub struct Network {
    /// `None` where everything is 127.0.0.1.
    bridge: Option<String>,
    subnet: [u8; 3],
    hosts: AtomicU32,
}

/// One host. Clones are the same host.
#[derive(Debug, Clone)]
pub struct Host {
    namespace: Option<String>,
    address: Ipv4Addr,
}

impl Network {
    /// A network of this test alone; without the rights for one, 127.0.0.1 for all.
    ///
    /// # Panics
    /// The system refuses a bridge to root.
    pub fn new() -> Self {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        let able = geteuid().is_root()
            && [IP, IPTABLES].iter().all(|program| std::path::Path::new(program).exists());
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let hosts = AtomicU32::new(0);
        if !able {
            return Self { bridge: None, subnet: [127, 0, 0], hosts };
        }
        remove_leftovers();
        let spread = process.wrapping_mul(7).wrapping_add(number).to_le_bytes();
        // Two tests at a time hardly ever draw the same of 50,000.
        let subnet = [10, 55 + spread[1] % 200, spread[0]];
        let bridge = format!("{PREFIX}{process}n{number}");
        let this = Self { bridge: Some(bridge.clone()), subnet, hosts };
        run(IP, ["link", "add", &bridge, "type", "bridge"]);
        run(IP, ["addr", "add", &format!("{}/24", this.gateway()), "dev", &bridge]);
        run(IP, ["link", "set", &bridge, "up"]);
        this
    }

    /// Whether its hosts can be cut from each other.
    pub fn is_real(&self) -> bool {
        self.bridge.is_some()
    }

    /// This machine's own address in it.
    pub fn gateway(&self) -> IpAddr {
        let [a, b, c] = self.subnet;
        let last = if self.is_real() { GATEWAY } else { 1 };
        Ipv4Addr::new(a, b, c, last).into()
    }

    /// A new host.
    ///
    /// # Panics
    /// The system refuses one.
    pub fn host(&self) -> Host {
        let Some(bridge) = &self.bridge else { return Host::loopback() };
        let number = self.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        let last = u8::try_from(number).expect("at most 253 hosts");
        let [a, b, c] = self.subnet;
        let address = Ipv4Addr::new(a, b, c, last);
        let namespace = format!("{bridge}h{number}");
        // An interface's name has at most 15 letters.
        let outside = format!("{}{number}", bridge.replace(PREFIX, "hv"));
        run(IP, ["netns", "add", &namespace]);
        let peer = ["peer", "name", "eth0", "netns", &namespace];
        run(IP, ["link", "add", &outside, "type", "veth"].into_iter().chain(peer));
        run(IP, ["link", "set", &outside, "master", bridge, "up"]);
        run(IP, ["-n", &namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        for interface in ["lo", "eth0"] {
            run(IP, ["-n", &namespace, "link", "set", interface, "up"]);
        }
        Host { namespace: Some(namespace), address }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// This machine as it is.
    pub fn loopback() -> Self {
        Self { namespace: None, address: Ipv4Addr::LOCALHOST }
    }

    /// Where servers on it listen.
    pub fn address(&self) -> IpAddr {
        self.address.into()
    }

    /// What a command on this host begins with.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let [first, rest @ ..] = self.prefix() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(rest).arg(self.namespace.as_deref().unwrap_or_default()).arg(program);
        command
    }

    /// The same as words, the program to follow.
    pub(crate) fn words(&self) -> Vec<String> {
        let prefix = self.prefix().iter().map(|word| (*word).to_owned());
        prefix.chain(self.namespace.clone()).collect()
    }

    fn prefix(&self) -> &'static [&'static str] {
        if self.namespace.is_some() { &[IP, "netns", "exec"] } else { &[] }
    }

    /// From now on hears nothing of what `other` sends. Cut both for a partition.
    ///
    /// # Panics
    /// It is 127.0.0.1, or the system refuses.
    pub fn drop_from(&self, other: &Self) {
        let other = other.address.to_string();
        self.filter(["-A", "INPUT", "-s", &other, "-j", "DROP"]);
    }

    /// From now on loses this part of what arrives, in percent, at random.
    ///
    /// # Panics
    /// It is 127.0.0.1, or the system refuses.
    pub fn lose(&self, percent: u8) {
        let part = format!("{:.2}", f64::from(percent) / 100.0);
        self.filter(
            ["-A", "INPUT", "-i", "eth0", "-m", "statistic", "--mode", "random"]
                .into_iter()
                .chain(["--probability", &part, "-j", "DROP"]),
        );
    }

    /// From now on hears of nobody, and nobody hears of it.
    ///
    /// # Panics
    /// It is 127.0.0.1, or the system refuses.
    pub fn isolate(&self) {
        self.filter(["-A", "INPUT", "-i", "eth0", "-j", "DROP"]);
        self.filter(["-A", "OUTPUT", "-o", "eth0", "-j", "DROP"]);
    }

    /// Nothing is cut or lost any more.
    ///
    /// # Panics
    /// The system refuses.
    pub fn heal(&self) {
        if self.namespace.is_some() {
            self.filter(["-F"]);
        }
    }

    fn filter<'a>(&'a self, rule: impl IntoIterator<Item = &'a str>) {
        let namespace = self.namespace.as_deref().expect("a host of its own");
        run(IP, ["netns", "exec", namespace, IPTABLES, "-w"].into_iter().chain(rule));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(bridge) = &self.bridge {
            remove(bridge);
        }
    }
}

/// What test processes left behind that were killed.
fn remove_leftovers() {
    for bridge in names(&["-o", "link", "show", "type", "bridge"], ": ") {
        let process = bridge.strip_prefix(PREFIX).and_then(|rest| rest.split_once('n'));
        let pid = process.and_then(|(pid, _)| pid.parse().ok()).and_then(Pid::from_raw);
        if pid.is_some_and(|pid| test_kill_process(pid).is_err()) {
            remove(&bridge);
        }
    }
}

/// Namespaces go with the bridge, and their interfaces with them. Another test may be
/// removing the same leftovers.
fn remove(bridge: &str) {
    for namespace in names(&["netns", "list"], " ") {
        if namespace.starts_with(&format!("{bridge}h")) {
            attempt(&["netns", "delete", &namespace]);
        }
    }
    attempt(&["link", "delete", bridge]);
}

/// The second column where there is a number in the first, else the first.
fn names(list: &[&str], separator: &str) -> Vec<String> {
    let output = Command::new(IP).args(list).output().expect("`ip`");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let name = |line: &str| {
        let mut columns = line.split(separator);
        let first = columns.next().unwrap_or_default();
        let name = if first.parse::<u32>().is_ok() { columns.next()? } else { first };
        Some(name.trim().to_owned())
    };
    lines.lines().filter_map(name).collect()
}

fn attempt(arguments: &[&str]) {
    let _ = Command::new(IP).args(arguments).stderr(Stdio::null()).status();
}

fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) {
    let mut command = Command::new(program);
    let output = command.args(arguments).output().expect("a command");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Whether a program on `host` is heard by `server`.
    fn reaches(host: &Host, server: &TcpListener) -> bool {
        let to = server.local_addr().expect("an address");
        let say = format!("exec 3<>/dev/tcp/{}/{}", to.ip(), to.port());
        let mut command = host.command("timeout");
        let said = command.args(["1", "bash", "-c", &say]).stderr(Stdio::null()).status();
        said.expect("a shell").success()
    }

    #[test]
    fn a_host_is_cut_off_and_heard_again() {
        let network = Network::new();
        if !network.is_real() {
            return;
        }
        let server = TcpListener::bind((network.gateway(), 0)).expect("a server");
        let (one, other) = (network.host(), network.host());
        assert!(reaches(&one, &server) && reaches(&other, &server));
        one.isolate();
        assert!(!reaches(&one, &server) && reaches(&other, &server));
        one.heal();
        assert!(reaches(&one, &server));
    }
}
