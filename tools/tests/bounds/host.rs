//! The server under attack, and what its process uses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::sleep;

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../it/rig.rs"]
mod rig;

use rig::{Home, Server, hayrick};

/// Settings as environment variables.
const SETTINGS: [(&str, &str); 16] = [
    ("HAYRICK_PUBLIC__LIMITS__HEADER_TIMEOUT", "2s"),
    ("HAYRICK_PUBLIC__LIMITS__IDLE_TIMEOUT", "2s"),
    ("HAYRICK_PUBLIC__LIMITS__BODY_IDLE_TIMEOUT", "2s"),
    ("HAYRICK_PUBLIC__LIMITS__WRITE_STALL_TIMEOUT", "2s"),
    ("HAYRICK_INTERNAL__LIMITS__MAX_CONNECTIONS", "8"),
    ("HAYRICK_ADMIN__LIMITS__MAX_CONNECTIONS", "8"),
    ("HAYRICK_PROXY__UPLOAD_MEMORY", "32MiB"),
    ("HAYRICK_PROXY__DOWNLOAD_MEMORY", "16MiB"),
    ("HAYRICK_STORE__UPLOAD_MEMORY", "32MiB"),
    ("HAYRICK_PROXY__IMAGE__THREADS", "1"),
    ("HAYRICK_PROXY__IMAGE__QUEUE_LEN", "1"),
    ("HAYRICK_PROXY__IMAGE__MAX_PIXELS", "1000000"),
    ("HAYRICK_PROXY__IMAGE__MAX_SOURCE", "1MiB"),
    ("HAYRICK_STORE__DURABILITY", "os"),
    ("HAYRICK_LOG__FILTER", "warn,hayrick::access=off"),
    ("HAYRICK_STORE__SCRUB_PASS", "0s"),
];

/// A running server with room for so many connections.
pub struct Host {
    server: Server,
    pub address: SocketAddr,
    /// What its settings say that clients can make it use.
    allowed_bytes: u64,
    idle: Usage,
}

/// What a process uses.
#[derive(Debug, Clone, Copy)]
struct Usage {
    resident_bytes: u64,
    /// The most there ever was.
    peak_bytes: u64,
    files: usize,
}

impl Host {
    pub fn start(max_connections: usize) -> Self {
        let max_connections = max_connections.to_string();
        let mut home =
            Home::new().with("HAYRICK_PUBLIC__LIMITS__MAX_CONNECTIONS", &max_connections);
        for (name, value) in SETTINGS {
            home = home.with(name, value);
        }
        let mut check = hayrick();
        check.args(["config", "check", "--json"]).envs(home.env.iter().map(|(k, v)| (k, v)));
        let checked: serde_json::Value =
            serde_json::from_slice(&check.output().unwrap().stdout).unwrap();
        let server = home.start();
        let address = server.public.strip_prefix("http://").unwrap().parse().unwrap();
        let idle = Usage::of(server.pid);
        let allowed_bytes = checked["client_memory_bytes"].as_u64().unwrap();
        Self { server, address, allowed_bytes, idle }
    }

    /// Waits until every connection is gone, then says what the attack took.
    pub async fn must_have_kept_its_bounds(&self, attack: &str) {
        let mut now = Usage::of(self.server.pid);
        for _ in 0..1200 {
            // The pool for blocking work, timers and logs may have a few more than at the start.
            if now.files <= self.idle.files + 8 {
                break;
            }
            sleep(Duration::from_millis(100)).await;
            now = Usage::of(self.server.pid);
        }
        let Self { idle, allowed_bytes, .. } = self;
        let [idle_mib, peak, after, allowed] =
            [idle.peak_bytes, now.peak_bytes, now.resident_bytes, *allowed_bytes].map(|b| b >> 20);
        println!(
            "{attack}: memory idle {idle_mib} MiB, peak {peak} MiB, after {after} MiB; settings allow {allowed} MiB more; files {} > {}",
            idle.files, now.files
        );
        assert!(now.files <= idle.files + 8, "connections are left: {idle:?} {now:?}");
        assert!(now.peak_bytes <= idle.peak_bytes + allowed_bytes, "{idle:?} {now:?}");
    }
}

impl Usage {
    fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let kib = |key: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(key)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Self { resident_bytes: kib("VmRSS:") << 10, peak_bytes: kib("VmHWM:") << 10, files }
    }
}
