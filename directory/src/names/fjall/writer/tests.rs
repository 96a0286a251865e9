use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicUsize;

use hayrick_store::Cookie;
use tokio::sync::{Semaphore, oneshot};

use super::*;
use crate::names::conformance::{put, remove, row};
use crate::names::fjall::group::Reply;
use crate::{Committed, Condition};

/// Tables in memory that fail on demand: their commits and their reads.
#[derive(Default)]
struct Memory {
    rows: RefCell<HashMap<Vec<u8>, Row>>,
    garbage: RefCell<BTreeMap<[u8; 20], Cookie>>,
    commits: Arc<AtomicUsize>,
    fail_commit: Option<usize>,
    fail_garbage_reads: bool,
}

impl Base for Memory {
    fn row(&self, key: &[u8]) -> Result<Option<Row>, NamesError> {
        Ok(self.rows.borrow().get(key).cloned())
    }

    fn has_garbage(&self, key: &[u8]) -> Result<bool, NamesError> {
        if self.fail_garbage_reads && key.last() == Some(&2) {
            return Err(NamesError::Io("injected".to_owned()));
        }
        Ok(self.garbage.borrow().keys().any(|own| own == key))
    }

    fn is_empty(&self, _: &BucketName) -> Result<bool, NamesError> {
        Ok(self.rows.borrow().is_empty())
    }
}

impl Sink for Memory {
    fn commit(&self, effects: &Effects, _: u64) -> Result<(), NamesError> {
        if self.fail_commit == Some(self.commits.fetch_add(1, Ordering::Relaxed)) {
            return Err(NamesError::Io("injected".to_owned()));
        }
        for (key, written) in &effects.rows {
            match written {
                Some(written) => {
                    self.rows.borrow_mut().insert(key.clone(), (*written.row).clone());
                }
                None => drop(self.rows.borrow_mut().remove(key)),
            }
        }
        for (key, queued) in &effects.garbage {
            match queued {
                Some(queued) => drop(self.garbage.borrow_mut().insert(*key, queued.id.cookie)),
                None => drop(self.garbage.borrow_mut().remove(key)),
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> u64 {
        u64::MAX
    }
}

/// A writer whose jobs all wait before it starts, so that groups are as told.
struct Bench {
    queue: Option<mpsc::Sender<Queued>>,
    jobs: Option<mpsc::Receiver<Queued>>,
    shared: Arc<Shared>,
    budget: Arc<Semaphore>,
}

impl Bench {
    fn new() -> Self {
        let (queue, jobs) = mpsc::channel(100);
        let budget = Arc::new(Semaphore::new(1_000));
        Self { queue: Some(queue), jobs: Some(jobs), shared: Arc::default(), budget }
    }

    fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Asked<T> {
        let (reply, answer) = oneshot::channel();
        let budget = Arc::clone(&self.budget).try_acquire_owned().unwrap();
        self.queue.as_ref().unwrap().try_send(Queued { job: job(reply), budget }).unwrap();
        Asked(answer)
    }

    fn put(&self, object: &str, version: u64, condition: Condition) -> Asked<Committed> {
        let put = put(object, row(version), condition);
        self.ask(|reply| Job::Put(put, Vec::new(), reply))
    }

    fn run(&mut self, sink: Memory) {
        self.queue = None;
        Writer::new(sink, self.jobs.take().unwrap(), Arc::clone(&self.shared), 0).run();
        assert_eq!(self.budget.available_permits(), 1_000, "the budget is given back");
    }
}

struct Asked<T>(oneshot::Receiver<Result<T, NamesError>>);

impl<T> Asked<T> {
    fn answer(mut self) -> Result<T, NamesError> {
        self.0.try_recv().unwrap()
    }
}

#[test]
fn a_group_is_one_commit_and_sees_itself() {
    let mut bench = Bench::new();
    let created = bench.put("a", 1, Condition::IfAbsent);
    let refused = bench.put("a", 2, Condition::IfAbsent);
    let replaced = bench.put("a", 3, Condition::IfMatch(vec![1]));
    let removed = bench.ask(|reply| Job::Remove(remove("a", 4, Condition::None), reply));
    let again = bench.put("a", 5, Condition::IfAbsent);
    let sink = Memory::default();
    let commits = Arc::clone(&sink.commits);
    bench.run(sink);
    assert_eq!(created.answer(), Ok(Committed::Created));
    assert_eq!(refused.answer(), Err(NamesError::ConditionFailed { current: Some(1) }));
    assert_eq!(replaced.answer(), Ok(Committed::Replaced(row(1))));
    assert_eq!(removed.answer(), Ok(Some(row(3))));
    assert_eq!(again.answer(), Ok(Committed::Created));
    assert_eq!(commits.load(Ordering::Relaxed), 1);
    assert_eq!(bench.shared.garbage_len.load(Ordering::Relaxed), 2);
    assert_eq!(bench.shared.last_version.load(Ordering::Relaxed), 5);
}

#[test]
fn a_failed_commit_fails_all_of_the_group_and_all_after() {
    let mut bench = Bench::new();
    let before = bench.put("a", 1, Condition::None);
    // A gate ends the first group.
    let gate = bench.ask(|reply| Job::Gate(Gate::Reopen("other".parse().unwrap(), reply)));
    let lost = bench.put("b", 2, Condition::None);
    let refused = bench.put("b", 3, Condition::IfAbsent);
    let gate_after = bench.ask(|reply| Job::Gate(Gate::Close("other".parse().unwrap(), reply)));
    let after = bench.put("c", 4, Condition::None);
    let sink = Memory { fail_commit: Some(1), ..Memory::default() };
    let commits = Arc::clone(&sink.commits);
    bench.run(sink);
    assert_eq!(before.answer(), Ok(Committed::Created));
    assert_eq!(gate.answer(), Ok(()));
    assert_eq!(lost.answer(), Err(NamesError::Failed));
    assert_eq!(refused.answer(), Err(NamesError::Failed), "it stood on a change that was lost");
    assert_eq!(gate_after.answer(), Err(NamesError::Failed));
    assert_eq!(after.answer(), Err(NamesError::Failed));
    assert_eq!(commits.load(Ordering::Relaxed), 2, "nothing is tried after the failure");
    assert!(bench.shared.failed.load(Ordering::Relaxed));
    assert_eq!(bench.shared.last_version.load(Ordering::Relaxed), 1);
}

#[test]
fn a_change_that_fails_half_way_queues_no_needle_in_use() {
    let mut bench = Bench::new();
    let mut held = row(1);
    held.needles.extend(row(2).needles);
    let two_needles = put("a", held.clone(), Condition::None);
    let created = bench.ask(|reply| Job::Put(two_needles, Vec::new(), reply));
    let failed = bench.put("a", 3, Condition::None);
    let settled = bench.ask(|reply| Job::Settle(Vec::new(), reply));
    bench.run(Memory { fail_garbage_reads: true, ..Memory::default() });
    assert_eq!(created.answer(), Ok(Committed::Created));
    assert!(matches!(failed.answer(), Err(NamesError::Io(_))));
    assert_eq!(settled.answer(), Ok(()));
    assert_eq!(bench.shared.garbage_len.load(Ordering::Relaxed), 0);
}
