//! What an error of the database means for the one who asked.

use std::error::Error as _;

use deadpool_postgres::{HookError, PoolError, TimeoutType};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use crate::names::NamesError;

/// Why an attempt came to nothing. Nothing was changed.
#[derive(Debug)]
pub(super) enum Fault {
    /// Trying again would end the same way.
    Final(NamesError),
    /// Worth another attempt; the error is for when there is no time for one.
    Passing(NamesError),
}

impl From<NamesError> for Fault {
    fn from(error: NamesError) -> Self {
        Self::Final(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let Some(state) = error.code() else {
            return Self::Passing(NamesError::Unavailable(describe(&error)));
        };
        match *state {
            SqlState::DISK_FULL => Self::Final(NamesError::DiskFull),
            SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => {
                Self::Final(NamesError::Corrupt(describe(&error)))
            }
            SqlState::UNDEFINED_TABLE
            | SqlState::UNDEFINED_COLUMN
            | SqlState::INVALID_CATALOG_NAME
            | SqlState::INSUFFICIENT_PRIVILEGE => Self::Final(NamesError::Setup(describe(&error))),
            // Another change was in the way: of the same name, or as the database judged.
            SqlState::UNIQUE_VIOLATION
            | SqlState::LOCK_NOT_AVAILABLE
            | SqlState::QUERY_CANCELED
            | SqlState::IN_FAILED_SQL_TRANSACTION => Self::Passing(NamesError::Busy),
            // A server that is on its way down, or has become another's copy.
            SqlState::READ_ONLY_SQL_TRANSACTION | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => {
                Self::Passing(NamesError::Unavailable(describe(&error)))
            }
            _ => Self::by_class(&error, state),
        }
    }
}

impl Fault {
    fn by_class(error: &Error, state: &SqlState) -> Self {
        match state.code().get(..2) {
            // Transaction rollback, and insufficient resources.
            Some("40" | "53") => Self::Passing(NamesError::Busy),
            // Connection exception, and operator intervention.
            Some("08" | "57") => Self::Passing(NamesError::Unavailable(describe(error))),
            // Invalid authorization.
            Some("28") => Self::Final(NamesError::Setup(describe(error))),
            _ => Self::Final(NamesError::Io(describe(error))),
        }
    }
}

impl From<PoolError> for Fault {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                error.into()
            }
            PoolError::Timeout(TimeoutType::Wait) => Self::Passing(NamesError::Busy),
            error => Self::Passing(NamesError::Unavailable(error.to_string())),
        }
    }
}

/// Whether the database said for certain that it did not commit. Whatever else a commit
/// ends with, it may have been made.
pub(super) fn is_rolled_back(error: &Error) -> bool {
    let surely = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_INTEGRITY_CONSTRAINT_VIOLATION,
        SqlState::UNIQUE_VIOLATION,
    ];
    error.code().is_some_and(|state| surely.contains(state))
}

/// The error with its cause: on its own it says little more than where it came up.
pub(super) fn describe(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(told), _) => format!("{} ({})", told.message(), told.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}
