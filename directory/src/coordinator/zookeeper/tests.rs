//! On real servers: a shared one where it is left alone, own ones where it suffers.

mod auth;
mod election;
mod foreign;
mod keys;
mod kill;
mod membership;
mod outage;
mod reaping;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};

use hayrick_service::auth::Secret;
use hayrick_testkit::ZooKeeper;
use zookeeper_client::Client;

use super::*;
use crate::coordinator::conformance::{Cluster, conforms};

/// Killed with the test process.
static SHARED: LazyLock<ZooKeeper> = LazyLock::new(ZooKeeper::start);

/// A folder of its own on the shared server.
fn fresh() -> ZooKeeperConfig {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    config_of(&SHARED, &format!("test-{number}"))
}

fn config_of(server: &ZooKeeper, folder: &str) -> ZooKeeperConfig {
    let config = ZooKeeperConfig::new(format!("{}/{folder}", server.address()));
    ZooKeeperConfig { session_timeout_ms: 4_000, change_timeout_ms: 30_000, ..config }
}

async fn open(config: &ZooKeeperConfig) -> Arc<ZooKeeperCoordinator> {
    Arc::new(ZooKeeperCoordinator::open(config.clone(), None).await.unwrap())
}

/// A client that knows nothing of coordinators, as an operator's shell does.
async fn plain_client(config: &ZooKeeperConfig) -> Client {
    let open = ZooKeeperConfig { auth: None, ..config.clone() };
    session::connect(&open).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    conforms(async || {
        let config = fresh();
        let one = open(&config).await;
        Cluster { one, other: open(&config).await, _keep: Box::new(()) }
    })
    .await;
}
