//! A queue with an end, which forgets what nobody waits for any more.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Panicked;
use super::memory::MemoryBudget;

/// Work that waits for a thread.
pub(super) trait Task<S>: Send {
    /// Whether its caller has gone or its deadline has passed.
    fn is_stale(&self) -> bool;
    fn run(self: Box<Self>, state: &mut S, memory: &MemoryBudget) -> Result<(), Panicked>;
}

/// Why a queue does not take a task.
pub(super) enum Refused {
    Full,
    Closed,
}

pub(super) struct Queue<S> {
    limit: usize,
    inner: Mutex<Inner<S>>,
    changed: Condvar,
}

struct Inner<S> {
    waiting: VecDeque<Box<dyn Task<S>>>,
    running: usize,
    closed: bool,
}

impl<S> Queue<S> {
    pub(super) fn new(limit: usize) -> Self {
        let inner = Inner { waiting: VecDeque::new(), running: 0, closed: false };
        Self { limit, inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// Appends a task. A full queue first forgets its stale tasks.
    pub(super) fn push(&self, task: Box<dyn Task<S>>) -> Result<(), Refused> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refused::Closed);
        }
        if inner.waiting.len() >= self.limit {
            inner.waiting.retain(|task| !task.is_stale());
        }
        if inner.waiting.len() >= self.limit {
            return Err(Refused::Full);
        }
        inner.waiting.push_back(task);
        drop(inner);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next task that is not stale, and counts it as running until
    /// [`Queue::done`]. `None` once the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<Box<dyn Task<S>>> {
        let mut inner = self.lock();
        loop {
            match inner.waiting.pop_front() {
                Some(task) if task.is_stale() => {}
                Some(task) => {
                    inner.running += 1;
                    return Some(task);
                }
                None if inner.closed => return None,
                None => {
                    inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    pub(super) fn done(&self) {
        self.lock().running -= 1;
    }

    /// Takes no more tasks; what waits is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// How many tasks wait, and how many are running.
    pub(super) fn load(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.waiting.len(), inner.running)
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        // A task dropped under the lock may panic, but never half way through a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
