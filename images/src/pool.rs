//! Threads for work that blocks for long, behind a queue with an end.
//!
//! An async caller hands in a closure and waits. It learns at once when the queue
//! is full, and in time when its deadline passes. Work whose caller has gone is
//! dropped before it starts; a panic ends one piece of work, not its thread.

mod memory;
mod queue;
mod quiet;

use std::any::Any;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use memory::MemoryBudget;
pub use memory::{Loan, NoMemory};
use queue::{Queue, Refused, Task};

/// How many threads, how many may wait, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolOptions {
    /// Worker threads. Default: the cores available to this process.
    pub threads: NonZeroUsize,
    /// Pieces of work that may wait for a thread. Default: 4 for each thread.
    pub queue_limit: NonZeroUsize,
    /// How long a caller waits, queue included. Default 10 s.
    pub deadline: Duration,
    /// Memory that all pieces of work under way may ask for together. Default 512 MiB.
    pub memory_bytes: u64,
}

impl Default for PoolOptions {
    fn default() -> Self {
        let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self {
            threads,
            queue_limit: threads.saturating_mul(const { NonZeroUsize::new(4).unwrap() }),
            deadline: Duration::from_secs(10),
            memory_bytes: 512 * 1024 * 1024,
        }
    }
}

/// Why a piece of work gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// As many pieces wait as may. Nothing was begun; try again later.
    #[error("the queue is full")]
    Busy,
    /// The deadline passed. The work stops at its next look at [`Watch`].
    #[error("the deadline has passed")]
    Timeout,
    /// The pool has been shut down.
    #[error("the workers have stopped")]
    Stopped,
    /// The work panicked, with this message.
    #[error("the work panicked: {0}")]
    Panicked(String),
}

/// What the pool is doing now, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolLoad {
    /// Pieces of work that wait.
    pub queued: usize,
    /// Pieces of work under way.
    pub running: usize,
    /// How many may wait.
    pub queue_limit: usize,
    /// How many can be under way.
    pub threads: usize,
    /// Bytes of memory lent to the work under way.
    pub memory_bytes: u64,
    /// How many bytes can be lent.
    pub memory_limit_bytes: u64,
}

/// Tells a piece of work whether anybody still waits for it, and lends it memory.
pub struct Watch<'a> {
    waited: Duration,
    memory: &'a MemoryBudget,
    deadline: Instant,
    abandoned: &'a dyn Fn() -> bool,
}

impl Watch<'_> {
    /// Whether the result would still be in time and has a taker.
    pub fn go_on(&self) -> bool {
        Instant::now() < self.deadline && !(self.abandoned)()
    }

    /// How long the work has waited for a thread.
    pub const fn waited(&self) -> Duration {
        self.waited
    }

    /// Waits until so many bytes are free, of those that all work shares, and
    /// nobody waits from before. They count as taken until the loan is dropped.
    pub fn lend(&self, bytes: u64) -> Result<Loan<'_>, NoMemory> {
        self.memory.lend(bytes, self.deadline)
    }
}

/// Threads that each own an `S`, and a queue before them.
///
/// Dropping the pool is [`Pool::shutdown`].
pub struct Pool<S> {
    options: PoolOptions,
    queue: Arc<Queue<S>>,
    memory: Arc<MemoryBudget>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Codecs keep tables and recursion on the stack; this is well above their need.
const STACK_BYTES: usize = 4 * 1024 * 1024;

impl<S: Default + 'static> Pool<S> {
    /// Starts the threads. Fails when the system gives none.
    pub fn start(name: &str, options: PoolOptions) -> io::Result<Self> {
        quiet::install();
        let queue = Arc::new(Queue::new(options.queue_limit.get()));
        let memory = Arc::new(MemoryBudget::new(options.memory_bytes));
        let pool = Self { options, queue, memory, threads: Mutex::default() };
        for number in 0..options.threads.get() {
            let (queue, memory) = (Arc::clone(&pool.queue), Arc::clone(&pool.memory));
            let thread = thread::Builder::new()
                .name(format!("{name}-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || quiet::within(|| work(&queue, &memory)))?;
            pool.handles().push(thread);
        }
        Ok(pool)
    }
}

impl<S> Pool<S> {
    /// Has `work` done by a thread, and waits for its result. Dropping the future
    /// gives up on it.
    pub async fn run<T, F>(&self, work: F) -> Result<T, PoolError>
    where
        F: FnOnce(&mut S, &Watch<'_>) -> T + Send + 'static,
        T: Send + 'static,
    {
        let queued_at = Instant::now();
        let deadline = queued_at + self.options.deadline;
        let (reply, result) = oneshot::channel();
        let task = Box::new(Job { work, reply, queued_at, deadline });
        self.queue.push(task).map_err(|refused| match refused {
            Refused::Full => PoolError::Busy,
            Refused::Closed => PoolError::Stopped,
        })?;
        match tokio::time::timeout_at(deadline.into(), result).await {
            Ok(Ok(result)) => result,
            // The queue drops what it holds once the deadline has passed, or on
            // the way out.
            Ok(Err(_)) if Instant::now() < deadline => Err(PoolError::Stopped),
            Ok(Err(_)) | Err(_) => Err(PoolError::Timeout),
        }
    }

    /// What the pool is doing now.
    pub fn load(&self) -> PoolLoad {
        let (queued, running) = self.queue.load();
        PoolLoad {
            queued,
            running,
            queue_limit: self.options.queue_limit.get(),
            threads: self.options.threads.get(),
            memory_bytes: self.memory.lent(),
            memory_limit_bytes: self.options.memory_bytes,
        }
    }

    /// Takes no more work, finishes what was taken, and joins the threads. Blocks
    /// for up to a deadline's length. Does nothing when called again.
    pub fn shutdown(&self) {
        self.queue.close();
        let threads = std::mem::take(&mut *self.handles());
        for thread in threads {
            // A worker catches the panics of its work, so it has nothing to tell.
            let _ = thread.join();
        }
    }

    fn handles(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Drop for Pool<S> {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn work<S: Default>(queue: &Queue<S>, memory: &MemoryBudget) {
    let mut state = S::default();
    while let Some(task) = queue.pop() {
        if task.run(&mut state, memory).is_err() {
            // The panic may have left it half changed.
            state = S::default();
        }
        queue.done();
    }
}

/// The work panicked, and its caller has been told.
struct Panicked;

struct Job<F, T> {
    work: F,
    reply: oneshot::Sender<Result<T, PoolError>>,
    queued_at: Instant,
    deadline: Instant,
}

impl<S, T, F> Task<S> for Job<F, T>
where
    F: FnOnce(&mut S, &Watch<'_>) -> T + Send,
    T: Send,
{
    fn is_stale(&self) -> bool {
        self.reply.is_closed() || Instant::now() >= self.deadline
    }

    fn run(self: Box<Self>, state: &mut S, memory: &MemoryBudget) -> Result<(), Panicked> {
        let Self { work, reply, queued_at, deadline } = *self;
        let waited = queued_at.elapsed();
        let abandoned = || reply.is_closed();
        let watch = Watch { waited, memory, deadline, abandoned: &abandoned };
        // The state is thrown away if this unwinds, so nobody sees it broken.
        let result = catch_unwind(AssertUnwindSafe(|| work(state, &watch)));
        let (result, outcome) = match result {
            Ok(value) => (Ok(value), Ok(())),
            Err(panic) => (Err(PoolError::Panicked(message(&*panic))), Err(Panicked)),
        };
        // Nobody may be waiting any more.
        let _ = reply.send(result);
        outcome
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "without a message".to_owned(),
    }
}

#[cfg(test)]
mod tests;
