//! Changes: each is one transaction, tried again until its outcome is known or its time is up.
//!
//! A connection that breaks while a transaction commits leaves open whether it was made. The
//! next attempt finds out: it waits for the slot that the one before had locked, so that one
//! is over by then, looks at what is there, and tells its own work from that of others.

use deadpool_postgres::Transaction;
use tokio::time::timeout_at;
use tokio_postgres::IsolationLevel;

use super::connection::{Attempts, Connections, no_answer};
use super::fault::{Fault, describe, is_rolled_back};
use crate::names::NamesError;

/// A change of the tables, which may be tried more than once.
pub(super) trait Change: Sync {
    type Answer: Send + Sync;

    /// Makes the change in a transaction. `doubted` is the answer that an attempt before this
    /// one would have given, of which it is not known whether it was made. An error then says
    /// that this attempt cannot tell either.
    fn apply(
        &self,
        transaction: &Transaction<'_>,
        doubted: Option<&Self::Answer>,
    ) -> impl Future<Output = Result<Outcome<Self::Answer>, Fault>> + Send;
}

/// What a transaction has come to before it ends.
pub(super) enum Outcome<T> {
    /// It is to be committed.
    Commit(T),
    /// There is nothing to commit.
    Nothing(T),
}

/// How an attempt ended without an answer.
enum Stop<T> {
    /// Nothing was changed.
    Fault(Fault),
    /// It is not known whether the change was made.
    InDoubt(T, String),
}

impl<T> From<Fault> for Stop<T> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Connections {
    /// Makes a change.
    pub(super) async fn change<C: Change>(&self, change: &C) -> Result<C::Answer, NamesError> {
        let mut attempts = self.begin()?;
        let mut doubted = None;
        loop {
            let error = match self.attempt(change, doubted.as_ref(), &attempts).await {
                Ok(answer) => return Ok(answer),
                Err(Stop::Fault(Fault::Final(error))) => {
                    return Err(in_doubt(error, doubted.as_ref()));
                }
                Err(Stop::Fault(Fault::Passing(error))) => error,
                Err(Stop::InDoubt(answer, reason)) => {
                    doubted = Some(answer);
                    NamesError::Unavailable(reason)
                }
            };
            metrics::counter!("hayrick_names_retries_total").increment(1);
            tracing::debug!(%error, in_doubt = doubted.is_some(), "change of names not made");
            if !attempts.pause().await {
                return Err(in_doubt(error, doubted.as_ref()));
            }
        }
    }

    async fn attempt<C: Change>(
        &self,
        change: &C,
        doubted: Option<&C::Answer>,
        attempts: &Attempts<'_>,
    ) -> Result<C::Answer, Stop<C::Answer>> {
        let mut lease = self.lease(attempts).await?;
        // Each statement sees what was committed before it began; the slots do the rest.
        // A database that knows only stricter levels takes one of those.
        let begin = lease.client()?.build_transaction();
        let begin = begin.isolation_level(IsolationLevel::ReadCommitted).start();
        let transaction = attempts.within(begin).await?;
        let answer = match attempts.within(change.apply(&transaction, doubted)).await {
            Ok(Outcome::Commit(answer)) => answer,
            Ok(Outcome::Nothing(answer)) => {
                drop(transaction);
                lease.give_back();
                return Ok(answer);
            }
            Err(fault) => {
                drop(transaction);
                if matches!(fault, Fault::Final(_) | Fault::Passing(NamesError::Busy)) {
                    // The database answered: the connection is as good as before.
                    lease.give_back();
                }
                return Err(fault.into());
            }
        };
        match timeout_at(attempts.deadline(), transaction.commit()).await {
            Ok(Ok(())) => {
                lease.give_back();
                Ok(answer)
            }
            Ok(Err(error)) if is_rolled_back(&error) => {
                lease.give_back();
                Err(Stop::Fault(error.into()))
            }
            Ok(Err(error)) => Err(Stop::InDoubt(answer, describe(&error))),
            Err(_) => Err(Stop::InDoubt(answer, no_answer().to_string())),
        }
    }
}

/// The error of an attempt, unless one before it may have been made.
fn in_doubt<T>(error: NamesError, doubted: Option<&T>) -> NamesError {
    match (doubted, error) {
        (None, error) | (Some(_), error @ NamesError::InDoubt(_)) => error,
        (Some(_), error) => NamesError::InDoubt(error.to_string()),
    }
}
