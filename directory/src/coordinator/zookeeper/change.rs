//! Changes: each has a deadline, and an outcome that is known or is said to be unknown.
//!
//! A connection that breaks leaves open whether the change under way was made. So every
//! change is a step that may be taken again: it reads what is there, tells its own
//! earlier attempt by its stamp, and names the version that it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use zookeeper_client::{Client, Error};

use super::Shared;
use super::layout::Entry;
use super::tree::Refresh;
use crate::CoordinatorError;

const MIN_PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSE: Duration = Duration::from_millis(250);

/// Whether an earlier attempt of a change may have been made unnoticed.
#[derive(Clone, Default)]
pub(super) struct Doubt(Arc<AtomicBool>);

impl Doubt {
    pub(super) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Waits for the answer to a change, which must have just been sent.
    pub(super) async fn settle<T, E: Unsure>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let was_open = self.0.swap(true, Ordering::AcqRel);
        let answer = answer.await;
        if !answer.as_ref().is_err_and(Unsure::is_unsure) {
            // This attempt is settled; an earlier one may not be.
            self.0.store(was_open, Ordering::Release);
        }
        answer
    }
}

/// An error after which it is not known whether the request was carried out.
pub(super) trait Unsure {
    fn is_unsure(&self) -> bool;
}

impl Unsure for Error {
    fn is_unsure(&self) -> bool {
        // The library tells a lost connection in several ways.
        matches!(
            self,
            Self::ConnectionLoss
                | Self::SessionExpired
                | Self::SessionMoved
                | Self::ClientClosed
                | Self::Timeout
                | Self::NoHosts
                | Self::Throttled
                | Self::UnexpectedError(_)
                | Self::UnmarshalError { .. }
                | Self::Custom(_)
        )
    }
}

impl Unsure for zookeeper_client::MultiWriteError {
    fn is_unsure(&self) -> bool {
        matches!(self, Self::RequestFailed { source } if source.is_unsure())
    }
}

/// Why a step did not come to its end.
pub(super) enum Stop {
    /// ZooKeeper's answer.
    ZooKeeper(Error),
    /// Another was faster: look again.
    Again,
    /// What the caller is told.
    Final(CoordinatorError),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::ZooKeeper(error)
    }
}

impl From<zookeeper_client::MultiWriteError> for Stop {
    fn from(error: zookeeper_client::MultiWriteError) -> Self {
        Self::ZooKeeper(error.into())
    }
}

impl From<CoordinatorError> for Stop {
    fn from(error: CoordinatorError) -> Self {
        Self::Final(error)
    }
}

impl Shared {
    /// Takes a step until its outcome is known, or the time is over. `what` names what
    /// is changed.
    pub(super) async fn change<T, F>(
        &self,
        what: &str,
        step: impl Fn(Client, Doubt) -> F,
    ) -> Result<T, CoordinatorError>
    where
        F: Future<Output = Result<T, Stop>>,
    {
        let doubt = Doubt::default();
        let attempts = self.attempts(what, &doubt, step);
        let outcome = tokio::time::timeout(self.config.change_timeout(), attempts).await;
        outcome.unwrap_or_else(|_| {
            Err(if doubt.is_open() {
                CoordinatorError::InDoubt(what.to_owned())
            } else {
                self.unavailable()
            })
        })
    }

    async fn attempts<T, F>(
        &self,
        what: &str,
        doubt: &Doubt,
        step: impl Fn(Client, Doubt) -> F,
    ) -> Result<T, CoordinatorError>
    where
        F: Future<Output = Result<T, Stop>>,
    {
        let mut pause = MIN_PAUSE;
        loop {
            let client = self.sessions.connected().await;
            match step(client.clone(), doubt.clone()).await {
                Ok(done) => return Ok(done),
                Err(Stop::Final(error)) => return Err(error),
                // The server read from may lag behind the one that wrote.
                Err(Stop::Again) => drop(client.sync("/").await),
                Err(Stop::ZooKeeper(error)) if error.is_unsure() => {}
                Err(Stop::ZooKeeper(Error::NoAuth)) => {
                    return Err(CoordinatorError::Denied(self.config.connect.clone()));
                }
                Err(Stop::ZooKeeper(error)) => {
                    let (what, reason) = (what.to_owned(), error.to_string());
                    return Err(CoordinatorError::Refused { what, reason });
                }
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Waits until the map shows what was changed just now. Where that takes too long,
    /// the change is made all the same, and the map follows.
    pub(super) async fn show(&self, entries: Vec<Entry>) {
        let (done, shown) = oneshot::channel();
        let deadline = Instant::now() + self.config.change_timeout();
        let shown = async {
            if self.refreshes.send(Refresh { entries, done }).await.is_ok() {
                // An error means that the follower is gone, at the end of the process.
                let _ = shown.await;
            }
        };
        let _ = tokio::time::timeout_at(deadline, shown).await;
    }
}
