//! One round after another: look, plan, and have steps taken.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hayrick_store::VolumeId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::book::{Book, StuckVolume, WaitingJob};
use super::memory::Memory;
use super::observe::Observer;
use super::steps::StepError;
use super::{Shared, status};
use crate::ClusterMap;
use crate::backoff::Backoff;
use crate::keeper::health::Health;
use crate::keeper::plan::{Facts, Job, Plan, Work, plan};
use crate::zookeeper::Leadership;

/// How long a volume is left alone after a step failed, at first and at most.
const RETRY: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(5)];
/// Steps that end soon are followed by the next round, but rounds are this far apart at least.
const ROUNDS_PER_INTERVAL: u32 = 10;

/// A step that was taken, or not.
type Ended = (Job, Result<(), StepError>);

/// What the keeper keeps between its rounds.
pub(super) struct Rounds {
    shared: Arc<Shared>,
    observer: Observer,
    memory: Memory,
    failed: Backoff<VolumeId>,
    ended: mpsc::UnboundedReceiver<Ended>,
    endings: mpsc::UnboundedSender<Ended>,
    term: Option<u64>,
}

impl Rounds {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        // As many messages as there are volumes being worked on.
        let (endings, ended) = mpsc::unbounded_channel();
        let observer = Observer::new(Arc::clone(&shared.config));
        let (memory, failed) = (Memory::default(), Backoff::new(RETRY[0], RETRY[1]));
        Self { shared, observer, memory, failed, ended, endings, term: None }
    }

    /// Looks once, and acts if this keeper leads.
    pub(super) async fn one(&mut self, lead: Option<Leadership>) {
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
            self.shared.tell(self.observer.news(&map)).await;
            self.act(plan, &lead);
        }
    }

    /// Waits for the next round: less long if a step ends.
    pub(super) async fn pause(&mut self, began: Instant) {
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
            self.memory = Memory::default();
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
        let hints = self.memory.hints(map, self.observer.unlike());
        let (view, config) = (self.observer.view(), &*self.shared.config);
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
            let begun = job.is_brief() || book.is_active(job.volume);
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
                self.memory.note(job);
                None
            }
            Err(error) => {
                self.failed.failed(volume);
                (!error.is_expected()).then(|| error.to_string())
            }
        };
        self.shared.book.lock().step_over(volume, error);
    }

    fn tell_health(&self) {
        let health = status::health(&self.observer);
        let ill = health.iter().filter(|store| store.health != Health::Well).count();
        metrics::gauge!("hayrick_keeper_stores_not_well").set(to_f64(ill));
        *self.shared.health.lock() = health;
        *self.shared.scrubs.lock() = status::scrubs(self.observer.view());
    }
}

fn tell_numbers(book: &Book) {
    metrics::gauge!("hayrick_keeper_jobs_running").set(to_f64(book.active()));
    metrics::gauge!("hayrick_keeper_jobs_waiting").set(to_f64(book.waiting.len()));
    metrics::gauge!("hayrick_keeper_volumes_stuck").set(to_f64(book.stuck.len()));
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
