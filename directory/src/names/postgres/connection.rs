//! The connections, and how long anything may take on them.

use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime,
    Timeouts,
};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_postgres::NoTls;

use super::config::PostgresConfig;
use super::fault::Fault;
use crate::names::NamesError;

const MIN_PAUSE: Duration = Duration::from_millis(2);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Connections to the database, shared by all that is asked of it.
pub(super) struct Connections {
    pool: Pool,
    /// Who has a connection, or waits for one.
    admitted: Semaphore,
    timeout: Duration,
}

impl Connections {
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, NamesError> {
        config.check()?;
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(config.server()?, NoTls, recycling);
        // What this process began and cannot end, because it hangs or its machine died, must not
        // hold up the others for longer than they can wait.
        let limits = format!(
            "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}",
            config.timeout_ms,
            max_idle_ms(config.timeout_ms)
        );
        let set_limits = Hook::async_fn(move |client: &mut ClientWrapper, _| {
            let limits = limits.clone();
            Box::pin(async move { client.batch_execute(&limits).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(config.max_connections)
            .runtime(Runtime::Tokio1)
            .post_create(set_limits)
            .build()
            .map_err(|error| NamesError::Setup(error.to_string()))?;
        let admitted = Semaphore::new(config.max_connections.saturating_add(config.max_waiting));
        Ok(Self { pool, admitted, timeout: config.timeout() })
    }

    /// The time that a change or a read has from now on.
    pub(super) fn begin(&self) -> Result<Attempts<'_>, NamesError> {
        let admission = self.admitted.try_acquire().map_err(|_| NamesError::Busy)?;
        let deadline = Instant::now() + self.timeout;
        Ok(Attempts { deadline, pause: MIN_PAUSE, _admission: admission })
    }

    /// A connection, when one is free.
    pub(super) async fn lease(&self, attempts: &Attempts<'_>) -> Result<Lease, Fault> {
        let left = Some(attempts.deadline.saturating_duration_since(Instant::now()));
        let timeouts = Timeouts { wait: left, create: left, recycle: left };
        Ok(Lease(Some(self.pool.timeout_get(&timeouts).await?)))
    }
}

/// How long a session may keep the database waiting within a transaction, which holds a slot.
/// Others wait for that slot within their own `timeout_ms`, so it is well below that; and above
/// what a busy machine takes to go from one statement to the next.
fn max_idle_ms(timeout_ms: u64) -> u64 {
    (timeout_ms / 4).max(1_000).min(timeout_ms)
}

/// The attempts of one change or read: when they must end, and the pauses between.
pub(super) struct Attempts<'a> {
    deadline: Instant,
    pause: Duration,
    _admission: SemaphorePermit<'a>,
}

impl Attempts<'_> {
    /// The answer, if it comes in time.
    pub(super) async fn within<T, E: Into<Fault>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Fault> {
        match timeout_at(self.deadline, answer).await {
            Ok(answer) => answer.map_err(Into::into),
            Err(_) => Err(Fault::Passing(no_answer())),
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Waits before the next attempt, longer each time, so that those who were in each
    /// other's way come back one after another. `false` when there is no time for one.
    pub(super) async fn pause(&mut self) -> bool {
        let pause = self.pause.mul_f64(rand::random_range(0.5..=1.0));
        self.pause = self.pause.saturating_mul(2).min(MAX_PAUSE);
        if Instant::now() + pause >= self.deadline {
            return false;
        }
        sleep(pause).await;
        true
    }
}

pub(super) fn no_answer() -> NamesError {
    NamesError::Unavailable("no answer in time".to_owned())
}

/// A connection in use. It goes back to the others only when it is [given
/// back](Lease::give_back): one on which something failed, or was given up in the middle, is
/// closed, so that nobody waits behind what may never end.
pub(super) struct Lease(Option<Object>);

impl Lease {
    pub(super) fn client(&mut self) -> Result<&mut ClientWrapper, Fault> {
        // It is there until the lease ends.
        let object = self.0.as_mut().ok_or(Fault::Passing(NamesError::Busy))?;
        Ok(&mut **object)
    }

    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
