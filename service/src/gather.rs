//! Questions that are asked together.
//!
//! To wake a thread, or to send a request and be woken by its answer, costs more than to look up a
//! name. What is asked while another question is under way waits for a moment, and whoever carries
//! that one takes all that have come meanwhile: the more is asked, the less each costs, and a
//! question alone waits for nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

/// Those who wait, and how many carry questions.
pub struct Gather<T> {
    limits: Limits,
    state: Mutex<State<T>>,
}

/// How many questions go together.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most that one carrier takes at a time.
    pub take: usize,
    /// Another carrier sets out when so many wait for each that is under way.
    pub patience: usize,
    /// The most carriers at once.
    pub carriers: usize,
}

struct State<T> {
    waiting: VecDeque<T>,
    carriers: usize,
}

impl<T> Gather<T> {
    /// One for which nobody waits.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::new(State { waiting: VecDeque::new(), carriers: 0 }),
        })
    }

    /// Lets `question` wait to be carried. Where a carrier is answered, none of those under way
    /// will come for it soon enough: this one has to be set out.
    pub fn add(self: &Arc<Self>, question: T) -> Option<Carrier<T>> {
        let mut state = self.state.lock();
        state.waiting.push_back(question);
        let Limits { patience, carriers, .. } = self.limits;
        let has_to_wait = state.waiting.len() <= state.carriers * patience;
        if has_to_wait || state.carriers >= carriers {
            return None;
        }
        state.carriers += 1;
        Some(Carrier { gather: Arc::clone(self), under_way: true })
    }
}

/// To be waited for before a carrier takes questions: those who can ask right now have
/// asked then.
pub async fn gathered() {
    // Behind all tasks of this thread that can go on, and those whose sockets can be read.
    tokio::task::yield_now().await;
}

/// Takes questions to where they are answered, until none waits.
pub struct Carrier<T> {
    gather: Arc<Gather<T>>,
    under_way: bool,
}

impl<T> Carrier<T> {
    /// The next questions, those first that have waited longest. Empty at the end.
    pub fn load(&mut self) -> Vec<T> {
        let mut state = self.gather.state.lock();
        let count = state.waiting.len().min(self.gather.limits.take);
        if count == 0 && self.under_way {
            self.under_way = false;
            state.carriers -= 1;
        }
        state.waiting.drain(..count).collect()
    }
}

/// One that ends too early, of a bug or because everything ends, leaves nobody waiting for ever.
impl<T> Drop for Carrier<T> {
    fn drop(&mut self) {
        if self.under_way {
            let mut state = self.gather.state.lock();
            state.carriers -= 1;
            if state.carriers == 0 {
                state.waiting.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { take: 3, patience: 2, carriers: 2 };

    #[test]
    fn one_sets_out_at_once_and_takes_what_comes_meanwhile() {
        let gather = Gather::new(LIMITS);
        let mut carrier = gather.add(1).unwrap();
        assert_eq!(carrier.load(), [1]);
        assert!(gather.add(2).is_none() && gather.add(3).is_none());
        assert_eq!(carrier.load(), [2, 3]);
        assert!(carrier.load().is_empty());
        drop(carrier);
        assert_eq!(gather.add(4).unwrap().load(), [4]);
    }

    #[test]
    fn more_set_out_where_many_wait_but_not_any_number() {
        let gather = Gather::new(LIMITS);
        let mut first = gather.add(1).unwrap();
        assert_eq!(first.load(), [1]);
        assert!(gather.add(2).is_none() && gather.add(3).is_none());
        let mut second = gather.add(4).unwrap();
        for question in 5..=9 {
            assert!(gather.add(question).is_none());
        }
        assert_eq!(first.load(), [2, 3, 4]);
        assert_eq!(second.load(), [5, 6, 7]);
        assert_eq!(first.load(), [8, 9]);
    }

    #[test]
    fn nobody_waits_for_one_that_is_lost() {
        let gather = Gather::new(LIMITS);
        let carrier = gather.add(Arc::new(1)).unwrap();
        let waits = Arc::new(2);
        assert!(gather.add(Arc::clone(&waits)).is_none());
        drop(carrier);
        assert_eq!(Arc::strong_count(&waits), 1);
        assert!(gather.add(waits).is_some());
    }
}
