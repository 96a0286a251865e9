//! What a change comes to, given what is there: the same for every engine.

use std::collections::HashSet;

use hayrick_store::NeedleId;

use super::{Committed, Condition, NamesError, Put, Row};

/// What a put comes to.
#[derive(Debug)]
pub(super) struct PutEffect {
    pub(super) answer: Committed,
    /// Whether the row is to be written.
    pub(super) writes_row: bool,
    /// The needles to be queued for deletion.
    pub(super) leaving: Vec<NeedleId>,
}

/// Decides on a put. `current` is the row that is there, and `removed` the version of the
/// last removal that may have been of the name.
pub(super) fn put(put: &Put, current: Option<Row>, removed: u64) -> Result<PutEffect, NamesError> {
    if current.as_ref() == Some(&put.row) {
        let answer = Committed::Unchanged;
        return Ok(PutEffect { answer, writes_row: false, leaving: Vec::new() });
    }
    put.condition.check(current.as_ref().map(|row| row.version))?;
    let Some(current) = current else {
        if put.row.version <= removed {
            return Err(NamesError::StaleVersion { current: removed });
        }
        let answer = Committed::Created;
        return Ok(PutEffect { answer, writes_row: true, leaving: Vec::new() });
    };
    if current.version < put.row.version {
        let leaving = leaving(current.needle_ids(), &put.row);
        return Ok(PutEffect { answer: Committed::Replaced(current), writes_row: true, leaving });
    }
    if current.version == put.row.version || put.condition != Condition::None {
        return Err(NamesError::StaleVersion { current: current.version });
    }
    let leaving = leaving(put.row.needle_ids(), &current);
    Ok(PutEffect { answer: Committed::Superseded, writes_row: false, leaving })
}

/// The needles among `old` that the row `new` does not hold: a change of metadata keeps
/// its needles.
pub(super) fn leaving(old: impl Iterator<Item = NeedleId>, new: &Row) -> Vec<NeedleId> {
    let kept: HashSet<NeedleId> = new.needle_ids().collect();
    old.filter(|id| !kept.contains(id)).collect()
}
