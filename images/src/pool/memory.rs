//! Memory that pieces of work share, lent out in the order of asking.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Why memory is not lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoMemory {
    /// It is more than there is altogether.
    #[error("more memory than the {limit} bytes that there are")]
    TooLarge {
        /// How much there is.
        limit: u64,
    },
    /// The deadline passed before enough was given back.
    #[error("no memory was free in time")]
    Timeout,
}

pub(super) struct MemoryBudget {
    limit: u64,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    lent: u64,
    next_ticket: u64,
    waiting: VecDeque<u64>,
}

/// Memory on loan, given back on drop.
pub struct Loan<'a> {
    budget: &'a MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, inner: Mutex::default(), changed: Condvar::new() }
    }

    /// The bytes on loan now.
    pub(super) fn lent(&self) -> u64 {
        self.lock().lent
    }

    /// Waits until so many bytes are free and nobody waits from before.
    pub(super) fn lend(&self, bytes: u64, deadline: Instant) -> Result<Loan<'_>, NoMemory> {
        if bytes > self.limit {
            return Err(NoMemory::TooLarge { limit: self.limit });
        }
        let mut inner = self.lock();
        let ticket = inner.next_ticket;
        inner.next_ticket += 1;
        inner.waiting.push_back(ticket);
        while inner.waiting.front() != Some(&ticket) || inner.lent + bytes > self.limit {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                inner.waiting.retain(|other| *other != ticket);
                drop(inner);
                self.changed.notify_all();
                return Err(NoMemory::Timeout);
            };
            let waited = self.changed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.waiting.pop_front();
        inner.lent += bytes;
        drop(inner);
        self.changed.notify_all();
        Ok(Loan { budget: self, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.budget.lock().lent -= self.bytes;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn what_is_given_back_is_lent_again() {
        let budget = MemoryBudget::new(10);
        assert_eq!(budget.lend(11, soon()).err(), Some(NoMemory::TooLarge { limit: 10 }));
        let first = budget.lend(10, soon()).ok();
        assert_eq!(budget.lent(), 10);
        assert_eq!(budget.lend(1, Instant::now()).err(), Some(NoMemory::Timeout));
        drop(first);
        assert_eq!(budget.lent(), 0);
        assert!(budget.lend(10, Instant::now()).is_ok());
    }

    #[test]
    fn a_small_request_does_not_pass_a_large_one() {
        let budget = MemoryBudget::new(10);
        let (tell, told) = mpsc::channel();
        let waiting = |number: usize| {
            while budget.lock().waiting.len() < number {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            let first = budget.lend(5, soon()).ok();
            for (number, bytes) in [(1, 9), (2, 4)] {
                let (tell, budget) = (tell.clone(), &budget);
                scope.spawn(move || {
                    let loan = budget.lend(bytes, soon()).ok();
                    tell.send(bytes).unwrap();
                    drop(loan);
                });
                waiting(number);
            }
            assert!(told.try_recv().is_err(), "four would fit beside five, but came later");
            drop(first);
            assert_eq!((told.recv(), told.recv()), (Ok(9), Ok(4)));
        });
        assert_eq!(budget.lent(), 0);
    }

    #[test]
    fn who_gives_up_lets_the_next_one_in() {
        let budget = MemoryBudget::new(10);
        let first = budget.lend(5, soon()).ok();
        thread::scope(|scope| {
            let late = scope.spawn(|| {
                let deadline = Instant::now() + Duration::from_millis(50);
                budget.lend(9, deadline).err()
            });
            while budget.lock().waiting.is_empty() {
                thread::yield_now();
            }
            assert!(budget.lend(4, soon()).is_ok());
            assert_eq!(late.join().unwrap(), Some(NoMemory::Timeout));
        });
        drop(first);
    }
}
