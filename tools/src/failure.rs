//! How a command fails: an exit code, a sentence and the next step.

use std::fmt::Display;
use std::process::ExitCode;

use axum::http::StatusCode;
use hayrick_service::client::{ClientError, StatusError};

/// Exit codes, as `hayrick --help` tells them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked did not work.
    Failed = 1,
    /// The command line or the configuration is wrong; nothing was done.
    Usage = 2,
    /// What was named is not there.
    NotFound = 3,
    /// Damaged data was found.
    Damaged = 4,
    /// The server was not reached.
    Unreachable = 5,
    /// Credentials are missing or wrong.
    Denied = 6,
    /// Ctrl-C.
    Interrupted = 130,
    /// Whoever read standard output went away.
    OutputClosed = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The code it ends with.
    pub exit: Exit,
    /// The server's stable word for it, where the server said so.
    pub code: Option<String>,
    /// What went wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with its exit code.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, code: None, message: message.into(), hint: None }
    }

    /// Names the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }

    /// For `map_err` on calls about a file or folder.
    pub(crate) fn file(
        doing: impl Display,
        path: &std::path::Path,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("cannot {doing} {}", path.display());
        move |error| {
            let exit = match error.kind() {
                std::io::ErrorKind::NotFound => Exit::NotFound,
                _ => Exit::Failed,
            };
            Self::new(exit, format!("{what}: {error}"))
        }
    }

    /// A request to a server that did not succeed.
    pub(crate) fn from_client(error: &ClientError) -> Self {
        match error {
            ClientError::Status(status) => Self::from_status(status),
            ClientError::BadUrl { .. } => Self::usage(error.to_string()),
            ClientError::Refused { url } => {
                Self::new(Exit::Unreachable, format!("nothing listens at {url}"))
            }
            ClientError::Connect { .. }
            | ClientError::Timeout { .. }
            | ClientError::Broken { .. } => Self::new(Exit::Unreachable, error.to_string()),
            ClientError::Decode { .. } => Self::failed(error.to_string())
                .hint("is this the right address? `hayrick up` prints its addresses"),
            ClientError::Encode(_) | ClientError::TooLarge { .. } => {
                Self::failed(error.to_string())
            }
        }
    }

    fn from_status(error: &StatusError) -> Self {
        let exit = match error.status {
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Denied,
            _ => Exit::Failed,
        };
        let code = Some(error.body.error.clone());
        let failure = Self { code, ..Self::new(exit, with_request(error)) };
        match error.retry_after {
            Some(after) => failure.hint(format!("try again in {} s", after.as_secs().max(1))),
            None => failure,
        }
    }
}

/// The server's words, and for its own faults where to find them in its log.
fn with_request(error: &StatusError) -> String {
    let body = &error.body;
    if error.status.is_server_error() && !body.request_id.is_empty() {
        format!("{} (request {} in the server's log)", body.message, body.request_id)
    } else {
        body.message.clone()
    }
}
