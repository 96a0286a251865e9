//! Looks, plans, and has steps taken: for ever, and in earnest only while this keeper leads.
//!
//! One that stands by looks too, so that it knows since when a store has been away when it
//! takes over.

mod book;
mod observe;
mod probe;
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hayrick_store::{Epoch, VolumeId};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::book::Book;
pub use self::book::{JobReport, StuckVolume, WaitingJob};
use self::observe::Observer;
use self::steps::StepError;
use super::KeeperConfig;
use super::health::Health;
use super::plan::{Facts, Hints, Job, Plan, Step, Work, plan};
use crate::backoff::Backoff;
use crate::zookeeper::{Candidacy, Leadership};
use crate::{ClusterMap, Coordinator, DirectoryError, KeeperInfo, Order, StoreId, StorePool};

/// How long a volume is left alone after a step failed, at first and at most.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(5)];
/// When needles that nobody could give are looked for again.
const MEND_AGAIN: Duration = Duration::from_hours(1);
/// Steps that end soon are followed by the next round, but rounds are this far apart at least.
const ROUNDS_PER_INTERVAL: u32 = 10;

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
    /// Where each store was last, which may be unknown to ZooKeeper now and still serve.
    addresses: Mutex<BTreeMap<StoreId, String>>,
    term: Mutex<Option<u64>>,
}

/// The keeper at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperStatus {
    /// Whether this keeper leads; one that stands by has no jobs.
    pub leads: bool,
    /// Since which term it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
    /// The keeper that leads, as the cluster knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<KeeperInfo>,
    /// Whether nothing new is begun, by an operator's word.
    pub paused: bool,
    /// How the stores are, by id.
    pub stores: Vec<StoreHealth>,
    /// Jobs under way.
    pub running: Vec<JobReport>,
    /// Jobs that wait for those to end.
    pub waiting: Vec<WaitingJob>,
    /// Volumes that are not as they should be, where nothing can be done now.
    pub stuck: Vec<StuckVolume>,
    /// The last hundred jobs that are over, newest first.
    pub done: Vec<JobReport>,
}

/// What the keeper thinks of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreHealth {
    /// The store.
    pub store: StoreId,
    /// How it is.
    pub health: Health,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For how long it has been away, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_ms: Option<u64>,
    /// Data directories with replicas that have failed.
    #[serde(default)]
    pub failed_disks: BTreeSet<String>,
}

/// A step that was taken, or not.
type Ended = (Job, Result<(), StepError>);

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
            stuck: book.stuck.clone(),
            done: book.done(),
        }
    }
}

/// What the keeper keeps between its rounds.
struct Rounds {
    shared: Arc<Shared>,
    observer: Observer,
    hints: Hints,
    mended: BTreeMap<(VolumeId, StoreId), Instant>,
    failed: Backoff<VolumeId>,
    ended: mpsc::UnboundedReceiver<Ended>,
    endings: mpsc::UnboundedSender<Ended>,
    term: Option<u64>,
}

impl Rounds {
    fn new(shared: Arc<Shared>) -> Self {
        // As many messages as there are volumes being worked on.
        let (endings, ended) = mpsc::unbounded_channel();
        let observer = Observer::new(Arc::clone(&shared.config));
        let (hints, failed) = (Hints::default(), Backoff::new(RETRY[0], RETRY[1]));
        let (mended, term) = (BTreeMap::new(), None);
        Self { shared, observer, hints, mended, failed, ended, endings, term }
    }

    /// Looks once, and acts if this keeper leads.
    async fn one(&mut self, lead: Option<Leadership>) {
        self.notice_the_term(lead.as_ref().map(Leadership::term));
        while let Ok(ended) = self.ended.try_recv() {
            self.step_over(ended);
        }
        // Before the stores are asked: what a map names was made before it was named.
        let map = self.shared.coordinator.map();
        self.note_addresses(&map);
        self.observer.look(&map, &self.shared.stores).await;
        self.tell_health();
        if let Some(lead) = lead.filter(Leadership::is_held) {
            let plan = self.plan(&map);
            self.strike_orders(&plan).await;
            self.act(plan, &lead);
        }
    }

    /// Waits for the next round: less long if a step ends.
    async fn pause(&mut self, began: Instant) {
        let interval = self.shared.config.interval.duration();
        tokio::select! {
            () = tokio::time::sleep_until(began + interval) => {}
            Some(ended) = self.ended.recv() => {
                self.step_over(ended);
                tokio::time::sleep_until(began + interval / ROUNDS_PER_INTERVAL).await;
            }
        }
    }

    fn notice_the_term(&mut self, term: Option<u64>) {
        metrics::gauge!("hayrick_keeper_leads").set(if term.is_some() { 1.0 } else { 0.0 });
        if self.term != term {
            // Whoever led meanwhile may have undone what is remembered.
            self.hints = Hints::default();
            self.mended.clear();
            self.shared.book.lock().forget();
            *self.shared.term.lock() = term;
            self.term = term;
        }
    }

    fn note_addresses(&self, map: &ClusterMap) {
        let mut addresses = self.shared.addresses.lock();
        addresses.retain(|id, _| map.stores.contains_key(id));
        for (id, known) in &map.stores {
            if let Some(member) = &known.member {
                addresses.insert(id.clone(), member.address.clone());
            }
        }
    }

