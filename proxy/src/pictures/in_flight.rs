//! Work that many wait for, and that is done once.

use std::collections::HashMap;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use parking_lot::Mutex;

type Work<T> = BoxFuture<'static, T>;

/// Work under way, by what it is.
pub(super) struct InFlight<T: Clone> {
    work: Mutex<HashMap<String, WeakShared<Work<T>>>>,
}

/// One who waits. The last to leave takes the entry along.
struct Waiter<'a, T: Clone> {
    of: &'a InFlight<T>,
    key: &'a str,
    /// Always there, until it is dropped.
    work: Option<Shared<Work<T>>>,
}

impl<T: Clone> Default for InFlight<T> {
    fn default() -> Self {
        Self { work: Mutex::default() }
    }
}

impl<T: Clone> InFlight<T> {
    /// What `begin` gives, or the same work that somebody else began. It goes on as long as
    /// anybody waits for it, and no longer.
    pub(super) async fn join(&self, key: &str, begin: impl FnOnce() -> Work<T>) -> T {
        let work = self.find_or_begin(key, begin);
        let _waiter = Waiter { of: self, key, work: Some(work.clone()) };
        work.await
    }

    fn find_or_begin(&self, key: &str, begin: impl FnOnce() -> Work<T>) -> Shared<Work<T>> {
        let mut all = self.work.lock();
        if let Some(work) = all.get(key).and_then(WeakShared::upgrade) {
            return work;
        }
        let work = begin().shared();
        // It has not been polled, so it is not over, and there is something to hold on to.
        if let Some(weak) = work.downgrade() {
            all.insert(key.to_owned(), weak);
        }
        work
    }
}

impl<T: Clone> Drop for Waiter<'_, T> {
    fn drop(&mut self) {
        let mut all = self.of.work.lock();
        // Under the lock, so that of two that leave at once one is the last.
        drop(self.work.take());
        if all.get(self.key).is_some_and(|work| work.upgrade().is_none()) {
            all.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::future;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn many_wait_for_one() {
        let (all, begun) = (InFlight::default(), AtomicU32::new(0));
        let go = Arc::new(Notify::new());
        let begin = || {
            begun.fetch_add(1, Ordering::Relaxed);
            let go = Arc::clone(&go);
            async move {
                go.notified().await;
                7
            }
            .boxed()
        };
        let waiting = future::join_all((0..10).map(|_| all.join("a", begin)));
        let started = async {
            tokio::task::yield_now().await;
            go.notify_one();
        };
        let (answers, ()) = tokio::join!(waiting, started);
        assert_eq!((answers, begun.load(Ordering::Relaxed)), (vec![7; 10], 1));
        assert!(all.work.lock().is_empty());
    }

    #[tokio::test]
    async fn work_is_given_up_with_the_last_who_waits() {
        struct Tells(Arc<AtomicU32>);
        impl Drop for Tells {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (all, given_up) = (InFlight::<()>::default(), Arc::new(AtomicU32::new(0)));
        let begin = || {
            let tells = Tells(Arc::clone(&given_up));
            async move {
                let _tells = tells;
                future::pending::<()>().await;
            }
            .boxed()
        };
        let mut first = Box::pin(all.join("a", begin));
        let mut second = Box::pin(all.join("a", || unreachable!("it is under way")));
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(given_up.load(Ordering::Relaxed), 0);
        assert!(futures::poll!(&mut second).is_pending());
        drop(second);
        assert_eq!(given_up.load(Ordering::Relaxed), 1);
        assert!(all.work.lock().is_empty());
    }
}
