//! On a real server, which the tests of this process share.

mod doubt;
mod opening;
mod outage;
mod shared;

use std::sync::{Arc, Weak};

use hayrick_testkit::Postgres;
use parking_lot::Mutex;

use super::*;
use crate::names::conformance;

/// The server; it ends with the last test that uses it.
fn server() -> Arc<Postgres> {
    static SERVER: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock();
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Postgres::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

fn config(url: &str) -> PostgresConfig {
    // Patient: these tests are about what is done, not about how soon.
    PostgresConfig { timeout_ms: 60_000, max_connections: 8, ..PostgresConfig::new(url) }
}

async fn open(url: &str) -> PostgresNames {
    PostgresNames::open(&config(url), Uuid::nil(), false).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shared_engine_conforms() {
    let server = server();
    let url = Mutex::new(String::new());
    let new = async || {
        let database = server.database();
        url.lock().clone_from(&database);
        open(&database).await
    };
    let reopen = async |names| {
        drop(names);
        let database = url.lock().clone();
        open(&database).await
    };
    conformance::run(new, reopen).await;
}

#[tokio::test]
async fn more_than_may_wait_is_busy() {
    let server = server();
    let few = PostgresConfig { max_connections: 1, max_waiting: 0, ..config(&server.database()) };
    let names = PostgresNames::open(&few, Uuid::nil(), false).await.unwrap();
    let (first, second) = tokio::join!(names.garbage_len(), names.garbage_len());
    assert_eq!((first, second), (Ok(0), Err(NamesError::Busy)));
    assert_eq!(names.garbage_len().await, Ok(0));
}
