//! The limit of open files: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::failure::Failure;

/// Open files beside connections: a few for each volume, and those of the database.
const OTHER_FILES: u64 = 4096;

/// Open files that a server of so many connections may have.
pub fn needed(connections: usize) -> u64 {
    (connections as u64).saturating_add(OTHER_FILES)
}

/// Raises the limit of this process as far as the system lets it. A server that runs out of open
/// files turns clients away, and may fail to compact a volume.
pub fn allow(connections: usize) -> Result<(), Failure> {
    let (needed, limit) = (needed(connections), getrlimit(Resource::Nofile));
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        let maximum = limit.maximum.unwrap_or_default();
        let message = format!(
            "{connections} connections need {needed} open files, and the system allows this process {maximum}"
        );
        return Err(Failure::usage(message).hint(format!(
            "allow more (`ulimit -n {needed}`, or LimitNOFILE={needed} for systemd), or lower public.limits.max_connections"
        )));
    }
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| Failure::failed(format!("cannot raise the limit of open files: {error}")))
}