    fn plan(&mut self, map: &ClusterMap) -> Plan {
        self.mended.retain(|_, at| at.elapsed() < MEND_AGAIN);
        self.hints.mended = self.mended.keys().cloned().collect();
        self.hints.unlike = self.observer.unlike();
        let is_of_now = |volume: &VolumeId, epoch: Epoch| {
            map.volumes.get(volume).is_some_and(|entry| entry.value.epoch == epoch.get())
        };
        self.hints.fenced.retain(|(volume, _, epoch)| is_of_now(volume, *epoch));
        self.hints.filled.retain(|(volume, _, epoch)| is_of_now(volume, *epoch));
        self.hints.repaired.retain(|order| map.orders.contains_key(order));
        let (view, hints, config) = (self.observer.view(), &self.hints, &*self.shared.config);
        plan(Facts { map, view, hints, config })
    }

    async fn strike_orders(&self, plan: &Plan) {
        for order in &plan.done {
            match self.shared.coordinator.remove_order(order).await {
                Ok(()) => tracing::info!(%order, "order carried out"),
                Err(error) => tracing::warn!(%order, %error, "order not struck"),
            }
        }
    }

    /// Has as many steps taken as may be taken at one time.
    fn act(&mut self, plan: Plan, lead: &Leadership) {
        let Plan { jobs, stuck, is_paused, .. } = plan;
        let config = &self.shared.config;
        let mut book = self.shared.book.lock();
        let planned: BTreeSet<_> = jobs.iter().map(|job| job.volume).collect();
        book.end_all_but(|volume| planned.contains(&volume));
        book.is_paused = is_paused;
        let stuck = stuck.into_iter().map(|(volume, reason)| StuckVolume { volume, reason });
        book.stuck = stuck.collect();
        book.waiting.clear();
        for job in jobs {
            if book.is_running(job.volume) {
                continue;
            }
            let begun = job.work == Work::Settle || book.is_active(job.volume);
            let may_begin = book.active() < config.parallel_volumes
                && book.has_room(&job, config.parallel_per_store)
                && !is_paused;
            if self.failed.waits(&job.volume) || !(begun || may_begin) {
                let (volume, work) = (job.volume, job.work.to_string());
                book.waiting.push(WaitingJob { volume, work });
                continue;
            }
            book.begin(&job);
            let (shared, lead) = (Arc::clone(&self.shared), lead.clone());
            let endings = self.endings.clone();
            tokio::spawn(async move {
                let taken = shared.take(&job, &lead).await;
                // An error means that the keeper has stopped.
                let _ = endings.send((job, taken));
            });
        }
        tell_numbers(&book);
    }

    fn step_over(&mut self, (job, taken): Ended) {
        let volume = job.volume;
        if job.work == Work::Compare {
            self.observer.compared(volume);
        }
        let error = match taken {
            Ok(()) => {
                self.failed.succeeded(&volume);
                self.remember(job);
                None
            }
            Err(error) => {
                self.failed.failed(volume);
                (!error.is_expected()).then(|| error.to_string())
            }
        };
        self.shared.book.lock().step_over(volume, error);
    }

    fn remember(&mut self, job: Job) {
        let volume = job.volume;
        match job.step {
            Step::Fence { on, epoch } => {
                self.hints.fenced.extend(on.into_iter().map(|store| (volume, store, epoch)));
                return;
            }
            Step::Sync { fills, .. } => {
                let filled = fills.into_iter().map(|fill| (volume, fill.on, job.epoch));
                self.hints.filled.extend(filled);
            }
            _ => return,
        }
        match job.work {
            Work::Mend { on } => drop(self.mended.insert((job.volume, on), Instant::now())),
            Work::Repair => {
                self.hints.repaired.insert(Order::Repair { volume: job.volume }.id());
            }
            _ => {}
        }
    }

    fn tell_health(&self) {
        let failed_disks = |store: &StoreId| {
            let seen = self.observer.view().stores.get(store);
            let own = seen.and_then(|seen| seen.replicas.as_ref()).into_iter().flatten();
            let failed = own.filter(|(_, replica)| replica.is_failed());
            let failed = failed.map(|(_, replica)| replica.disk.clone());
            failed.chain(seen.and_then(|seen| seen.failed_disk.clone())).collect()
        };
        let health = self.observer.judges().iter().map(|(store, judge)| StoreHealth {
            store: store.clone(),
            health: judge.health(),
            reason: judge.reason().map(str::to_owned),
            away_ms: judge.away_since().map(|since| millis(since.elapsed())),
            failed_disks: failed_disks(store),
        });
        let health: Vec<_> = health.collect();
        let ill = health.iter().filter(|store| store.health != Health::Well).count();
        metrics::gauge!("hayrick_keeper_stores_not_well").set(to_f64(ill));
        *self.shared.health.lock() = health;
    }
}

fn tell_numbers(book: &Book) {
    metrics::gauge!("hayrick_keeper_jobs_running").set(to_f64(book.active()));
    metrics::gauge!("hayrick_keeper_jobs_waiting").set(to_f64(book.waiting.len()));
    metrics::gauge!("hayrick_keeper_volumes_stuck").set(to_f64(book.stuck.len()));
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
