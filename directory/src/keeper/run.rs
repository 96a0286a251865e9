//! Looks, plans, and has steps taken: for ever, and in earnest only while this keeper leads.
//!
//! One that stands by looks too, so that it knows since when a store has been away when it
//! takes over.

mod book;
mod ill;
mod memory;
mod observe;
mod probe;
mod rounds;
mod status;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::book::Book;
pub use self::book::{JobReport, StuckVolume, WaitingJob};
use self::rounds::Rounds;
pub use self::status::{KeeperStatus, ScrubReport, StoreHealth};
use super::KeeperConfig;
use crate::zookeeper::Candidacy;
use crate::{Coordinator, DirectoryError, StoreId, StorePool};

/// Keeps the cluster's volumes whole while it leads. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
}

struct Shared {
    coordinator: Arc<dyn Coordinator>,
    stores: StorePool,
    config: Arc<KeeperConfig>,
    book: Mutex<Book>,
    health: Mutex<Vec<StoreHealth>>,
    scrubs: Mutex<Vec<ScrubReport>>,
    /// Where each store was last, which may be unknown to ZooKeeper now and still serve.
    addresses: Mutex<BTreeMap<StoreId, String>>,
    term: Mutex<Option<u64>>,
}

impl Keeper {
    /// A keeper of the stores in `stores`, which must follow the map of `coordinator`.
    pub fn new(
        coordinator: Arc<dyn Coordinator>,
        stores: StorePool,
        config: KeeperConfig,
    ) -> Result<Self, DirectoryError> {
        config.check()?;
        let shared = Shared {
            coordinator,
            stores,
            config: Arc::new(config),
            book: Mutex::default(),
            health: Mutex::default(),
            scrubs: Mutex::default(),
            addresses: Mutex::default(),
            term: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Stands by, and acts whenever it leads, until `stop` is cancelled.
    pub async fn run(self, candidacy: Candidacy, stop: CancellationToken) {
        let mut rounds = Rounds::new(Arc::clone(&self.shared));
        loop {
            let began = Instant::now();
            let working = rounds.one(candidacy.leadership());
            tokio::select! {
                () = stop.cancelled() => break,
                () = working => {}
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = rounds.pause(began) => {}
            }
        }
        if let Err(error) = candidacy.resign().await {
            tracing::warn!(%error, "the lead was not given up: it ends with the session");
        }
    }

    /// The keeper now.
    pub fn status(&self) -> KeeperStatus {
        let (book, term) = (self.shared.book.lock(), *self.shared.term.lock());
        KeeperStatus {
            leads: term.is_some(),
            term,
            leader: self.shared.coordinator.map().keeper.clone(),
            paused: book.is_paused,
            stores: self.shared.health.lock().clone(),
            running: book.running(),
            waiting: book.waiting.clone(),
            scrubs: self.shared.scrubs.lock().clone(),
            stuck: book.stuck.clone(),
            done: book.done(),
        }
    }
}
